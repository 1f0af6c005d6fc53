//! Histories of events, and the leap from one history to the next.
//!
//! A database can lose its newest part: a backup is restored, or a failover loses commits. Then it would give the same numbers
//! again, to other events. So `event_head` records which database gave the last number (migration 0007). If that is another
//! one, the numbering leaps: it continues from a new base.
//!
//! The invariant (I10): a cursor, a row or a stream entry counts only together with its [`HistoryId`].

use sha2::{Digest, Sha256};
use sqlx::PgExecutor;

use super::stream::EventStream;
use crate::{db::BackgroundDb, ids::EventId};

/// A history of events, whose numbers are above `base`. Two databases have different histories, and so does one database before
/// and after a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryId {
    /// The number from which the history continues; 0 where there never was a leap.
    pub base: EventId,
    /// Identifies the database.
    pub fingerprint: String,
}

impl HistoryId {
    /// A short name for keys in Redis.
    pub fn name(&self) -> String {
        let hash = Sha256::digest(&self.fingerprint);
        let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{hash}:{}", self.base)
    }
}

/// A history and how far it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The history.
    pub history: HistoryId,
    /// The newest event.
    pub head: EventId,
}

impl Position {
    /// Whether the history has or had an event of this number, or it is the base.
    pub(crate) fn has(&self, event_id: EventId) -> bool {
        (self.history.base..=self.head).contains(&event_id)
    }
}

/// The database's history and head.
pub async fn position(db: impl PgExecutor<'_>) -> Result<Position, sqlx::Error> {
    let row =
        sqlx::query!(r#"select base as "base: EventId", coalesce(fingerprint, '') as "fingerprint!", last_assigned as "last_assigned: EventId" from event_head"#)
            .fetch_one(db)
            .await?;
    Ok(Position { history: HistoryId { base: row.base, fingerprint: row.fingerprint }, head: row.last_assigned })
}

/// Whether the database is the one that gave the last number. A standby gives no numbers, so it counts as that database.
pub(crate) async fn is_present(db: impl PgExecutor<'_>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select fingerprint is not distinct from coalesce(event_history_fingerprint(), fingerprint) as "is_present!" from event_head"#
    )
    .fetch_one(db)
    .await
}

/// Leaps if the database is not the one that gave the last number. Returns the new base.
pub(crate) async fn leap_if_new(db: impl PgExecutor<'_>) -> Result<Option<EventId>, sqlx::Error> {
    sqlx::query_scalar!(r#"select leap_if_new_history() as "base: EventId""#).fetch_one(db).await
}

/// Leaps if the database has lost events of `history`, which were numbered up to `seen`. Returns the new base.
pub(crate) async fn leap_if_lost(
    db: impl PgExecutor<'_>,
    history: &HistoryId,
    seen: EventId,
) -> Result<Option<EventId>, sqlx::Error> {
    sqlx::query_scalar!(r#"select leap_if_lost($1, $2) as "base: EventId""#, history.base as _, seen as _)
        .fetch_one(db)
        .await
}

/// Leaps. Returns the new base.
pub async fn leap(db: impl PgExecutor<'_>) -> Result<EventId, sqlx::Error> {
    sqlx::query_scalar!(r#"select leap_now() as "base!: EventId""#).fetch_one(db).await
}

/// Compares the stream with the database, before a node gives or uses any number. If the stream has events that the database does
/// not know, the database has lost them, and the numbering leaps. If Redis does not answer, the feed compares them later.
pub(crate) async fn compare_stream(db: &BackgroundDb, stream: &EventStream) -> Result<(), sqlx::Error> {
    let history = position(db).await?.history;
    let last = match stream.connect().await {
        Ok(mut connection) => stream.last(&mut connection, &history).await,
        Err(error) => Err(error),
    };
    match last {
        Ok(last) => leap_if_stream_has_more(db, &history, last).await.map(|_| ()),
        Err(error) => {
            tracing::warn!(cause = %error, "Redis does not answer: its stream is compared with the database when it does");
            Ok(())
        }
    }
}

/// Whether the database knows all events in the stream of `history`, whose newest is `last`. If it does not, the numbering
/// leaps.
pub(crate) async fn leap_if_stream_has_more(
    db: &BackgroundDb,
    history: &HistoryId,
    last: EventId,
) -> Result<bool, sqlx::Error> {
    // The database is read after the stream. So it can be behind the stream only if it has lost events.
    let here = position(db).await?;
    if here.history != *history || last <= here.head {
        return Ok(here.history == *history);
    }
    tracing::error!(
        stream = last.get(),
        head = here.head.get(),
        "the stream in Redis has events that the database does not know: was an older state of the database brought back?"
    );
    if leap_if_lost(db, history, last).await?.is_none() && position(db).await? == here {
        // A standby cannot leap. Nothing in the stream counts until there is a primary.
        return Err(sqlx::Error::Protocol("the database has lost events and is read-only".to_owned()));
    }
    Ok(false)
}
