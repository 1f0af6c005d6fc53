//! The database: one way to read, one way to write, and the migrations.
//!
//! * `&Db` runs one statement. The connection goes back by itself when the statement has ended.
//! * [`Db::write`] is a transaction. It ends by [`Write::commit`] or by its last statement ([`Write::last`]); both wake the relay.
//!
//! A connection is handed to the next request only if its work has come to an end that is known. A future that is dropped
//! half-way (a client that hangs up, a time limit, a panic) can leave anything behind, an open transaction included, and sqlx
//! does not notice that. So [`Lease`] rolls such a connection back before anyone else gets it, and closes it if that fails.

mod background;
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

use self::lease::Lease;
pub use self::{
    background::{BackgroundConnection, BackgroundDb},
    connect::{connect, options, pool_options},
    migrate::{migrate, migrator},
    write::{LastStatement, ReadBefore, Write},
};
pub(crate) use self::{lease::has_stale_plan, meter::Meter};
use crate::config::Config;

/// How long a request waits for a connection: with what follows it stays within the 5 s in which a 503 is promised.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that was idle for longer is tried before it is used.
const PING_AFTER: Duration = Duration::from_millis(500);

/// The connections of the request handlers: sqlx's pool, and in front of it those that were in use a moment ago.
///
/// sqlx's pool pings each connection that comes back, a round trip that costs half as much again as a small request. A
/// connection whose last statement has ended well needs no ping. The next request gets the one used last, as that has all it
/// needs in its caches.
#[derive(Clone, Debug)]
pub struct Db(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    /// As many as there may be connections: whoever has one finds a connection here or in the pool.
    permits: Arc<Semaphore>,
    connections: usize,
    /// The connections used last, the newest at the end. A std mutex: it is held for a push or a pop.
    recently_used: Mutex<Vec<Idle>>,
    /// Connections from before this moment have prepared statements that the schema has made invalid.
    plans_valid_since: Arc<Mutex<Option<Instant>>>,
    relay: Arc<RelayNotifier>,
}

/// A connection that waits for its next use.
#[derive(Debug)]
struct Idle {
    connection: PoolConnection<Postgres>,
    /// When it was taken out of sqlx's pool.
    opened_at: Instant,
    idle_since: Instant,
}

/// Wakes this node's relay after a commit. Many wake-ups in a row are one. It only saves time: the relay also looks by itself.
#[derive(Debug, Default)]
pub struct RelayNotifier(Notify);

impl RelayNotifier {
    /// Says that a transaction with an outbox row is committed.
    pub fn notify(&self) {
        self.0.notify_one();
    }

    /// Waits for a notification since the last wait.
    pub async fn notified(&self) {
        self.0.notified().await;
    }
}

impl Db {
    /// The connections that the settings allow. They are made when they are first used.
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

    /// A transaction. It takes a connection and begins with its first statement.
    pub fn write(&self) -> Write {
        Write::new(self.clone())
    }

    /// Wakes this node's relay: [`Write`] does so by itself.
    pub fn relay(&self) -> &Arc<RelayNotifier> {
        &self.0.relay
    }

    /// How many connections there are, and how many of them nobody uses.
    pub fn size(&self) -> (usize, usize) {
        let recently_used = self.recently_used().len();
        (self.0.pool.size() as usize, self.0.pool.num_idle() + recently_used)
    }

    /// Whether the database accepts a connection. The error says why not.
    pub async fn is_reachable(&self) -> Result<(), sqlx::Error> {
        self.lease().await?.finish();
        Ok(())
    }

    /// Closes all connections. Waits, for `patience` at most, until nobody uses them.
    pub async fn close(&self, patience: Duration) {
        let all = u32::try_from(self.0.connections).unwrap_or(u32::MAX);
        if timeout(patience, self.0.permits.acquire_many(all)).await.is_err() {
            tracing::warn!("some database work did not end in time");
        }
        self.0.permits.close();
        self.recently_used().clear();
        let _ = timeout(patience, self.0.pool.close()).await;
    }

    /// A connection. `PoolTimedOut` where none is to be had in time.
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
        // The others have waited for longer still: the pool pings all of them.
        idle.clear();
        None
    }

    fn push_recently_used(&self, connection: PoolConnection<Postgres>, opened_at: Instant) {
        let idle_since = Instant::now();
        self.recently_used().push(Idle { connection, opened_at, idle_since });
    }

    /// Whether a connection of that moment has prepared statements that are still valid.
    fn has_valid_plans(&self, opened_at: Instant) -> bool {
        has_valid_plans(&self.0.plans_valid_since, opened_at)
    }

    /// The schema has changed under the prepared statements: no connection of before is used again.
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
