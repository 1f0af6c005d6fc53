//! The SQL of the metrics.

use sqlx::PgExecutor;

use crate::error::Result;

/// What the relay has yet to do.
pub struct Waiting {
    /// Rows without an event_id.
    pub rows: i64,
    /// The age of the oldest of them.
    pub oldest_seconds: f64,
}

/// What the relay has yet to do.
pub async fn waiting(db: impl PgExecutor<'_>) -> Result<Waiting> {
    Ok(sqlx::query_as!(
        Waiting,
        r#"select count(*) as "rows!",
                  coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as "oldest_seconds!"
           from outbox where event_id is null"#
    )
    .fetch_one(db)
    .await?)
}
