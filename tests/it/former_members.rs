//! A former member gets the event that ends the membership, and no other event of that community (I5). This holds for every
//! cursor, queue and node.

use serde_json::Value;

use crate::{
    app::{ArticleId, Client, CommunityId, Queue, TestApp, types},
    redis::TestRedis,
};

/// Two communities with an article each. Grace is a member of both until she is removed from `left`.
struct Story {
    app: TestApp,
    ada: Client,
    grace: Client,
    left: CommunityId,
    left_article: ArticleId,
    kept: CommunityId,
    kept_article: ArticleId,
}

impl Story {
    async fn begin(app: TestApp) -> Self {
        let (left, kept) = (app.community("hidden").await, app.community("private").await);
        let (left_article, kept_article) = (app.article(&[left]).await, app.article(&[kept]).await);
        let ada = app.member("ada", left).await;
        let grace = app.member("grace", left).await;
        for client in [&ada, &grace] {
            app.join(client.user, kept, "member").await;
        }
        app.settled().await;
        Self { app, ada, grace, left, left_article, kept, kept_article }
    }

    /// Begins a discussion in each community, first in the one that Grace leaves.
    async fn write(&self, topic: &str) {
        self.ada.discussion(self.left_article, self.left, topic).await;
        self.ada.discussion(self.kept_article, self.kept, topic).await;
        self.app.settled().await;
    }

    async fn remove(&self) {
        self.app.leave(self.grace.user, self.left).await;
        self.app.settled().await;
    }

    async fn rejoin(&self) {
        self.app.join(self.grace.user, self.left, "member").await;
        self.app.settled().await;
    }
}

/// The events that a queue gets after `cursor`: type, community and topic.
async fn events_after(queue: &Queue, client: &Client, cursor: i64) -> Vec<(String, CommunityId, Option<String>)> {
    let mut queue = Queue { client: client.clone(), cursor, ..queue.clone() };
    let text = |event: &Value, name: &str| event[name].as_str().map(str::to_owned);
    let events = queue.now().await;
    events
        .iter()
        .map(|event| (text(event, "type").unwrap(), event["community_id"].as_i64().unwrap(), text(event, "topic")))
        .collect()
}

fn of(events: &[(String, CommunityId, Option<String>)], community: CommunityId) -> Vec<(&str, Option<&str>)> {
    let here = events.iter().filter(|event| event.1 == community);
    here.map(|(kind, _, topic)| (kind.as_str(), topic.as_deref())).collect()
}

#[tokio::test]
async fn removed_members_get_no_events_of_their_time_as_members() {
    let story = Story::begin(TestApp::start().await).await;
    let old = story.grace.register().await;
    let before = old.cursor;
    story.write("while a member").await;
    let parked = Queue { cursor: story.app.settled().await, ..old.clone() }.park(&story.app).await;
    story.remove().await;
    let answer = parked.await.unwrap().expect(200);
    assert_eq!(types(answer["events"].as_array().unwrap()), ["membership_changed"], "a parked poll gets the end");
    story.write("afterwards").await;

    let new = story.grace.register().await;
    for queue in [&old, &new] {
        for cursor in 0..=story.app.settled().await {
            let events = events_after(queue, &story.grace, cursor).await;
            let here = of(&events, story.left);
            let kinds: Vec<_> = here.iter().map(|(kind, _)| *kind).collect();
            assert!(kinds.iter().all(|kind| *kind == "membership_changed"), "from {cursor}: {kinds:?}");
            assert_eq!(kinds.contains(&"membership_changed"), cursor < answer["last_event_id"].as_i64().unwrap());
        }
        let events = events_after(queue, &story.grace, before).await;
        let elsewhere = [("new_discussion", Some("while a member")), ("new_discussion", Some("afterwards"))];
        assert_eq!(of(&events, story.kept), elsewhere, "where they are a member nothing is missing");
    }
    // The next poll parks, and new events of that community do not answer it.
    let mut parked = Queue { cursor: story.app.settled().await, ..old }.park(&story.app).await;
    story.ada.discussion(story.left_article, story.left, "secret").await;
    story.app.settled().await;
    assert!(!parked.is_finished());
    story.ada.discussion(story.kept_article, story.kept, "open").await;
    let answer = (&mut parked).await.unwrap().expect(200);
    assert_eq!(answer["events"][0]["topic"], "open");
    assert_eq!(answer["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_member_who_rejoins_gets_no_events_of_the_time_between() {
    let story = Story::begin(TestApp::start().await).await;
    let old = story.grace.register().await;
    story.write("first span").await;
    story.remove().await;
    story.write("between").await;
    let between = story.app.settled().await;
    story.rejoin().await;
    story.write("second span").await;

    let new = story.grace.register().await;
    for queue in [&old, &new] {
        // With a cursor from before the removal and the return.
        let events = events_after(queue, &story.grace, old.cursor).await;
        let expected = [
            ("new_discussion", Some("first span")),
            ("membership_changed", None),
            ("membership_changed", None),
            ("new_discussion", Some("second span")),
        ];
        assert_eq!(of(&events, story.left), expected);
        assert_eq!(of(&events, story.kept).len(), 3);
        // With a cursor from after the removal.
        let events = events_after(queue, &story.grace, between).await;
        assert_eq!(of(&events, story.left), [("membership_changed", None), ("new_discussion", Some("second span"))]);
    }
}

#[tokio::test]
async fn a_member_who_only_changes_role_misses_nothing() {
    let story = Story::begin(TestApp::start().await).await;
    let queue = story.grace.register().await;
    story.write("as a member").await;
    for role in ["admin", "reviewer"] {
        story.app.join(story.grace.user, story.left, role).await;
        story.write(role).await;
    }
    let events = events_after(&queue, &story.grace, queue.cursor).await;
    let topics: Vec<_> = of(&events, story.left).into_iter().filter_map(|(_, topic)| topic).collect();
    assert_eq!(topics, ["as a member", "admin", "reviewer"]);
}

#[tokio::test]
async fn removed_members_get_no_events_at_another_node_either() {
    for redis in [None, Some(TestRedis::start().await)] {
        let shared = redis.as_ref().map(|redis| (redis.url(), redis.prefix.clone()));
        let set = |config: &mut discussions::config::Config| {
            if let Some((url, prefix)) = &shared {
                config.redis_url = Some(url.as_str().into());
                config.redis_prefix.clone_from(prefix);
            }
        };
        let story = Story::begin(TestApp::start_with(&set).await).await;
        let other = TestApp::on(story.app.database.clone(), &set).await;
        let at_other = other.client(story.grace.user);
        let mut queue = story.grace.register().await;
        story.write("while a member").await;
        other.settled().await;
        if redis.is_some() {
            // With Redis the other node knows the queue, and serves it while the membership lasts.
            let events = events_after(&queue, &at_other, queue.cursor).await;
            assert_eq!(of(&events, story.left), [("new_discussion", Some("while a member"))]);
        } else {
            queue = Queue { cursor: queue.cursor, ..at_other.register().await };
        }
        story.remove().await;
        other.settled().await;
        let fresh = at_other.register().await;
        for queue in [&queue, &fresh] {
            for cursor in [0, queue.cursor] {
                let events = events_after(queue, &at_other, cursor).await;
                let here = of(&events, story.left);
                assert!(here.iter().all(|(kind, _)| *kind == "membership_changed"), "{here:?}");
            }
        }
    }
}
