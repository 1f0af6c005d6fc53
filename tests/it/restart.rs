//! The program itself, killed or asked to end.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{Client, PATIENCE, Queue, SECRET, TestDatabase, types};

/// A running process of the program.
struct Server {
    process: Child,
    addr: SocketAddr,
    metrics: SocketAddr,
}

impl Server {
    /// Starts it at any free port and waits until it serves.
    fn start(database: &TestDatabase) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_discussions"))
            .arg("serve")
            .env_clear()
            .env("DATABASE_URL", &database.url)
            .env("JWT_SECRET", SECRET)
            .env("BIND_ADDR", "127.0.0.1:0")
            .env("METRICS_ADDR", "127.0.0.1:0")
            .env("WRITES_PER_MINUTE", "0")
            .env("DATABASE_CONNECTIONS", "8")
            .env("LOG_FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (said, serving) = mpsc::channel();
        // Read to the end, because a full pipe would stop the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == "serving" {
                    let addr = |name: &str| line[name].as_str().unwrap().parse::<SocketAddr>().unwrap();
                    let _ = said.send((addr("addr"), addr("metrics")));
                }
            }
        });
        let (addr, metrics) = serving.recv_timeout(PATIENCE).expect("the server starts in time");
        Self { process, addr, metrics }
    }

    /// Kills it (SIGKILL) and waits until it is dead.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits until `count` polls are parked.
    async fn parked(&self, count: usize) {
        let line = format!("discussions_parked_polls {count}");
        let waiting = async {
            loop {
                let metrics =
                    reqwest::get(format!("http://{}/metrics", self.metrics)).await.unwrap().text().await.unwrap();
                if metrics.lines().any(|one| one == line) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the polls are parked in time");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A member of a community with a discussion.
struct Fixture {
    database: TestDatabase,
    pool: PgPool,
    server: Server,
    ada: Client,
    community: i64,
    discussion: Value,
}

impl Fixture {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let server = Server::start(&database);
        let pool = PgPool::connect(&database.url).await.unwrap();
        sqlx::raw_sql(
            "insert into users (id, username) values (1, 'ada');
             insert into communities (id, name, slug, kind) values (1, 'Biology', 'biology', 'private');
             insert into articles (id, title, slug) values (1, 'Cells', 'cells');
             insert into community_articles (community_id, article_id) values (1, 1);
             insert into memberships (user_id, community_id, role) values (1, 1, 'member')",
        )
        .execute(&pool)
        .await
        .unwrap();
        let ada = Client::at(server.addr, 1);
        // Wait until the server delivers its event, so that queues get only later events.
        let mut queue = ada.register().await;
        let discussion = ada.discussion(1, 1, "Sample size").await;
        queue.events(1).await;
        Self { database, pool, server, ada, community: 1, discussion }
    }

    /// Starts a new process. It has another port: the old one may be taken by now.
    fn start_again(&mut self) {
        self.server = Server::start(&self.database);
        self.ada = Client::at(self.server.addr, 1);
    }

    /// Replaces a queue that a restart ended by a new one.
    async fn instead(&self, old: &Queue) -> Queue {
        let old = Queue { client: self.ada.clone(), ..old.clone() };
        old.poll_raw(0.0).await.refused(404, "queue_not_found");
        Queue { cursor: old.cursor, ..self.ada.register().await }
    }
}

fn comments(events: &[Value]) -> Vec<i64> {
    events.iter().filter_map(|event| event["comment_id"].as_i64()).collect()
}

#[tokio::test]
async fn a_client_misses_nothing_by_a_kill_between_its_polls() {
    let mut fixture = Fixture::new().await;
    let mut queue = fixture.ada.register().await;
    let first = fixture.ada.comment(&fixture.discussion, "Before").await;
    assert_eq!(comments(&queue.events(1).await), [first["id"].as_i64().unwrap()]);
    let second = fixture.ada.comment(&fixture.discussion, "Just before").await;
    fixture.server.kill();
    // Other programs write while the server is down.
    crate::delivery::insert_events(&fixture.pool, fixture.community, 3).await;
    fixture.start_again();
    let mut queue = fixture.instead(&queue).await;
    let events = queue.events(4).await;
    assert_eq!(types(&events), ["new_comment", "new_discussion", "new_discussion", "new_discussion"]);
    assert_eq!(comments(&events), [second["id"].as_i64().unwrap()]);
    assert_eq!(queue.now().await, [] as [Value; 0]);
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_delivered_once_after_it() {
    let mut fixture = Fixture::new().await;
    let mut queue = fixture.ada.register().await;
    let (mut acknowledged, mut delivered, mut last) = (Vec::new(), Vec::new(), None);
    for round in 0..3 {
        let parked = {
            let queue = queue.clone();
            // The poll may be answered or killed. In both cases the cursor stays.
            tokio::spawn(async move { queue.client.request(reqwest::Method::GET, &path(&queue)).send().await.is_ok() })
        };
        fixture.server.parked(1).await;
        let killed = CancellationToken::new();
        let mut writers = JoinSet::new();
        for _ in 0..4 {
            let killed = killed.clone();
            let (ada, discussion) = (fixture.ada.clone(), fixture.discussion.clone());
            writers.spawn(async move {
                let mut written = Vec::new();
                while !killed.is_cancelled() {
                    let path = format!("/discussions/{}/comments", discussion["id"]);
                    let request = ada.request(reqwest::Method::POST, &path).json(&json!({ "text": "Still there?" }));
                    let Ok(answer) = request.send().await else { return written };
                    let Ok(comment) = answer.json::<Value>().await else { return written };
                    written.push(comment["id"].as_i64().unwrap());
                }
                written
            });
        }
        // Kill it as soon as some comments are written.
        let begun = async {
            let written = 10 * (round + 1);
            while sqlx::query_scalar::<_, i64>("select count(*) from comments").fetch_one(&fixture.pool).await.unwrap()
                < written
            {}
        };
        tokio::time::timeout(PATIENCE, begun).await.expect("comments are written in time");
        fixture.server.kill();
        killed.cancel();
        fixture.start_again();
        while let Some(written) = writers.join_next().await {
            acknowledged.extend(written.unwrap());
        }
        parked.await.unwrap();
        queue = fixture.instead(&queue).await;
        let kept: i64 = sqlx::query_scalar("select count(*) from comments").fetch_one(&fixture.pool).await.unwrap();
        while (delivered.len() as i64) < kept {
            let events = queue.poll(5.0).await;
            for event in &events {
                let event_id = event["event_id"].as_i64().unwrap();
                assert!(last.replace(event_id).is_none_or(|last| last + 1 == event_id), "in order, none left out");
            }
            delivered.extend(comments(&events));
        }
    }
    assert!(acknowledged.len() >= 20);
    let mut distinct = delivered.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), delivered.len(), "none twice");
    assert!(acknowledged.iter().all(|comment| distinct.binary_search(comment).is_ok()), "none lost");
    assert_eq!(queue.now().await, [] as [Value; 0]);
}

fn path(queue: &Queue) -> String {
    format!("/poll?queue_id={}&last_event_id={}&timeout=30", queue.id, queue.cursor)
}

#[tokio::test]
async fn sigterm_answers_parked_polls_and_ends_with_status_0() {
    let mut fixture = Fixture::new().await;
    let mut polls = JoinSet::new();
    for _ in 0..10 {
        let mut queue = fixture.ada.register().await;
        queue.now().await;
        polls.spawn(async move { queue.poll_raw(30.0).await });
    }
    fixture.server.parked(10).await;
    let start = Instant::now();
    let pid = fixture.server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    while let Some(poll) = polls.join_next().await {
        assert_eq!(poll.unwrap().expect(200)["events"], json!([]));
    }
    let ended = async {
        loop {
            if let Some(status) = fixture.server.process.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let status = tokio::time::timeout(PATIENCE, ended).await.expect("the process ends in time");
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
