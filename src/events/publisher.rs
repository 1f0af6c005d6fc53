//! The publisher writes numbered rows to the stream in Redis. It is apart from the relay, so that a slow or failed Redis does
//! not delay the numbering.
//!
//! Redis only spreads events. The nodes read from Postgres what it misses. If Redis loses events (it was flushed, or failed
//! over without its newest entries), its newest entry shows it, and the publisher fills them in from Postgres, as far back as
//! Redis keeps events. If the stream has events that the database does not know, the database has lost them, and the numbering
//! leaps (see [`history`]). Every node has a publisher. Several at once are harmless, because the stream refuses entries that
//! it has.
//!
//! When a deletion is in the stream, the publisher removes the older events that the deletion has redacted. The nodes read these
//! from Postgres, as they do with all that the stream misses. Each publisher also looks by itself now and then, because a node of
//! an older release, or one that died, may have added a deletion and removed nothing.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    OutboxRow,
    history::{self, HistoryId},
    log,
    stream::{EventStream, STREAM_EVENTS},
    stream_window::StreamWindow,
};
use crate::{background::BackgroundTask, db::BackgroundDb, ids::EventId};

/// How often the stream is compared with the database when no rows come.
const TICK: Duration = Duration::from_secs(1);

/// Keeps the stream in Redis complete.
pub(crate) struct Publisher {
    stream: EventStream,
    db: BackgroundDb,
    /// Rows from this node's relay. Those that do not fit into the channel are read from Postgres.
    relayed: mpsc::Receiver<Vec<OutboxRow>>,
    /// The history whose stream is written. None before the first look.
    history: Option<HistoryId>,
    /// The newest event known to be in that stream.
    published: EventId,
    /// The events that fit into it.
    window: StreamWindow,
    /// What the deletions up to this one have redacted is not in the stream.
    redacted: EventId,
}

impl Publisher {
    /// A publisher of the rows from `relayed`, and of all others that the stream lacks. The stream keeps about `stream_bytes`.
    pub(crate) fn new(
        stream: EventStream,
        db: BackgroundDb,
        relayed: mpsc::Receiver<Vec<OutboxRow>>,
        stream_bytes: usize,
    ) -> Self {
        let window = StreamWindow::new(stream_bytes);
        Self { stream, db, relayed, history: None, published: EventId::START, window, redacted: EventId::START }
    }
}

impl BackgroundTask for Publisher {
    const FAILURE: &'static str = "cannot publish to Redis; the nodes read Postgres meanwhile";

    async fn attempt(&mut self) -> anyhow::Result<()> {
        let mut redis = self.stream.connect().await?;
        self.stream.expire_unnamed(&mut redis).await?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(rows) = self.relayed.recv() => self.publish(&mut redis, &rows).await?,
                _ = tick.tick() => {
                    self.refill(&mut redis).await?;
                    self.redact(&mut redis).await?;
                    self.record().await?;
                }
            }
        }
    }
}

impl Publisher {
    async fn publish(&mut self, redis: &mut MultiplexedConnection, rows: &[OutboxRow]) -> anyhow::Result<()> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let before = first.event_id.minus(1);
        // It is the event after the stream's last. No other history has an event of that number to come.
        if let Some(history) = self.history.clone()
            && self.stream.last(redis, &history).await? == before
        {
            if !self.window.ends_at(before) {
                self.window.read(&self.db, before).await?;
            }
            self.add(redis, &history, rows).await?;
            self.published = last.event_id;
        } else {
            self.refill(redis).await?;
        }
        // A text cannot hide the mark of a deletion. It may have it too, and a summary has one type of event. That costs a needless look.
        let marks = ["\"deleted_", "\"updated_summary\""];
        match rows.iter().any(|row| marks.iter().any(|mark| row.payload.contains(mark))) {
            true => self.redact(redis).await,
            false => Ok(()),
        }
    }

    /// Removes from the stream what the deletions in it have redacted.
    async fn redact(&mut self, redis: &mut MultiplexedConnection) -> anyhow::Result<()> {
        let Some(history) = &self.history else { return Ok(()) };
        let oldest = self.published.minus(2 * STREAM_EVENTS);
        let after = self.redacted.max(oldest).max(history.base);
        let (events, done) = log::redacted(&self.db, oldest, after, self.published).await?;
        if !events.is_empty() {
            self.stream.remove(redis, history, &events).await?;
        }
        self.redacted = done.min(self.published);
        Ok(())
    }

    /// Adds rows that follow the window.
    async fn add(
        &mut self,
        redis: &mut MultiplexedConnection,
        history: &HistoryId,
        rows: &[OutboxRow],
    ) -> anyhow::Result<()> {
        self.window.add(rows);
        let Some(first) = self.window.first() else { return Ok(()) };
        Ok(self.stream.add(redis, history, rows, first).await?)
    }

    /// Adds what the stream lacks, up to the head.
    async fn refill(&mut self, redis: &mut MultiplexedConnection) -> anyhow::Result<()> {
        let history = history::position(&self.db).await?.history;
        let last = self.stream.last(redis, &history).await?;
        if !history::leap_if_stream_has_more(&self.db, &history, last).await? {
            return Ok(());
        }
        let position = history::position(&self.db).await?;
        if position.history != history {
            return Ok(());
        }
        let is_known = self.history.as_ref() == Some(&history);
        if is_known && last < position.head && last < self.published {
            tracing::warn!(
                stream = last.get(),
                head = position.head.get(),
                "Redis has lost events: filling them in from Postgres"
            );
        }
        if last < position.head {
            self.window.read(&self.db, position.head).await?;
        }
        let mut after = last.max(self.window.first().map_or(position.head, |first| first.minus(1))).max(history.base);
        while after < position.head {
            let batch = log::after(&self.db, after).await?;
            let Some(newest) = batch.rows.last().filter(|_| batch.position.history == history) else { break };
            after = newest.event_id;
            self.add(redis, &history, &batch.rows).await?;
        }
        self.stream.renew(redis, &history).await?;
        (self.history, self.published) = (Some(history), position.head);
        Ok(())
    }

    /// Records how far the stream is, for people who look at the database.
    async fn record(&self) -> Result<(), sqlx::Error> {
        let Some(history) = &self.history else { return Ok(()) };
        sqlx::query!(
            "update event_head set last_published = $1 where last_published < $1 and base = $2",
            self.published as _,
            history.base as _
        )
        .execute(&self.db)
        .await?;
        Ok(())
    }
}
