//! Fifty writers and two hundred pollers at once: no event is lost, repeated, out of order or leaked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::app::{Client, CommunityId, EventId, PATIENCE, Queue, TestApp, UserId};

const COMMUNITIES: usize = 5;
const WRITERS: usize = 50;
const QUEUES_EACH: usize = 4;
/// The number of users who leave and join meanwhile.
const RESTLESS: usize = 10;
const DURATION: Duration = Duration::from_secs(4);

/// A comment that a server acknowledged, and its parent.
struct Acknowledged {
    comment: i64,
    parent: Option<i64>,
}

/// Writes until `end`. Returns the acknowledged comments.
async fn write(client: Client, discussions: Vec<i64>, end: Instant) -> Vec<Acknowledged> {
    let mut written: Vec<Acknowledged> = Vec::new();
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    let mut round = client.user as usize;
    while Instant::now() < end {
        round += 1;
        let discussion = discussions[round % discussions.len()];
        // Every third comment is a reply to the writer's own latest root.
        let parent = last.get(&discussion).copied().filter(|_| round.is_multiple_of(3));
        let body = json!({ "text": "As I said", "parent_id": parent });
        let answer = client.post(&format!("/discussions/{discussion}/comments"), body).await;
        match answer.status {
            201 => {
                let comment = answer.body["id"].as_i64().unwrap();
                if parent.is_none() {
                    last.insert(discussion, comment);
                }
                written.push(Acknowledged { comment, parent });
            }
            // Users who have left get 403 or 404. A busy machine may cause a 503.
            403 | 404 | 503 => {}
            status => panic!("{status}: {}", answer.body),
        }
    }
    written
}

/// Polls until the cursor has reached the writers' end. Returns the user, the first cursor and the events.
async fn listen(
    mut queue: Queue,
    hasty: bool,
    ended: tokio::sync::watch::Receiver<EventId>,
) -> (UserId, EventId, Vec<Value>) {
    let (user, start) = (queue.client.user, queue.cursor);
    let mut received = Vec::new();
    while queue.cursor < *ended.borrow() {
        if hasty {
            // Hang up in some polls and poll again with the same cursor.
            let _ = tokio::time::timeout(Duration::from_millis(3), queue.poll_raw(1.0)).await;
        }
        received.extend(queue.poll(1.0).await);
    }
    (user, start, received)
}

/// The comment counts in a list, and the list's position in the order.
type Counted = (EventId, Vec<(i64, i64)>);

async fn look(client: Client, article: i64, community: CommunityId, stop: CancellationToken) -> Vec<Counted> {
    let mut counted = Vec::new();
    while !stop.is_cancelled() {
        let path = format!("/articles/{article}/discussions?community_id={community}");
        let list = client.get(&path).await.expect(200);
        let counts = list["discussions"].as_array().unwrap().iter();
        let counts = counts.map(|it| (it["id"].as_i64().unwrap(), it["comment_count"].as_i64().unwrap())).collect();
        counted.push((list["last_event_id"].as_i64().unwrap(), counts));
    }
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_and_many_pollers() {
    // The logs are larger than usual, because a slow poller on a busy machine must not need a catch-up.
    let app = TestApp::start_with(|config| {
        config.community_log_events = 100_000;
        config.database_connections = 20;
    })
    .await;
    let mut communities = Vec::new();
    for kind in ["public", "private", "hidden", "private", "public"] {
        communities.push(app.community(kind).await);
    }
    let article = app.article(&communities).await;
    let mut clients = Vec::new();
    for number in 0..WRITERS {
        let user = app.user(&format!("user-{number}")).await;
        for offset in 0..2 {
            app.join(user, communities[(number + offset) % COMMUNITIES], "member").await;
        }
        clients.push(app.client(user));
    }
    let mut discussions = vec![Vec::new(); COMMUNITIES];
    for (number, client) in clients.iter().take(2 * COMMUNITIES).enumerate() {
        let index = number % COMMUNITIES;
        let discussion = client.discussion(article, communities[index], "Busy").await;
        discussions[index].push(discussion["id"].as_i64().unwrap());
    }
    app.settled().await;

    let (ended, ending) = tokio::sync::watch::channel(EventId::MAX);
    let mut pollers = JoinSet::new();
    for (number, client) in clients.iter().enumerate() {
        for queue in 0..QUEUES_EACH {
            let hasty = (number + queue) % 5 == 0;
            pollers.spawn(listen(client.register().await, hasty, ending.clone()));
        }
    }
    let end = Instant::now() + DURATION;
    let mut writers = JoinSet::new();
    for (number, client) in clients.iter().enumerate() {
        let own = [&discussions[number % COMMUNITIES][..], &discussions[(number + 1) % COMMUNITIES]].concat();
        writers.spawn(write(client.clone(), own, end));
    }
    let stop = CancellationToken::new();
    let mut readers = JoinSet::new();
    for index in 0..2 {
        readers.spawn(look(clients[index].clone(), article, communities[index], stop.clone()));
    }
    let app = Arc::new(app);
    let restless = {
        let (app, communities) = (Arc::clone(&app), communities.clone());
        let users: Vec<_> = clients[WRITERS - RESTLESS..].iter().map(|client| client.user).collect();
        tokio::spawn(async move {
            let mut round = 0;
            while Instant::now() < end {
                let user = users[round % users.len()];
                let community = communities[round / 3 % COMMUNITIES];
                if round % 2 == 0 {
                    app.leave(user, community).await;
                } else {
                    app.join(user, community, "member").await;
                }
                round += 1;
            }
        })
    };

    let mut acknowledged = Vec::new();
    while let Some(written) = writers.join_next().await {
        acknowledged.extend(written.unwrap());
    }
    restless.await.unwrap();
    stop.cancel();
    let head = app.settled().await;
    ended.send_replace(head);
    let mut received = Vec::new();
    let all_received = async {
        while let Some(done) = pollers.join_next().await {
            received.push(done.unwrap());
        }
    };
    tokio::time::timeout(3 * PATIENCE, all_received).await.expect("all pollers come to the head in time");

    // Compare with the log of record, event by event.
    type Row = (EventId, CommunityId, Option<UserId>, String);
    let rows: Vec<Row> =
        sqlx::query_as("select event_id, community_id, user_id, payload::text from outbox order by event_id")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert!(rows.iter().map(|row| row.0).eq(1..=head), "contiguous");
    let events: Vec<Value> = rows.iter().map(|row| serde_json::from_str(&row.3).unwrap()).collect();

    // Every acknowledged comment is there, replies come after their parents, and each discussion's count rises by one.
    let mut place_of = BTreeMap::new();
    let mut counts: BTreeMap<i64, Vec<(EventId, i64)>> = BTreeMap::new();
    for (row, event) in rows.iter().zip(&events).filter(|(_, event)| event["type"] == "new_comment") {
        let comment = event["comment_id"].as_i64().unwrap();
        assert_eq!(place_of.insert(comment, row.0), None, "comment {comment} has one event");
        let counted = counts.entry(event["discussion_id"].as_i64().unwrap()).or_default();
        let count = event["comment_count"].as_i64().unwrap();
        assert_eq!(
            count,
            counted.last().map_or(0, |it| it.1) + 1,
            "a discussion's events come in the order of their commits"
        );
        counted.push((row.0, count));
    }
    assert!(acknowledged.len() >= WRITERS, "only {} written", acknowledged.len());
    for Acknowledged { comment, parent } in &acknowledged {
        assert!(place_of.contains_key(comment), "comment {comment} was acknowledged");
        assert!(parent.is_none_or(|parent| place_of[&parent] < place_of[comment]));
    }

    // Each poller got exactly the events that its user may see. Events of a membership that has ended could be got only before
    // its end.
    let mut delivered = 0;
    for (user, start, received) in received {
        let mut member_of = BTreeSet::new();
        let mut expected: BTreeMap<EventId, (CommunityId, bool)> = BTreeMap::new();
        for (row, event) in rows.iter().zip(&events) {
            let visible = match row.2 {
                None => member_of.contains(&row.1),
                // Queues of tests leave the own events of notifications out.
                Some(_) if event["type"] != "membership_changed" => false,
                Some(one) if one == user => {
                    if event["role"].is_null() {
                        member_of.remove(&row.1);
                        let ended = expected.values_mut().filter(|(within, _)| *within == row.1);
                        ended.for_each(|(_, must)| *must = false);
                    } else {
                        member_of.insert(row.1);
                    }
                    true
                }
                Some(_) => false,
            };
            if visible && row.0 > start {
                // Events for this user alone are delivered in any case. They count as community 0.
                expected.insert(row.0, (if row.2.is_some() { 0 } else { row.1 }, true));
            }
        }
        let received: Vec<_> = received.iter().map(|event| event["event_id"].as_i64().unwrap()).collect();
        assert!(received.windows(2).all(|pair| pair[0] < pair[1]), "user {user}: in order, once");
        assert!(received.iter().all(|event_id| expected.contains_key(event_id)), "user {user}: nothing else");
        let left_out =
            expected.iter().filter(|(event_id, (_, must))| *must && received.binary_search(event_id).is_err());
        assert_eq!(left_out.count(), 0, "user {user}: all of it");
        delivered += received.len();
    }
    assert!(delivered > acknowledged.len() * 10);

    // Each list had everything up to its last_event_id.
    while let Some(counted) = readers.join_next().await {
        for (at, list) in counted.unwrap() {
            for (discussion, count) in list {
                let known = counts.get(&discussion).into_iter().flatten().take_while(|it| it.0 <= at).last();
                assert!(count >= known.map_or(0, |it| it.1), "a list at {at} lacks comments of {discussion}");
            }
        }
    }
    app.until(|| app.state.realtime.hub.stats().parked == 0).await;
}
