//! What stands in the log.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor;
use tracing::subscriber::DefaultGuard;

use crate::app::{Client, TestApp};

/// The log of this test's thread, which everything of its application runs on.
pub struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _while_alive: DefaultGuard,
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Keeps all that is logged from now on.
    pub fn capture() -> Self {
        let text = Arc::default();
        let writer = Writer(Arc::clone(&text));
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        Self { text, _while_alive: tracing::subscriber::set_default(subscriber) }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }

    /// The lines of the request with this id.
    fn of_request(&self, id: &str) -> Vec<Value> {
        let lines = self.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
        lines.into_iter().filter(|line| line["message"] == "answered" && line["span"]["id"] == id).collect()
    }

    /// The one line of the request with this id.
    #[track_caller]
    fn of_answer(&self, id: &str) -> Value {
        let lines = self.of_request(id);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.into_iter().next().unwrap()
    }
}

async fn send(client: &Client, id: &str, method: Method, path: &str, body: Option<Value>) -> u16 {
    let request = client.request(method, path).header("x-request-id", id);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    client.send(request).await.status
}

#[tokio::test]
async fn each_request_has_one_line_with_the_time_of_the_database_in_it() {
    let log = Log::capture();
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let path = format!("/discussions/{}", discussion["id"]);

    send(&ada, "nothing-asked", Method::GET, "/health/live", None).await;
    let line = log.of_answer("nothing-asked");
    assert_eq!((&line["status"], &line["db_statements"]), (&json!(200), &json!(0)));
    assert_eq!(line["db_milliseconds"].as_f64(), Some(0.0));

    send(&ada, "a-list", Method::GET, &format!("/articles/{article}/discussions"), None).await;
    // A request that writes runs on a task of its own.
    send(&ada, "a-write", Method::POST, &format!("{path}/comments"), Some(json!({ "text": "Nice" }))).await;
    send(&ada, "a-transaction", Method::PATCH, &path, Some(json!({ "topic": "Power" }))).await;
    for (id, status, method) in [("a-list", 200, "GET"), ("a-write", 201, "POST"), ("a-transaction", 200, "PATCH")] {
        let line = log.of_answer(id);
        assert_eq!((&line["status"], &line["span"]["method"]), (&json!(status), &json!(method)), "{line}");
        assert!(line["span"]["route"].as_str().unwrap().starts_with('/'), "{line}");
        let (all, db) = (line["milliseconds"].as_f64().unwrap(), line["db_milliseconds"].as_f64().unwrap());
        assert!(0.0 < db && db < all, "{line}");
        assert!(line["db_statements"].as_u64().unwrap() >= 1, "{line}");
    }
    // The check, BEGIN, the statement and COMMIT.
    assert!(log.of_answer("a-transaction")["db_statements"].as_u64().unwrap() > 2);
}

#[tokio::test]
async fn a_wait_for_the_database_stands_in_the_line_whether_it_ends_or_not() {
    let log = Log::capture();
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let path = format!("/discussions/{}", discussion["id"]);

    let mut holding = app.pool.begin().await.unwrap();
    holding.execute("lock table discussions in access exclusive mode").await.unwrap();
    let read = send(&ada, "a-read", Method::GET, &path, None);
    let write = send(&ada, "a-write", Method::PATCH, &path, Some(json!({ "topic": "Power" })));
    assert_eq!(tokio::join!(read, write), (503, 503));
    for id in ["a-read", "a-write"] {
        let line = log.of_answer(id);
        let others = line["milliseconds"].as_f64().unwrap() - line["db_milliseconds"].as_f64().unwrap();
        assert!(Duration::from_secs_f64(others / 1e3) < Duration::from_secs(1), "{line}");
        assert!(line["db_statements"].as_u64().unwrap() >= 1, "{line}");
    }
    holding.rollback().await.unwrap();
    app.settled().await;
}
