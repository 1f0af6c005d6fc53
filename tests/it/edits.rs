//! Changes of texts and topics: what counts as one, what they set, and what happens if two people change one thing.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor;

use crate::{
    app::{Answer, ArticleId, Client, CommunityId, Queue, TestApp, types},
    renames::{transaction, waiting_for_locks},
};

/// A discussion and a comment by Ada, in a community whose admin is Grace, and a queue that gets their events.
struct World {
    app: TestApp,
    community: CommunityId,
    article: ArticleId,
    ada: Client,
    grace: Client,
    discussion: Value,
    comment: Value,
    queue: Queue,
}

impl World {
    async fn new() -> Self {
        Self::on(false).await
    }

    async fn on(is_pseudonymous: bool) -> Self {
        let app = TestApp::start().await;
        let community = app.community("private").await;
        let article = app.article(&[community]).await;
        app.sql(&format!("update community_articles set is_pseudonymous = {is_pseudonymous}")).await;
        let (ada, grace) = (app.member("ada", community).await, app.with_role("grace", community, "admin").await);
        let discussion = ada.discussion(article, community, "Sample size").await;
        let comment = ada.comment(&discussion, "Nice").await;
        let discussion = ada.get(&format!("/discussions/{}", discussion["id"])).await.expect(200);
        app.settled().await;
        let queue = app.member("emmy", community).await.register().await;
        let mut world = Self { app, community, article, ada, grace, discussion, comment, queue };
        world.events().await;
        world
    }

    /// The two things, each with its path and a change of its text.
    fn things(&self) -> [(String, &Value); 2] {
        [
            (format!("/discussions/{}", self.discussion["id"]), &self.discussion),
            (format!("/comments/{}", self.comment["id"]), &self.comment),
        ]
    }

    fn path(&self) -> String {
        format!("/discussions/{}", self.discussion["id"])
    }

    /// The events from now until the outbox is empty.
    async fn events(&mut self) -> Vec<Value> {
        self.app.settled().await;
        self.queue.now().await
    }

    async fn patch_if_match(&self, path: &str, tag: &str, body: Value) -> Answer {
        self.ada.send(self.ada.request(Method::PATCH, path).header("if-match", tag).json(&body)).await
    }
}

#[tokio::test]
async fn a_change_that_changes_nothing_is_nothing() {
    let mut world = World::new().await;
    let path = world.path();
    let (topic, text) = (&world.discussion["topic"], &world.discussion["text"]);
    let spaced = format!(" \n{} ", text.as_str().unwrap());
    for same in [
        json!({ "topic": topic }),
        json!({ "text": spaced }),
        json!({ "is_resolved": false }),
        json!({ "topic": topic, "text": text, "is_resolved": false }),
        json!({ "text": text, "if_updated_at": world.discussion["updated_at"] }),
    ] {
        assert_eq!(world.ada.patch(&path, same).await.expect(200), world.discussion);
    }
    let of_comment = format!("/comments/{}", world.comment["id"]);
    assert_eq!(world.ada.patch(&of_comment, json!({ "text": "\tNice\n" })).await.expect(200), world.comment);
    assert_eq!(world.ada.get(&path).await.expect(200), world.discussion);
    // One who may not make a change may not make it in vain.
    world.grace.patch(&path, json!({ "topic": topic })).await.refused(403, "not_author");

    let resolved = world.grace.patch(&path, json!({ "is_resolved": true })).await.expect(200);
    let again = world.ada.patch(&path, json!({ "is_resolved": true })).await.expect(200);
    assert_eq!(for_all(&again), for_all(&resolved), "Grace was first");
    assert_eq!(types(&world.events().await), ["updated_discussion"]);
}

#[tokio::test]
async fn of_two_equal_changes_at_once_one_is_nothing() {
    let mut world = World::new().await;
    for (path, thing) in world.things() {
        // The lock lets both arrive before either is carried out.
        let table = path.split('/').nth(1).unwrap();
        let hold = format!("select from {table} where id = {} for update", thing["id"]);
        let mut holding = transaction(&world.app, &hold).await;
        let changing: Vec<_> = ["Changed", " Changed "]
            .into_iter()
            .map(|text| {
                let (ada, path) = (world.ada.clone(), path.clone());
                tokio::spawn(async move { ada.patch(&path, json!({ "text": text })).await.expect(200) })
            })
            .collect();
        waiting_for_locks(&world.app, 2).await;
        holding.execute("commit").await.unwrap();
        let mut answers = Vec::new();
        for change in changing {
            answers.push(change.await.unwrap());
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0]["text"], "Changed");
    }
    assert_eq!(types(&world.events().await), ["updated_discussion", "updated_comment"]);
}

#[tokio::test]
async fn edited_at_is_for_topic_and_text_alone() {
    let mut world = World::new().await;
    let path = world.path();
    let resolved = world.ada.patch(&path, json!({ "is_resolved": true })).await.expect(200);
    assert_eq!(resolved["edited_at"], Value::Null, "resolving is no edit");
    assert!(resolved["updated_at"].as_str() > world.discussion["updated_at"].as_str());
    let mut edited_at = Value::Null;
    for change in [json!({ "topic": "Power" }), json!({ "text": "Enough?" }), json!({ "topic": "A", "text": "B" })] {
        let edited = world.ada.patch(&path, change).await.expect(200);
        assert!(edited["edited_at"].as_str() > edited_at.as_str());
        assert_eq!(edited["edited_at"], edited["updated_at"]);
        assert_eq!(edited["resolved_at"], resolved["resolved_at"], "an edit is no resolving");
        edited_at = edited["edited_at"].clone();
    }
    let reopened = world.ada.patch(&path, json!({ "is_resolved": false })).await.expect(200);
    assert_eq!(reopened["edited_at"], edited_at);
    world.ada.comment(&world.discussion, "A comment is no edit").await;
    assert_eq!(world.ada.get(&path).await.expect(200)["edited_at"], edited_at);

    let of_comment = format!("/comments/{}", world.comment["id"]);
    let edited = world.ada.patch(&of_comment, json!({ "text": "Nicer" })).await.expect(200);
    assert_eq!(edited["edited_at"], edited["updated_at"]);
    let page = world.ada.get(&format!("{path}/comments")).await.expect(200);
    let shown: Vec<_> = page["comments"].as_array().unwrap().iter().map(|comment| &comment["edited_at"]).collect();
    assert_eq!(shown, [&edited["edited_at"], &Value::Null]);
    world.ada.delete(&of_comment).await.expect(204);
    assert_eq!(world.ada.get(&of_comment).await.expect(200)["edited_at"], edited["edited_at"], "deleting is no edit");

    let told: Vec<Value> = world.events().await.into_iter().map(|event| event["edited_at"].clone()).collect();
    assert_eq!((told.len(), &told[0], &told[4]), (8, &Value::Null, &edited_at));
}

#[tokio::test]
async fn the_versions_of_a_thing_ascend_even_if_the_clock_goes_back() {
    let world = World::new().await;
    world
        .app
        .sql("update discussions set updated_at = '2100-01-01'; update comments set updated_at = '2100-01-01'")
        .await;
    for (path, _) in world.things() {
        let first = world.ada.patch(&path, json!({ "text": "one" })).await.expect(200);
        let second = world.ada.patch(&path, json!({ "text": "two" })).await.expect(200);
        assert_eq!(first["updated_at"], "2100-01-01T00:00:00.000001Z");
        assert_eq!(second["updated_at"], "2100-01-01T00:00:00.000002Z");
    }
}

#[tokio::test]
async fn a_resolved_discussion_says_when_and_by_whom() {
    let mut world = World::new().await;
    let path = world.path();
    let name = |client: &Client, name: &str| json!({ "id": client.user, "username": name, "avatar_url": null });
    let resolved = world.grace.patch(&path, json!({ "is_resolved": true })).await.expect(200);
    assert_eq!(resolved["resolved_by"], name(&world.grace, "grace"));
    assert_eq!(resolved["resolved_at"], resolved["updated_at"]);
    // An edit of the author does not make the author the one who resolved it.
    let edited = world.ada.patch(&path, json!({ "text": "Enough?" })).await.expect(200);
    assert_eq!((&edited["resolved_by"], &edited["resolved_at"]), (&resolved["resolved_by"], &resolved["resolved_at"]));
    for shown in [
        world.ada.get(&path).await.expect(200),
        world.ada.get(&format!("/articles/{}/discussions", world.article)).await.expect(200)["discussions"][0].clone(),
    ] {
        assert_eq!(shown, edited);
    }
    let reopened = world.ada.patch(&path, json!({ "is_resolved": false })).await.expect(200);
    assert_eq!((&reopened["resolved_by"], &reopened["resolved_at"]), (&Value::Null, &Value::Null));
    let again = world.ada.patch(&path, json!({ "is_resolved": true })).await.expect(200);
    assert_eq!(again["resolved_by"], name(&world.ada, "ada"));
    let events = world.events().await;
    for (event, answer) in events.iter().zip([&resolved, &edited, &reopened, &again]) {
        for field in ["resolved_by", "resolved_at", "edited_at", "is_resolved"] {
            assert_eq!(event[field], answer[field], "{field}");
        }
    }
    // A tombstone does not show its author, and so not by this either.
    world.ada.delete(&path).await.expect(204);
    let tombstone = world.ada.get(&path).await.expect(200);
    assert_eq!((&tombstone["resolved_by"], &tombstone["author"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn whoever_resolves_on_a_pseudonymous_article_appears_by_their_pseudonym() {
    let mut world = World::on(true).await;
    let path = world.path();
    let resolved = world.grace.patch(&path, json!({ "is_resolved": true })).await.expect(200);
    assert_eq!((&resolved["resolved_by"]["id"], &resolved["resolved_by"]["avatar_url"]), (&Value::Null, &Value::Null));
    let name = world.grace.comment(&world.discussion, "By the same").await["author"].clone();
    assert_eq!(resolved["resolved_by"], name);
    assert_ne!(resolved["resolved_by"], world.discussion["author"]);

    // It stays so when the article is not pseudonymous any more, whoever edits, and whatever Grace is called.
    world.app.sql("update community_articles set is_pseudonymous = false").await;
    world.app.sql("update users set username = 'grace-whose-name-is-secret' where username = 'grace'").await;
    let edited = world.ada.patch(&path, json!({ "topic": "Power" })).await.expect(200);
    assert_eq!(edited["resolved_by"], name);
    let told = serde_json::to_string(&world.events().await).unwrap();
    assert!(
        told.contains("updated_discussion") && !told.contains("grace") && !told.contains("author_changed"),
        "{told}"
    );

    // What begins now shows names. Then it does not show a pseudonym beside the same person's name.
    let open = world.ada.discussion(world.article, world.community, "In the open").await;
    world.app.sql("update community_articles set is_pseudonymous = true").await;
    let resolved = world.ada.patch(&format!("/discussions/{}", open["id"]), json!({ "is_resolved": true })).await;
    assert_eq!(resolved.expect(200)["resolved_by"], open["author"]);
}

/// While a change waits for the row, somebody else resolves the discussion under a new pseudonym.
#[tokio::test]
async fn a_pseudonym_that_is_made_meanwhile_is_shown_and_never_the_person() {
    let mut world = World::on(true).await;
    let path = world.path();
    let mut holding = transaction(&world.app, "select from discussions for update").await;
    let resolve = {
        let (grace, path) = (world.grace.clone(), path.clone());
        tokio::spawn(async move { grace.patch(&path, json!({ "is_resolved": true })).await.expect(200) })
    };
    waiting_for_locks(&world.app, 1).await;
    let edit = {
        let (ada, path) = (world.ada.clone(), path.clone());
        tokio::spawn(async move { ada.patch(&path, json!({ "topic": "Power" })).await.expect(200) })
    };
    waiting_for_locks(&world.app, 2).await;
    holding.execute("commit").await.unwrap();
    let (resolved, edited) = (resolve.await.unwrap(), edit.await.unwrap());
    assert_eq!(resolved["resolved_by"]["id"], Value::Null);
    let last = if edited["is_resolved"] == true { &edited } else { &resolved };
    assert_eq!(last["resolved_by"], resolved["resolved_by"]);
    let told = serde_json::to_string(&world.events().await).unwrap();
    assert!(!told.contains("grace"), "{told}");
}

#[tokio::test]
async fn a_rename_reaches_those_who_are_shown_the_resolver() {
    let mut world = World::new().await;
    let path = world.path();
    // Grace has written nothing here.
    world.grace.patch(&path, json!({ "is_resolved": true })).await.expect(200);
    world.events().await;
    world.app.sql("update users set username = 'admiral' where username = 'grace'").await;
    let events = world.events().await;
    assert_eq!(types(&events), ["author_changed"]);
    assert_eq!(events[0]["author"]["username"], "admiral");

    // An edit that shows the resolver waits for a rename of the resolver.
    let mut renaming = transaction(&world.app, "update users set username = 'doctor' where username = 'admiral'").await;
    let edit = {
        let (ada, path) = (world.ada.clone(), path.clone());
        tokio::spawn(async move { ada.patch(&path, json!({ "topic": "Power" })).await.expect(200) })
    };
    waiting_for_locks(&world.app, 1).await;
    renaming.execute("commit").await.unwrap();
    assert_eq!(edit.await.unwrap()["resolved_by"]["username"], "doctor");
    let events = world.events().await;
    assert_eq!(types(&events), ["author_changed", "updated_discussion"]);
    assert_eq!(events[1]["resolved_by"]["username"], "doctor");

    world.ada.delete(&path).await.expect(204);
    world.events().await;
    world.app.sql("update users set username = 'grace' where username = 'doctor'").await;
    assert!(world.events().await.is_empty(), "a tombstone shows nobody");
}

#[tokio::test]
async fn an_account_that_resolved_something_may_be_deleted() {
    for is_pseudonymous in [false, true] {
        let mut world = World::on(is_pseudonymous).await;
        let path = world.path();
        // Under a name, as a pseudonym would keep the account.
        world.app.sql("update community_articles set is_pseudonymous = false").await;
        let resolved = world.grace.patch(&path, json!({ "is_resolved": true })).await.expect(200);
        assert_eq!(resolved["resolved_by"]["username"], "grace");
        world.events().await;
        world.app.sql("delete from users where username = 'grace'").await;
        let left = world.ada.get(&path).await.expect(200);
        assert_eq!((&left["is_resolved"], &left["resolved_by"]), (&json!(true), &Value::Null));
        assert_eq!(left["resolved_at"], resolved["resolved_at"]);
        assert!(left["updated_at"].as_str() > resolved["updated_at"].as_str());

        let events = world.events().await;
        assert_eq!(types(&events), ["updated_discussion"]);
        let time = |value: &Value| value.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        let event = &events[0];
        assert_eq!(time(&event["timestamp"]), time(&left["updated_at"]));
        assert_eq!(time(&event["resolved_at"]), time(&left["resolved_at"]));
        let mut shown = for_all(&left);
        for field in ["id", "created_at", "updated_at", "deleted_at", "resolved_at", "comment_version"] {
            shown.as_object_mut().unwrap().remove(field);
        }
        for (field, value) in shown.as_object().unwrap() {
            assert_eq!(&event[field], value, "{field}");
        }
        // The event has what events of that type have.
        let edited = world.ada.patch(&path, json!({ "text": "Enough?" })).await.expect(200);
        assert_eq!((&edited["resolved_by"], &edited["resolved_at"]), (&Value::Null, &left["resolved_at"]));
        let next = world.events().await.remove(0);
        let names =
            |event: &Value| event.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(names(event), names(&next));
    }
}

/// What the last release writes: it knows none of the new columns.
#[tokio::test]
async fn an_older_release_beside_this_schema_names_nobody_wrongly() {
    let world = World::new().await;
    let (path, id) = (world.path(), &world.discussion["id"]);
    let set = async |what: &str| {
        let now = "updated_at = clock_timestamp()";
        world.app.sql(&format!("update discussions set {what}, {now} where id = {id}")).await;
        world.ada.get(&path).await.expect(200)
    };
    world.grace.patch(&path, json!({ "is_resolved": true })).await.expect(200);
    let same = "topic = topic, text = text, is_resolved";
    let reopened = set(&format!("{same} = false")).await;
    assert_eq!((&reopened["resolved_at"], &reopened["resolved_by"]), (&Value::Null, &Value::Null));
    let resolved = set(&format!("{same} = true")).await;
    assert_eq!((&resolved["resolved_at"], &resolved["resolved_by"]), (&resolved["updated_at"], &Value::Null));
    assert_eq!(resolved["edited_at"], Value::Null);
    let edited = set("topic = topic, text = 'Edited', is_resolved = is_resolved").await;
    assert_eq!((&edited["edited_at"], &edited["resolved_at"]), (&edited["updated_at"], &resolved["resolved_at"]));

    world.app.sql("update comments set text = 'Edited', updated_at = clock_timestamp()").await;
    let edited = world.ada.get(&format!("/comments/{}", world.comment["id"])).await.expect(200);
    assert_eq!(edited["edited_at"], edited["updated_at"]);
}

#[tokio::test]
async fn a_change_of_an_outdated_version_is_refused_with_the_current_one() {
    let world = World::new().await;
    for (path, read) in world.things() {
        let with = |text: &str, version: &Value| json!({ "text": text, "if_updated_at": version });
        let first = world.ada.patch(&path, with("first", &read["updated_at"])).await.expect(200);
        let refused =
            world.ada.patch(&path, with("second", &read["updated_at"])).await.refused(412, "changed_meanwhile");
        assert_eq!(refused["current"], first);
        assert_eq!(refused.get("fields"), None);
        assert_eq!(world.ada.get(&path).await.expect(200), first, "it changed nothing");
        // Not even one that would change nothing, and not one that differs by a microsecond or less.
        world.ada.patch(&path, with("first", &read["updated_at"])).await.refused(412, "changed_meanwhile");
        let exact: chrono::DateTime<chrono::Utc> = first["updated_at"].as_str().unwrap().parse().unwrap();
        for by in [1, 1_000] {
            let other = json!(exact + chrono::Duration::nanoseconds(by));
            world.ada.patch(&path, with("second", &other)).await.refused(412, "changed_meanwhile");
        }
        // The same moment in another notation is the same version.
        let notation = json!(exact.with_timezone(&chrono::FixedOffset::east_opt(7200).unwrap()).to_rfc3339());
        let second = world.ada.patch(&path, with("second", &notation)).await.expect(200);
        assert_eq!(world.ada.patch(&path, with("third", &Value::Null)).await.expect(200)["text"], "third");
        assert_eq!(world.ada.patch(&path, json!({ "text": "fourth" })).await.expect(200)["text"], "fourth");
        for malformed in [json!("yesterday"), json!(7), json!(""), json!("2025-08-09"), json!("2025-08-09T12:34:56")] {
            let refused = world.ada.patch(&path, with("fifth", &malformed)).await.refused(422, "invalid_fields");
            assert!(refused["fields"]["if_updated_at"].is_string(), "{refused}");
        }
        // A deleted thing is deleted, whatever the version.
        world.ada.delete(&path).await.expect(204);
        assert_eq!(world.ada.patch(&path, with("late", &second["updated_at"])).await.status, 409);
        assert_eq!(world.ada.patch(&path, with("late", &read["updated_at"])).await.status, 409);
    }
    // A condition alone is no change.
    let alone = json!({ "if_updated_at": world.discussion["updated_at"] });
    world.ada.patch(&world.path(), alone).await.refused(422, "invalid_fields");
}

/// The discussion without what depends on who asks.
fn for_all(discussion: &Value) -> Value {
    let mut discussion = discussion.clone();
    for own in [
        "own_vote",
        "is_unread",
        "unread_count",
        "first_unread_comment_id",
        "follow_level",
        "has_written",
        "is_followed",
    ] {
        discussion.as_object_mut().unwrap().remove(own).unwrap();
    }
    discussion
}

#[tokio::test]
async fn resolving_is_a_change_of_the_version() {
    let world = World::new().await;
    let path = world.path();
    let read = world.discussion["updated_at"].clone();
    let resolved = world.grace.patch(&path, json!({ "is_resolved": true, "if_updated_at": read })).await.expect(200);
    let edit = json!({ "text": "Enough?", "if_updated_at": read });
    let refused = world.ada.patch(&path, edit).await.refused(412, "changed_meanwhile");
    assert_eq!(for_all(&refused["current"]), for_all(&resolved), "it shows that only `is_resolved` is another");
    world.ada.comment(&world.discussion, "A comment is no change of its discussion").await;
    let edit = json!({ "text": "Enough?", "if_updated_at": refused["current"]["updated_at"] });
    world.ada.patch(&path, edit).await.expect(200);
}

#[tokio::test]
async fn an_entity_tag_names_the_version() {
    let world = World::new().await;
    let comments = format!("{}/comments", world.path());
    let tag = |answer: &Answer| answer.headers["etag"].to_str().unwrap().to_owned();
    let written = world.ada.post(&comments, json!({ "text": "New" })).await;
    let begun = json!({ "community_id": world.community, "topic": "New", "text": "New" });
    let begun = world.ada.post(&format!("/articles/{}/discussions", world.article), begun).await;
    for (path, made) in [("/comments/", written), ("/discussions/", begun)] {
        let path = format!("{path}{}", made.body["id"]);
        let old = tag(&made);
        assert!(old.starts_with('"') && old.ends_with('"'), "{old} is a strong one");
        assert_eq!(tag(&world.ada.get(&path).await), old);
        let edit = |text: &str| json!({ "text": text });
        let changed = world.patch_if_match(&path, &old, edit("one")).await;
        let new = tag(&changed);
        assert_eq!((changed.status, new != old), (200, true));
        let refused = world.patch_if_match(&path, &old, edit("two")).await.refused(412, "changed_meanwhile");
        assert_eq!(refused["current"], changed.body);
        // Several will do, and `*` is any.
        let several = world.patch_if_match(&path, &format!("{old}, \"x\", {new}"), edit("two")).await;
        assert_eq!(several.status, 200);
        assert_eq!(world.patch_if_match(&path, "*", edit("three")).await.status, 200);
        assert_eq!(tag(&world.patch_if_match(&path, "*", edit("three")).await), tag(&world.ada.get(&path).await));
        // A weak one never matches.
        let now = tag(&world.ada.get(&path).await);
        world.patch_if_match(&path, &format!("W/{now}"), edit("four")).await.refused(412, "changed_meanwhile");
        for malformed in ["", "x", "\"x", "*, \"x\"", now.trim_matches('"')] {
            let refused = world.patch_if_match(&path, malformed, edit("four")).await.refused(400, "invalid_parameter");
            assert!(refused["fields"]["If-Match"].is_string());
        }
        // If both are given, both must hold.
        let read = world.ada.get(&path).await.expect(200)["updated_at"].clone();
        let both = |version: &Value| json!({ "text": "four", "if_updated_at": version });
        let other = json!("2025-08-09T12:34:56Z");
        world.patch_if_match(&path, &now, both(&other)).await.refused(412, "changed_meanwhile");
        world.patch_if_match(&path, &old, both(&read)).await.refused(412, "changed_meanwhile");
        assert_eq!(world.patch_if_match(&path, &now, both(&read)).await.status, 200);
        // A tombstone has no version.
        world.ada.delete(&path).await.expect(204);
        assert!(world.ada.get(&path).await.headers.get("etag").is_none());
        assert_eq!(world.patch_if_match(&path, "*", edit("late")).await.status, 409);
    }
    world.patch_if_match("/comments/999999", "*", json!({ "text": "x" })).await.refused(404, "comment_not_found");
}

#[tokio::test]
async fn a_repeated_post_has_the_entity_tag_too() {
    let world = World::new().await;
    let comments = format!("{}/comments", world.path());
    let mut tags = Vec::new();
    for _ in 0..2 {
        let request = world.ada.request(Method::POST, &comments).header("idempotency-key", "a key");
        let answer = world.ada.send(request.json(&json!({ "text": "Once" }))).await;
        tags.push(answer.headers["etag"].clone());
    }
    assert_eq!(tags[0], tags[1]);
}

#[tokio::test]
async fn of_changes_of_one_version_at_once_exactly_one_wins() {
    let mut world = World::new().await;
    for (path, read) in world.things() {
        let table = path.split('/').nth(1).unwrap();
        let mut holding =
            transaction(&world.app, &format!("select from {table} where id = {} for update", read["id"])).await;
        let changing: Vec<_> = (0..6)
            .map(|number| {
                let (ada, path) = (world.ada.clone(), path.clone());
                let body = json!({ "text": format!("by {number}"), "if_updated_at": read["updated_at"] });
                tokio::spawn(async move { ada.patch(&path, body).await })
            })
            .collect();
        waiting_for_locks(&world.app, 6).await;
        holding.execute("commit").await.unwrap();
        let (mut won, mut lost) = (Vec::new(), Vec::new());
        for change in changing {
            let answer = change.await.unwrap();
            match answer.status {
                200 => won.push(answer.body),
                _ => lost.push(answer.refused(412, "changed_meanwhile")["current"].clone()),
            }
        }
        assert_eq!((won.len(), lost.len()), (1, 5));
        assert!(lost.iter().all(|current| *current == won[0]));
        assert_eq!(world.ada.get(&path).await.expect(200), won[0]);
    }
    assert_eq!(types(&world.events().await), ["updated_discussion", "updated_comment"]);
}

#[tokio::test]
async fn pages_of_other_origins_may_send_and_read_versions() {
    let app = TestApp::start_with(|config| config.allowed_origins = vec!["https://page.example".to_owned()]).await;
    let anyone = app.anonymous();
    let asks = anyone
        .request(Method::OPTIONS, "/comments/1")
        .header("origin", "https://page.example")
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "if-match");
    let answer = anyone.send(asks).await;
    let allowed = answer.headers["access-control-allow-headers"].to_str().unwrap().to_lowercase();
    assert!(allowed.contains("if-match"), "{allowed}");
    let answer = anyone.send(anyone.request(Method::GET, "/comments/1").header("origin", "https://page.example")).await;
    let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap().to_lowercase();
    assert!(exposed.contains("etag"), "{exposed}");
}
