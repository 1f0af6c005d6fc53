//! What the parser takes for a request must be the same single request for hyper. (What it leaves to the fallback cannot
//! differ.) The property test and the fuzz target in `fuzz/` use this.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use poll_connections::{HeaderSlots, ParsedHead, Routes, parse_head};
use tokio::{
    io::{AsyncWriteExt, duplex},
    sync::mpsc,
};

/// The requests of a client that polls.
pub(crate) const ROUTES: Routes = Routes { poll: "/poll", posts: &["/register", "/heartbeat"] };

/// A poll with nothing special about it.
pub(crate) const PLAIN: &[u8] =
    b"GET /poll?queue_id=8f14e45f-ceea-467f-a0e6-0c2c5a1b7d3e&last_event_id=7 HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A `POST` with nothing special about it.
pub(crate) const PLAIN_POST: &[u8] = b"POST /register HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";

/// Headers that matter, good and bad.
pub(crate) const PIECES: [&str; 17] = [
    "Authorization: Bearer abc\r\n",
    "authorization:Bearer  d e\r\n",
    "Authorization: Basic YWRhOmFkYQ==\r\n",
    "AUTHORIZATION: bearer\tfgh\r\n",
    "Authorization: Bearer\r\n",
    "Cookie: a=b; session=c\r\n",
    "Cookie: session=d ; x\r\n",
    "Cookie: \u{e9}; session=e\r\n",
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

/// Panics if the two read different requests.
pub(crate) fn check(bytes: &[u8]) {
    let ours = match parse_head(bytes, &ROUTES, &mut HeaderSlots::default()) {
        ParsedHead::Poll(head) => head.to_request(Method::GET, Bytes::new()).expect("a poll is a valid request"),
        ParsedHead::Post(request) => *request,
        ParsedHead::Incomplete | ParsedHead::Other => return,
    };
    let requests = read_by_hyper(bytes);
    assert_eq!(requests.len(), 1, "one request and no more");
    let theirs = &requests[0];
    assert_eq!((ours.method(), ours.uri()), (theirs.method(), theirs.uri()));
    assert_eq!(ours.headers(), theirs.headers());
    assert_eq!(ours.body(), theirs.body());
}

/// The requests that hyper reads, up to the end of the bytes or up to the first request that it refuses.
fn read_by_hyper(bytes: &[u8]) -> Vec<Request<Bytes>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (mut client, server) = duplex(bytes.len() + 4_096);
        client.write_all(bytes).await.expect("it fits");
        client.shutdown().await.expect("memory");
        let (seen, mut requests) = mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            let seen = seen.clone();
            async move {
                let (parts, body) = request.into_parts();
                // A body that is cut off makes no request.
                if let Ok(body) = body.collect().await {
                    let _ = seen.send(Request::from_parts(parts, body.to_bytes()));
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        // An error is a refusal, or an end that comes too early.
        let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service).await;
        let mut all = Vec::new();
        while let Ok(request) = requests.try_recv() {
            all.push(request);
        }
        all
    })
}
