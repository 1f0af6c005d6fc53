//! Publishing numbered rows to Redis. Apart from the relay, so that a Redis that is slow or down holds up no numbering.
//!
//! Redis is only the fan-out: what it misses, the nodes read from Postgres. What it has lost (it was flushed, or failed over
//! without its tail) shows in its newest entry, and is filled in from Postgres as far back as Redis keeps events at all.
//! Every node does this; the stream refuses what it has, so that several at once are harmless.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use sqlx::PgPool;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::Row;
use crate::{
    feed::{
        jittered, postgres,
        redis::{Fanout, STREAM_EVENTS},
    },
    ids::EventId,
};

/// How often the stream is compared with the order when nothing comes.
const TICK: Duration = Duration::from_secs(1);

/// Keeps the stream in Redis up with the order.
pub struct Publisher {
    fanout: Fanout,
    pool: PgPool,
    /// What this node's relay numbers; what is lost on the way is read from Postgres.
    relayed: mpsc::Receiver<Vec<Row>>,
    /// The newest event known to be in the stream.
    published: EventId,
}

impl Publisher {
    /// A publisher of what comes by `relayed` and of all that the stream lacks.
    pub fn new(fanout: Fanout, pool: PgPool, relayed: mpsc::Receiver<Vec<Row>>) -> Self {
        Self { fanout, pool, relayed, published: 0 }
    }

    /// Publishes until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let ended = tokio::select! {
                ended = self.on_one_connection() => ended,
                () = shutdown.cancelled() => return,
            };
            if let Err(error) = ended {
                tracing::warn!(cause = %error, "cannot publish to Redis; the nodes read Postgres meanwhile");
                sleep(jittered(TICK)).await;
            }
        }
    }

    async fn on_one_connection(&mut self) -> anyhow::Result<()> {
        let mut redis = self.fanout.connect().await?;
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

    async fn publish(&mut self, redis: &mut MultiplexedConnection, rows: &[Row]) -> anyhow::Result<()> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        if self.fanout.last(redis).await? == first.event_id - 1 {
            self.fanout.add(redis, rows).await?;
            self.published = last.event_id;
            return Ok(());
        }
        self.refill(redis).await
    }

    /// Brings the stream from where it is up to the head.
    async fn refill(&mut self, redis: &mut MultiplexedConnection) -> anyhow::Result<()> {
        let head = postgres::head(&self.pool).await?;
        let mut last = self.fanout.last(redis).await?;
        // Asked before the head was, it could not be ahead of it; so ask again before the stream is called foreign.
        if last > head && last > postgres::head(&self.pool).await? {
            tracing::error!(
                stream = last,
                head,
                "the stream in Redis is ahead of the database: it is of another one; cleared"
            );
            self.fanout.clear(redis).await?;
            last = 0;
        }
        if last < head && last < self.published {
            tracing::warn!(stream = last, head, "Redis has lost events: filling them in from Postgres");
        }
        let mut after = last.max(head - STREAM_EVENTS as EventId);
        while after < head {
            let rows = postgres::after(&self.pool, after).await?;
            let Some(newest) = rows.last() else { break };
            after = newest.event_id;
            self.fanout.add(redis, &rows).await?;
        }
        self.published = head.max(last);
        Ok(())
    }

    /// Writes down how far the stream is, for people who look.
    async fn record(&self) -> Result<(), sqlx::Error> {
        sqlx::query!("update event_head set last_published = $1 where last_published < $1", self.published)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
