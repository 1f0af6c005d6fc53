//! Creating, reading, changing, deleting and listing discussions and comments.

use serde_json::{Value, json};

use crate::app::{Client, TestApp, types};

/// The ids of a list, in order.
fn ids(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

/// All pages of a list, read by its cursors.
async fn pages(client: &Client, path: &str, name: &str, limit: usize) -> Vec<Vec<i64>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("{path}?limit={limit}{cursor}")).await.expect(200);
        pages.push(ids(&page[name]));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn a_discussion_is_begun_read_changed_resolved_and_deleted() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    app.sql("update users set avatar_url = 'https://pictures.example/ada.png'").await;

    let body = json!({ "community_id": community, "topic": "  Sample size ", "text": "\nIs **12** enough? 🧪\n" });
    let answer = ada.post(&format!("/articles/{article}/discussions"), body).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let begun = answer.expect(201);
    let created_at = begun["created_at"].clone();
    assert!(chrono::DateTime::parse_from_rfc3339(created_at.as_str().unwrap()).is_ok());
    let expected = json!({
        "id": begun["id"], "community_id": community, "article_id": article, "topic": "Sample size",
        "text": "Is **12** enough? 🧪", "is_resolved": false, "comment_count": 0, "created_at": created_at,
        "upvotes": 0, "downvotes": 0, "own_vote": 0,
        "is_unread": false, "unread_count": 0, "first_unread_comment_id": null, "comment_version": 0,
        "follow_level": "default", "has_written": true, "is_followed": true,
        "author": { "id": ada.user, "username": "ada", "avatar_url": "https://pictures.example/ada.png" }, "mentions": [],
        "updated_at": created_at, "edited_at": null, "resolved_at": null, "resolved_by": null, "deleted_at": null,
    });
    assert_eq!(begun, expected);
    let path = format!("/discussions/{}", begun["id"]);
    assert_eq!(ada.get(&path).await.expect(200), expected);

    let changed = ada.patch(&path, json!({ "topic": "Power" })).await.expect(200);
    assert_eq!((&changed["topic"], &changed["text"]), (&json!("Power"), &begun["text"]));
    assert!(changed["updated_at"].as_str() > created_at.as_str());
    assert_eq!(changed["created_at"], created_at);
    assert_eq!(ada.get(&path).await.expect(200), changed);

    let changed = ada.patch(&path, json!({ "text": "Is 12 a group enough?", "is_resolved": true })).await.expect(200);
    assert_eq!(
        (&changed["topic"], &changed["text"], &changed["is_resolved"]),
        (&json!("Power"), &json!("Is 12 a group enough?"), &json!(true))
    );
    let reopened = ada.patch(&path, json!({ "is_resolved": false })).await.expect(200);
    assert_eq!(reopened["is_resolved"], false);

    let answer = ada.delete(&path).await;
    assert_eq!((answer.status, answer.body), (204, Value::Null));
    let tombstone = ada.get(&path).await.expect(200);
    assert!(tombstone["deleted_at"].is_string());
    assert_eq!(tombstone["updated_at"], reopened["updated_at"], "deleting is no edit");
    for gone in ["topic", "text", "author"] {
        assert_eq!(tombstone[gone], Value::Null, "{gone}");
    }
    ada.delete(&path).await.expect(204);
    assert_eq!(ada.get(&path).await.expect(200), tombstone, "deleting again changes nothing");
    ada.patch(&path, json!({ "topic": "Back" })).await.refused(409, "discussion_deleted");
    ada.post(&format!("{path}/comments"), json!({ "text": "Too late" })).await.refused(409, "discussion_deleted");
    let page = ada.get(&format!("/articles/{article}/discussions")).await.expect(200);
    assert_eq!(page["discussions"], json!([tombstone]), "the tombstone stays in its list");
}

#[tokio::test]
async fn a_deleted_discussion_keeps_its_comments() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let comment = ada.comment(&discussion, "Nice").await;
    let path = format!("/discussions/{}", discussion["id"]);
    ada.delete(&path).await.expect(204);

    assert_eq!(ada.get(&path).await.expect(200)["comment_count"], 1);
    let page = ada.get(&format!("{path}/comments")).await.expect(200);
    assert_eq!(page["comments"][0]["text"], "Nice");
    // The comment can still be changed and deleted.
    let comment = format!("/comments/{}", comment["id"]);
    assert_eq!(ada.patch(&comment, json!({ "text": "Nicer" })).await.expect(200)["text"], "Nicer");
    ada.delete(&comment).await.expect(204);
    assert_eq!(ada.get(&path).await.expect(200)["comment_count"], 0);
}

#[tokio::test]
async fn a_comment_is_written_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let comments = format!("/discussions/{}/comments", discussion["id"]);

    let written = ada.post(&comments, json!({ "text": " Nice article! ", "parent_id": null })).await.expect(201);
    let expected = json!({
        "id": written["id"], "discussion_id": discussion["id"], "parent_id": null, "depth": 1, "text": "Nice article!",
        "author": { "id": ada.user, "username": "ada", "avatar_url": null }, "mentions": [], "created_at": written["created_at"],
        "upvotes": 0, "downvotes": 0, "own_vote": 0, "is_unread": false, "updated_at": written["created_at"], "edited_at": null,
        "deleted_at": null,
    });
    assert_eq!(written, expected);
    let path = format!("/comments/{}", written["id"]);
    assert_eq!(ada.get(&path).await.expect(200), expected);

    let changed = ada.patch(&path, json!({ "text": " Nicer " })).await.expect(200);
    assert_eq!(changed["text"], "Nicer");
    assert!(changed["updated_at"].as_str() > written["created_at"].as_str());
    assert_eq!(ada.get(&path).await.expect(200), changed);
    let parent = ada.get(&format!("/discussions/{}", discussion["id"])).await.expect(200);
    assert_eq!(parent["updated_at"], discussion["updated_at"], "a comment does not touch its discussion");

    ada.delete(&path).await.expect(204);
    let tombstone = ada.get(&path).await.expect(200);
    assert_eq!((&tombstone["text"], &tombstone["author"]), (&Value::Null, &Value::Null));
    assert!(tombstone["deleted_at"].is_string());
    ada.delete(&path).await.expect(204);
    assert_eq!(ada.get(&path).await.expect(200), tombstone, "deleting again changes nothing");
    ada.patch(&path, json!({ "text": "Back" })).await.refused(409, "comment_deleted");
    let reply = json!({ "text": "To what?", "parent_id": written["id"] });
    ada.post(&comments, reply).await.refused(409, "comment_deleted");
}

#[tokio::test]
async fn comments_nest_three_deep_and_outlive_what_they_reply_to() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let path = format!("/discussions/{}", discussion["id"]);

    let first = ada.comment(&discussion, "1").await;
    let second = ada.comment(&discussion, "2").await;
    let below_second = ada.reply(&second, "2.1").await;
    let below_first = ada.reply(&first, "1.1").await;
    let deepest = ada.reply(&below_first, "1.1.1").await;
    let also_below_first = ada.reply(&first, "1.2").await;
    assert_eq!((&below_first["depth"], &deepest["depth"]), (&json!(2), &json!(3)));
    assert_eq!(deepest["parent_id"], below_first["id"]);
    let too_deep = json!({ "text": "1.1.1.1", "parent_id": deepest["id"] });
    let refusal = ada.post(&format!("{path}/comments"), too_deep).await.refused(422, "comment_too_deep");
    assert!(refusal["fields"]["parent_id"].is_string());
    assert_eq!(ada.get(&path).await.expect(200)["comment_count"], 6);

    let tree = |comment: &Value, replies: Value| {
        let mut tree = comment.clone();
        tree["replies"] = replies;
        tree
    };
    let comments = async || ada.get(&format!("{path}/comments")).await.expect(200)["comments"].take();
    let below = tree(&below_first, json!([tree(&deepest, json!([]))]));
    let expected = json!([
        tree(&first, json!([below, tree(&also_below_first, json!([]))])),
        tree(&second, json!([tree(&below_second, json!([]))])),
    ]);
    assert_eq!(comments().await, expected);

    // A tombstone keeps its replies, and only live comments count.
    ada.delete(&format!("/comments/{}", below_first["id"])).await.expect(204);
    let comments = comments().await;
    assert_eq!(comments[0]["replies"][0]["id"], below_first["id"]);
    assert_eq!(comments[0]["replies"][0]["text"], Value::Null);
    assert_eq!(comments[0]["replies"][0]["author"], Value::Null);
    assert_eq!(comments[0]["replies"][0]["replies"], json!([tree(&deepest, json!([]))]));
    assert_eq!(ada.get(&path).await.expect(200)["comment_count"], 5);
}

#[tokio::test]
async fn a_reply_hangs_below_a_comment_of_the_same_discussion() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let here = ada.discussion(article, community, "Here").await;
    let elsewhere = ada.discussion(article, community, "Elsewhere").await;
    let comment = ada.comment(&elsewhere, "Elsewhere").await;
    let path = format!("/discussions/{}/comments", here["id"]);
    for parent in [comment["id"].clone(), json!(i64::MAX), json!(0), json!(-1)] {
        let reply = json!({ "text": "Lost", "parent_id": parent });
        let refusal = ada.post(&path, reply).await.refused(422, "parent_not_found");
        assert!(refusal["fields"]["parent_id"].is_string());
    }
    assert_eq!(ada.get(&path).await.expect(200)["comments"], json!([]));
    assert_eq!(ada.get(&format!("/discussions/{}", here["id"])).await.expect(200)["comment_count"], 0);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let mut discussions = Vec::new();
    for number in 0..5 {
        discussions.push(ada.discussion(article, community, &format!("Number {number}")).await);
    }
    let mut newest_first: Vec<i64> = discussions.iter().map(|it| it["id"].as_i64().unwrap()).collect();
    newest_first.reverse();
    let path = format!("/articles/{article}/discussions");
    for limit in [1, 2, 4, 5, 100] {
        let pages = pages(&ada, &path, "discussions", limit).await;
        let expected: Vec<_> = newest_first.chunks(limit).map(<[i64]>::to_vec).collect();
        assert_eq!(pages, expected, "a page of {limit}");
    }

    // The limit of a page of comments counts only roots. Their replies come with them.
    let mut roots = Vec::new();
    for number in 0..4 {
        let root = ada.comment(&discussions[0], &format!("Number {number}")).await;
        ada.reply(&root, "Yes").await;
        ada.reply(&root, "No").await;
        roots.push(root["id"].as_i64().unwrap());
    }
    let path = format!("/discussions/{}/comments", discussions[0]["id"]);
    for limit in [1, 3, 4, 100] {
        let pages = pages(&ada, &path, "comments", limit).await;
        let expected: Vec<_> = roots.chunks(limit).map(<[i64]>::to_vec).collect();
        assert_eq!(pages, expected, "a page of {limit}");
    }
    let page = ada.get(&format!("{path}?limit=1&cursor={}", roots[0])).await.expect(200);
    assert_eq!(page["comments"][0]["replies"].as_array().unwrap().len(), 2);

    for path in [format!("/articles/{article}/discussions"), path] {
        for limit in ["0", "-1", "101", "9223372036854775808", "ten", ""] {
            ada.get(&format!("{path}?limit={limit}")).await.refused(400, "invalid_parameter");
        }
        for cursor in ["", "0", "-1", "x", "9223372036854775808", "1.5"] {
            ada.get(&format!("{path}?cursor={cursor}")).await.refused(400, "invalid_parameter");
        }
    }
}

#[tokio::test]
async fn a_page_has_twenty_items_unless_asked_otherwise() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let fill = format!(
        "insert into discussions (community_id, article_id, author_id, topic, text)
         select {community}, {article}, {}, 'Topic', 'Text' from generate_series(1, 101)",
        ada.user
    );
    app.sql(&fill).await;
    let path = format!("/articles/{article}/discussions");
    for (query, count) in [("", 20), ("?limit=100", 100), ("?limit=1", 1)] {
        let page = ada.get(&format!("{path}{query}")).await.expect(200);
        assert_eq!(page["discussions"].as_array().unwrap().len(), count);
        assert!(page["next_cursor"].is_string());
    }
}

#[tokio::test]
async fn the_discussions_of_an_article_are_those_of_the_communities_one_may_read() {
    let app = TestApp::start().await;
    let (open, closed) = (app.community("public").await, app.community("hidden").await);
    let article = app.article(&[open, closed]).await;
    let ada = app.member("ada", open).await;
    app.join(ada.user, closed, "reviewer").await;
    let one = ada.discussion(article, open, "For all").await;
    let two = ada.discussion(article, closed, "For us").await;
    let three = ada.discussion(article, open, "For all again").await;
    let path = format!("/articles/{article}/discussions");

    let page = ada.get(&path).await.expect(200);
    assert_eq!(page["discussions"], json!([three, two, one]));
    let memberships = json!([
        { "community_id": open, "role": "member", "pseudonym": null, "joined_at": page["viewer"]["memberships"][0]["joined_at"], "follow_level": "default" },
        {
            "community_id": closed, "role": "reviewer", "pseudonym": null, "joined_at": page["viewer"]["memberships"][1]["joined_at"],
            "follow_level": "default"
        },
    ]);
    assert_eq!(page["viewer"], json!({ "user_id": ada.user, "memberships": memberships }));
    let page = ada.get(&format!("{path}?community_id={closed}")).await.expect(200);
    assert_eq!(page["discussions"], json!([two]));
    let page = app.anonymous().get(&path).await.expect(200);
    let seen_by_nobody = |discussion: &Value| {
        let mut seen = discussion.clone();
        for of_members in ["own_vote", "is_unread", "unread_count", "follow_level", "has_written", "is_followed"] {
            seen[of_members] = Value::Null;
        }
        seen
    };
    let expected = json!([seen_by_nobody(&three), seen_by_nobody(&one)]);
    assert_eq!((&page["discussions"], &page["viewer"]), (&expected, &Value::Null));
    let page = app.anonymous().get(&format!("{path}?limit=1")).await.expect(200);
    assert_eq!(page["next_cursor"], three["id"].to_string(), "a page does not count what the viewer may not see");
}

#[tokio::test]
async fn a_list_has_its_position_in_the_order() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    app.settled().await;
    let mut queue = grace.register().await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let head = app.settled().await;

    let lists = [format!("/articles/{article}/discussions"), format!("/discussions/{}/comments", discussion["id"])];
    for path in &lists {
        assert_eq!(grace.get(path).await.expect(200)["last_event_id"], head);
    }
    ada.comment(&discussion, "Nice").await;
    let newer = app.settled().await;
    assert_eq!(newer, head + 1);
    for path in &lists {
        assert_eq!(grace.get(path).await.expect(200)["last_event_id"], newer);
    }
    // A poll from a list's last_event_id brings exactly the events that the list does not show.
    queue.cursor = head;
    assert_eq!(types(&queue.now().await), ["new_comment"]);
    queue.cursor = newer;
    assert_eq!(queue.now().await, Vec::<Value>::new());
}

#[tokio::test]
async fn every_change_makes_one_event_that_says_how_things_are() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    app.settled().await;
    let mut queue = grace.register().await;

    let discussion = ada.discussion(article, community, "Sample size").await;
    let path = format!("/discussions/{}", discussion["id"]);
    let changed = ada.patch(&path, json!({ "is_resolved": true })).await.expect(200);
    let comment = ada.comment(&discussion, "Nice").await;
    let reply = ada.reply(&comment, "Very").await;
    let edited = ada.patch(&format!("/comments/{}", reply["id"]), json!({ "text": "Rather" })).await.expect(200);
    // Deleting redacts them.
    let mut events = queue.events(5).await;
    for _ in 0..2 {
        ada.delete(&format!("/comments/{}", reply["id"])).await.expect(204);
        ada.delete(&path).await.expect(204);
    }
    let dead_reply = ada.get(&format!("/comments/{}", reply["id"])).await.expect(200);
    let dead = ada.get(&path).await.expect(200);

    let author = json!({ "id": ada.user, "username": "ada", "avatar_url": null });
    let common = |kind: &str, timestamp: &Value, more: Value| {
        let mut event = json!({
            "type": kind, "community_id": community, "article_id": article, "discussion_id": discussion["id"],
            "timestamp": timestamp
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let state = |resolved_at: &Value, resolved_by: Value| {
        json!({
            "topic": "Sample size", "text": "What do you think?", "author": author, "mentions": [], "is_resolved": resolved_at.is_string(),
            "comment_count": 0, "upvotes": 0, "downvotes": 0, "edited_at": null, "resolved_at": resolved_at, "resolved_by": resolved_by
        })
    };
    let expected = [
        common("new_discussion", &discussion["created_at"], state(&Value::Null, Value::Null)),
        common("updated_discussion", &changed["updated_at"], state(&changed["updated_at"], author.clone())),
        common(
            "new_comment",
            &comment["created_at"],
            json!({ "comment_id": comment["id"], "parent_id": null, "depth": 1, "text": "Nice", "author": author, "mentions": [], "upvotes": 0, "downvotes": 0, "edited_at": null, "comment_count": 1, "comment_version": 1 }),
        ),
        common(
            "new_comment",
            &reply["created_at"],
            json!({ "comment_id": reply["id"], "parent_id": comment["id"], "depth": 2, "text": "Very", "author": author, "mentions": [], "upvotes": 0, "downvotes": 0, "edited_at": null, "comment_count": 2, "comment_version": 2 }),
        ),
        common(
            "updated_comment",
            &edited["updated_at"],
            json!({ "comment_id": reply["id"], "parent_id": comment["id"], "text": "Rather", "author": author, "mentions": [], "upvotes": 0, "downvotes": 0, "edited_at": edited["updated_at"] }),
        ),
        common(
            "deleted_comment",
            &dead_reply["deleted_at"],
            json!({ "comment_id": reply["id"], "parent_id": comment["id"], "comment_count": 1, "comment_version": 3 }),
        ),
        common("deleted_discussion", &dead["deleted_at"], json!({})),
    ];
    events.extend(queue.events(2).await);
    for event in &mut events {
        event.as_object_mut().unwrap().remove("event_id").unwrap();
    }
    assert_eq!(events, expected);
}

#[tokio::test]
async fn no_answer_may_be_cached() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "A topic").await;
    for path in [
        format!("/articles/{article}/discussions?community_id={community}"),
        format!("/discussions/{}", discussion["id"]),
        format!("/discussions/{}/comments", discussion["id"]),
        "/session".to_owned(),
    ] {
        let answer = ada.get(&path).await;
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        answer.expect(200);
    }
}
