//! The poll itself: one function for both ways in, axum's handler and the direct connection of [`crate::serve`].

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::{
    RealtimeState, answer,
    hub::{Hub, ParkHandle, PollOutcome},
    memberships::{self, MembershipHistory},
    model::PollRequest,
    waiter::ParkedOutcome,
};
use crate::{
    auth::Viewer,
    deadline::poll_deadline,
    directory,
    error::{ApiError, ErrorCode, Result},
    events::history::{self, Position},
    ids::{EventId, QueueId},
};

/// How long a question to the database may take that a poll asks.
const ASK_TIMEOUT: Duration = Duration::from_secs(4);

/// Waits for what there is for `viewer` after the cursor: the body of the answer.
pub async fn wait(state: &RealtimeState, viewer: Viewer, request: PollRequest) -> Result<Bytes> {
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut future = begin(state, viewer, request);
    poll_fn(|context| future.poll_answer(timer.as_mut(), context)).await
}

/// A poll after the first look at what is there.
pub enum PollFuture<'a> {
    /// It is answered: taken by the first [`PollFuture::poll_answer`].
    Ready(Option<Result<Bytes>>),
    /// It waits. Small, as there may be a hundred thousand of these.
    Parked(ParkedPoll<'a>),
    /// It has to ask the database or Redis first. Rare and large, hence boxed.
    SlowPath(Pin<Box<dyn Future<Output = Result<Bytes>> + Send + 'a>>),
}

/// Looks for what there is for `viewer` after the cursor, and parks where that is nothing.
pub fn begin<'a>(state: &'a RealtimeState, viewer: Viewer, request: PollRequest) -> PollFuture<'a> {
    let limit = match poll_limit(state.poll_timeout, request.timeout, viewer.expires_at) {
        Ok(limit) => limit,
        Err(error) => return PollFuture::refused(error),
    };
    let now = Instant::now();
    let deadline = now + limit;
    match state.hub.poll(request.queue, viewer.user_id, &viewer.scope, request.cursor, !limit.is_zero(), now) {
        PollOutcome::Answer(body) => PollFuture::Ready(Some(Ok(body))),
        PollOutcome::Catchup => PollFuture::Ready(Some(Ok(catchup()))),
        PollOutcome::Parked(parked) => {
            PollFuture::Parked(ParkedPoll { hub: &state.hub, parked, deadline, answered: false })
        }
        outcome @ (PollOutcome::Ahead | PollOutcome::MembershipsUnknown | PollOutcome::NotFound) => {
            PollFuture::SlowPath(Box::pin(slow_path(state, viewer, request, deadline, outcome)))
        }
    }
}

/// How long a poll may wait: what it asks for in seconds, within `most` and the life of its token, which ends at `expires_at`,
/// in seconds since 1970.
fn poll_limit(most: Duration, asked_seconds: Option<f64>, expires_at: Option<i64>) -> Result<Duration> {
    let most = most.as_secs_f64();
    let asked = asked_seconds.unwrap_or(most);
    if !(asked.is_finite() && asked >= 0.0) {
        return Err(ApiError::invalid_parameter("timeout", "is not a number of seconds from 0 on"));
    }
    let left = expires_at.map_or(most, |at| (at - chrono::Utc::now().timestamp()).max(0) as f64);
    Ok(Duration::from_secs_f64(asked.min(most).min(left)))
}

impl PollFuture<'_> {
    /// One that is answered with an error.
    pub fn refused(error: ApiError) -> Self {
        Self::Ready(Some(Err(error)))
    }

    /// The answer, when it is there. `timer` is the caller's and may be armed for any time.
    pub fn poll_answer(&mut self, timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Result<Bytes>> {
        match self {
            Self::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Self::Parked(parked) => parked.poll_answer(timer, context),
            Self::SlowPath(future) => future.as_mut().poll(context),
        }
    }
}

/// What a poll comes to that is ahead of this node, or whose queue or memberships are not known here: that is `outcome`.
async fn slow_path(
    state: &RealtimeState,
    viewer: Viewer,
    request: PollRequest,
    deadline: Instant,
    mut outcome: PollOutcome,
) -> Result<Bytes> {
    let mut is_loaded = false;
    loop {
        match outcome {
            PollOutcome::Answer(body) => return Ok(body),
            PollOutcome::Catchup => return Ok(catchup()),
            PollOutcome::Parked(parked) => {
                let mut parked = ParkedPoll { hub: &state.hub, parked, deadline, answered: false };
                let mut timer = pin!(sleep_until(deadline));
                return poll_fn(|context| parked.poll_answer(timer.as_mut(), context)).await;
            }
            PollOutcome::Ahead => {
                if let Some(body) = wait_for_head(state, request.cursor, deadline).await? {
                    return Ok(body);
                }
            }
            PollOutcome::MembershipsUnknown => {
                if let Some(body) = load_memberships(state, &viewer, request.cursor, deadline).await? {
                    return Ok(body);
                }
            }
            PollOutcome::NotFound if is_loaded => return Err(ErrorCode::QueueNotFound.into()),
            PollOutcome::NotFound => {
                load_from_registry(state, &viewer, request.queue).await?;
                is_loaded = true;
            }
        }
        let now = Instant::now();
        outcome = state.hub.poll(request.queue, viewer.user_id, &viewer.scope, request.cursor, now < deadline, now);
    }
}

/// A parked poll. Dropped before its answer, as when its client goes away, it frees its place.
pub struct ParkedPoll<'a> {
    hub: &'a Hub,
    parked: ParkHandle,
    deadline: Instant,
    answered: bool,
}

impl Drop for ParkedPoll<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.hub.unpark(&self.parked);
        }
    }
}

impl ParkedPoll<'_> {
    fn poll_answer(&mut self, timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Result<Bytes>> {
        let answer = match Pin::new(&mut self.parked.fired).poll(context) {
            Poll::Ready(ParkedOutcome::Event(body)) => Ok(body),
            Poll::Ready(ParkedOutcome::Released(seen)) => Ok(answer::events(&[], seen)),
            Poll::Ready(ParkedOutcome::Leapt) => Ok(catchup()),
            Poll::Ready(ParkedOutcome::Gone) => Err(ErrorCode::QueueNotFound.into()),
            Poll::Pending => {
                ready!(poll_deadline(timer, self.deadline, context));
                match self.hub.time_out(&self.parked) {
                    Some(body) => Ok(body),
                    // Somebody has taken the poll to answer it: the outcome is on its way.
                    None => return Poll::Pending,
                }
            }
        };
        self.answered = true;
        Poll::Ready(answer)
    }
}

fn catchup() -> Bytes {
    metrics::counter!("discussions_catchups_total").increment(1);
    answer::catchup()
}

/// 200 with this body.
pub fn respond(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// A cursor that is not of the order that this node knows: either the node is a moment behind (a GET reads the database, which
/// is first to know), or there is no such event. None when the node has caught up.
async fn wait_for_head(state: &RealtimeState, cursor: EventId, deadline: Instant) -> Result<Option<Bytes>> {
    let position = timeout(ASK_TIMEOUT, history::position(&state.db)).await;
    let position = position.map_err(|_| ErrorCode::Unavailable)??;
    if !position.has(cursor) {
        return Ok(Some(catchup()));
    }
    Ok(wait_for(state, &Position { head: cursor, ..position }, cursor, deadline).await)
}

/// Waits until this node is there, but not for long. None when it is; else the answer that leaves the cursor where it is.
async fn wait_for(state: &RealtimeState, position: &Position, cursor: EventId, deadline: Instant) -> Option<Bytes> {
    // A poll that does not want to wait is still worth the moment that the feed needs.
    let deadline = deadline.max(Instant::now() + Duration::from_millis(500));
    tokio::select! {
        reached = timeout_at(deadline, state.hub.wait_for_position(position)) => match reached {
            Ok(()) => None,
            Err(_) => Some(answer::events(&[], cursor)),
        },
        () = state.shutdown.cancelled() => Some(answer::events(&[], cursor)),
    }
}

/// Reads the memberships of a user with queues here anew, after a leap. None when they are known.
async fn load_memberships(
    state: &RealtimeState,
    viewer: &Viewer,
    cursor: EventId,
    deadline: Instant,
) -> Result<Option<Bytes>> {
    let registration = state.hub.begin_registration(viewer.user_id);
    let history = read_history(state, viewer).await?;
    let there = Position { history: history.id.clone(), head: history.id.base };
    registration.update_memberships(&history);
    // A node that has yet to leap cannot take them: the next look asks again.
    Ok(wait_for(state, &there, cursor, deadline).await)
}

async fn read_history(state: &RealtimeState, viewer: &Viewer) -> Result<MembershipHistory> {
    let history = timeout(ASK_TIMEOUT, memberships::read(&state.db, viewer.user_id));
    history.await.map_err(|_| ErrorCode::Unavailable)?
}

/// Serves a queue that was registered at another node. Does nothing where there is no such queue of this user; the queues of
/// an account that has ended are gone as well, so that is looked at here: `token_invalid`.
pub async fn load_from_registry(state: &RealtimeState, viewer: &Viewer, queue: QueueId) -> Result<()> {
    let found = state.registry.find(queue).await?.filter(|(registered, _)| registered.user_id == viewer.user_id);
    let Some((registered, left)) = found else {
        let looked = timeout(ASK_TIMEOUT, directory::store::check_active(&state.db, viewer.user_id));
        return looked.await.map_err(|_| ErrorCode::Unavailable)?;
    };
    let registration = state.hub.begin_registration(viewer.user_id);
    let history = read_history(state, viewer).await?;
    let dropped = registration.create_queue(queue, registered.scope, &history, left, Instant::now());
    if let Some(dropped) = dropped {
        state.registry.remove(dropped, viewer.user_id).await;
    }
    Ok(())
}
