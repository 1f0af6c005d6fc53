//! An invalid request gets a status and a code that say what is wrong. No request causes a 500.

use std::{collections::BTreeSet, sync::LazyLock};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::{Method, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    app::{Answer, Client, Queue, TestApp},
    login,
};

/// Every code in the document.
static CODES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let document = discussions::router::document();
    let codes = document["components"]["schemas"]["ErrorCode"]["enum"].as_array().unwrap().clone();
    codes.into_iter().map(|code| code.as_str().unwrap().to_owned()).collect()
});

/// Checks that a refusal has the common error body.
#[track_caller]
fn well_formed(answer: &Answer, of: &str) {
    assert!((400..500).contains(&answer.status), "{of}: {} {}", answer.status, answer.body);
    let is = |name, value: &str| answer.headers.get(name).is_some_and(|is| is == value);
    assert!(is(header::CONTENT_TYPE, "application/json"), "{of}: {} {:?}", answer.status, answer.headers);
    assert!(is(header::CACHE_CONTROL, "no-store"), "{of}: {} {:?}", answer.status, answer.headers);
    assert!(answer.headers.contains_key("x-request-id"), "{of}");
    let body = answer.body.as_object().unwrap_or_else(|| panic!("{of}: {}", answer.body));
    assert!(CODES.contains(body["code"].as_str().unwrap()), "{of}: {}", answer.body);
    assert!(!body["message"].as_str().unwrap().is_empty(), "{of}");
    for (name, value) in body {
        match name.as_str() {
            "code" | "message" => {}
            "fields" => assert!(value.as_object().unwrap().values().all(Value::is_string), "{of}: {}", answer.body),
            _ => panic!("{of}: {}", answer.body),
        }
    }
}

#[track_caller]
fn refused(answer: Answer, status: u16, code: &str, of: &str) -> Value {
    assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{of}: {}", answer.body);
    well_formed(&answer, of);
    answer.body
}

/// A community with texts, and a user who may do everything in it.
struct World {
    app: TestApp,
    ada: Client,
    community: i64,
    article: i64,
    discussion: i64,
    comment: i64,
    voted: [Value; 2],
    queue: Queue,
    /// The refresh token of somebody who has logged in by password.
    refresh: Value,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start_with(|config| config.login.password_login = true).await;
        let community = app.community("public").await;
        let article = app.article(&[community]).await;
        let ada = app.with_role("ada", community, "admin").await;
        let discussion = ada.discussion(article, community, "Sample size").await;
        let comment = ada.comment(&discussion, "Nice").await["id"].as_i64().unwrap();
        // What Ada may vote on.
        let grace = app.member("grace", community).await;
        let voted = grace.discussion(article, community, "Power").await;
        let voted = [voted["id"].clone(), grace.comment(&voted, "Enough?").await["id"].clone()];
        let discussion = discussion["id"].as_i64().unwrap();
        app.settled().await;
        let queue = ada.register().await;
        login::user(&app, "emil").await;
        let refresh = login::log_in(&app, "emil", login::PASSWORD).await.expect(200)["refresh"].clone();
        Self { app, ada, community, article, discussion, comment, voted, queue, refresh }
    }

    /// Every operation with a body: method, path and a valid body.
    fn takes_body(&self) -> Vec<(Method, String, Value)> {
        let new = json!({ "community_id": self.community, "topic": "Power", "text": "Enough?" });
        vec![
            (Method::POST, format!("/articles/{}/discussions", self.article), new),
            (Method::PATCH, format!("/discussions/{}", self.discussion), json!({ "topic": "Power" })),
            (Method::POST, format!("/discussions/{}/comments", self.discussion), json!({ "text": "Nice" })),
            (Method::PATCH, format!("/comments/{}", self.comment), json!({ "text": "Nicer" })),
            (Method::PUT, format!("/discussions/{}/vote", self.voted[0]), json!({ "value": 1 })),
            (Method::PUT, format!("/comments/{}/vote", self.voted[1]), json!({ "value": -1 })),
            (
                Method::POST,
                format!("/discussions/{}/read", self.discussion),
                json!({ "up_to_comment_id": self.comment }),
            ),
            (Method::POST, format!("/articles/{}/read", self.article), json!({ "community_id": self.community })),
            (Method::PUT, format!("/discussions/{}/follow", self.discussion), json!({ "level": "mute" })),
            (
                Method::PUT,
                format!("/articles/{}/follow", self.article),
                json!({ "community_id": self.community, "level": "follow" }),
            ),
            (
                Method::PUT,
                format!("/articles/{}/summary?community_id={}", self.article, self.community),
                json!({ "text": "In short" }),
            ),
            (Method::POST, "/notifications/read".to_owned(), json!({ "ids": [1] })),
            (Method::POST, "/auth/login".to_owned(), json!({ "username": "emil", "password": login::PASSWORD })),
            (Method::POST, "/auth/refresh".to_owned(), json!({ "refresh": self.refresh })),
            (Method::POST, "/auth/logout".to_owned(), json!({ "refresh": self.refresh })),
            (Method::POST, "/heartbeat".to_owned(), json!({ "queue_id": self.queue.id })),
            (Method::PUT, format!("/queues/{}/watch", self.queue.id), json!({ "community_ids": [self.community] })),
        ]
    }

    async fn send(&self, method: &Method, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.ada.request(method.clone(), path).header(header::CONTENT_TYPE, kind).body(body);
        self.ada.send(request).await
    }

    /// The numbers of rows, to check that refused requests changed nothing.
    async fn count(&self) -> (i64, i64, i64) {
        let rows =
            "select (select count(*) from discussions), (select count(*) from comments), (select count(*) from outbox)";
        sqlx::query_as(rows).fetch_one(&self.app.pool).await.unwrap()
    }
}

const JSON: &str = "application/json";

#[tokio::test]
async fn bodies_that_are_no_json() {
    let world = World::new().await;
    let before = world.count().await;
    for (method, path, good) in world.takes_body() {
        let good = good.to_string();
        let cut = &good[..good.len() - 1];
        let mut not_utf8 = good.clone().into_bytes();
        let quote = not_utf8.iter().rposition(|byte| *byte == b'"').unwrap();
        not_utf8.insert(quote, 0xff);
        let bodies: [Vec<u8>; 12] = [
            b"".into(),
            b" ".into(),
            b"nonsense".into(),
            b"{".into(),
            cut.into(),
            format!("{cut},}}").into(),
            format!("{good}{good}").into(),
            format!("{good} x").into(),
            good.replace('"', "'").into(),
            not_utf8,
            b"\xef\xbb\xbf{}".into(),
            b"\0".into(),
        ];
        for body in bodies {
            let of = format!("{method} {path} {:?}", String::from_utf8_lossy(&body));
            refused(world.send(&method, &path, JSON, body).await, 400, "malformed_json", &of);
        }
    }
    assert_eq!(world.count().await, before);
}

#[tokio::test]
async fn bodies_of_another_shape() {
    let world = World::new().await;
    let before = world.count().await;
    for (method, path, good) in world.takes_body() {
        let mut bodies: Vec<Value> =
            [json!(null), json!(3), json!("text"), json!(true), json!([]), json!([good]), json!({})].into();
        bodies.push(good.as_object().unwrap().values().cloned().collect());
        let mut more = good.clone();
        more["more"] = json!(1);
        bodies.push(more);
        for (name, value) in good.as_object().unwrap() {
            for other in [json!(1.5), json!([]), json!({}), json!(true), json!(-1e300)] {
                // A list may be empty.
                if value.is_array() && other == json!([]) {
                    continue;
                }
                let mut body = good.clone();
                body[name] = other;
                bodies.push(body);
            }
            let mut body = good.clone();
            body[name] = if value.is_string() { json!(7) } else { json!("7") };
            bodies.push(body);
        }
        for body in bodies {
            let of = format!("{method} {path} {body}");
            let answer = world.send(&method, &path, JSON, body.to_string()).await;
            let body = refused(answer, 422, "invalid_fields", &of);
            assert!(!body["fields"].as_object().unwrap().is_empty(), "{of}: {body}");
        }
        // Invalid JSON that nests so deep that it would overflow the stack of a naive parser.
        let name = good.as_object().unwrap().keys().next().unwrap();
        for deep in ["[".repeat(100_000), format!("{{\"{name}\":{}", "[".repeat(100_000)), "{\"a\":".repeat(20_000)] {
            let answer = world.send(&method, &path, JSON, deep).await;
            assert!(matches!(answer.status, 400 | 422), "{method} {path}: {}", answer.status);
            well_formed(&answer, &path);
        }
    }
    let path = format!("/discussions/{}", world.discussion);
    for nothing in [json!({ "topic": null }), json!({ "topic": null, "text": null, "is_resolved": null })] {
        refused(world.ada.patch(&path, nothing).await, 422, "invalid_fields", "a patch of nothing");
    }
    for wrong in [json!({ "is_resolved": "true" }), json!({ "is_resolved": 1 }), json!({ "comment_count": 9 })] {
        refused(world.ada.patch(&path, wrong).await, 422, "invalid_fields", "a wrong patch");
    }
    assert_eq!(world.count().await, before);
}

#[tokio::test]
async fn texts_that_are_empty_too_long_or_impossible() {
    let world = World::new().await;
    let before = world.count().await;
    for (method, path, good) in world.takes_body() {
        for (name, most) in [("topic", 200), ("text", 50_000)] {
            if good.get(name).is_none() {
                continue;
            }
            for text in [
                "",
                " \n\t\u{a0}\u{2003}",
                "a\0b",
                "\0",
                "\u{200b}",
                "\u{3164}\u{2800}",
                &"a".repeat(most + 1),
                &"ü".repeat(most + 1),
            ] {
                let mut body = good.clone();
                body[name] = json!(text);
                let of = format!("{method} {path} {name} {:?}", text.chars().take(9).collect::<String>());
                let refusal =
                    refused(world.send(&method, &path, JSON, body.to_string()).await, 422, "invalid_fields", &of);
                assert_eq!(refusal["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), [name], "{of}");
            }
            // JSON can contain lone surrogates, which are not valid text.
            for half in ["\\ud800", "\\udc00 and more", "\\ud800\\ud800", "\\udc00\\ud800", "\\ud83e", "\\u12"] {
                let mut body = good.clone();
                body[name] = json!("HALF");
                let body = body.to_string().replace("HALF", half);
                let of = format!("{method} {path} {body}");
                refused(world.send(&method, &path, JSON, body).await, 400, "malformed_json", &of);
            }
        }
    }
    assert_eq!(world.count().await, before);

    // The longest texts that are allowed, with characters of four bytes.
    let (topic, text) = ("🧪".repeat(200), "🧪".repeat(50_000));
    let body = json!({ "community_id": world.community, "topic": format!(" {topic} "), "text": format!("\n{text}\n") });
    let path = format!("/articles/{}/discussions", world.article);
    let written = world.ada.post(&path, body).await.expect(201);
    assert_eq!((written["topic"].as_str(), written["text"].as_str()), (Some(&*topic), Some(&*text)));
    let path = format!("/discussions/{}/comments", world.discussion);
    let odd = "\u{feff}\u{1}\u{7f}\u{ffff}\u{10ffff}'\"\\%s$1{}<script>";
    assert_eq!(world.ada.post(&path, json!({ "text": odd })).await.expect(201)["text"], odd);
}

#[tokio::test]
async fn ids_that_cannot_be_or_are_not_there() {
    let world = World::new().await;
    let ada = &world.ada;
    let paths = [
        (Method::GET, "/articles/{}/discussions", "article_not_found"),
        (Method::POST, "/articles/{}/discussions", "article_not_found"),
        (Method::GET, "/discussions/{}", "discussion_not_found"),
        (Method::PATCH, "/discussions/{}", "discussion_not_found"),
        (Method::DELETE, "/discussions/{}", "discussion_not_found"),
        (Method::GET, "/discussions/{}/comments", "discussion_not_found"),
        (Method::POST, "/discussions/{}/comments", "discussion_not_found"),
        (Method::GET, "/comments/{}", "comment_not_found"),
        (Method::PATCH, "/comments/{}", "comment_not_found"),
        (Method::DELETE, "/comments/{}", "comment_not_found"),
        (Method::PUT, "/discussions/{}/vote", "discussion_not_found"),
        (Method::PUT, "/comments/{}/vote", "comment_not_found"),
        (Method::POST, "/discussions/{}/read", "discussion_not_found"),
        (Method::POST, "/discussions/{}/unread", "discussion_not_found"),
        (Method::POST, "/articles/{}/read", "article_not_found"),
        (Method::PUT, "/discussions/{}/follow", "discussion_not_found"),
        (Method::PUT, "/articles/{}/follow", "article_not_found"),
        (Method::GET, "/communities/{}/members", "community_not_found"),
        (Method::GET, "/articles/{}/summary?community_id=1", "article_not_found"),
        (Method::PUT, "/articles/{}/summary?community_id=1", "article_not_found"),
        (Method::DELETE, "/articles/{}/summary?community_id=1", "article_not_found"),
        (Method::GET, "/articles/{}/summary/revisions?community_id=1", "article_not_found"),
        (Method::GET, "/articles/1/summary?community_id={}", "community_not_found"),
        (Method::PUT, "/articles/1/summary?community_id={}", "community_not_found"),
        (Method::DELETE, "/articles/1/summary?community_id={}", "community_not_found"),
    ];
    assert_eq!((world.article, world.community), (1, 1), "the addresses above name them");
    for (method, template, code) in paths {
        let body = match (&method, template) {
            (&Method::POST, "/articles/{}/discussions") => {
                json!({ "community_id": world.community, "topic": "Power", "text": "Enough?" })
            }
            (_, "/discussions/{}/follow") => json!({ "level": "follow" }),
            (_, "/articles/{}/follow") => json!({ "community_id": world.community, "level": "follow" }),
            (&Method::PUT, "/discussions/{}/vote" | "/comments/{}/vote") => json!({ "value": 1 }),
            (_, "/discussions/{}/read") => json!({ "discussion": true }),
            (_, "/discussions/{}/unread") => json!({}),
            (_, "/articles/{}/read") => json!({ "community_id": world.community }),
            _ => json!({ "text": "Nice" }),
        };
        let answer = async |id: &str| {
            let path = template.replace("{}", id);
            let request = ada.request(method.clone(), &path);
            (
                ada.send(if method == Method::GET { request } else { request.json(&body) }).await,
                format!("{method} {path}"),
            )
        };
        for unknown in ["0", "-1", "999999999", "9223372036854775807", "-9223372036854775808"] {
            let (answer, of) = answer(unknown).await;
            refused(answer, 404, code, &of);
        }
        for impossible in [
            "9223372036854775808",
            "99999999999999999999999",
            "abc",
            "1.5",
            "1e3",
            "0x1",
            "%20",
            "%00",
            "1%00",
            "%FF",
            "١",
        ] {
            let (answer, of) = answer(impossible).await;
            refused(answer, 400, "invalid_parameter", &of);
        }
    }

    let new = |community: Value| json!({ "community_id": community, "topic": "Power", "text": "Enough?" });
    let path = format!("/articles/{}/discussions", world.article);
    for unknown in [0, -1, i64::MAX, i64::MIN] {
        refused(ada.post(&path, new(json!(unknown))).await, 404, "community_not_found", "an unknown community");
        let list = format!("{path}?community_id={unknown}");
        refused(ada.get(&list).await, 404, "community_not_found", &list);
    }
    let read = format!("/discussions/{}/read", world.discussion);
    for impossible in [json!(1), json!([null]), json!(["1"]), json!([1.5]), json!([u64::MAX])] {
        refused(
            ada.post(&read, json!({ "comment_ids": impossible })).await,
            422,
            "invalid_fields",
            "no comments at all",
        );
    }
    for impossible in [json!(u64::MAX), json!("1"), json!(null), json!(1.5), json!([1])] {
        refused(ada.post(&path, new(impossible)).await, 422, "invalid_fields", "no community at all");
    }
    let path = format!("/discussions/{}/comments", world.discussion);
    for impossible in [json!(u64::MAX), json!("1"), json!(1.5), json!([1])] {
        let reply = json!({ "text": "Nice", "parent_id": impossible });
        refused(ada.post(&path, reply).await, 422, "invalid_fields", "no parent at all");
    }

    for queue in ["%FF", "%00", "%2F"] {
        refused(ada.delete(&format!("/queues/{queue}")).await, 404, "queue_not_found", queue);
        refused(ada.post(&format!("/queues/{queue}/close"), json!({})).await, 404, "queue_not_found", queue);
        let watch = ada.put(&format!("/queues/{queue}/watch"), json!({ "community_ids": [] })).await;
        refused(watch, 404, "queue_not_found", queue);
    }
    let other = uuid::Uuid::new_v4().to_string();
    for queue in [&*other, "0", "nonsense", "%00", "-1", "9223372036854775808", "00000000-0000-0000-0000-000000000000"]
    {
        let beat = json!({ "queue_id": queue });
        refused(ada.post("/heartbeat", beat).await, 404, "queue_not_found", queue);
        refused(ada.delete(&format!("/queues/{queue}")).await, 404, "queue_not_found", queue);
        refused(ada.post(&format!("/queues/{queue}/close"), json!({})).await, 404, "queue_not_found", queue);
        let watch = ada.put(&format!("/queues/{queue}/watch"), json!({ "community_ids": [] })).await;
        refused(watch, 404, "queue_not_found", queue);
        let poll = format!("/poll?queue_id={queue}&last_event_id=0&timeout=0");
        refused(ada.get(&poll).await, 404, "queue_not_found", &poll);
    }
}

#[tokio::test]
async fn queries_that_cannot_be() {
    let world = World::new().await;
    let list = format!("/articles/{}/discussions", world.article);
    let comments = format!("/discussions/{}/comments", world.discussion);
    let queue = &world.queue.id;
    let mut paths = Vec::new();
    for path in [&list, &comments] {
        for query in [
            "limit=0",
            "limit=-1",
            "limit=101",
            "limit=9223372036854775808",
            "limit=",
            "limit=x",
            "limit=1.5",
            "limit=1&limit=2",
            "cursor=",
            "cursor=0",
            "cursor=-1",
            "cursor=x",
            "cursor=9223372036854775808",
            "cursor=%00",
            "cursor=%FF",
            "cursor=1&cursor=2",
        ] {
            paths.push(format!("{path}?{query}"));
        }
    }
    for query in
        ["community_id=", "community_id=x", "community_id=9223372036854775808", "community_id=1&community_id=1"]
    {
        paths.extend([format!("{list}?{query}"), format!("/unread?{query}")]);
    }
    let summary = format!("/articles/{}/summary", world.article);
    for query in ["", "community_id=", "community_id=x", "community_id=1.5", "community_id=1&community_id=1"] {
        paths.extend([format!("{summary}?{query}"), format!("{summary}/revisions?{query}")]);
    }
    for query in ["limit=0", "limit=101", "cursor=0", "cursor=x", "cursor=9223372036854775808"] {
        paths.push(format!("{summary}/revisions?community_id={}&{query}", world.community));
    }
    for query in ["article_id=x", "limit=0", "limit=101", "cursor=0", "cursor=x"] {
        paths.push(format!("/unread?{query}"));
    }
    for query in ["limit=0", "limit=101", "cursor=0", "cursor=x", "unread=", "unread=1", "unread=true&unread=true"] {
        paths.push(format!("/notifications?{query}"));
    }
    let long = format!("prefix={}", "a".repeat(151));
    for query in ["prefix=%00", "prefix=a&prefix=b", "article_id=", "article_id=x", &long] {
        paths.push(format!("/communities/{}/members?{query}", world.community));
    }
    for query in [
        "".to_owned(),
        "last_event_id=0".to_owned(),
        format!("queue_id={queue}"),
        format!("queue_id={queue}&last_event_id=-1"),
        format!("queue_id={queue}&last_event_id="),
        format!("queue_id={queue}&last_event_id=x"),
        format!("queue_id={queue}&last_event_id=1.5"),
        format!("queue_id={queue}&last_event_id=9223372036854775808"),
        format!("queue_id={queue}&last_event_id=0&timeout=-1"),
        format!("queue_id={queue}&last_event_id=0&timeout=x"),
        format!("queue_id={queue}&last_event_id=0&timeout="),
        format!("queue_id={queue}&last_event_id=0&timeout=NaN"),
        format!("queue_id={queue}&last_event_id=0&timeout=inf"),
        format!("queue_id={queue}&last_event_id=0&timeout=-inf"),
        format!("queue_id={queue}&last_event_id=0&timeout=1e400"),
        format!("queue_id={queue}&queue_id={queue}&last_event_id=0"),
        format!("queue_id={queue}&last_event_id=0&last_event_id=0"),
    ] {
        paths.push(format!("/poll?{query}"));
    }
    for path in paths {
        refused(world.ada.get(&path).await, 400, "invalid_parameter", &path);
    }
    // The largest numbers are valid: they mean an empty page, and a cursor ahead of the head.
    let max = i64::MAX;
    assert_eq!(world.ada.get(&format!("{comments}?cursor={max}")).await.expect(200)["comments"], json!([]));
    assert_eq!(
        world.ada.get(&format!("{list}?cursor={max}&limit=100&more=1")).await.expect(200)["next_cursor"],
        Value::Null
    );
    let ahead = format!("/poll?queue_id={queue}&last_event_id={max}&timeout=1e300");
    assert_eq!(world.ada.get(&ahead).await.expect(200), json!({ "catchup_required": true }));
}

/// Sends raw bytes and reads the answer's head and body.
async fn raw(app: &TestApp, request: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    // The server may answer and close the connection before it has read everything.
    let _ = stream.write_all(request.as_ref()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_over_the_limit() {
    let world = World::new().await;
    let limit = 256 * 1024;
    for (method, path, good) in world.takes_body() {
        for size in [limit + 1, 4 * limit] {
            let body = format!("{}{}", good, " ".repeat(size - good.to_string().len()));
            refused(world.send(&method, &path, JSON, body).await, 413, "body_too_large", &path);
        }
        // A chunked body has no declared length, so the server notices only later that it is too long.
        let token = world.ada.token.as_deref().unwrap();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        for _ in 0..5 {
            request += &format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        }
        let answer = raw(&world.app, request + "0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
        assert!(answer.contains("\"code\":\"body_too_large\""), "{path}: {answer}");
        // A body of exactly the limit is accepted.
        let body = format!("{}{}", good, " ".repeat(limit - good.to_string().len()));
        let answer = world.send(&method, &path, JSON, body).await;
        assert!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
    }
}

#[tokio::test]
async fn bodies_of_another_kind() {
    let world = World::new().await;
    let before = world.count().await;
    for (method, path, good) in world.takes_body() {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonx",
            "application/merge-patch+json",
            "json",
            "",
            "text/plain; application/json",
        ] {
            let answer = world.send(&method, &path, kind, good.to_string()).await;
            refused(answer, 415, "unsupported_media_type", &format!("{method} {path} {kind}"));
        }
        let none = world.ada.request(method.clone(), &path).body(good.to_string());
        refused(world.ada.send(none).await, 415, "unsupported_media_type", &path);
    }
    assert_eq!(world.count().await, before);
    for (method, path, good) in world.takes_body() {
        for kind in ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"] {
            let answer = world.send(&method, &path, kind, good.to_string()).await;
            assert!((200..300).contains(&answer.status), "{method} {path} {kind}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn methods_that_an_address_does_not_take() {
    let world = World::new().await;
    let (article, discussion, comment, queue) =
        (world.article, world.discussion, world.comment, world.queue.id.clone());
    for (path, takes) in [
        (format!("/articles/{article}/discussions"), "GET,HEAD,POST"),
        (format!("/discussions/{discussion}"), "GET,HEAD,PATCH,DELETE"),
        (format!("/discussions/{discussion}/comments"), "GET,HEAD,POST"),
        (format!("/comments/{comment}"), "GET,HEAD,PATCH,DELETE"),
        (format!("/discussions/{discussion}/vote"), "PUT"),
        (format!("/comments/{comment}/vote"), "PUT"),
        (format!("/discussions/{discussion}/read"), "POST"),
        (format!("/discussions/{discussion}/unread"), "POST"),
        (format!("/articles/{article}/read"), "POST"),
        (format!("/discussions/{discussion}/follow"), "PUT"),
        (format!("/articles/{article}/follow"), "PUT"),
        (format!("/articles/{article}/summary"), "GET,HEAD,PUT,DELETE"),
        (format!("/articles/{article}/summary/revisions"), "GET,HEAD"),
        ("/follows".to_owned(), "GET,HEAD"),
        ("/unread".to_owned(), "GET,HEAD"),
        ("/notifications".to_owned(), "GET,HEAD"),
        ("/communities/1/members".to_owned(), "GET,HEAD"),
        ("/notifications/read".to_owned(), "POST"),
        ("/register".to_owned(), "POST"),
        ("/heartbeat".to_owned(), "POST"),
        ("/poll".to_owned(), "GET,HEAD"),
        (format!("/queues/{queue}"), "DELETE"),
        (format!("/queues/{queue}/close"), "POST"),
        (format!("/queues/{queue}/watch"), "PUT"),
        ("/session".to_owned(), "GET,HEAD,POST,DELETE"),
        ("/auth/login".to_owned(), "POST"),
        ("/auth/refresh".to_owned(), "POST"),
        ("/auth/logout".to_owned(), "POST"),
        ("/openapi.json".to_owned(), "GET,HEAD"),
        ("/health/live".to_owned(), "GET,HEAD"),
        ("/health/ready".to_owned(), "GET,HEAD"),
    ] {
        let takes: BTreeSet<&str> = takes.split(',').collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "post"] {
            if takes.contains(method) {
                continue;
            }
            let of = format!("{method} {path}");
            let request = world.ada.request(Method::from_bytes(method.as_bytes()).unwrap(), &path);
            let answer = world.ada.send(request).await;
            let allow: BTreeSet<String> =
                answer.headers[header::ALLOW].to_str().unwrap().split(',').map(str::to_owned).collect();
            assert_eq!(allow.iter().map(String::as_str).collect::<BTreeSet<_>>(), takes, "{of}");
            refused(answer, 405, "method_not_allowed", &of);
        }
    }
}

#[tokio::test]
async fn addresses_where_there_is_nothing() {
    let world = World::new().await;
    for path in [
        "/",
        "/discussions",
        "/discussions/",
        "/discussions/1/",
        "/discussions/1/comments/",
        "/articles/1",
        "/comments",
        "/queues",
        "/poll/",
        "/Poll",
        "/register/1",
        "/health",
        "/metrics",
        "/demo",
        "/..%2f..%2fetc%2fpasswd",
        "/%00",
        "/%FF",
        "//discussions/1",
        "/favicon.ico",
        "/docs/nothing.js",
        "/docs/%FF",
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            if method != Method::GET && path.starts_with("/docs/") {
                continue; // the pages of /docs/ accept only GET
            }
            let request = world.ada.request(method.clone(), path);
            refused(world.ada.send(request).await, 404, "not_found", &format!("{method} {path}"));
        }
    }
}

#[tokio::test]
async fn head_is_get_without_the_body_and_options_harms_nobody() {
    let world = World::new().await;
    let poll = format!("/poll?queue_id={}&last_event_id=0&timeout=0", world.queue.id);
    let paths = [
        format!("/articles/{}/discussions", world.article),
        format!("/discussions/{}", world.discussion),
        format!("/discussions/{}/comments", world.discussion),
        format!("/comments/{}", world.comment),
        "/discussions/999999999".to_owned(),
        "/no/such/path".to_owned(),
        "/session".to_owned(),
        "/openapi.json".to_owned(),
        "/health/live".to_owned(),
        "/health/ready".to_owned(),
        poll,
    ];
    let token = world.ada.token.as_deref().unwrap();
    for path in &paths {
        let get = world.ada.get(path).await;
        let head =
            format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
        let head = raw(&world.app, head).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {}", get.status)), "{path}: {head}");
        assert!(head.ends_with("\r\n\r\n"), "{path}: {head}");
        if let Some(kind) = get.headers.get(header::CONTENT_TYPE) {
            assert!(
                head.to_lowercase().contains(&format!("content-type: {}", kind.to_str().unwrap())),
                "{path}: {head}"
            );
        }
        let options = world.ada.send(world.ada.request(Method::OPTIONS, path)).await;
        assert!(options.status < 500, "{path}: {}", options.status);
    }
}

/// Generates requests whose parts may be invalid.
struct Nonsense<'a> {
    rng: StdRng,
    world: &'a World,
}

impl Nonsense<'_> {
    fn one_of<'b>(&mut self, what: &[&'b str]) -> &'b str {
        what.choose(&mut self.rng).unwrap()
    }

    fn id(&mut self, real: i64) -> String {
        match self.rng.random_range(0..4) {
            0 => self.rng.random::<i64>().to_string(),
            1 => self
                .one_of(&["", "0", "-1", "x", "%00", "%FF", "9223372036854775808", "1/2", "%2e%2e", "NaN", "+1", "🧪"])
                .to_owned(),
            _ => real.to_string(),
        }
    }

    fn path(&mut self) -> String {
        let (article, discussion, comment) =
            (self.id(self.world.article), self.id(self.world.discussion), self.id(self.world.comment));
        let queue = if self.rng.random() { self.world.queue.id.clone() } else { self.id(1) };
        let mut path = match self.rng.random_range(0..12) {
            0 => format!("/articles/{article}/discussions"),
            1 | 2 => format!("/discussions/{discussion}"),
            3 | 4 => format!("/discussions/{discussion}/comments"),
            5 => format!("/comments/{comment}"),
            6 => self
                .one_of(&["/register", "/heartbeat", "/session", "/openapi.json", "/docs", "/health/ready"])
                .to_owned(),
            7 => format!("/queues/{queue}/{}", self.one_of(&["close", "watch"])),
            // A poll that does not wait or is refused.
            8 => return format!("/poll?timeout=0&queue_id={queue}&last_event_id={comment}"),
            9 => format!(
                "/{}/{discussion}/{}",
                self.one_of(&["discussions", "comments"]),
                self.one_of(&["vote", "read", "unread"])
            ),
            10 => self
                .one_of(&[
                    "/unread",
                    "/articles/1/read",
                    "/notifications",
                    "/notifications/read",
                    "/communities/1/members",
                ])
                .to_owned(),
            _ => format!("/{}/{discussion}", self.one_of(&["nothing", "docs", "queues", "articles", "", "health"])),
        };
        if self.rng.random_bool(0.4) {
            let (name, value) = (self.one_of(&["limit", "cursor", "community_id", "x", "%00", "limit[]"]), self.id(1));
            path += &format!("?{name}={value}&{}", self.one_of(&["", "&&", "=", "a=b=c", "%", "limit=2", "cursor=1"]));
        }
        path
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.rng.random_range(0..if depth == 0 { 7 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.rng.random::<bool>()),
            2 => json!(self.rng.random::<i64>()),
            3 => json!(self.rng.random::<f64>() * 1e300),
            4 => json!(self.world.community),
            5 => json!(self.one_of(&["", " ", "\0", "Nice", "' or 1=1 --", "\u{202e}", "{}", "🧪", "%s%n"])),
            6 => json!("a".repeat(self.rng.random_range(0..60_000))),
            7 => (0..self.rng.random_range(0..4)).map(|_| self.value(depth - 1)).collect(),
            _ => self.object(depth - 1),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let names = [
            "text",
            "topic",
            "community_id",
            "parent_id",
            "is_resolved",
            "queue_id",
            "id",
            "",
            "__proto__",
            "comment_ids",
            "ids",
            "up_to_id",
        ];
        let mut object = serde_json::Map::new();
        for _ in 0..self.rng.random_range(0..5) {
            let value = self.value(depth);
            object.insert(self.one_of(&names).to_owned(), value);
        }
        Value::Object(object)
    }

    fn body(&mut self) -> Vec<u8> {
        let mut body = match self.rng.random_range(0..4) {
            0 => self.world.takes_body().choose(&mut self.rng).unwrap().2.clone(),
            1 => self.value(3),
            _ => self.object(2),
        }
        .to_string()
        .into_bytes();
        for _ in 0..self.rng.random_range(0..3) {
            if body.is_empty() || self.rng.random() {
                break;
            }
            let at = self.rng.random_range(0..body.len());
            match self.rng.random_range(0..3) {
                0 => body[at] = self.rng.random(),
                1 => body.truncate(at),
                _ => body.insert(at, self.rng.random()),
            }
        }
        body
    }

    fn request(&mut self) -> (reqwest::RequestBuilder, String) {
        let methods = ["GET", "GET", "POST", "POST", "PATCH", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE"];
        let (method, path) = (self.one_of(&methods), self.path());
        let client = if self.rng.random_bool(0.8) { self.world.ada.clone() } else { self.world.app.anonymous() };
        let mut request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), &path);
        let mut said = format!("{method} {path}");
        let headers =
            ["origin", "cookie", "idempotency-key", "x-request-id", "accept", "if-match", "range", "expect-ct"];
        for _ in 0..self.rng.random_range(0..3) {
            let bytes: Vec<u8> = (0..self.rng.random_range(0..300)).map(|_| self.rng.random_range(32..=254)).collect();
            if let Ok(value) = header::HeaderValue::from_bytes(&bytes) {
                request = request.header(self.one_of(&headers), value);
            }
        }
        if !matches!(method, "GET" | "HEAD" | "TRACE") || self.rng.random_bool(0.1) {
            let (kind, body) = (self.one_of(&[JSON, JSON, JSON, JSON, "text/plain", ""]), self.body());
            said += &format!(" {kind} {:?}", String::from_utf8_lossy(&body[..body.len().min(200)]));
            request = request.header(header::CONTENT_TYPE, kind).body(body);
        }
        (request, said)
    }
}

#[tokio::test]
async fn no_invalid_request_causes_a_500() {
    let world = World::new().await;
    let seed = rand::rng().random();
    let mut nonsense = Nonsense { rng: StdRng::seed_from_u64(seed), world: &world };
    let mut refusals = 0;
    for round in 0..1_000 {
        let (request, said) = nonsense.request();
        let answer = world.ada.send(request).await;
        assert!(answer.status < 500, "seed {seed}, round {round}: {said}: {} {}", answer.status, answer.body);
        if answer.status >= 400 && !said.starts_with("HEAD") {
            well_formed(&answer, &format!("seed {seed}, round {round}: {said}"));
            refusals += 1;
        }
    }
    assert!(refusals > 100, "it was nonsense");
    world.app.settled().await;
}
