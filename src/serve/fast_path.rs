//! Polls without hyper and without the router: the application as [`poll_connections`] sees it.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{Request, Response},
    response::IntoResponse,
};
use futures_util::FutureExt;
use poll_connections::{Answer, HeadTemplate, HeaderWriter, PendingPoll, PollHandler, RequestHead, Routes};
use tokio::time::Sleep;
use tower::ServiceExt;

use super::{
    POLL_PATH,
    poll_head::PollHead,
    response_headers::{PollResponseHeaders, ResponseHeaders},
};
use crate::{
    auth::{jwt::TokenCache, viewer},
    error::{ApiError, ErrorCode},
    limits::Peer,
    realtime::poll::{self, PollFuture},
    state::AppState,
};

/// Answers polls by the same functions as the router's handler. `POST` requests go to the router.
pub struct FastPath {
    state: AppState,
    router: Router,
    headers: ResponseHeaders,
}

/// A poll on the fast path.
pub struct FastPoll<'a> {
    poll: PollFuture<'a>,
    headers: PollResponseHeaders<'a>,
}

impl FastPath {
    /// The fast path beside `router`.
    pub async fn new(state: AppState, router: Router) -> Self {
        let headers = ResponseHeaders::of(&router, &state.config.allowed_origins).await;
        Self { state, router, headers }
    }

    fn begin_poll(&self, head: &PollHead<'_>, cache: &mut TokenCache) -> PollFuture<'_> {
        let (auth, realtime, request, coding) = (&self.state.auth, &self.state.realtime, head.request, head.coding);
        match (head.credentials, head.session) {
            (Some(credentials), _) => {
                let viewer = viewer::token_of(credentials).and_then(|token| auth.verifier.verify_again(token, cache));
                viewer.map_or_else(PollFuture::refused, |viewer| poll::begin(realtime, viewer, request, coding))
            }
            (None, Some(session)) => PollFuture::SlowPath(Box::pin(async move {
                let viewer = auth.sessions.poller(session).await?.ok_or(ErrorCode::TokenMissing)?;
                poll::wait(realtime, viewer, request, coding).await
            })),
            (None, None) => PollFuture::refused(ErrorCode::TokenMissing.into()),
        }
    }
}

impl PollHandler for FastPath {
    const ROUTES: Routes = Routes { poll: POLL_PATH, posts: &["/register", "/heartbeat"] };
    type Memory = TokenCache;
    type Pending<'a> = FastPoll<'a>;

    fn begin(&self, head: &RequestHead<'_, '_>, cache: &mut TokenCache) -> Option<FastPoll<'_>> {
        let head = PollHead::read(head)?;
        let poll = self.begin_poll(&head, cache);
        Some(FastPoll { poll, headers: self.headers.to_poll(head.origin, head.request_id) })
    }

    async fn respond(&self, mut request: Request<Bytes>, peer: Option<SocketAddr>) -> Response<Bytes> {
        request.extensions_mut().insert(Peer(peer));
        let Ok(response) = self.router.clone().oneshot(request.map(Body::from)).await;
        in_memory(response).await
    }
}

impl PendingPoll for FastPoll<'_> {
    fn poll_answer(&mut self, timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Answer> {
        Poll::Ready(match ready!(self.poll.poll_answer(timer, context)) {
            Ok(body) => Answer::EncodedBody(body.headers(), body.bytes),
            Err(error) => {
                let mut response = error.into_response();
                self.headers.add_to(&mut response);
                let response = in_memory(response).now_or_never().expect("the body of an error is in memory");
                Answer::Response(Box::new(response))
            }
        })
    }

    fn template(&self) -> &HeadTemplate {
        self.headers.template()
    }

    fn write_headers(&self, headers: &mut HeaderWriter<'_>) {
        self.headers.write_id(headers);
    }
}

/// A response with its whole body.
async fn in_memory(response: Response<Body>) -> Response<Bytes> {
    let (parts, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(body) => Response::from_parts(parts, body),
        Err(error) => ApiError::internal(error).into_response().map(|_| Bytes::new()),
    }
}
