//! The server refuses every call of a user who is deleted or not active, and ends their parked polls.

use std::time::Duration;

use reqwest::{Method, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    app::{Answer, ArticleId, Client, CommunityId, PAGE, PATIENCE, Queue, TestApp, types},
    redis::TestRedis,
};

const UNKNOWN_QUEUE: &str = "00000000-0000-4000-8000-000000000000";

/// A community in which Ada has written, and Grace, whose account will end.
struct Story {
    app: TestApp,
    community: CommunityId,
    article: ArticleId,
    discussion: Value,
    comment: Value,
    grace: Client,
    queue: Queue,
    cookie: String,
}

impl Story {
    async fn begin(kind: &str) -> Self {
        Self::at(TestApp::start().await, kind).await
    }

    async fn at(app: TestApp, kind: &str) -> Self {
        let community = app.community(kind).await;
        let article = app.article(&[community]).await;
        let ada = app.member("ada", community).await;
        let grace = app.member("grace", community).await;
        let discussion = ada.discussion(article, community, "Sample size").await;
        let comment = ada.comment(&discussion, "Nice").await;
        app.settled().await;
        let queue = grace.register().await;
        let cookie = grace.session_cookie().await;
        Self { app, community, article, discussion, comment, grace, queue, cookie }
    }

    /// Every call of the API, with the ids of existing things.
    fn calls(&self, queue: &str) -> Vec<(Method, String, Option<Value>)> {
        let (discussion, comment) = (&self.discussion["id"], &self.comment["id"]);
        let new = json!({ "community_id": self.community, "topic": "Power", "text": "Enough?" });
        let text = || Some(json!({ "text": "Mine" }));
        vec![
            (Method::GET, format!("/articles/{}/discussions", self.article), None),
            (Method::GET, format!("/articles/{}/discussions?community_id={}", self.article, self.community), None),
            (Method::GET, format!("/discussions/{discussion}"), None),
            (Method::GET, format!("/discussions/{discussion}/comments"), None),
            (Method::GET, format!("/comments/{comment}"), None),
            (Method::POST, format!("/articles/{}/discussions", self.article), Some(new)),
            (Method::PATCH, format!("/discussions/{discussion}"), text()),
            (Method::DELETE, format!("/discussions/{discussion}"), None),
            (Method::POST, format!("/discussions/{discussion}/comments"), text()),
            (Method::PATCH, format!("/comments/{comment}"), text()),
            (Method::DELETE, format!("/comments/{comment}"), None),
            (Method::POST, "/register".to_owned(), None),
            (Method::POST, "/heartbeat".to_owned(), Some(json!({ "queue_id": queue }))),
            (Method::GET, format!("/poll?queue_id={queue}&last_event_id=0&timeout=0"), None),
            (Method::DELETE, format!("/queues/{queue}"), None),
            (Method::POST, format!("/queues/{queue}/close"), None),
            (Method::GET, "/session".to_owned(), None),
        ]
    }

    async fn by_cookie(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let anyone = self.app.anonymous();
        let request = anyone.request(method, path).header(header::COOKIE, &self.cookie).header(header::ORIGIN, PAGE);
        anyone.send(if let Some(body) = body { request.json(&body) } else { request }).await
    }

    /// Makes all calls, with the token and with the cookie, for Grace's old queue and for an unknown queue.
    async fn is_refused_everywhere(&self) {
        for queue in [&self.queue.id, UNKNOWN_QUEUE] {
            for (method, path, body) in self.calls(queue) {
                let mut request = self.grace.request(method.clone(), &path);
                if let Some(body) = &body {
                    request = request.json(body);
                }
                let by_token = self.grace.send(request).await;
                let refusal = (by_token.status, by_token.body["code"].as_str());
                assert_eq!(refusal, (401, Some("token_invalid")), "{method} {path} by token");
                // The session has ended too, so the cookie is worth as much as none.
                let by_cookie = self.by_cookie(method.clone(), &path, body.clone()).await;
                let anyone = self.app.anonymous();
                let request = anyone.request(method.clone(), &path);
                let by_nobody = anyone.send(if let Some(body) = &body { request.json(body) } else { request }).await;
                assert_eq!(by_cookie.status, by_nobody.status, "{method} {path} by cookie");
                assert_eq!(by_cookie.body, by_nobody.body, "{method} {path} by cookie");
                assert!(by_cookie.status >= 400 || method == Method::GET, "{method} {path} by cookie");
            }
        }
        self.grace.post("/session", json!({})).await.refused(401, "token_invalid");
    }

    async fn anyone_else_reads(&self) {
        let list = format!("/articles/{}/discussions", self.article);
        self.app.anonymous().get(&list).await.expect(200);
    }
}

const SWITCH_OFF: &str = "update users set is_active = false where username = 'grace'";
const DELETE: &str = "delete from users where username = 'grace'";

#[tokio::test]
async fn an_account_that_has_ended_is_refused_at_every_call() {
    for kind in ["public", "private", "hidden"] {
        for end in [SWITCH_OFF, DELETE] {
            let story = Story::begin(kind).await;
            story.app.sql(end).await;
            if kind == "hidden" && end == DELETE {
                // A deleted user is no member, and to them nothing in a hidden community exists.
                let id = &story.discussion["id"];
                story.grace.get(&format!("/discussions/{id}")).await.refused(404, "discussion_not_found");
                continue;
            }
            story.app.settled().await;
            story.is_refused_everywhere().await;
            if kind == "public" {
                story.anyone_else_reads().await;
            }
        }
    }
}

#[tokio::test]
async fn reads_and_writes_are_refused_from_the_commit_on() {
    let story = Story::begin("public").await;
    // No relay runs in between, so the statement itself must check the account.
    for _ in 0..5 {
        story.app.sql(SWITCH_OFF).await;
        story.grace.get(&format!("/comments/{}", story.comment["id"])).await.refused(401, "token_invalid");
        story.app.sql("update users set is_active = true where username = 'grace'").await;
        story.grace.comment(&story.discussion, "I am back").await;
    }
    story.app.settled().await;
    let mut queue = story.grace.register().await;
    story.grace.comment(&story.discussion, "and hear of it").await;
    assert_eq!(types(&queue.events(1).await), ["new_comment"]);
}

#[tokio::test]
async fn a_parked_poll_ends_with_the_account() {
    for end in [SWITCH_OFF, DELETE, "truncate users cascade"] {
        let story = Story::begin("private").await;
        let head = story.app.settled().await;
        let queue = Queue { cursor: head, ..story.queue.clone() };
        let parked = queue.park(&story.app).await;
        story.app.sql(end).await;
        let committed = Instant::now();
        let answer = parked.await.unwrap();
        assert!(committed.elapsed() < Duration::from_secs(1), "{end}: {:?}", committed.elapsed());
        // Deleting the membership makes another event, which may come first.
        if answer.status == 200 {
            assert_eq!(types(answer.body["events"].as_array().unwrap()), ["membership_changed"], "{end}");
        } else {
            answer.refused(404, "queue_not_found");
        }
        story.app.until(|| story.app.state.realtime.hub.stats().queues == 0).await;
        queue.poll_raw(10.0).await.refused(401, "token_invalid");
        assert_eq!(story.app.state.realtime.hub.stats().users, 0, "no memory is left");
    }
}

#[tokio::test]
async fn parked_polls_end_at_every_node() {
    let redis = TestRedis::start().await;
    let set = |config: &mut discussions::config::Config| {
        config.redis_url = Some(redis.url().into());
        config.redis_prefix.clone_from(&redis.prefix);
    };
    let story = Story::at(TestApp::start_with(set).await, "private").await;
    let other = TestApp::on(story.app.database.clone(), set).await;
    let head = story.app.settled().await;
    other.settled().await;
    let here = Queue { cursor: head, ..story.queue.clone() };
    let there = Queue { client: other.client(story.grace.user), cursor: head, ..story.queue.clone() };
    let own = Queue { cursor: head, ..there.client.register().await };
    let parked = [here.park(&story.app).await, there.park(&other).await, own.park(&other).await];
    story.app.sql(SWITCH_OFF).await;
    for poll in parked {
        tokio::time::timeout(PATIENCE, poll).await.unwrap().unwrap().refused(404, "queue_not_found");
    }
    for queue in [&here, &there, &own] {
        queue.poll_raw(0.0).await.refused(401, "token_invalid");
        queue.heartbeat().await.refused(401, "token_invalid");
    }
}

#[tokio::test]
async fn other_changes_of_a_user_end_nothing_and_the_event_goes_to_nobody() {
    let story = Story::begin("private").await;
    story.app.sql("update users set username = username, is_active = is_active, created_at = now()").await;
    assert_eq!(story.app.state.realtime.hub.stats().queues, 1);
    story.app.sql(SWITCH_OFF).await;
    story.app.sql(SWITCH_OFF).await;
    story.app.settled().await;
    // The last release must be able to read the row: it has community 0 and no user.
    let rows: Vec<(i64, Option<i64>, String)> =
        sqlx::query_as("select community_id, user_id, payload->>'user_id' from outbox where type = 'account_changed'")
            .fetch_all(&story.app.pool)
            .await
            .unwrap();
    assert_eq!(rows, [(0, None, story.grace.user.to_string())]);
    // Ada's poll skips the event.
    let ada = story.app.client(1);
    let mut queue = Queue { cursor: 0, ..ada.register().await };
    assert!(!types(&queue.now().await).contains(&"account_changed"));
}

#[tokio::test]
async fn a_program_that_may_write_users_may_end_accounts() {
    let story = Story::begin("private").await;
    let role = format!("writer_{}", uuid::Uuid::new_v4().simple());
    story.app.sql(&format!("create role {role}; grant select, update, delete on users to {role}")).await;
    let mut writer = story.app.pool.acquire().await.unwrap();
    let end = format!("set role {role}; set search_path = pg_catalog; {}", SWITCH_OFF.replace("users", "public.users"));
    sqlx::Executor::execute(&mut *writer, sqlx::raw_sql(&end)).await.unwrap();
    sqlx::Executor::execute(&mut *writer, sqlx::raw_sql("reset role; reset search_path")).await.unwrap();
    drop(writer);
    story.app.until(|| story.app.state.realtime.hub.stats().queues == 0).await;
    story.app.sql(&format!("drop owned by {role}; drop role {role}")).await;
}
