//! What register, heartbeat, poll and close do.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{
    sync::watch::Receiver,
    time::{Instant, timeout},
};

use super::{
    RealtimeState,
    memberships::{self, MembershipHistory},
    model::{Heartbeat, NewWatch, PollAnswer, PollQuery, PollRequest, QueueCommunities, Registration, queue_id},
    poll,
    registry::QueueRecord,
    slow_path::load_from_registry,
    terms::{NewRegistration, QueueTerms, watched},
};
use crate::{
    auth::Viewer,
    compression::Accepted,
    error::{ErrorCode, Result},
    events::{kinds, outbox},
    extract::{JsonBody, PathQueue, Query},
    ids::{CommunityId, EventId, QueueId},
    openapi::{PollErrors, WriteErrors},
};

/// How often clients should send heartbeats, unless the time to live of queues is shorter.
const HEARTBEAT_INTERVAL_SECONDS: u64 = 60;
/// How long a call waits until the relay has numbered what it needs a place of.
const RELAY_TIMEOUT: Duration = Duration::from_secs(2);

/// Register for events
///
/// A user may hold 32 queues; the one idle longest makes room for a new one.
#[utoipa::path(post, path = "/register", tag = "realtime", operation_id = "register",
    request_body = Option<NewRegistration>, security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The new queue", body = Registration), WriteErrors))]
pub(crate) async fn register(
    State(state): State<RealtimeState>,
    viewer: Viewer,
    new: Option<JsonBody<NewRegistration>>,
) -> Result<Response> {
    let JsonBody(new) = new.unwrap_or_default();
    let terms = new.terms(viewer.scope.clone())?;
    // This begins before the memberships are read, so that no change is missed in between.
    let registration = state.hub.begin_registration(viewer.user_id);
    let history = read_numbered(&state, &viewer, &terms).await?;
    let communities = communities(&state, &viewer, &history, &terms).await?;
    if communities.is_empty() {
        return Err(ErrorCode::NoCommunities.into());
    }
    let queue_id = QueueId::random();
    let record = QueueRecord { user_id: viewer.user_id, terms: terms.clone() };
    let ttl = state.hub.limits().queue_ttl;
    let replaced = registration.create_queue(queue_id, terms, &history, ttl, Instant::now());
    state.registry.save(queue_id, &record).await;
    if let Some(replaced) = replaced {
        state.registry.remove(replaced, viewer.user_id).await;
    }
    let answer = Registration {
        queue_id,
        last_event_id: history.head,
        communities,
        heartbeat_interval_seconds: HEARTBEAT_INTERVAL_SECONDS.min((ttl.as_secs() / 2).max(1)),
        poll_timeout_seconds: state.poll_timeout.as_secs(),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// The communities whose events a queue of these terms gets by this token, in ascending order.
async fn communities(
    state: &RealtimeState,
    viewer: &Viewer,
    history: &MembershipHistory,
    terms: &QueueTerms,
) -> Result<Vec<CommunityId>> {
    let mut communities = history.communities.clone();
    if !terms.watch.is_empty() {
        communities.extend(kinds::readable_by_anyone(&state.db, &terms.watch).await?);
    }
    Ok(communities.into_iter().filter(|community| terms.scope.allows_both(&viewer.scope, *community)).collect())
}

/// The user's memberships. Gives the relay a moment to number the newest changes, so that someone who has just joined their
/// first community is not refused.
async fn read_numbered(state: &RealtimeState, viewer: &Viewer, terms: &QueueTerms) -> Result<MembershipHistory> {
    let mut relay = RelayWait::begin(state);
    loop {
        let history = memberships::read_for(&state.db, viewer.user_id, terms).await?;
        if !history.has_unnumbered || !relay.go_on().await {
            return Ok(history);
        }
    }
}

/// The place in the order of a committed outbox row. `unavailable` if the relay takes too long.
async fn numbered(state: &RealtimeState, row: i64) -> Result<EventId> {
    let mut relay = RelayWait::begin(state);
    loop {
        if let Some(place) = outbox::place(&state.db, row).await? {
            return Ok(place);
        }
        if !relay.go_on().await {
            return Err(ErrorCode::Unavailable.into());
        }
    }
}

/// Waits for the relay, between looks at what it has numbered.
struct RelayWait<'a> {
    state: &'a RealtimeState,
    deadline: Instant,
    heads: Receiver<EventId>,
}

impl<'a> RelayWait<'a> {
    fn begin(state: &'a RealtimeState) -> Self {
        Self { state, deadline: Instant::now() + RELAY_TIMEOUT, heads: state.hub.watch_head() }
    }

    /// Waits until the next look. False if the relay has taken too long.
    async fn go_on(&mut self) -> bool {
        if Instant::now() >= self.deadline {
            return false;
        }
        self.state.db.relay().notify();
        // Look again after the next event, or soon: the relay may be on another node.
        let _ = timeout(RELAY_TIMEOUT / 20, self.heads.changed()).await;
        true
    }
}

/// Keep a queue alive
///
/// It stands for an active person: polls alone do not keep a queue.
#[utoipa::path(post, path = "/heartbeat", tag = "realtime", operation_id = "heartbeat",
    request_body = Heartbeat, security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "The queue is good for another while"), WriteErrors))]
pub(crate) async fn heartbeat(
    State(state): State<RealtimeState>,
    viewer: Viewer,
    JsonBody(heartbeat): JsonBody<Heartbeat>,
) -> Result<StatusCode> {
    let queue = queue_id(&heartbeat.queue_id)?;
    let mut terms = state.hub.heartbeat(queue, viewer.user_id, Instant::now());
    if terms.is_none() {
        load_from_registry(&state, &viewer, queue).await?;
        terms = state.hub.heartbeat(queue, viewer.user_id, Instant::now());
    }
    let record = QueueRecord { user_id: viewer.user_id, terms: terms.ok_or(ErrorCode::QueueNotFound)? };
    if let Some(saved) = state.registry.save(queue, &record).await
        && saved.terms.watch != record.terms.watch
    {
        // A call has changed it, and this node has yet to come to that place in the order, or has leapt over it.
        state.hub.set_watch(queue, &saved.terms.watch);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Watch communities
///
/// The queue gets the events of these public and open communities too. They replace those that it has watched before. When one of them is
/// neither public nor open any more, `community_changed` is the last event of it.
#[utoipa::path(put, path = "/queues/{queue_id}/watch", tag = "realtime", operation_id = "watchCommunities",
    params(("queue_id" = Uuid, Path, description = "The queue")),
    request_body = NewWatch, security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "What the queue gets now", body = QueueCommunities), WriteErrors))]
pub(crate) async fn watch(
    State(state): State<RealtimeState>,
    viewer: Viewer,
    PathQueue(queue): PathQueue,
    JsonBody(new): JsonBody<NewWatch>,
) -> Result<Json<QueueCommunities>> {
    let watch = watched("community_ids", new.community_ids)?;
    if !state.hub.has_queue(queue, viewer.user_id, Instant::now()) {
        load_from_registry(&state, &viewer, queue).await?;
    }
    let history = memberships::read(&state.db, viewer.user_id).await?;
    let terms = state.hub.terms(queue, viewer.user_id, Instant::now()).ok_or(ErrorCode::QueueNotFound)?;
    let record = QueueRecord { user_id: viewer.user_id, terms: QueueTerms { watch, ..terms } };
    // It takes effect at its place in the order, so no node can pass an event that comes after this call's answer. Whoever loads the
    // queue after that place finds the record, which comes before the commit. Two calls for one queue take turns.
    let mut write = state.db.write();
    let row = write.announce_watch(queue, &record.terms.watch).await?;
    state.registry.replace(queue, &record).await?;
    write.commit().await?;
    let communities = communities(&state, &viewer, &history, &record.terms).await?;
    let last_event_id = numbered(&state, row).await?;
    Ok(Json(QueueCommunities { last_event_id, communities }))
}

/// Close a queue
#[utoipa::path(delete, path = "/queues/{queue_id}", tag = "realtime", operation_id = "closeQueue",
    params(("queue_id" = Uuid, Path, description = "The queue")),
    security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "The queue is closed"), WriteErrors))]
pub(crate) async fn close(
    State(state): State<RealtimeState>,
    viewer: Viewer,
    PathQueue(queue): PathQueue,
) -> Result<StatusCode> {
    if !state.hub.has_queue(queue, viewer.user_id, Instant::now()) {
        load_from_registry(&state, &viewer, queue).await?;
    }
    if !state.hub.close(queue, viewer.user_id) {
        return Err(ErrorCode::QueueNotFound.into());
    }
    state.registry.remove(queue, viewer.user_id).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Close a queue, as `navigator.sendBeacon` can
#[utoipa::path(post, path = "/queues/{queue_id}/close", tag = "realtime", operation_id = "closeQueueByBeacon",
    params(("queue_id" = Uuid, Path, description = "The queue")),
    security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "The queue is closed"), WriteErrors))]
pub(crate) async fn close_by_beacon(
    state: State<RealtimeState>,
    viewer: Viewer,
    queue: PathQueue,
) -> Result<StatusCode> {
    close(state, viewer, queue).await
}

/// Wait for events
///
/// Answers at once where there is something after `last_event_id`, else when something comes or the time is up. A newer
/// poll of the same queue ends an older one, with an empty list.
#[utoipa::path(get, path = "/poll", tag = "realtime", operation_id = "poll",
    params(PollQuery), security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "What happened, or that it is too long ago to tell", body = PollAnswer), PollErrors))]
pub(crate) async fn poll(
    State(state): State<RealtimeState>,
    viewer: Viewer,
    Query(query): Query<PollQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let coding = Accepted::from(&headers).of_poll();
    poll::wait(&state, viewer, PollRequest::try_from(query)?, coding).await.map(poll::respond)
}
