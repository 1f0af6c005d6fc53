//! The database: one way to read, one way to write, and the migrations.
//!
//! * `&Db` runs one statement. The connection goes back by itself when the statement has ended.
//! * [`Db::write`] is a transaction. It ends by [`Write::commit`] or by its last statement ([`Write::last`]); both wake the relay.
//!
//! The next request gets a connection only if the work on it has ended in a known way. A future can be dropped half-way, by a
//! client that hangs up, a time limit or a panic. It can leave an open transaction behind, and sqlx does not notice. So
//! [`Lease`] rolls back such a connection before it is used again, and closes it if that fails.

mod background;
pub(crate) mod composite;
mod connect;
mod executor;
mod lease;
mod meter;
mod migrate;
mod write;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Postgres, pool::PoolConnection, postgres::PgPool};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout},
};

pub(crate) use self::composite::composite;
use self::lease::Lease;
pub use self::{
    background::{BackgroundConnection, BackgroundDb},
    connect::{connect, options, pool_options},
    migrate::{migrate, migrator},
    write::{LastStatement, ReadBefore, Write},
};
pub(crate) use self::{lease::has_stale_plan, meter::Meter};
use crate::config::Config;

/// How long a request waits for a connection. It leaves time for the rest, as a 503 is promised within 5 s.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that was idle for longer is pinged before it is used.
const PING_AFTER: Duration = Duration::from_millis(500);

/// The connections of the request handlers: sqlx's pool, and in front of it the connections that were used a moment ago.
///
/// sqlx's pool pings each connection that is returned. That round trip costs half as much as a small request, and a connection
/// whose last statement ended well does not need it. The next request gets the connection that was used last, as its caches
/// are warm.
#[derive(Clone, Debug)]
pub struct Db(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    /// One permit for each connection. Its holder finds a connection in `recently_used` or in the pool.
    permits: Arc<Semaphore>,
    connections: usize,
    /// The connections used last, the newest at the end. The mutex is held for a push or a pop only, so a std one is enough.
    recently_used: Mutex<Vec<Idle>>,
    /// A change of the schema has made the prepared statements of older connections invalid.
    plans_valid_since: Arc<Mutex<Option<Instant>>>,
    relay: Arc<RelayNotifier>,
}

/// A connection in `recently_used`.
#[derive(Debug)]
struct Idle {
    connection: PoolConnection<Postgres>,
    /// When it was taken out of sqlx's pool.
    opened_at: Instant,
    idle_since: Instant,
}

/// Wakes this node's relay after a commit. Several notifications in a row count as one. Losing one only costs time, as the
/// relay also looks by itself.
#[derive(Debug, Default)]
pub struct RelayNotifier(Notify);

impl RelayNotifier {
    /// Call this after the commit of a transaction with an outbox row.
    pub fn notify(&self) {
        self.0.notify_one();
    }

    /// Waits for a notification. One that came since the last wait counts.
    pub async fn notified(&self) {
        self.0.notified().await;
    }
}

impl Db {
    /// Makes no connection yet: each is made when it is first needed.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let connections = config.database_connections as usize;
        let plans_valid_since = Arc::new(Mutex::new(None));
        Ok(Self(Arc::new(Inner {
            pool: request_pool(config, Arc::clone(&plans_valid_since))?,
            permits: Arc::new(Semaphore::new(connections)),
            connections,
            recently_used: Mutex::default(),
            plans_valid_since,
            relay: Arc::default(),
        })))
    }

    /// A new transaction. Its first statement takes a connection and begins it.
    pub fn write(&self) -> Write {
        Write::new(self.clone())
    }

    /// The notifier of this node's relay. [`Write`] notifies it after each commit.
    pub fn relay(&self) -> &Arc<RelayNotifier> {
        &self.0.relay
    }

    /// The number of connections, and of the idle ones among them.
    pub fn size(&self) -> (usize, usize) {
        let recently_used = self.recently_used().len();
        (self.0.pool.size() as usize, self.0.pool.num_idle() + recently_used)
    }

    /// Checks that a connection can be had. The error says why not.
    pub async fn is_reachable(&self) -> Result<(), sqlx::Error> {
        self.lease().await?.finish();
        Ok(())
    }

    /// Closes all connections. Waits for their users first, but not longer than `patience`.
    pub async fn close(&self, patience: Duration) {
        let all = u32::try_from(self.0.connections).unwrap_or(u32::MAX);
        if timeout(patience, self.0.permits.acquire_many(all)).await.is_err() {
            tracing::warn!("some database work did not end in time");
        }
        self.0.permits.close();
        self.recently_used().clear();
        let _ = timeout(patience, self.0.pool.close()).await;
    }

    /// Takes a connection, or returns `PoolTimedOut` if none is free in time.
    async fn lease(&self) -> Result<Lease, sqlx::Error> {
        let _waiting = meter::waiting();
        let permit = timeout(ACQUIRE_TIMEOUT, Arc::clone(&self.0.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let (connection, opened_at) = match self.pop_recently_used() {
            Some(idle) => (idle.connection, idle.opened_at),
            None => (self.0.pool.acquire().await?, Instant::now()),
        };
        Ok(Lease::new(self.clone(), connection, opened_at, permit))
    }

    fn recently_used(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.0.recently_used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop_recently_used(&self) -> Option<Idle> {
        let mut idle = self.recently_used();
        let newest = idle.pop()?;
        if newest.idle_since.elapsed() < PING_AFTER {
            return Some(newest);
        }
        // The others were idle for even longer. Dropped here, they return to the pool, which pings them.
        idle.clear();
        None
    }

    fn push_recently_used(&self, connection: PoolConnection<Postgres>, opened_at: Instant) {
        let idle_since = Instant::now();
        self.recently_used().push(Idle { connection, opened_at, idle_since });
    }

    /// Whether the prepared statements of a connection that was opened then are still valid.
    fn has_valid_plans(&self, opened_at: Instant) -> bool {
        has_valid_plans(&self.0.plans_valid_since, opened_at)
    }

    /// Closes all connections of before: their prepared statements do not fit the new schema.
    fn invalidate_plans(&self) {
        *self.0.plans_valid_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.recently_used().retain_mut(|idle| {
            idle.connection.close_on_drop();
            false
        });
    }
}

fn has_valid_plans(valid_since: &Mutex<Option<Instant>>, opened_at: Instant) -> bool {
    valid_since.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|since| opened_at > since)
}

fn request_pool(config: &Config, plans_valid_since: Arc<Mutex<Option<Instant>>>) -> anyhow::Result<PgPool> {
    Ok(pool_options()
        .max_connections(config.database_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .before_acquire(move |connection, meta| {
            let is_valid = Instant::now()
                .checked_sub(meta.age)
                .is_none_or(|opened_at| has_valid_plans(&plans_valid_since, opened_at));
            Box::pin(async move {
                connect::ping_after(connection, meta.idle_for).await?;
                Ok(is_valid)
            })
        })
        .connect_lazy_with(options(config)?))
}
