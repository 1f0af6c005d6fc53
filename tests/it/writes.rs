//! A write ends completely even if its client hangs up at any time (I9), and no connection is reused in the middle of its work.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, http::Request};
use discussions::{db::Db, events::Change, router};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};
use tower::ServiceExt;

use crate::app::{Client, PATIENCE, TestApp};

/// Drops a future after it was polled `polls` times.
struct GivenUpAfter<F> {
    polls: usize,
    inner: Pin<Box<F>>,
}

impl<F: Future> Future for GivenUpAfter<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.polls.checked_sub(1) else { return Poll::Ready(None) };
        self.polls = left;
        match self.inner.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // This was the last poll. Drop the future while its request is under way.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn given_up_after<F: Future>(polls: usize, inner: F) -> GivenUpAfter<F> {
    GivenUpAfter { polls, inner: Box::pin(inner) }
}

/// A community with a discussion, and queries about it.
struct World {
    app: TestApp,
    ada: Client,
    article: i64,
    community: i64,
    discussion: Value,
}

impl World {
    /// Starts it with this many connections for requests.
    async fn new(connections: u32) -> Self {
        let app = TestApp::start_with(|config| config.database_connections = connections).await;
        let community = app.community("private").await;
        let article = app.article(&[community]).await;
        let ada = app.member("ada", community).await;
        let discussion = ada.discussion(article, community, "Sample size").await;
        Self { app, ada, article, community, discussion }
    }

    fn comments(&self) -> String {
        format!("/discussions/{}/comments", self.discussion["id"])
    }

    /// Waits until no session of the application is in a transaction. Rolling back takes a moment.
    async fn no_open_transaction(&self) {
        let open =
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
                    and application_name = 'discussions' and state like 'idle in transaction%'";
        let waiting = async {
            while sqlx::query_scalar::<_, i64>(open).fetch_one(&self.app.pool).await.unwrap() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("no session stays in a transaction");
    }

    /// Checks that every comment has exactly one event, every such event has its comment, and the counts are right.
    async fn is_whole(&self) {
        let torn: Vec<(String, i64)> = sqlx::query_as(
            "select 'comments without one event', count(*) from comments k
             where (select count(*) from outbox where type = 'new_comment' and (payload->>'comment_id')::bigint = k.id) <> 1
             union all
             select 'events without a comment', count(*) from outbox o
             where type = 'new_comment' and not exists (select from comments where id = (o.payload->>'comment_id')::bigint)
             union all
             select 'discussions that miscount', count(*) from discussions d
             where comment_count <> (select count(*) from comments where discussion_id = d.id and deleted_at is null)",
        )
        .fetch_all(&self.app.pool)
        .await
        .unwrap();
        assert!(torn.iter().all(|(_, count)| *count == 0), "{torn:?}");
    }

    /// The texts of all committed comments, as another program sees them.
    async fn committed(&self) -> Vec<String> {
        sqlx::query_scalar("select text from comments order by id").fetch_all(&self.app.pool).await.unwrap()
    }
}

/// A transaction of several statements, as in the handlers.
async fn write_twice(db: &Db, discussion: i64, change: &Change) -> discussions::error::Result<()> {
    let mut write = db.write();
    for _ in 0..2 {
        sqlx::query("update discussions set updated_at = updated_at where id = $1")
            .bind(discussion)
            .execute(&mut write)
            .await?;
    }
    write.emit(change).await?;
    write.commit().await?;
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_is_given_up_at_any_await_leaves_nothing_behind() {
    let world = World::new(1).await;
    let db = &world.app.state.db;
    let discussion = world.discussion["id"].as_i64().unwrap();
    let change = Change::DeletedDiscussion {
        community_id: world.community.into(),
        article_id: world.article.into(),
        discussion_id: discussion.into(),
        timestamp: chrono::Utc::now(),
    };
    // PostgreSQL's answer may be there before it is awaited. Then there is one await less, so one round may have too few.
    let mut given_up = 0;
    for round in 0..100 {
        for polls in 1.. {
            let ended = given_up_after(polls, write_twice(db, discussion, &change)).await;
            // The next statement uses the only connection. When it is acknowledged, everyone must see its result.
            let marker = format!("marker {round} {polls}");
            sqlx::query("update discussions set topic = $2 where id = $1")
                .bind(discussion)
                .bind(&marker)
                .execute(db)
                .await
                .unwrap();
            let topic: String = sqlx::query_scalar("select topic from discussions where id = $1")
                .bind(discussion)
                .fetch_one(&world.app.pool)
                .await
                .unwrap();
            assert_eq!(topic, marker, "acknowledged after a write that was given up at poll {polls}");
            world.no_open_transaction().await;
            if let Some(ended) = ended {
                ended.unwrap();
                break;
            }
            given_up += 1;
        }
        if given_up >= 6 {
            return;
        }
    }
    panic!("it was given up only {given_up} times");
}

#[tokio::test]
async fn a_request_that_is_given_up_at_any_await_writes_all_or_nothing() {
    let world = World::new(1).await;
    let token = world.ada.token.clone().unwrap();
    for with_key in [false, true] {
        for polls in 1.. {
            let text = format!("{with_key} {polls}");
            let mut request = Request::post(world.comments())
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/json");
            if with_key {
                request = request.header("idempotency-key", &text);
            }
            let request = request.body(Body::from(json!({ "text": text }).to_string())).unwrap();
            let answered = given_up_after(polls, router::router(&world.app.state).oneshot(request)).await;
            let next = world.ada.comment(&world.discussion, &format!("after {text}")).await;
            assert!(world.committed().await.contains(&format!("after {text}")), "{next} was acknowledged");
            if let Some(Ok(response)) = answered {
                assert_eq!(response.status(), 201);
                assert!(world.committed().await.contains(&text));
                break;
            }
        }
    }
    world.app.state.writes.close();
    world.app.state.writes.wait().await;
    world.no_open_transaction().await;
    world.is_whole().await;
}

/// Sends a request and hangs up after `pause` without waiting for the answer.
async fn hang_up(addr: SocketAddr, request: String, pause: Duration) {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(pause).await;
    // Reset the connection, so that the server's writes fail from now on.
    socket.set_zero_linger().unwrap();
}

#[tokio::test]
async fn clients_that_hang_up_in_the_middle_of_writes_cost_nobody_an_acknowledged_one() {
    let world = World::new(4).await;
    let (addr, token, path) = (world.app.addr, world.ada.token.clone().unwrap(), world.comments());
    let mut clients = JoinSet::new();
    for cutter in 0..4 {
        let (token, path) = (token.clone(), path.clone());
        clients.spawn(async move {
            for number in 0..60 {
                let body = json!({ "text": format!("cut {cutter} {number}") }).to_string();
                let key = if number % 2 == 0 { format!("Idempotency-Key: {cutter}-{number}\r\n") } else { String::new() };
                let request = format!(
                    "POST {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n{key}Content-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                hang_up(addr, request, Duration::from_micros(130 * number)).await;
            }
            Vec::new()
        });
    }
    for writer in 0..6 {
        let (ada, path) = (world.ada.clone(), path.clone());
        clients.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..50 {
                let text = format!("kept {writer} {number}");
                let request = ada.request(Method::POST, &path).json(&json!({ "text": text }));
                ada.send(request).await.expect(201);
                acknowledged.push(text);
            }
            acknowledged
        });
    }
    let mut acknowledged = Vec::new();
    while let Some(texts) = clients.join_next().await {
        acknowledged.extend(texts.unwrap());
    }
    world.app.state.writes.close();
    world.app.state.writes.wait().await;
    let committed = world.committed().await;
    let lost: Vec<_> = acknowledged.iter().filter(|text| !committed.contains(text)).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    world.no_open_transaction().await;
    world.is_whole().await;
    assert!(committed.len() > acknowledged.len(), "some of those that hung up were written all the same");
}

#[tokio::test]
async fn a_write_outlives_its_client_and_its_time_limit() {
    let world = World::new(4).await;
    let discussion = world.discussion["id"].as_i64().unwrap();
    // Another program locks the discussion's row, which every comment updates, for longer than a request may take.
    let mut holder = world.app.pool.begin().await.unwrap();
    sqlx::query("select from discussions where id = $1 for update")
        .bind(discussion)
        .execute(&mut *holder)
        .await
        .unwrap();
    let answer = world.ada.post(&world.comments(), json!({ "text": "late" })).await;
    answer.refused(503, "unavailable");
    holder.commit().await.unwrap();
    world.app.state.writes.close();
    world.app.state.writes.wait().await;
    assert_eq!(world.committed().await, ["late"]);
    world.is_whole().await;
}

#[tokio::test]
async fn a_failed_statement_is_never_followed_by_a_commit_that_looks_good() {
    let world = World::new(1).await;
    let db = &world.app.state.db;
    let mut write = db.write();
    sqlx::query("update discussions set topic = 'changed'").execute(&mut write).await.unwrap();
    // A faulty handler continues after an error.
    sqlx::query("update discussions set topic = ''").execute(&mut write).await.unwrap_err();
    write.commit().await.unwrap_err();
    let topic: String = sqlx::query_scalar("select topic from discussions").fetch_one(db).await.unwrap();
    assert_eq!(topic, "Sample size");
}

#[tokio::test]
async fn the_last_statement_of_a_transaction_commits_it_only_if_it_found_its_row() {
    let world = World::new(1).await;
    let db = &world.app.state.db;
    for (id, expected) in [(-1, "Sample size"), (world.discussion["id"].as_i64().unwrap(), "changed")] {
        let mut write = db.write();
        sqlx::query("update discussions set topic = 'changed'").execute(&mut write).await.unwrap();
        let found = sqlx::query("update discussions set text = 'too' where id = $1 returning id").bind(id);
        let found = found.fetch_optional(write.last()).await.unwrap();
        assert_eq!(found.is_some(), id > 0);
        let topic: String =
            sqlx::query_scalar("select topic from discussions").fetch_one(&world.app.pool).await.unwrap();
        assert_eq!(topic, expected);
    }
    world.no_open_transaction().await;
}

#[tokio::test]
async fn a_lock_that_takes_too_long_is_answered_503() {
    let app = TestApp::start().await;
    app.sql(&format!("alter database {} set lock_timeout = '50ms'", app.database.url.rsplit('/').next().unwrap()))
        .await;
    let database = app.stop().await;
    let app = TestApp::on(database, |_| {}).await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let mut holder = app.pool.begin().await.unwrap();
    sqlx::query("select from discussions for update").execute(&mut *holder).await.unwrap();
    let answer = ada.post(&format!("/discussions/{}/comments", discussion["id"]), json!({ "text": "late" })).await;
    answer.refused(503, "unavailable");
    holder.rollback().await.unwrap();
    ada.comment(&discussion, "in time").await;
}

#[tokio::test]
async fn defaults_of_the_database_change_nothing() {
    let app = TestApp::start().await;
    let name = app.database.url.rsplit('/').next().unwrap();
    for setting in [
        "default_transaction_isolation = 'serializable'",
        "statement_timeout = '7s'",
        "idle_in_transaction_session_timeout = 0",
        "plan_cache_mode = 'force_custom_plan'",
    ] {
        app.sql(&format!("alter database {name} set {setting}")).await;
    }
    let app = TestApp::on(app.stop().await, |_| {}).await;
    let shown = |name: &'static str| {
        let db = app.state.db.clone();
        async move { sqlx::query_scalar::<_, String>(name).fetch_one(&db).await.unwrap() }
    };
    assert_eq!(shown("show transaction_isolation").await, "read committed");
    assert_eq!(shown("show statement_timeout").await, "10s");
    assert_eq!(shown("show idle_in_transaction_session_timeout").await, "10s");
    // A statement is planned once. See `who_writes_to_few_people_does_not_read_all_members`.
    assert_eq!(shown("show plan_cache_mode").await, "force_generic_plan");
    let mut write = app.state.db.write();
    let level: String = sqlx::query_scalar("show transaction_isolation").fetch_one(&mut write).await.unwrap();
    assert_eq!(level, "read committed");
}
