//! All routes, and what is around them: errors, ids, time limits, logs, CORS.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
    set_header::SetResponseHeaderLayer,
};
use tracing::Instrument;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    auth::{self, AuthState},
    comments,
    compression::{self, HoldsSecret},
    db::Meter,
    discussions,
    error::{ApiError, ErrorCode},
    follows, health,
    limits::{self, Limits},
    login::{self, LoginState},
    mentions,
    metrics::{self, Label},
    notifications, openapi, reads,
    realtime::{self, RealtimeState},
    request_id::{self, REQUEST_ID},
    state::AppState,
    static_files::{self, StaticFiles},
    summaries, votes,
};

/// The largest body of a request, in bytes.
const BODY_LIMIT: usize = 256 * 1024;
/// A request that is not a poll is given up after this long: with a 503, within the 5 s that are promised.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(4_500);

/// The routes that are in the document, each kind with the state that its handlers take.
struct Documented {
    features: Router<AppState>,
    sessions: Router<AuthState>,
    logins: Router<LoginState>,
    realtime: Router<RealtimeState>,
    poll: Router<RealtimeState>,
    document: serde_json::Value,
}

fn documented() -> Documented {
    let features = OpenApiRouter::with_openapi(openapi::base())
        .merge(discussions::routes())
        .merge(comments::routes())
        .merge(votes::routes())
        .merge(reads::routes())
        .merge(follows::routes())
        .merge(notifications::routes())
        .merge(mentions::routes())
        .merge(summaries::routes());
    let (features, mut document) = features.split_for_parts();
    let (sessions, of_sessions) = auth::routes::routes().split_for_parts();
    let (logins, of_logins) = login::routes().split_for_parts();
    let (realtime, of_realtime) = realtime::routes().split_for_parts();
    let (poll, of_poll) = realtime::poll_route().split_for_parts();
    for part in [of_sessions, of_logins, of_realtime, of_poll] {
        document.merge(part);
    }
    Documented { features, sessions, logins, realtime, poll, document: openapi::finish(document) }
}

/// The OpenAPI document.
pub fn document() -> serde_json::Value {
    documented().document
}

/// All routes.
pub fn router(state: &AppState) -> Router {
    let Documented { features, sessions, logins, realtime, poll, document } = documented();
    // Their answers have the ids of sessions and queues, or tokens.
    let secrets = sessions.with_state(state.auth.clone()).merge(realtime.with_state(state.realtime.clone()));
    let (logins, no_logins) = match state.config.login.password_login {
        true => (logins.with_state(LoginState::new(state.db.clone(), &state.config)), Router::new()),
        false => (Router::new(), login::no_routes()),
    };
    let secrets = secrets.merge(logins);
    #[cfg(feature = "demo")]
    let secrets = if state.config.demo { secrets.merge(crate::demo::routes()) } else { secrets };
    let rest = features.merge(secrets.layer(middleware::map_response(mark_secret)));
    let limits = Arc::new(Limits::new(state.auth.clone(), &state.config.limits));
    let rest = rest.layer(middleware::from_fn_with_state(limits, limits::enforce));
    let poll: Router<AppState> = poll.with_state(state.realtime.clone());
    let document = async move || ([(header::CACHE_CONTROL, "no-cache")], Json(document));
    let rest = rest.route("/openapi.json", get(document)).merge(docs()).merge(health::routes()).merge(no_logins);
    let rest = match &state.config.static_dir {
        Some(folder) => {
            let files = StaticFiles::new(folder);
            rest.fallback(async move |request: Request| files.serve(request).await)
        }
        None => rest.fallback(not_found),
    };
    let rest = rest
        .method_not_allowed_fallback(async || ApiError::from(ErrorCode::MethodNotAllowed))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CatchPanicLayer::custom(|_| ApiError::internal("a handler panicked").into_response()))
        .layer(compression::layer())
        .layer(middleware::from_fn(compression::choose_coding))
        .layer(middleware::from_fn_with_state(state.writes.clone(), observe));
    let poll = poll.method_not_allowed_fallback(async || ApiError::from(ErrorCode::MethodNotAllowed));
    // What one person may read is nothing for a cache, above all where a cookie says who asks. Neither is an error.
    let no_store = SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    rest.merge(poll.layer(middleware::from_fn(observe_poll)))
        .layer(cors(&state.config.allowed_origins))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(no_store)
        .with_state(state.clone())
}

/// The document as a page to browse, out of this binary alone.
fn docs() -> Router<AppState> {
    let page = SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from("/openapi.json").validator_url("none"));
    // It has its own answers for a file that it does not have, and for a path that is not UTF-8.
    let refuse = async |response: Response| match response.status() {
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => not_found().await.into_response(),
        _ => static_files::with_page_headers(response, b"", static_files::REVALIDATED),
    };
    Router::from(page).layer(middleware::map_response(refuse))
}

async fn mark_secret(mut response: Response) -> Response {
    response.extensions_mut().insert(HoldsSecret);
    response
}

async fn not_found() -> ApiError {
    ErrorCode::NotFound.into()
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> =
        origins.iter().filter(|origin| !origin.is_empty()).filter_map(|origin| origin.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
        ])
        .expose_headers([REQUEST_ID, header::RETRY_AFTER, header::ETAG])
        .max_age(Duration::from_secs(3_600))
}

/// Around every request but polls: an id, a time limit, a line in the log, a measurement.
///
/// A request that may write runs on a task of its own, to its end: neither a client that hangs up nor the time limit stops a
/// write half-way (I9).
///
/// The layers of tower-http do not fit. `Timeout` drops what runs into it, and its answer has no body. `SetRequestId` keeps
/// whatever id a client sends, of any length. `Trace` would still need this function for the route, the database's time and
/// the measurement.
async fn observe(State(writes): State<TaskTracker>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().map_or("-", |path| path.as_str()).to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or("-"), %method, route);
    let is_safe = method.is_safe();
    let meter = Arc::<Meter>::default();
    let running = meter.measure(next.run(request).instrument(span.clone()));
    let answered = timeout(REQUEST_TIMEOUT, async {
        match is_safe {
            true => running.await,
            false => writes.spawn(running).await.unwrap_or_else(|error| ApiError::internal(error).into_response()),
        }
    });
    let answered = answered.await;
    let mut response = answered.unwrap_or_else(|_| ApiError::from(ErrorCode::Unavailable).into_response());
    let (elapsed, db) = (start.elapsed(), meter.usage());
    let status = response.status().as_u16();
    span.in_scope(|| {
        tracing::info!(
            status,
            milliseconds = elapsed.as_micros() as f64 / 1e3,
            db_milliseconds = db.elapsed.as_micros() as f64 / 1e3,
            db_statements = db.statements,
            "answered"
        );
    });
    let labels = vec![
        Label::new("method", label(&method)),
        Label::new("route", route),
        Label::new("status", status.to_string()),
    ];
    metrics::REQUESTS.record_labelled(labels, elapsed.as_secs_f64());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The method for a metric: whatever a client makes up has no label of its own.
fn label(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|name| method == name).unwrap_or("other")
}

/// Around polls: an id, and nothing in the log above debug.
async fn observe_poll(request: Request, next: Next) -> Response {
    let id = request_id::of(request.headers());
    let mut response = next.run(request).await;
    tracing::debug!(id = id.to_str().unwrap_or("-"), status = response.status().as_u16(), "poll answered");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}
