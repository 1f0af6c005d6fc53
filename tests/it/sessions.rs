//! When browser sessions end, and what of them is kept. `authentication.rs` tests what a session is.

use std::time::Duration;

use discussions::config::{Config, JwtAlgorithm};
use reqwest::{Method, header};
use serde_json::{Value, json};
use sqlx::Executor;
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    app::{Answer, ArticleId, Client, CommunityId, PAGE, PATIENCE, Queue, SECRET, TestApp, UserId, types},
    redis::TestRedis,
};

/// Within this time every node knows of the end of a session.
const PROMISED: Duration = Duration::from_secs(2);

/// A browser, at one of the nodes.
#[derive(Clone)]
struct Browser {
    anyone: Client,
    cookie: String,
}

impl Browser {
    /// Signs in with the client's token.
    async fn of(app: &TestApp, client: &Client) -> Self {
        Self { anyone: app.anonymous(), cookie: client.session_cookie().await }
    }

    /// The same browser, at another node.
    fn at(&self, app: &TestApp) -> Self {
        Self { anyone: app.anonymous(), cookie: self.cookie.clone() }
    }

    async fn send(&self, method: Method, path: &str) -> Answer {
        let request = self.anyone.request(method, path).header(header::COOKIE, &self.cookie);
        self.anyone.send(request.header(header::ORIGIN, PAGE)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    async fn is_signed_out(&self) {
        self.get("/session").await.refused(401, "token_missing");
    }

    async fn is_signed_in(&self) {
        self.get("/session").await.expect(200);
    }

    /// A poll of the queue that waits for up to `timeout` seconds.
    async fn poll(&self, queue: &Queue, timeout: u32) -> Answer {
        self.get(&format!("/poll?queue_id={}&last_event_id={}&timeout={timeout}", queue.id, queue.cursor)).await
    }

    /// Starts a poll and returns once it is parked.
    async fn park(&self, app: &TestApp, queue: &Queue) -> JoinHandle<Answer> {
        let before = app.state.realtime.hub.stats().parked;
        let (browser, queue) = (self.clone(), queue.clone());
        let parked = tokio::spawn(async move { browser.poll(&queue, 30).await });
        app.until(|| app.state.realtime.hub.stats().parked > before).await;
        parked
    }
}

/// Two nodes on one database.
struct Nodes {
    a: TestApp,
    b: TestApp,
    community: CommunityId,
    article: ArticleId,
    ada: UserId,
}

impl Nodes {
    async fn start(redis: Option<&TestRedis>) -> Self {
        let set = |config: &mut Config| {
            if let Some(redis) = redis {
                config.redis_url = Some(redis.url().into());
                config.redis_prefix.clone_from(&redis.prefix);
            }
        };
        let a = TestApp::start_with(set).await;
        let b = TestApp::on(a.database.clone(), set).await;
        let community = a.community("private").await;
        let article = a.article(&[community]).await;
        let ada = a.member("ada", community).await.user;
        a.settled().await;
        b.settled().await;
        Self { a, b, community, article, ada }
    }

    /// A new session, which has just been in use at both nodes, so that both have it in their caches.
    async fn sign_in(&self) -> Browser {
        let browser = Browser::of(&self.a, &self.a.client(self.ada)).await;
        for app in [&self.a, &self.b] {
            browser.at(app).is_signed_in().await;
        }
        browser
    }

    /// Ada's own queue at each node, up to date.
    async fn queues(&self) -> [Queue; 2] {
        [self.a.client(self.ada).register().await, self.b.client(self.ada).register().await]
    }

    /// Parks polls by the session at both nodes.
    async fn park(&self, browser: &Browser, queues: &[Queue; 2]) -> [JoinHandle<Answer>; 2] {
        [browser.park(&self.a, &queues[0]).await, browser.at(&self.b).park(&self.b, &queues[1]).await]
    }

    /// Writes something that Ada may see.
    async fn write(&self) {
        self.a.client(self.ada).discussion(self.article, self.community, "Sample size").await;
    }
}

/// Checks that parked polls end, and soon, since their session does.
async fn end(parked: [JoinHandle<Answer>; 2], since: Instant) {
    for poll in parked {
        let answer = tokio::time::timeout(PATIENCE, poll).await.expect("it ends in time").unwrap();
        answer.refused(401, "token_missing");
        assert!(since.elapsed() < PROMISED, "{:?}", since.elapsed());
    }
}

/// Checks that the session opens nothing at either node.
async fn is_refused_everywhere(nodes: &Nodes, browser: &Browser, queues: &[Queue; 2]) {
    for (app, queue) in [(&nodes.a, &queues[0]), (&nodes.b, &queues[1])] {
        let browser = browser.at(app);
        browser.is_signed_out().await;
        browser.poll(queue, 0).await.refused(401, "token_missing");
        for (method, path) in [
            (Method::POST, "/register".to_owned()),
            (Method::POST, "/heartbeat".to_owned()),
            (Method::POST, format!("/queues/{}/close", queue.id)),
            (Method::DELETE, format!("/queues/{}", queue.id)),
            (Method::GET, format!("/articles/{}/discussions?community_id={}", nodes.article, nodes.community)),
            (Method::POST, "/articles/1/discussions".to_owned()),
            (Method::POST, "/discussions/1/comments".to_owned()),
            (Method::PATCH, "/discussions/1".to_owned()),
            (Method::DELETE, "/comments/1".to_owned()),
        ] {
            let answer = browser.send(method.clone(), &path).await;
            assert_eq!((answer.status, &answer.body["code"]), (401, &json!("token_missing")), "{method} {path}");
        }
    }
}

async fn a_log_out_ends_its_session_alone(redis: Option<TestRedis>) {
    let nodes = Nodes::start(redis.as_ref()).await;
    let (browser, other) = (nodes.sign_in().await, nodes.sign_in().await);
    let (queues, of_other, of_token) = (nodes.queues().await, nodes.queues().await, nodes.queues().await);
    let parked = nodes.park(&browser, &queues).await;
    let others = nodes.park(&other, &of_other).await;
    let by_token = [of_token[0].park(&nodes.a).await, of_token[1].park(&nodes.b).await];

    let since = Instant::now();
    browser.send(Method::DELETE, "/session").await.expect(204);
    end(parked, since).await;
    is_refused_everywhere(&nodes, &browser, &queues).await;
    // The user's other session and their token are still good.
    for poll in others.iter().chain(&by_token) {
        assert!(!poll.is_finished());
    }
    nodes.write().await;
    for poll in others.into_iter().chain(by_token) {
        let answer = poll.await.unwrap().expect(200);
        assert_eq!(types(answer["events"].as_array().unwrap()), ["new_discussion"]);
    }
    other.is_signed_in().await;
}

#[tokio::test]
async fn a_log_out_ends_parked_polls_and_all_requests_at_every_node() {
    a_log_out_ends_its_session_alone(None).await;
}

#[tokio::test]
async fn a_log_out_ends_parked_polls_and_all_requests_at_every_node_with_redis() {
    a_log_out_ends_its_session_alone(Some(TestRedis::start().await)).await;
}

#[tokio::test]
async fn a_log_out_everywhere_ends_all_sessions_of_the_user_and_of_nobody_else() {
    let nodes = Nodes::start(None).await;
    let (first, second) = (nodes.sign_in().await, nodes.sign_in().await);
    let grace = nodes.a.member("grace", nodes.community).await;
    nodes.a.settled().await;
    nodes.b.settled().await;
    let of_grace = Browser::of(&nodes.a, &grace).await;
    let (queues, more) = (nodes.queues().await, nodes.queues().await);
    let (parked, more_parked) = (nodes.park(&first, &queues).await, nodes.park(&second, &more).await);
    let others = of_grace.park(&nodes.a, &grace.register().await).await;

    // It needs a user, and a request by cookie an origin.
    nodes.a.anonymous().delete("/session?everywhere=true").await.refused(401, "token_missing");
    let no_origin = first.anyone.request(Method::DELETE, "/session?everywhere=true").header("cookie", &first.cookie);
    first.anyone.send(no_origin).await.refused(403, "origin_not_allowed");
    first.anyone.delete("/session?everywhere=perhaps").await.refused(400, "invalid_parameter");
    first.is_signed_in().await;

    let since = Instant::now();
    let answer = first.send(Method::DELETE, "/session?everywhere=true").await;
    assert!(answer.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    answer.expect(204);
    end(parked, since).await;
    end(more_parked, since).await;
    for (browser, queues) in [(&first, &queues), (&second, &more)] {
        is_refused_everywhere(&nodes, browser, queues).await;
    }
    assert!(!others.is_finished());
    of_grace.is_signed_in().await;

    // A token does it too. A session that begins at once is not ended by the event of those before it.
    let ada = nodes.a.client(nodes.ada);
    let third = nodes.sign_in().await;
    ada.delete("/session?everywhere=true").await.expect(204);
    let fourth = Browser::of(&nodes.a, &ada).await;
    let queue = ada.register().await;
    let poll = fourth.park(&nodes.a, &queue).await;
    third.is_signed_out().await;
    nodes.a.settled().await;
    nodes.write().await;
    poll.await.unwrap().expect(200);
    others.await.unwrap().expect(200);
}

/// A node that loses its connections at the moment of the log-out still learns of it.
#[tokio::test]
async fn a_log_out_is_not_lost_with_the_connections_of_a_node() {
    let nodes = Nodes::start(None).await;
    let (browser, queues) = (nodes.sign_in().await, nodes.queues().await);
    let parked = nodes.park(&browser, &queues).await;
    // By another program, in one transaction with the end of all connections of the nodes: nobody listens to its notification.
    let mut transaction = nodes.a.pool.begin().await.unwrap();
    transaction.execute("delete from sessions").await.unwrap();
    transaction
        .execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity
             where datname = current_database() and application_name like 'discussions%' and pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    for poll in parked {
        tokio::time::timeout(PATIENCE, poll).await.expect("it ends in time").unwrap().refused(401, "token_missing");
    }
    is_refused_everywhere(&nodes, &browser, &queues).await;
}

#[tokio::test]
async fn a_log_out_is_not_lost_with_redis() {
    let mut redis = TestRedis::start().await;
    let nodes = Nodes::start(Some(&redis)).await;
    let (browser, queues) = (nodes.sign_in().await, nodes.queues().await);
    let parked = nodes.park(&browser, &queues).await;
    redis.kill();
    browser.send(Method::DELETE, "/session").await.expect(204);
    for poll in parked {
        tokio::time::timeout(PATIENCE, poll).await.expect("it ends in time").unwrap().refused(401, "token_missing");
    }
}

/// No event that comes after the log-out reaches a poll of the session, even if the node hears of both at once.
#[tokio::test]
async fn a_session_gets_nothing_that_is_written_after_its_end() {
    let nodes = Nodes::start(None).await;
    let (browser, queues) = (nodes.sign_in().await, nodes.queues().await);
    let parked = nodes.park(&browser, &queues).await;
    nodes
        .a
        .sql(&format!(
            "begin; delete from sessions;
             insert into outbox (community_id, type, payload)
             values ({0}, 'new_comment', json_build_object('type', 'new_comment', 'community_id', {0}));
             commit",
            nodes.community
        ))
        .await;
    end(parked, Instant::now()).await;
}

#[tokio::test]
async fn the_end_of_an_account_ends_its_sessions_for_good() {
    let nodes = Nodes::start(None).await;
    let (browser, queues) = (nodes.sign_in().await, nodes.queues().await);
    let parked = nodes.park(&browser, &queues).await;
    nodes.a.sql("update users set is_active = false where username = 'ada'").await;
    for poll in parked {
        // The account's queues end as well, a moment before its sessions.
        tokio::time::timeout(PATIENCE, poll).await.unwrap().unwrap().refused(404, "queue_not_found");
    }
    nodes.a.client(nodes.ada).post("/session", json!({})).await.refused(401, "token_invalid");
    nodes.a.sql("update users set is_active = true where username = 'ada'").await;
    nodes.a.settled().await;
    nodes.b.settled().await;
    is_refused_everywhere(&nodes, &browser, &nodes.queues().await).await;
    nodes.sign_in().await;

    for sql in ["delete from users where username = 'ada'", "truncate users cascade"] {
        nodes
            .a
            .sql("insert into users (id, username) overriding system value values (99, 'lin') on conflict do nothing")
            .await;
        Browser::of(&nodes.a, &nodes.a.client(99)).await;
        nodes.a.sql(&sql.replace("ada", "lin")).await;
        let left: i64 = sqlx::query_scalar("select count(*) from sessions where user_id = 99")
            .fetch_one(&nodes.a.pool)
            .await
            .unwrap();
        assert_eq!(left, 0, "{sql}");
    }
}

/// A sign-in that is under way when the account ends leaves no session.
#[tokio::test]
async fn a_sign_in_waits_for_an_end_of_the_account_that_is_under_way() {
    let app = TestApp::start().await;
    let ada = app.client(app.user("ada").await);
    let mut ending = app.pool.begin().await.unwrap();
    ending.execute("update users set is_active = false").await.unwrap();
    let signing_in = tokio::spawn(async move { ada.post("/session", json!({})).await });
    let is_waiting = async || {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&app.pool)
        .await
        .unwrap();
        waiting > 0
    };
    let waiting = async {
        while !is_waiting().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the sign-in waits");
    ending.commit().await.unwrap();
    signing_in.await.unwrap().refused(401, "token_invalid");
    app.sql("update users set is_active = true").await;
    let left: i64 = sqlx::query_scalar("select count(*) from sessions").fetch_one(&app.pool).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_the_database_keeps_of_a_session_lets_nobody_in() {
    let app = TestApp::start().await;
    let ada = app.client(app.user("ada").await);
    let (browser, ended) = (Browser::of(&app, &ada).await, Browser::of(&app, &ada).await);
    ended.send(Method::DELETE, "/session").await.expect(204);
    app.settled().await;
    // Everything that a reader of the database finds.
    let mut kept: Vec<String> = Vec::new();
    for table in ["sessions", "outbox", "users"] {
        let rows: Vec<String> = sqlx::query_scalar(&format!("select row_to_json({table})::text from {table}"))
            .fetch_all(&app.pool)
            .await
            .unwrap();
        assert!(!rows.is_empty(), "{table}");
        kept.extend(rows);
    }
    for cookie in [&browser.cookie, &ended.cookie] {
        let secret = cookie.split_once('=').unwrap().1;
        assert!(secret.len() >= 40, "{secret}");
        assert!(!kept.iter().any(|row| row.contains(secret)));
    }
    assert!(!kept.iter().any(|row| row.contains(SECRET)), "nor is the secret of tokens there");

    // The hash in any form is no cookie.
    let id: String = sqlx::query_scalar("select id from sessions").fetch_one(&app.pool).await.unwrap();
    for value in [&id, &id[..43], &id[21..], &id[..22]] {
        let cookie = format!("discussions_session={value}");
        Browser { cookie, ..browser.clone() }.is_signed_out().await;
    }
    browser.is_signed_in().await;
}

/// A restart with other keys.
async fn restarted(app: TestApp, change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::on(app.stop().await, change).await
}

#[tokio::test]
async fn a_session_is_valid_as_long_as_the_secret_that_vouched_for_it_is() {
    // Without commas, which separate the secrets of a list.
    let (old, other) =
        ("an old secret of the tests with enough bytes", "another secret of the tests with enough bytes");
    let with = |secrets: String| move |config: &mut Config| config.jwt.jwt_secret = Some(secrets.into());
    let by = |app: &TestApp, user: UserId, secret: &str| {
        app.bearer(user, discussions::auth::jwt::mint(secret, user.into(), None, 60).unwrap())
    };
    let app = TestApp::start_with(with(old.to_owned())).await;
    let ada = app.user("ada").await;
    let browser = Browser::of(&app, &by(&app, ada, old)).await;

    for (secrets, is_valid) in [
        (format!("{other},{old}"), true),
        (other.to_owned(), false),
        (format!("{other},{other} and more"), false),
        (format!("{old},{other}"), true),
    ] {
        let app = TestApp::on(app.database.clone(), with(secrets.clone())).await;
        let at_it = browser.at(&app);
        let queue = Queue {
            client: app.anonymous(),
            id: uuid::Uuid::new_v4().to_string(),
            cursor: 0,
            has_notifications: false,
        };
        if is_valid {
            at_it.is_signed_in().await;
            at_it.poll(&queue, 0).await.refused(404, "queue_not_found");
        } else {
            at_it.is_signed_out().await;
            at_it.poll(&queue, 0).await.refused(401, "token_missing");
        }
    }

    // With two secrets, a session belongs to the one that signed its token, and not to the first.
    let both = restarted(app, with(format!("{other},{old}"))).await;
    let (by_old, by_new) = (by(&both, ada, old), by(&both, ada, other));
    let (by_old, by_new) = (Browser::of(&both, &by_old).await, Browser::of(&both, &by_new).await);
    let new = restarted(both, with(other.to_owned())).await;
    by_old.at(&new).is_signed_out().await;
    by_new.at(&new).is_signed_in().await;
}

#[tokio::test]
async fn a_session_ends_with_the_public_key_that_vouched_for_it() {
    fn with(algorithm: JwtAlgorithm, key: &str) -> impl FnOnce(&mut Config) + use<'_> {
        move |config| {
            (config.jwt.jwt_algorithm, config.jwt.jwt_public_key) = (algorithm, Some(key.to_owned()));
        }
    }
    let ed = include_str!("keys/ed.pub");
    let app = TestApp::start_with(with(JwtAlgorithm::EdDsa, ed)).await;
    let user = app.user("ada").await;
    let exp = chrono::Utc::now().timestamp() + 60;
    let token = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA),
        &json!({ "token_type": "access", "user_id": user, "exp": exp }),
        &jsonwebtoken::EncodingKey::from_ed_pem(include_bytes!("keys/ed.pem")).unwrap(),
    );
    let browser = Browser::of(&app, &app.bearer(user, token.unwrap())).await;
    // The same key in one line, as environment variables have it.
    let in_one_line = ed.trim().replace('\n', "\\n");
    let app = restarted(app, with(JwtAlgorithm::EdDsa, &in_one_line)).await;
    browser.at(&app).is_signed_in().await;
    let app = restarted(app, with(JwtAlgorithm::Es256, include_str!("keys/ec.pub"))).await;
    browser.at(&app).is_signed_out().await;
    let app = restarted(app, |_| {}).await;
    browser.at(&app).is_signed_out().await;
}

#[tokio::test]
async fn a_session_has_the_life_of_the_setting_and_not_that_of_its_token() {
    let app = TestApp::start_with(|config| config.session_ttl_seconds = 3_600).await;
    let community = app.community("private").await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let short = discussions::auth::jwt::mint(SECRET, ada.user.into(), None, 2).unwrap();
    let answer = app.bearer(ada.user, short).post("/session", json!({})).await;
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("; Max-Age=3600"), "{cookie}");
    let browser = Browser { anyone: app.anonymous(), cookie: cookie.split(';').next().unwrap().to_owned() };
    let left: f64 = sqlx::query_scalar("select extract(epoch from expires_at - now())::float8 from sessions")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!((3_590.0..=3_600.0).contains(&left), "{left}");
    browser.is_signed_in().await;
    // Its use does not prolong it.
    let still: bool = sqlx::query_scalar("select expires_at < now() + interval '1 hour' from sessions")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!(still);

    // The database's clock decides. A poll waits no longer than the session lives.
    let queue = ada.register().await;
    app.sql("update sessions set expires_at = now() + interval '2 seconds'").await;
    browser.is_signed_in().await;
    let since = Instant::now();
    assert_eq!(browser.poll(&queue, 30).await.expect(200)["events"], json!([]));
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    app.sql("update sessions set expires_at = now()").await;
    browser.is_signed_out().await;
    browser.poll(&queue, 30).await.refused(401, "token_missing");

    // The housekeeping deletes it, and so it does the rows of older releases. No node needs to hear of either.
    app.sql("insert into sessions (id, data, expires_at) values ('older', '{}', now() + interval '7 days')").await;
    app.state.auth.sessions.purge().await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from sessions").fetch_one(&app.pool).await.unwrap();
    let told: i64 = sqlx::query_scalar("select count(*) from outbox where type = 'sessions_ended'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!((left, told), (0, 0));
}

#[tokio::test]
async fn the_oldest_of_too_many_sessions_ends_for_a_new_one() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let (first, second) = (Browser::of(&app, &ada).await, Browser::of(&app, &ada).await);
    let queue = ada.register().await;
    let parked = first.park(&app, &queue).await;
    for _ in 2..100 {
        Browser::of(&app, &ada).await;
    }
    assert!(!parked.is_finished());
    first.is_signed_in().await;
    // A browser that signs in again replaces its own session only.
    let again = ada.request(Method::POST, "/session").header(header::COOKIE, &second.cookie);
    ada.send(again).await.expect(200);
    second.is_signed_out().await;
    first.is_signed_in().await;
    Browser::of(&app, &ada).await;
    parked.await.unwrap().refused(401, "token_missing");
    first.is_signed_out().await;
    let left: i64 = sqlx::query_scalar("select count(*) from sessions").fetch_one(&app.pool).await.unwrap();
    assert_eq!(left, 100);
}

#[tokio::test]
async fn both_cookies_are_for_https_only_if_the_settings_say_so() {
    for (setting, is_secure) in [(None, false), (Some(true), true)] {
        let app = TestApp::start_with(|config| config.session_cookie_secure = setting).await;
        let ada = app.client(app.user("ada").await);
        let begun = ada.post("/session", json!({})).await.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
        let browser = Browser { anyone: app.anonymous(), cookie: begun.split(';').next().unwrap().to_owned() };
        let ended = browser.send(Method::DELETE, "/session").await.headers[header::SET_COOKIE].clone();
        for cookie in [begun.as_str(), ended.to_str().unwrap()] {
            let attributes: Vec<&str> = cookie.split("; ").skip(1).collect();
            assert_eq!(attributes.contains(&"Secure"), is_secure, "{setting:?}: {cookie}");
            assert!(["HttpOnly", "SameSite=Lax", "Path=/"].iter().all(|it| attributes.contains(it)), "{cookie}");
        }
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_written_is_an_error_like_any_other() {
    let app = TestApp::start().await;
    let ada = app.client(app.user("ada").await);
    let browser = Browser::of(&app, &ada).await;
    let fails_with = async |code: &str| {
        app.sql(&format!(
            "create or replace function fail() returns trigger language plpgsql as
                 $$ begin raise exception 'no session today' using errcode = '{code}'; end $$;
             create or replace trigger fail before insert or delete on sessions for each row execute function fail()"
        ))
        .await;
    };
    for (code, status, answer) in [("57P01", 503, "unavailable"), ("P0001", 500, "internal")] {
        fails_with(code).await;
        for failed in [
            ada.post("/session", json!({})).await,
            browser.send(Method::DELETE, "/session").await,
            browser.send(Method::DELETE, "/session?everywhere=true").await,
        ] {
            assert_eq!(failed.headers.get(header::SET_COOKIE), None);
            assert_eq!(failed.headers[header::CACHE_CONTROL], "no-store");
            let body: Value = failed.refused(status, answer);
            assert!(!body.to_string().contains("today"), "{body}");
        }
    }
    app.sql("drop trigger fail on sessions").await;
    browser.is_signed_in().await;
}
