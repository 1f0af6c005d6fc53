//! Both ways in for a poll, the direct connection and hyper, behave alike: whatever is sent, whole, in pieces or broken.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use discussions::serve::direct::head::{Understood, understand};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    app::{Client, PATIENCE, Queue, TestApp},
    differential,
};

/// The same application twice: the first with direct polls, the second with hyper alone.
struct Both {
    direct: TestApp,
    hyper: TestApp,
    member: Client,
    queue: Queue,
}

impl Both {
    async fn start() -> Self {
        let direct = TestApp::start_with(|config| config.direct_polls = true).await;
        let community = direct.community("public").await;
        direct.article(&[community]).await;
        let member = direct.member("ada", community).await;
        direct.settled().await;
        let hyper = TestApp::on(Arc::clone(&direct.database), |config| config.direct_polls = false).await;
        let queue = member.register().await;
        Self { direct, hyper, member, queue }
    }

    fn head(&self, more: &str) -> String {
        let token = self.member.token.as_deref().unwrap();
        format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
    }

    /// What each answers to these pieces, with what differs by nature left out.
    async fn answers(&self, pieces: &[&[u8]]) -> [Vec<Answer>; 2] {
        [talk(&self.direct, pieces).await, talk(&self.hyper, pieces).await]
    }

    async fn alike(&self, pieces: &[&[u8]]) -> Vec<Answer> {
        let [direct, hyper] = self.answers(pieces).await;
        assert_eq!(direct, hyper, "{:?}", String::from_utf8_lossy(&pieces.concat()));
        direct
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
    // Every request of these tests is answered at once; after that the connection is quiet.
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
        headers.remove("x-request-id");
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

    // A good one, on the node that knows the queue.
    let good = poll(&format!("?queue_id={}&last_event_id={}&timeout=0", both.queue.id, both.queue.cursor), "");
    let answers = talk(&both.direct, &[good.as_bytes()]).await;
    assert_eq!(answers[0].body, format!("{{\"events\":[],\"last_event_id\":{}}}", both.queue.cursor));
    assert_eq!(answers[0].headers["cache-control"], "no-store");
}

#[tokio::test]
async fn requests_in_all_shapes_are_answered_alike() {
    let both = Both::start().await;
    let query = "?queue_id=00000000-0000-4000-8000-000000000000&last_event_id=0&timeout=0";
    let one = format!("GET /poll{query} HTTP/1.1\r\n{}", both.head(""));
    let other = format!("GET /health/live HTTP/1.1\r\n{}", both.head(""));
    // Split anywhere.
    for at in (1..one.len()).step_by(23) {
        let answer = both.alike(&[&one.as_bytes()[..at], &one.as_bytes()[at..]]).await;
        assert_eq!(answer.len(), 1);
    }
    // A client that registers, lives and polls on one connection.
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
    // Several in one go, and mixed with others.
    for several in
        [format!("{one}{one}"), format!("{one}{other}"), format!("{other}{one}"), format!("{one}{one}{other}{one}")]
    {
        both.alike(&[several.as_bytes()]).await;
    }
    // With bodies, upgrades, other versions, other methods, too many or too long headers, and plain nonsense.
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
async fn a_client_that_goes_away_frees_its_slot_and_one_that_talks_too_soon_keeps_it() {
    let both = Both::start().await;
    let app = &both.direct;
    let poll = format!(
        "GET /poll?queue_id={}&last_event_id={}&timeout=30 HTTP/1.1\r\n{}",
        both.queue.id,
        both.queue.cursor,
        both.head("")
    );
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    stream.write_all(poll.as_bytes()).await.unwrap();
    app.until(|| app.state.realtime.hub.stats().parked == 1).await;
    // The next request before the answer to this one.
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

proptest! {
    /// What is taken for a poll is to hyper the same poll: see also `fuzz/`.
    #[test]
    fn what_is_understood_is_what_hyper_reads(
        pieces in proptest::collection::vec(0usize..differential::PIECES.len(), 0..9),
        bytes in proptest::collection::vec(any::<u8>(), 0..4),
        at in 0usize..400,
    ) {
        let mut head = differential::PLAIN.to_vec();
        let extra: Vec<u8> = pieces.iter().flat_map(|piece| differential::PIECES[*piece].bytes()).collect();
        head.splice(head.len() - 2..head.len() - 2, extra);
        differential::check(&head);
        let at = at % head.len();
        head.splice(at..at, bytes);
        differential::check(&head);
    }

    /// Whatever the bytes, looking at them neither panics nor takes for a poll what is not the whole of one.
    #[test]
    fn only_whole_polls_are_understood(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..400, at in 0usize..400) {
        let whole = b"GET /poll?queue_id=8f14e45f-ceea-467f-a0e6-0c2c5a1b7d3e&last_event_id=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nAccept: */*\r\n\r\n";
        prop_assert!(matches!(understand(whole), Understood::Poll(_)));
        understand(&bytes);
        let cut = cut % whole.len();
        prop_assert!(!matches!(understand(&whole[..cut]), Understood::Poll(_)));
        let mut changed = whole.to_vec();
        changed.splice(at % whole.len()..at % whole.len(), bytes.iter().copied());
        if let Understood::Poll(poll) = understand(&changed) {
            prop_assert_eq!(poll.asked.timeout, None);
            prop_assert!(poll.asked.cursor.get() > 0);
        }
        let mut followed = whole.to_vec();
        followed.extend_from_slice(&bytes);
        prop_assert!(bytes.is_empty() || !matches!(understand(&followed), Understood::Poll(_)));
    }
}
