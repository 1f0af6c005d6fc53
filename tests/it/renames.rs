//! The event `author_changed` brings a new name or picture to the pages that show the old one.

use serde_json::{Value, json};
use sqlx::{Executor, PgConnection, pool::PoolConnection};

use crate::app::{ArticleId, Client, CommunityId, PATIENCE, Queue, TestApp, types};

/// Four communities and a reader of all of them. In the first Ada writes under her name, in the second under a pseudonym, in the
/// third something that she deletes, and in the fourth nothing.
struct Story {
    app: TestApp,
    named: CommunityId,
    article: ArticleId,
    ada: Client,
    reader: Queue,
    discussion: Value,
}

impl Story {
    async fn begin() -> Self {
        let app = TestApp::start().await;
        let named = app.community("hidden").await;
        let (pseudonymous, deleted, silent) =
            (app.community("private").await, app.community("private").await, app.community("private").await);
        let all = [named, pseudonymous, deleted, silent];
        let article = app.article(&all).await;
        app.sql(&format!("update community_articles set is_pseudonymous = true where community_id = {pseudonymous}"))
            .await;
        let (ada, reader) = (app.client(app.user("ada").await), app.client(app.user("reader").await));
        for community in all {
            for client in [&ada, &reader] {
                app.join(client.user, community, "member").await;
            }
            reader.discussion(article, community, "By somebody else").await;
        }
        let discussion = ada.discussion(article, named, "Under her name").await;
        let secret = ada.discussion(article, pseudonymous, "Under another").await;
        ada.comment(&secret, "and again").await;
        let gone = ada.discussion(article, deleted, "To be deleted").await;
        ada.delete(&format!("/discussions/{}", gone["id"])).await.expect(204);
        app.settled().await;
        let reader = reader.register().await;
        Self { app, named, article, ada, reader, discussion }
    }

    /// The events that the reader gets from now until the outbox is empty.
    async fn new_events(&mut self) -> Vec<Value> {
        self.app.settled().await;
        self.reader.now().await
    }
}

#[tokio::test]
async fn a_rename_is_delivered_where_the_name_is_shown_and_nowhere_else() {
    let mut story = Story::begin().await;
    let change = async |story: &mut Story, set: &str| {
        story.app.sql(&format!("update users set {set} where id = {}", story.ada.user)).await;
        story.new_events().await
    };
    let mut author = json!({ "id": story.ada.user, "username": "countess", "avatar_url": null });
    let events = change(&mut story, "username = 'countess'").await;
    assert_eq!(events.len(), 1, "{events:?}");
    let mut event = events[0].clone();
    assert!(event["timestamp"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().is_ok());
    event.as_object_mut().unwrap().remove("timestamp");
    let event_id = story.reader.cursor;
    let expected =
        json!({ "event_id": event_id, "type": "author_changed", "community_id": story.named, "author": author });
    assert_eq!(event, expected);

    author["avatar_url"] = json!("https://example.org/\"ada\".png");
    let events = change(&mut story, "avatar_url = 'https://example.org/\"ada\".png'").await;
    assert_eq!((events.len(), &events[0]["author"]), (1, &author));
    for nothing in ["username = username", "created_at = now()", "is_active = true", "avatar_url = avatar_url"] {
        assert!(change(&mut story, nothing).await.is_empty(), "{nothing}");
    }
    // Each community gets one event, however much she wrote there. A comment alone is enough, even in a deleted discussion.
    let elsewhere = story.app.community("public").await;
    let article = story.app.article(&[elsewhere]).await;
    story.app.join(story.reader.client.user, elsewhere, "member").await;
    story.app.join(story.ada.user, elsewhere, "member").await;
    let other = story.reader.client.discussion(article, elsewhere, "By somebody else").await;
    for text in ["one", "two"] {
        story.ada.comment(&other, text).await;
        story.ada.comment(&story.discussion, text).await;
    }
    story.reader.client.delete(&format!("/discussions/{}", other["id"])).await.expect(204);
    story.new_events().await;
    let events = change(&mut story, "username = 'ada'").await;
    let mut communities: Vec<_> = events.iter().map(|event| event["community_id"].as_i64().unwrap()).collect();
    communities.sort_unstable();
    assert_eq!(communities, [story.named, elsewhere]);
    // Only members of that community get the event.
    let outsider = story.app.member("outsider", elsewhere).await;
    story.app.settled().await;
    let mut outside = outsider.register().await;
    change(&mut story, "username = 'countess'").await;
    let events = outside.now().await;
    assert_eq!(types(&events), ["author_changed"]);
    assert_eq!(events[0]["community_id"], elsewhere);
}

#[tokio::test]
async fn a_program_that_may_write_users_may_rename_them() {
    let mut story = Story::begin().await;
    let role = format!("writer_{}", uuid::Uuid::new_v4().simple());
    story.app.sql(&format!("create role {role}; grant select, update on users to {role}")).await;
    let mut writer = story.app.pool.acquire().await.unwrap();
    let id = story.ada.user;
    let rename = format!(
        "set role {role}; set search_path = pg_catalog; update public.users set username = 'countess' where id = {id};
         reset role; reset search_path"
    );
    writer.execute(sqlx::raw_sql(&rename)).await.unwrap();
    drop(writer);
    assert_eq!(types(&story.new_events().await), ["author_changed"]);
    story.app.sql(&format!("drop owned by {role}; drop role {role}")).await;
}

/// Waits until `count` statements of the server wait for a lock.
pub(crate) async fn waiting_for_locks(app: &TestApp, count: i64) {
    let waiting = async {
        loop {
            let found: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&app.pool)
            .await
            .unwrap();
            if found >= count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("they wait for a lock");
}

pub(crate) async fn transaction(app: &TestApp, sql: &str) -> PoolConnection<sqlx::Postgres> {
    let mut connection = app.pool.acquire().await.unwrap();
    let begun: &mut PgConnection = &mut connection;
    begun.execute(sqlx::raw_sql(&format!("begin; {sql}"))).await.unwrap();
    connection
}

#[tokio::test]
async fn a_text_written_during_a_rename_has_the_new_name() {
    let mut story = Story::begin().await;
    let comment = story.ada.comment(&story.discussion, "before").await;
    story.new_events().await;
    let rename = format!("update users set username = 'countess' where id = {}", story.ada.user);
    let mut renaming = transaction(&story.app, &rename).await;
    let (comments, discussions) = (
        format!("/discussions/{}/comments", story.discussion["id"]),
        format!("/articles/{}/discussions", story.article),
    );
    let new = json!({ "community_id": story.named, "topic": "New", "text": "New" });
    let (post, patch) = (reqwest::Method::POST, reqwest::Method::PATCH);
    let calls = [
        (&post, comments.clone(), json!({ "text": "meanwhile" }), None),
        (&post, comments, json!({ "text": "with a key" }), Some("a key")),
        (&post, discussions, new, None),
        (&patch, format!("/comments/{}", comment["id"]), json!({ "text": "changed" }), None),
        (&patch, format!("/discussions/{}", story.discussion["id"]), json!({ "text": "changed" }), None),
    ];
    let calls: Vec<_> = calls
        .into_iter()
        .map(|(method, path, body, key)| {
            let request = story.ada.request(method.clone(), &path).json(&body);
            let request = if let Some(key) = key { request.header("idempotency-key", key) } else { request };
            let ada = story.ada.clone();
            tokio::spawn(async move { ada.send(request).await })
        })
        .collect();
    waiting_for_locks(&story.app, 5).await;
    renaming.execute("commit").await.unwrap();
    for call in calls {
        let answer = call.await.unwrap();
        assert!(answer.status < 300, "{}", answer.body);
        assert_eq!(answer.body["author"]["username"], "countess");
    }
    let events = story.new_events().await;
    assert_eq!((events.len(), &events[0]["type"]), (6, &json!("author_changed")));
    for event in &events {
        assert_eq!(event["author"]["username"], "countess", "{event}");
    }
    // Every write was done once and completely.
    let id = &story.discussion["id"];
    assert_eq!(story.ada.get(&format!("/discussions/{id}")).await.expect(200)["comment_count"], 3);
}

#[tokio::test]
async fn a_rename_waits_for_texts_being_written_and_comes_after_them() {
    let mut story = Story::begin().await;
    // This is her first text in the community. Without it the rename would make no event there.
    let community = story.app.community("private").await;
    let article = story.app.article(&[community]).await;
    for client in [&story.ada, &story.reader.client] {
        story.app.join(client.user, community, "member").await;
    }
    let discussion = story.reader.client.discussion(article, community, "By somebody else").await;
    story.new_events().await;
    // This lock stops the comment's transaction after it has read its author.
    let hold = format!("select from discussions where id = {} for update", discussion["id"]);
    let mut holding = transaction(&story.app, &hold).await;
    let writing = tokio::spawn({
        let (ada, discussion) = (story.ada.clone(), discussion.clone());
        async move { ada.comment(&discussion, "in the old name").await }
    });
    waiting_for_locks(&story.app, 1).await;
    let renaming = tokio::spawn({
        let (pool, id) = (story.app.pool.clone(), story.ada.user);
        async move { sqlx::query("update users set username = 'countess' where id = $1").bind(id).execute(&pool).await }
    });
    waiting_for_locks(&story.app, 2).await;
    holding.execute("commit").await.unwrap();
    assert_eq!(writing.await.unwrap()["author"]["username"], "ada");
    renaming.await.unwrap().unwrap();
    let here: Vec<_> =
        story.new_events().await.into_iter().filter(|event| event["community_id"] == community).collect();
    assert_eq!(types(&here), ["new_comment", "author_changed"]);
    assert_eq!(here[1]["author"]["username"], "countess");
}
