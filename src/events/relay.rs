//! The relay gives committed outbox rows their event_ids and hands them on.
//!
//! Invariants:
//!
//! * An event_id is given once, after the commit of its row, in the order of the rows' ids, without gaps (I2).
//! * An event_id is committed before anyone hears of the event (I7).
//! * It belongs to the history that the database is in ([`super::history`]).
//!
//! `assign_event_ids` in the database guarantees all of this. The advisory lock only keeps the nodes from doing the same work:
//! two relays at once are harmless. So a node numbers rows itself if they wait although another node holds the lock, as a
//! paused process does.

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

/// How many rows are numbered at a time.
const BATCH: i32 = 1_000;
/// The leader looks this often without a notification, in case one is lost or another program writes into the outbox. (A change
/// of memberships by SQL notifies the relay by a trigger.) Each look costs an idle node about 0.3 ms.
const LEADER_TICK: Duration = Duration::from_millis(200);
/// A follower tries this often to become the leader.
const FOLLOWER_TICK: Duration = Duration::from_millis(500);
/// The key of the advisory lock. Advisory locks are per database.
const LOCK: i64 = 0x64_69_73_63_75_73_73;

/// Says how far this node has come, for [`history::leap_if_lost`].
pub(crate) type NodePosition = Box<dyn Fn() -> Position + Send + Sync>;

/// Numbers outbox rows, as the leader or as a follower that waits to become the leader.
pub(crate) struct Relay {
    db: BackgroundDb,
    notifier: Arc<RelayNotifier>,
    node_position: NodePosition,
    /// This node's feed and, where there is Redis, its publisher. A channel that is full gets nothing: its reader then reads
    /// the rows from Postgres.
    subscribers: Vec<mpsc::Sender<Vec<OutboxRow>>>,
}

impl Relay {
    /// A relay on a connection of its own.
    pub(crate) fn new(
        db: BackgroundDb,
        notifier: Arc<RelayNotifier>,
        node_position: NodePosition,
        subscribers: Vec<mpsc::Sender<Vec<OutboxRow>>>,
    ) -> Self {
        Self { db, notifier, node_position, subscribers }
    }
}

impl BackgroundTask for Relay {
    const FAILURE: &'static str = "the relay lost its database connection; trying again";

    async fn attempt(&mut self) -> anyhow::Result<()> {
        let mut connection = self.db.connect().await?;
        // Before any number is given: this may be another database now, or an older state of it.
        history::leap_if_new(&mut connection).await?;
        let seen = (self.node_position)();
        history::leap_if_lost(&mut connection, &seen.history, seen.head).await?;
        let mut tick = interval(FOLLOWER_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Notify the leader, on whichever node it is.
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
        // Listen before the first look, so that nothing in between is missed.
        let mut listener = self.db.listen("outbox").await?;
        let mut is_listening = true;
        loop {
            self.drain(&mut connection).await?;
            tokio::select! {
                () = self.notifier.notified() => {}
                notification = listener.try_recv(), if is_listening => {
                    // Without the listener, the timer remains. The lock is on the other connection.
                    is_listening = notification.is_ok();
                }
                () = sleep(LEADER_TICK) => {}
            }
        }
    }

    /// Numbers all waiting rows and hands them on.
    async fn drain(&self, connection: &mut BackgroundConnection) -> Result<(), sqlx::Error> {
        loop {
            let rows = number(&mut *connection, BATCH).await?;
            let count = rows.len();
            if count == 0 {
                return Ok(());
            }
            metrics::RELAYED_EVENTS.increment(count as u64);
            for subscriber in &self.subscribers {
                // A subscriber whose channel is full or closed reads the rows from Postgres.
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
        r#"select event_id as "event_id!: EventId", coalesce(community_id, 0) as "community_id!: CommunityId", user_id as "user_id: UserId",
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

/// Whether some node's relay is the leader: then a server is live. PostgreSQL shows the two halves of an advisory lock's key.
pub(crate) async fn is_led(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (
             select from pg_locks l join pg_database d on d.oid = l.database
             where d.datname = current_database() and l.locktype = 'advisory' and l.objsubid = 1 and l.granted
               and l.classid::bigint << 32 | l.objid::bigint = $1)",
    )
    .bind(LOCK)
    .fetch_one(connection)
    .await
}

/// Whether rows wait longer than they would with a leader that is alive.
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
