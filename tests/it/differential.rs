//! The parser of polls beside hyper's: what it takes for a poll must be to hyper one request, the same poll. (What it leaves
//! to hyper cannot differ.) Used by a test here and by the fuzz target in `fuzz/`.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::Query,
    http::{HeaderMap, Method, Request, Response, header, request::Parts},
};
use discussions::{
    auth::{session, viewer},
    realtime::model::{PollQuery, PollRequest},
    serve::direct::head::{PollHead, Understood, understand},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, duplex},
    sync::mpsc,
};

/// A poll with nothing special about it.
pub const PLAIN: &[u8] =
    b"GET /poll?queue_id=8f14e45f-ceea-467f-a0e6-0c2c5a1b7d3e&last_event_id=7 HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Headers that matter, good and bad.
pub const PIECES: [&str; 17] = [
    "Authorization: Bearer abc\r\n",
    "authorization:Bearer  d e\r\n",
    "Authorization: Basic YWRhOmFkYQ==\r\n",
    "AUTHORIZATION: bearer\tfgh\r\n",
    "Authorization: Bearer\r\n",
    "Cookie: a=b; discussions_session=AAAAAAAAAAAAAAAAAAAAAA\r\n",
    "Cookie: discussions_session=BBBBBBBBBBBBBBBBBBBBBA ; x\r\n",
    "Cookie: \u{e9}; discussions_session=CCCCCCCCCCCCCCCCCCCCCA\r\n",
    "Origin: http://localhost:3000\r\n",
    "Origin: \t null \r\n",
    "X-Request-Id: mine\r\n",
    "Content-Length: 0\r\n",
    "Connection: keep-alive\r\n",
    "Connection: close\r\n",
    "Host: twice\r\n",
    "Transfer-Encoding: chunked\r\n",
    "X: \u{80}\u{ff}\r\n",
];

/// Panics where the two do not read the same.
pub fn check(bytes: &[u8]) {
    let Understood::Poll(poll) = understand(bytes) else { return };
    let requests = by_hyper(bytes);
    assert_eq!(requests.len(), 1, "one request and no more");
    let parts = &requests[0];
    assert_eq!((&parts.method, parts.uri.path()), (&Method::GET, "/poll"));
    let Query(query) = Query::<PollQuery>::try_from_uri(&parts.uri).expect("a plain query is a good one");
    let first = |name| parts.headers.get(name).map(|value| value.as_bytes());
    let read = PollHead {
        asked: PollRequest::try_from(query).expect("a plain query is a good one"),
        credentials: viewer::bearer_credentials(
            parts.headers.get_all(header::AUTHORIZATION).iter().map(|value| value.as_bytes()),
        ),
        session: session_of(&parts.headers),
        origin: first(header::ORIGIN.as_str()),
        request_id: first("x-request-id"),
    };
    assert_eq!(poll, read);
}

fn session_of(headers: &HeaderMap) -> Option<tower_sessions::session::Id> {
    session::session_of(headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()))
}

/// The requests that hyper reads, to the end of the bytes or to the first that it refuses.
fn by_hyper(bytes: &[u8]) -> Vec<Parts> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (mut client, server) = duplex(bytes.len() + 4_096);
        client.write_all(bytes).await.expect("it fits");
        client.shutdown().await.expect("memory");
        let (seen, mut requests) = mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            let _ = seen.send(request.into_parts().0);
            async { Ok::<_, Infallible>(Response::new(Body::empty())) }
        });
        // An error is a refusal, or the end that came too soon.
        let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service).await;
        let mut all = Vec::new();
        while let Ok(parts) = requests.try_recv() {
            all.push(parts);
        }
        all
    })
}
