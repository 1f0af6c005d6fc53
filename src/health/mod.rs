//! Liveness, readiness and the gauges of the metrics.

pub(crate) mod store;

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

/// How long to wait for the database, and how long for the feed.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The routes for load balancers and supervisors.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/health/live", get(async || alive())).route("/health/ready", get(ready))
}

fn alive() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "status": "ok" })))
}

/// Ready means that the database answers and the hub has all events up to its head.
async fn ready(State(state): State<AppState>) -> Result<impl IntoResponse> {
    if state.shutdown.is_cancelled() {
        return Err(ApiError::from(ErrorCode::Unavailable).message("shutting down"));
    }
    let seen = state.realtime.hub.position();
    let position = timeout(TIMEOUT, async {
        Ok::<_, sqlx::Error>((history::position(&state.db).await?, history::is_present(&state.db).await?))
    });
    let position = position.await;
    let (position, is_present) =
        position.map_err(|_| ApiError::from(ErrorCode::Unavailable).message("the database does not answer"))??;
    if !is_present {
        return Err(ApiError::from(ErrorCode::Unavailable)
            .message("this is another database than the one that numbered the last event: numbering has yet to continue from a new base"));
    }
    // This node has events only from the database, so a lower head means that the database has lost some.
    if position.history == seen.history && position.head < seen.head {
        return Err(ApiError::from(ErrorCode::Unavailable)
            .message("the database has lost events: numbering has yet to continue from a new base"));
    }
    match timeout(TIMEOUT, state.realtime.hub.wait_for_position(&position)).await {
        Ok(()) => Ok(alive()),
        Err(_) => {
            Err(ApiError::from(ErrorCode::Unavailable).message("this node has not received the newest events yet"))
        }
    }
}

/// The routes of the metrics listener.
pub(crate) fn metrics_routes(state: AppState, handle: PrometheusHandle) -> Router {
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
    // If the database is down, the gauges keep their last values.
    if let Ok(Ok(waiting)) = timeout(TIMEOUT, store::waiting(&state.db)).await {
        metrics::OUTBOX_WAITING.set(waiting.rows as f64);
        metrics::OUTBOX_OLDEST.set(waiting.oldest_seconds);
    }
}
