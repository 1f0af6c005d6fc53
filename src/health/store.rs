//! The SQL of the metrics.

use sqlx::PgExecutor;

use crate::error::Result;

/// The outbox rows without an event_id.
pub(crate) struct Waiting {
    /// How many there are.
    pub rows: i64,
    /// The age of the oldest one; 0 if there is none.
    pub oldest_seconds: f64,
}

/// Counts the outbox rows that the relay has not numbered yet.
pub(crate) async fn waiting(db: impl PgExecutor<'_>) -> Result<Waiting> {
    Ok(sqlx::query_as!(
        Waiting,
        r#"select count(*) as "rows!",
                  coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as "oldest_seconds!"
           from outbox where event_id is null"#
    )
    .fetch_one(db)
    .await?)
}
