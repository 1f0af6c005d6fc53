//! The feed: a node's ordered reader of events.
//!
//! Whatever hints at an event (this node's relay, LISTEN, Redis), it goes to the hub only as the one after the last; what is
//! missing in between is read from Postgres. So no source needs to be complete, and none can reorder.

pub mod postgres;
pub mod redis;

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgListener};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use self::redis::{Fanout, News, Reader};
use crate::{
    events::{Row, history},
    ids::EventId,
    realtime::hub::{Hub, Limits, Start},
};

/// The net below all wake-ups.
const TICK: Duration = Duration::from_secs(1);
/// About this long between attempts to reach a Redis that is down.
const RECONNECT: Duration = Duration::from_secs(1);

/// A duration between half of `base` and all of it, so that many clients of one thing do not come back together.
pub fn jittered(base: Duration) -> Duration {
    base.mul_f64(rand::random_range(0.5..=1.0))
}

/// A hub with the recent tail of the order, as it was before a restart: nobody needs to catch up.
pub async fn load(pool: &PgPool, limits: Limits) -> Result<Hub, sqlx::Error> {
    let hub = Hub::starting_at(limits, start(pool, limits).await?);
    catch_up(pool, &hub).await?;
    Ok(hub)
}

async fn start(pool: &PgPool, limits: Limits) -> Result<Start, sqlx::Error> {
    let (position, head) = postgres::start(pool, limits.total_events as i64).await?;
    let evicted = postgres::evicted(pool, head).await?;
    Ok(Start { floor: position.history.base, history: position.history, head, evicted })
}

/// Reads from Postgres what comes after the hub's head, to the end. Where that is not in the hub's history, or not next to its
/// head, the hub leaps: no gap holds the feed up.
async fn catch_up(pool: &PgPool, hub: &Hub) -> Result<(), sqlx::Error> {
    let seen = hub.position();
    loop {
        let batch = postgres::after(pool, hub.head()).await?;
        let here = hub.position();
        if batch.position.history != here.history {
            tracing::warn!(
                old_base = here.history.base,
                old_head = here.head,
                base = batch.position.history.base,
                "the database is in another history of events (it was restored, it failed over with a loss, or `discussions leap` \
                 was run): events go on from the new base, and the clients of this node are told to catch up"
            );
            leap(pool, hub, batch.position.head).await?;
            continue;
        }
        // The hub has only what the database gave it: what that does not know any more, it has lost.
        if batch.position.history == seen.history && batch.position.head < seen.head {
            if history::leap_if_lost(pool, &seen.history, seen.head).await?.is_some() {
                tracing::error!(
                    head = batch.position.head,
                    seen = seen.head,
                    "the database has lost events that were delivered: was an older state of it brought back?"
                );
                continue;
            }
            return Ok(());
        }
        if let Some(first) = batch.rows.first()
            && first.event_id != here.head + 1
        {
            tracing::error!(
                head = here.head,
                next = first.event_id,
                "events between these are gone from the outbox: the clients of this node are told to catch up"
            );
            leap(pool, hub, first.event_id - 1).await?;
            continue;
        }
        let complete = (batch.rows.len() as i64) < postgres::BATCH;
        for row in batch.rows {
            append(hub, row);
        }
        if complete {
            return Ok(());
        }
    }
}

/// Takes the hub to where the database is. Where the numbers do not tell the two apart, everything up to `here` counts as gone.
async fn leap(pool: &PgPool, hub: &Hub, here: EventId) -> Result<(), sqlx::Error> {
    let mut start = start(pool, hub.limits()).await?;
    if start.history.base == hub.history().base {
        (start.head, start.floor) = (here, here);
    }
    metrics::counter!("discussions_leaps_total").increment(1);
    hub.leap(start);
    Ok(())
}

/// Hands a row to the hub; false where it is not the next.
fn append(hub: &Hub, row: Row) -> bool {
    let event = row.relayed();
    let Some(woken) = hub.append(&event) else { return false };
    let waited = chrono::Utc::now().signed_duration_since(event.written_at);
    metrics::histogram!("discussions_write_to_wake_seconds").record(waited.as_seconds_f64().max(0.0));
    metrics::counter!("discussions_deliveries_total").increment(woken as u64);
    true
}

/// Resolves when Redis answers: never, where there is none.
async fn answering(fanout: Option<Fanout>, hub: Arc<Hub>) -> Reader {
    let Some(fanout) = fanout else { return std::future::pending().await };
    loop {
        match fanout.reader(hub.history()).await {
            Ok(reader) => return reader,
            Err(error) => tracing::debug!(cause = %error, "Redis does not answer yet"),
        }
        sleep(jittered(RECONNECT)).await;
    }
}

async fn read(mut reader: Reader, last: EventId) -> (Reader, ::redis::RedisResult<News>) {
    let news = reader.read(last).await;
    (reader, news)
}

/// Feeds `hub` until `shutdown`.
pub struct Feed {
    pool: PgPool,
    hub: Arc<Hub>,
    relayed: mpsc::Receiver<Vec<Row>>,
    fanout: Option<Fanout>,
}

impl Feed {
    /// A feed that takes what this node's relay numbers from `relayed`, and all else from the fan-out, where there is one
    /// and it answers, or from Postgres.
    pub fn new(pool: PgPool, hub: Arc<Hub>, relayed: mpsc::Receiver<Vec<Row>>, fanout: Option<Fanout>) -> Self {
        Self { pool, hub, relayed, fanout }
    }

    /// Feeds the hub until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let ended = tokio::select! {
                ended = self.follow() => ended,
                () = shutdown.cancelled() => return,
            };
            if let Err(error) = ended {
                tracing::warn!(cause = %error, "the feed cannot read the database; trying again");
                sleep(jittered(Duration::from_millis(500))).await;
            }
        }
    }

    /// Follows Postgres until Redis answers, then Redis until it does not.
    async fn follow(&mut self) -> Result<(), sqlx::Error> {
        metrics::gauge!("discussions_feed_on_redis").set(0.0);
        let Some(reader) = self.follow_postgres().await? else { return Ok(()) };
        metrics::gauge!("discussions_feed_on_redis").set(1.0);
        tracing::info!("the feed reads Redis");
        let why = self.follow_redis(reader).await?;
        tracing::warn!(cause = %why, "Redis does not answer: the feed reads Postgres until it does");
        Ok(())
    }

    /// Until Redis fails; why is the result. Postgres is asked now and then whether there is more: the relay may be cut off
    /// from Redis, or Redis may have lost what it was given.
    async fn follow_redis(&mut self, mut reader: Reader) -> Result<::redis::RedisError, sqlx::Error> {
        if let Err(error) = self.agree(&mut reader).await? {
            return Ok(error);
        }
        let mut tick = interval(TICK / 2);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reading = Box::pin(read(reader, self.hub.head()));
        loop {
            tokio::select! {
                biased;
                Some(rows) = self.relayed.recv() => self.take(rows).await?,
                (mut reader, news) = &mut reading => {
                    let news = match news {
                        Ok(news) => news,
                        Err(error) => return Ok(error),
                    };
                    for queue in news.closed {
                        self.hub.closed_elsewhere(queue);
                    }
                    // The hub may have leapt while this was read.
                    if *reader.history() == self.hub.history() {
                        self.take(news.rows).await?;
                    }
                    if *reader.history() != self.hub.history()
                        && let Err(error) = self.agree(&mut reader).await?
                    {
                        return Ok(error);
                    }
                    // Read on from here only now: a read under way is never given up, or its answer would be lost.
                    reading = Box::pin(read(reader, self.hub.head()));
                }
                _ = tick.tick() => {
                    let here = self.hub.position();
                    if history::position(&self.pool).await? != here {
                        catch_up(&self.pool, &self.hub).await?;
                    }
                }
            }
        }
    }

    /// Compares the stream with the database before anything in it is believed, and has the reader read the hub's history.
    /// What the stream has and the database does not know, the database has lost: then the numbering leaps.
    async fn agree(&mut self, reader: &mut Reader) -> Result<::redis::RedisResult<()>, sqlx::Error> {
        loop {
            // What came between the last look at Postgres and the reader.
            catch_up(&self.pool, &self.hub).await?;
            reader.switch_to(self.hub.history());
            let last = match reader.last().await {
                Ok(last) => last,
                Err(error) => return Ok(Err(error)),
            };
            let position = history::position(&self.pool).await?;
            if position.history != *reader.history() {
                continue;
            }
            if last <= position.head {
                return Ok(Ok(()));
            }
            tracing::error!(
                stream = last,
                head = position.head,
                "the stream in Redis has events that the database has lost"
            );
            if history::leap_if_lost(&self.pool, reader.history(), last).await?.is_none()
                && history::position(&self.pool).await? == position
            {
                // It cannot leap, as a standby: nothing of the stream is believed meanwhile.
                return Err(sqlx::Error::Protocol("the database has lost events and is read-only".to_owned()));
            }
        }
    }

    /// Until Redis answers, if there is one.
    async fn follow_postgres(&mut self) -> Result<Option<Reader>, sqlx::Error> {
        // Listen first, read afterwards: nothing that comes in between is missed.
        let mut listener: PgListener = postgres::listen(&self.pool).await?;
        catch_up(&self.pool, &self.hub).await?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut redis = std::pin::pin!(answering(self.fanout.clone(), Arc::clone(&self.hub)));
        loop {
            tokio::select! {
                biased;
                Some(rows) = self.relayed.recv() => self.take(rows).await?,
                reader = &mut redis => return Ok(Some(reader)),
                heard = listener.try_recv() => {
                    // What is announced may have come by the relay already. A lost connection may have lost announcements.
                    let newest = heard?.and_then(|heard| heard.payload().parse::<EventId>().ok());
                    if newest.is_none_or(|newest| newest > self.hub.head()) {
                        catch_up(&self.pool, &self.hub).await?;
                    }
                }
                _ = tick.tick() => catch_up(&self.pool, &self.hub).await?,
            }
        }
    }

    async fn take(&mut self, rows: Vec<Row>) -> Result<(), sqlx::Error> {
        for row in rows {
            let event_id = row.event_id;
            if event_id > self.hub.head() && !append(&self.hub, row) {
                metrics::counter!("discussions_feed_gap_fills_total").increment(1);
                catch_up(&self.pool, &self.hub).await?;
            }
        }
        Ok(())
    }
}
