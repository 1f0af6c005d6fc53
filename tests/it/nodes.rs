//! Several nodes on one database. Both kinds of feeds pass the same tests, and Redis adds some.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    app::{ArticleId, Client, CommunityId, PATIENCE, Queue, TestApp, types},
    redis::TestRedis,
};

/// Two nodes and a community with a discussion.
struct Nodes {
    redis: Option<TestRedis>,
    a: TestApp,
    b: TestApp,
    community: CommunityId,
    article: ArticleId,
}

impl Nodes {
    async fn start(redis: Option<TestRedis>) -> Self {
        Self::start_with(redis, 120).await
    }

    async fn start_with(redis: Option<TestRedis>, queue_ttl_seconds: u64) -> Self {
        let shared = redis.as_ref().map(|redis| (redis.url(), redis.prefix.clone()));
        let set = |config: &mut discussions::config::Config| {
            config.queue_ttl_seconds = queue_ttl_seconds;
            if let Some((url, prefix)) = &shared {
                config.redis_url = Some(url.as_str().into());
                config.redis_prefix.clone_from(prefix);
            }
        };
        let a = TestApp::start_with(&set).await;
        let b = TestApp::on(a.database.clone(), &set).await;
        let community = a.community("private").await;
        let article = a.article(&[community]).await;
        Self { redis, a, b, community, article }
    }

    async fn discussion(&self, client: &Client) -> Value {
        client.discussion(self.article, self.community, "A topic").await
    }

    /// The same user at the other node.
    fn at_b(&self, client: &Client) -> Client {
        self.b.client(client.user)
    }

    /// The same queue at the other node.
    fn queue_at_b(&self, queue: &Queue) -> Queue {
        Queue { client: self.at_b(&queue.client), ..queue.clone() }
    }

    async fn settled(&self) -> i64 {
        self.a.settled().await;
        self.b.settled().await
    }
}

/// The contract of a feed: every event that is committed at any node arrives at every node, once, in order and complete.
async fn contract(redis: Option<TestRedis>) {
    let nodes = Nodes::start(redis).await;
    let ada = nodes.a.member("ada", nodes.community).await;
    let grace = nodes.b.member("grace", nodes.community).await;
    let grace = nodes.b.client(grace.user);
    let discussion = nodes.discussion(&ada).await;
    nodes.settled().await;

    // A comment written at one node reaches a poll that is parked at the other.
    let mut queue = grace.register().await;
    let parked = queue.park(&nodes.b).await;
    let comment = ada.comment(&discussion, "from node to node").await;
    let answer = parked.await.unwrap().expect(200);
    assert_eq!(answer["events"][0]["comment_id"], comment["id"]);

    // So does an event for one user alone. A queue that another node has made finds the older ones too.
    queue.cursor = answer["last_event_id"].as_i64().unwrap();
    let at_a = nodes.a.client(grace.user).register().await;
    let parked = queue.park(&nodes.b).await;
    let vote = format!("/comments/{}/vote", comment["id"]);
    nodes.a.client(grace.user).put(&vote, json!({ "value": 1 })).await.expect(200);
    let answer = parked.await.unwrap().expect(200);
    assert_eq!((&answer["events"][0]["type"], &answer["events"][0]["value"]), (&json!("own_vote_changed"), &json!(1)));
    nodes.settled().await;
    let mut elsewhere = if nodes.redis.is_some() { nodes.queue_at_b(&at_a) } else { at_a };
    assert_eq!(types(&elsewhere.now().await), ["own_vote_changed", "votes_changed"]);

    // More rows than are read at once, some of them for nobody. No event is lost, repeated or out of order.
    nodes
        .a
        .sql(&format!(
            "insert into outbox (community_id, type, payload)
             select {}, 'new_comment', json_build_object('type', 'new_comment', 'community_id', {0}, 'number', n)
             from generate_series(1, 3000) n",
            nodes.community
        ))
        .await;
    nodes.settled().await;
    queue.cursor = answer["last_event_id"].as_i64().unwrap();
    let mut ids = Vec::new();
    while ids.len() < 1000 {
        // The log keeps 1,000 events, so begin with the oldest of them.
        let head = nodes.b.state.realtime.hub.head();
        queue.cursor = queue.cursor.max(head.minus(1000).get());
        ids.extend(queue.now().await.iter().map(|event| event["event_id"].as_i64().unwrap()));
    }
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
}

#[tokio::test]
async fn the_postgres_feed_keeps_the_contract() {
    contract(None).await;
}

#[tokio::test]
async fn the_redis_feed_keeps_the_contract() {
    contract(Some(TestRedis::start().await)).await;
}

#[tokio::test]
async fn any_node_serves_any_queue() {
    let nodes = Nodes::start(Some(TestRedis::start().await)).await;
    let ada = nodes.a.member("ada", nodes.community).await;
    let eve = nodes.b.member("eve", nodes.community).await;
    nodes.settled().await;
    let queue = ada.register().await;
    let mut at_b = nodes.queue_at_b(&queue);

    at_b.heartbeat().await.expect(204);
    let discussion = nodes.discussion(&ada).await;
    assert_eq!(at_b.events(1).await[0]["discussion_id"], discussion["id"]);
    // Only its user can use the queue.
    let stolen = Queue { client: nodes.b.client(eve.user), ..at_b.clone() };
    stolen.poll_raw(0.0).await.refused(404, "queue_not_found");
    stolen.heartbeat().await.refused(404, "queue_not_found");

    // A queue that is closed at one node is gone at the other, and its parked polls end.
    let parked = at_b.park(&nodes.b).await;
    ada.delete(&format!("/queues/{}", queue.id)).await.expect(204);
    parked.await.unwrap().refused(404, "queue_not_found");
    queue.poll_raw(0.0).await.refused(404, "queue_not_found");
    at_b.poll_raw(0.0).await.refused(404, "queue_not_found");
}

#[tokio::test]
async fn a_narrow_queue_stays_narrow_at_another_node() {
    let nodes = Nodes::start(Some(TestRedis::start().await)).await;
    let ada = nodes.a.member("ada", nodes.community).await;
    let other = nodes.a.community("private").await;
    nodes.a.join(ada.user, other, "member").await;
    let elsewhere = nodes.a.article(&[other]).await;
    nodes.settled().await;
    let queue = nodes.a.narrow_client(ada.user, &[other]).register().await;
    let mut at_b = nodes.queue_at_b(&queue);
    // A heartbeat with a wider token does not widen the queue.
    at_b.heartbeat().await.expect(204);
    nodes.discussion(&ada).await;
    ada.discussion(elsewhere, other, "Seen").await;
    nodes.settled().await;
    let events = at_b.now().await;
    assert_eq!(types(&events), ["new_discussion"]);
    assert_eq!(events[0]["topic"], "Seen");
}

#[tokio::test]
async fn a_membership_that_ends_ends_on_every_node() {
    let nodes = Nodes::start(Some(TestRedis::start().await)).await;
    let ada = nodes.a.member("ada", nodes.community).await;
    let grace = nodes.a.member("grace", nodes.community).await;
    nodes.settled().await;
    let at_a = grace.register().await;
    let mut at_b = nodes.queue_at_b(&at_a);
    let parked = at_b.park(&nodes.b).await;
    nodes.a.leave(grace.user, nodes.community).await;
    let answer = parked.await.unwrap().expect(200);
    assert_eq!(types(answer["events"].as_array().unwrap()), ["membership_changed"]);
    assert_eq!(answer["events"][0]["role"], Value::Null);
    at_b.cursor = answer["last_event_id"].as_i64().unwrap();
    nodes.discussion(&ada).await;
    nodes.settled().await;
    assert!(at_b.now().await.is_empty());
}

#[tokio::test]
async fn a_heartbeat_at_one_node_keeps_the_queue_at_all() {
    let nodes = Nodes::start_with(Some(TestRedis::start().await), 3).await;
    let ada = nodes.a.member("ada", nodes.community).await;
    nodes.settled().await;
    let queue = ada.register().await;
    let at_b = nodes.queue_at_b(&queue);
    at_b.poll_raw(0.0).await.expect(200);
    // Node B gets no heartbeat for longer than the queue's time to live, and keeps the queue.
    let start = Instant::now();
    let mut beats = tokio::time::interval(Duration::from_millis(500));
    while start.elapsed() < Duration::from_secs(5) {
        beats.tick().await;
        queue.heartbeat().await.expect(204);
    }
    at_b.poll_raw(0.0).await.expect(200);
    // Without heartbeats both nodes delete it within 5 s after its time to live, and free its memory.
    let gone = || nodes.a.state.realtime.hub.stats().queues == 0 && nodes.b.state.realtime.hub.stats().queues == 0;
    nodes.a.until(gone).await;
    at_b.poll_raw(0.0).await.refused(404, "queue_not_found");
}

/// Writes comments at one node while a queue polls at the other. No event may be lost, repeated or reordered.
async fn follows(nodes: &Nodes, ada: &Client, discussion: &Value, queue: &mut Queue, count: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for number in 0..count {
        let start = Instant::now();
        let comment = ada.comment(discussion, &format!("number {number}")).await;
        let events = tokio::time::timeout(PATIENCE, queue.events(1)).await.expect("delivered");
        assert_eq!(types(&events), ["new_comment"]);
        assert_eq!(events[0]["comment_id"], comment["id"]);
        longest = longest.max(start.elapsed());
    }
    assert_eq!(queue.cursor, nodes.settled().await);
    longest
}

#[tokio::test]
async fn delivery_goes_on_while_redis_is_gone_and_returns_to_it() {
    let mut nodes = Nodes::start(Some(TestRedis::start().await)).await;
    let ada = nodes.a.member("ada", nodes.community).await;
    let grace = nodes.a.member("grace", nodes.community).await;
    let discussion = nodes.discussion(&ada).await;
    nodes.settled().await;
    let mut queue = nodes.queue_at_b(&grace.register().await);
    follows(&nodes, &ada, &discussion, &mut queue, 5).await;

    nodes.redis.as_mut().unwrap().kill();
    let slowest = follows(&nodes, &ada, &discussion, &mut queue, 10).await;
    assert!(slowest < Duration::from_secs(3), "{slowest:?} with Redis gone");

    nodes.redis.as_mut().unwrap().start_again().await;
    follows(&nodes, &ada, &discussion, &mut queue, 10).await;
    // The new, empty Redis has been filled without gaps.
    let head = nodes.settled().await;
    let redis = nodes.redis.as_ref().unwrap();
    let filled = async {
        while redis.stream(&nodes.a).await.last() != Some(&head) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, filled).await.expect("the stream is filled in");
    assert_eq!(redis.stream(&nodes.a).await, (1..=head).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_emptied_redis_loses_nothing() {
    let nodes = Nodes::start(Some(TestRedis::start().await)).await;
    let redis = nodes.redis.as_ref().unwrap();
    let ada = nodes.a.member("ada", nodes.community).await;
    let grace = nodes.a.member("grace", nodes.community).await;
    let discussion = nodes.discussion(&ada).await;
    nodes.settled().await;
    let mut queue = nodes.queue_at_b(&grace.register().await);
    follows(&nodes, &ada, &discussion, &mut queue, 3).await;
    for _ in 0..3 {
        redis.command::<()>(&["FLUSHALL"]).await;
        follows(&nodes, &ada, &discussion, &mut queue, 3).await;
    }
    // This node knows the queue and still serves it. Its next heartbeat makes it known to all nodes again.
    queue.heartbeat().await.expect(204);
    let key = format!("{}queue:{}", redis.prefix, queue.id);
    assert!(redis.command::<bool>(&["EXISTS", &key]).await);
}

#[tokio::test]
async fn another_relay_takes_over_when_the_leader_goes() {
    let nodes = Nodes::start(None).await;
    let ada = nodes.b.member("ada", nodes.community).await;
    let ada = nodes.b.client(ada.user);
    let discussion = nodes.discussion(&ada).await;
    nodes.settled().await;
    let mut queue = ada.register().await;
    // The node that started first is the leader.
    let Nodes { a, b, .. } = nodes;
    a.stop().await;
    let start = Instant::now();
    ada.comment(&discussion, "after the leader").await;
    assert_eq!(types(&queue.events(1).await), ["new_comment"]);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    drop(b);
}

#[tokio::test]
async fn a_stuck_relay_with_the_lock_does_not_delay_delivery() {
    let nodes = Nodes::start(None).await;
    let ada = nodes.b.member("ada", nodes.community).await;
    let Nodes { a, b, community, article, .. } = nodes;
    // Another connection holds the lock and does nothing, as a paused leader does.
    let database = a.stop().await;
    let mut stuck = <sqlx::PgConnection as sqlx::Connection>::connect(&database.url).await.unwrap();
    let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(0x64_69_73_63_75_73_73_i64)
        .fetch_one(&mut stuck)
        .await
        .unwrap();
    if !taken {
        // The second node got the lock first. That is fine too, because it relays.
        tracing::info!("the lock was taken over already");
    }
    let ada = b.client(ada.user);
    let mut queue = ada.register().await;
    ada.post(
        &format!("/articles/{article}/discussions"),
        json!({"community_id": community, "topic": "t", "text": "t"}),
    )
    .await
    .expect(201);
    assert!(types(&queue.events(1).await).contains(&"new_discussion"));
}
