//! The feed: a node's ordered reader of events.
//!
//! Whatever hints at an event (this node's relay, LISTEN, Redis), it goes to the hub only as the one after the last; what is
//! missing in between is read from Postgres. So no source needs to be complete, and none can reorder.

use std::{sync::Arc, time::Duration};

use sqlx::postgres::PgListener;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    background::{BackgroundTask, Backoff},
    db::BackgroundDb,
    events::{
        OutboxRow, history, log,
        stream::{EventStream, StreamBatch, StreamReader},
    },
    ids::EventId,
    metrics,
    realtime::hub::{Hub, Limits, Start},
};

/// The net below all wake-ups.
const TICK: Duration = Duration::from_secs(1);

/// A hub with the recent tail of the order, as it was before a restart: nobody needs to catch up.
pub async fn load(db: &BackgroundDb, limits: Limits) -> Result<Hub, sqlx::Error> {
    let hub = Hub::starting_at(limits, start(db, limits).await?);
    catch_up(db, &hub).await?;
    Ok(hub)
}

async fn start(db: &BackgroundDb, limits: Limits) -> Result<Start, sqlx::Error> {
    // These look at all communities, and at a start nothing is in the database's memory.
    let db = &db.patient();
    let (position, head) = log::start(db, limits.total_events as i64).await?;
    let evicted = log::evicted(db, head).await?;
    Ok(Start { floor: position.history.base, history: position.history, head, evicted })
}

/// Reads from Postgres what comes after the hub's head, to the end. Where that is not in the hub's history, or not next to its
/// head, the hub leaps: no gap holds the feed up.
async fn catch_up(db: &BackgroundDb, hub: &Hub) -> Result<(), sqlx::Error> {
    let seen = hub.position();
    loop {
        let batch = log::after(db, hub.head()).await?;
        let here = hub.position();
        if batch.position.history != here.history {
            tracing::warn!(
                old_base = here.history.base.get(),
                old_head = here.head.get(),
                base = batch.position.history.base.get(),
                "the database is in another history of events (it was restored, it failed over with a loss, or `discussions leap` \
                 was run): events go on from the new base, and the clients of this node are told to catch up"
            );
            leap(db, hub, batch.position.head).await?;
            continue;
        }
        // The hub has only what the database gave it: what that does not know any more, it has lost.
        if batch.position.history == seen.history && batch.position.head < seen.head {
            if history::leap_if_lost(db, &seen.history, seen.head).await?.is_some() {
                tracing::error!(
                    head = batch.position.head.get(),
                    seen = seen.head.get(),
                    "the database has lost events that were delivered: was an older state of it brought back?"
                );
                continue;
            }
            return Ok(());
        }
        if let Some(first) = batch.rows.first()
            && first.event_id != here.head.next()
        {
            tracing::error!(
                head = here.head.get(),
                next = first.event_id.get(),
                "events between these are gone from the outbox: the clients of this node are told to catch up"
            );
            leap(db, hub, first.event_id.minus(1)).await?;
            continue;
        }
        let complete = (batch.rows.len() as i64) < log::BATCH;
        for row in batch.rows {
            append(hub, row);
        }
        if complete {
            return Ok(());
        }
    }
}

/// Takes the hub to where the database is. Where the numbers do not tell the two apart, everything up to `here` counts as gone.
async fn leap(db: &BackgroundDb, hub: &Hub, here: EventId) -> Result<(), sqlx::Error> {
    let mut start = start(db, hub.limits()).await?;
    if start.history.base == hub.history().base {
        (start.head, start.floor) = (here, here);
    }
    metrics::LEAPS.increment(1);
    hub.leap(start);
    Ok(())
}

/// Hands a row to the hub; false where it is not the next.
fn append(hub: &Hub, row: OutboxRow) -> bool {
    let event = row.into_event();
    let Some(woken) = hub.append(&event) else { return false };
    let waited = chrono::Utc::now().signed_duration_since(event.written_at);
    metrics::WRITE_TO_WAKE.record(waited.as_seconds_f64().max(0.0));
    metrics::DELIVERIES.increment(woken as u64);
    true
}

/// Resolves when Redis answers: never, where there is none.
async fn answering(stream: Option<EventStream>, hub: Arc<Hub>) -> StreamReader {
    let Some(stream) = stream else { return std::future::pending().await };
    let mut backoff = Backoff::default();
    loop {
        match stream.reader(hub.history()).await {
            Ok(reader) => return reader,
            Err(error) => tracing::debug!(cause = %error, "Redis does not answer yet"),
        }
        sleep(backoff.next_delay()).await;
    }
}

async fn read(mut reader: StreamReader, last: EventId) -> (StreamReader, redis::RedisResult<StreamBatch>) {
    let news = reader.read(last).await;
    (reader, news)
}

/// Feeds `hub` with all events, in order.
pub struct Feed {
    db: BackgroundDb,
    hub: Arc<Hub>,
    relayed: mpsc::Receiver<Vec<OutboxRow>>,
    stream: Option<EventStream>,
}

impl Feed {
    /// A feed that takes what this node's relay numbers from `relayed`, and all else from the stream in Redis, where there
    /// is one and it answers, or from Postgres.
    pub fn new(
        db: BackgroundDb,
        hub: Arc<Hub>,
        relayed: mpsc::Receiver<Vec<OutboxRow>>,
        stream: Option<EventStream>,
    ) -> Self {
        Self { db, hub, relayed, stream }
    }
}

impl BackgroundTask for Feed {
    const FAILURE: &'static str = "the feed cannot read the database; trying again";

    /// Follows Postgres until Redis answers, then Redis until it does not.
    async fn attempt(&mut self) -> anyhow::Result<()> {
        metrics::FEED_ON_REDIS.set(0.0);
        let Some(reader) = self.follow_postgres().await? else { return Ok(()) };
        metrics::FEED_ON_REDIS.set(1.0);
        tracing::info!("the feed reads Redis");
        let why = self.follow_redis(reader).await?;
        tracing::warn!(cause = %why, "Redis does not answer: the feed reads Postgres until it does");
        Ok(())
    }
}

impl Feed {
    /// Until Redis fails; why is the result. Postgres is asked now and then whether there is more: the relay may be cut off
    /// from Redis, or Redis may have lost what it was given.
    async fn follow_redis(&mut self, mut reader: StreamReader) -> Result<redis::RedisError, sqlx::Error> {
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
                    if history::position(&self.db).await? != here {
                        catch_up(&self.db, &self.hub).await?;
                    }
                }
            }
        }
    }

    /// Compares the stream with the database before anything in it is believed, and has the reader read the hub's history.
    /// What the stream has and the database does not know, the database has lost: then the numbering leaps.
    async fn agree(&mut self, reader: &mut StreamReader) -> Result<redis::RedisResult<()>, sqlx::Error> {
        loop {
            // What came between the last look at Postgres and the reader.
            catch_up(&self.db, &self.hub).await?;
            reader.switch_to(self.hub.history());
            let last = match reader.last().await {
                Ok(last) => last,
                Err(error) => return Ok(Err(error)),
            };
            if history::leap_if_stream_has_more(&self.db, reader.history(), last).await? {
                return Ok(Ok(()));
            }
        }
    }

    /// Until Redis answers, if there is one.
    async fn follow_postgres(&mut self) -> Result<Option<StreamReader>, sqlx::Error> {
        // Listen first, read afterwards: nothing that comes in between is missed.
        let mut listener: PgListener = self.db.listen("events").await?;
        catch_up(&self.db, &self.hub).await?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut redis = std::pin::pin!(answering(self.stream.clone(), Arc::clone(&self.hub)));
        loop {
            tokio::select! {
                biased;
                Some(rows) = self.relayed.recv() => self.take(rows).await?,
                reader = &mut redis => return Ok(Some(reader)),
                heard = listener.try_recv() => {
                    // What is announced may have come by the relay already. A lost connection may have lost announcements.
                    let newest = heard?.and_then(|heard| heard.payload().parse::<EventId>().ok());
                    if newest.is_none_or(|newest| newest > self.hub.head()) {
                        catch_up(&self.db, &self.hub).await?;
                    }
                }
                _ = tick.tick() => catch_up(&self.db, &self.hub).await?,
            }
        }
    }

    async fn take(&mut self, rows: Vec<OutboxRow>) -> Result<(), sqlx::Error> {
        for row in rows {
            let event_id = row.event_id;
            if event_id > self.hub.head() && !append(&self.hub, row) {
                metrics::FEED_GAP_FILLS.increment(1);
                catch_up(&self.db, &self.hub).await?;
            }
        }
        Ok(())
    }
}
