//! The report of an import: a table for people, and JSON with every row that was repaired or refused.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};

use super::{progress::StepTime, staging::Staged};

/// What an import found and did.
pub(super) struct Report {
    staged: Staged,
    /// How long the merges took.
    merged: Vec<StepTime>,
    seconds: f64,
    /// The new base of events, if there was a leap.
    leapt_to: Option<i64>,
    /// What there is here, by table.
    here: Vec<(&'static str, i64)>,
    repaired: BTreeMap<String, i64>,
    refused: BTreeMap<String, i64>,
}

/// What there is of each table here, as far as Django knows it.
const HERE: [(&str, &str); 13] = [
    ("users", "select count(*) from users u join django.users m on m.id = u.id and not m.is_gone"),
    ("communities", "select count(*) from communities c join django.communities m on m.id = c.id and not m.is_gone"),
    ("articles", "select count(*) from articles a join django.articles m on m.id = a.id and not m.is_gone"),
    (
        "community_articles",
        "select count(*) from community_articles p where exists (
             select from django.community_articles m
             where m.community_id = p.community_id and m.article_id = p.article_id and not m.is_gone)",
    ),
    (
        "memberships",
        "select count(*) from memberships k where exists (
             select from django.memberships m where m.community_id = k.community_id and m.user_id = k.user_id and not m.is_gone)",
    ),
    (
        "roles",
        "select count(*) from django.roles r join memberships k on k.user_id = r.user_id and k.community_id = r.community_id
         where not r.is_gone",
    ),
    (
        "pseudonyms",
        "select count(*) from pseudonyms p where exists (
             select from django.pseudonyms m
             where m.article_id = p.article_id and m.user_id = p.user_id and not m.is_gone
               and django.community_of(m.community_id) = p.community_id)",
    ),
    ("discussions", "select count(*) from discussions d join django.discussions m on m.id = d.id and not m.is_gone"),
    ("comments", "select count(*) from comments k join django.comments m on m.id = k.id and not m.is_gone"),
    (
        "votes",
        "select count(distinct (m.target, m.object_id, m.user_id)) from django.votes m
         left join discussion_votes d on m.target = 'discussion' and d.discussion_id = m.object_id and d.user_id = m.user_id
         left join comment_votes k on m.target = 'comment' and k.comment_id = m.object_id and k.user_id = m.user_id
         where not m.is_gone and (d.value is not null or k.value is not null)",
    ),
    (
        "subscriptions",
        "select count(*) from article_follows f where f.level = 'follow' and exists (
             select from django.subscriptions m
             where m.user_id = f.user_id and m.community_id = f.community_id and m.article_id = f.article_id and m.is_followed)",
    ),
    ("flags", "select django.unread_flags()"),
    (
        "summaries",
        "select count(*) from summaries s where s.text is not null and exists (
             select from django.summaries m join django.community_articles c on c.id = m.community_article_id
             where c.community_id = s.community_id and c.article_id = s.article_id and not m.is_gone)",
    ),
];

/// Refusals of the three lists of roles stand under their table.
const KIND: &str = "case when kind in ('admins', 'moderators', 'reviewers') then 'roles' else kind end";

/// The lists of a report, as JSON of each row. A text that was cut comes whole.
const REPAIRS: &str = "select json_build_object('kind', r.kind, 'id', r.id, 'repair', r.repair, 'detail', r.detail,
        'original', case when r.repair in ('text_cut', 'text_empty', 'topic_blank', 'topic_cleaned') then coalesce(
            (select case when r.repair like 'topic%' then m.topic else m.content end
             from django.discussions m where r.kind = 'discussions' and m.id = r.id),
            (select m.content from django.comments m where r.kind = 'comments' and m.id = r.id),
            (select m.content from django.summaries m where r.kind = 'summaries' and m.id = r.id)) end)::text
    from django.repairs r order by r.kind, r.id, r.repair";
const REFUSALS: &str = "select json_build_object('kind', kind, 'id', id, 'reason', reason, 'detail', detail)::text
    from django.refusals order by kind, id";

impl Report {
    /// A report of what was done. It counts what there is now.
    pub(super) async fn new(
        db: &mut PgConnection,
        staged: Staged,
        merged: Vec<StepTime>,
        seconds: f64,
        leapt_to: Option<i64>,
    ) -> Result<Self, sqlx::Error> {
        let mut here = Vec::new();
        for (kind, sql) in HERE {
            here.push((kind, sqlx::query_scalar(sql).fetch_one(&mut *db).await?));
        }
        let (repaired, refused) = (by_kind(db, "repairs").await?, by_kind(db, "refusals").await?);
        Ok(Self { staged, merged, seconds, leapt_to, here, repaired, refused })
    }

    /// Prints the table.
    pub(super) async fn print(&self, db: &mut PgConnection) -> anyhow::Result<()> {
        let mut out = std::io::stdout();
        writeln!(
            out,
            "{:<20} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "", "at Django", "here", "changed", "repaired", "refused"
        )?;
        for (kind, here) in &self.here {
            writeln!(
                out,
                "{kind:<20} {:>10} {here:>10} {:>10} {:>10} {:>10}",
                self.staged.counts.get(*kind).copied().unwrap_or(0),
                self.staged.changed.get(*kind).copied().unwrap_or(0),
                self.repaired.get(*kind).copied().unwrap_or(0),
                self.refused.get(*kind).copied().unwrap_or(0),
            )?;
        }
        for (title, table, column) in [("repaired", "repairs", "repair"), ("refused", "refusals", "reason")] {
            let sql = format!(
                "select kind, {column}, count(*), (array_agg(id order by id))[1:5] from django.{table} group by 1, 2 order by 1, 2"
            );
            for row in sqlx::query(&sql).fetch_all(&mut *db).await? {
                let ids: Vec<i64> = row.try_get(3)?;
                let ids = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
                let (kind, reason, count): (String, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                let more = if count > 5 { ", ..." } else { "" };
                writeln!(out, "{title} {kind} {reason}: {count} ({ids}{more})")?;
            }
        }
        if let Some(base) = self.leapt_to {
            writeln!(out, "events go on from {base}: clients load their pages again")?;
        }
        Ok(writeln!(out, "finished in {:.1} s", self.seconds)?)
    }

    /// Writes the JSON. The lists may be long, so they pass through row by row.
    pub(super) async fn write(&self, db: &mut PgConnection, path: &Path) -> anyhow::Result<()> {
        let mut kinds = serde_json::Map::new();
        for (kind, here) in &self.here {
            kinds.insert(
                (*kind).to_owned(),
                json!({
                    "django": self.staged.counts.get(*kind),
                    "here": here,
                    "changed": self.staged.changed.get(*kind),
                    "repaired": self.repaired.get(*kind).unwrap_or(&0),
                    "refused": self.refused.get(*kind).unwrap_or(&0),
                }),
            );
        }
        let head: [(&str, Value); 4] = [
            ("seconds", json!(self.seconds)),
            ("leapt_to", json!(self.leapt_to)),
            ("steps", json!(self.staged.times.iter().chain(&self.merged).collect::<Vec<_>>())),
            ("kinds", Value::Object(kinds)),
        ];
        let mut file = BufWriter::new(create(path)?);
        writeln!(file, "{{")?;
        for (name, value) in head {
            writeln!(file, "\"{name}\": {value},")?;
        }
        write_list(db, &mut file, "repairs", REPAIRS).await?;
        writeln!(file, ",")?;
        write_list(db, &mut file, "refusals", REFUSALS).await?;
        writeln!(file, "\n}}")?;
        Ok(file.flush()?)
    }
}

/// Creates the file of the report, for its owner alone: it has texts of private communities.
pub(super) fn create(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

async fn write_list(db: &mut PgConnection, file: &mut impl Write, name: &str, sql: &str) -> anyhow::Result<()> {
    write!(file, "\"{name}\": [")?;
    let mut rows = sqlx::query_scalar::<_, String>(sql).fetch(db);
    let mut separator = "\n";
    while let Some(row) = rows.try_next().await? {
        write!(file, "{separator}{row}")?;
        separator = ",\n";
    }
    Ok(write!(file, "]")?)
}

/// The number of rows in a list, by table of the mirror.
async fn by_kind(db: &mut PgConnection, list: &str) -> Result<BTreeMap<String, i64>, sqlx::Error> {
    let sql = format!("select {KIND}, count(distinct (kind, id)) from django.{list} group by 1");
    Ok(sqlx::query_as::<_, (String, i64)>(&sql).fetch_all(db).await?.into_iter().collect())
}
