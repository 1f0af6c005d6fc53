//! Delivery of events: register, heartbeat, poll and close, and the hub behind them.

pub mod body;
pub mod follows;
mod handlers;
pub mod hub;
pub mod memberships;
pub mod model;
pub(crate) mod poll;
pub mod registry;
mod slow_path;
mod state;
pub mod terms;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::state::{RealtimeState, Shared};
use crate::metrics;

/// How often to look for expired queues.
const EXPIRY_TICK: Duration = Duration::from_secs(1);

/// The routes of delivery but the poll.
pub(crate) fn routes() -> OpenApiRouter<RealtimeState> {
    OpenApiRouter::new()
        .routes(routes!(handlers::register))
        .routes(routes!(handlers::heartbeat))
        .routes(routes!(handlers::watch))
        .routes(routes!(handlers::close))
        .routes(routes!(handlers::close_by_beacon))
}

/// The route of the poll. It is apart from the others because it has no time limit and no line in the log.
pub(crate) fn poll_route() -> OpenApiRouter<RealtimeState> {
    OpenApiRouter::new().routes(routes!(handlers::poll))
}

/// Deletes expired queues until `shutdown` (I6).
pub async fn expire(hub: Arc<hub::Hub>, registry: Arc<registry::Registry>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = sleep(EXPIRY_TICK) => {}
            () = shutdown.cancelled() => return,
        }
        let expired = hub.expired(Instant::now());
        if expired.is_empty() {
            continue;
        }
        let left = registry.time_left(&expired).await;
        let now = Instant::now();
        for (queue, left) in expired.into_iter().zip(left) {
            match left {
                Some(left) => hub.extend(queue, now, left),
                None if hub.drop_expired(queue, now) => metrics::QUEUES_EXPIRED.increment(1),
                None => {}
            }
        }
    }
}
