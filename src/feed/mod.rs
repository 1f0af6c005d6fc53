//! The feed: a node's ordered reader of events.
//!
//! Events come from this node's relay, from Redis, or from Postgres after a NOTIFY. Whatever the source, the hub gets an event
//! only if it is the one after its head. The feed reads from Postgres what is missing in between. So no source needs to be
//! complete, and none can reorder events.

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
        OutboxRow, history, kinds, log,
        stream::{EventStream, StreamBatch, StreamReader},
    },
    ids::EventId,
    metrics,
    realtime::hub::{Hub, Limits, Start},
};

/// The feed looks into Postgres this often, in case a notification is lost.
const TICK: Duration = Duration::from_secs(1);

/// A hub with the newest events of the order, so that a restart makes nobody catch up who was there a moment before. A quiet
/// community may have had older events in memory: see [`crate::realtime::hub`]. Only whoever was away for longer than the newest
/// events last must catch up on those.
pub(crate) async fn load(db: &BackgroundDb, limits: Limits) -> Result<Hub, sqlx::Error> {
    let hub = Hub::starting_at(limits, start(db, limits).await?);
    catch_up(db, &hub).await?;
    Ok(hub)
}

async fn start(db: &BackgroundDb, limits: Limits) -> Result<Start, sqlx::Error> {
    // These statements look at all communities, and after a start the database has nothing in its caches.
    let db = &db.patient();
    let (position, head) = log::start(db, limits.total_events as i64).await?;
    let evicted = log::evicted(db, head).await?;
    let kinds = kinds::at(db, head).await?;
    Ok(Start { floor: position.history.base, history: position.history, head, evicted, kinds })
}

/// Reads from Postgres all events after the hub's head. If they are in another history, or do not follow the head, the hub
/// leaps, so that a gap does not stop the feed.
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
        // The hub has only events that the database gave it. If the database does not know them any more, it has lost them.
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

/// Moves the hub to where the database is. If both have the same base, so that numbers do not tell their events apart, all events
/// up to `head` are gone.
async fn leap(db: &BackgroundDb, hub: &Hub, head: EventId) -> Result<(), sqlx::Error> {
    let mut start = start(db, hub.limits()).await?;
    if start.history.base == hub.history().base {
        (start.head, start.floor) = (head, head);
        start.kinds = kinds::at(&db.patient(), head).await?;
    }
    metrics::LEAPS.increment(1);
    hub.leap(start);
    Ok(())
}

/// Hands a row to the hub. False where it is not the next.
fn append(hub: &Hub, row: OutboxRow) -> bool {
    let event = row.into_event();
    let Some(answered) = hub.append(&event) else { return false };
    let waited = chrono::Utc::now().signed_duration_since(event.written_at);
    metrics::WRITE_TO_WAKE.record(waited.as_seconds_f64().max(0.0));
    metrics::DELIVERIES.increment(answered as u64);
    true
}

/// Connects to Redis, as soon as it answers. Without Redis, this never resolves.
async fn connect_reader(stream: Option<EventStream>, hub: Arc<Hub>) -> StreamReader {
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
    let batch = reader.read(last).await;
    (reader, batch)
}

/// Gives the hub all events, in order.
pub(crate) struct Feed {
    db: BackgroundDb,
    hub: Arc<Hub>,
    relayed: mpsc::Receiver<Vec<OutboxRow>>,
    stream: Option<EventStream>,
}

impl Feed {
    /// A feed that takes rows of this node's relay from `relayed`. It reads all other rows from Redis, if there is one and it
    /// answers, and else from Postgres.
    pub(crate) fn new(
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

    /// Follows Postgres until Redis answers, and then Redis until it does not.
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
    /// Reads Redis until it fails, and returns why. Also compares itself with Postgres now and then: the leader may be cut off from
    /// Redis, or Redis may have lost events.
    async fn follow_redis(&mut self, mut reader: StreamReader) -> Result<redis::RedisError, sqlx::Error> {
        if let Err(error) = self.compare_with_database(&mut reader).await? {
            return Ok(error);
        }
        let mut tick = interval(TICK / 2);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reading = Box::pin(read(reader, self.hub.head()));
        loop {
            tokio::select! {
                biased;
                Some(rows) = self.relayed.recv() => self.append(rows).await?,
                (mut reader, batch) = &mut reading => {
                    let batch = match batch {
                        Ok(batch) => batch,
                        Err(error) => return Ok(error),
                    };
                    for queue in batch.closed {
                        self.hub.closed_elsewhere(queue);
                    }
                    // The hub may have leapt during the read.
                    if *reader.history() == self.hub.history() {
                        self.append(batch.rows).await?;
                    }
                    if *reader.history() != self.hub.history()
                        && let Err(error) = self.compare_with_database(&mut reader).await?
                    {
                        return Ok(error);
                    }
                    // A read under way is never dropped, or its answer would be lost. So the next read starts here.
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

    /// Makes the reader read the hub's history, and compares that stream with the database before its events count. If the stream
    /// has events that the database does not know, the database has lost them, and the numbering leaps.
    async fn compare_with_database(
        &mut self,
        reader: &mut StreamReader,
    ) -> Result<redis::RedisResult<()>, sqlx::Error> {
        loop {
            // Events may have come between the last read of Postgres and the reader's connection.
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

    /// Reads Postgres until Redis answers, if there is one.
    async fn follow_postgres(&mut self) -> Result<Option<StreamReader>, sqlx::Error> {
        // Listen before the first read, so that nothing in between is missed.
        let mut listener: PgListener = self.db.listen("events").await?;
        catch_up(&self.db, &self.hub).await?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut redis = std::pin::pin!(connect_reader(self.stream.clone(), Arc::clone(&self.hub)));
        loop {
            tokio::select! {
                biased;
                Some(rows) = self.relayed.recv() => self.append(rows).await?,
                reader = &mut redis => return Ok(Some(reader)),
                notification = listener.try_recv() => {
                    // The event may have come from this node's relay already. None means that the connection was lost, and
                    // perhaps notifications with it.
                    let newest = notification?.and_then(|notification| notification.payload().parse::<EventId>().ok());
                    if newest.is_none_or(|newest| newest > self.hub.head()) {
                        catch_up(&self.db, &self.hub).await?;
                    }
                }
                _ = tick.tick() => catch_up(&self.db, &self.hub).await?,
            }
        }
    }

    /// Appends rows. Reads from Postgres what is missing before one.
    async fn append(&mut self, rows: Vec<OutboxRow>) -> Result<(), sqlx::Error> {
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
