//! Copies Django's rows into temporary tables, compares them with the mirror and marks what has changed, in one transaction.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection};

use super::{
    import::Options,
    merge, mirror,
    progress::{Step, StepTime},
    source::Source,
    tables::{TABLES, Table},
};

/// What was found in the source.
pub(super) struct Staged {
    /// The number of Django's rows, by table.
    pub(super) counts: BTreeMap<&'static str, i64>,
    /// How many rows are new, changed or gone, by table.
    pub(super) changed: BTreeMap<&'static str, u64>,
    pub(super) times: Vec<StepTime>,
}

/// What people write. Once they write it here, Django's tables say nothing of it any more. Before that a row that has vanished there deletes
/// nothing here either, unless Django is the one that writes: sql/content.sql.
const WRITTEN: [&str; 6] = ["discussions", "comments", "votes", "subscriptions", "flags", "summaries"];

/// Refusals that may have lost their reason since: what was missing may be there.
const RETRIED: &str =
    "('no_user', 'no_community', 'no_article', 'no_place', 'no_discussion', 'no_target', 'not_a_member')";

/// Copies, compares and marks. An error if that is impossible; then nothing has changed.
pub(super) async fn stage(target: &mut PgConnection, source: &mut Source, options: &Options) -> anyhow::Result<Staged> {
    let mut staged = Staged { counts: BTreeMap::new(), changed: BTreeMap::new(), times: Vec::new() };
    let mut transaction = target.begin().await?;
    let before = merge::last_outbox_row(&mut transaction).await?;
    // What triggers put into the mirror is newer than this snapshot.
    let followed: Vec<String> =
        sqlx::query_scalar("select django.followed_mirrors()").fetch_all(&mut *transaction).await?;
    let is_ours = mirror::setting(&mut transaction, "writer").await?.as_deref() == Some("server");
    let (kept, tables): (Vec<&Table>, Vec<&Table>) = TABLES
        .iter()
        .partition(|table| followed.iter().any(|name| name == table.name) || is_ours && WRITTEN.contains(&table.name));
    for table in &kept {
        let count = format!("select count(*) from django.{} where not is_gone", table.name);
        staged.counts.insert(table.name, sqlx::query_scalar(&count).fetch_one(&mut *transaction).await?);
    }
    for table in &tables {
        let mut step = Step::new(format!("copy {}", table.name), None);
        let rows = copy(&mut transaction, source, table, &mut step).await;
        let rows = rows.with_context(|| format!("cannot copy Django's {}", table.name))?;
        staged.counts.insert(table.name, i64::try_from(rows)?);
        staged.times.push(step.end());
    }
    if tables.iter().any(|table| table.name == "users") {
        check_site(&mut transaction).await?;
    }
    check_ids(&mut transaction, &tables).await?;
    let mut step = Step::new("compare with the last import", None);
    // The address of a picture is made of both. Without the option it stays what it was.
    let media_url = mirror::setting(&mut transaction, "media_url").await?;
    let given = options.media_url.as_ref().filter(|given| media_url.as_ref() != Some(given));
    if let Some(url) = given {
        mirror::set(&mut transaction, "media_url", url).await?;
        sqlx::query("update django.users set is_pending = true where profile_pic_url is not null")
            .execute(&mut *transaction)
            .await?;
    }
    for table in &tables {
        let changed = compare(&mut transaction, table).await?;
        step.add(changed);
        staged.changed.insert(table.name, changed);
        // A role is looked at with its membership.
        if table.name != "roles" {
            let retry = format!(
                "update django.{name} m set is_pending = true from django.refusals r
                 where r.kind = '{name}' and r.id = m.id and r.reason in {RETRIED} and not m.is_pending",
                name = table.name
            );
            sqlx::raw_sql(&retry).execute(&mut *transaction).await?;
        }
    }
    sqlx::query("select django.make_open_community($1, $2)")
        .bind(&options.open_name)
        .bind(&options.open_slug)
        .execute(&mut *transaction)
        .await?;
    note_new_things(&mut transaction, source, &kept).await?;
    sqlx::raw_sql("select django.move_sequences(); select django.note_read_work()").execute(&mut *transaction).await?;
    if given.is_some() || staged.changed.values().any(|changed| *changed > 0) {
        mirror::set(&mut transaction, "leap_due", "true").await?;
    }
    merge::silence(&mut transaction, before).await?;
    transaction.commit().await?;
    staged.times.push(step.end());
    sqlx::raw_sql(&TABLES.iter().map(|table| format!("analyze django.{};", table.name)).collect::<String>())
        .execute(target)
        .await?;
    Ok(staged)
}

/// Copies the rows of a table into a temporary table of the same name, through a bounded buffer. Returns their number.
async fn copy(
    target: &mut PgConnection,
    source: &mut Source,
    table: &Table,
    step: &mut Step,
) -> Result<u64, sqlx::Error> {
    let (name, definition) = (table.name, table.definition());
    let create = format!("create temp table staged_{name} ({definition}) on commit drop");
    sqlx::raw_sql(&create).execute(&mut *target).await?;
    let into = format!("copy staged_{name} ({}) from stdin (format binary)", table.columns(""));
    let mut rows = 0;
    for part in table.sources {
        let from = format!("copy ({}) to stdout (format binary)", part.select(table, source.flags));
        let mut data = source.connection.copy_out_raw(&from).await?;
        let mut copy = target.copy_in_raw(&into).await?;
        loop {
            match data.try_next().await {
                Ok(Some(bytes)) => _ = copy.send(bytes).await?,
                Ok(None) => break,
                Err(error) => {
                    copy.abort("the source has failed").await?;
                    return Err(error);
                }
            }
        }
        let copied = copy.finish().await?;
        rows += copied;
        step.add(copied);
    }
    sqlx::raw_sql(&format!("create index on staged_{name} ({}); analyze staged_{name}", table.key("")))
        .execute(target)
        .await?;
    Ok(rows)
}

/// Refuses to go on where ours has rows with ids of Django's that did not come from Django.
async fn check_ids(target: &mut PgConnection, tables: &[&Table]) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for table in tables.iter().filter(|table| table.keeps_ids) {
        let name = table.name;
        let (count, first): (i64, Option<i64>) = sqlx::query_as(&format!(
            "select count(*), min(o.id) from {name} o join staged_{name} s on s.id = o.id
             where not exists (select from django.{name} m where m.id = o.id)"
        ))
        .fetch_one(&mut *target)
        .await?;
        if let Some(first) = first {
            problems.push(format!("{count} of {name} (the first is {first})"));
        }
    }
    if !problems.is_empty() {
        bail!(
            "the database has rows that did not come from Django, with ids that rows of Django have: {}. Nothing was changed. \
             Import into an empty database (`discussions migrate`), or delete these rows first",
            problems.join(", ")
        );
    }
    Ok(())
}

/// Refuses to go on if this is another site than the one that was imported before. When a user joined never changes.
async fn check_site(target: &mut PgConnection) -> anyhow::Result<()> {
    let (known, others): (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where m.date_joined <> s.date_joined)
         from django.users m join staged_users s on s.id = m.id",
    )
    .fetch_one(target)
    .await?;
    ensure!(
        others * 2 <= known,
        "this is not the site that was imported before: {others} of {known} users joined at another time. Nothing was changed"
    );
    Ok(())
}

/// Notes which discussions and comments are new, for who has read them. The flags speak only of what is in their snapshot. What triggers have
/// brought since stays for the next import.
async fn note_new_things(target: &mut PgConnection, source: &mut Source, kept: &[&Table]) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("select django.note_new_things()").execute(&mut *target).await?;
    if kept.iter().any(|table| table.name == "flags") {
        // Nobody knows who has read what.
        sqlx::raw_sql("truncate django.new_things").execute(target).await?;
        return Ok(());
    }
    for table in kept.iter().filter(|table| ["discussions", "comments"].contains(&table.name)) {
        let new: Vec<i64> = sqlx::query_scalar("select id from django.new_things where kind = $1")
            .bind(table.name)
            .fetch_all(&mut *target)
            .await?;
        let mut in_snapshot: Vec<i64> = Vec::new();
        for part in table.sources {
            let select = format!("select id::bigint from public.\"{}\" where id = any($1)", part.name(source.flags));
            in_snapshot
                .extend(sqlx::query_scalar::<_, i64>(&select).bind(&new).fetch_all(&mut source.connection).await?);
        }
        sqlx::query(
            "delete from django.new_things n
             where n.kind = $1 and not exists (select from unnest($2::bigint[]) as s (id) where s.id = n.id)",
        )
        .bind(table.name)
        .bind(&in_snapshot)
        .execute(&mut *target)
        .await?;
    }
    Ok(())
}

/// Writes what is new or has changed into the mirror, and marks what is gone. Returns the number of these rows.
async fn compare(target: &mut PgConnection, table: &Table) -> Result<u64, sqlx::Error> {
    let (name, key) = (table.name, table.key(""));
    let values = table
        .values("")
        .split(", ")
        .map(|column| format!("{column} = excluded.{column}"))
        .collect::<Vec<_>>()
        .join(", ");
    let changed = sqlx::query(&format!(
        "insert into django.{name} ({columns})
         select {staged} from staged_{name} s left join django.{name} m on ({m_key}) = ({s_key})
         where m.id is null or m.is_gone or ({m_values}) is distinct from ({s_values})
         on conflict ({key}) do update set {values}, is_pending = true, is_gone = false",
        columns = table.columns(""),
        staged = table.columns("s."),
        m_key = table.key("m."),
        s_key = table.key("s."),
        m_values = table.values("m."),
        s_values = table.values("s."),
    ))
    .execute(&mut *target)
    .await?
    .rows_affected();
    let gone = sqlx::query(&format!(
        "update django.{name} m set is_gone = true, is_pending = true
         where not m.is_gone and not exists (select from staged_{name} s where ({}) = ({}))",
        table.key("s."),
        table.key("m.")
    ))
    .execute(target)
    .await?
    .rows_affected();
    Ok(changed + gone)
}
