//! The application: its state, its background tasks, and their end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{self, AuthState, jwt::Verifier, session::Sessions},
    background::{self, supervise},
    config::Config,
    db::{self, BackgroundDb, Db},
    events::{history, log, publisher::Publisher, relay::Relay, stream::EventStream},
    feed::{self, Feed},
    health, idempotency, login, mentions, metrics,
    realtime::{self, RealtimeState, hub::Limits, registry::Registry},
    router,
    serve::{self, ConnectionLimits, FastPath, Server},
    state::{AppState, Shared},
    telemetry,
    votes::batch::VoteWriter,
};

/// How often old rows are deleted.
const HOUSEKEEPING_TICK: Duration = Duration::from_secs(600);
/// At shutdown, writes without a waiting client have this long to finish.
const WRITES_TIMEOUT: Duration = Duration::from_secs(5);
/// At shutdown, requests have this long to give their database connections back.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many numbered batches may wait between this node's relay and each of its subscribers.
const RELAYED_BATCHES: usize = 64;

/// A running application.
pub struct Running {
    /// Where requests are accepted.
    pub addr: SocketAddr,
    /// Where metrics are served.
    pub metrics_addr: SocketAddr,
    /// What the handlers share.
    pub state: AppState,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    failed: CancellationToken,
}

impl Running {
    /// Asks it to end. Parked polls are answered, and requests under way finish.
    pub fn shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Waits until everything has ended. Returns an error if a background task ended before it was asked to.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.shutdown.cancelled().await;
        self.tasks.wait().await;
        self.state.writes.close();
        if timeout(WRITES_TIMEOUT, self.state.writes.wait()).await.is_err() {
            tracing::warn!(left = self.state.writes.len(), "some writes did not finish in time");
        }
        self.state.db.close(CLOSE_TIMEOUT).await;
        if self.failed.is_cancelled() {
            bail!("a background task ended unexpectedly; see the log above");
        }
        Ok(())
    }
}

/// Starts everything and returns once requests are accepted. The runtime `requests` serves everything but polls.
pub async fn start(config: Config, requests: Handle) -> anyhow::Result<Running> {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let open_files = raise_open_files();
    let verifier = Verifier::new(&config.jwt)?;
    login::check_settings(&config)?;
    let metrics_handle = telemetry::metrics();
    let listener = bind(config.bind_addr, "BIND_ADDR").await?;
    let metrics_listener = bind(config.metrics_addr, "METRICS_ADDR").await?;
    let (addr, metrics_addr) = (listener.local_addr()?, metrics_listener.local_addr()?);

    let options = db::options(&config)?;
    let db = Db::new(&config)?;
    // The relay, the publisher and the feed must go on when requests have used up their pool.
    let background_db = BackgroundDb::new(options.clone());
    first_connection(&db).await?;
    if !config.skip_migrations {
        db::migrate(&options).await.context("migrating the database")?;
    }
    check_locale(&db).await;
    // This comes before the hub is loaded and before anything in Redis is believed (I10).
    know_history(&background_db).await?;
    let (stream, registry) = shared_by_redis(&config)?;
    if let Some(stream) = &stream {
        history::compare_stream(&background_db, stream)
            .await
            .context("comparing the stream in Redis with the database")?;
    }
    let limits = Limits {
        community_events: config.community_log_events as usize,
        total_events: config.total_log_events as usize,
        total_bytes: config.total_log_bytes,
        queue_ttl: Duration::from_secs(config.queue_ttl_seconds),
    };
    let hub = Arc::new(feed::load(&background_db, limits).await.context("loading the recent events")?);

    let shutdown = CancellationToken::new();
    let registry = Arc::new(registry);
    let notifier = Arc::clone(db.relay());
    let auth = AuthState::new(auth::Shared {
        sessions: Sessions::new(db.clone(), &verifier, &config),
        verifier,
        allowed_origins: config.allowed_origins.clone(),
        db: db.clone(),
    });
    let realtime = RealtimeState::new(realtime::Shared {
        auth: auth.clone(),
        db: db.clone(),
        hub: Arc::clone(&hub),
        registry: Arc::clone(&registry),
        poll_timeout: Duration::from_secs(config.poll_timeout_seconds),
        shutdown: shutdown.clone(),
    });
    let votes = VoteWriter::new(db.clone(), &requests);
    let writes = TaskTracker::new();
    let state = AppState::new(Shared { auth, realtime, votes, writes, shutdown: shutdown.clone(), db, config });

    let background =
        Background { tasks: TaskTracker::new(), shutdown: shutdown.clone(), failed: CancellationToken::new() };
    let (relayed, from_relay) = mpsc::channel(RELAYED_BATCHES);
    let mut subscribers = vec![relayed];
    if let Some(stream) = stream.clone() {
        let (relayed, from_relay) = mpsc::channel(RELAYED_BATCHES);
        subscribers.push(relayed);
        let publisher = Publisher::new(stream, background_db.clone(), from_relay, state.config.stream_bytes);
        background.spawn("publisher", supervise(publisher, shutdown.clone()));
    }
    let here = Arc::clone(&hub);
    let relay = Relay::new(background_db.clone(), notifier, Box::new(move || here.position()), subscribers);
    background.spawn("relay", supervise(relay, shutdown.clone()));
    background
        .spawn("feed", supervise(Feed::new(background_db, Arc::clone(&hub), from_relay, stream), shutdown.clone()));
    background.spawn("expiry", realtime::expire(Arc::clone(&hub), registry, shutdown.clone()));
    let ending = shutdown.clone();
    background.spawn("release", async move {
        ending.cancelled().await;
        hub.release();
    });
    background.spawn("housekeeping", housekeeping(state.clone()));
    let limits = ConnectionLimits::new(&state.config, open_files);
    let router = router::router(&state);
    let fast_path = match state.config.direct_polls {
        true => Some(FastPath::new(state.clone(), router.clone()).await),
        false => None,
    };
    let server = Server::new(router, shutdown.clone(), fast_path, requests, limits);
    let metrics_server = server.beside(health::metrics_routes(state.clone(), metrics_handle));
    background.spawn("server", server.run(listener));
    background.spawn("metrics", metrics_server.run(metrics_listener));
    background.tasks.close();

    let Background { tasks, failed, .. } = background;
    Ok(Running { addr, metrics_addr, state, shutdown, tasks, failed })
}

/// Raises the limit of open files as far as this process may. Returns the limit.
fn raise_open_files() -> u64 {
    let before = rlimit::Resource::NOFILE.get_soft().unwrap_or(rlimit::INFINITY);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(open_files) => {
            tracing::info!(before, open_files, "raised the limit of open files; each connection is one");
            open_files
        }
        Err(error) => {
            tracing::warn!(cause = %error, open_files = before, "cannot raise the limit of open files");
            before
        }
    }
}

/// Warns if the database's locale does not fit.
async fn check_locale(db: &Db) {
    match mentions::store::locale_has_all_letters(db).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "the database's locale knows no letters but those of ASCII: names with others cannot be completed, and their upper and \
             lower case are not the same. Create the database with LC_CTYPE C.UTF-8"
        ),
        Err(error) => tracing::warn!(?error, "cannot find out whether the database's locale knows all letters"),
    }
}

/// Leaps if another database than this one gave the last number.
async fn know_history(db: &BackgroundDb) -> anyhow::Result<()> {
    // Undefined function, undefined column, undefined table.
    let is_older = |error: &sqlx::Error| {
        let code = error.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| ["42883", "42703", "42P01"].contains(&&*code))
    };
    match history::leap_if_new(db).await {
        Ok(None) => Ok(()),
        Ok(Some(base)) => {
            tracing::warn!(
                base = base.get(),
                "another database than this one numbered the last event (this one was restored, or failed over): events go on \
                 from a new base, and clients are told to catch up"
            );
            metrics::LEAPS.increment(1);
            Ok(())
        }
        Err(error) if is_older(&error) => Err(error).context(
            "the schema is older than this program: run `discussions migrate`, or leave SKIP_MIGRATIONS unset",
        ),
        Err(error) => Err(error).context("comparing the database with the one that numbered the last event"),
    }
}

/// The event stream and the registry of queues. Without Redis there is no stream, and the registry is local.
fn shared_by_redis(config: &Config) -> anyhow::Result<(Option<EventStream>, Registry)> {
    let Some(url) = &config.redis_url else { return Ok((None, Registry::local())) };
    // The error must not repeat the address, which may hold a password.
    let client = redis::Client::open(url.expose_secret())
        .map_err(|error| anyhow::anyhow!("REDIS_URL is not an address of Redis ({:?})", error.kind()))?;
    let stream = EventStream::new(client.clone(), &config.redis_prefix);
    let ttl = Duration::from_secs(config.queue_ttl_seconds);
    let registry = Registry::shared(client, stream.clone(), &config.redis_prefix, ttl);
    Ok((Some(stream), registry))
}

/// Background tasks. If one of them ends by itself, the application shuts down.
struct Background {
    tasks: TaskTracker,
    shutdown: CancellationToken,
    failed: CancellationToken,
}

impl Background {
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (shutdown, failed) = (self.shutdown.clone(), self.failed.clone());
        let task = tokio::spawn(task);
        self.tasks.spawn(async move {
            let ended = task.await;
            if !shutdown.is_cancelled() || ended.is_err() {
                tracing::error!(task = name, ?ended, "a background task ended; shutting down");
                failed.cancel();
                shutdown.cancel();
            }
        });
    }
}

async fn bind(addr: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let why = || format!("cannot listen on {addr}: is it in use? Choose another address with {setting}=HOST:PORT");
    let socket = if addr.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr).with_context(why)?;
    socket.listen(serve::BACKLOG).with_context(why)
}

/// Waits up to 20 s for a database that starts at the same time as this program.
async fn first_connection(db: &Db) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        match db.is_reachable().await {
            Ok(()) => return Ok(()),
            Err(error) if start.elapsed() > Duration::from_secs(20) => {
                return Err(error).context("cannot reach PostgreSQL at DATABASE_URL");
            }
            Err(error) => tracing::warn!(cause = %error, "waiting for PostgreSQL"),
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Deletes old rows from time to time, until the shutdown.
async fn housekeeping(state: AppState) {
    loop {
        if let Err(error) = clean(&state).await {
            tracing::warn!(cause = %error, "could not delete old rows; trying again later");
        }
        tokio::select! {
            () = sleep(background::jittered(HOUSEKEEPING_TICK)) => {}
            () = state.shutdown.cancelled() => return,
        }
    }
}

async fn clean(state: &AppState) -> anyhow::Result<()> {
    state.auth.sessions.purge().await.context("sessions")?;
    login::purge(&state.db).await.context("log-ins")?;
    let db = &state.db;
    idempotency::store::purge(db).await.map_err(|error| anyhow::anyhow!("idempotency keys: {error:?}"))?;
    let (hours, total) = (state.config.outbox_retention_hours as i32, i64::from(state.config.total_log_events));
    while log::prune(db, hours, total).await.context("outbox")? > 0 {}
    Ok(())
}
