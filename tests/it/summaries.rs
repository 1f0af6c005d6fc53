//! Summaries: one text of the admins on an article in a community, with its revisions.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor;

use crate::{
    app::{Answer, ArticleId, Client, CommunityId, Queue, TestApp, types},
    renames::{transaction, waiting_for_locks},
};

/// Two admins of a community with an article, and a queue of a member.
struct Story {
    app: TestApp,
    community: CommunityId,
    article: ArticleId,
    ada: Client,
    grace: Client,
    queue: Queue,
}

impl Story {
    async fn of_kind(kind: &str) -> Self {
        let app = TestApp::start().await;
        let community = app.community(kind).await;
        let article = app.article(&[community]).await;
        let ada = app.with_role("ada", community, "admin").await;
        let grace = app.with_role("grace", community, "admin").await;
        app.settled().await;
        let queue = app.member("emmy", community).await;
        app.settled().await;
        let queue = queue.register().await;
        Self { app, community, article, ada, grace, queue }
    }

    fn path(&self) -> String {
        format!("/articles/{}/summary?community_id={}", self.article, self.community)
    }

    async fn put(&self, client: &Client, text: &str) -> Value {
        client.put(&self.path(), json!({ "text": text })).await.expect(200)
    }

    async fn put_if(&self, header: &str, value: &str, text: &str) -> Answer {
        let request = self.ada.request(Method::PUT, &self.path()).header(header, value);
        self.ada.send(request.json(&json!({ "text": text }))).await
    }

    /// A page of revisions, as number and text, and the cursor of the next one.
    async fn page(&self, query: &str) -> (Vec<(i64, String)>, Value) {
        let path = self.path().replace("summary", "summary/revisions");
        let body = self.queue.client.get(&format!("{path}{query}")).await.expect(200);
        let item = |one: &Value| (one["revision"].as_i64().unwrap(), one["text"].as_str().unwrap().to_owned());
        (body["revisions"].as_array().unwrap().iter().map(item).collect(), body["next_cursor"].clone())
    }

    /// The events from now until the outbox is empty.
    async fn events(&mut self) -> Vec<Value> {
        self.app.settled().await;
        self.queue.now().await
    }
}

/// The event as the answer shows the summary.
fn as_answer(event: &Value) -> Value {
    let mut shown = event.clone();
    assert_eq!(shown["timestamp"], shown["updated_at"]);
    for name in ["event_id", "type", "timestamp"] {
        shown.as_object_mut().unwrap().remove(name).unwrap();
    }
    shown
}

#[tokio::test]
async fn a_summary_is_written_changed_and_deleted_for_everyone_at_once() {
    let mut story = Story::of_kind("hidden").await;
    let path = story.path();
    story.queue.client.get(&path).await.refused(404, "summary_not_found");
    story.queue.client.get(&path.replace("summary", "summary/revisions")).await.refused(404, "summary_not_found");
    story.ada.delete(&path).await.expect(204);

    let first = story.put(&story.ada, " The sample is small.\n").await;
    let expected = json!({
        "community_id": story.community, "article_id": story.article, "text": "The sample is small.",
        "author": { "id": story.ada.user, "username": "ada", "avatar_url": null }, "revision": 1,
        "created_at": first["created_at"], "updated_at": first["created_at"]
    });
    assert_eq!(first, expected);
    assert_eq!(story.put(&story.grace, "The sample is small.").await, first, "the same text again is nothing");
    let second = story.put(&story.grace, "The sample is tiny.").await;
    assert_eq!((&second["revision"], &second["author"]["username"]), (&json!(2), &json!("grace")));
    assert_eq!(second["created_at"], first["created_at"]);
    assert!(second["updated_at"].as_str() > first["updated_at"].as_str());
    assert_eq!(story.queue.client.get(&path).await.expect(200), second);
    let texts = [(2, "The sample is tiny.".to_owned()), (1, "The sample is small.".to_owned())];
    assert_eq!(story.page("").await, (texts.into(), Value::Null));
    let events = story.events().await;
    assert_eq!(types(&events), ["updated_summary", "updated_summary"]);
    assert_eq!(events.iter().map(as_answer).collect::<Vec<_>>(), [first, second.clone()]);

    story.ada.delete(&path).await.expect(204);
    story.grace.delete(&path).await.expect(204);
    story.queue.client.get(&path).await.refused(404, "summary_not_found");
    story.queue.client.get(&path.replace("summary", "summary/revisions")).await.refused(404, "summary_not_found");
    let events = story.events().await;
    assert_eq!(types(&events), ["updated_summary"], "the second deletion is nothing");
    let gone = as_answer(&events[0]);
    assert_eq!((&gone["text"], &gone["author"], &gone["revision"]), (&Value::Null, &Value::Null, &json!(3)));
    assert_eq!(gone["created_at"], second["created_at"]);
    let left: (i64, Option<i64>) =
        sqlx::query_as("select (select count(*) from summary_revisions), author_id from summaries")
            .fetch_one(&story.app.pool)
            .await
            .unwrap();
    assert_eq!(left, (0, None));

    // The numbers go on, and the times begin anew.
    let again = story.put(&story.ada, "The sample is small.").await;
    assert_eq!((&again["revision"], &again["created_at"]), (&json!(4), &again["updated_at"]));
    assert_eq!(story.page("").await, (vec![(4, "The sample is small.".to_owned())], Value::Null));
    assert_eq!(story.events().await.iter().map(as_answer).collect::<Vec<_>>(), [again]);
}

#[tokio::test]
async fn the_article_of_another_community_has_its_own_summary() {
    let story = Story::of_kind("public").await;
    let other = story.app.community("private").await;
    story.app.join(story.ada.user, other, "admin").await;
    let sql = format!("insert into community_articles (community_id, article_id) values ({other}, {})", story.article);
    story.app.sql(&sql).await;
    let elsewhere = format!("/articles/{}/summary?community_id={other}", story.article);
    story.put(&story.ada, "Here").await;
    story.ada.get(&elsewhere).await.refused(404, "summary_not_found");
    assert_eq!(story.ada.put(&elsewhere, json!({ "text": "There" })).await.expect(200)["revision"], 1);
    story.ada.delete(&story.path()).await.expect(204);
    assert_eq!(story.ada.get(&elsewhere).await.expect(200)["text"], "There");
    story.grace.put(&elsewhere, json!({ "text": "There" })).await.refused(403, "not_a_member");
    let unknown = story.app.article(&[other]).await;
    let not_here = format!("/articles/{unknown}/summary?community_id={}", story.community);
    story.ada.get(&not_here).await.refused(404, "article_not_found");
    story.ada.put(&not_here, json!({ "text": "No" })).await.refused(404, "article_not_found");
    story.ada.delete(&not_here).await.refused(404, "article_not_found");
}

#[tokio::test]
async fn a_text_does_not_replace_one_that_its_writer_has_not_read() {
    let mut story = Story::of_kind("private").await;
    let path = story.path();
    let save = |text: &str, read: &Value| json!({ "text": text, "if_updated_at": read["updated_at"] });

    // The first text.
    let first = story.put_if("if-none-match", "*", "First").await.expect(200);
    let refused = story.put_if("if-none-match", "*", "First, too").await.refused(412, "changed_meanwhile");
    assert_eq!(refused["current"], first);
    story.put_if("if-none-match", "\"1\"", "No").await.refused(400, "invalid_parameter");

    // By the time of the text that was read, or by its entity tag.
    let tag = story.ada.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
    let second = story.grace.put(&path, save("Second", &first)).await;
    assert_ne!(second.headers["etag"], tag.as_str());
    let second = second.expect(200);
    let refused = story.ada.put(&path, save("Mine", &first)).await.refused(412, "changed_meanwhile");
    assert_eq!(refused["current"], second);
    assert_eq!(story.put_if("if-match", &tag, "Mine").await.refused(412, "changed_meanwhile")["current"], second);
    // Even if it would change nothing.
    story.ada.put(&path, save("Second", &first)).await.refused(412, "changed_meanwhile");
    let delete = story.ada.request(Method::DELETE, &path).header("if-match", &tag);
    assert_eq!(story.ada.send(delete).await.refused(412, "changed_meanwhile")["current"], second);
    assert_eq!(story.put_if("if-match", "*", "Third").await.expect(200)["revision"], 3);
    let third = story.ada.get(&path).await.expect(200);

    // A summary that was deleted meanwhile does not come back unnoticed.
    story.grace.delete(&path).await.expect(204);
    story.ada.put(&path, save("Fourth", &third)).await.refused(404, "summary_not_found");
    for tag in [&tag, "*"] {
        story.put_if("if-match", tag, "Fourth").await.refused(404, "summary_not_found");
    }
    assert_eq!(story.events().await.len(), 4);
    story.put_if("if-none-match", "*", "Fifth").await.expect(200);
    assert_eq!(story.events().await.len(), 1);
}

#[tokio::test]
async fn two_first_texts_at_once_are_two_revisions() {
    let mut story = Story::of_kind("private").await;
    // The lock of the placement stops both before they make the row.
    let mut holding = transaction(&story.app, "select from community_articles for update").await;
    let writing: Vec<_> = [story.ada.clone(), story.grace.clone()]
        .into_iter()
        .map(|client| {
            let (path, text) = (story.path(), format!("By {}", client.user));
            tokio::spawn(async move { client.put(&path, json!({ "text": text })).await.expect(200) })
        })
        .collect();
    waiting_for_locks(&story.app, 2).await;
    holding.execute("commit").await.unwrap();
    let mut written = Vec::new();
    for writing in writing {
        written.push(writing.await.unwrap());
    }
    written.sort_by_key(|summary| summary["revision"].as_i64());
    assert_eq!(story.events().await.iter().map(as_answer).collect::<Vec<_>>(), written);
    assert_eq!(story.page("").await.0.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn a_deletion_erases_the_text_that_is_replaced_at_the_same_moment() {
    let story = Story::of_kind("private").await;
    story.put(&story.ada, "First").await;
    let mut holding = transaction(&story.app, "select from summaries for update").await;
    let spawn = |client: &Client, body: Option<Value>| {
        let (client, path) = (client.clone(), story.path());
        tokio::spawn(async move {
            match body {
                Some(body) => client.put(&path, body).await.status,
                None => client.delete(&path).await.status,
            }
        })
    };
    let writing = spawn(&story.ada, Some(json!({ "text": "Second" })));
    waiting_for_locks(&story.app, 1).await;
    let deleting = spawn(&story.grace, None);
    waiting_for_locks(&story.app, 2).await;
    holding.execute("commit").await.unwrap();
    assert_eq!((writing.await.unwrap(), deleting.await.unwrap()), (200, 204));
    let left: (i64, Option<String>) =
        sqlx::query_as("select (select count(*) from summary_revisions), text from summaries")
            .fetch_one(&story.app.pool)
            .await
            .unwrap();
    assert_eq!(left, (0, None), "the text before was written as a revision meanwhile");
}

#[tokio::test]
async fn the_pages_of_revisions() {
    let story = Story::of_kind("private").await;
    for number in 1..=5 {
        story.put(&story.ada, &format!("Text {number}")).await;
    }
    let (page, next) = story.page("&limit=2").await;
    assert_eq!(page, [(5, "Text 5".to_owned()), (4, "Text 4".to_owned())]);
    // What is written between two pages is on neither.
    story.put(&story.ada, "Text 6").await;
    let (page, next) = story.page(&format!("&limit=2&cursor={}", next.as_str().unwrap())).await;
    assert_eq!(page, [(3, "Text 3".to_owned()), (2, "Text 2".to_owned())]);
    let (page, next) = story.page(&format!("&limit=2&cursor={}", next.as_str().unwrap())).await;
    assert_eq!((page, next), (vec![(1, "Text 1".to_owned())], Value::Null));
    assert_eq!(story.page("&cursor=1").await, (vec![], Value::Null));

    // A page ends near 1 MiB, too.
    for number in 0..7 {
        story.put(&story.ada, &format!("{}{number}", "🧪".repeat(49_000))).await;
    }
    let (page, next) = story.page("&limit=100").await;
    assert_eq!(page.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [13, 12, 11, 10, 9]);
    let (page, next) = story.page(&format!("&limit=100&cursor={}", next.as_str().unwrap())).await;
    assert_eq!(page.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(next, Value::Null);
}

async fn register(client: &Client, body: Value) -> Queue {
    let answer = client.post("/register", body).await.expect(200);
    let id = answer["queue_id"].as_str().unwrap().to_owned();
    Queue { client: client.clone(), id, cursor: answer["last_event_id"].as_i64().unwrap(), has_notifications: false }
}

#[tokio::test]
async fn whoever_may_read_the_discussions_gets_the_event() {
    let mut story = Story::of_kind("public").await;
    let outsider = story.app.client(story.app.user("marie").await);
    let mut watcher = register(&outsider, json!({ "watch": [story.community] })).await;
    let narrow = story.app.narrow_client(story.queue.client.user, &[]);
    let mut all = vec![
        register(&story.grace, json!({ "only": { "types": ["updated_summary"] } })).await,
        register(&story.grace, json!({ "only": { "article_ids": [story.article], "followed": true } })).await,
    ];
    let mut none = vec![
        register(&story.grace, json!({ "only": { "types": ["new_comment"] } })).await,
        register(&story.grace, json!({ "only": { "article_ids": [story.article + 1] } })).await,
    ];
    story.put(&story.ada, "In short").await;
    story.app.settled().await;
    let told = story.queue.now().await;
    assert_eq!(types(&told), ["updated_summary"]);
    assert_eq!(watcher.now().await, told);
    for queue in &mut all {
        assert_eq!(queue.now().await, told);
    }
    for queue in &mut none {
        assert_eq!(queue.now().await, [] as [Value; 0]);
    }
    assert_eq!(narrow.get(&story.path()).await.expect(200)["text"], "In short", "as anyone");

    // Not any more.
    story.app.leave(story.queue.client.user, story.community).await;
    story.app.sql("update communities set kind = 'private'").await;
    story.put(&story.ada, "In fewer words").await;
    assert!(!types(&story.events().await).contains(&"updated_summary"));
    assert_eq!(types(&watcher.now().await), ["community_changed"]);
    outsider.get(&story.path()).await.refused(403, "not_a_member");
}

#[tokio::test]
async fn a_rename_reaches_those_who_are_shown_a_summary_or_a_revision() {
    let mut story = Story::of_kind("private").await;
    let rename = async |story: &mut Story, name: &str| {
        story.app.sql(&format!("update users set username = '{name}' where id = {}", story.ada.user)).await;
        story.events().await
    };
    assert_eq!(rename(&mut story, "countess").await, [] as [Value; 0]);
    story.put(&story.ada, "In short").await;
    story.events().await;
    let told = rename(&mut story, "lovelace").await;
    assert_eq!((types(&told), &told[0]["author"]["username"]), (vec!["author_changed"], &json!("lovelace")));
    assert_eq!(story.ada.get(&story.path()).await.expect(200)["author"]["username"], "lovelace");
    story.put(&story.grace, "In fewer words").await;
    story.events().await;
    assert_eq!(types(&rename(&mut story, "ada").await), ["author_changed"], "the revision shows her");
    story.ada.delete(&story.path()).await.expect(204);
    story.events().await;
    assert_eq!(rename(&mut story, "countess").await, [] as [Value; 0]);

    // A text that is written during a rename has the new name.
    let sql = format!("update users set username = 'king' where id = {}", story.ada.user);
    let mut renaming = transaction(&story.app, &sql).await;
    let writing = tokio::spawn({
        let (ada, path) = (story.ada.clone(), story.path());
        async move { ada.put(&path, json!({ "text": "Once more" })).await.expect(200) }
    });
    waiting_for_locks(&story.app, 1).await;
    renaming.execute("commit").await.unwrap();
    assert_eq!(writing.await.unwrap()["author"]["username"], "king");
    let told = story.events().await;
    assert_eq!((types(&told), &told[0]["author"]["username"]), (vec!["updated_summary"], &json!("king")));

    // A summary where people write under pseudonyms is of nobody, and tells nobody of her rename.
    story.ada.delete(&story.path()).await.expect(204);
    story.app.sql("update community_articles set is_pseudonymous = true").await;
    let written = story.put(&story.ada, "Under another name").await;
    assert_eq!(written["author"], Value::Null);
    story.put(&story.ada, "And again").await;
    let told = story.events().await;
    assert_eq!((types(&told), &told[2]["author"]), (vec!["updated_summary"; 3], &Value::Null));
    let revisions = story.path().replace("summary", "summary/revisions");
    let page = story.grace.get(&revisions).await.expect(200);
    assert_eq!((&page["revisions"][0]["author"], &page["revisions"][1]["author"]), (&Value::Null, &Value::Null));
    // It gives her no pseudonym either, which others could see among those who may be mentioned.
    let given: i64 = sqlx::query_scalar("select count(*) from pseudonyms").fetch_one(&story.app.pool).await.unwrap();
    assert_eq!(given, 0);
    assert_eq!(rename(&mut story, "ada").await, [] as [Value; 0]);
}
