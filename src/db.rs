//! The connections of the request handlers, and the migrations.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    Connection as _, PgConnection, Postgres, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::config::Config;

/// The schema, built into the binary.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// How long a request waits for a connection: with what follows it stays within the 5 s in which a 503 is promised.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that was idle for longer is tried before it is used.
const PING_AFTER: Duration = Duration::from_millis(500);

/// Where the database is, with the settings that every connection of this program has: what a dead peer is noticed by,
/// and that no statement or idle transaction outlives the request it was for.
pub fn options(config: &Config) -> anyhow::Result<PgConnectOptions> {
    let options: PgConnectOptions = (config.database_url.parse())
        .map_err(|error| anyhow::anyhow!("DATABASE_URL is not a postgres:// address: {error}"))?;
    Ok(options.application_name("discussions").options([
        ("statement_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
    ]))
}

/// The connections of the request handlers: sqlx's pool, and in front of it those that were in use a moment ago.
///
/// sqlx's pool asks each connection that comes back whether it is well, a round trip that costs the database and this
/// process half as much again as a small request. A connection that a request has used to its end, without an error, needs no
/// such question: [`Connection::done`] keeps it for the next request, which gets the one used last, as that has all it needs
/// in its caches. Every other way to let go of a connection, be it an error, a time limit or a panic, gives it to the pool
/// to look at.
#[derive(Clone, Debug)]
pub struct Db(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    /// As many as there may be connections: whoever has one finds a connection here or in the pool.
    turns: Arc<Semaphore>,
    /// The connections used last, the newest at the end. A std mutex: it is held for a push or a pop.
    warm: Mutex<Vec<(PoolConnection<Postgres>, Instant)>>,
}

/// A connection, for as long as a request needs it.
pub struct Connection {
    connection: PoolConnection<Postgres>,
    db: Db,
    turn: OwnedSemaphorePermit,
}

impl Db {
    /// The connections that the settings allow. They are made when they are first used.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let turns = Arc::new(Semaphore::new(config.database_connections as usize));
        Ok(Self(Arc::new(Inner { pool: pool(config)?, turns, warm: Mutex::default() })))
    }

    /// A connection. `PoolTimedOut` where none is to be had in time.
    pub async fn connection(&self) -> Result<Connection, sqlx::Error> {
        let turn = timeout(ACQUIRE_TIMEOUT, Arc::clone(&self.0.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let connection = match self.warm() {
            Some(connection) => connection,
            None => self.0.pool.acquire().await?,
        };
        Ok(Connection { connection, db: self.clone(), turn })
    }

    fn warm(&self) -> Option<PoolConnection<Postgres>> {
        let mut warm = self.0.warm.lock().unwrap_or_else(PoisonError::into_inner);
        let (connection, since) = warm.pop()?;
        if since.elapsed() < PING_AFTER {
            return Some(connection);
        }
        // The others have waited for longer still: the pool looks at them all.
        warm.clear();
        None
    }

    /// How many connections there are, and how many of them nobody uses.
    pub fn size(&self) -> (usize, usize) {
        let warm = self.0.warm.lock().unwrap_or_else(PoisonError::into_inner).len();
        (self.0.pool.size() as usize, self.0.pool.num_idle() + warm)
    }

    /// Closes all connections, when they are not in use any more.
    pub async fn close(&self) {
        self.0.turns.close();
        self.0.warm.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.0.pool.close().await;
    }
}

impl Connection {
    /// Begins a transaction on it.
    pub async fn begin(&mut self) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
        self.connection.begin().await
    }

    /// All that was asked is answered, without an error: the connection is good for another request.
    pub fn done(self) {
        let Self { connection, db, turn } = self;
        db.0.warm.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
        // Only now, so that whoever gets the turn finds the connection.
        drop(turn);
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

fn pool(config: &Config) -> anyhow::Result<PgPool> {
    Ok(PgPoolOptions::new()
        .max_connections(config.database_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A ping before each request would double the round trips; one after a pause finds what a restart left dead.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move { Ok(meta.idle_for < PING_AFTER || connection.ping().await.is_ok()) })
        })
        .connect_lazy_with(options(config)?))
}

/// Brings the schema up to date.
pub async fn migrate(options: &PgConnectOptions) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect_with(options).await?;
    // A migration may take its time on a large table.
    sqlx::query("set statement_timeout = 0").execute(&mut connection).await?;
    let migrated = MIGRATOR.run(&mut connection).await;
    connection.close().await?;
    Ok(migrated?)
}
