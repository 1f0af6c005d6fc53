//! A poll from its request to its answer. Both ways in use this: axum's handler, and connections that are served without hyper.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use poll_connections::poll_deadline;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    RealtimeState,
    body::{self, SharedBody},
    hub::{Hub, ParkHandle, ParkedOutcome, PollOutcome},
    model::PollRequest,
    slow_path::{Missing, slow_path},
};
use crate::{
    auth::Viewer,
    compression::{self, Coding, EncodedBody},
    error::{ApiError, ErrorCode, Result},
    metrics,
};

/// Waits for what there is for `viewer` after the cursor. Returns the body of the answer, in the coding `coding` if it is large.
pub(crate) async fn wait(
    state: &RealtimeState,
    viewer: Viewer,
    request: PollRequest,
    coding: Coding,
) -> Result<EncodedBody> {
    begin(state, viewer, request, coding).answer().await
}

/// A poll after the first look at what there is.
pub(crate) enum PollFuture<'a> {
    /// It has its answer. The first [`PollFuture::poll_answer`] takes it.
    Ready(Option<Result<EncodedBody>>),
    /// It waits for an event. This variant must be small, because there may be 100,000 of them.
    Parked(ParkedPoll<'a>),
    /// It has to ask the database or Redis first, or has a large answer to compress. This is rare, and the future is large, so it
    /// is boxed.
    SlowPath(Pin<Box<dyn Future<Output = Result<EncodedBody>> + Send + 'a>>),
}

/// Looks for what there is for `viewer` after the cursor, and parks the poll where that is nothing.
pub(crate) fn begin(state: &RealtimeState, viewer: Viewer, request: PollRequest, coding: Coding) -> PollFuture<'_> {
    let deadline = match poll_limit(state.poll_timeout, request.timeout, viewer.expires_at) {
        Ok(limit) => Instant::now() + limit,
        Err(error) => return PollFuture::refused(error),
    };
    match look(state, &viewer, &request, coding, deadline) {
        Ok(future) => future,
        Err(missing) => PollFuture::SlowPath(Box::pin(slow_path(state, viewer, request, coding, deadline, missing))),
    }
}

/// What the hub has for the poll, which parks unless its `deadline` has passed. An error says what this node must read
/// before the hub can tell.
pub(super) fn look<'a>(
    state: &'a RealtimeState,
    viewer: &Viewer,
    request: &PollRequest,
    coding: Coding,
    deadline: Instant,
) -> Result<PollFuture<'a>, Missing> {
    let (hub, now) = (&*state.hub, Instant::now());
    match hub.poll(request.queue, viewer, request.cursor, now < deadline, now) {
        PollOutcome::Answer(body) => Ok(PollFuture::with(body, coding)),
        PollOutcome::Catchup => Ok(PollFuture::with(catchup(), coding)),
        PollOutcome::Parked(handle) => {
            Ok(PollFuture::Parked(ParkedPoll { hub, handle, deadline, coding, is_answered: false }))
        }
        PollOutcome::Ahead => Err(Missing::Head),
        PollOutcome::MembershipsUnknown => Err(Missing::Memberships),
        PollOutcome::SessionEnded => Ok(PollFuture::refused(ErrorCode::TokenMissing.into())),
        PollOutcome::SessionUnknown => Err(Missing::Session),
        PollOutcome::NotFound => Err(Missing::Queue),
        PollOutcome::Lost(events) => Err(Missing::Lost(events)),
    }
}

/// How long a poll may wait: as long as it asks for, but no longer than `most` or the life of its token or session. That ends at
/// `expires_at`, in seconds since 1970.
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
    /// A poll whose answer is `body`, which no other poll gets. If that is large, other polls of this thread go on while it is
    /// compressed.
    fn with(body: Bytes, coding: Coding) -> Self {
        if coding == Coding::Gzip && compression::is_large(&body) {
            return Self::SlowPath(Box::pin(async move {
                Ok(EncodedBody::gzipped(compression::gzip_in_pieces(&body).await))
            }));
        }
        Self::Ready(Some(Ok(SharedBody::from(body).encode(coding))))
    }

    /// A poll that is answered with an error.
    pub(crate) fn refused(error: ApiError) -> Self {
        Self::Ready(Some(Err(error)))
    }

    /// The answer, once it is there. `timer` is the caller's and may be armed for any time.
    pub(crate) fn poll_answer(
        &mut self,
        timer: Pin<&mut Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<Result<EncodedBody>> {
        match self {
            Self::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Self::Parked(parked) => parked.poll_answer(timer, context),
            Self::SlowPath(future) => future.as_mut().poll(context),
        }
    }

    /// Waits for the answer, with a timer of its own.
    pub(super) async fn answer(mut self) -> Result<EncodedBody> {
        let mut timer = pin!(sleep_until(Instant::now()));
        poll_fn(|context| self.poll_answer(timer.as_mut(), context)).await
    }
}

/// A poll that waits for an event. If it is dropped before its answer, because its client went away, it leaves the hub.
pub(crate) struct ParkedPoll<'a> {
    hub: &'a Hub,
    handle: ParkHandle,
    deadline: Instant,
    coding: Coding,
    is_answered: bool,
}

impl Drop for ParkedPoll<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.hub.unpark(&self.handle);
        }
    }
}

impl ParkedPoll<'_> {
    fn poll_answer(&mut self, timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Result<EncodedBody>> {
        let encode = |body: Bytes| SharedBody::from(body).encode(self.coding);
        let answer = match Pin::new(&mut self.handle).poll(context) {
            Poll::Ready(ParkedOutcome::Event(body)) => Ok(body.encode(self.coding)),
            Poll::Ready(ParkedOutcome::Released(seen)) => Ok(encode(body::empty(seen))),
            Poll::Ready(ParkedOutcome::Leapt) => Ok(encode(catchup())),
            Poll::Ready(ParkedOutcome::Gone) => Err(ErrorCode::QueueNotFound.into()),
            // What every other request by this cookie is answered.
            Poll::Ready(ParkedOutcome::SessionEnded) => Err(ErrorCode::TokenMissing.into()),
            Poll::Pending => {
                ready!(poll_deadline(timer, self.deadline, context));
                match self.hub.time_out(&self.handle) {
                    Some(body) => Ok(encode(body)),
                    // Somebody took the poll out to answer it. Its outcome will wake this task.
                    None => return Poll::Pending,
                }
            }
        };
        self.is_answered = true;
        Poll::Ready(answer)
    }
}

/// The answer that asks for a catch-up, counted.
pub(super) fn catchup() -> Bytes {
    metrics::CATCHUPS.increment(1);
    body::catchup()
}

/// 200 with this body.
pub(crate) fn respond(body: EncodedBody) -> Response {
    let mut response = body.bytes.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(body.headers().iter().cloned());
    response
}
