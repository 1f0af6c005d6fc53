//! Liveness, readiness and metrics, and the answers while the database is down.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use discussions::metrics;
use reqwest::{Method, header};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::Instant;

use crate::app::{Answer, PATIENCE, TestApp, types};

/// The server must answer 503 within this time if the database is down.
const PROMISED: Duration = Duration::from_secs(5);

/// Forbids or allows connections to the test's database.
async fn let_in(app: &TestApp, yes: bool) {
    let (server, name) = app.database.url.rsplit_once('/').unwrap();
    let name = name.split('?').next().unwrap();
    let mut connection = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    connection.execute(format!("alter database {name} allow_connections {yes}").as_str()).await.unwrap();
    if !yes {
        let end = format!("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{name}'");
        connection.execute(end.as_str()).await.unwrap();
    }
}

async fn with_cookie(app: &TestApp, cookie: &str, path: &str) -> Answer {
    let anyone = app.anonymous();
    anyone.send(anyone.request(Method::GET, path).header(header::COOKIE, cookie)).await
}

#[track_caller]
fn is_unavailable(answer: Answer, since: Instant) {
    assert!(since.elapsed() < PROMISED, "{:?}", since.elapsed());
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    let body = answer.refused(503, "unavailable");
    for inside in ["sql", "connection", "timed out", "postgres"] {
        assert!(!body.to_string().to_lowercase().contains(inside), "{body}");
    }
}

#[tokio::test]
async fn a_server_is_alive_and_ready() {
    let app = TestApp::start().await;
    for path in ["/health/live", "/health/ready"] {
        let answer = app.anonymous().get(path).await;
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(answer.expect(200), json!({ "status": "ok" }));
    }
}

#[tokio::test]
async fn without_the_database_the_server_answers_503_in_time_and_recovers() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    let discussion = ada.discussion(article, community, "Sample size").await;
    let path = format!("/discussions/{}", discussion["id"]);
    app.settled().await;
    let mut queue = grace.register().await;
    let parked = queue.park(&app).await;
    let cookie = ada.session_cookie().await;

    let_in(&app, false).await;
    app.anonymous().get("/health/live").await.expect(200);
    let calls = [
        (Method::GET, "/health/ready".to_owned(), Value::Null),
        (Method::GET, path.clone(), Value::Null),
        (Method::GET, format!("/articles/{article}/discussions"), Value::Null),
        (Method::PATCH, path.clone(), json!({ "topic": "Power" })),
        (Method::DELETE, path.clone(), Value::Null),
        (Method::POST, format!("{path}/comments"), json!({ "text": "Nice" })),
        (Method::POST, "/register".to_owned(), Value::Null),
        (Method::GET, "/session".to_owned(), Value::Null),
    ];
    let asked = calls.map(|(method, path, body)| {
        let ada = ada.clone();
        tokio::spawn(async move {
            let since = Instant::now();
            let request = ada.request(method, &path);
            (ada.send(if body.is_null() { request } else { request.json(&body) }).await, since)
        })
    });
    for asked in asked {
        let (answer, since) = asked.await.unwrap();
        is_unavailable(answer, since);
    }
    for path in ["/session".to_owned(), format!("/poll?queue_id={}&last_event_id=0", queue.id)] {
        let since = Instant::now();
        is_unavailable(with_cookie(&app, &cookie, &path).await, since);
    }
    // Polls and heartbeats need no database: the poll is still parked, and a heartbeat keeps its queue.
    assert!(!parked.is_finished());
    queue.heartbeat().await.expect(204);
    assert_eq!(queue.poll_raw(0.0).await.expect(200)["events"], json!([]));
    parked.await.unwrap().expect(200);
    assert!(measured(&app).await.contains("discussions_queues"));

    let_in(&app, true).await;
    let recovered = async {
        while app.anonymous().get("/health/ready").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, recovered).await.expect("it is ready again in time");
    ada.comment(&discussion, "Back again").await;
    assert_eq!(types(&queue.events(1).await), ["new_comment"]);
    with_cookie(&app, &cookie, "/session").await.expect(200);
}

#[tokio::test]
async fn a_database_that_hangs_causes_a_503_in_time() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    app.settled().await;
    let (queue, cookie) = (ada.register().await, ada.session_cookie().await);

    let mut holding = app.pool.begin().await.unwrap();
    holding.execute("lock table discussions, comments, sessions, memberships in access exclusive mode").await.unwrap();
    let asked = [
        (None, format!("/discussions/{}", discussion["id"])),
        (None, format!("/discussions/{}/comments", discussion["id"])),
        (Some(&cookie), "/session".to_owned()),
        (Some(&cookie), format!("/poll?queue_id={}&last_event_id=0", queue.id)),
    ];
    let (app, ada) = (&app, &ada);
    let asked = asked.map(|(cookie, path)| async move {
        let since = Instant::now();
        let answer = match cookie {
            Some(cookie) => with_cookie(app, cookie, &path).await,
            None => ada.get(&path).await,
        };
        (answer, since.elapsed(), path)
    });
    let [a, b, c, d] = asked;
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    for (answer, took, path) in [a, b, c, d] {
        assert!(took < PROMISED, "{path}: {took:?}");
        assert_eq!(answer.headers[header::RETRY_AFTER], "1", "{path}");
        answer.refused(503, "unavailable");
    }
    holding.rollback().await.unwrap();
    // The requests that were given up hold no locks.
    ada.comment(&discussion, "Back again").await;
    app.settled().await;
}

async fn measured(app: &TestApp) -> String {
    let response = reqwest::get(format!("http://{}/metrics", app.metrics_addr)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    response.text().await.unwrap()
}

#[tokio::test]
async fn the_metrics_are_there_before_anything_has_happened() {
    let app = TestApp::start().await;
    let text = measured(&app).await;
    for metric in metrics::ALL.iter().filter(|metric| metric.kind != "Histogram") {
        let name = metric.name;
        assert!(
            text.lines().any(|line| line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"))),
            "{name}: {text}"
        );
        assert!(text.contains(&format!("# HELP {name} {}", metric.text)), "{name} is not explained");
    }
    // Metrics are not at the public address, and the API is not at the metrics' address.
    app.anonymous().get("/metrics").await.refused(404, "not_found");
    let elsewhere = reqwest::get(format!("http://{}/discussions/1", app.metrics_addr)).await.unwrap();
    assert_eq!(elsewhere.status(), 404);
}

#[tokio::test]
async fn metrics_have_no_user_data() {
    let app = TestApp::start().await;
    let community = app.community("hidden").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada-in-no-label", community).await;
    app.settled().await;
    let mut queue = ada.register().await;
    let discussion = ada.discussion(article, community, "topic-in-no-label").await;
    ada.comment(&discussion, "text-in-no-label").await;
    queue.events(2).await;
    ada.get("/discussions/987654321").await.refused(404, "discussion_not_found");
    ada.get("/path-in-no-label?query-in-no-label=1").await.refused(404, "not_found");
    let method = Method::from_bytes(b"METHOD-IN-NO-LABEL").unwrap();
    ada.send(ada.request(method, "/discussions/1").header("x-request-id", "id-in-no-label")).await.expect(405);

    let text = measured(&app).await;
    let lower_case = text.to_lowercase();
    for secret in ["in-no-label", &queue.id, "987654321", ada.token.as_deref().unwrap()] {
        assert!(!lower_case.contains(&secret.to_lowercase()), "{secret}: {text}");
    }
    let mut labels = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let inside = line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inside, _)| inside);
        labels.extend(
            inside.split("\",").filter(|label| !label.is_empty()).map(|label| label.split('=').next().unwrap()),
        );
    }
    assert!(labels.is_subset(&BTreeSet::from(["le", "limit", "method", "route", "status"])), "{labels:?}");
    assert!(text.contains("route=\"/discussions/{id}\"") && text.contains("method=\"other\""), "{text}");
    for name in metrics::ALL.iter().filter(|metric| metric.kind == "Histogram").map(|metric| metric.name) {
        assert!(text.contains(&format!("{name}_bucket")), "{name} has no histogram: {text}");
    }
}

#[test]
fn the_metrics_are_those_of_the_documentation_and_named_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let operations = fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let listed: Vec<&str> = operations.lines().filter(|line| line.starts_with("| `discussions_")).collect();
    let row = |metric: &metrics::Description| {
        format!("| `{}` | {} | {} |", metric.name, metric.kind.to_lowercase(), metric.text)
    };
    assert_eq!(listed, metrics::ALL.iter().map(row).collect::<Vec<_>>());
    // An alarm for a metric that does not exist never comes.
    let words = operations.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    for name in words.filter(|word| word.starts_with("discussions_")) {
        assert!(metrics::ALL.iter().any(|metric| metric.name == name), "docs/operations.md: {name}");
    }

    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("metrics.rs") {
                let source = fs::read_to_string(&path).unwrap();
                let is_metric = |name: &str| source.contains(&format!("\"{name}\""));
                let literal = metrics::ALL.iter().find(|metric| is_metric(metric.name));
                assert_eq!(literal, None, "{}", path.display());
                for call in ["counter!(", "gauge!(", "histogram!("] {
                    assert!(!source.contains(call), "{} has {call}", path.display());
                }
            }
        }
    }
}
