//! A connection that polls, without hyper: hyper keeps two buffers of 8 kB for each connection that is parked, this keeps none.
//!
//! A well-formed `GET /poll` is read into a buffer of the thread, answered by the same [`poll::begin`] as axum's handler,
//! and written in one piece. So that a client may register and poll on one connection, plain `POST`s to `/register` and
//! `/heartbeat` are read here too, for the router. Anything else, be it another request or only an unusual one (pipelined, of
//! another HTTP version, with many headers), hands the connection with the bytes read to hyper, for good. So this folder
//! understands three requests and refuses none.

pub mod head;
mod output;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::Request,
    response::IntoResponse,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::head::{HEAD_BYTES, PollHead, Understood, understand};
use super::{Connection, with_peer};
use crate::{
    auth::{jwt::LastGood, viewer},
    deadline::poll_deadline,
    error::{ErrorCode, Result},
    realtime::poll::{self, PollFuture},
    router::Dressing,
    state::AppState,
};

thread_local! {
    /// What is read lands here; a connection has no buffer of its own.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; HEAD_BYTES]);
}

/// What the connections share.
pub struct Direct {
    state: AppState,
    router: Router,
    /// See [`output::template`].
    template: Vec<u8>,
}

/// How a connection ends here.
pub enum End<S> {
    /// It is closed, or should be.
    Closed,
    /// It goes on with hyper, which begins with these bytes.
    Hyper(S, Vec<u8>),
}

impl Direct {
    /// Polls of `state`; what else is read here goes to `router`.
    pub fn new(state: AppState, router: Router) -> Self {
        let template = output::template(&state);
        Self { state, router, template }
    }

    /// Serves polls on `stream` for as long as nothing else comes. `idle` ends it between requests.
    ///
    /// What is rare in here is boxed: a parked connection should be small.
    pub async fn serve<S>(&self, mut stream: S, idle: &CancellationToken) -> End<S>
    where
        S: Connection,
    {
        // What came with or after a request: what hyper would find in its buffer.
        let mut pending = Vec::new();
        let mut last_good = LastGood::default();
        let patience = Duration::from_secs(self.state.config.idle_connection_seconds);
        let mut timer = pin!(sleep_until(Instant::now() + patience));
        let mut idle = pin!(idle.cancelled());
        loop {
            if !pending.is_empty() {
                // Sent before the answer to the last: whatever it is, hyper reads such things.
                return End::Hyper(stream, pending);
            }
            let deadline = Instant::now() + patience;
            let arrived = poll_fn(|context| {
                let arrived = self.poll_head(&mut stream, &mut pending, &mut last_good, context);
                // Between requests, the end of the process ends the connection, and so does a client that is too slow.
                let ends = arrived.is_pending()
                    && (idle.as_mut().poll(context).is_ready()
                        || poll_deadline(timer.as_mut(), deadline, context).is_ready());
                if ends { Poll::Ready(Arrived::Closed) } else { arrived }
            });
            let written = match arrived.await {
                Arrived::Poll(mut future, dressing) => {
                    let answered = poll_fn(|context| match future.poll_answer(timer.as_mut(), context) {
                        Poll::Ready(answer) => self.poll_write(&mut stream, answer, &dressing, context).map(Some),
                        Poll::Pending => poll_gone(&mut stream, &mut pending, context).map(|()| None),
                    });
                    match answered.await {
                        Some(written) => written,
                        None => return End::Closed,
                    }
                }
                Arrived::Post(request) => {
                    let Ok(response) = Box::pin(self.router.clone().oneshot(with_peer(*request, stream.peer()))).await;
                    Box::pin(output::write_response(&mut stream, response, self.is_ending())).await
                }
                Arrived::Other => return End::Hyper(stream, pending),
                Arrived::Closed => return End::Closed,
            };
            let done = match written {
                Ok(rest) if rest.is_empty() => true,
                Ok(rest) => Box::pin(output::write_rest(&mut stream, rest)).await.is_ok(),
                Err(_) => false,
            };
            if !done || self.is_ending() {
                return End::Closed;
            }
        }
    }

    /// Each answer is the last of its connection when the process is to end.
    fn is_ending(&self) -> bool {
        self.state.shutdown.is_cancelled()
    }

    /// Reads one head. `pending` is what was read of it already, and at [`Arrived::Other`] all of it.
    fn poll_head(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        pending: &mut Vec<u8>,
        last_good: &mut LastGood,
        context: &mut Context<'_>,
    ) -> Poll<Arrived<'_>> {
        BUFFER.with_borrow_mut(|buffer| {
            loop {
                let mut buffer = ReadBuf::new(buffer);
                if ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)).is_err() {
                    return Poll::Ready(Arrived::Closed);
                }
                let read = buffer.filled();
                if read.is_empty() {
                    return Poll::Ready(Arrived::Closed);
                }
                if !pending.is_empty() {
                    pending.extend_from_slice(read);
                }
                let arrived = match understand(if pending.is_empty() { read } else { pending }) {
                    Understood::Poll(head) => self.begin(head, last_good),
                    Understood::Post(request) => Arrived::Post(request),
                    kind @ (Understood::Partial | Understood::Other) => {
                        let is_other = matches!(kind, Understood::Other);
                        if pending.is_empty() {
                            pending.extend_from_slice(read);
                        }
                        if is_other {
                            return Poll::Ready(Arrived::Other);
                        }
                        continue;
                    }
                };
                *pending = Vec::new();
                return Poll::Ready(arrived);
            }
        })
    }

    /// Begins a poll.
    fn begin(&self, head: PollHead<'_>, last_good: &mut LastGood) -> Arrived<'_> {
        let (state, request) = (&self.state, head.asked);
        let verify = |token| state.auth.verifier.verify_again(token, last_good);
        let future = match (head.credentials.map(viewer::token_of), head.session) {
            (Some(token), _) => match token.and_then(verify) {
                Ok(viewer) => poll::begin(&state.realtime, viewer, request),
                Err(error) => PollFuture::refused(error),
            },
            (None, Some(id)) => PollFuture::SlowPath(Box::pin(async move {
                let viewer = state.auth.sessions.poller(id).await?.ok_or(ErrorCode::TokenMissing)?;
                poll::wait(&state.realtime, viewer, request).await
            })),
            (None, None) => PollFuture::refused(ErrorCode::TokenMissing.into()),
        };
        Arrived::Poll(future, Dressing::new(state, head.request_id, head.origin))
    }

    /// Writes an answer, and returns what the socket does not take at once.
    fn poll_write(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        answer: Result<Bytes>,
        dressing: &Dressing,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Vec<u8>>> {
        let (state, close) = (&self.state, self.is_ending());
        match answer {
            Ok(body) => output::poll_write(stream, context, |output| {
                output::answer(output, &self.template, dressing, state, &body, close);
            }),
            Err(error) => {
                let mut response = error.into_response();
                dressing.dress(state, response.headers_mut());
                output::poll_response(stream, response, close, context)
            }
        }
    }
}

/// What a head turns out to be.
enum Arrived<'a> {
    Poll(PollFuture<'a>, Dressing),
    Post(Box<Request<Body>>),
    Other,
    Closed,
}

/// Ready when the client has gone away. What it sends meanwhile is kept in `pending`, up to a bound at which it is read no
/// further.
fn poll_gone(stream: &mut (impl AsyncRead + Unpin), pending: &mut Vec<u8>, context: &mut Context<'_>) -> Poll<()> {
    BUFFER.with_borrow_mut(|buffer| {
        while pending.len() < HEAD_BYTES {
            let mut buffer = ReadBuf::new(buffer);
            if ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)).is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
            pending.extend_from_slice(buffer.filled());
        }
        Poll::Pending
    })
}
