//! How connections are made, the requests' and those of the background tasks alike.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{
    Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{PING_AFTER, background::answered};
use crate::config::Config;

/// A connection that does not answer a ping within this time is closed. A health check, which a balancer gives up after a second,
/// then still has the time for a new one: else each check would only get rid of one dead connection.
const PING_LIMIT: Duration = Duration::from_millis(500);

/// What every connection is set to: no statement and no idle transaction outlives the request it was for, a dead peer is
/// noticed, and no default of the database or the role changes what a statement means.
///
/// These are set after connecting. As start-up parameters they would be refused by PgBouncer.
const SETTINGS: &str = "set statement_timeout = '10s'; \
    set idle_in_transaction_session_timeout = '10s'; \
    set default_transaction_isolation = 'read committed'; \
    set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3";

/// Where the database is. Connections are made by [`connect`] or by a pool of [`pool_options`].
pub fn options(config: &Config) -> anyhow::Result<PgConnectOptions> {
    let options: PgConnectOptions = (config.database_url.expose_secret().parse())
        .map_err(|error| anyhow::anyhow!("DATABASE_URL is not a postgres:// address: {error}"))?;
    // PgBouncer refuses this start-up parameter, and since PostgreSQL 12 its default is what is wanted.
    Ok(options.application_name("discussions").extra_float_digits(None))
}

/// One connection, with this program's settings.
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    connection.execute(SETTINGS).await?;
    Ok(connection)
}

/// Asks whether the database is still there, where the connection was idle for a while. A ping before each request would
/// double the round trips; one after a pause finds what a restart left dead.
pub(super) async fn ping_after(connection: &mut PgConnection, idle_for: Duration) -> Result<(), sqlx::Error> {
    if idle_for < PING_AFTER {
        return Ok(());
    }
    ping(connection).await
}

async fn ping(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    answered(PING_LIMIT, connection.ping()).await
}

/// A pool whose connections have this program's settings. It waits for no connection whose peer is gone without a word:
/// each is looked at when it is taken and when it comes back. By itself sqlx would wait for the answer without a limit.
pub fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new()
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(SETTINGS).await?;
                Ok(())
            })
        })
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move { ping_after(connection, meta.idle_for).await.map(|()| true) })
        })
        .after_release(|connection, _| Box::pin(async move { ping(connection).await.map(|()| true) }))
}
