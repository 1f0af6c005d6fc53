//! The poll itself: one function for both ways in, axum's handler and the fast path of [`crate::serve`].

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
use poll_connections::poll_deadline;
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::{
    answer,
    hub::{Hub, Parked, Polled},
    memberships::{self, MembershipHistory},
    model::Asked,
    waiter::Outcome,
};
use crate::{
    auth::Viewer,
    directory,
    error::{ApiError, ErrorCode, Result},
    events::history::{self, Position},
    ids::{EventId, QueueId},
    state::AppState,
};

/// How long a question to the database may take that a poll asks.
const ASK_TIMEOUT: Duration = Duration::from_secs(4);

/// Waits for what there is for `viewer` after the cursor: the body of the answer.
pub async fn wait(state: &AppState, viewer: Viewer, asked: Asked) -> Result<Bytes> {
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut begun = begin(state, viewer, asked);
    poll_fn(|context| begun.poll_answer(timer.as_mut(), context)).await
}

/// A poll after the first look at what is there.
pub enum Begun<'a> {
    /// It is answered: taken by the first [`Begun::poll_answer`].
    Answered(Option<Result<Bytes>>),
    /// It waits. Small, as there may be a hundred thousand of these.
    Parked(Parking<'a>),
    /// It has to ask the database or Redis first. Rare and large, hence boxed.
    Asking(Pin<Box<dyn Future<Output = Result<Bytes>> + Send + 'a>>),
}

/// Looks for what there is for `viewer` after the cursor, and parks where that is nothing.
pub fn begin<'a>(state: &'a AppState, viewer: Viewer, asked: Asked) -> Begun<'a> {
    let limit = match state.poll_limit(asked.timeout, viewer.expires_at) {
        Ok(limit) => limit,
        Err(error) => return Begun::refused(error),
    };
    let now = Instant::now();
    let deadline = now + limit;
    match state.hub.poll(asked.queue, viewer.user_id, &viewer.scope, asked.cursor, !limit.is_zero(), now) {
        Polled::Answer(body) => Begun::Answered(Some(Ok(body))),
        Polled::Catchup => Begun::Answered(Some(Ok(catchup()))),
        Polled::Parked(parked) => Begun::Parked(Parking { hub: &state.hub, parked, deadline, answered: false }),
        lacking @ (Polled::Ahead | Polled::MembershipsUnknown | Polled::NotFound) => {
            Begun::Asking(Box::pin(after_asking(state, viewer, asked, deadline, lacking)))
        }
    }
}

impl Begun<'_> {
    /// One that is answered with an error.
    pub fn refused(error: ApiError) -> Self {
        Self::Answered(Some(Err(error)))
    }

    /// The answer, when it is there. `timer` is the caller's and may be armed for any time.
    pub fn poll_answer(&mut self, timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Result<Bytes>> {
        match self {
            Self::Answered(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Self::Parked(parking) => parking.poll_answer(timer, context),
            Self::Asking(asking) => asking.as_mut().poll(context),
        }
    }
}

/// What a poll comes to that is ahead of this node, or whose queue or memberships are not known here: that is `lacking`.
async fn after_asking(
    state: &AppState,
    viewer: Viewer,
    asked: Asked,
    deadline: Instant,
    mut lacking: Polled,
) -> Result<Bytes> {
    let mut adopted = false;
    loop {
        match lacking {
            Polled::Answer(body) => return Ok(body),
            Polled::Catchup => return Ok(catchup()),
            Polled::Parked(parked) => {
                let mut parking = Parking { hub: &state.hub, parked, deadline, answered: false };
                let mut timer = pin!(sleep_until(deadline));
                return poll_fn(|context| parking.poll_answer(timer.as_mut(), context)).await;
            }
            Polled::Ahead => {
                if let Some(body) = ahead(state, asked.cursor, deadline).await? {
                    return Ok(body);
                }
            }
            Polled::MembershipsUnknown => {
                if let Some(body) = load_memberships(state, &viewer, asked.cursor, deadline).await? {
                    return Ok(body);
                }
            }
            Polled::NotFound if adopted => return Err(ErrorCode::QueueNotFound.into()),
            Polled::NotFound => {
                adopt(state, &viewer, asked.queue).await?;
                adopted = true;
            }
        }
        let now = Instant::now();
        lacking = state.hub.poll(asked.queue, viewer.user_id, &viewer.scope, asked.cursor, now < deadline, now);
    }
}

/// A parked poll. Dropped before its answer, as when its client goes away, it frees its place.
pub struct Parking<'a> {
    hub: &'a Hub,
    parked: Parked,
    deadline: Instant,
    answered: bool,
}

impl Drop for Parking<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.hub.unpark(&self.parked);
        }
    }
}

impl Parking<'_> {
    fn poll_answer(&mut self, timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Result<Bytes>> {
        let answer = match Pin::new(&mut self.parked.fired).poll(context) {
            Poll::Ready(Outcome::Event(body)) => Ok(body),
            Poll::Ready(Outcome::Released(seen)) => Ok(answer::events(&[], seen)),
            Poll::Ready(Outcome::Leapt) => Ok(catchup()),
            Poll::Ready(Outcome::Gone) => Err(ErrorCode::QueueNotFound.into()),
            Poll::Pending => {
                ready!(poll_deadline(timer, self.deadline, context));
                match self.hub.settle(&self.parked) {
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
async fn ahead(state: &AppState, cursor: EventId, deadline: Instant) -> Result<Option<Bytes>> {
    let position = timeout(ASK_TIMEOUT, history::position(&state.db)).await;
    let position = position.map_err(|_| ErrorCode::Unavailable)??;
    if !position.has(cursor) {
        return Ok(Some(catchup()));
    }
    Ok(wait_for(state, &Position { head: cursor, ..position }, cursor, deadline).await)
}

/// Waits until this node is there, but not for long. None when it is; else the answer that leaves the cursor where it is.
async fn wait_for(state: &AppState, position: &Position, cursor: EventId, deadline: Instant) -> Option<Bytes> {
    // A poll that does not want to wait is still worth the moment that the feed needs.
    let deadline = deadline.max(Instant::now() + Duration::from_millis(500));
    tokio::select! {
        reached = timeout_at(deadline, state.hub.reaches(position)) => match reached {
            Ok(()) => None,
            Err(_) => Some(answer::events(&[], cursor)),
        },
        () = state.shutdown.cancelled() => Some(answer::events(&[], cursor)),
    }
}

/// Reads the memberships of a user with queues here anew, after a leap. None when they are known.
async fn load_memberships(
    state: &AppState,
    viewer: &Viewer,
    cursor: EventId,
    deadline: Instant,
) -> Result<Option<Bytes>> {
    let registration = state.hub.begin(viewer.user_id);
    let history = read_history(state, viewer).await?;
    let there = Position { history: history.id.clone(), head: history.id.base };
    registration.know(&history);
    // A node that has yet to leap cannot take them: the next look asks again.
    Ok(wait_for(state, &there, cursor, deadline).await)
}

async fn read_history(state: &AppState, viewer: &Viewer) -> Result<MembershipHistory> {
    let history = timeout(ASK_TIMEOUT, memberships::read(&state.db, viewer.user_id));
    history.await.map_err(|_| ErrorCode::Unavailable)?
}

/// Serves a queue that was registered at another node. Does nothing where there is no such queue of this user; the queues of
/// an account that has ended are gone as well, so that is looked at here: `token_invalid`.
pub async fn adopt(state: &AppState, viewer: &Viewer, queue: QueueId) -> Result<()> {
    let found = state.registry.find(queue).await?.filter(|(registered, _)| registered.user_id == viewer.user_id);
    let Some((registered, left)) = found else {
        let looked = timeout(ASK_TIMEOUT, directory::store::check_active(&state.db, viewer.user_id));
        return looked.await.map_err(|_| ErrorCode::Unavailable)?;
    };
    let registration = state.hub.begin(viewer.user_id);
    let history = read_history(state, viewer).await?;
    let dropped = registration.install(queue, registered.scope, &history, left, Instant::now());
    if let Some(dropped) = dropped {
        state.registry.remove(dropped, viewer.user_id).await;
    }
    Ok(())
}
