//! The headers of the answers that do not pass through the router.
//!
//! The router's layers are the only place that says which headers an answer has. At the start, this module sends the router a
//! poll from each allowed origin, and keeps the headers that the layers add to the answers.

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Request, Uri, header},
    response::{IntoResponse, Response},
};
use poll_connections::{HeadTemplate, HeaderWriter};
use tower::ServiceExt;

use super::POLL_PATH;
use crate::{
    compression::EncodedBody,
    error::{ApiError, ErrorCode},
    realtime::poll,
    request_id::{self, REQUEST_ID},
};

/// The headers of answers to polls, for each origin that a request may come from.
pub(super) struct ResponseHeaders {
    allowed: Vec<(HeaderValue, LayerHeaders)>,
    other: LayerHeaders,
}

/// The headers that the layers add to an answer, but for the request's id.
struct LayerHeaders {
    headers: HeaderMap,
    /// The head of an answer with events.
    template: HeadTemplate,
}

/// The headers of the answer to one poll.
pub(super) struct PollResponseHeaders<'a> {
    layers: &'a LayerHeaders,
    /// The client's own id for the request. An id that the server makes need not be kept while the poll is parked.
    request_id: Option<Box<str>>,
}

impl ResponseHeaders {
    /// The headers that `router` gives to requests from each of these origins, and to all others.
    pub(super) async fn of(router: &Router, origins: &[String]) -> Self {
        let mut allowed = Vec::new();
        // An origin that is no valid header can come with no request.
        for origin in origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()) {
            let headers = LayerHeaders::of(router, Some(&origin)).await;
            allowed.push((origin, headers));
        }
        Self { allowed, other: LayerHeaders::of(router, None).await }
    }

    /// The headers of the answer to a request with these values of `Origin` and `X-Request-Id`.
    pub(super) fn to_poll(&self, origin: Option<&[u8]>, id: Option<&[u8]>) -> PollResponseHeaders<'_> {
        let allowed = origin.and_then(|origin| self.allowed.iter().find(|(allowed, _)| allowed == origin));
        let layers = allowed.map_or(&self.other, |(_, headers)| headers);
        PollResponseHeaders { layers, request_id: id.and_then(request_id::usable).map(Box::from) }
    }
}

impl LayerHeaders {
    async fn of(router: &Router, origin: Option<&HeaderValue>) -> Self {
        // Without a token, the answer is known and needs no database.
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static(POLL_PATH);
        request.headers_mut().extend(origin.map(|origin| (header::ORIGIN, origin.clone())));
        let Ok(answer) = router.clone().oneshot(request).await;
        let mut headers = answer.into_parts().0.headers;
        // What is left without the headers of the error, and those of this one answer, is what the layers added.
        let error = ApiError::from(ErrorCode::TokenMissing).into_response();
        for name in error.headers().keys().chain(&[REQUEST_ID, header::CONTENT_LENGTH]) {
            headers.remove(name);
        }
        let (events, _) = poll::respond(EncodedBody::plain(Bytes::new())).into_parts();
        let template = HeadTemplate::new(events.status, &merged(events.headers, &headers));
        Self { headers, template }
    }
}

impl PollResponseHeaders<'_> {
    /// The head of an answer with events, without its id.
    pub(super) fn template(&self) -> &HeadTemplate {
        &self.layers.template
    }

    /// Writes the id of the request.
    pub(super) fn write_id(&self, headers: &mut HeaderWriter<'_>) {
        match &self.request_id {
            Some(id) => headers.write(&REQUEST_ID, id.as_bytes()),
            None => {
                let mut digits = uuid::Uuid::encode_buffer();
                headers.write(&REQUEST_ID, request_id::new().encode_lower(&mut digits).as_bytes());
            }
        }
    }

    /// Adds all headers to another answer.
    pub(super) fn add_to(&self, response: &mut Response) {
        let own = std::mem::take(response.headers_mut());
        *response.headers_mut() = merged(own, &self.layers.headers);
        response.headers_mut().insert(REQUEST_ID, request_id::header(self.request_id.as_deref()));
    }
}

/// The headers of an answer: the handler's own, which win, and those of the layers.
fn merged(own: HeaderMap, layers: &HeaderMap) -> HeaderMap {
    let mut all = layers.clone();
    all.extend(own);
    all
}
