//! Follows: what a member says, what follows from what they do, and queues that want only that.

use serde_json::{Value, json};

use crate::{
    app::{ArticleId, Client, CommunityId, Queue, TestApp, types},
    redis::TestRedis,
};

struct Story {
    app: TestApp,
    community: CommunityId,
    article: ArticleId,
    ada: Client,
    grace: Client,
    /// By Ada.
    discussion: Value,
}

impl Story {
    async fn new() -> Self {
        Self::with(false).await
    }

    async fn with(is_pseudonymous: bool) -> Self {
        let app = TestApp::start().await;
        let community = app.community("private").await;
        let article = app.article(&[community]).await;
        if is_pseudonymous {
            app.sql("update community_articles set is_pseudonymous = true").await;
        }
        let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
        let discussion = ada.discussion(article, community, "Sample size").await;
        app.settled().await;
        Self { app, community, article, ada, grace, discussion }
    }

    fn of_discussion(&self) -> String {
        format!("/discussions/{}/follow", self.discussion["id"])
    }

    async fn say_of_article(&self, client: &Client, level: &str) -> Value {
        let body = json!({ "community_id": self.community, "level": level });
        client.put(&format!("/articles/{}/follow", self.article), body).await.expect(200)
    }

    async fn say(&self, client: &Client, level: &str) -> Value {
        client.put(&self.of_discussion(), json!({ "level": level })).await.expect(200)
    }

    /// What the client follows of the discussion. All that tells it agrees.
    async fn follows(&self, client: &Client) -> (Value, bool) {
        let id = &self.discussion["id"];
        let one = client.get(&format!("/discussions/{id}")).await.expect(200);
        let list = client.get(&format!("/articles/{}/discussions", self.article)).await.expect(200);
        assert_eq!(list["discussions"][0], one);
        let is_followed = one["is_followed"].as_bool().unwrap();
        let function = "select is_followed(m.user_id, m.role, d.id, d.community_id, d.article_id, d.author_id)
                        from discussions d join memberships m using (community_id) where d.id = $1 and m.user_id = $2";
        let by_function: bool =
            sqlx::query_scalar(function).bind(id.as_i64()).bind(client.user).fetch_one(&self.app.pool).await.unwrap();
        assert_eq!(by_function, is_followed);
        let unread = |body: &Value| !body["discussions"].as_array().unwrap().is_empty();
        let all = client.get("/unread").await.expect(200);
        let followed = client.get("/unread?followed=true").await.expect(200);
        assert_eq!(unread(&followed), unread(&all) && is_followed);
        (one["follow_level"].clone(), is_followed)
    }

    async fn list(&self, client: &Client) -> Vec<(Value, Value, Value)> {
        let body = client.get("/follows").await.expect(200);
        let follows = body["follows"].as_array().unwrap();
        follows
            .iter()
            .map(|one| (one["discussion_id"].clone(), one["level"].clone(), one["is_default"].clone()))
            .collect()
    }
}

async fn register_only(client: &Client, only: Value) -> Queue {
    let answer = client.post("/register", json!({ "only": only })).await.expect(200);
    let id = answer["queue_id"].as_str().unwrap().to_owned();
    Queue { client: client.clone(), id, cursor: answer["last_event_id"].as_i64().unwrap(), has_notifications: false }
}

#[tokio::test]
async fn what_is_said_counts_before_what_follows_from_deeds() {
    let story = Story::new().await;
    let Story { app, ada, grace, discussion, .. } = &story;
    let id = &discussion["id"];
    assert_eq!(story.follows(ada).await, (json!("default"), true), "who began it");
    assert_eq!(story.follows(grace).await, (json!("default"), false));
    assert_eq!(story.list(grace).await, []);

    let mut tab = grace.register().await;
    let said = story.say_of_article(grace, "follow").await;
    assert_eq!(said["level"], "follow");
    assert_eq!(story.follows(grace).await, (json!("default"), true), "its article");
    story.say(grace, "mute").await;
    assert_eq!(story.follows(grace).await, (json!("mute"), false), "the discussion before its article");
    let expected = [(Value::Null, json!("follow"), json!(false)), (id.clone(), json!("mute"), json!(false))];
    assert_eq!(story.list(grace).await, expected);
    story.say(grace, "mute").await;
    app.settled().await;
    let events = tab.now().await;
    assert_eq!(types(&events), ["follow_changed", "follow_changed"], "the repeat makes none");
    assert_eq!(events[1]["previous_level"], "default");
    assert_eq!((&events[1]["level"], &events[1]["is_followed"]), (&json!("mute"), &json!(false)));
    assert_eq!(ada.register().await.now().await, [] as [Value; 0], "it is nobody else's business");

    let back = story.say(grace, "default").await;
    assert_eq!(
        (&back["level"], &back["is_default"], &back["is_followed"]),
        (&json!("default"), &json!(true), &json!(true))
    );
    story.say_of_article(grace, "default").await;
    assert_eq!(story.follows(grace).await, (json!("default"), false));
    grace.comment(discussion, "A remark").await;
    assert_eq!(story.follows(grace).await, (json!("default"), true), "who wrote in it");
    assert_eq!(story.list(grace).await, [(id.clone(), json!("follow"), json!(true))]);
    story.say_of_article(grace, "mute").await;
    assert_eq!(story.follows(grace).await, (json!("default"), false), "but said otherwise of the article");
    assert_eq!(story.list(grace).await, [(Value::Null, json!("mute"), json!(false))]);

    // A discussion that one begins on a muted article.
    let muted = grace.discussion(story.article, story.community, "Another").await;
    assert_eq!(muted["is_followed"], false);
    assert_eq!(grace.get(&format!("/discussions/{}", muted["id"])).await.expect(200), muted);
}

#[tokio::test]
async fn submitters_and_admins_follow_articles() {
    let story = Story::new().await;
    let Story { app, grace, .. } = &story;
    app.sql(&format!("update articles set submitter_id = {} where id = {}", grace.user, story.article)).await;
    assert_eq!(story.follows(grace).await, (json!("default"), true));
    assert_eq!(story.list(grace).await, [(Value::Null, json!("follow"), json!(true))]);
    let admin = app.with_role("emmy", story.community, "admin").await;
    assert_eq!(story.follows(&admin).await, (json!("default"), true));
    story.say_of_article(&admin, "mute").await;
    assert_eq!(story.follows(&admin).await, (json!("default"), false));

    // Who leaves follows nothing there.
    app.leave(grace.user, story.community).await;
    assert_eq!(story.list(grace).await, []);
    grace.put(&story.of_discussion(), json!({ "level": "follow" })).await.refused(403, "not_a_member");
}

#[tokio::test]
async fn the_list_has_pages() {
    let story = Story::new().await;
    let grace = &story.grace;
    for number in 0..4 {
        grace.discussion(story.article, story.community, &format!("Topic {number}")).await;
    }
    story.say(grace, "follow").await;
    story.say_of_article(grace, "mute").await;
    // A muted article takes what one wrote on it, but nothing that one follows by saying so.
    assert_eq!(story.list(grace).await.len(), 2);
    story.say_of_article(grace, "follow").await;
    let all = story.list(grace).await;
    assert_eq!(all.len(), 6);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = grace.get(&format!("/follows?limit=2{cursor}")).await.expect(200);
        seen.extend(page["follows"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let seen: Vec<_> = seen.iter().map(|one| one["discussion_id"].clone()).collect();
    assert_eq!(seen, all.iter().map(|one| one.0.clone()).collect::<Vec<_>>());
    let elsewhere = grace.get("/follows?community_id=999999").await.expect(200);
    assert_eq!(elsewhere["follows"], json!([]));
    grace.get("/follows?cursor=nonsense").await.refused(400, "invalid_parameter");
}

/// The same at a node that knows all of it from the events, and at one that reads it from the database.
async fn followed(is_pseudonymous: bool) {
    let story = Story::with(is_pseudonymous).await;
    let Story { app, ada, grace, discussion, .. } = &story;
    let other = ada.discussion(story.article, story.community, "Another").await;
    app.settled().await;
    let mut live = register_only(grace, json!({ "followed": true })).await;
    let start = live.cursor;
    ada.comment(discussion, "not followed").await;
    story.say(grace, "follow").await;
    ada.comment(discussion, "followed").await;
    grace.comment(&other, "my own").await;
    ada.comment(&other, "an answer").await;
    story.say(grace, "mute").await;
    ada.comment(discussion, "muted").await;
    let head = app.settled().await;
    let expected = ["follow_changed", "new_comment", "new_comment", "new_comment", "follow_changed"];
    let events = live.now().await;
    assert_eq!(types(&events), expected);
    assert_eq!(live.cursor, head, "the cursor moves past what is left out");
    let texts: Vec<_> = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(texts, ["followed", "my own", "an answer"]);

    // A new queue that goes on from an old cursor.
    let mut late = Queue { cursor: start, ..register_only(grace, json!({ "followed": true })).await };
    assert_eq!(late.now().await, events);
}

#[tokio::test]
async fn a_follow_takes_effect_at_its_place() {
    followed(false).await;
}

#[tokio::test]
async fn who_writes_by_a_pseudonym_follows_too() {
    followed(true).await;
}

#[tokio::test]
async fn a_queue_may_want_articles_or_types_only() {
    let story = Story::new().await;
    let Story { app, ada, grace, discussion, .. } = &story;
    let elsewhere = app.article(&[story.community]).await;
    let mut of_article = register_only(grace, json!({ "article_ids": [elsewhere] })).await;
    let mut of_type = register_only(grace, json!({ "types": ["new_discussion"] })).await;
    ada.comment(discussion, "A remark").await;
    let new = ada.discussion(elsewhere, story.community, "Elsewhere").await;
    grace.put(&format!("/discussions/{}/vote", new["id"]), json!({ "value": 1 })).await.expect(200);
    let head = app.settled().await;
    assert_eq!(types(&of_article.now().await), ["new_discussion", "own_vote_changed", "votes_changed"]);
    assert_eq!(types(&of_type.now().await), ["new_discussion"]);
    assert_eq!((of_article.cursor, of_type.cursor), (head, head));
    app.leave(grace.user, story.community).await;
    app.settled().await;
    assert_eq!(types(&of_type.now().await), ["membership_changed"], "it always comes");
}

/// What leaves the node's memory makes nobody catch up who did not want it.
#[tokio::test]
async fn what_is_left_out_causes_no_catch_up() {
    let app = TestApp::start_with(|config| config.community_log_events = 5).await;
    let community = app.community("private").await;
    let articles = [app.article(&[community]).await, app.article(&[community]).await];
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    let busy = ada.discussion(articles[0], community, "Busy").await;
    app.settled().await;
    let mut quiet = register_only(&grace, json!({ "article_ids": [articles[1]] })).await;
    let parked = quiet.park(&app).await;
    for number in 0..20 {
        ada.comment(&busy, &format!("Remark {number}")).await;
    }
    app.settled().await;
    assert_eq!(app.state.realtime.hub.stats().parked, 1, "none of it is for this queue");
    parked.abort();
    let all = grace.register().await;
    assert_eq!(
        Queue { cursor: quiet.cursor, ..all }.poll_raw(0.0).await.expect(200),
        json!({ "catchup_required": true })
    );
    assert_eq!(quiet.clone().now().await, [] as [Value; 0]);
    ada.discussion(articles[1], community, "Quiet").await;
    for number in 0..4 {
        ada.comment(&busy, &format!("More {number}")).await;
    }
    let head = app.settled().await;
    let start = quiet.cursor;
    assert_eq!(types(&quiet.now().await), ["new_discussion"]);
    assert_eq!(quiet.cursor, head);
    // Now the one that it wants is gone too.
    ada.comment(&busy, "One more").await;
    app.settled().await;
    assert_eq!(
        Queue { cursor: start, ..quiet.clone() }.poll_raw(0.0).await.expect(200),
        json!({ "catchup_required": true })
    );
    assert_eq!(quiet.now().await, [] as [Value; 0]);
}

#[tokio::test]
async fn at_every_node_a_queue_wants_the_same() {
    let redis = TestRedis::start().await;
    let (url, prefix) = (redis.url(), redis.prefix.clone());
    let set = move |config: &mut discussions::config::Config| {
        config.redis_url = Some(url.as_str().into());
        config.redis_prefix.clone_from(&prefix);
    };
    let a = TestApp::start_with(&set).await;
    let b = TestApp::on(a.database.clone(), &set).await;
    let community = a.community("private").await;
    let articles = [a.article(&[community]).await, a.article(&[community]).await];
    let (ada, grace) = (a.member("ada", community).await, a.member("grace", community).await);
    let discussions =
        [ada.discussion(articles[0], community, "One").await, ada.discussion(articles[1], community, "Two").await];
    a.settled().await;
    let queue = register_only(&grace, json!({ "followed": true, "article_ids": articles })).await;
    grace.put(&format!("/discussions/{}/follow", discussions[0]["id"]), json!({ "level": "follow" })).await.expect(200);
    for discussion in &discussions {
        ada.comment(discussion, "A remark").await;
    }
    a.settled().await;
    b.settled().await;
    let mut at_b = Queue { client: b.client(grace.user), ..queue.clone() };
    let events = at_b.now().await;
    assert_eq!(types(&events), ["follow_changed", "new_comment"]);
    assert_eq!(queue.clone().now().await, events);
    // The heartbeat at the other node keeps what the queue wants.
    at_b.heartbeat().await.expect(204);
    b.stop().await;
    let b = TestApp::on(a.database.clone(), &set).await;
    let mut at_b = Queue { client: b.client(grace.user), ..queue };
    b.settled().await;
    assert_eq!(at_b.now().await, events);
}

#[tokio::test]
async fn new_articles_and_roles_are_followed_at_once() {
    let story = Story::new().await;
    let Story { app, ada, grace, .. } = &story;
    let mut queue = register_only(grace, json!({ "followed": true, "types": ["new_discussion"] })).await;
    let submitted = app.article(&[story.community]).await;
    ada.discussion(submitted, story.community, "Before").await;
    app.settled().await;
    assert_eq!(queue.now().await, [] as [Value; 0]);
    app.sql(&format!("update articles set submitter_id = {} where id = {submitted}", grace.user)).await;
    ada.discussion(submitted, story.community, "After").await;
    app.settled().await;
    assert_eq!(queue.now().await[0]["topic"], "After");
    app.sql(&format!("update memberships set role = 'admin' where user_id = {}", grace.user)).await;
    ada.discussion(story.article, story.community, "For admins").await;
    app.settled().await;
    assert_eq!(types(&queue.now().await), ["membership_changed", "new_discussion"]);
    app.sql(&format!("update memberships set role = 'member' where user_id = {}", grace.user)).await;
    ada.discussion(story.article, story.community, "No more").await;
    app.settled().await;
    assert_eq!(types(&queue.now().await), ["membership_changed"]);
}

#[tokio::test]
async fn what_a_registration_may_not_ask_for() {
    let story = Story::new().await;
    let many: Vec<i64> = (1..=101).collect();
    let wrong = [
        (json!({ "only": { "types": ["no_such_type"] } }), 422),
        (json!({ "only": { "article_ids": many } }), 422),
        (json!({ "only": { "types": vec!["new_comment"; 101] } }), 422),
        (json!({ "only": { "followers": true } }), 422),
        (json!({ "watch": many }), 422),
        (json!([]), 422),
    ];
    for (body, status) in wrong {
        let answer = story.grace.post("/register", body.clone()).await;
        assert_eq!(answer.status, status, "{body}");
    }
    let bare = story.grace.request(reqwest::Method::POST, "/register");
    story.grace.send(bare).await.expect(200);
}
