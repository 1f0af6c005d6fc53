//! One connection in memory: what a client sends, and what it gets.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use poll_connections::{
    Answer, HeadTemplate, HeaderWriter, PendingPoll, PollConnections, PollHandler, RequestHead, Routes, Served,
    Settings, WriteLimits, WriteTimeout,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::watch,
    task::JoinHandle,
    time::{Instant, Sleep, advance, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::differential::ROUTES;

const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(7);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
const LARGE: usize = 1_000_000;

static ENCODED: [(HeaderName, HeaderValue); 2] = [
    (header::VARY, HeaderValue::from_static("accept-encoding")),
    (header::CONTENT_ENCODING, HeaderValue::from_static("x-none")),
];

/// Answers `?now` at once, `?encoded` with headers that say how, `?wait` when the gate opens, `?large` with a large body,
/// `?refused` with an error; all else is for the fallback.
struct Gate {
    opens: watch::Receiver<bool>,
    waiting: Arc<AtomicUsize>,
    template: HeadTemplate,
}

struct Pending<'a> {
    gate: &'a Gate,
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    count: usize,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.gate.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl PollHandler for Gate {
    const ROUTES: Routes = ROUTES;
    type Memory = usize;
    type Pending<'a> = Pending<'a>;

    fn begin(&self, head: &RequestHead<'_, '_>, count: &mut usize) -> Option<Pending<'_>> {
        let mut opens = self.opens.clone();
        let answer: Pin<Box<dyn Future<Output = Answer> + Send>> = match head.query() {
            "now" => Box::pin(async { Answer::Body("now".into()) }),
            "encoded" => Box::pin(async { Answer::EncodedBody(&ENCODED, "coded".into()) }),
            "wait" => Box::pin(async move {
                opens.wait_for(|is_open| *is_open).await.unwrap();
                Answer::Body("opened".into())
            }),
            "large" => Box::pin(async { Answer::Body(vec![b'x'; LARGE].into()) }),
            "refused" => Box::pin(async {
                let mut response = Response::new(Bytes::from("refused"));
                *response.status_mut() = StatusCode::FORBIDDEN;
                // The connection writes its own length, whatever the response says.
                response.headers_mut().insert("content-length", HeaderValue::from_static("1"));
                Answer::Response(Box::new(response))
            }),
            _ => return None,
        };
        *count += 1;
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Some(Pending { gate: self, answer, count: *count })
    }

    async fn respond(&self, request: Request<Bytes>, _: Option<SocketAddr>) -> Response<Bytes> {
        let mut response = Response::new(request.into_body());
        if response.body().is_empty() {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        response
    }
}

impl PendingPoll for Pending<'_> {
    fn poll_answer(&mut self, _timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Answer> {
        self.answer.as_mut().poll(context)
    }

    fn template(&self) -> &HeadTemplate {
        &self.gate.template
    }

    fn write_headers(&self, headers: &mut HeaderWriter<'_>) {
        headers.write(&HeaderName::from_static("x-count"), self.count.to_string().as_bytes());
        headers.write(&HeaderName::from_static("x-split"), b"one\r\nx-two: three");
    }
}

/// A connection that is served, and its client.
struct Fixture {
    client: DuplexStream,
    served: JoinHandle<Served<DuplexStream>>,
    open: watch::Sender<bool>,
    waiting: Arc<AtomicUsize>,
    shutdown: CancellationToken,
    close_idle: CancellationToken,
}

impl Fixture {
    fn start() -> Self {
        let (client, server) = duplex(4_096);
        let (open, opens) = watch::channel(false);
        let (shutdown, close_idle) = (CancellationToken::new(), CancellationToken::new());
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-always"), HeaderValue::from_static("yes"))]);
        let waiting = Arc::default();
        let gate = Gate { opens, waiting: Arc::clone(&waiting), template: HeadTemplate::new(StatusCode::OK, &headers) };
        let settings = Settings {
            first_request_timeout: FIRST_REQUEST_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            shutdown: shutdown.clone(),
            close_idle: close_idle.clone(),
        };
        let limits = WriteLimits { timeout: WRITE_TIMEOUT, bytes_per_second: 1, on_timeout: || () };
        let server = WriteTimeout::new(server, Arc::new(limits));
        let connections = PollConnections::new(gate, settings);
        let served = tokio::spawn(async move { connections.serve(server).await });
        Self { client, served, open, waiting, shutdown, close_idle }
    }

    async fn send(&mut self, bytes: &str) {
        self.client.write_all(bytes.as_bytes()).await.unwrap();
    }

    async fn poll(&mut self, query: &str) {
        self.send(&poll(query)).await;
    }

    /// The next answer's head, and its body.
    async fn answer(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let length =
            head.split("\r\ncontent-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        self.client.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    async fn until_waiting(&self, count: usize) {
        while self.waiting.load(Ordering::SeqCst) != count {
            tokio::task::yield_now().await;
        }
    }

    /// What was read for the fallback.
    async fn handed_over(self) -> String {
        match self.served.await.unwrap() {
            Served::HandedOver { read, .. } => String::from_utf8(read).unwrap(),
            Served::Closed => panic!("closed"),
        }
    }

    async fn closed(&mut self) {
        assert!(matches!((&mut self.served).await.unwrap(), Served::Closed));
    }
}

fn poll(query: &str) -> String {
    format!("GET /poll?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_client_polls_again_and_again_on_one_connection() {
    let mut connection = Fixture::start();
    connection.poll("now").await;
    let (head, body) = connection.answer().await;
    assert_eq!(body, "now");
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines[..3], ["HTTP/1.1 200 OK", "x-always: yes", "x-count: 1"]);
    assert_eq!(lines[3], "x-split: one??x-two: three", "a value ends no line");
    assert!(lines[4] == "content-length: 3" && lines[5].starts_with("date: ") && lines[5].ends_with(" GMT"), "{head}");

    connection.poll("wait").await;
    connection.until_waiting(1).await;
    // A parked poll has no time limit here: that is the application's.
    advance(10 * REQUEST_TIMEOUT).await;
    connection.open.send(true).unwrap();
    let (head, body) = connection.answer().await;
    assert!(body == "opened" && head.contains("x-count: 2"), "{head}");

    connection.poll("encoded").await;
    let (head, body) = connection.answer().await;
    assert!(body == "coded" && head.contains("\r\nvary: accept-encoding\r\ncontent-encoding: x-none\r\n"), "{head}");

    connection.poll("refused").await;
    let (head, body) = connection.answer().await;
    assert!(body == "refused" && head.starts_with("HTTP/1.1 403 Forbidden\r\ncontent-length: 7\r\ndate: "), "{head}");
    drop(connection.client);
    assert!(matches!(connection.served.await.unwrap(), Served::Closed));
}

#[tokio::test]
async fn a_post_is_answered_on_the_same_connection() {
    let mut connection = Fixture::start();
    for part in ["POST /register HTTP/1.1\r\nHost: localhost\r\nConte", "nt-Length: 4\r\n\r\nec", "ho"] {
        connection.send(part).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(connection.answer().await.1, "echo");
    connection.send("POST /heartbeat HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (head, _) = connection.answer().await;
    assert!(head.starts_with("HTTP/1.1 204 No Content\r\ndate: ") && !head.contains("content-length"), "{head}");
    connection.poll("now").await;
    assert_eq!(connection.answer().await.1, "now");
}

#[tokio::test]
async fn all_bytes_of_a_request_for_the_fallback_are_handed_over() {
    for other in [poll("unknown"), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()] {
        for split in 1..other.len() {
            let mut connection = Fixture::start();
            connection.poll("now").await;
            connection.answer().await;
            connection.send(&other[..split]).await;
            tokio::task::yield_now().await;
            connection.send(&other[split..]).await;
            let Served::HandedOver { mut stream, mut read } = connection.served.await.unwrap() else {
                panic!("closed")
            };
            drop(connection.client);
            // A part may not have been read yet.
            stream.read_to_end(&mut read).await.unwrap();
            assert_eq!(String::from_utf8(read).unwrap(), other);
        }
    }
    let mut connection = Fixture::start();
    connection.send(&poll("now").repeat(2)).await;
    assert_eq!(connection.handed_over().await, poll("now").repeat(2), "two requests at once");
}

#[tokio::test]
async fn what_a_client_sends_while_its_poll_waits_is_for_the_fallback() {
    let mut connection = Fixture::start();
    connection.poll("wait").await;
    connection.until_waiting(1).await;
    connection.poll("now").await;
    tokio::task::yield_now().await;
    connection.open.send(true).unwrap();
    assert_eq!(connection.answer().await.1, "opened");
    assert_eq!(connection.handed_over().await, poll("now"));
}

#[tokio::test]
async fn a_poll_is_dropped_when_its_client_goes_away() {
    let mut connection = Fixture::start();
    connection.poll("wait").await;
    connection.until_waiting(1).await;
    let Fixture { client, served, waiting, .. } = connection;
    drop(client);
    assert!(matches!(served.await.unwrap(), Served::Closed));
    assert_eq!(waiting.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_whole_request_ends_in_time() {
    for part in ["", "GET /poll?now HT"] {
        let mut connection = Fixture::start();
        let start = Instant::now();
        connection.send(part).await;
        connection.closed().await;
        assert_eq!(start.elapsed().as_secs(), FIRST_REQUEST_TIMEOUT.as_secs());
        // After an answer there is more time.
        let mut connection = Fixture::start();
        connection.poll("now").await;
        connection.answer().await;
        let start = Instant::now();
        connection.send(part).await;
        connection.closed().await;
        assert_eq!(start.elapsed().as_secs(), REQUEST_TIMEOUT.as_secs());
    }
}

#[tokio::test]
async fn after_the_announcement_of_the_end_an_answer_is_the_last() {
    let mut connection = Fixture::start();
    connection.poll("wait").await;
    connection.until_waiting(1).await;
    connection.shutdown.cancel();
    connection.close_idle.cancel();
    connection.open.send(true).unwrap();
    let (head, body) = connection.answer().await;
    assert!(body == "opened" && head.contains("\r\nconnection: close\r\n"), "{head}");
    connection.closed().await;

    // One without a request ends as soon as it may.
    let mut connection = Fixture::start();
    connection.shutdown.cancel();
    tokio::task::yield_now().await;
    assert!(!connection.served.is_finished());
    connection.close_idle.cancel();
    connection.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_reaches_a_slow_reader_and_ends_with_one_that_does_not_read() {
    let mut connection = Fixture::start();
    connection.poll("large").await;
    let (mut head, mut body) = (Vec::new(), vec![0; LARGE]);
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.client.read_u8().await.unwrap());
    }
    for part in body.chunks_mut(LARGE / 7) {
        sleep(WRITE_TIMEOUT * 9 / 10).await;
        connection.client.read_exact(part).await.unwrap();
    }
    assert!(body.iter().all(|byte| *byte == b'x'));

    connection.poll("large").await;
    connection.client.read_exact(&mut [0; 100]).await.unwrap();
    let start = Instant::now();
    connection.closed().await;
    assert_eq!(start.elapsed().as_secs(), WRITE_TIMEOUT.as_secs());
}
