//! Is this process alive, is it ready, and how is it doing.

pub mod store;

use std::time::Duration;

use axum::{Json, Router, extract::State, http::header, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    error::{ApiError, ErrorCode, Result},
    events::history,
    metrics,
    state::AppState,
};

/// How long the database and the feed have to show that they are there.
const PATIENCE: Duration = Duration::from_secs(2);

/// The routes for whoever decides whether this process gets requests.
pub fn routes() -> Router<AppState> {
    Router::new().route("/health/live", get(async || alive())).route("/health/ready", get(ready))
}

fn alive() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "status": "ok" })))
}

/// Ready: the database answers, and the feed has brought everything up to its head.
async fn ready(State(state): State<AppState>) -> Result<impl IntoResponse> {
    if state.shutdown.is_cancelled() {
        return Err(ApiError::from(ErrorCode::Unavailable).message("shutting down"));
    }
    let seen = state.realtime.hub.position();
    let position = timeout(PATIENCE, async {
        Ok::<_, sqlx::Error>((history::position(&state.db).await?, history::is_present(&state.db).await?))
    });
    let position = position.await;
    let (position, is_present) =
        position.map_err(|_| ApiError::from(ErrorCode::Unavailable).message("the database does not answer"))??;
    if !is_present {
        return Err(ApiError::from(ErrorCode::Unavailable)
            .message("the database is another one: events are to be numbered anew"));
    }
    // What this node has seen was in the database before.
    if position.history == seen.history && position.head < seen.head {
        return Err(ApiError::from(ErrorCode::Unavailable)
            .message("the database has lost events: they are to be numbered anew"));
    }
    match timeout(PATIENCE, state.realtime.hub.wait_for_position(&position)).await {
        Ok(()) => Ok(alive()),
        Err(_) => Err(ApiError::from(ErrorCode::Unavailable).message("events arrive late at this node")),
    }
}

/// The routes of the metrics listener.
pub fn metrics_routes(state: AppState, handle: PrometheusHandle) -> Router {
    let metrics = move |State(state): State<AppState>| {
        let handle = handle.clone();
        async move {
            gauges(&state).await;
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response()
        }
    };
    Router::new().route("/metrics", get(metrics)).with_state(state)
}

async fn gauges(state: &AppState) {
    let stats = state.realtime.hub.stats();
    metrics::QUEUES.set(stats.queues as f64);
    metrics::USERS.set(stats.users as f64);
    metrics::PARKED_POLLS.set(stats.parked as f64);
    metrics::LOG_EVENTS.set(stats.events as f64);
    metrics::LOG_BYTES.set(stats.bytes as f64);
    metrics::HEAD.set(stats.head.get() as f64);
    let (connections, idle) = state.db.size();
    metrics::POOL_CONNECTIONS.set(connections as f64);
    metrics::POOL_IDLE.set(idle as f64);
    metrics::POOL_LIMIT.set(f64::from(state.config.database_connections));
    // With the database down the last values stand; the error is in the log.
    if let Ok(Ok(waiting)) = timeout(PATIENCE, store::waiting(&state.db)).await {
        metrics::OUTBOX_WAITING.set(waiting.rows as f64);
        metrics::OUTBOX_OLDEST.set(waiting.oldest_seconds);
    }
}
