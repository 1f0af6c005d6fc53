//! The stream in Redis is bounded in bytes, and a node that is behind it reads PostgreSQL.

use std::time::Duration;

use discussions::config::Config;
use serde_json::Value;

use crate::{
    app::{CommunityId, EventId, PATIENCE, TestApp},
    redis::TestRedis,
};

/// The bound of the tests.
const STREAM_BYTES: usize = 20_000;

fn with(redis: &TestRedis, bytes: usize) -> impl Fn(&mut Config) + use<> {
    let (url, prefix) = (redis.url(), redis.prefix.clone());
    move |config| {
        config.redis_url = Some(url.as_str().into());
        config.redis_prefix.clone_from(&prefix);
        config.stream_bytes = bytes;
    }
}

/// Writes events of about `size` bytes in one transaction.
async fn write(app: &TestApp, community: CommunityId, count: usize, size: usize) {
    app.sql(&format!(
        "insert into outbox (community_id, type, payload)
         select {community}, 'new_comment', json_build_object('type', 'new_comment', 'community_id', {community}, 'text', repeat('x', {size}))
         from generate_series(1, {count})"
    ))
    .await;
}

/// The events in the stream, once `head` is there, and the bytes of their payloads.
async fn stream(redis: &TestRedis, app: &TestApp, head: EventId) -> (Vec<EventId>, usize) {
    let reading = async {
        loop {
            let ids = redis.stream(app).await;
            if ids.last() == Some(&head) {
                return ids;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ids = tokio::time::timeout(PATIENCE, reading).await.expect("the stream is filled in time");
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", &redis.events_key(app), "-", "+"]).await;
    let payload = |fields: &Vec<String>| fields.chunks(2).find(|pair| pair[0] == "p").map_or(0, |pair| pair[1].len());
    (ids, entries.iter().map(|(_, fields)| payload(fields)).sum())
}

/// Checks that the stream ends with the head, has no gap, and uses most of its room and no more.
async fn is_bounded(redis: &TestRedis, app: &TestApp, bound: usize) -> Vec<EventId> {
    let head = app.settled().await;
    let (ids, bytes) = stream(redis, app, head).await;
    assert_eq!(ids, (ids[0]..=head).collect::<Vec<_>>());
    assert!(bytes <= bound && bytes > bound / 2, "{bytes} of {bound} bytes in {} entries", ids.len());
    ids
}

#[tokio::test]
async fn the_stream_is_bounded_in_bytes_also_by_a_new_publisher() {
    let redis = TestRedis::start().await;
    let app = TestApp::start_with(with(&redis, STREAM_BYTES)).await;
    let community = app.community("private").await;
    for _ in 0..30 {
        write(&app, community, 3, 1_000).await;
        app.settled().await;
    }
    let before = is_bounded(&redis, &app, STREAM_BYTES).await;
    assert!(before.len() > 10, "{before:?}");
    let memory: usize = redis.command(&["MEMORY", "USAGE", &redis.events_key(&app), "SAMPLES", "0"]).await;
    assert!(memory < 2 * STREAM_BYTES, "{memory}");

    // The next process knows the sizes of what it finds there.
    let app = TestApp::on(app.stop().await, with(&redis, STREAM_BYTES)).await;
    write(&app, community, 1, 1_000).await;
    let after = is_bounded(&redis, &app, STREAM_BYTES).await;
    assert_eq!(after.len(), before.len(), "one has come and one has gone");
    // A lower bound holds from the next event on.
    let app = TestApp::on(app.stop().await, with(&redis, STREAM_BYTES / 2)).await;
    write(&app, community, 1, 1_000).await;
    is_bounded(&redis, &app, STREAM_BYTES / 2).await;
    // And so it does when the stream is filled anew.
    redis.command::<()>(&["FLUSHALL"]).await;
    is_bounded(&redis, &app, STREAM_BYTES / 2).await;
}

#[tokio::test]
async fn one_batch_that_is_larger_than_the_stream_reaches_every_node_completely() {
    let redis = TestRedis::start().await;
    let a = TestApp::start_with(with(&redis, STREAM_BYTES)).await;
    let b = TestApp::on(a.database.clone(), with(&redis, STREAM_BYTES)).await;
    let community = a.community("private").await;
    let ada = a.member("ada", community).await;
    a.settled().await;
    b.settled().await;
    let mut at_a = ada.register().await;
    let mut at_b = b.client(ada.user).register().await;
    let first = at_a.cursor + 1;
    // The relay numbers them at once. Only the newest twenty or so fit into the stream.
    write(&a, community, 400, 1_000).await;
    let head = a.settled().await;
    let ids = is_bounded(&redis, &a, STREAM_BYTES).await;
    assert!(ids[0] > first + 300, "{ids:?}");
    for queue in [&mut at_a, &mut at_b] {
        let events = queue.events(400).await;
        let ids: Vec<EventId> = events.iter().map(|event: &Value| event["event_id"].as_i64().unwrap()).collect();
        assert_eq!(ids, (first..=head).collect::<Vec<_>>());
    }
}
