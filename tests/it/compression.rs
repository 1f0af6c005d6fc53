//! Answers are compressed where the client accepts that, and say how long they may be kept.

use std::{collections::BTreeMap, io::Read};

use flate2::read::GzDecoder;
use futures_util::future::join_all;
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::app::{ArticleId, Client, PATIENCE, Queue, TestApp};

struct Story {
    app: TestApp,
    ada: Client,
    article: ArticleId,
    /// Its comments have some KiB, and so has the event of each.
    discussion: Value,
    comment: Value,
}

impl Story {
    async fn new(direct_polls: bool) -> Self {
        let app = TestApp::start_with(|config| {
            config.direct_polls = direct_polls;
            config.demo = true;
        })
        .await;
        let community = app.community("public").await;
        let article = app.article(&[community]).await;
        let ada = app.member("ada", community).await;
        let discussion = ada.discussion(article, community, "Short").await;
        let comment = ada.comment(&discussion, &"Long. ".repeat(2_000)).await;
        app.settled().await;
        Self { app, ada, article, discussion, comment }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

fn varies(headers: &HeaderMap) -> bool {
    headers.get_all("vary").iter().any(|value| value.to_str().unwrap().contains("accept-encoding"))
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut read).unwrap();
    read
}

/// The whole answer to a GET, with the body as it was sent.
async fn get(client: &Client, path: &str, accept: Option<&str>) -> (u16, HeaderMap, Vec<u8>) {
    let mut request = client.request(Method::GET, path);
    if let Some(accept) = accept {
        request = request.header("accept-encoding", accept);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.headers().clone(), answer.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn answers_from_a_kibibyte_on_are_compressed_as_the_client_accepts() {
    let story = Story::new(true).await;
    let long = format!("/discussions/{}/comments", story.discussion["id"]);
    let short = format!("/discussions/{}", story.discussion["id"]);
    let (_, _, plain) = get(&story.ada, &long, None).await;
    for (accept, coding) in [
        (None, None),
        (Some(""), None),
        (Some("gzip"), Some("gzip")),
        (Some("deflate, gzip;q=1.0, *;q=0.5"), Some("gzip")),
        (Some("gzip, deflate, br, zstd"), Some("zstd")),
        (Some("*"), Some("zstd")),
        (Some("br"), None),
        (Some("gzip;q=0"), None),
        (Some("identity;q=0"), None),
        (Some("identity, gzip;q=0.5"), None),
    ] {
        let (status, headers, body) = get(&story.ada, &long, accept).await;
        assert_eq!((status, header(&headers, "content-encoding")), (200, coding), "{accept:?}");
        assert!(varies(&headers), "{accept:?}");
        match coding {
            None => assert_eq!(body, plain, "{accept:?}"),
            Some("gzip") => assert_eq!(gunzip(&body), plain, "{accept:?}"),
            Some(_) => assert!(body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) && body.len() < 1_000, "{accept:?}"),
        }
        let (status, headers, _) = get(&story.ada, &short, accept).await;
        assert_eq!((status, header(&headers, "content-encoding"), varies(&headers)), (200, None, false), "{accept:?}");
    }
    // What is written comes back compressed too, and an error never is.
    let body = json!({ "text": "Long, too. ".repeat(200) });
    let request = story.ada.request(Method::POST, &long).header("accept-encoding", "gzip").json(&body);
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(answer.headers(), "content-encoding")), (201, Some("gzip")));
}

/// Sends these bytes and reads until the connection ends. Returns the head and the body.
async fn raw(app: &TestApp, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the connection ends").unwrap();
    let end = read.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(read[..end].to_vec()).unwrap().to_ascii_lowercase(), read[end..].to_vec())
}

#[tokio::test]
async fn an_old_client_and_a_head_request_get_the_same_headers() {
    let story = Story::new(true).await;
    let path = format!("/discussions/{}/comments", story.discussion["id"]);
    let (head, body) = raw(&story.app, &format!("GET {path} HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")).await;
    assert!(head.contains("content-encoding: gzip") && !head.contains("transfer-encoding"), "{head}");
    assert!(serde_json::from_slice::<Value>(&gunzip(&body)).unwrap()["comments"].is_array());
    let request = "HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    let (head, body) = raw(&story.app, &format!("HEAD {path} {request}")).await;
    assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{head}");
    assert!(body.is_empty());
}

#[tokio::test]
async fn an_answer_that_holds_a_secret_is_not_compressed() {
    let story = Story::new(true).await;
    // So that the answer is long: a member of very many communities.
    let join = format!(
        "with new as (insert into communities (name, slug, kind)
                      select n::text, 'c' || n, 'public' from generate_series(1000, 1400) n returning id)
         insert into memberships (user_id, community_id, role) select {}, id, 'member' from new",
        story.ada.user
    );
    story.app.sql(&join).await;
    story.app.settled().await;
    let request = story.ada.request(Method::POST, "/register").header("accept-encoding", "gzip").json(&json!({}));
    let answer = request.send().await.unwrap();
    assert_eq!(header(answer.headers(), "content-encoding"), None, "it has the queue's id");
    assert!(answer.bytes().await.unwrap().len() > 1_024);
}

fn poll_path(queue: &Queue) -> String {
    format!("/poll?queue_id={}&last_event_id={}&timeout=0", queue.id, queue.cursor)
}

/// All headers of an answer but those that differ from one to the next.
fn stable(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str())) {
        all.entry(name.to_string()).or_default().push(value.to_str().unwrap().to_owned());
    }
    all.values_mut().for_each(|values| values.sort());
    all
}

#[tokio::test]
async fn polls_are_compressed_alike_both_ways() {
    let stories = [Story::new(true).await, Story::new(false).await];
    for accept in [
        None,
        Some(""),
        Some("gzip"),
        Some("x-gzip;q=0.1"),
        Some("gzip;q=0, *"),
        Some("gzip, deflate, br, zstd"),
        Some("identity;q=0"),
        Some("identity;q=1, gzip;q=0.2"),
        Some("*;q=0.3"),
        Some("gzip;q=2"),
    ] {
        let mut answers = Vec::new();
        for story in &stories {
            let queue = story.ada.register().await;
            let long = Queue { cursor: 0, ..queue.clone() };
            let (_, headers, body) = get(&story.ada, &poll_path(&long), accept).await;
            let is_compressed = header(&headers, "content-encoding").is_some();
            assert!(varies(&headers), "{accept:?}");
            let json: Value =
                serde_json::from_slice(&if is_compressed { gunzip(&body) } else { body.clone() }).unwrap();
            assert!(json["events"].as_array().unwrap().iter().any(|event| event["text"] == story.comment["text"]));
            assert_eq!(header(&headers, "content-length"), Some(body.len().to_string().as_str()));
            let (_, small, _) = get(&story.ada, &poll_path(&queue), accept).await;
            assert!(!varies(&small) && small.get("content-encoding").is_none());
            let lengthless = |headers: &HeaderMap| {
                let mut headers = stable(headers);
                headers.remove("content-length");
                headers
            };
            answers.push((is_compressed, lengthless(&headers), stable(&small)));
        }
        assert_eq!(answers[0], answers[1], "{accept:?}");
        let expected = matches!(accept, Some("gzip" | "x-gzip;q=0.1" | "gzip, deflate, br, zstd" | "*;q=0.3"));
        assert_eq!(answers[0].0, expected, "{accept:?}");
    }
}

#[tokio::test]
async fn parked_polls_share_one_compressed_answer() {
    for direct_polls in [true, false] {
        let story = Story::new(direct_polls).await;
        let mut parked = Vec::new();
        for accept in [Some("gzip"), None, Some("gzip"), Some("gzip;q=0")] {
            let queue = story.ada.register().await;
            let (client, before) = (story.ada.clone(), story.app.state.realtime.hub.stats().parked);
            parked.push(tokio::spawn(async move {
                let path = poll_path(&queue).replace("timeout=0", "timeout=30");
                (accept, get(&client, &path, accept).await)
            }));
            story.app.until(|| story.app.state.realtime.hub.stats().parked > before).await;
        }
        let text = "Also long. ".repeat(1_000);
        story.ada.comment(&story.discussion, &text).await;
        for answer in join_all(parked).await {
            let (accept, (status, headers, body)) = answer.unwrap();
            let is_compressed = accept == Some("gzip");
            assert_eq!((status, header(&headers, "content-encoding").is_some()), (200, is_compressed), "{accept:?}");
            assert!(varies(&headers));
            let body = if is_compressed { gunzip(&body) } else { body };
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["events"][0]["text"], text.trim());
        }
    }
}

#[tokio::test]
async fn no_answer_of_the_api_may_be_stored() {
    let story = Story::new(true).await;
    let (comments, list) = (
        format!("/discussions/{}/comments", story.discussion["id"]),
        format!("/articles/{}/discussions", story.article),
    );
    for (method, path) in [
        (Method::GET, comments.as_str()),
        (Method::GET, &list),
        (Method::GET, "/discussions/999999"),
        (Method::GET, "/discussions/x"),
        (Method::PUT, "/discussions/1"),
        (Method::GET, "/session"),
        (Method::POST, "/register"),
        (Method::POST, "/heartbeat"),
        (Method::POST, &comments),
        (Method::GET, "/poll"),
        (Method::GET, "/poll?queue_id=x&last_event_id=0"),
        (Method::POST, "/poll"),
        (Method::GET, "/demo"),
        (Method::GET, "/health/live"),
        (Method::GET, "/nothing"),
        (Method::GET, "/docs/nothing.js"),
    ] {
        let answer = story.ada.request(method.clone(), path).send().await.unwrap();
        assert_eq!(header(answer.headers(), "cache-control"), Some("no-store"), "{method} {path} {}", answer.status());
    }
    for path in ["/openapi.json", "/docs/", "/docs/swagger-ui.css"] {
        let (status, headers, _) = get(&story.ada, path, None).await;
        assert_eq!((status, header(&headers, "cache-control")), (200, Some("no-cache")), "{path}");
    }
}
