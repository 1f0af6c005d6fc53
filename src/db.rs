//! The pool and the migrations.

use std::time::Duration;

use sqlx::{
    Connection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
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

/// The pool of the request handlers. It connects when it is first used.
pub fn pool(config: &Config) -> anyhow::Result<PgPool> {
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
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    // A migration may take its time on a large table. The connection is not given back: it keeps the setting.
    sqlx::query("set statement_timeout = 0").execute(&mut *connection).await?;
    let migrated = MIGRATOR.run(&mut *connection).await;
    connection.close().await?;
    Ok(migrated?)
}
