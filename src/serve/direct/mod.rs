//! A connection that polls, without hyper: hyper keeps two buffers of 8 kB for each connection that is parked, this keeps none.
//!
//! A well-formed `GET /poll` is read into a buffer of the thread, answered by the same [`poll::wait`] as axum's handler calls,
//! and written in one piece. So that a client may register and poll on one connection, plain `POST`s to `/register` and
//! `/heartbeat` are read here too, for the router. Anything else, be it another request or only an unusual one (pipelined, of
//! another HTTP version, with many headers), hands the connection with the bytes read to hyper, for good. So this folder
//! understands three requests and refuses none.

pub mod head;
mod output;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::Request,
    response::IntoResponse,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_sessions::session::Id;

use self::head::{HEAD_BYTES, PollHead, Understood, understand};
use super::HEADER_READ_TIMEOUT;
use crate::{
    auth::{Viewer, jwt::LastGood, viewer},
    deadline::poll_deadline,
    error::{ErrorCode, Result},
    realtime::{model::Asked, poll},
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
    pub async fn serve<S>(&self, mut stream: S, idle: &CancellationToken) -> End<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // What came with or after a request: what hyper would find in its buffer.
        let mut pending = Vec::new();
        let mut timer = pin!(sleep_until(Instant::now() + HEADER_READ_TIMEOUT));
        let mut idle = pin!(idle.cancelled());
        let mut last_good = LastGood::default();
        loop {
            if !pending.is_empty() {
                // Sent before the answer to the last: whatever it is, hyper reads such things.
                return End::Hyper(stream, pending);
            }
            let deadline = Instant::now() + HEADER_READ_TIMEOUT;
            let arrived = poll_fn(|context| {
                let arrived = self.poll_head(&mut stream, &mut pending, &mut last_good, context);
                // Between requests, the end of the process ends the connection, and so does a client that is too slow.
                let ends = arrived.is_pending()
                    && (idle.as_mut().poll(context).is_ready()
                        || poll_deadline(timer.as_mut(), deadline, context).is_ready());
                if ends { Poll::Ready(Arrived::Closed) } else { arrived }
            });
            let written = match arrived.await {
                Arrived::Poll(caller, asked, dressing) => {
                    let answer = self.answer(caller, asked, timer.as_mut());
                    let Some(answer) = unless_gone(&mut stream, &mut pending, answer).await else {
                        return End::Closed;
                    };
                    self.write_answer(&mut stream, answer, &dressing).await
                }
                Arrived::Post(request) => {
                    // Boxed, as its future is large and gone before a poll is parked.
                    let Ok(response) = Box::pin(self.router.clone().oneshot(*request)).await;
                    Box::pin(output::write_response(&mut stream, response, self.is_ending())).await
                }
                Arrived::Other => return End::Hyper(stream, pending),
                Arrived::Closed => return End::Closed,
            };
            if written.is_err() || self.is_ending() {
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
    ) -> Poll<Arrived> {
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
                    Understood::Poll(head) => self.poll_arrived(head, last_good),
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

    /// What is kept of a poll's head.
    fn poll_arrived(&self, head: PollHead<'_>, last_good: &mut LastGood) -> Arrived {
        let state = &self.state;
        let verify = |token| state.verifier.verify_again(token, last_good);
        let caller = match head.authorization {
            Some(value) => Caller::Bearer(viewer::token_of(value).and_then(verify)),
            None => Caller::Session(head.session),
        };
        Arrived::Poll(caller, head.asked, Dressing::new(state, head.request_id, head.origin))
    }

    /// The answer to a poll, as axum's handler gives it.
    async fn answer(&self, caller: Caller, asked: Asked, timer: Pin<&mut Sleep>) -> Result<Bytes> {
        let viewer = match caller {
            Caller::Bearer(viewer) => viewer?,
            Caller::Session(None) => return Err(ErrorCode::TokenMissing.into()),
            // Boxed: the session may be looked up in the database, and that future is large.
            Caller::Session(Some(id)) => {
                Box::pin(self.state.sessions.poller(id)).await?.ok_or(ErrorCode::TokenMissing)?
            }
        };
        poll::wait(&self.state, viewer, asked, timer).await
    }

    async fn write_answer(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        answer: Result<Bytes>,
        dressing: &Dressing,
    ) -> std::io::Result<()> {
        let (state, close) = (&self.state, self.is_ending());
        match answer {
            Ok(body) => output::write_answer(stream, &self.template, dressing, state, &body, close).await,
            Err(error) => {
                let mut response = error.into_response();
                dressing.dress(state, response.headers_mut());
                Box::pin(output::write_response(stream, response, close)).await
            }
        }
    }
}

/// What a head turns out to be.
enum Arrived {
    Poll(Caller, Asked, Dressing),
    Post(Box<Request<Body>>),
    Other,
    Closed,
}

/// Who polls.
enum Caller {
    /// By a token, which was checked.
    Bearer(Result<Viewer>),
    /// By the session that a cookie names, if one does.
    Session(Option<Id>),
}

/// The outcome of `answer`; None where the client goes away before. What it sends meanwhile is kept in `pending`, up to a
/// bound at which it is read no further.
async fn unless_gone<T>(
    stream: &mut (impl AsyncRead + Unpin),
    pending: &mut Vec<u8>,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let mut answer = pin!(answer);
    poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        BUFFER.with_borrow_mut(|buffer| {
            while pending.len() < HEAD_BYTES {
                let mut buffer = ReadBuf::new(buffer);
                if ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)).is_err() || buffer.filled().is_empty()
                {
                    return Poll::Ready(None);
                }
                pending.extend_from_slice(buffer.filled());
            }
            Poll::Pending
        })
    })
    .await
}
