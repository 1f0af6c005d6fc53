//! The SQL of idempotency keys.

use sqlx::PgExecutor;

use super::ANSWER_TTL_HOURS;
use crate::{db::Write, error::Result, ids::UserId};

/// Claims the key for this transaction. False if an earlier request has it. Waits while another transaction claims it. A key that
/// is older than [`ANSWER_TTL_HOURS`] is free again.
pub(crate) async fn claim(write: &mut Write, user: UserId, key: &str, hash: &[u8]) -> Result<bool> {
    let claimed = sqlx::query!(
        "insert into idempotency_keys as k (user_id, key, request_hash) values ($1, $2, $3)
         on conflict (user_id, key) do update
         set request_hash = excluded.request_hash, response = null, created_at = now()
         where k.created_at < now() - make_interval(hours => $4)",
        user as _,
        key,
        hash,
        ANSWER_TTL_HOURS
    )
    .execute(write)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// The hash of the first request with the key, and the id of what it wrote.
///
/// The last release stored whole answers, which have the id too.
pub(crate) async fn written(write: &mut Write, user: UserId, key: &str) -> Result<(Vec<u8>, i64)> {
    let row = sqlx::query!(
        r#"select request_hash, (response ->> 'id')::bigint as "id!" from idempotency_keys where user_id = $1 and key = $2"#,
        user as _,
        key
    )
    .fetch_one(write)
    .await?;
    Ok((row.request_hash, row.id))
}

/// Stores the id of what a request with a claimed key has written.
pub(crate) async fn keep(write: &mut Write, user: UserId, key: &str, written: i64) -> Result<()> {
    sqlx::query!(
        "update idempotency_keys set response = json_build_object('id', $3::bigint) where user_id = $1 and key = $2",
        user as _,
        key,
        written
    )
    .execute(write)
    .await?;
    Ok(())
}

/// Deletes the keys that are older than [`ANSWER_TTL_HOURS`].
pub(crate) async fn purge(db: impl PgExecutor<'_>) -> Result<()> {
    sqlx::query!(
        "delete from idempotency_keys where created_at < now() - make_interval(hours => $1)",
        ANSWER_TTL_HOURS
    )
    .execute(db)
    .await?;
    Ok(())
}
