//! Deleted text is readable nowhere: not by an old cursor at any node, not in the outbox, not in Redis, not by a repeated POST.

use discussions::events::{OutboxRow, relay};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    app::{Client, PATIENCE, Queue, TestApp, TestDatabase, types},
    redis::TestRedis,
};

/// All texts, topics and names that a test deletes have this in them.
const SECRET: &str = "hush";

fn set_redis(redis: Option<&TestRedis>) -> impl Fn(&mut discussions::config::Config) {
    let shared = redis.map(|redis| (redis.url(), redis.prefix.clone()));
    move |config| {
        if let Some((url, prefix)) = &shared {
            config.redis_url = Some(url.as_str().into());
            config.redis_prefix.clone_from(prefix);
        }
    }
}

/// The rows of all tables that have the deleted text, with the name of their table.
async fn rows_with_secret(app: &TestApp) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select quote_ident(table_name) from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let mut found = Vec::new();
    for table in tables.iter().filter(|table| *table != "users") {
        let rows = format!("select '{table}: ' || t::text from {table} t where t::text like '%{SECRET}%'");
        found.extend(sqlx::query_scalar::<_, String>(&rows).fetch_all(&app.pool).await.unwrap());
    }
    found
}

/// Waits until the stream ends with the newest event, and has the deleted text or has it no more. Nodes may be ahead of the stream,
/// because they read the database too.
async fn stream_with_secret(redis: &TestRedis, app: &TestApp, has_secret: bool) {
    let head = app.settled().await;
    let published = async {
        loop {
            let numbers = redis.stream(app).await;
            let entries: redis::Value = redis.command(&["XRANGE", &redis.events_key(app), "-", "+"]).await;
            if numbers.last() == Some(&head) && format!("{entries:?}").contains(SECRET) == has_secret {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, published)
        .await
        .expect("the publisher adds all events and removes the deleted text");
}

/// All events after `cursor`, by a new queue of this user.
async fn after(client: &Client, cursor: i64) -> Vec<Value> {
    let mut queue = Queue { cursor, ..client.register().await };
    queue.now().await
}

async fn contract(redis: Option<TestRedis>) {
    let set = set_redis(redis.as_ref());
    let a = TestApp::start_with(&set).await;
    let b = TestApp::on(a.database.clone(), &set).await;
    let community = a.community("private").await;
    let article = a.article(&[community]).await;
    let ada = a.member(&format!("ada {SECRET}"), community).await;
    let grace = a.member("grace", community).await;
    let start = a.settled().await;

    let new =
        json!({ "community_id": community, "topic": format!("topic {SECRET}"), "text": format!("text {SECRET}") });
    let begin = ada.request(Method::POST, &format!("/articles/{article}/discussions")).header("Idempotency-Key", "d");
    let discussion = ada.send(begin.json(&new)).await.expect(201);
    let path = format!("/discussions/{}/comments", discussion["id"]);
    a.member(&format!("friend.{SECRET}"), community).await;
    let comment = json!({ "text": format!("comment {SECRET} @friend.{SECRET}") });
    let write = ada.request(Method::POST, &path).header("Idempotency-Key", "c").json(&comment);
    let comment = ada.send(write).await.expect(201);
    ada.patch(&format!("/comments/{}", comment["id"]), json!({ "text": format!("edited {SECRET}") })).await.expect(200);
    grace.reply(&comment, "a reply").await;
    ada.patch(&format!("/discussions/{}", discussion["id"]), json!({ "is_resolved": true })).await.expect(200);
    let summary = format!("/articles/{article}/summary?community_id={community}");
    a.join(ada.user, community, "admin").await;
    for text in ["a first", "a second"] {
        ada.put(&summary, json!({ "text": format!("{text} {SECRET}") })).await.expect(200);
    }
    a.settled().await;
    b.settled().await;
    let written = after(&b.client(grace.user), start).await;
    assert_eq!(written.iter().filter(|event| event.to_string().contains(SECRET)).count(), 6, "{written:?}");
    assert!(!rows_with_secret(&a).await.is_empty());
    if let Some(redis) = &redis {
        stream_with_secret(redis, &a, true).await;
    }

    // One deletion at each node.
    ada.delete(&format!("/comments/{}", comment["id"])).await.expect(204);
    b.client(ada.user).delete(&format!("/discussions/{}", discussion["id"])).await.expect(204);
    a.client(ada.user).delete(&summary).await.expect(204);
    a.settled().await;
    b.settled().await;
    let c = TestApp::on(a.database.clone(), &set).await;
    let deletions = after(&grace, written.last().unwrap()["event_id"].as_i64().unwrap()).await;
    assert_eq!(types(&deletions), ["deleted_comment", "deleted_discussion", "updated_summary"]);
    for node in [&a, &b, &c] {
        let events = after(&node.client(grace.user), start).await;
        assert_eq!(events.len(), written.len() + 3);
        assert_eq!(events[written.len()..], deletions);
        for (event, before) in events.iter().zip(&written) {
            let mut expected = before.clone();
            let things = ["comment", "discussion", "summary"];
            let deletion = things.iter().position(|thing| event["type"].as_str().unwrap().ends_with(thing)).unwrap();
            if before.to_string().contains(SECRET) {
                for name in ["topic", "text", "author", "resolved_by"] {
                    expected.as_object_mut().unwrap().entry(name).and_modify(|value| *value = Value::Null);
                }
                if deletion < 2 {
                    expected["mentions"] = json!([]);
                }
                expected["deleted_at"] = deletions[deletion]["timestamp"].clone();
            }
            assert_eq!(*event, expected);
        }
    }

    assert_eq!(rows_with_secret(&a).await, Vec::<String>::new());
    if let Some(redis) = &redis {
        stream_with_secret(redis, &a, false).await;
    }
}

#[tokio::test]
async fn deleted_text_is_gone_at_every_node_and_after_a_restart() {
    contract(None).await;
}

#[tokio::test]
async fn deleted_text_is_gone_with_redis_too() {
    contract(Some(TestRedis::start().await)).await;
}

/// A node that died, or one of the last release, may have added a deletion to the stream and removed nothing.
#[tokio::test]
async fn every_publisher_removes_what_another_left_in_the_stream() {
    let redis = TestRedis::start().await;
    let set = set_redis(Some(&redis));
    let app = TestApp::start_with(&set).await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "A topic").await;
    let comment = ada.comment(&discussion, SECRET).await;
    ada.delete(&format!("/comments/{}", comment["id"])).await.expect(204);
    stream_with_secret(&redis, &app, false).await;
    let key = redis.events_key(&app);

    // The stream as the last release would have left it.
    let head = app.state.realtime.hub.head().get();
    let database = app.stop().await;
    let _: i64 = redis.command(&["DEL", &key]).await;
    for event_id in 1..=head {
        let payload = if event_id == head { "{\"type\":\"deleted_comment\"}" } else { SECRET };
        let id = format!("{event_id}-0");
        let _: String = redis.command(&["XADD", &key, &id, "c", "1", "t", "0", "p", payload]).await;
    }
    let app = TestApp::on(database, &set).await;
    let expected: Vec<i64> = (1..=head).filter(|event_id| *event_id != head - 1).collect();
    let removing = async {
        while redis.stream(&app).await != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, removing).await.expect("the comment's event is removed, and no other");
}

/// A summary may be written again after its deletion, and deleted again.
#[tokio::test]
async fn each_deletion_of_a_summary_redacts_what_it_deleted_and_nothing_else() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let articles = [app.article(&[community]).await, app.article(&[community]).await];
    let ada = app.with_role("ada", community, "admin").await;
    let start = app.settled().await;
    let summary = |article| format!("/articles/{article}/summary?community_id={community}");
    for text in ["one", "two"] {
        for article in articles {
            ada.put(&summary(article), json!({ "text": format!("{text} {SECRET}") })).await.expect(200);
        }
        ada.delete(&summary(articles[0])).await.expect(204);
    }
    ada.put(&summary(articles[0]), json!({ "text": "three" })).await.expect(200);
    app.settled().await;
    let shown = |events: Vec<Value>| -> Vec<Value> {
        let of_first = events.iter().filter(|event| event["article_id"] == articles[0]);
        of_first
            .map(|event| json!([event["revision"], event["text"], event["deleted_at"], event["author"]["username"]]))
            .collect()
    };
    let events = after(&ada, start).await;
    assert_eq!(
        events.iter().filter(|event| event.to_string().contains(SECRET)).count(),
        2,
        "those of the other article"
    );
    let deleted_at: Vec<_> = events
        .iter()
        .filter(|event| event["text"].is_null() && event["deleted_at"].is_null())
        .map(|event| &event["timestamp"])
        .collect();
    let expected = [
        json!([1, null, deleted_at[0], null]),
        json!([2, null, null, null]),
        json!([3, null, deleted_at[1], null]),
        json!([4, null, null, null]),
        json!([5, "three", null, "ada"]),
    ];
    assert_eq!(shown(events.clone()), expected);
    // A node that starts reads what the outbox has redacted, with the deletions after it.
    let fresh = TestApp::on(app.database.clone(), |_| {}).await;
    assert_eq!(shown(after(&fresh.client(ada.user), start).await), expected);
    let twice = "select count(*) from outbox where payload::text like '%deleted_at%deleted_at%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(twice).fetch_one(&app.pool).await.unwrap(), 0);
    for node in [&app, &fresh] {
        let queue = Queue { cursor: start, ..node.client(ada.user).register().await };
        let poll = format!("/poll?queue_id={}&last_event_id={start}&timeout=0", queue.id);
        let text = node.client(ada.user).request(Method::GET, &poll).send().await.unwrap().text().await.unwrap();
        assert_eq!(text.matches("deleted_at").count(), 2, "{text}");
    }
}

#[tokio::test]
async fn edits_and_deletions_at_once_leave_no_text() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let ada = app.with_role("ada", community, "admin").await;
    let start = app.settled().await;
    for _ in 0..5 {
        let discussion = ada.discussion(article, community, SECRET).await;
        let comment = ada.comment(&discussion, SECRET).await;
        let mut requests = tokio::task::JoinSet::new();
        for number in 0..5 {
            let (ada, path) = (ada.clone(), format!("/articles/{article}/summary?community_id={community}"));
            requests.spawn(async move {
                if number == 2 {
                    ada.delete(&path).await.expect(204);
                } else {
                    ada.put(&path, json!({ "text": format!("{SECRET} {number}") })).await.expect(200);
                }
            });
        }
        for (path, field) in [("comments", "text"), ("discussions", "topic")] {
            let id = if path == "comments" { &comment["id"] } else { &discussion["id"] };
            let path = format!("/{path}/{id}");
            for number in 0..5 {
                let (ada, path) = (ada.clone(), path.clone());
                requests.spawn(async move {
                    if number == 2 {
                        ada.delete(&path).await.expect(204);
                    } else {
                        let answer = ada.patch(&path, json!({ field: format!("{SECRET} {number}") })).await;
                        assert!(matches!(answer.status, 200 | 409), "{}", answer.body);
                    }
                });
            }
        }
        while let Some(done) = requests.join_next().await {
            done.unwrap();
        }
    }
    ada.delete(&format!("/articles/{article}/summary?community_id={community}")).await.expect(204);
    app.settled().await;
    assert_eq!(rows_with_secret(&app).await, Vec::<String>::new());
    let events = after(&ada, start).await;
    assert!(!json!(events).to_string().contains(SECRET), "{events:?}");
    assert_eq!(events.iter().filter(|event| event["type"] == "deleted_comment").count(), 5);
}

/// A database without a server.
struct Bare {
    connection: PgConnection,
    _database: TestDatabase,
}

impl Bare {
    async fn new(database: TestDatabase) -> Self {
        Self { connection: PgConnection::connect(&database.url).await.unwrap(), _database: database }
    }

    async fn emit(&mut self, payload: Value) {
        let insert = sqlx::query("insert into outbox (community_id, type, payload) values (1, $1, $2)");
        let insert = insert.bind(payload["type"].as_str().unwrap().to_owned()).bind(payload);
        insert.execute(&mut self.connection).await.unwrap();
    }

    async fn comment(&mut self, kind: &str, id: i64) {
        self.emit(json!({ "type": kind, "comment_id": id, "discussion_id": 1, "text": SECRET, "author": { "username": SECRET } }))
            .await;
    }

    async fn delete(&mut self, id: i64) {
        self.emit(json!({ "type": "deleted_comment", "comment_id": id, "discussion_id": 1, "timestamp": "now" })).await;
    }

    /// What the relay hands to the nodes.
    async fn number(&mut self) -> Vec<OutboxRow> {
        relay::number(&mut self.connection, 1_000).await.unwrap()
    }

    /// The numbers of the events that still have their text.
    async fn with_secret(&mut self) -> Vec<i64> {
        let rows = format!("select event_id from outbox where payload::text like '%{SECRET}%' order by 1");
        sqlx::query_scalar(&rows).fetch_all(&mut self.connection).await.unwrap()
    }
}

#[tokio::test]
async fn an_event_that_is_numbered_with_its_deletion_is_handed_on_redacted() {
    let mut bare = Bare::new(TestDatabase::create().await).await;
    bare.comment("new_comment", 1).await;
    bare.comment("new_comment", 2).await;
    bare.comment("updated_comment", 1).await;
    bare.delete(1).await;
    let rows = bare.number().await;
    let has_text: Vec<bool> = rows.iter().map(|row| row.payload.contains(SECRET)).collect();
    assert_eq!(has_text, [false, true, false, false]);
    let first: Value = serde_json::from_str(&rows[0].payload).unwrap();
    let expected = json!({ "type": "new_comment", "comment_id": 1, "discussion_id": 1, "text": null, "author": null, "deleted_at": "now" });
    assert_eq!(first, expected);
    assert_eq!(bare.with_secret().await, [2]);
}

#[tokio::test]
async fn a_deletion_of_many_events_does_not_hold_up_the_others() {
    let mut bare = Bare::new(TestDatabase::create().await).await;
    for _ in 0..130 {
        bare.comment("updated_comment", 1).await;
    }
    bare.comment("new_comment", 3).await;
    assert_eq!(bare.number().await.len(), 131);
    bare.delete(1).await;
    bare.delete(3).await;
    bare.comment("new_comment", 2).await;
    let rows = bare.number().await;
    assert_eq!(rows.iter().map(|row| row.event_id.get()).collect::<Vec<_>>(), [132, 133, 134]);
    // The newest are redacted first. Then each call continues, with or without events to number.
    assert_eq!(bare.with_secret().await.len(), 131 + 1 - 50);
    bare.comment("new_comment", 4).await;
    assert_eq!(bare.number().await.len(), 1);
    assert_eq!(bare.number().await.len(), 0);
    assert_eq!(bare.with_secret().await, [134, 135]);
    let done: (i64, i64) = sqlx::query_as("select redacted_through, last_assigned from event_head")
        .fetch_one(&mut bare.connection)
        .await
        .unwrap();
    assert_eq!(done, (135, 135));
}

/// The rows of the release before this one, whose deletions redacted nothing.
#[tokio::test]
async fn what_was_deleted_before_the_migration_is_redacted_after_it() {
    const REDACTION: i64 = 11;
    let mut bare = Bare::new(TestDatabase::create_empty().await).await;
    let migrator = discussions::db::migrator();
    for migration in migrator.iter().filter(|migration| migration.version < REDACTION) {
        bare.connection.execute(sqlx::raw_sql(&migration.sql)).await.unwrap();
    }
    for id in 1..=3 {
        bare.comment("new_comment", id).await;
    }
    bare.delete(2).await;
    assert_eq!(bare.number().await.len(), 4);
    let answer = json!({ "id": 2, "text": SECRET, "author": { "username": SECRET } });
    bare.connection
        .execute("insert into users (id, username) overriding system value values (1, 'ada')")
        .await
        .unwrap();
    let key =
        sqlx::query("insert into idempotency_keys (user_id, key, request_hash, response) values (1, 'k', '', $1)");
    key.bind(answer).execute(&mut bare.connection).await.unwrap();

    for migration in migrator.iter().filter(|migration| migration.version >= REDACTION) {
        bare.connection.execute(sqlx::raw_sql(&migration.sql)).await.unwrap();
    }
    assert_eq!(bare.number().await.len(), 0);
    assert_eq!(bare.with_secret().await, [1, 3]);
    let kept: Value =
        sqlx::query_scalar("select response from idempotency_keys").fetch_one(&mut bare.connection).await.unwrap();
    assert_eq!(kept, json!({ "id": 2 }));
}
