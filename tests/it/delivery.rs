//! The delivery of a comment from one user to another.

use crate::app::{TestApp, types};

#[tokio::test]
async fn a_comment_arrives_in_anothers_parked_poll() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    let discussion = ada.discussion(article, community, "Sample size").await;
    app.settled().await;

    let queue = grace.register().await;
    let parked = queue.park(&app).await;
    let comment = ada.comment(&discussion, "Is 12 enough?").await;
    let answer = parked.await.unwrap().expect(200);
    let events = answer["events"].as_array().unwrap();
    assert_eq!(types(events), ["new_comment"]);
    assert_eq!(events[0]["comment_id"], comment["id"]);
    assert_eq!(events[0]["text"], "Is 12 enough?");
    assert_eq!(events[0]["comment_count"], 1);
    assert_eq!(answer["last_event_id"], events[0]["event_id"]);
}

/// Writes `count` outbox rows for a community, as changes would. Returns the head when the hub has all of them.
pub(crate) async fn write_events(app: &TestApp, community: i64, count: i32) -> i64 {
    insert_events(&app.pool, community, count).await;
    app.state.db.relay().notify();
    app.settled().await
}

/// Writes `count` outbox rows for a community in one statement.
pub(crate) async fn insert_events(db: impl sqlx::PgExecutor<'_>, community: i64, count: i32) {
    sqlx::query(
        "insert into outbox (community_id, type, payload)
         select $1, 'new_discussion', json_build_object('type', 'new_discussion', 'community_id', $1, 'number', number)
         from generate_series(1, $2) number",
    )
    .bind(community)
    .bind(count)
    .execute(db)
    .await
    .unwrap();
}
