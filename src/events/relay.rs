//! The relay: gives committed outbox rows their places in the one total order, and hands them on.
//!
//! Invariants: an event_id is given once, after the commit of its row, in the order of the rows' ids, without gaps (I2); and
//! it is committed before anyone is told of it (I7); and in the history that the database is in ([`super::history`]). All of
//! that is `assign_event_ids` in the database. The advisory lock only keeps the nodes from doing the same work: two relays at
//! once are harmless, and so a node that sees rows wait although another holds the lock (a paused process does that) numbers
//! them itself.

use std::{sync::Arc, time::Duration};

use sqlx::PgExecutor;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    OutboxRow,
    history::{self, Position},
};
use crate::{
    background::BackgroundTask,
    db::{BackgroundConnection, BackgroundDb, RelayNotifier},
    ids::{CommunityId, EventId, UserId},
    metrics,
};

/// Rows numbered at a time.
const BATCH: i32 = 1_000;
/// The leader looks this often without being woken: the net below the wake-ups, and for rows that other programs write into the
/// outbox itself. (A change of memberships by SQL wakes the relay through a trigger.) Each look costs an idle node some 0.3 ms.
const LEADER_TICK: Duration = Duration::from_millis(200);
/// A follower tries this often to become the leader.
const FOLLOWER_TICK: Duration = Duration::from_millis(500);
/// What the lock is called. Advisory locks are per database.
const LOCK: i64 = 0x64_69_73_63_75_73_73;

/// How far this node has come, for [`history::leap_if_lost`].
pub type Seen = Box<dyn Fn() -> Position + Send + Sync>;

/// Where numbered rows go.
pub struct Relay {
    db: BackgroundDb,
    notifier: Arc<RelayNotifier>,
    seen: Seen,
    /// This node's feed and, where there is Redis, its publisher. They may take rows from here or read them themselves:
    /// what does not fit is dropped.
    subscribers: Vec<mpsc::Sender<Vec<OutboxRow>>>,
}

impl Relay {
    /// A relay on a connection of its own.
    pub fn new(
        db: BackgroundDb,
        notifier: Arc<RelayNotifier>,
        seen: Seen,
        subscribers: Vec<mpsc::Sender<Vec<OutboxRow>>>,
    ) -> Self {
        Self { db, notifier, seen, subscribers }
    }
}

impl BackgroundTask for Relay {
    const FAILURE: &'static str = "the relay lost its database connection; trying again";

    /// Relays, or waits to become the leader.
    async fn attempt(&mut self) -> anyhow::Result<()> {
        let mut connection = self.db.connect().await?;
        // Before any number is given: this may be another database by now, or an older state of it.
        history::leap_if_new(&mut connection).await?;
        let seen = (self.seen)();
        history::leap_if_lost(&mut connection, &seen.history, seen.head).await?;
        let mut tick = interval(FOLLOWER_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Tell the leader, wherever it is.
                () = self.notifier.notified() => {
                    sqlx::query!("select pg_notify('outbox', '')").fetch_one(&mut connection).await?;
                }
                _ = tick.tick() => {
                    if try_lock(&mut connection).await? {
                        return Ok(self.lead(connection).await?);
                    }
                    if overdue(&mut connection).await? {
                        tracing::warn!("rows wait in the outbox although another node holds the relay's lock; relaying them here");
                        self.drain(&mut connection).await?;
                    }
                }
            }
        }
    }
}

impl Relay {
    async fn lead(&self, mut connection: BackgroundConnection) -> Result<(), sqlx::Error> {
        tracing::info!("this node's relay is the leader");
        // Listen first, look afterwards: nothing that comes in between is missed.
        let mut listener = self.db.listen("outbox").await?;
        let mut listening = true;
        loop {
            self.drain(&mut connection).await?;
            tokio::select! {
                () = self.notifier.notified() => {}
                woken = listener.try_recv(), if listening => {
                    // Without the listener the timer is left; the connection that matters is the lock's.
                    listening = woken.is_ok();
                }
                () = sleep(LEADER_TICK) => {}
            }
        }
    }

    /// Numbers all that waits and hands it on.
    async fn drain(&self, connection: &mut BackgroundConnection) -> Result<(), sqlx::Error> {
        loop {
            let rows = number(&mut *connection, BATCH).await?;
            let count = rows.len();
            if count == 0 {
                return Ok(());
            }
            metrics::RELAYED_EVENTS.increment(count as u64);
            for subscriber in &self.subscribers {
                // Full or closed: it reads from Postgres what it did not get here.
                let _ = subscriber.try_send(rows.clone());
            }
            if count < BATCH as usize {
                return Ok(());
            }
        }
    }
}

/// Numbers up to `batch` waiting rows and returns them in order.
pub async fn number(connection: impl PgExecutor<'_>, batch: i32) -> Result<Vec<OutboxRow>, sqlx::Error> {
    sqlx::query_as!(
        OutboxRow,
        r#"select event_id as "event_id!: EventId", community_id as "community_id!: CommunityId", user_id as "user_id: UserId",
                  payload as "payload!", created_at as "created_at!"
           from assign_event_ids($1)"#,
        batch
    )
    .fetch_all(connection)
    .await
}

async fn try_lock(connection: &mut BackgroundConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "locked!""#, LOCK).fetch_one(connection).await
}

/// Whether rows wait for longer than a leader that is alive lets them.
async fn overdue(connection: &mut BackgroundConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (
               select from (select created_at from outbox where event_id is null order by id limit 1) oldest
               where created_at < clock_timestamp() - interval '1 second'
           ) as "overdue!""#
    )
    .fetch_one(connection)
    .await
}
