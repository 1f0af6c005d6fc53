//! The application: state, router, background tasks, and their end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
    services::ServeDir,
    set_header::SetResponseHeaderLayer,
};
use tracing::Instrument;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    auth::{self, jwt::Verifier, session::Sessions},
    comments,
    config::Config,
    db, demo, discussions,
    error::{ApiError, ErrorCode},
    events::{outbox::Wake, publisher::Publisher, relay::Relay},
    feed::{self, Feed, redis::Fanout},
    health, idempotency, openapi,
    realtime::{self, hub::Limits, registry::Registry},
    serve,
    state::{AppState, Shared},
    telemetry,
};

/// The largest body of a request, in bytes.
const BODY_LIMIT: usize = 256 * 1024;
/// A request that is not a poll is given up after this long: with a 503, within the 5 s that are promised.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(4_500);
/// How often old rows are deleted.
const HOUSEKEEPING_TICK: Duration = Duration::from_secs(600);
/// How many numbered batches may wait between this node's relay and its feed.
const RELAYED_BATCHES: usize = 64;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
    /// Asks it to end: parked polls are answered, requests under way finish.
    pub fn shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Waits for its end. An error where a background task ended before it was asked to.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.shutdown.cancelled().await;
        self.tasks.wait().await;
        self.state.pool.close().await;
        if self.failed.is_cancelled() {
            bail!("a background task ended unexpectedly; see the log above");
        }
        Ok(())
    }
}

/// Starts everything and returns once requests are accepted.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let verifier = Verifier::new(&config.jwt)?;
    let metrics_handle = telemetry::metrics();
    let listener = bind(config.bind_addr, "BIND_ADDR").await?;
    let metrics_listener = bind(config.metrics_addr, "METRICS_ADDR").await?;
    let (addr, metrics_addr) = (listener.local_addr()?, metrics_listener.local_addr()?);

    let options = db::options(&config)?;
    let pool = db::pool(&config)?;
    // The relay, its listener and the feed's; apart from the requests' pool, which may be used up.
    let background_pool = PgPoolOptions::new()
        .max_connections(6)
        .acquire_timeout(Duration::from_secs(3))
        .connect_lazy_with(options.clone());
    first_connection(&pool).await?;
    if !config.skip_migrations {
        db::migrate(&pool).await.context("migrating the database")?;
    }
    let limits = Limits {
        community_events: config.community_log_events as usize,
        total_events: config.total_log_events as usize,
        total_bytes: config.total_log_bytes,
        queue_ttl: Duration::from_secs(config.queue_ttl_seconds),
    };
    let hub = Arc::new(feed::load(&pool, limits).await.context("loading the recent events")?);

    let shutdown = CancellationToken::new();
    let (fanout, registry) = shared_by_redis(&config)?;
    let registry = Arc::new(registry);
    let wake = Arc::new(Wake::default());
    let state = AppState::new(Shared {
        verifier,
        sessions: Sessions::new(pool.clone()),
        hub: Arc::clone(&hub),
        registry: Arc::clone(&registry),
        wake: Arc::clone(&wake),
        shutdown: shutdown.clone(),
        pool: pool.clone(),
        config,
    });

    let background =
        Background { tasks: TaskTracker::new(), shutdown: shutdown.clone(), failed: CancellationToken::new() };
    let (relayed, from_relay) = mpsc::channel(RELAYED_BATCHES);
    let mut outlets = vec![relayed];
    if let Some(fanout) = fanout.clone() {
        let (relayed, from_relay) = mpsc::channel(RELAYED_BATCHES);
        outlets.push(relayed);
        background
            .spawn("publisher", Publisher::new(fanout, background_pool.clone(), from_relay).run(shutdown.clone()));
    }
    background.spawn("relay", Relay::new(options, background_pool.clone(), wake, outlets).run(shutdown.clone()));
    background.spawn("feed", Feed::new(background_pool, Arc::clone(&hub), from_relay, fanout).run(shutdown.clone()));
    background.spawn("expiry", realtime::expire(hub, registry, shutdown.clone()));
    let (ending, parked) = (shutdown.clone(), Arc::clone(&state.hub));
    background.spawn("release", async move {
        ending.cancelled().await;
        parked.release();
    });
    let direct = state.config.direct_polls.then(|| state.clone());
    background.spawn("housekeeping", housekeeping(state.clone()));
    background.spawn("server", serve::serve(listener, router(&state), shutdown.clone(), direct));
    let metrics_router = health::metrics_routes(state.clone(), metrics_handle);
    background.spawn("metrics", serve::serve(metrics_listener, metrics_router, shutdown.clone(), None));
    background.tasks.close();

    let Background { tasks, failed, .. } = background;
    Ok(Running { addr, metrics_addr, state, shutdown, tasks, failed })
}

/// What this node shares with others: nothing, where no Redis is set.
fn shared_by_redis(config: &Config) -> anyhow::Result<(Option<Fanout>, Registry)> {
    let Some(url) = &config.redis_url else { return Ok((None, Registry::alone())) };
    // The address may hold a password: the error does not repeat it.
    let client = redis::Client::open(url.as_str())
        .map_err(|error| anyhow::anyhow!("REDIS_URL is not an address of Redis ({:?})", error.kind()))?;
    let fanout = Fanout::new(client.clone(), &config.redis_prefix);
    let ttl = Duration::from_secs(config.queue_ttl_seconds);
    let registry = Registry::shared(client, fanout.clone(), &config.redis_prefix, ttl).context("REDIS_URL")?;
    Ok((Some(fanout), registry))
}

/// Tasks without which the application must not go on.
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
    socket.listen(4096).with_context(why)
}

/// A database that is starting at the same time as this program is waited for, for a while.
async fn first_connection(pool: &PgPool) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        match pool.acquire().await {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > Duration::from_secs(20) => {
                return Err(error).context("cannot reach PostgreSQL at DATABASE_URL");
            }
            Err(error) => tracing::warn!(cause = %error, "waiting for PostgreSQL"),
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// The routes that are in the document.
fn documented(state: Option<&AppState>) -> (Router<AppState>, Router<AppState>, serde_json::Value) {
    let rest = OpenApiRouter::with_openapi(openapi::base())
        .merge(discussions::routes())
        .merge(comments::routes())
        .merge(realtime::routes())
        .merge(auth::routes::routes(state));
    let (poll, poll_document) = realtime::poll_route().split_for_parts();
    let (rest, mut document) = rest.split_for_parts();
    document.merge(poll_document);
    (rest, poll, openapi::finish(document))
}

/// The OpenAPI document.
pub fn document() -> serde_json::Value {
    documented(None).2
}

/// All routes.
pub fn router(state: &AppState) -> Router {
    let (mut rest, poll, document) = documented(Some(state));
    rest = rest
        .route("/openapi.json", get(async move || Json(document)))
        .merge(SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from("/openapi.json")))
        .merge(health::routes());
    if state.config.demo {
        rest = rest.merge(demo::routes());
    }
    let rest = match &state.config.static_dir {
        Some(dir) => {
            let missing =
                tower::service_fn(async |_| Ok::<_, std::convert::Infallible>(not_found().await.into_response()));
            rest.fallback_service(ServeDir::new(dir).call_fallback_on_method_not_allowed(true).fallback(missing))
        }
        None => rest.fallback(not_found),
    };
    let rest = rest
        .method_not_allowed_fallback(async || ApiError::from(ErrorCode::MethodNotAllowed))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CatchPanicLayer::custom(|_| ApiError::internal("a handler panicked").into_response()))
        .layer(middleware::from_fn(observe));
    let poll = poll.method_not_allowed_fallback(async || ApiError::from(ErrorCode::MethodNotAllowed));
    rest.merge(poll.layer(middleware::from_fn(observe_poll)))
        .layer(cors(&state.config.allowed_origins))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .with_state(state.clone())
}

async fn not_found() -> ApiError {
    ErrorCode::NotFound.into()
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.trim().parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, HeaderName::from_static("idempotency-key")])
        .expose_headers([REQUEST_ID, header::RETRY_AFTER])
        .max_age(Duration::from_secs(3_600))
}

/// The id that a request has already, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID);
    let usable = |id: &&HeaderValue| id.len() <= 64 && id.as_bytes().iter().all(u8::is_ascii_graphic);
    given.filter(usable).cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().simple().to_string();
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
    })
}

/// Around every request but polls: an id, a time limit, a line in the log, a measurement.
async fn observe(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().map_or("-", |path| path.as_str()).to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or("-"), %method, route);
    let answered = timeout(REQUEST_TIMEOUT, next.run(request)).instrument(span.clone()).await;
    let mut response = answered.unwrap_or_else(|_| ApiError::from(ErrorCode::Unavailable).into_response());
    let elapsed = start.elapsed();
    let status = response.status().as_u16();
    span.in_scope(|| tracing::info!(status, milliseconds = elapsed.as_secs_f64() * 1e3, "answered"));
    metrics::histogram!("discussions_request_seconds", "method" => method.to_string(), "route" => route, "status" => status.to_string())
        .record(elapsed.as_secs_f64());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// What an answer to a poll carries of its request.
pub struct Dressing {
    id: HeaderValue,
    origin: Option<HeaderValue>,
}

impl Dressing {
    /// From the request's headers.
    pub fn of(headers: &HeaderMap) -> Self {
        Self { id: request_id(headers), origin: headers.get(header::ORIGIN).cloned() }
    }
}

/// Gives the answer to a poll that did not pass the router's layers the headers that those would.
pub fn dress_poll(state: &AppState, headers: &mut HeaderMap, Dressing { id, origin }: Dressing) {
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-request-id,retry-after"));
    if let Some(origin) = origin.filter(|origin| state.config.allowed_origins.iter().any(|one| origin == one.trim())) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REQUEST_ID, id);
}

/// Around polls: an id, and nothing in the log above debug.
async fn observe_poll(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let mut response = next.run(request).await;
    tracing::debug!(id = id.to_str().unwrap_or("-"), status = response.status().as_u16(), "poll answered");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Deletes what is too old, now and then, until the shutdown.
async fn housekeeping(state: AppState) {
    loop {
        if let Err(error) = clean(&state).await {
            tracing::warn!(cause = %error, "could not delete old rows; trying again later");
        }
        tokio::select! {
            () = sleep(feed::jittered(HOUSEKEEPING_TICK)) => {}
            () = state.shutdown.cancelled() => return,
        }
    }
}

async fn clean(state: &AppState) -> anyhow::Result<()> {
    idempotency::store::purge(&state.pool).await.map_err(|error| anyhow::anyhow!("idempotency keys: {error:?}"))?;
    state.sessions.purge().await.context("sessions")?;
    let (hours, total) = (state.config.outbox_retention_hours as i32, i64::from(state.config.total_log_events));
    while feed::postgres::prune(&state.pool, hours, total).await.context("outbox")? > 0 {}
    Ok(())
}
