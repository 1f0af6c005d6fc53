//! Checks that the fast path reads the same from a poll as the router's extractors. (`crates/poll-connections` tests that hyper
//! reads the same request.) A test here and the fuzz target in `fuzz/` use this file.

use axum::{
    extract::Query,
    http::{HeaderMap, Method, header},
};
use discussions::{
    auth::{session, viewer},
    compression::Accepted,
    realtime::model::{PollQuery, PollRequest},
    serve::{FastPath, PollHead},
};
use poll_connections::{HeaderSlots, ParsedHead, PollHandler, parse_head};

/// A plain poll.
pub(crate) const PLAIN: &[u8] =
    b"GET /poll?queue_id=8f14e45f-ceea-467f-a0e6-0c2c5a1b7d3e&last_event_id=7 HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Headers with a meaning for polls, valid and invalid.
pub(crate) const PIECES: [&str; 18] = [
    "Authorization: Bearer abc\r\n",
    "authorization:Bearer  d e\r\n",
    "Authorization: Basic YWRhOmFkYQ==\r\n",
    "AUTHORIZATION: bearer\tfgh\r\n",
    "Authorization: Bearer\r\n",
    "Cookie: a=b; discussions_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n",
    "Cookie: discussions_session=BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA ; x\r\n",
    "Cookie: \u{e9}; discussions_session=CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCA\r\n",
    "Origin: http://localhost:3000\r\n",
    "Origin: \t null \r\n",
    "X-Request-Id: mine\r\n",
    "x-request-id: another\r\n",
    "X: \u{80}\u{ff}\r\n",
    "Accept-Encoding: gzip\r\n",
    "accept-encoding: gzip;q=0\r\n",
    "Accept-Encoding: *;q=0.5, identity;q=0.6\r\n",
    "Accept-Encoding:\r\n",
    "Accept-Encoding: \u{e9}, x-gzip ; q=1\r\n",
];

/// Whether the bytes are a poll for the fast path. Panics if the router would read another poll.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let mut slots = HeaderSlots::default();
    let ParsedHead::Poll(head) = parse_head(bytes, &FastPath::ROUTES, &mut slots) else { return false };
    let Some(poll) = PollHead::read(&head) else { return false };
    let same = head.to_request(Method::GET, ()).expect("a poll is a valid request");
    let Query(query) = Query::<PollQuery>::try_from_uri(same.uri()).expect("the router reads the query");
    let headers = same.headers();
    let first = |name| headers.get(name).map(|value| value.as_bytes());
    let expected = PollHead {
        request: PollRequest::try_from(query).expect("the router accepts the query"),
        credentials: viewer::bearer_credentials(
            headers.get_all(header::AUTHORIZATION).iter().map(|value| value.as_bytes()),
        ),
        session: session_of(headers),
        origin: first("origin"),
        request_id: first("x-request-id"),
        coding: Accepted::from(headers).of_poll(),
    };
    assert_eq!(poll, expected);
    true
}

fn session_of(headers: &HeaderMap) -> Option<session::SessionHash> {
    session::session_of(headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()))
}
