//! The poll itself: one function for both ways in, axum's handler and the direct connection of [`crate::serve`].

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use tokio::time::{Instant, Sleep, timeout, timeout_at};

use super::{
    answer,
    hub::{Parked, Polled},
    model::Asked,
    waiter::Outcome,
};
use crate::{
    auth::{Viewer, memberships},
    deadline::poll_deadline,
    error::{ErrorCode, Result},
    feed,
    ids::{EventId, QueueId},
    state::AppState,
};

/// How long a question to the database may take that a poll asks.
const ASK_TIMEOUT: Duration = Duration::from_secs(4);

/// Waits for what there is for `viewer` after the cursor: the body of the answer. `timer` is the caller's, for as long as
/// this waits, and may be armed for any time.
///
/// What is rare is boxed: a parked poll should be small.
pub async fn wait(state: &AppState, viewer: Viewer, asked: Asked, timer: Pin<&mut Sleep>) -> Result<Bytes> {
    let Asked { queue, cursor, timeout } = asked;
    let limit = state.poll_limit(timeout, viewer.expires_at)?;
    let mut now = Instant::now();
    let deadline = now + limit;
    let mut adopted = false;
    loop {
        match state.hub.poll(queue, viewer.user_id, &viewer.scope, cursor, !limit.is_zero(), now) {
            Polled::Answer(body) => return Ok(body),
            Polled::Catchup => return Ok(catchup()),
            Polled::Parked(parked) => return until_answered(state, parked, &viewer, deadline, timer).await,
            Polled::Ahead => {
                if let Some(body) = Box::pin(ahead(state, cursor, deadline)).await? {
                    return Ok(body);
                }
            }
            Polled::NotFound if adopted => return Err(ErrorCode::QueueNotFound.into()),
            Polled::NotFound => {
                Box::pin(adopt(state, &viewer, queue)).await?;
                adopted = true;
            }
        }
        now = Instant::now();
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

/// Frees the slot of a poll whose client goes away.
struct Slot<'a> {
    state: &'a AppState,
    parked: Parked,
    answered: bool,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.state.hub.unpark(&self.parked);
        }
    }
}

async fn until_answered(
    state: &AppState,
    parked: Parked,
    viewer: &Viewer,
    deadline: Instant,
    mut timer: Pin<&mut Sleep>,
) -> Result<Bytes> {
    let mut slot = Slot { state, parked, answered: false };
    let outcome = poll_fn(|context| {
        if let Poll::Ready(outcome) = Pin::new(&mut slot.parked.fired).poll(context) {
            return Poll::Ready(Some(outcome));
        }
        ready!(poll_deadline(timer.as_mut(), deadline, context));
        Poll::Ready(None)
    });
    let outcome = match outcome.await {
        Some(outcome) => outcome,
        None => match state.hub.settle(&slot.parked, &viewer.scope) {
            Some(body) => {
                slot.answered = true;
                return Ok(body);
            }
            // Somebody has taken the waiter out of the lists to fire it.
            None => (&mut slot.parked.fired).await,
        },
    };
    slot.answered = true;
    match outcome {
        Outcome::Event(body) => Ok(body),
        Outcome::Released(seen) => Ok(answer::events(&[], seen)),
        Outcome::Gone => Err(ErrorCode::QueueNotFound.into()),
    }
}

/// A cursor ahead of this node: either the node is a moment behind (a GET reads the database, which is first to know), or
/// there is no such event. None when the node has caught up.
async fn ahead(state: &AppState, cursor: EventId, deadline: Instant) -> Result<Option<Bytes>> {
    let head = timeout(ASK_TIMEOUT, feed::postgres::head(&state.pool)).await;
    let head = head.map_err(|_| ErrorCode::Unavailable)??;
    if cursor > head {
        return Ok(Some(catchup()));
    }
    let mut heads = state.hub.watch_head();
    // A poll that does not want to wait is still worth the moment that the feed needs.
    let deadline = deadline.max(Instant::now() + Duration::from_millis(500));
    tokio::select! {
        reached = timeout_at(deadline, heads.wait_for(|head| *head >= cursor)) => match reached {
            Ok(_) => Ok(None),
            Err(_) => Ok(Some(answer::events(&[], cursor))),
        },
        () = state.shutdown.cancelled() => Ok(Some(answer::events(&[], cursor))),
    }
}

/// Serves a queue that was registered at another node. Does nothing where there is no such queue of this user.
pub async fn adopt(state: &AppState, viewer: &Viewer, queue: QueueId) -> Result<()> {
    let Some((registered, left)) = state.registry.find(queue).await? else { return Ok(()) };
    if registered.user_id != viewer.user_id {
        return Ok(());
    }
    let registration = state.hub.begin(viewer.user_id);
    let history = timeout(ASK_TIMEOUT, memberships::history(&state.pool, viewer.user_id)).await;
    let history = history.map_err(|_| ErrorCode::Unavailable)??;
    let dropped = registration.install(queue, registered.scope, &history, left, Instant::now());
    if let Some(dropped) = dropped {
        state.registry.remove(dropped, viewer.user_id).await;
    }
    Ok(())
}
