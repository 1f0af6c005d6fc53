//! The eleven rules of the poll, in their order.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    app::{Answer, PATIENCE, TestApp, types},
    delivery::write_events,
};

fn ids(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["event_id"].as_i64().unwrap()).collect()
}

#[track_caller]
fn nothing(answer: Answer) -> i64 {
    let body = answer.expect(200);
    assert_eq!(body["events"], json!([]), "{body}");
    body["last_event_id"].as_i64().unwrap()
}

#[track_caller]
fn catch_up(answer: Answer) {
    assert_eq!(answer.expect(200), json!({ "catchup_required": true }));
}

// 1. The queue belongs to its user. A token narrower than the queue narrows the answer; none widens it.

#[tokio::test]
async fn another_users_queue_is_as_unknown_as_one_that_never_existed() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let (ada, eve) = (app.member("ada", community).await, app.member("eve", community).await);
    let queue = ada.register().await;
    eve.register().await;
    let answers = async |id: &str| {
        let poll = format!("/poll?queue_id={id}&last_event_id=0&timeout=0");
        [
            eve.get(&poll).await,
            eve.post("/heartbeat", json!({ "queue_id": id })).await,
            eve.delete(&format!("/queues/{id}")).await,
            eve.post(&format!("/queues/{id}/close"), json!({})).await,
        ]
    };
    let others = answers(&queue.id).await;
    let unknown = answers("00000000-0000-4000-8000-000000000000").await;
    let nonsense = answers("1").await;
    for ((other, unknown), nonsense) in others.into_iter().zip(unknown).zip(nonsense) {
        let other = other.refused(404, "queue_not_found");
        assert_eq!(other, unknown.refused(404, "queue_not_found"));
        assert_eq!(other, nonsense.refused(404, "queue_not_found"));
    }
    nothing(queue.poll_raw(0.0).await);
    app.anonymous().get(&format!("/poll?queue_id={}&last_event_id=0", queue.id)).await.refused(401, "token_missing");
}

#[tokio::test]
async fn a_token_narrows_its_queues_answers_and_never_widens_them() {
    let app = TestApp::start().await;
    let (north, south) = (app.community("private").await, app.community("hidden").await);
    let ada = app.member("ada", north).await;
    app.join(ada.user, south, "member").await;
    app.settled().await;
    let narrow = app.narrow_client(ada.user, &[north]);

    let wide_queue = ada.register().await;
    let mut wide_queue_narrow_token = wide_queue.clone();
    wide_queue_narrow_token.client = narrow.clone();
    let narrow_queue = narrow.register().await;
    let mut narrow_queue_wide_token = narrow_queue.clone();
    narrow_queue_wide_token.client = ada.clone();
    let mut narrow_queue_other_token = narrow_queue.clone();
    narrow_queue_other_token.client = app.narrow_client(ada.user, &[south]);

    let parked = wide_queue_narrow_token.park(&app).await;
    write_events(&app, south, 1).await;
    assert_eq!(app.state.realtime.hub.stats().parked, 1, "an event outside of the token wakes nothing");
    write_events(&app, north, 1).await;
    let answer = parked.await.unwrap().expect(200);
    assert_eq!(answer["events"].as_array().unwrap().len(), 1);
    assert_eq!(answer["events"][0]["community_id"], north);
    // The scope also applies to membership events.
    app.sql(&format!("update memberships set role = 'admin' where user_id = {}", ada.user)).await;
    app.settled().await;

    let communities = |events: Vec<Value>| -> Vec<i64> {
        let mut ids: Vec<_> = events.iter().map(|event| event["community_id"].as_i64().unwrap()).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(communities(wide_queue.clone().now().await), [north, north, south, south]);
    assert_eq!(communities(wide_queue_narrow_token.now().await), [north, north]);
    assert_eq!(communities(narrow_queue_wide_token.now().await), [north, north]);
    assert_eq!(communities(narrow_queue_other_token.now().await), [0; 0]);
}

// 2. Only a heartbeat resets the inactivity timer; without one the queue is deleted within 5 s.

#[tokio::test]
async fn polls_do_not_keep_a_queue_and_heartbeats_do() {
    let app = TestApp::start_with(|config| config.queue_ttl_seconds = 2).await;
    let community = app.community("public").await;
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    let kept = grace.register().await;
    let start = Instant::now();
    let (polling, parked) = (ada.register().await, ada.register().await);
    let parked = parked.park(&app).await;

    let polls = async {
        loop {
            let answer = polling.poll_raw(0.2).await;
            if answer.status != 200 {
                break answer.refused(404, "queue_not_found");
            }
            kept.heartbeat().await.expect(204);
        }
    };
    tokio::time::timeout(PATIENCE, polls).await.expect("the queue expires although it is polled");
    let lived = start.elapsed();
    assert!(lived >= Duration::from_secs(2) && lived < Duration::from_secs(2 + 5), "{lived:?}");
    parked.await.unwrap().refused(404, "queue_not_found");
    app.until(|| app.state.realtime.hub.stats().queues == 1).await;
    assert!(start.elapsed() < Duration::from_secs(2 + 5));
    let stats = app.state.realtime.hub.stats();
    assert_eq!((stats.queues, stats.users, stats.parked), (1, 1, 0));
    kept.heartbeat().await.expect(204);
    polling.heartbeat().await.refused(404, "queue_not_found");
}

// 3. The answer's last_event_id is the head. A quiet queue's cursor moves on too.

#[tokio::test]
async fn the_cursor_of_a_quiet_queue_moves_on() {
    let app = TestApp::start().await;
    let (busy, quiet) = (app.community("public").await, app.community("public").await);
    let ada = app.member("ada", quiet).await;
    app.settled().await;
    let queue = ada.register().await;
    let head = write_events(&app, busy, 3).await;
    assert!(head > queue.cursor);
    assert_eq!(nothing(queue.poll_raw(0.0).await), head);

    // The cursor also moves while the poll is parked.
    let parked = {
        let queue = queue.clone();
        tokio::spawn(async move { queue.poll_raw(0.5).await })
    };
    app.until(|| app.state.realtime.hub.stats().parked == 1).await;
    let head = write_events(&app, busy, 3).await;
    assert_eq!(nothing(parked.await.unwrap()), head);
}

// 4. catchup_required is exact.

#[tokio::test]
async fn catch_up_is_required_only_if_an_event_of_the_queues_communities_is_gone() {
    let app = TestApp::start_with(|config| config.community_log_events = 5).await;
    let (busy, quiet) = (app.community("public").await, app.community("public").await);
    let (ada, grace) = (app.member("ada", busy).await, app.member("grace", quiet).await);
    let before_quiet = app.settled().await;
    write_events(&app, quiet, 2).await;
    let before = app.settled().await;
    let head = write_events(&app, busy, 12).await;
    let exact = async |app: &TestApp, head: i64| {
        let (mut busy_queue, mut quiet_queue) =
            (app.client(ada.user).register().await, app.client(grace.user).register().await);
        // Of `before + 1 ..= before + 12` the last five are kept.
        for cursor in 0..before + 7 {
            busy_queue.cursor = cursor;
            catch_up(busy_queue.poll_raw(0.0).await);
        }
        for cursor in before + 7..=before + 12 {
            busy_queue.cursor = cursor;
            assert_eq!(ids(&busy_queue.now().await), (cursor + 1..=before + 12).collect::<Vec<_>>());
        }
        // A quiet community never causes a catch-up, however much happens elsewhere.
        quiet_queue.cursor = before_quiet;
        assert_eq!(ids(&quiet_queue.now().await), [before_quiet + 1, before_quiet + 2]);
        assert_eq!(quiet_queue.cursor, head);
        for cursor in [before, head] {
            quiet_queue.cursor = cursor;
            assert_eq!(quiet_queue.now().await, [] as [Value; 0]);
        }
        // The cursor is ahead of the head.
        for cursor in [head + 1, i64::MAX] {
            quiet_queue.cursor = cursor;
            catch_up(quiet_queue.poll_raw(0.0).await);
            catch_up(quiet_queue.poll_raw(5.0).await);
        }
    };
    exact(&app, head).await;
    let database = app.stop().await;
    let app = TestApp::on(database, |config| config.community_log_events = 5).await;
    exact(&app, head).await;
}

#[tokio::test]
async fn the_bound_of_all_logs_together_is_as_exact() {
    let limit = |config: &mut discussions::config::Config| config.total_log_events = 10;
    let app = TestApp::start_with(limit).await;
    let (busy, slow) = (app.community("public").await, app.community("public").await);
    let (ada, grace) = (app.member("ada", busy).await, app.member("grace", slow).await);
    let older = write_events(&app, slow, 1).await;
    write_events(&app, busy, 5).await;
    let newer = write_events(&app, slow, 1).await;
    let head = write_events(&app, busy, 9).await;
    // The oldest events that are there, of the slow and of the busy community.
    let exact = async |app: &TestApp, slow: &[i64], first_busy: i64| {
        let (mut busy_queue, mut slow_queue) =
            (app.client(ada.user).register().await, app.client(grace.user).register().await);
        if slow[0] > older {
            slow_queue.cursor = older - 1;
            catch_up(slow_queue.poll_raw(0.0).await);
        }
        slow_queue.cursor = slow[0] - 1;
        assert_eq!(ids(&slow_queue.now().await), slow);
        assert_eq!(slow_queue.cursor, head);
        // A cursor before the newest event that is gone. The event before that one may be the slow community's.
        busy_queue.cursor = first_busy - 3;
        catch_up(busy_queue.poll_raw(0.0).await);
        busy_queue.cursor = first_busy - 1;
        assert_eq!(ids(&busy_queue.now().await), (first_busy..=head).collect::<Vec<_>>());
    };
    // The largest log gives way, so the slow community loses nothing.
    exact(&app, &[older, newer], newer + 2).await;
    // After a restart the node has the newest ten events of the order.
    let database = app.stop().await;
    exact(&TestApp::on(database, limit).await, &[newer], newer + 1).await;
}

// 5. A newer poll answers the parked one at once with an empty list. It steals nothing from it.

#[tokio::test]
async fn a_newer_poll_ends_the_older_one_and_steals_nothing() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let mut queue = ada.register().await;

    let older = queue.park(&app).await;
    let newer = {
        let queue = queue.clone();
        tokio::spawn(async move { queue.poll_raw(30.0).await })
    };
    let start = Instant::now();
    let seen = nothing(older.await.unwrap());
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(seen, queue.cursor);
    app.until(|| app.state.realtime.hub.stats().parked == 1).await;
    let event = write_events(&app, community, 1).await;
    let answer = newer.await.unwrap().expect(200);
    assert_eq!(ids(answer["events"].as_array().unwrap()), [event]);
    // The older poll's cursor still works.
    queue.cursor = seen;
    assert_eq!(ids(&queue.now().await), [event]);

    // A newer poll that is answered at once also ends the older one.
    let older = queue.park(&app).await;
    nothing(queue.poll_raw(0.0).await);
    nothing(older.await.unwrap());
}

// 6. timeout=0 answers at once. A client may ask for less than the maximum, never more.

#[tokio::test]
async fn a_poll_waits_as_long_as_asked_and_never_longer_than_the_maximum() {
    let app = TestApp::start_with(|config| config.poll_timeout_seconds = 1).await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let answer = ada.post("/register", json!({})).await.expect(200);
    assert_eq!(answer["poll_timeout_seconds"], 1);
    let queue = ada.register().await;
    let took = async |timeout: f64| {
        let start = Instant::now();
        nothing(queue.poll_raw(timeout).await);
        start.elapsed().as_secs_f64()
    };
    assert!(took(0.0).await < 0.5);
    let some = took(0.4).await;
    assert!((0.4..0.95).contains(&some), "{some}");
    for more in [1.5, 1e18] {
        let all = took(more).await;
        assert!((1.0..1.45).contains(&all), "{all}");
    }
    let start = Instant::now();
    nothing(ada.get(&format!("/poll?queue_id={}&last_event_id={}", queue.id, queue.cursor)).await);
    assert!(start.elapsed() >= Duration::from_secs(1), "the maximum is the default");
    for nonsense in ["-1", "NaN", "inf", "soon"] {
        let path = format!("/poll?queue_id={}&last_event_id=0&timeout={nonsense}", queue.id);
        ada.get(&path).await.refused(400, "invalid_parameter");
    }
}

// 7. A user may have 32 queues. A further one replaces the queue that was idle longest.

#[tokio::test]
async fn the_33rd_queue_takes_the_place_of_the_one_idle_longest() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    app.settled().await;
    let others = grace.register().await;
    let mut queues = Vec::new();
    for _ in 0..32 {
        queues.push(ada.register().await);
    }
    // The first queue is the oldest but has a heartbeat. A poll does not count as activity.
    queues[0].heartbeat().await.expect(204);
    let parked = queues[1].park(&app).await;
    queues.push(ada.register().await);
    parked.await.unwrap().refused(404, "queue_not_found");
    for (number, queue) in queues.iter().enumerate() {
        let answer = queue.poll_raw(0.0).await;
        assert_eq!(answer.status, if number == 1 { 404 } else { 200 }, "queue {number}");
    }
    nothing(others.poll_raw(0.0).await);
    assert_eq!(app.state.realtime.hub.stats().queues, 33);
}

// 8. A new queue may be polled with the cursor of an expired one.

#[tokio::test]
async fn a_new_queue_goes_on_from_the_cursor_of_an_expired_one() {
    let app = TestApp::start_with(|config| {
        config.queue_ttl_seconds = 1;
        config.community_log_events = 3;
    })
    .await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let expired = ada.register().await;
    let last = write_events(&app, community, 2).await;
    app.until(|| app.state.realtime.hub.stats().queues == 0).await;
    expired.poll_raw(0.0).await.refused(404, "queue_not_found");

    let mut queue = ada.register().await;
    assert_eq!(queue.cursor, last);
    queue.cursor = expired.cursor;
    assert_eq!(ids(&queue.now().await), [last - 1, last]);
    write_events(&app, community, 2).await;
    queue.cursor = expired.cursor;
    catch_up(queue.poll_raw(0.0).await);
}

// 9. An answer has 500 events at most. Then last_event_id is that of its last event.

#[tokio::test]
async fn an_answer_has_500_events_at_the_most() {
    let app = TestApp::start().await;
    let (north, south) = (app.community("public").await, app.community("public").await);
    let ada = app.member("ada", north).await;
    app.join(ada.user, south, "member").await;
    app.settled().await;
    let mut queue = ada.register().await;
    let first = queue.cursor + 1;
    write_events(&app, north, 499).await;
    app.join(ada.user, north, "admin").await;
    app.settled().await;
    let head = write_events(&app, south, 510).await;

    let answer = queue.now().await;
    assert_eq!(ids(&answer), (first..first + 500).collect::<Vec<_>>());
    assert_eq!(types(&answer[498..]), ["new_discussion", "membership_changed"]);
    assert_eq!(queue.cursor, first + 499);
    let answer = queue.now().await;
    assert_eq!(ids(&answer), (first + 500..first + 1000).collect::<Vec<_>>());
    assert_eq!(queue.now().await.len(), 10);
    assert_eq!(queue.cursor, head);

    // With exactly 500 events, the answer has all of them and the head.
    queue.cursor = head - 500;
    assert_eq!(queue.now().await.len(), 500);
    assert_eq!(queue.cursor, head);
}

// 9a. An answer ends near 1 MiB as well.

#[tokio::test]
async fn an_answer_ends_near_1_mib_and_the_next_one_continues() {
    let app = TestApp::start().await;
    let (north, south) = (app.community("public").await, app.community("public").await);
    let ada = app.member("ada", north).await;
    app.join(ada.user, south, "member").await;
    app.settled().await;
    let mut queue = ada.register().await;
    let first = queue.cursor + 1;
    // Each is 200 kB, but for one that is larger than an answer.
    for (index, community) in [north, south, north, south, north, south, north, north, south].into_iter().enumerate() {
        let text = "x".repeat(if index == 6 { 2 << 20 } else { 200_000 });
        sqlx::query("insert into outbox (community_id, type, payload) values ($1, 'new_comment', $2)")
            .bind(community)
            .bind(json!({ "type": "new_comment", "community_id": community, "text": text }))
            .execute(&app.pool)
            .await
            .unwrap();
    }
    let head = app.settled().await;
    let mut answers = Vec::new();
    while queue.cursor < head {
        answers.push(ids(&queue.now().await));
    }
    let lengths: Vec<usize> = answers.iter().map(Vec::len).collect();
    assert_eq!(lengths, [5, 1, 1, 2], "the large event has an answer of its own");
    assert_eq!(answers.concat(), (first..=head).collect::<Vec<_>>());
}

// 10. Cache-Control: no-store. A client that goes away frees its slot. No connection and no session write while parked.

#[tokio::test]
async fn no_answer_of_a_poll_is_kept_by_any_cache() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    let mut queue = ada.register().await;
    queue.cursor = 0;
    let events = queue.poll_raw(0.0).await;
    let gone = ada.get("/poll?queue_id=x&last_event_id=0").await;
    queue.cursor = i64::MAX;
    let catchup = queue.poll_raw(0.0).await;
    queue.cursor = app.settled().await;
    let empty = queue.poll_raw(0.0).await;
    for (answer, status) in [(events, 200), (gone, 404), (catchup, 200), (empty, 200)] {
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["content-type"], "application/json");
        answer.expect(status);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_slot() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let queue = ada.register().await;
    let parked = queue.park(&app).await;
    parked.abort();
    app.until(|| app.state.realtime.hub.stats().parked == 0).await;
    // The queue still exists.
    let event = write_events(&app, community, 1).await;
    assert_eq!(ids(&queue.clone().now().await), [event]);
}

#[tokio::test]
async fn parked_polls_hold_no_connection_and_write_no_session() {
    let app = TestApp::start_with(|config| config.database_connections = 1).await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    // One of the polls uses a session cookie.
    let cookie = ada.session_cookie().await;
    let versions = async || -> Vec<(String, String)> {
        sqlx::query_as("select id, xmin::text from sessions").fetch_all(&app.pool).await.unwrap()
    };
    let sessions = versions().await;
    assert_eq!(sessions.len(), 1);

    let mut parked = Vec::new();
    for _ in 0..5 {
        parked.push(ada.register().await.park(&app).await);
    }
    let by_cookie = {
        let (app_client, queue) = (app.anonymous(), ada.register().await);
        let path = format!("/poll?queue_id={}&last_event_id={}&timeout=30", queue.id, queue.cursor);
        let request = app_client.request(Method::GET, &path).header("cookie", cookie);
        tokio::spawn(async move { app_client.send(request).await })
    };
    app.until(|| app.state.realtime.hub.stats().parked == 6).await;
    app.until(|| {
        let (connections, idle) = app.state.db.size();
        idle == connections
    })
    .await;
    let discussion = ada.discussion(article, community, "Still answering").await;
    for poll in parked.into_iter().chain([by_cookie]) {
        let body = poll.await.unwrap().expect(200);
        assert_eq!(body["events"][0]["discussion_id"], discussion["id"]);
    }
    assert_eq!(versions().await, sessions);
}

// 11. Graceful shutdown answers parked polls at once with an empty list.

#[tokio::test]
async fn shutdown_answers_parked_polls_at_once_with_an_empty_list() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    let head = app.settled().await;
    let mut parked = Vec::new();
    for _ in 0..3 {
        parked.push(ada.register().await.park(&app).await);
    }
    let start = Instant::now();
    app.stop().await;
    for poll in parked {
        assert_eq!(nothing(poll.await.unwrap()), head);
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}
