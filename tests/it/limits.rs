//! Limits on requests: who is over one gets 429 and the time to wait, and costs the others nothing.

use std::{sync::Arc, time::Duration};

use discussions::{auth::jwt, router};
use reqwest::{Method, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::app::{Answer, Client, PAGE, PATIENCE, SECRET, TestApp, types};

/// That it is a refusal, and how many seconds to wait.
#[track_caller]
fn limited(answer: Answer) -> u64 {
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    let seconds = answer.headers.get(header::RETRY_AFTER).map(|seconds| seconds.to_str().unwrap().parse().unwrap());
    let body = answer.refused(429, "rate_limited");
    let seconds: u64 = seconds.expect("a refusal says how long to wait");
    assert!(seconds >= 1 && body["message"].as_str().unwrap().contains(&seconds.to_string()), "{body}");
    seconds
}

/// The refusals so far, of all tests in this process.
async fn refusals(app: &TestApp, limit: &str) -> u64 {
    let metrics = reqwest::get(format!("http://{}/metrics", app.metrics_addr)).await.unwrap().text().await.unwrap();
    let line = format!("discussions_refusals_total{{limit=\"{limit}\"}} ");
    metrics.lines().find_map(|found| found.strip_prefix(&line)).unwrap().parse().unwrap()
}

/// A connection of its own, so that the request is the first on it.
async fn first(app: &TestApp, client: &Client, method: Method, path: &str, forwarded: Option<&str>) -> Answer {
    let request = reqwest::Client::new().request(method, format!("http://{}{path}", app.addr));
    let request = match &client.token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    client.send(forwarded.into_iter().fold(request, |request, one| request.header("x-forwarded-for", one))).await
}

#[tokio::test]
async fn who_writes_too_fast_waits_and_nobody_else_does() {
    let app = TestApp::start_with(|config| config.limits.writes_per_minute = 1).await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    let discussion = ada.discussion(article, community, "Speed").await;
    app.settled().await;
    let mut queue = grace.register().await;
    let before = refusals(&app, "writes").await;

    // It is Ada's limit, wherever and by whatever method she writes.
    let address = format!("/discussions/{}", discussion["id"]);
    assert!(limited(ada.post(&format!("{address}/comments"), json!({ "text": "again" })).await) <= 60);
    limited(ada.patch(&address, json!({ "is_resolved": true })).await);
    let began = Instant::now();
    limited(ada.delete(&address).await);
    assert!(began.elapsed() >= Duration::from_millis(100), "a client that does not wait is slowed down");
    assert!(refusals(&app, "writes").await >= before + 3);

    // Reading and listening go on, and so do the others.
    ada.get(&address).await.expect(200);
    let adas = ada.register().await;
    adas.heartbeat().await.expect(204);
    adas.poll_raw(0.0).await.expect(200);
    grace.comment(&discussion, "calm").await;

    // Refused means that nothing has happened: Grace's comment is all there is.
    app.settled().await;
    let events = queue.now().await;
    assert_eq!((types(&events), &events[0]["text"]), (vec!["new_comment"], &json!("calm")));
}

#[tokio::test]
async fn votes_have_a_limit_of_their_own() {
    let app = TestApp::start_with(|config| {
        (config.limits.writes_per_minute, config.limits.votes_per_minute) = (6, 9);
    })
    .await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    let discussion = ada.discussion(article, community, "Speed").await;
    let path = format!("/discussions/{}/vote", discussion["id"]);
    for value in [1, -1, 1] {
        grace.put(&path, json!({ "value": value })).await.expect(200);
    }
    limited(grace.put(&path, json!({ "value": 0 })).await);
    // What is refused has changed nothing, and other writes go on.
    assert_eq!(grace.get(&format!("/discussions/{}", discussion["id"])).await.expect(200)["own_vote"], 1);
    grace.comment(&discussion, "I can still write").await;
}

#[tokio::test]
async fn a_third_may_come_at_once_and_after_the_wait_there_is_more() {
    let app = TestApp::start_with(|config| config.limits.writes_per_minute = 60).await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let began = Instant::now();
    let discussion = ada.discussion(article, community, "Speed").await;
    let comment = async || {
        let path = format!("/discussions/{}/comments", discussion["id"]);
        ada.post(&path, json!({ "text": "again" })).await
    };
    let mut written = 1;
    let refusal = loop {
        let answer = comment().await;
        if answer.status != 201 {
            break answer;
        }
        written += 1;
    };
    // One more for each second that this took.
    let at_most = 20 + began.elapsed().as_secs() + 1;
    assert!((20..=at_most).contains(&written), "{written} of {at_most}");
    assert_eq!(limited(refusal), 1);
    let waiting = async {
        while comment().await.status != 201 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("after the time that was said it is accepted");
}

#[tokio::test]
async fn a_repeated_request_counts_like_any_other() {
    let app = TestApp::start_with(|config| config.limits.writes_per_minute = 6).await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let request = || {
        let body = json!({ "community_id": community, "topic": "Once", "text": "only" });
        let path = format!("/articles/{article}/discussions");
        ada.request(Method::POST, &path).header("idempotency-key", "one").json(&body)
    };
    let first = ada.send(request()).await.expect(201);
    assert_eq!(ada.send(request()).await.expect(201), first);
    assert!(limited(ada.send(request()).await) <= 10);
}

/// The limits are around all routes that the document has, so those that come later are limited as well.
#[tokio::test]
async fn no_operation_is_forgotten() {
    let app = TestApp::start_with(|config| {
        config.limits.writes_per_minute = 1;
        config.limits.votes_per_minute = 1;
        config.limits.registers_per_minute = 1;
        config.limits.anonymous_reads_per_minute = 1;
        config.limits.logins_per_minute = 1;
        config.login.password_login = true;
    })
    .await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    let fills = [Method::DELETE, Method::PUT, Method::POST];
    for (method, path) in fills.into_iter().zip(["/comments/1", "/comments/1/vote", "/register"]) {
        assert_ne!(ada.send(ada.request(method, path)).await.status, 429);
    }
    let anyone = app.anonymous();
    assert_ne!(anyone.get("/articles/1/discussions").await.status, 429);
    assert_ne!(anyone.post("/auth/login", json!({})).await.status, 429);

    let free = [
        "GET /poll",
        "POST /heartbeat",
        "DELETE /session",
        "DELETE /queues/{queue_id}",
        "POST /queues/{queue_id}/close",
        "POST /auth/logout",
    ];
    let document = router::document();
    let mut seen = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let name = format!("{method} {path}");
            let address = path.replace("{id}", "1").replace("{queue_id}", &uuid::Uuid::new_v4().to_string());
            let status = async |client: &Client| client.send(client.request(method.clone(), &address)).await.status;
            let is_free = free.contains(&name.as_str()) || method.is_safe();
            assert_eq!(status(&ada).await == 429, !is_free, "{name} by a user");
            assert_eq!(status(&anyone).await == 429, name != "GET /poll", "{name} without signing in");
            assert_eq!(operation["responses"]["429"].is_object(), name != "GET /poll", "{name} in the document");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} operations");
    // What is no part of the API has no limit: a balancer asks for it, and a page needs it.
    for path in ["/health/live", "/openapi.json", "/docs/", "/nothing"] {
        assert_ne!(anyone.get(path).await.status, 429, "{path}");
    }
    // A token that is not valid is no user's.
    let forged =
        app.bearer(ada.user, jwt::mint("another secret, of just as many bytes", ada.user.into(), None, 60).unwrap());
    limited(forged.get("/session").await);
}

#[tokio::test]
async fn no_header_gives_an_address_of_ones_own_but_a_trusted_proxys() {
    for direct_polls in [true, false] {
        let untrusted = TestApp::start_with(|config| {
            config.direct_polls = direct_polls;
            config.limits.anonymous_reads_per_minute = 1;
        })
        .await;
        let trusted = TestApp::on(Arc::clone(&untrusted.database), |config| {
            config.direct_polls = direct_polls;
            config.limits.anonymous_reads_per_minute = 1;
            config.limits.trusted_proxies = "127.0.0.0/8".parse().unwrap();
        })
        .await;
        // The second of these is read without hyper, where that is switched on.
        for (number, (method, path)) in [(Method::GET, "/session"), (Method::POST, "/register")].into_iter().enumerate()
        {
            let ask = async |app: &TestApp, forwarded: String| {
                first(app, &app.anonymous(), method.clone(), path, Some(&forwarded)).await
            };
            for host in 0..3 {
                let answer = ask(&untrusted, format!("198.51.100.{host}")).await;
                assert_eq!(answer.status == 429, number + host > 0, "{path} {host}: {}", answer.body);
                let made_up = format!("192.0.2.{host}, 198.51.{number}.{host}");
                ask(&trusted, made_up.clone()).await.refused(401, "token_missing");
                limited(ask(&trusted, format!("203.0.113.9, 198.51.{number}.{host}")).await);
            }
        }
    }
}

#[tokio::test]
async fn registers_have_a_limit_of_their_own_on_both_ways_in() {
    for direct_polls in [true, false] {
        let app = TestApp::start_with(|config| {
            config.direct_polls = direct_polls;
            config.limits.registers_per_minute = 1;
            config.limits.writes_per_minute = 1;
        })
        .await;
        let community = app.community("public").await;
        let ada = app.member("ada", community).await;
        first(&app, &ada, Method::POST, "/register", None).await.expect(200);
        assert!(limited(first(&app, &ada, Method::POST, "/register", None).await) <= 60);
        limited(ada.post("/session", json!({})).await);
        ada.delete("/comments/1").await.refused(404, "comment_not_found");
    }
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_not_waited_for() {
    let app = TestApp::start_with(|config| config.limits.writes_per_minute = 1).await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    ada.delete("/comments/1").await.refused(404, "comment_not_found");
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    let head = format!(
        "POST /discussions/1/comments HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 262144\r\n\r\n{{",
        ada.token.as_deref().unwrap()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let reading = async {
        while !read.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
        }
    };
    timeout(PATIENCE, reading).await.expect("the refusal comes although the body does not");
    let answer = String::from_utf8(read).unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.to_lowercase().contains("\r\nretry-after: "), "{answer}");
}

/// A session's user counts by cookie as by token; and what a limit remembers of a session lets nobody in.
#[tokio::test]
async fn sessions_count_for_their_user() {
    let app = TestApp::start_with(|config| config.limits.writes_per_minute = 1).await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    let cookie = ada.session_cookie().await;
    let anyone = app.anonymous();
    let by_cookie = async |method: Method, path: &str| {
        let request = anyone.request(method, path).header(header::COOKIE, &cookie).header(header::ORIGIN, PAGE);
        anyone.send(request).await
    };
    by_cookie(Method::DELETE, "/comments/1").await.refused(404, "comment_not_found");
    limited(ada.delete("/comments/1").await);
    limited(by_cookie(Method::DELETE, "/comments/1").await);

    assert_eq!(by_cookie(Method::GET, "/session").await.expect(200)["user"]["id"], Value::from(ada.user));
    // Another node ends the session: this one has just read it.
    app.sql("delete from sessions").await;
    by_cookie(Method::GET, "/session").await.refused(401, "token_missing");
    let other_secret = jwt::mint(SECRET, ada.user.into(), None, 60).unwrap();
    let both = anyone.request(Method::GET, "/session").header(header::COOKIE, &cookie).bearer_auth(other_secret);
    anyone.send(both).await.expect(200);
}
