//! The invariants I1 to I8 of docs/architecture.md, except those that have their own file.

use std::time::{Duration, Instant};

use discussions::{auth::jwt, events::relay};
use serde_json::{Value, json};
use sqlx::{Acquire, Connection, Executor, PgConnection};

use crate::{
    app::{PATIENCE, SECRET, TestApp, types},
    delivery::{insert_events, write_events},
};

fn ids(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["event_id"].as_i64().unwrap()).collect()
}

fn event_ids(body: &Value) -> Vec<i64> {
    ids(body["events"].as_array().unwrap())
}

// I1: a change and its outbox row commit together or not at all.

#[tokio::test]
async fn a_change_whose_event_cannot_be_written_is_not_made() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "Before").await;
    let comment = ada.comment(&discussion, "Before").await;
    app.settled().await;
    app.sql(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
         create trigger refuse before insert on outbox for each row execute function refuse()",
    )
    .await;
    let (discussion, comment) = (format!("/discussions/{}", discussion["id"]), format!("/comments/{}", comment["id"]));
    let new = json!({ "community_id": community, "topic": "After", "text": "After" });
    ada.post(&format!("/articles/{article}/discussions"), new).await.refused(500, "internal");
    ada.patch(&discussion, json!({ "topic": "After" })).await.refused(500, "internal");
    ada.post(&format!("{discussion}/comments"), json!({ "text": "After" })).await.refused(500, "internal");
    ada.patch(&comment, json!({ "text": "After" })).await.refused(500, "internal");
    ada.delete(&comment).await.refused(500, "internal");
    ada.delete(&discussion).await.refused(500, "internal");

    let list = ada.get(&format!("/articles/{article}/discussions")).await.expect(200);
    assert_eq!(list["discussions"].as_array().unwrap().len(), 1);
    let only = &list["discussions"][0];
    assert_eq!(
        (&only["topic"], &only["comment_count"], &only["deleted_at"]),
        (&json!("Before"), &json!(1), &Value::Null)
    );
    assert_eq!(ada.get(&comment).await.expect(200)["text"], "Before");
}

#[tokio::test]
async fn a_change_that_cannot_commit_is_never_delivered() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let head = app.settled().await;
    let mut queue = ada.register().await;
    app.sql(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
         create constraint trigger refuse after insert on discussions deferrable initially deferred
             for each row execute function refuse()",
    )
    .await;
    let new = json!({ "community_id": community, "topic": "Never", "text": "Never" });
    ada.post(&format!("/articles/{article}/discussions"), new).await.refused(500, "internal");
    // An event that another program rolls back is not delivered either.
    let mut transaction = app.pool.begin().await.unwrap();
    insert_events(&mut *transaction, community, 3).await;
    transaction.rollback().await.unwrap();

    let last = write_events(&app, community, 1).await;
    assert_eq!(ids(&queue.now().await), [last]);
    assert_eq!(last, head + 1, "a rolled back row leaves no gap");
}

// I2, I3: order, no gap.

#[tokio::test]
async fn a_transaction_that_wrote_first_and_commits_last_is_delivered_once_to_everyone() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let (mut queue, mut late_reader) = (ada.register().await, ada.register().await);
    let first = queue.cursor + 1;

    let mut slow = app.pool.begin().await.unwrap();
    insert_events(&mut *slow, community, 1).await;
    write_events(&app, community, 2).await;
    assert_eq!(ids(&queue.now().await), [first, first + 1]);
    let parked = queue.park(&app).await;
    slow.commit().await.unwrap();
    let body = parked.await.unwrap().expect(200);
    assert_eq!(event_ids(&body), [first + 2]);
    queue.cursor = first + 2;
    write_events(&app, community, 1).await;
    assert_eq!(ids(&queue.now().await), [first + 3]);
    assert_eq!(ids(&late_reader.now().await), [first, first + 1, first + 2, first + 3]);
    let numbers: Vec<i64> =
        sqlx::query_scalar("select event_id from outbox where community_id <> 0 and user_id is null order by id")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(numbers, [first + 2, first, first + 1, first + 3], "the order is that of commits");
}

#[tokio::test]
async fn many_relays_at_once_number_without_gap_or_repetition() {
    let app = TestApp::start().await;
    let other_node = TestApp::on(app.database.clone(), |_| {}).await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let mut here = ada.register().await;
    let mut there = other_node.client(ada.user).register().await;
    let first = here.cursor + 1;

    let stop = tokio_util::sync::CancellationToken::new();
    let mut relays = tokio::task::JoinSet::new();
    for batch in [1, 7, 50] {
        let (stop, url) = (stop.clone(), app.database.url.clone());
        relays.spawn(async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            let mut numbered = Vec::new();
            while !stop.is_cancelled() {
                numbered
                    .extend(relay::number(&mut connection, batch).await.unwrap().into_iter().map(|row| row.event_id));
            }
            numbered
        });
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6 {
        let pool = app.pool.clone();
        writers.spawn(async move {
            for round in 0..30 {
                let mut connection = pool.acquire().await.unwrap();
                let mut transaction = connection.begin().await.unwrap();
                insert_events(&mut *transaction, community, 1 + (writer + round) % 3).await;
                if (writer + round) % 5 == 4 {
                    transaction.rollback().await.unwrap();
                } else {
                    transaction.commit().await.unwrap();
                }
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let head = app.settled().await;
    stop.cancel();
    let mut by_hand = Vec::new();
    while let Some(numbered) = relays.join_next().await {
        let numbered = numbered.unwrap();
        assert!(numbered.is_sorted());
        by_hand.extend(numbered);
    }
    assert!(by_hand.len() > 10, "the relays of the test have done some of it");
    by_hand.sort_unstable();
    assert!(by_hand.windows(2).all(|pair| pair[0] < pair[1]), "no number was given twice");
    let (rows, distinct, least, most): (i64, i64, i64, i64) =
        sqlx::query_as("select count(*), count(distinct event_id), min(event_id), max(event_id) from outbox")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!((rows, distinct, least, most), (head, head, 1, head));
    other_node.settled().await;
    let all: Vec<_> = (first..=head).collect();
    assert_eq!(ids(&here.events(all.len()).await), all);
    assert_eq!(ids(&there.events(all.len()).await), all);
}

// I7: a crash between assigning an id and delivering the event.

#[tokio::test]
async fn events_that_a_relay_numbered_before_it_died_are_delivered_once() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let mut queue = ada.register().await;
    let first = queue.cursor + 1;

    // A relay numbered and committed the event, but died before it passed it on.
    let parked = queue.park(&app).await;
    let mut transaction = app.pool.begin().await.unwrap();
    insert_events(&mut *transaction, community, 1).await;
    transaction.execute("select assign_event_ids(10)").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(event_ids(&parked.await.unwrap().expect(200)), [first]);
    queue.cursor = first;

    // The same, and the notification is lost too.
    let parked = queue.park(&app).await;
    let mut transaction = app.pool.begin().await.unwrap();
    transaction.execute("update event_head set last_assigned = last_assigned + 1").await.unwrap();
    insert_events(&mut *transaction, community, 1).await;
    transaction
        .execute("update outbox set event_id = last_assigned from event_head where event_id is null")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(event_ids(&parked.await.unwrap().expect(200)), [first + 1]);
    queue.cursor = first + 1;

    // A relay died before the commit. Another one numbers the event again, with the same number.
    let parked = queue.park(&app).await;
    let mut dying = app.pool.begin().await.unwrap();
    dying.execute("select from event_head for update").await.unwrap();
    insert_events(&app.pool, community, 1).await;
    let numbered = relay::number(&mut *dying, 10).await.unwrap();
    assert_eq!(numbered.iter().map(|row| row.event_id.get()).collect::<Vec<_>>(), [first + 2]);
    dying.rollback().await.unwrap();
    assert_eq!(event_ids(&parked.await.unwrap().expect(200)), [first + 2]);
    queue.cursor = first + 2;

    let last = write_events(&app, community, 1).await;
    assert_eq!(ids(&queue.now().await), [last]);
    assert_eq!(last, first + 3);
}

// I5: permission at each event's position in the order.

#[tokio::test]
async fn a_member_removed_while_parked_gets_that_event_and_no_more() {
    let app = TestApp::start().await;
    let (left, kept) = (app.community("private").await, app.community("private").await);
    let article = app.article(&[left]).await;
    let (ada, eve) = (app.member("ada", left).await, app.member("eve", left).await);
    app.join(eve.user, kept, "member").await;
    app.settled().await;
    let (mut queue, mut stays) = (eve.register().await, ada.register().await);
    let parked = queue.park(&app).await;
    app.leave(eve.user, left).await;
    let body = parked.await.unwrap().expect(200);
    let event = &body["events"][0];
    assert_eq!(types(body["events"].as_array().unwrap()), ["membership_changed"]);
    assert_eq!((&event["community_id"], &event["user_id"]), (&json!(left), &json!(eve.user)));
    assert_eq!((&event["role"], &event["previous_role"]), (&Value::Null, &json!("member")));
    let old_cursor = queue.cursor;
    queue.cursor = body["last_event_id"].as_i64().unwrap();

    let parked = queue.park(&app).await;
    ada.discussion(article, left, "Among ourselves").await;
    app.settled().await;
    assert_eq!(app.state.realtime.hub.stats().parked, 1, "it is not even notified");
    let elsewhere = write_events(&app, kept, 1).await;
    assert_eq!(event_ids(&parked.await.unwrap().expect(200)), [elsewhere]);
    // An older cursor gets no more events, and neither does a new queue with that cursor.
    queue.cursor = old_cursor;
    assert_eq!(types(&queue.now().await), ["membership_changed", "new_discussion"]);
    let mut again = eve.register().await;
    again.cursor = old_cursor;
    assert_eq!(types(&again.now().await), ["membership_changed", "new_discussion"]);
    assert_eq!(types(&stays.now().await), ["new_discussion"], "others do not get her membership event");
}

#[tokio::test]
async fn a_new_member_gets_later_events_and_no_earlier_ones() {
    let app = TestApp::start().await;
    let (home, joined) = (app.community("private").await, app.community("hidden").await);
    let eve = app.member("eve", home).await;
    app.settled().await;
    let mut queue = eve.register().await;
    let old_cursor = queue.cursor;
    write_events(&app, joined, 3).await;
    let parked = queue.park(&app).await;
    app.join(eve.user, joined, "reviewer").await;
    let body = parked.await.unwrap().expect(200);
    assert_eq!(types(body["events"].as_array().unwrap()), ["membership_changed"]);
    assert_eq!(body["events"][0]["role"], "reviewer");
    queue.cursor = body["last_event_id"].as_i64().unwrap();
    let parked = queue.park(&app).await;
    let after = write_events(&app, joined, 1).await;
    assert_eq!(event_ids(&parked.await.unwrap().expect(200)), [after]);
    let mut again = eve.register().await;
    for queue in [&mut queue, &mut again] {
        queue.cursor = old_cursor;
        assert_eq!(ids(&queue.now().await), [after - 1, after]);
    }
}

#[tokio::test]
async fn memberships_that_any_program_changes_in_any_way_are_followed() {
    let app = TestApp::start().await;
    let (home, other) = (app.community("private").await, app.community("private").await);
    let mut queues = Vec::new();
    for name in ["ada", "grace", "eve"] {
        queues.push(app.member(name, home).await);
    }
    app.settled().await;
    let mut queues = [queues[0].register().await, queues[1].register().await, queues[2].register().await];
    let statement = async |sql: String, expected: Value| {
        app.sql(&sql).await;
        app.settled().await;
        let mut outcomes = Vec::new();
        for queue in &mut queues.clone() {
            queue.cursor = expected["from"].as_i64().unwrap();
            let events = queue.now().await;
            for event in &events {
                assert_eq!(event["user_id"], queue.client.user, "only one's own");
            }
            let change = |event: &Value| json!([event["community_id"], event["previous_role"], event["role"]]);
            outcomes.push(events.iter().map(change).collect::<Vec<_>>());
        }
        assert_eq!(json!(outcomes), expected["each"], "{sql}");
    };
    let from = async || app.settled().await;
    let all = |change: Value| json!([[change.clone()], [change.clone()], [change]]);
    let step = from().await;
    statement(
        format!("insert into memberships (user_id, community_id, role) select id, {other}, 'member' from users"),
        json!({ "from": step, "each": all(json!([other, null, "member"])) }),
    )
    .await;
    let step = from().await;
    statement(
        format!("update memberships set role = 'admin' where community_id = {other}"),
        json!({ "from": step, "each": all(json!([other, "member", "admin"])) }),
    )
    .await;
    let step = from().await;
    statement("update memberships set role = role".to_owned(), json!({ "from": step, "each": [[], [], []] })).await;
    let step = from().await;
    statement(
        format!("delete from memberships where community_id = {other} and user_id <> {}", queues[0].client.user),
        json!({ "from": step, "each": [[], [[other, "admin", null]], [[other, "admin", null]]] }),
    )
    .await;
    let step = from().await;
    statement(
        format!(
            "update memberships set community_id = {other} where community_id = {home} and user_id = {}",
            queues[1].client.user
        ),
        json!({ "from": step, "each": [[], [[home, "member", null], [other, null, "member"]], []] }),
    )
    .await;
    let step = from().await;
    statement(
        format!("delete from memberships where user_id = {}", queues[2].client.user),
        json!({ "from": step, "each": [[], [], [[home, "member", null]]] }),
    )
    .await;
    let step = from().await;
    statement(
        "truncate memberships".to_owned(),
        json!({ "from": step, "each": [[[home, "member", null], [other, "admin", null]], [[other, "member", null]], []] }),
    )
    .await;
    let step = from().await;
    write_events(&app, home, 2).await;
    write_events(&app, other, 2).await;
    for queue in &mut queues {
        queue.cursor = step;
        assert_eq!(queue.now().await, [] as [Value; 0]);
        queue.client.post("/register", json!({})).await.refused(403, "no_communities");
    }
}

#[tokio::test]
async fn a_poll_does_not_outlive_its_token() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let queue = ada.register().await;
    let mut brief = queue.clone();
    brief.client = app.bearer(ada.user, jwt::mint(SECRET, ada.user.into(), None, 2).unwrap());
    let start = Instant::now();
    let body = tokio::time::timeout(PATIENCE, brief.poll_raw(30.0)).await.unwrap().expect(200);
    assert_eq!(body["events"], json!([]));
    assert!(start.elapsed() <= Duration::from_millis(2_500), "{:?}", start.elapsed());
    let expired = async {
        while brief.poll_raw(0.1).await.status != 401 {}
        brief.poll_raw(0.0).await.refused(401, "token_expired")
    };
    tokio::time::timeout(PATIENCE, expired).await.unwrap();
    queue.poll_raw(0.0).await.expect(200);
}

// I8: rest.

#[tokio::test]
async fn an_event_costs_nothing_for_queues_that_do_not_get_it() {
    let app = TestApp::start().await;
    let (busy, quiet) = (app.community("public").await, app.community("public").await);
    let ada = app.member("ada", quiet).await;
    app.settled().await;
    let mut parked = Vec::new();
    for _ in 0..30 {
        parked.push(ada.register().await.park(&app).await);
    }
    write_events(&app, busy, 300).await;
    assert_eq!(app.state.realtime.hub.stats().parked, 30);
    assert!(parked.iter().all(|poll| !poll.is_finished()));
    let event = write_events(&app, quiet, 1).await;
    for poll in parked {
        assert_eq!(event_ids(&poll.await.unwrap().expect(200)), [event]);
    }
    assert_eq!(app.state.realtime.hub.stats().parked, 0);
}
