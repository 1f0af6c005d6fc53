//! The application under test, with its own database, clients of all kinds, and queues that keep their cursor.
//!
//! A test reads as a story: `let ada = app.member("ada", community).await; ada.post(..).await.expect(201)`.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use discussions::{
    app::{self, Running},
    auth::jwt,
    config::Config,
    state::AppState,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Executor, PgPool, postgres::PgPoolOptions};

pub(crate) use crate::database::TestDatabase;

// Tests speak JSON and SQL, in which an id is its number.
pub(crate) type UserId = i64;
pub(crate) type CommunityId = i64;
pub(crate) type ArticleId = i64;
pub(crate) type EventId = i64;

/// The secret that signs the tokens of tests.
pub(crate) const SECRET: &str = "a secret of the tests, of enough bytes for HS256";
/// The origin of the front end, whose page may write by cookie.
pub(crate) const PAGE: &str = "http://127.0.0.1:3000";
/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running application with its own database.
pub(crate) struct TestApp {
    pub addr: SocketAddr,
    pub metrics_addr: SocketAddr,
    pub state: AppState,
    /// Connections of other programs, separate from the application's.
    pub pool: PgPool,
    http: reqwest::Client,
    /// HTTP connections that only poll. The server serves these without hyper.
    polls: reqwest::Client,
    running: Option<Running>,
    pub database: std::sync::Arc<TestDatabase>,
}

/// The settings of tests, before a test changes them.
pub(crate) fn config(database_url: &str) -> Config {
    let mut config = parse(&["test", "--database-url", database_url, "--jwt-secret", SECRET]);
    config.redis_url = None;
    config.bind_addr = "127.0.0.1:0".parse().unwrap();
    config.metrics_addr = "127.0.0.1:0".parse().unwrap();
    config.database_connections = 8;
    // Tests write faster than people.
    config.limits.writes_per_minute = 0;
    config.limits.votes_per_minute = 0;
    config.limits.registers_per_minute = 0;
    config.limits.anonymous_reads_per_minute = 0;
    config.limits.logins_per_minute = 0;
    // What the hashes of tests cost.
    config.login.django_password_rounds = 1_000;
    config
}

/// The settings that a command line gives.
pub(crate) fn parse(command_line: &[&str]) -> Config {
    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }
    Cli::parse_from(command_line).config
}

impl TestApp {
    /// Starts it with the default settings.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts it with settings that `change` has changed.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let database = std::sync::Arc::new(TestDatabase::create().await);
        Self::on(database, change).await
    }

    /// Starts it on an existing database, as a restart or another node does.
    pub(crate) async fn on(database: std::sync::Arc<TestDatabase>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&database.url);
        change(&mut config);
        let running = app::start(config, tokio::runtime::Handle::current()).await.unwrap();
        let pool = PgPoolOptions::new().max_connections(8).connect(&database.url).await.unwrap();
        Self {
            addr: running.addr,
            metrics_addr: running.metrics_addr,
            state: running.state.clone(),
            pool,
            http: reqwest::Client::builder().pool_max_idle_per_host(4).timeout(4 * PATIENCE).build().unwrap(),
            polls: reqwest::Client::builder().pool_max_idle_per_host(4).timeout(4 * PATIENCE).build().unwrap(),
            running: Some(running),
            database,
        }
    }

    /// Shuts it down as SIGTERM does, and waits for the end.
    pub(crate) async fn stop(mut self) -> std::sync::Arc<TestDatabase> {
        let running = self.running.take().unwrap();
        running.shutdown();
        running.ended().await.unwrap();
        self.pool.close().await;
        self.database.clone()
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.pool.execute(sqlx::raw_sql(sql)).await.unwrap();
    }

    pub(crate) async fn user(&self, name: &str) -> UserId {
        let id = sqlx::query_scalar("insert into users (username) values ($1) returning id").bind(name);
        id.fetch_one(&self.pool).await.unwrap()
    }

    /// `kind` is public, private or hidden.
    pub(crate) async fn community(&self, kind: &str) -> CommunityId {
        let id = sqlx::query_scalar("insert into communities (name, slug, kind) values ($1, $1, $1) returning id")
            .bind(kind);
        id.fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn article(&self, communities: &[CommunityId]) -> ArticleId {
        let id =
            sqlx::query_scalar("insert into articles (title, slug) values ('An article', 'an-article') returning id");
        let id: ArticleId = id.fetch_one(&self.pool).await.unwrap();
        for community in communities {
            let placement = sqlx::query("insert into community_articles (community_id, article_id) values ($1, $2)");
            placement.bind(community).bind(id).execute(&self.pool).await.unwrap();
        }
        id
    }

    pub(crate) async fn join(&self, user: UserId, community: CommunityId, role: &str) {
        sqlx::query(
            "insert into memberships (user_id, community_id, role) values ($1, $2, $3)
             on conflict (user_id, community_id) do update set role = excluded.role",
        )
        .bind(user)
        .bind(community)
        .bind(role)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    pub(crate) async fn leave(&self, user: UserId, community: CommunityId) {
        let gone = sqlx::query("delete from memberships where user_id = $1 and community_id = $2");
        gone.bind(user).bind(community).execute(&self.pool).await.unwrap();
    }

    /// A new member, with a bearer token.
    pub(crate) async fn member(&self, name: &str, community: CommunityId) -> Client {
        self.with_role(name, community, "member").await
    }

    pub(crate) async fn with_role(&self, name: &str, community: CommunityId, role: &str) -> Client {
        let user = self.user(name).await;
        self.join(user, community, role).await;
        self.client(user)
    }

    /// A user with a bearer token.
    pub(crate) fn client(&self, user: UserId) -> Client {
        self.bearer(user, jwt::mint(SECRET, user.into(), None, 3600).unwrap())
    }

    /// A user with a token narrowed to `communities`.
    pub(crate) fn narrow_client(&self, user: UserId, communities: &[CommunityId]) -> Client {
        self.bearer(
            user,
            jwt::mint(SECRET, user.into(), Some(communities.iter().copied().map(Into::into).collect()), 3600).unwrap(),
        )
    }

    /// A client that sends this bearer token.
    pub(crate) fn bearer(&self, user: UserId, token: String) -> Client {
        Client { user, token: Some(token), ..self.anonymous() }
    }

    /// A client with no token.
    pub(crate) fn anonymous(&self) -> Client {
        let (http, polls) = (self.http.clone(), self.polls.clone());
        Client { user: 0, token: None, base: format!("http://{}", self.addr), http, polls }
    }

    /// Waits until everything committed so far is numbered and at the hub. Returns the head.
    pub(crate) async fn settled(&self) -> EventId {
        let mut heads = self.state.realtime.hub.watch_head();
        let settled = async {
            loop {
                let row: (i64, i64) = sqlx::query_as(
                    "select last_assigned, (select count(*) from outbox where event_id is null) from event_head",
                )
                .fetch_one(&self.pool)
                .await
                .unwrap();
                if row.1 == 0 {
                    heads.wait_for(|head| head.get() >= row.0).await.unwrap();
                    return row.0;
                }
                // The relay's next step moves the head.
                let seen = *heads.borrow_and_update();
                let _ = tokio::time::timeout(Duration::from_millis(50), heads.wait_for(|head| *head > seen)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("the outbox is relayed in time")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.shutdown();
        }
    }
}

/// A user who sends requests.
#[derive(Clone)]
pub(crate) struct Client {
    pub user: UserId,
    pub token: Option<String>,
    base: String,
    http: reqwest::Client,
    polls: reqwest::Client,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    /// Checks the status and returns the body.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Checks that it is this error.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert!(self.body["message"].is_string());
        self.body
    }

    /// The cookie that the answer sets, as a browser sends it.
    #[track_caller]
    pub(crate) fn cookie(&self) -> String {
        let set = self.headers[reqwest::header::SET_COOKIE].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    }
}

impl Client {
    /// A user with a bearer token, at a server that this process did not start.
    pub(crate) fn at(addr: SocketAddr, user: UserId) -> Self {
        Self::below(addr, "", user)
    }

    /// The same, with all paths below `prefix`, as a proxy may have it.
    pub(crate) fn below(addr: SocketAddr, prefix: &str, user: UserId) -> Self {
        let token = jwt::mint(SECRET, user.into(), None, 3600).unwrap();
        Self {
            user,
            token: Some(token),
            base: format!("http://{addr}{prefix}"),
            http: reqwest::Client::builder().timeout(4 * PATIENCE).build().unwrap(),
            polls: reqwest::Client::builder().timeout(4 * PATIENCE).build().unwrap(),
        }
    }

    /// A request with the client's token.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let client = if path.starts_with("/poll?") { &self.polls } else { &self.http };
        let request = client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Begins a discussion and returns it.
    pub(crate) async fn discussion(&self, article: ArticleId, community: CommunityId, topic: &str) -> Value {
        let body = json!({ "community_id": community, "topic": topic, "text": "What do you think?" });
        self.post(&format!("/articles/{article}/discussions"), body).await.expect(201)
    }

    /// Writes a comment and returns it.
    pub(crate) async fn comment(&self, discussion: &Value, text: &str) -> Value {
        self.post(&format!("/discussions/{}/comments", discussion["id"]), json!({ "text": text })).await.expect(201)
    }

    /// Writes a reply and returns it.
    pub(crate) async fn reply(&self, parent: &Value, text: &str) -> Value {
        let body = json!({ "text": text, "parent_id": parent["id"] });
        self.post(&format!("/discussions/{}/comments", parent["discussion_id"]), body).await.expect(201)
    }

    /// Begins a browser's session and returns its cookie.
    pub(crate) async fn session_cookie(&self) -> String {
        let begun = self.post("/session", json!({})).await;
        let cookie = begun.cookie();
        begun.expect(200);
        cookie
    }

    /// Registers and returns the queue.
    pub(crate) async fn register(&self) -> Queue {
        let answer = self.post("/register", json!({})).await.expect(200);
        let id = answer["queue_id"].as_str().unwrap().to_owned();
        let cursor = answer["last_event_id"].as_i64().unwrap();
        Queue { client: self.clone(), id, cursor, has_notifications: false }
    }
}

/// A queue with its cursor.
///
/// Whoever writes a comment also causes notifications. Most tests are about other events, so a queue leaves the own events of
/// notifications out. A test that wants them asks for them by [`Queue::with_notifications`].
#[derive(Clone)]
pub(crate) struct Queue {
    pub client: Client,
    pub id: String,
    pub cursor: EventId,
    pub has_notifications: bool,
}

impl Queue {
    /// The queue with the own events of notifications.
    pub(crate) fn with_notifications(self) -> Self {
        Self { has_notifications: true, ..self }
    }

    /// The answer of one poll. Does not move the cursor. `timeout` is in seconds.
    pub(crate) async fn poll_raw(&self, timeout: f64) -> Answer {
        let path = format!("/poll?queue_id={}&last_event_id={}&timeout={timeout}", self.id, self.cursor);
        let mut answer = self.client.get(&path).await;
        if let Some(events) = answer.body.get_mut("events").and_then(Value::as_array_mut)
            && !self.has_notifications
        {
            let left_out = ["new_notification", "notifications_read", "notifications_withdrawn"];
            events.retain(|event| event["type"].as_str().is_none_or(|kind| !left_out.contains(&kind)));
        }
        answer
    }

    /// The events of one poll. Moves the cursor.
    pub(crate) async fn poll(&mut self, timeout: f64) -> Vec<Value> {
        let mut body = self.poll_raw(timeout).await.expect(200);
        assert_eq!(body.get("catchup_required"), None, "{body}");
        self.cursor = body["last_event_id"].as_i64().unwrap();
        match body["events"].take() {
            Value::Array(events) => events,
            other => panic!("events are {other}"),
        }
    }

    /// The events that are there now. Polls without waiting.
    pub(crate) async fn now(&mut self) -> Vec<Value> {
        self.poll(0.0).await
    }

    /// Polls until at least `count` events have come.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<Value> {
        let collecting = async {
            let mut events = Vec::new();
            while events.len() < count {
                events.extend(self.poll(5.0).await);
            }
            events
        };
        tokio::time::timeout(PATIENCE, collecting).await.expect("the events come in time")
    }

    /// Starts a poll and returns once it is parked.
    pub(crate) async fn park(&self, app: &TestApp) -> tokio::task::JoinHandle<Answer> {
        let before = app.state.realtime.hub.stats().parked;
        let queue = self.clone();
        let parked = tokio::spawn(async move { queue.poll_raw(30.0).await });
        app.until(|| app.state.realtime.hub.stats().parked > before).await;
        parked
    }

    pub(crate) async fn heartbeat(&self) -> Answer {
        self.client.post("/heartbeat", json!({ "queue_id": self.id })).await
    }
}

impl TestApp {
    /// Waits for a condition that another task makes true.
    pub(crate) async fn until(&self, condition: impl Fn() -> bool) {
        let waiting = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the condition comes true in time");
    }
}

/// The types of events, in order.
pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}
