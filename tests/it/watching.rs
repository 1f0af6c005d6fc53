//! Who watches a public or open community gets its events without membership. When it turns private, they get the event that says so,
//! and nothing else of it. This holds for every cursor, queue and node (I5).

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    app::{ArticleId, Client, CommunityId, EventId, Queue, TestApp, types},
    redis::TestRedis,
};

/// A community that Ada is a member of and Grace watches, and one that both are members of.
struct Story {
    app: TestApp,
    ada: Client,
    grace: Client,
    watched: CommunityId,
    article: ArticleId,
    common: CommunityId,
    common_article: ArticleId,
}

impl Story {
    async fn begin(app: TestApp, kind: &str) -> Self {
        let (watched, common) = (app.community(kind).await, app.community("private").await);
        let (article, common_article) = (app.article(&[watched]).await, app.article(&[common]).await);
        let ada = app.member("ada", watched).await;
        app.join(ada.user, common, "member").await;
        let grace = app.member("grace", common).await;
        app.settled().await;
        Self { app, ada, grace, watched, article, common, common_article }
    }

    async fn write(&self, topic: &str) -> EventId {
        self.ada.discussion(self.article, self.watched, topic).await;
        self.app.settled().await
    }

    /// Changes the kind as another program does. Returns the event's place.
    async fn turn(&self, kind: &str) -> EventId {
        self.app.sql(&format!("update communities set kind = '{kind}' where id = {}", self.watched)).await;
        self.app.settled().await
    }
}

/// Registers a queue that watches these communities.
async fn watch(client: &Client, communities: &[CommunityId]) -> Queue {
    let answer = client.post("/register", json!({ "watch": communities })).await.expect(200);
    let id = answer["queue_id"].as_str().unwrap().to_owned();
    Queue { client: client.clone(), id, cursor: answer["last_event_id"].as_i64().unwrap(), has_notifications: false }
}

/// What the queue gets of a community after `cursor`: the topics of discussions, and the new kinds.
async fn of(queue: &Queue, community: CommunityId, cursor: EventId) -> Vec<String> {
    let mut queue = Queue { cursor, ..queue.clone() };
    let events = queue.now().await;
    let ids: Vec<_> = events.iter().map(|event| event["event_id"].as_i64().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, other| one < other), "each event comes once, in order: {ids:?}");
    let here = events.iter().filter(|event| event["community_id"] == community);
    here.map(|event| event["topic"].as_str().or(event["kind"].as_str()).unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn anyone_signed_in_may_watch_what_anyone_may_read() {
    let app = TestApp::start().await;
    let mut communities = Vec::new();
    for kind in ["public", "private", "hidden", "open"] {
        communities.push(app.community(kind).await);
    }
    let article = app.article(&communities).await;
    let ada = app.user("ada").await;
    for community in &communities {
        app.join(ada, *community, "member").await;
    }
    let ada = app.client(ada);
    let outsider = app.client(app.user("grace").await);
    outsider.post("/register", json!({})).await.refused(403, "no_communities");
    outsider.post("/register", json!({ "watch": communities[1..3] })).await.refused(403, "no_communities");
    let all = [&communities[..], &[999_999_999]].concat();
    let answer = outsider.post("/register", json!({ "watch": all })).await.expect(200);
    assert_eq!(answer["communities"], json!([communities[0], communities[3]]));
    let member = ada.post("/register", json!({ "watch": communities })).await.expect(200);
    assert_eq!(member["communities"], json!(communities));
    outsider.post("/register", json!({ "watch": vec![1; 101] })).await.refused(422, "invalid_fields");

    let (mut watcher, mut both) = (watch(&outsider, &all).await, watch(&ada, &all).await);
    let before = watcher.cursor;
    for community in &communities {
        let discussion = ada.discussion(article, *community, "Sample size").await;
        ada.comment(&discussion, "Nice").await;
    }
    app.settled().await;
    let communities_of =
        |events: &[Value]| events.iter().map(|event| event["community_id"].as_i64().unwrap()).collect::<Vec<_>>();
    let watched = [communities[0], communities[0], communities[3], communities[3]];
    assert_eq!(communities_of(&watcher.events(4).await), watched);
    let events = both.events(8).await;
    assert_eq!(events.len(), 8, "a member who watches gets each event once");
    let ids: BTreeSet<_> = events.iter().map(|event| event["event_id"].as_i64()).collect();
    assert_eq!(ids.len(), 8);

    // A parked poll is woken by what is watched, and by nothing else.
    let mut parked = watcher.park(&app).await;
    ada.discussion(article, communities[1], "secret").await;
    app.settled().await;
    assert!(!parked.is_finished());
    ada.discussion(article, communities[3], "open").await;
    let answer = (&mut parked).await.unwrap().expect(200);
    assert_eq!((answer["events"][0]["topic"].as_str(), answer["events"].as_array().unwrap().len()), (Some("open"), 1));
    watcher.cursor = before;
    assert_eq!(watcher.now().await.len(), 5);
}

#[tokio::test]
async fn a_watch_ends_with_the_event_that_ends_it() {
    for (kind, closed) in [("public", "private"), ("open", "hidden")] {
        let story = Story::begin(TestApp::start().await, kind).await;
        let outsider = story.app.client(story.app.user("lin").await);
        let queues = [watch(&story.grace, &[story.watched]).await, watch(&outsider, &[story.watched]).await];
        let member = story.ada.register().await;
        let first = story.write("watched").await;
        assert_eq!(of(&queues[1], story.watched, member.cursor).await, ["watched"]);
        let mut parked = Vec::new();
        for queue in &queues {
            parked.push(Queue { cursor: first, ..queue.clone() }.park(&story.app).await);
        }
        let end = story.turn(closed).await;
        for parked in parked {
            let answer = parked.await.unwrap().expect(200);
            assert_eq!(answer["events"].as_array().unwrap().len(), 1, "{answer}");
            let event = &answer["events"][0];
            assert_eq!((&event["type"], &event["event_id"]), (&json!("community_changed"), &json!(end)));
            assert_eq!((&event["kind"], &event["previous_kind"]), (&json!(closed), &json!(kind)));
        }
        let secret = story.write("secret").await;
        for queue in &queues {
            for cursor in 0..=secret {
                let expected: &[&str] = if cursor < end { &[closed] } else { &[] };
                assert_eq!(of(queue, story.watched, cursor).await, expected, "from {cursor}");
            }
        }
        outsider.post("/register", json!({ "watch": [story.watched] })).await.refused(403, "no_communities");
        assert_eq!(of(&member, story.watched, member.cursor).await, ["watched", closed, "secret"]);

        // The next poll parks, and new events of that community do not answer it.
        let parked = Queue { cursor: secret, ..queues[0].clone() }.park(&story.app).await;
        let other = Queue { cursor: secret, ..queues[1].clone() }.park(&story.app).await;
        story.write("more secrets").await;
        assert!(!parked.is_finished() && !other.is_finished());
        story.ada.discussion(story.common_article, story.common, "common").await;
        let answer = parked.await.unwrap().expect(200);
        assert_eq!(
            (answer["events"].as_array().unwrap().len(), answer["events"][0]["topic"].as_str()),
            (1, Some("common"))
        );

        // Delivery begins again when everybody may read it again, and has nothing of the time between.
        let again = story.turn("public").await;
        let answer = other.await.unwrap().expect(200);
        assert_eq!((&answer["events"][0]["kind"], &answer["last_event_id"]), (&json!("public"), &json!(again)));
        story.write("watched again").await;
        for queue in &queues {
            let all = ["watched", closed, "public", "watched again"];
            assert_eq!(of(queue, story.watched, member.cursor).await, all);
            assert_eq!(of(queue, story.watched, end).await, ["public", "watched again"]);
        }
        // The kind may change between the two that anyone may read. That ends nothing.
        story.turn("open").await;
        story.write("open").await;
        assert_eq!(of(&queues[1], story.watched, again).await, ["watched again", "open", "open"]);
    }
}

#[tokio::test]
async fn a_watch_ends_at_every_node_and_after_a_restart() {
    for redis in [None, Some(TestRedis::start().await)] {
        let shared = redis.as_ref().map(|redis| (redis.url(), redis.prefix.clone()));
        let set = |config: &mut discussions::config::Config| {
            if let Some((url, prefix)) = &shared {
                config.redis_url = Some(url.as_str().into());
                config.redis_prefix.clone_from(prefix);
            }
        };
        let story = Story::begin(TestApp::start_with(&set).await, "public").await;
        let other = TestApp::on(story.app.database.clone(), &set).await;
        let at_other = other.client(story.grace.user);
        let here = watch(&story.grace, &[story.watched]).await;
        let before = here.cursor;
        let first = story.write("watched").await;
        other.settled().await;
        // With Redis the other node knows the queue, and what it watches.
        let there = match redis {
            Some(_) => Queue { client: at_other.clone(), ..here.clone() },
            None => watch(&at_other, &[story.watched]).await,
        };
        assert_eq!(of(&there, story.watched, before).await, ["watched"]);
        let parked = Queue { cursor: first, ..there.clone() }.park(&other).await;
        let end = story.turn("private").await;
        assert_eq!(parked.await.unwrap().expect(200)["events"][0]["event_id"], end);
        story.write("secret").await;
        other.settled().await;
        for cursor in [0, before, first, end] {
            let expected: &[&str] = if cursor < end { &["private"] } else { &[] };
            for queue in [&here, &there] {
                assert_eq!(of(queue, story.watched, cursor).await, expected, "from {cursor}");
            }
        }
        // Nodes that start now know it too, also of changes that come while none runs.
        let database = other.stop().await;
        let third = TestApp::on(database, &set).await;
        let queue = watch(&third.client(story.grace.user), &[story.watched]).await;
        assert_eq!(of(&queue, story.watched, before).await, ["private"]);
        assert_eq!(of(&queue, story.watched, end).await, Vec::<String>::new());
        third.stop().await;
        let Story { ada, grace, watched, article, common, common_article, app } = story;
        let database = app.stop().await;
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&database.url).await.unwrap();
        for kind in ["public", "hidden", "open"] {
            sqlx::query("update communities set kind = $1 where id = $2")
                .bind(kind)
                .bind(watched)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        let app = TestApp::on(database, &set).await;
        let (ada, grace) = (app.client(ada.user), app.client(grace.user));
        let story = Story { ada, grace, watched, article, common, common_article, app };
        story.app.settled().await;
        story.write("open").await;
        let queue = watch(&story.grace, &[watched]).await;
        assert_eq!(of(&queue, watched, before).await, ["watched", "private", "public", "hidden", "open", "open"]);
    }
}

#[tokio::test]
async fn a_token_narrows_what_is_watched() {
    let story = Story::begin(TestApp::start().await, "public").await;
    let wide = watch(&story.grace, &[story.watched]).await;
    let narrow = story.app.narrow_client(story.grace.user, &[story.common]);
    let narrow_queue = watch(&narrow, &[story.watched]).await;
    let registered = narrow.post("/register", json!({ "watch": [story.watched] })).await.expect(200);
    assert_eq!(registered["communities"], json!([story.common]));
    let before = wide.cursor;
    let head = story.write("watched").await;
    assert_eq!(of(&wide, story.watched, before).await, ["watched"]);
    for queue in [
        &narrow_queue,
        &Queue { client: narrow.clone(), ..wide.clone() },
        &Queue { client: story.grace.clone(), ..narrow_queue.clone() },
    ] {
        assert_eq!(of(queue, story.watched, before).await, Vec::<String>::new());
    }
    let parked = Queue { client: narrow, cursor: head, ..wide.clone() }.park(&story.app).await;
    story.write("not for this token").await;
    story.turn("private").await;
    assert!(!parked.is_finished());
    story.ada.discussion(story.common_article, story.common, "common").await;
    assert_eq!(parked.await.unwrap().expect(200)["events"][0]["topic"], "common");
}

#[tokio::test]
async fn a_queue_may_watch_others_later() {
    let redis = TestRedis::start().await;
    let set = |config: &mut discussions::config::Config| {
        config.redis_url = Some(redis.url().as_str().into());
        config.redis_prefix.clone_from(&redis.prefix);
    };
    let story = Story::begin(TestApp::start_with(set).await, "public").await;
    let other = TestApp::on(story.app.database.clone(), set).await;
    let queue = story.grace.register().await;
    let there = Queue { client: other.client(story.grace.user), ..queue.clone() };
    let head = story.write("before").await;
    other.settled().await;
    assert_eq!(of(&there, story.watched, queue.cursor).await, Vec::<String>::new());

    let path = format!("/queues/{}/watch", queue.id);
    let released = Queue { cursor: head, ..queue.clone() }.park(&story.app).await;
    let elsewhere = Queue { cursor: head, ..there.clone() }.park(&other).await;
    let answer = story.grace.put(&path, json!({ "community_ids": [story.watched, 999_999_999] })).await.expect(200);
    assert_eq!(answer["communities"], json!([story.watched, story.common]));
    for released in [released, elsewhere] {
        // It may have more to get now, so it is to ask again.
        assert_eq!(released.await.unwrap().expect(200), json!({ "events": [], "last_event_id": head }));
    }
    let parked = Queue { cursor: head, ..there.clone() }.park(&other).await;
    story.write("watched").await;
    assert_eq!(parked.await.unwrap().expect(200)["events"][0]["topic"], "watched");
    // A node that has leapt over the change learns it by the next heartbeat.
    let id = queue.id.parse().unwrap();
    other.state.realtime.hub.set_watch(id, &[].into());
    assert_eq!(of(&there, story.watched, head).await, Vec::<String>::new());
    there.heartbeat().await.expect(204);
    assert_eq!(of(&there, story.watched, head).await, ["watched"]);
    queue.heartbeat().await.expect(204);
    assert_eq!(of(&queue, story.watched, head).await, ["watched"]);

    // What is watched replaces what was watched before.
    let answer = there.client.put(&path, json!({ "community_ids": [] })).await.expect(200);
    assert_eq!(answer["communities"], json!([story.common]));
    story.app.settled().await;
    other.settled().await;
    assert_eq!(of(&there, story.watched, head).await, Vec::<String>::new());

    // It is refused as every other call of a queue is.
    let body = json!({ "community_ids": [story.watched] });
    story.ada.put(&path, body.clone()).await.refused(404, "queue_not_found");
    story.app.anonymous().put(&path, body.clone()).await.refused(401, "token_missing");
    story.grace.put("/queues/none/watch", body).await.refused(404, "queue_not_found");
    story.grace.put(&path, json!({ "community_ids": vec![1; 101] })).await.refused(422, "invalid_fields");
    story.grace.put(&path, json!({})).await.refused(422, "invalid_fields");
}

/// What comes after the answer of the call is delivered at every node, even if a node hears nothing more from Redis.
#[tokio::test]
async fn a_watch_takes_effect_at_its_place_in_the_order() {
    let mut redis = TestRedis::start().await;
    let set = |config: &mut discussions::config::Config| {
        config.redis_url = Some(redis.url().as_str().into());
        config.redis_prefix.clone_from(&redis.prefix);
    };
    let story = Story::begin(TestApp::start_with(set).await, "public").await;
    let other = TestApp::on(story.app.database.clone(), set).await;
    let queue = story.grace.register().await;
    let mut there = Queue { client: other.client(story.grace.user), ..queue.clone() };
    assert!(there.now().await.is_empty());

    let path = format!("/queues/{}/watch", queue.id);
    for turn in 0..3 {
        let watched: &[CommunityId] = if turn % 2 == 0 { &[story.watched] } else { &[] };
        let before = there.cursor;
        let place =
            story.grace.put(&path, json!({ "community_ids": watched })).await.expect(200)["last_event_id"].as_i64();
        assert!(place > Some(before), "{place:?}");
        if turn == 2 {
            redis.kill();
        }
        let written = story.write("after the answer").await;
        let mut topics = Vec::new();
        while there.cursor < written {
            topics.extend(there.poll(0.2).await.iter().map(|event| event["event_id"].as_i64()));
        }
        assert_eq!(topics, if watched.is_empty() { vec![] } else { vec![Some(written)] }, "turn {turn}");
    }
}

#[tokio::test]
async fn own_events_of_an_open_community_need_no_membership() {
    let story = Story::begin(TestApp::start().await, "open").await;
    let mut queue = story.grace.register().await;
    let before = queue.cursor;
    let discussion = story.ada.discussion(story.article, story.watched, "Sample size").await;
    let vote = format!("/discussions/{}/vote", discussion["id"]);
    story.grace.put(&vote, json!({ "value": 1 })).await.expect(200);
    story.app.settled().await;
    // Without watching, they are all that comes of it.
    assert_eq!(types(&queue.now().await), ["own_vote_changed"]);
    let parked = queue.park(&story.app).await;
    story.grace.put(&vote, json!({ "value": -1 })).await.expect(200);
    assert_eq!(parked.await.unwrap().expect(200)["events"][0]["value"], -1);
    story.turn("private").await;
    queue.cursor = before;
    assert_eq!(types(&queue.now().await), [""; 0]);
}

#[tokio::test]
async fn catchup_is_exact_for_watchers() {
    let app = TestApp::start_with(|config| config.community_log_events = 3).await;
    let story = Story::begin(app, "public").await;
    let queue = watch(&story.grace, &[story.watched]).await;
    let first = story.write("1").await;
    story.write("2").await;
    let end = story.turn("private").await;
    let is_lost = async |cursor: EventId| {
        let answer = Queue { cursor, ..queue.clone() }.poll_raw(0.0).await.expect(200);
        answer["catchup_required"] == true
    };
    story.write("secret 1").await;
    story.write("secret 2").await;
    // Events that they may not get have gone. The end of the watch is still there.
    assert!(!is_lost(queue.cursor).await && !is_lost(first).await);
    assert_eq!(of(&queue, story.watched, queue.cursor).await, ["private"]);
    let head = story.write("secret 3").await;
    // It is gone now.
    assert!(is_lost(queue.cursor).await && is_lost(end - 1).await);
    assert!(!is_lost(end).await && !is_lost(head).await);
    for number in 0..4 {
        story.write(&format!("secret {number}")).await;
    }
    assert!(!is_lost(end).await, "what they may not get is nothing to catch up on");

    let again = story.turn("public").await;
    assert!(is_lost(end - 1).await && !is_lost(end).await);
    assert_eq!(of(&queue, story.watched, end).await, ["public"]);
    for number in 0..3 {
        story.write(&format!("public {number}")).await;
    }
    assert!(is_lost(end).await && is_lost(again - 1).await && !is_lost(again).await);
    let Story { grace, watched, app, .. } = story;
    // A node that starts later answers the same.
    let app = TestApp::on(app.stop().await, |config| config.community_log_events = 3).await;
    let queue = watch(&app.client(grace.user), &[watched]).await;
    for (cursor, expected) in [(end - 1, true), (end, true), (again - 1, true), (again, false)] {
        let answer = Queue { cursor, ..queue.clone() }.poll_raw(0.0).await.expect(200);
        assert_eq!(answer["catchup_required"] == true, expected, "from {cursor}");
    }
}

#[tokio::test]
async fn a_leap_keeps_what_is_watched() {
    let story = Story::begin(TestApp::start().await, "public").await;
    let (second, article) = (story.app.community("open").await, story.article);
    story
        .app
        .sql(&format!("insert into community_articles (community_id, article_id) values ({second}, {article})"))
        .await;
    let mut queue = watch(&story.grace, &[story.watched, second]).await;
    let mut parked = queue.park(&story.app).await;
    // In the history after the leap, the change is no event.
    story.app.sql(&format!("alter table communities disable trigger user; update communities set kind = 'private' where id = {}; alter table communities enable trigger user; select leap_now()", story.watched)).await;
    assert_eq!((&mut parked).await.unwrap().expect(200), json!({ "catchup_required": true }));
    queue.cursor = story.write("secret").await - 1;
    assert_eq!(of(&queue, story.watched, queue.cursor).await, Vec::<String>::new());
    let parked = queue.park(&story.app).await;
    story.grace.discussion(article, second, "open").await;
    assert_eq!(parked.await.unwrap().expect(200)["events"][0]["topic"], "open");
}

#[tokio::test]
async fn a_community_that_is_deleted_is_watched_no_more() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let lin = app.client(app.user("lin").await);
    let queue = watch(&lin, &[community]).await;
    app.sql(&format!("update communities set kind = 'open' where id = {community}")).await;
    app.settled().await;
    assert_eq!(of(&queue, community, queue.cursor).await, ["open"]);
    app.sql(&format!("delete from communities where id = {community}")).await;
    let gone = app.settled().await;
    // There is no event that says so. Who reads anew finds nothing.
    assert_eq!(queue.poll_raw(0.0).await.expect(200), json!({ "catchup_required": true }));
    assert_eq!(of(&queue, community, gone).await, Vec::<String>::new());
    // Another one of this number is another community.
    app.sql(&format!(
        "insert into communities (id, name, slug, kind) overriding system value values ({community}, 'b', 'b', 'open');
         update communities set kind = 'public' where id = {community}"
    ))
    .await;
    app.settled().await;
    assert_eq!(of(&queue, community, gone).await, ["public"]);
}

/// Something that happens in the community.
#[derive(Clone, Debug)]
enum Step {
    Discuss { member: bool },
    Comment { member: bool, which: usize },
    Edit { which: usize },
    Delete { which: usize },
    Vote { which: usize, value: i64 },
    Turn { kind: &'static str },
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..64_usize;
    prop_oneof![
        3 => any::<bool>().prop_map(|member| Step::Discuss { member }),
        4 => (any::<bool>(), which.clone()).prop_map(|(member, which)| Step::Comment { member, which }),
        2 => which.clone().prop_map(|which| Step::Edit { which }),
        1 => which.clone().prop_map(|which| Step::Delete { which }),
        3 => (which, -1..=1_i64).prop_map(|(which, value)| Step::Vote { which, value }),
        3 => proptest::sample::select(vec!["public", "open", "private", "hidden"]).prop_map(|kind| Step::Turn { kind }),
        4 => Just(Step::Poll),
    ]
}

/// What a watcher shows: the discussions of an article, kept current by events.
struct Page {
    queue: Queue,
    article: ArticleId,
    from: EventId,
    shown: BTreeMap<i64, Value>,
}

impl Page {
    /// What is shown of a discussion and must be current.
    const SHOWN: [&str; 7] = ["topic", "text", "author", "comment_count", "upvotes", "downvotes", "own_vote"];

    async fn read(&mut self) {
        let answer = self.queue.client.get(&format!("/articles/{}/discussions?limit=100", self.article)).await;
        self.shown.clear();
        if answer.status == 200 {
            self.from = answer.body["last_event_id"].as_i64().unwrap();
            for item in answer.body["discussions"].as_array().unwrap() {
                let shown = Self::SHOWN.map(|name| (name.to_owned(), item[name].clone()));
                self.shown.insert(item["id"].as_i64().unwrap(), Value::Object(shown.into_iter().collect()));
            }
        }
    }

    async fn poll(&mut self) {
        for event in self.queue.now().await {
            if event["event_id"].as_i64().unwrap() <= self.from {
                continue;
            }
            let kind = event["type"].as_str().unwrap();
            if kind == "community_changed" {
                self.read().await;
                continue;
            }
            let item = self.shown.entry(event["discussion_id"].as_i64().unwrap()).or_insert_with(|| {
                assert_eq!(kind, "new_discussion", "nothing comes before what it depends on");
                json!({ "own_vote": null })
            });
            let names: &[&str] = match kind {
                "new_discussion" | "updated_discussion" => &Self::SHOWN[..6],
                "deleted_discussion" => &Self::SHOWN[..3],
                "new_comment" | "deleted_comment" => &Self::SHOWN[3..4],
                "votes_changed" => &Self::SHOWN[4..6],
                "own_vote_changed" => {
                    item["own_vote"] = event["value"].clone();
                    continue;
                }
                _ => continue,
            };
            for name in names {
                item[*name] = event[*name].clone();
            }
        }
    }
}

async fn folds(steps: Vec<Step>) {
    let story = Story::begin(TestApp::start().await, "open").await;
    let mut page = Page {
        queue: watch(&story.grace, &[story.watched]).await,
        article: story.article,
        from: 0,
        shown: BTreeMap::new(),
    };
    page.read().await;
    let mut discussions = Vec::new();
    for step in steps {
        let writer = |member| if member { &story.ada } else { &story.grace };
        let pick = |which: usize| discussions.get(which % discussions.len().max(1)).copied().unwrap_or(1_i64);
        let of = |which, call: &str| format!("/discussions/{}{call}", pick(which));
        match step {
            Step::Discuss { member } => {
                let new = json!({ "community_id": story.watched, "topic": "Sample size", "text": "Enough?" });
                let answer = writer(member).post(&format!("/articles/{}/discussions", story.article), new).await;
                discussions.extend(answer.body["id"].as_i64());
            }
            Step::Comment { member, which } => {
                writer(member).post(&of(which, "/comments"), json!({ "text": "Nice" })).await;
            }
            Step::Edit { which } => {
                for member in [true, false] {
                    let text = format!("On second thought {which}");
                    writer(member).patch(&of(which, ""), json!({ "text": text })).await;
                }
            }
            Step::Delete { which } => {
                story.ada.delete(&of(which, "")).await;
            }
            Step::Vote { which, value } => {
                for member in [true, false] {
                    writer(member).put(&of(which, "/vote"), json!({ "value": value })).await;
                }
            }
            Step::Turn { kind } => {
                story.turn(kind).await;
            }
            Step::Poll => page.poll().await,
        }
    }
    story.app.settled().await;
    page.poll().await;
    let folded = std::mem::take(&mut page.shown);
    page.read().await;
    for (id, shown) in &page.shown {
        let mut folded = folded[id].clone();
        // A vote of nobody is 0 or null, as the viewer may vote or not. Events do not tell which.
        if folded["own_vote"].is_null() && shown["own_vote"] == 0 {
            folded["own_vote"] = json!(0);
        }
        assert_eq!(folded, *shown, "discussion {id}");
    }
    assert_eq!(folded.len(), page.shown.len(), "nothing is shown that may not be read any more");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn what_a_watcher_folds_is_what_a_get_shows(steps in proptest::collection::vec(step(), 5..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(folds(steps));
    }
}
