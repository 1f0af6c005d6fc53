//! `Idempotency-Key`: a repeated POST writes once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Client, TestApp};

async fn post(client: &Client, path: &str, key: &str, body: Value) -> Answer {
    client.send(client.request(Method::POST, path).header("Idempotency-Key", key).json(&body)).await
}

struct World {
    app: TestApp,
    community: i64,
    ada: Client,
    discussions: String,
    comments: String,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let community = app.community("private").await;
        let article = app.article(&[community]).await;
        let ada = app.member("ada", community).await;
        let discussion = ada.discussion(article, community, "Sample size").await;
        Self {
            app,
            community,
            ada,
            discussions: format!("/articles/{article}/discussions"),
            comments: format!("/discussions/{}/comments", discussion["id"]),
        }
    }

    /// The numbers of discussions, comments and their events, and the sum of the discussions' comment counts.
    async fn count(&self) -> (i64, i64, i64, i64) {
        let rows = "select (select count(*) from discussions), (select count(*) from comments),
                           (select count(*) from outbox where type <> 'membership_changed'),
                           (select sum(comment_count)::bigint from discussions)";
        sqlx::query_as(rows).fetch_one(&self.app.pool).await.unwrap()
    }
}

#[tokio::test]
async fn a_repeated_reply_is_answered_although_its_parent_is_gone_by_now() {
    let world = World::new().await;
    let parent = world.ada.post(&world.comments, json!({ "text": "Enough?" })).await.expect(201);
    let reply = json!({ "text": "Yes", "parent_id": parent["id"] });
    let first = post(&world.ada, &world.comments, "key", reply.clone()).await.expect(201);
    world.ada.delete(&format!("/comments/{}", parent["id"])).await.expect(204);
    assert_eq!(post(&world.ada, &world.comments, "key", reply.clone()).await.expect(201), first);
    post(&world.ada, &world.comments, "another key", reply).await.refused(409, "comment_deleted");
}

#[tokio::test]
async fn a_repeated_request_answers_the_same_and_writes_once() {
    let world = World::new().await;
    let new = json!({ "community_id": world.community, "topic": "Power", "text": "Enough?" });
    for (path, body, after) in
        [(&world.discussions, new, (2, 0, 2, 0)), (&world.comments, json!({ "text": "Nice" }), (2, 1, 3, 1))]
    {
        let first = post(&world.ada, path, "key of this call", body.clone()).await;
        assert_eq!(first.headers.get("idempotency-replayed"), None);
        let first = first.expect(201);
        assert_eq!(world.count().await, after);
        for _ in 0..3 {
            let again = post(&world.ada, path, "key of this call", body.clone()).await;
            assert_eq!(again.headers["content-type"], "application/json");
            assert_eq!(again.headers["idempotency-replayed"], "true");
            assert_eq!(again.expect(201), first);
        }
        assert_eq!(world.count().await, after);
        // The next call has another key or none.
        world.app.sql("delete from idempotency_keys").await;
    }
    for _ in 0..2 {
        world.ada.post(&world.comments, json!({ "text": "Nice" })).await.expect(201);
    }
    assert_eq!(world.count().await, (2, 3, 5, 3));
}

#[tokio::test]
async fn a_repetition_answers_what_there_is_now() {
    let world = World::new().await;
    let new = json!({ "community_id": world.community, "topic": "Power", "text": "Enough?" });
    for (path, body, kind) in
        [(&world.discussions, new, "discussions"), (&world.comments, json!({ "text": "Nice" }), "comments")]
    {
        let key = format!("key of {kind}");
        let first = post(&world.ada, path, &key, body.clone()).await.expect(201);
        let thing = format!("/{kind}/{}", first["id"]);
        let edited = world.ada.patch(&thing, json!({ "text": "Secret" })).await.expect(200);
        assert_eq!(post(&world.ada, path, &key, body.clone()).await.expect(201), edited);
        world.ada.delete(&thing).await.expect(204);
        let tombstone = world.ada.get(&thing).await.expect(200);
        assert!(tombstone["text"].is_null() && tombstone["deleted_at"].is_string());
        // Spaces around a text do not count.
        let mut spaced = body.clone();
        spaced["text"] = json!(format!(" {} ", body["text"].as_str().unwrap()));
        let again = post(&world.ada, path, &key, spaced).await;
        assert_eq!(again.headers["idempotency-replayed"], "true");
        assert_eq!(again.expect(201), tombstone);
    }
    let texts = "select k::text from idempotency_keys k where k::text ~ '(Nice|Power|Enough|Secret|ada)'";
    let kept: Vec<String> = sqlx::query_scalar(texts).fetch_all(&world.app.pool).await.unwrap();
    assert_eq!(kept, Vec::<String>::new());
    // A user who may no longer write is refused, with or without a key.
    world.app.leave(world.ada.user, world.community).await;
    post(&world.ada, &world.comments, "key of comments", json!({ "text": "Nice" })).await.refused(403, "not_a_member");
}

/// The last release stored whole answers, and its nodes may still run.
#[tokio::test]
async fn a_whole_answer_that_is_stored_is_not_given_again() {
    let world = World::new().await;
    let first = post(&world.ada, &world.comments, "k", json!({ "text": "Nice" })).await.expect(201);
    let stored = sqlx::query("update idempotency_keys set response = $1").bind(&first);
    stored.execute(&world.app.pool).await.unwrap();
    world.ada.delete(&format!("/comments/{}", first["id"])).await.expect(204);
    let again = post(&world.ada, &world.comments, "k", json!({ "text": "Nice" })).await.expect(201);
    assert_eq!((&again["id"], &again["text"], &again["author"]), (&first["id"], &Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_key_is_good_for_one_request() {
    let world = World::new().await;
    let other = world.ada.discussion(1, world.community, "Another").await;
    let first = post(&world.ada, &world.comments, "k", json!({ "text": "Nice" })).await.expect(201);
    let reused = json!({ "text": "Nice", "parent_id": first["id"] });
    let elsewhere = format!("/discussions/{}/comments", other["id"]);
    let new = json!({ "community_id": world.community, "topic": "Power", "text": "Nice" });
    for (path, body) in [
        (&world.comments, json!({ "text": "Nice!" })),
        (&world.comments, reused),
        (&elsewhere, json!({ "text": "Nice" })),
        (&world.discussions, new),
    ] {
        post(&world.ada, path, "k", body).await.refused(422, "idempotency_key_reused");
    }
    assert_eq!(world.count().await, (2, 1, 3, 1));
    post(&world.ada, &world.comments, "K", json!({ "text": "Nice!" })).await.expect(201);
}

#[tokio::test]
async fn another_user_has_other_keys() {
    let world = World::new().await;
    let grace = world.app.member("grace", world.community).await;
    let mine = post(&world.ada, &world.comments, "k", json!({ "text": "Nice" })).await.expect(201);
    let theirs = post(&grace, &world.comments, "k", json!({ "text": "Nice" })).await.expect(201);
    assert_ne!(mine["id"], theirs["id"]);
    assert_eq!(theirs["author"]["username"], "grace");
    post(&grace, &world.comments, "k", json!({ "text": "Other" })).await.refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn eight_at_once_write_once() {
    let world = World::new().await;
    let sending: Vec<_> = (0..8)
        .map(|_| {
            let (ada, path) = (world.ada.clone(), world.comments.clone());
            tokio::spawn(async move { post(&ada, &path, "k", json!({ "text": "Nice" })).await })
        })
        .collect();
    let mut answers = Vec::new();
    let mut replayed = 0;
    for sent in sending {
        let answer = sent.await.unwrap();
        replayed += usize::from(answer.headers.contains_key("idempotency-replayed"));
        answers.push(answer.expect(201));
    }
    assert_eq!(replayed, 7);
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    assert_eq!(world.count().await, (1, 1, 2, 1));
    world.app.settled().await;
}

#[tokio::test]
async fn a_key_is_one_to_255_printable_characters() {
    let world = World::new().await;
    for bad in [&b""[..], "ü".as_bytes(), b"\xff", &[b'k'; 256], b"a\tb"] {
        let request = world.ada.request(Method::POST, &world.comments).json(&json!({ "text": "Nice" }));
        let value = reqwest::header::HeaderValue::from_bytes(bad).unwrap();
        let answer = world.ada.send(request.header("Idempotency-Key", value)).await;
        let refused = answer.refused(400, "invalid_parameter");
        assert!(refused["fields"]["Idempotency-Key"].is_string(), "{refused}");
    }
    assert_eq!(world.count().await, (1, 0, 1, 0));
    for good in ["k", &"k".repeat(255), "6b1f6c9e-3d0e-4f3c-9a51-6b1f6c9e3d0e", "a b;c=\"d\""] {
        post(&world.ada, &world.comments, good, json!({ "text": "Nice" })).await.expect(201);
    }
}

#[tokio::test]
async fn a_request_that_failed_does_not_use_up_its_key() {
    let world = World::new().await;
    post(&world.ada, &world.comments, "k", json!({ "text": "" })).await.refused(422, "invalid_fields");
    let lost = json!({ "text": "Nice", "parent_id": 999 });
    post(&world.ada, &world.comments, "k", lost).await.refused(422, "parent_not_found");
    let nowhere = "/discussions/999/comments";
    post(&world.ada, nowhere, "k", json!({ "text": "Nice" })).await.refused(404, "discussion_not_found");
    let first = post(&world.ada, &world.comments, "k", json!({ "text": "Nice" })).await.expect(201);
    assert_eq!(post(&world.ada, &world.comments, "k", json!({ "text": "Nice" })).await.expect(201), first);
    assert_eq!(world.count().await, (1, 1, 2, 1));
}

#[tokio::test]
async fn a_key_is_kept_for_a_day() {
    let world = World::new().await;
    let first = post(&world.ada, &world.comments, "k", json!({ "text": "Nice" })).await.expect(201);
    world.app.sql("update idempotency_keys set created_at = now() - interval '23 hours 59 minutes'").await;
    assert_eq!(post(&world.ada, &world.comments, "k", json!({ "text": "Nice" })).await.expect(201), first);
    world.app.sql("update idempotency_keys set created_at = now() - interval '24 hours 1 second'").await;
    let second = post(&world.ada, &world.comments, "k", json!({ "text": "Nicer" })).await.expect(201);
    assert_ne!(second["id"], first["id"]);
    assert_eq!(post(&world.ada, &world.comments, "k", json!({ "text": "Nicer" })).await.expect(201), second);
}
