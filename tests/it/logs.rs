//! The lines of the log.

use std::{cell::RefCell, io, sync::Once, time::Duration};

use discussions::db::BackgroundDb;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::Executor;
use tracing_subscriber::{filter::dynamic_filter_fn, prelude::*};

use crate::app::{Client, SECRET, TestApp};

thread_local! {
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The log of this test's thread, on which all of its application runs.
pub(crate) struct Log(());

/// Appends to the log of the thread, if it is recorded.
struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.as_mut().map_or(Ok(bytes.len()), |log| log.write(bytes)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Records all lines of this thread from now on.
    ///
    /// One subscriber serves all threads. With one for each thread, `tracing` would ask only the first thread whether a line is
    /// wanted, and use its answer for all threads.
    pub(crate) fn capture() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let is_kept = dynamic_filter_fn(|_, _| LOG.with_borrow(Option::is_some));
            let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(|| Writer);
            tracing_subscriber::registry().with(lines.with_filter(is_kept)).init();
        });
        LOG.set(Some(Vec::new()));
        Self(())
    }

    pub(crate) fn text(&self) -> String {
        LOG.with_borrow(|log| String::from_utf8(log.clone().unwrap()).unwrap())
    }

    /// The only line of the request with this id.
    #[track_caller]
    fn of_answer(&self, id: &str) -> Value {
        let lines = self.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
        let is_of_it = |line: &Value| line["message"] == "answered" && line["span"]["id"] == id;
        let lines: Vec<Value> = lines.into_iter().filter(is_of_it).collect();
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        line.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        LOG.set(None);
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
    // A request that writes runs on its own task.
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
    // The round trips are the check, BEGIN, the statement and COMMIT.
    assert!(log.of_answer("a-transaction")["db_statements"].as_u64().unwrap() > 2);
}

#[tokio::test]
async fn a_wait_for_the_database_is_in_the_line_even_if_it_does_not_end() {
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

#[tokio::test]
async fn no_secret_is_shown_by_the_settings_or_logged_at_the_start() {
    const PASSWORD: &str = "a-password-of-redis";
    let log = Log::capture();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // No server answers at that address, which is logged too.
    let redis_url = format!("redis://user:{PASSWORD}@{nobody}/0");
    let app = TestApp::start_with(|config| config.redis_url = Some(redis_url.as_str().into())).await;
    let command_line = ["test", "--database-url", &app.database.url, "--jwt-secret", SECRET, "--redis-url", &redis_url];
    let settings = crate::app::parse(&command_line);
    let background = BackgroundDb::new(discussions::db::options(&settings).unwrap());
    let shown = format!("{settings:?} {settings:#?} {background:?} {:?}", app.state.db);
    assert!(shown.contains("[REDACTED]"), "{shown}");
    assert_ne!(log.text(), "");
    let database_password = app.database.url.split('@').next().unwrap().rsplit(':').next().unwrap();
    for secret in [SECRET, PASSWORD, database_password, &app.database.url] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!log.text().contains(secret), "{}", log.text());
    }
    assert_eq!(
        settings.redis_url.as_ref().map(ExposeSecret::expose_secret),
        Some(redis_url.as_str()),
        "the program itself can read it"
    );
}
