//! Merges pending rows of the mirror into our tables, in batches. Each batch is one transaction.

use sqlx::{Connection, PgConnection};

use super::{
    mirror,
    progress::{Step, StepTime},
    tables::TABLES,
};

/// How often a batch is tried if the server's own writes get in its way.
const TRIES: u32 = 10;
/// A user counts as so many rows, for the size of a batch of users: most have some flags.
const ROWS_OF_A_USER: i64 = 10;

/// A kind of rows that is merged by itself.
struct Kind {
    /// What is merged, for people.
    name: String,
    /// Selects the next keys; $1 is their number.
    next: String,
    /// Merges these keys.
    merge: String,
    /// Counts those that are left.
    count: String,
    batch: i64,
}

fn kinds(batch_size: i64) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for table in TABLES.map(|table| table.name) {
        match table {
            "roles" => kinds.extend(["admin", "moderator", "reviewer"].map(|role| Kind {
                name: format!("{role}s"),
                next: format!("select id from django.roles where is_pending and kind = '{role}' order by id limit $1"),
                merge: format!("select django.merge_roles('{role}', $1)"),
                count: format!("select count(*) from django.roles where is_pending and kind = '{role}'"),
                batch: batch_size,
            })),
            "flags" => kinds.push(Kind {
                name: "read states of users".to_owned(),
                next: "select user_id as id from django.read_work order by user_id limit $1".to_owned(),
                merge: "select django.merge_reads($1)".to_owned(),
                count: "select count(*) from django.read_work".to_owned(),
                batch: (batch_size / ROWS_OF_A_USER).max(1),
            }),
            name => kinds.push(Kind {
                name: name.to_owned(),
                next: format!("select id from django.{name} where is_pending order by id limit $1"),
                merge: format!("select django.merge_{name}($1)"),
                count: format!("select count(*) from django.{name} where is_pending"),
                batch: batch_size,
            }),
        }
    }
    kinds
}

/// What has events where Django writes it. The merges of following write them.
const TOLD: [&str; 5] = ["pseudonyms", "discussions", "comments", "votes", "summaries"];

/// Merges all that is pending, but for what following has to tell of: that is tried again with Django's next change.
pub(super) async fn merge_all(target: &mut PgConnection, batch_size: i64) -> anyhow::Result<Vec<StepTime>> {
    let mut times = Vec::new();
    let django_writes = mirror::setting(target, "writer").await?.as_deref() == Some("django");
    for kind in kinds(batch_size) {
        if django_writes && TOLD.contains(&kind.name.as_str()) {
            let retry = format!(
                "insert into django.failures (kind, id, reason)
                 select '{name}', id, 'not merged yet' from django.{name} where is_pending on conflict do nothing",
                name = kind.name
            );
            sqlx::raw_sql(&retry).execute(&mut *target).await?;
            continue;
        }
        let total: i64 = sqlx::query_scalar(&kind.count).fetch_one(&mut *target).await?;
        let mut step = Step::new(format!("merge {}", kind.name), Some(total.unsigned_abs()));
        loop {
            let merged = merge_next(target, &kind).await?;
            step.add(merged);
            if merged == 0 {
                break;
            }
        }
        times.push(step.end());
        // Later merges read what this one has written.
        if total > kind.batch && ["users", "discussions", "comments"].contains(&kind.name.as_str()) {
            sqlx::raw_sql(&format!("analyze {}", kind.name)).execute(&mut *target).await?;
        }
    }
    sqlx::raw_sql("select django.end_read_work()").execute(target).await?;
    Ok(times)
}

/// Merges the next batch. Returns its size, 0 if nothing is left.
async fn merge_next(target: &mut PgConnection, kind: &Kind) -> Result<u64, sqlx::Error> {
    let mut tries = 1;
    loop {
        match try_next(target, kind).await {
            Err(error) if is_conflict(&error) && tries < TRIES => tries += 1,
            merged => return merged,
        }
    }
}

async fn try_next(target: &mut PgConnection, kind: &Kind) -> Result<u64, sqlx::Error> {
    let mut transaction = target.begin().await?;
    let before = last_outbox_row(&mut transaction).await?;
    let keys: Vec<i64> = sqlx::query_scalar(&kind.next).bind(kind.batch).fetch_all(&mut *transaction).await?;
    if keys.is_empty() {
        return Ok(0);
    }
    sqlx::query(&kind.merge).bind(&keys).execute(&mut *transaction).await?;
    if silence(&mut transaction, before).await? > 0 {
        mirror::set(&mut transaction, "leap_due", "true").await?;
    }
    transaction.commit().await?;
    Ok(keys.len() as u64)
}

/// The newest row of the outbox, for [`silence`].
pub(super) async fn last_outbox_row(transaction: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select coalesce(max(id), 0) from outbox").fetch_one(transaction).await
}

/// Deletes the outbox rows that triggers have written in this transaction, before anybody can see them. What takes access away stays: a
/// server that is live must hear of it at once. Returns how many it has deleted.
pub(super) async fn silence(transaction: &mut PgConnection, before: i64) -> Result<u64, sqlx::Error> {
    let silenced = sqlx::query(
        "delete from outbox
         where id > $1 and xmin = pg_current_xact_id()::xid
           and not (type in ('account_changed', 'sessions_ended', 'community_changed')
                    or type = 'membership_changed' and payload ->> 'role' is null)",
    )
    .bind(before)
    .execute(transaction)
    .await?;
    Ok(silenced.rows_affected())
}

/// Whether the server was in the way: a deadlock, or the like.
fn is_conflict(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code.starts_with("40"))
}
