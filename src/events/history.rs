//! Which history the numbers of events belong to, and the leap from one history to the next.
//!
//! A database can lose its newest part: a backup is restored, a failover loses commits. It would give the same numbers again
//! to other events. So the database says which history gave the last number (`event_head`, migration 0007), and where that is
//! not the present one, the numbering goes on from a new base. The invariant (I10): a cursor, a row or a stream entry is
//! believed only together with the [`HistoryId`] that it is of.

use sha2::{Digest, Sha256};
use sqlx::PgExecutor;

use super::stream::EventStream;
use crate::{db::BackgroundDb, ids::EventId};

/// A history: its events have numbers above `base`. Two databases, or one before and after a restore, do not share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryId {
    /// The place from which its numbers go on; 0 where there never was a leap.
    pub base: EventId,
    /// The database that it is in.
    pub fingerprint: String,
}

impl HistoryId {
    /// A short name of it, for a key in Redis.
    pub fn name(&self) -> String {
        let hash = Sha256::digest(&self.fingerprint);
        let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{hash}:{}", self.base)
    }
}

/// How far the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its history.
    pub history: HistoryId,
    /// Its newest event.
    pub head: EventId,
}

impl Position {
    /// Whether an event of this number is or was in this history; the base counts as one.
    pub fn has(&self, event_id: EventId) -> bool {
        (self.history.base..=self.head).contains(&event_id)
    }
}

/// How far the database is.
pub async fn position(db: impl PgExecutor<'_>) -> Result<Position, sqlx::Error> {
    let row =
        sqlx::query!(r#"select base as "base: EventId", coalesce(fingerprint, '') as "fingerprint!", last_assigned as "last_assigned: EventId" from event_head"#)
            .fetch_one(db)
            .await?;
    Ok(Position { history: HistoryId { base: row.base, fingerprint: row.fingerprint }, head: row.last_assigned })
}

/// Whether the database is the one that gave the last number. A standby is taken to be: it gives none.
pub async fn is_present(db: impl PgExecutor<'_>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select fingerprint is not distinct from coalesce(event_history_fingerprint(), fingerprint) as "is_present!" from event_head"#
    )
    .fetch_one(db)
    .await
}

/// Leaps if the database is another one than that which gave the last number: the new base.
pub async fn leap_if_new(db: impl PgExecutor<'_>) -> Result<Option<EventId>, sqlx::Error> {
    sqlx::query_scalar!(r#"select leap_if_new_history() as "base: EventId""#).fetch_one(db).await
}

/// Leaps if the database has lost events of `history` that were numbered up to `seen`: the new base.
pub async fn leap_if_lost(
    db: impl PgExecutor<'_>,
    history: &HistoryId,
    seen: EventId,
) -> Result<Option<EventId>, sqlx::Error> {
    sqlx::query_scalar!(r#"select leap_if_lost($1, $2) as "base: EventId""#, history.base as _, seen as _)
        .fetch_one(db)
        .await
}

/// Leaps: the new base.
pub async fn leap(db: impl PgExecutor<'_>) -> Result<EventId, sqlx::Error> {
    sqlx::query_scalar!(r#"select leap_now() as "base!: EventId""#).fetch_one(db).await
}

/// Compares the stream with the database before a node gives or believes any number: what the stream has and the database does not
/// know, the database has lost, and the numbering leaps. With a Redis that does not answer, the feed does so when it does.
pub async fn compare_stream(db: &BackgroundDb, stream: &EventStream) -> Result<(), sqlx::Error> {
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

/// Whether the stream of `history`, whose newest event is `last`, has nothing that the database lacks. Where it has, the
/// numbering leaps.
pub async fn leap_if_stream_has_more(
    db: &BackgroundDb,
    history: &HistoryId,
    last: EventId,
) -> Result<bool, sqlx::Error> {
    // Read after the stream was, the database cannot be behind it, unless it has lost what it once gave.
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
        // A standby cannot leap: nothing of the stream is believed meanwhile.
        return Err(sqlx::Error::Protocol("the database has lost events and is read-only".to_owned()));
    }
    Ok(false)
}
