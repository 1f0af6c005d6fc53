//! How all connections are made, those of requests and those of background tasks.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{
    Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{PING_AFTER, background::answered};
use crate::config::Config;

/// A connection that does not answer a ping within this time is closed. A balancer gives a health check up after a second, so
/// this leaves time for a new connection. With a longer limit each check would only remove one dead connection.
const PING_LIMIT: Duration = Duration::from_millis(500);

/// The settings of every connection. No statement and no idle transaction outlives its request, a dead peer is noticed, and no
/// default of the database or the role changes what a statement means.
///
/// PostgreSQL plans each statement once for each connection. By itself it would plan some anew at each call, which takes longer than to
/// run them: it expects the plan for all parameters to read much, because it does not know how short an array is. The tests of plans see
/// to it that no such plan reads much.
///
/// They are set after connecting, because PgBouncer refuses them as start-up parameters.
const SETTINGS: &str = "set statement_timeout = '10s'; \
    set idle_in_transaction_session_timeout = '10s'; \
    set default_transaction_isolation = 'read committed'; \
    set jit = off; \
    set plan_cache_mode = force_generic_plan; \
    set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3";

/// The options of DATABASE_URL, for [`connect`] or for a pool of [`pool_options`].
pub fn options(config: &Config) -> anyhow::Result<PgConnectOptions> {
    let options: PgConnectOptions = (config.database_url.expose_secret().parse())
        .map_err(|error| anyhow::anyhow!("DATABASE_URL is not a postgres:// address: {error}"))?;
    // PgBouncer refuses this start-up parameter, and since PostgreSQL 12 the default is right.
    Ok(options.application_name("discussions").extra_float_digits(None))
}

/// One connection, with this program's settings.
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    connection.execute(SETTINGS).await?;
    Ok(connection)
}

/// Pings a connection that was idle for a while. A ping before each request would double the round trips. One after a pause
/// finds the connections that a restart of the database has killed.
pub(super) async fn ping_after(connection: &mut PgConnection, idle_for: Duration) -> Result<(), sqlx::Error> {
    if idle_for < PING_AFTER {
        return Ok(());
    }
    ping(connection).await
}

async fn ping(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    answered(PING_LIMIT, connection.ping()).await
}

/// A pool whose connections have this program's settings. It checks each connection when it is taken and when it is returned,
/// and waits at most 500 ms for the answer. sqlx's own check waits without a limit.
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
