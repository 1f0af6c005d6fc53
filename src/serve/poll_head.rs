//! The parts of a poll's head that matter to this application.

use poll_connections::RequestHead;

use crate::{
    auth::{
        session::{self, SessionHash},
        viewer,
    },
    compression::{Accepted, Coding},
    realtime::model::PollRequest,
};

/// A poll. If a header comes twice, the first one counts, as in the router. Of `Authorization` headers, the first one with
/// the Bearer scheme counts.
#[derive(Debug, PartialEq)]
pub struct PollHead<'a> {
    /// What the query asks for.
    pub request: PollRequest,
    /// What follows `Bearer` in `Authorization`.
    pub credentials: Option<&'a [u8]>,
    /// The session that the cookies name.
    pub session: Option<SessionHash>,
    /// The value of `Origin`.
    pub origin: Option<&'a [u8]>,
    /// The value of `X-Request-Id`.
    pub request_id: Option<&'a [u8]>,
    /// The coding of the answer, by `Accept-Encoding`.
    pub coding: Coding,
}

impl<'a> PollHead<'a> {
    /// Reads a head. `None` if its query is not written in the plain form that nearly all clients use.
    pub fn read(head: &RequestHead<'_, 'a>) -> Option<Self> {
        Some(Self {
            request: PollRequest::plain(head.query())?,
            credentials: viewer::bearer_credentials(head.values("authorization")),
            session: session::session_of(head.text_values("cookie")),
            origin: head.values("origin").next(),
            request_id: head.values("x-request-id").next(),
            coding: Accepted::read(head.values("accept-encoding")).of_poll(),
        })
    }
}
