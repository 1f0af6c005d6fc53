//! The two implementations of polls, the fast path and hyper, behave alike for all bytes: whole, in pieces or broken.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue};
use discussions::serve::{ConnectionLimits, FastPath, Server};
use futures_util::future::join_all;
use poll_connections::{PollConnections, Settings, WriteLimits, WriteTimeout};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
    runtime::Handle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::{Client, PATIENCE, Queue, TestApp};

/// Two nodes on one database: the first with the fast path, the second with hyper alone.
struct Both {
    fast: TestApp,
    hyper: TestApp,
    member: Client,
    /// The member's queue on the first node.
    queue: Queue,
    /// The member's queue on the second node.
    hyper_queue: Queue,
}

impl Both {
    async fn start() -> Self {
        let fast = TestApp::start_with(|config| config.direct_polls = true).await;
        let community = fast.community("public").await;
        fast.article(&[community]).await;
        let member = fast.member("ada", community).await;
        fast.settled().await;
        let hyper = TestApp::on(Arc::clone(&fast.database), |config| config.direct_polls = false).await;
        let queue = member.register().await;
        let hyper_queue = hyper.client(member.user).register().await;
        Self { fast, hyper, member, queue, hyper_queue }
    }

    fn head(&self, more: &str) -> String {
        let token = self.member.token.as_deref().unwrap();
        format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
    }

    /// The answers to these pieces, which are the same from both nodes.
    async fn alike(&self, pieces: &[&[u8]]) -> Vec<Answer> {
        let (fast, hyper) = tokio::join!(talk(&self.fast, pieces), talk(&self.hyper, pieces));
        assert_eq!(fast, hyper, "{:?}", String::from_utf8_lossy(&pieces.concat()));
        fast
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Sends the pieces one after another on one connection, then reads all answers until the connection is quiet or closed.
async fn talk(app: &TestApp, pieces: &[&[u8]]) -> Vec<Answer> {
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut read = Vec::new();
    // Every request of these tests is answered at once, so a quiet connection has no more answers.
    let mut quiet = if pieces.is_empty() { Duration::from_millis(50) } else { Duration::from_secs(2) };
    while let Ok(Ok(count @ 1..)) = timeout(quiet, stream.read_buf(&mut read)).await {
        let _ = count;
        quiet = Duration::from_millis(60);
    }
    parse(&String::from_utf8_lossy(&read))
}

fn parse(mut text: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let mut lines = head.lines();
        let status = lines.next().unwrap_or_default().to_owned();
        let mut headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        // The answer to a HEAD names a length and has no body.
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap()).min(rest.len());
        headers.remove("date");
        // A generated id differs each time.
        if let Some(id) = headers.get_mut("x-request-id").filter(|id| id.len() == 32) {
            *id = "new".to_owned();
        }
        answers.push(Answer { status, headers, body: rest[..length].to_owned() });
        text = &rest[length..];
    }
    answers
}

#[tokio::test]
async fn a_poll_is_answered_alike_both_ways() {
    let both = Both::start().await;
    let poll = |query: &str, more: &str| format!("GET /poll{query} HTTP/1.1\r\n{}", both.head(more));
    let unknown = "?queue_id=00000000-0000-4000-8000-000000000000&last_event_id=0&timeout=0";
    for more in [
        "",
        "Origin: http://localhost:3000\r\n",
        "Origin: http://elsewhere.example\r\n",
        "Cookie: discussions_session=nonsense\r\n",
        "X-Request-Id: mine\r\n",
        "Connection: keep-alive\r\n",
        "Accept: */*\r\nUser-Agent: somebody\r\n",
    ] {
        let answer = both.alike(&[poll(unknown, more).as_bytes()]).await;
        assert_eq!(answer[0].status, "HTTP/1.1 404 Not Found");
    }
    for query in [
        "",
        "?",
        "?queue_id=x",
        "?queue_id=x&last_event_id=y",
        "?queue_id=x&last_event_id=-1",
        "?queue_id=%00&last_event_id=1",
    ] {
        let answer = both.alike(&[poll(query, "").as_bytes()]).await;
        assert!(answer[0].status.contains("40"), "{answer:?}");
    }
    let no_token = format!("GET /poll{unknown} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(both.alike(&[no_token.as_bytes()]).await[0].body.contains("token_missing"));
    let bad_token = format!("GET /poll{unknown} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n");
    assert!(both.alike(&[bad_token.as_bytes()]).await[0].body.contains("token_invalid"));

    // A valid poll, at the node that knows the queue.
    let good = poll(&format!("?queue_id={}&last_event_id={}&timeout=0", both.queue.id, both.queue.cursor), "");
    let answers = talk(&both.fast, &[good.as_bytes()]).await;
    assert_eq!(answers[0].body, format!("{{\"events\":[],\"last_event_id\":{}}}", both.queue.cursor));
    assert_eq!(answers[0].headers["cache-control"], "no-store");
}

#[tokio::test]
async fn requests_in_all_shapes_are_answered_alike() {
    let both = Both::start().await;
    let query = "?queue_id=00000000-0000-4000-8000-000000000000&last_event_id=0&timeout=0";
    let one = format!("GET /poll{query} HTTP/1.1\r\n{}", both.head(""));
    let other = format!("GET /health/live HTTP/1.1\r\n{}", both.head(""));
    // A poll that is split at any byte.
    for at in (1..one.len()).step_by(23) {
        let answer = both.alike(&[&one.as_bytes()[..at], &one.as_bytes()[at..]]).await;
        assert_eq!(answer.len(), 1);
    }
    // A client that registers, sends a heartbeat and polls on one connection.
    let post = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}{body}",
            body.len(),
            both.head("")
        )
    };
    let beat = post("/heartbeat", "{\"queue_id\":\"00000000-0000-4000-8000-000000000000\"}");
    for at in (1..beat.len()).step_by(29) {
        let answer = both.alike(&[&beat.as_bytes()[..at], &beat.as_bytes()[at..]]).await;
        assert_eq!(answer[0].status, "HTTP/1.1 404 Not Found");
    }
    both.alike(&[post("/heartbeat", "nonsense").as_bytes()]).await;
    // Several polls at once, also mixed with other requests.
    for several in
        [format!("{one}{one}"), format!("{one}{other}"), format!("{other}{one}"), format!("{one}{one}{other}{one}")]
    {
        both.alike(&[several.as_bytes()]).await;
    }
    // Polls with bodies, upgrades, other versions or methods, too many or too long headers, and invalid bytes.
    let many: String = (0..120).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "y".repeat(9_000));
    for more in [
        "Content-Length: 2\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        &many,
        &long,
    ] {
        let body = if more.starts_with("Content") {
            "ab"
        } else if more.starts_with("Transfer") {
            "0\r\n\r\n"
        } else {
            ""
        };
        both.alike(&[format!("GET /poll{query} HTTP/1.1\r\n{}{body}", both.head(more)).as_bytes()]).await;
    }
    for nonsense in [
        "POST /register HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        "POST /register HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /register/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        "POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        "POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Length: +2\r\n\r\n{}",
        "POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /poll HTTP/1.0\r\n\r\n",
        "GET /pollution HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /poll/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /poll HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        "OPTIONS /poll HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        "HEAD /poll HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /poll\r\n\r\n",
        "GET /poll HTTP/1.1\r\nbroken header\r\n\r\n",
        "GET /poll\u{0} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\r\n\r\n",
        "nonsense",
    ] {
        both.alike(&[nonsense.as_bytes()]).await;
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_its_slot_and_one_that_sends_early_keeps_it() {
    let both = Both::start().await;
    let app = &both.fast;
    let poll = format!(
        "GET /poll?queue_id={}&last_event_id={}&timeout=30 HTTP/1.1\r\n{}",
        both.queue.id,
        both.queue.cursor,
        both.head("")
    );
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    stream.write_all(poll.as_bytes()).await.unwrap();
    app.until(|| app.state.realtime.hub.stats().parked == 1).await;
    // The next request comes before the answer to this one.
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(app.state.realtime.hub.stats().parked, 1);
    both.member.delete(&format!("/queues/{}", both.queue.id)).await.expect(204);
    let mut read = Vec::new();
    let both_answers = async {
        while parse(&String::from_utf8_lossy(&read)).len() < 2 {
            stream.read_buf(&mut read).await.unwrap();
        }
    };
    timeout(PATIENCE, both_answers).await.unwrap();
    let answers = parse(&String::from_utf8_lossy(&read));
    assert_eq!([answers[0].status.as_str(), &answers[1].status], ["HTTP/1.1 404 Not Found", "HTTP/1.1 200 OK"]);

    let queue = both.member.register().await;
    let poll = poll.replace(&both.queue.id, &queue.id);
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    stream.write_all(poll.as_bytes()).await.unwrap();
    app.until(|| app.state.realtime.hub.stats().parked == 1).await;
    drop(stream);
    app.until(|| app.state.realtime.hub.stats().parked == 0).await;
}

/// The answers of both have the same headers, for all request headers that may influence them.
#[tokio::test]
async fn answers_have_the_same_headers_both_ways() {
    let both = Both::start().await;
    let token = |client: &Client| format!("Authorization: Bearer {}\r\n", client.token.as_deref().unwrap());
    let parts = [
        [
            "",
            &token(&both.member),
            "Authorization: Bearer x\r\n",
            "Cookie: discussions_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n",
        ],
        [
            "",
            "Origin: http://localhost:3000\r\n",
            "Origin: http://127.0.0.1:8000\r\n",
            "Origin: http://elsewhere.example\r\n",
        ],
        ["", "X-Request-Id: mine\r\n", "X-Request-Id: not usable\r\n", "X-Request-Id:\r\n"],
    ];
    let queues = [&both.queue, &both.hyper_queue];
    let mut all = Vec::new();
    for [who, origin, id] in combinations(&parts) {
        let both = &both;
        all.push(async move {
            let poll = |queue: &Queue| {
                let query = format!("queue_id={}&last_event_id={}&timeout=0", queue.id, queue.cursor);
                format!("GET /poll?{query} HTTP/1.1\r\nHost: localhost\r\n{who}{origin}{id}\r\n")
            };
            let [fast, hyper] = queues.map(poll);
            let (fast, hyper) = ([fast.as_bytes()], [hyper.as_bytes()]);
            let (fast, hyper) = tokio::join!(talk(&both.fast, &fast), talk(&both.hyper, &hyper));
            assert_eq!(fast, hyper, "{who}{origin}{id}");
            fast[0].status.clone()
        });
    }
    let statuses: BTreeSet<String> = join_all(all).await.into_iter().collect();
    assert_eq!(Vec::from_iter(statuses), ["HTTP/1.1 200 OK", "HTTP/1.1 401 Unauthorized"]);
}

fn combinations<'a>(parts: &[[&'a str; 4]; 3]) -> Vec<[&'a str; 3]> {
    (0..64).map(|number| [parts[0][number % 4], parts[1][number / 4 % 4], parts[2][number / 16]]).collect()
}

/// A header that a layer of the router adds is also in the answers of the fast path.
#[tokio::test]
async fn a_new_header_of_the_router_is_in_the_answers_of_the_fast_path() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    app.article(&[community]).await;
    let member = app.member("ada", community).await;
    app.settled().await;
    let queue = member.register().await;
    let router = discussions::router::router(&app.state);
    let layer = |name, value| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    // The handlers already set the second header.
    let router = router.layer(layer("x-new", "yes")).layer(layer("cache-control", "max-age=1"));
    let fast_path = FastPath::new(app.state.clone(), router.clone()).await;
    let limits = ConnectionLimits::new(&app.state.config, u64::MAX);
    let server = Server::new(router, app.state.shutdown.clone(), Some(fast_path), Handle::current(), limits);
    for (token, status) in [(member.token.as_deref().unwrap(), "200 OK"), ("x", "401 Unauthorized")] {
        let (mut client, end) = duplex(4_096);
        server.serve(end);
        let poll = format!(
            "GET /poll?queue_id={}&last_event_id={}&timeout=0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n",
            queue.id, queue.cursor
        );
        client.write_all(poll.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while parse(&String::from_utf8_lossy(&read)).is_empty() {
            assert!(timeout(PATIENCE, client.read_buf(&mut read)).await.unwrap().unwrap() > 0);
        }
        let answer = &parse(&String::from_utf8_lossy(&read))[0];
        assert_eq!(answer.status, format!("HTTP/1.1 {status}"));
        assert_eq!((answer.headers["x-new"].as_str(), answer.headers["cache-control"].as_str()), ("yes", "no-store"));
    }
}

/// The future of a connection is most of the memory that a parked poll takes.
#[tokio::test]
async fn the_future_of_a_connection_is_small() {
    let app = TestApp::start().await;
    let fast_path = FastPath::new(app.state.clone(), discussions::router::router(&app.state)).await;
    let settings = Settings {
        first_request_timeout: PATIENCE,
        request_timeout: PATIENCE,
        shutdown: CancellationToken::new(),
        close_idle: CancellationToken::new(),
    };
    let connections = PollConnections::new(fast_path, settings);
    let limits = WriteLimits { timeout: PATIENCE, bytes_per_second: 1, on_timeout: || () };
    let stream = WriteTimeout::new(duplex(1).1, Arc::new(limits));
    let size = size_of_val(&connections.serve(stream));
    assert!(size <= 664, "{size} bytes");
}
