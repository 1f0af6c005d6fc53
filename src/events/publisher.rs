//! Publishing numbered rows to Redis. Apart from the relay, so that a Redis that is slow or down holds up no numbering.
//!
//! Redis is only the fan-out: what it misses, the nodes read from Postgres. What it has lost (it was flushed, or failed over
//! without its tail) shows in its newest entry, and is filled in from Postgres as far back as Redis keeps events at all.
//! What the stream has and the database does not know, the database has lost: then the numbering leaps (see [`history`]).
//! Every node does this; the stream refuses what it has, so that several at once are harmless.

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
};
use crate::{background::BackgroundTask, db::BackgroundDb, ids::EventId};

/// How often the stream is compared with the order when nothing comes.
const TICK: Duration = Duration::from_secs(1);

/// Keeps the stream in Redis up with the order.
pub struct Publisher {
    stream: EventStream,
    db: BackgroundDb,
    /// What this node's relay numbers; what is lost on the way is read from Postgres.
    relayed: mpsc::Receiver<Vec<OutboxRow>>,
    /// The history whose stream is kept up; None before the first look.
    history: Option<HistoryId>,
    /// The newest event known to be in that stream.
    published: EventId,
}

impl Publisher {
    /// A publisher of what comes by `relayed` and of all that the stream lacks.
    pub fn new(stream: EventStream, db: BackgroundDb, relayed: mpsc::Receiver<Vec<OutboxRow>>) -> Self {
        Self { stream, db, relayed, history: None, published: EventId::START }
    }
}

impl BackgroundTask for Publisher {
    const FAILURE: &'static str = "cannot publish to Redis; the nodes read Postgres meanwhile";

    async fn attempt(&mut self) -> anyhow::Result<()> {
        let mut redis = self.stream.connect().await?;
        self.stream.let_go_of_nameless(&mut redis).await?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(rows) = self.relayed.recv() => self.publish(&mut redis, &rows).await?,
                _ = tick.tick() => {
                    self.refill(&mut redis).await?;
                    self.record().await?;
                }
            }
        }
    }
}

impl Publisher {
    async fn publish(&mut self, redis: &mut MultiplexedConnection, rows: &[OutboxRow]) -> anyhow::Result<()> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        // The next after the stream's last: in no other history is there an event of that number to come.
        if let Some(history) = &self.history
            && self.stream.last(redis, history).await? == first.event_id.minus(1)
        {
            self.stream.add(redis, history, rows).await?;
            self.published = last.event_id;
            return Ok(());
        }
        self.refill(redis).await
    }

    /// Brings the stream from where it is up to the head.
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
        let mut after = last.max(position.head.minus(STREAM_EVENTS)).max(history.base);
        while after < position.head {
            let batch = log::after(&self.db, after).await?;
            let Some(newest) = batch.rows.last().filter(|_| batch.position.history == history) else { break };
            after = newest.event_id;
            self.stream.add(redis, &history, &batch.rows).await?;
        }
        self.stream.keep(redis, &history).await?;
        (self.history, self.published) = (Some(history), position.head);
        Ok(())
    }

    /// Writes down how far the stream is, for people who look.
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
