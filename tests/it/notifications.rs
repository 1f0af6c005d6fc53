//! Notifications: who gets one of what, when it goes again, and what their own tabs are told.

use std::fs;

use serde_json::{Value, json};
use sqlx::{Executor, Row};

use crate::{
    app::{ArticleId, Client, CommunityId, Queue, TestApp, types},
    renames::{transaction, waiting_for_locks},
};

pub(crate) struct Story {
    pub app: TestApp,
    pub community: CommunityId,
    pub article: ArticleId,
    /// She begins the discussion.
    pub ada: Client,
    pub grace: Client,
    pub emmy: Client,
    pub discussion: Value,
}

impl Story {
    pub(crate) async fn new(kind: &str) -> Self {
        let app = TestApp::start().await;
        let community = app.community(kind).await;
        let article = app.article(&[community]).await;
        let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
        let emmy = app.member("emmy", community).await;
        let discussion = ada.discussion(article, community, "Sample size").await;
        app.settled().await;
        Self { app, community, article, ada, grace, emmy, discussion }
    }

    async fn queue(&self, client: &Client) -> Queue {
        self.app.settled().await;
        client.register().await.with_notifications()
    }
}

/// The client's notifications, and the number of unread ones.
pub(crate) async fn list(client: &Client) -> (Vec<Value>, i64) {
    let mut page = client.get("/notifications?limit=100").await.expect(200);
    let Value::Array(notifications) = page["notifications"].take() else { panic!("{page}") };
    (notifications, page["unread_count"].as_i64().unwrap())
}

/// The kind of each notification with the id of what it is about.
pub(crate) async fn kinds(client: &Client) -> Vec<(String, i64)> {
    let about = |one: &Value| {
        if one["comment_id"].is_null() { one["discussion_id"].clone() } else { one["comment_id"].clone() }
    };
    let (notifications, unread) = list(client).await;
    assert_eq!(notifications.iter().filter(|one| one["is_read"] == false).count() as i64, unread);
    notifications.iter().map(|one| (one["kind"].as_str().unwrap().to_owned(), about(one).as_i64().unwrap())).collect()
}

pub(crate) fn about(kind: &str, thing: &Value) -> (String, i64) {
    (kind.to_owned(), thing["id"].as_i64().unwrap())
}

async fn read(client: &Client, marks: Value) {
    client.post("/notifications/read", marks).await.expect(204);
}

#[tokio::test]
async fn who_is_notified_of_what() {
    let story = Story::new("private").await;
    let Story { app, community, article, ada, grace, emmy, discussion } = &story;
    let admin = app.with_role("katherine", *community, "admin").await;
    app.sql(&format!("update articles set submitter_id = {}", emmy.user)).await;

    let comment = grace.comment(discussion, "Nice article!").await;
    let reply = emmy.reply(&comment, "Is it?").await;
    let back = grace.reply(&reply, "It is").await;
    let own = ada.comment(discussion, "I thank you").await;
    let second = ada.discussion(*article, *community, "Power").await;
    let by_submitter = emmy.discussion(*article, *community, "Mine").await;
    let expected = [about("comment", &back), about("comment", &reply), about("comment", &comment)];
    assert_eq!(kinds(ada).await, expected, "all in her discussion but her own");
    assert_eq!(kinds(grace).await, [about("reply", &reply)]);
    assert_eq!(kinds(emmy).await, [about("discussion", &second), about("reply", &back)], "not of her own");
    assert_eq!(kinds(&admin).await, [about("discussion", &by_submitter), about("discussion", &second)]);

    // Who began the discussion and wrote the comment gets one, and it is a reply.
    let reply = grace.reply(&own, "You are welcome").await;
    assert_eq!(kinds(ada).await[0], about("reply", &reply));
    assert_eq!(kinds(ada).await.len(), 4);

    let newest = list(ada).await.0.remove(0);
    let mut expected = json!({
        "id": newest["id"], "kind": "reply", "community_id": community, "article_id": article, "discussion_id": discussion["id"],
        "comment_id": reply["id"], "topic": "Sample size", "excerpt": "You are welcome",
        "actor": { "id": grace.user, "username": "grace", "avatar_url": null }, "reason": null, "is_read": false,
        "created_at": newest["created_at"]
    });
    assert_eq!(newest, expected);
    // Names and texts are those of now. An excerpt has 200 characters, of whatever length.
    app.sql(&format!("update users set username = 'hopper' where id = {}", grace.user)).await;
    grace.patch(&format!("/comments/{}", reply["id"]), json!({ "text": "é".repeat(300) })).await.expect(200);
    ada.patch(&format!("/discussions/{}", discussion["id"]), json!({ "topic": "Sizes" })).await.expect(200);
    expected["actor"]["username"] = json!("hopper");
    expected["excerpt"] = json!("é".repeat(200));
    expected["topic"] = json!("Sizes");
    assert_eq!(list(ada).await.0[0], expected);
    ada.delete(&format!("/discussions/{}", discussion["id"])).await.expect(204);
    expected["topic"] = Value::Null;
    assert_eq!(list(ada).await.0[0], expected, "comments outlive their discussion");
}

#[tokio::test]
async fn nobody_is_notified_who_is_no_member_not_active_or_wants_silence() {
    let story = Story::new("public").await;
    let Story { app, community, article, ada, grace, discussion, .. } = &story;
    let silent = async |text: &str| {
        grace.comment(discussion, text).await;
        let written: i64 = sqlx::query_scalar("select count(*) from notifications").fetch_one(&app.pool).await.unwrap();
        assert_eq!(written, 0, "{text}");
    };
    app.leave(ada.user, *community).await;
    silent("She has left").await;
    app.join(ada.user, *community, "member").await;
    app.sql(&format!("update users set is_active = false where id = {}", ada.user)).await;
    silent("She is not active").await;
    app.sql(&format!("update users set is_active = true where id = {}", ada.user)).await;
    let (user, of) = (ada.user, &discussion["id"]);
    app.sql(&format!("insert into discussion_follows values ({user}, {of}, 'mute')")).await;
    silent("She has muted the discussion").await;
    app.sql(&format!(
        "delete from discussion_follows; insert into article_follows values ({user}, {community}, {article}, 'mute')"
    ))
    .await;
    silent("She has muted the article").await;
    // What she said about the discussion goes before what she said about the article.
    app.sql(&format!("insert into discussion_follows values ({user}, {of}, 'follow')")).await;
    let heard = grace.comment(discussion, "She follows the discussion").await;
    assert_eq!(kinds(ada).await, [about("comment", &heard)]);
}

#[tokio::test]
async fn a_notification_is_told_after_its_cause_and_withdrawn_with_it() {
    let story = Story::new("hidden").await;
    let Story { app, community, article, ada, grace, discussion, .. } = &story;
    let (mut adas, mut graces) = (story.queue(ada).await, story.queue(grace).await);
    let comment = grace.comment(discussion, "A secret text").await;
    let path = format!("/comments/{}", comment["id"]);
    app.settled().await;
    let events = adas.now().await;
    assert_eq!(types(&events), ["new_comment", "new_notification"]);
    let (notifications, _) = list(ada).await;
    let id = &notifications[0]["id"];
    let told = json!({
        "event_id": events[1]["event_id"], "type": "new_notification", "user_id": ada.user, "notification_id": id,
        "kind": "comment", "community_id": community, "article_id": article, "discussion_id": discussion["id"],
        "comment_id": comment["id"], "timestamp": notifications[0]["created_at"]
    });
    assert_eq!(events[1], told, "neither text nor name");
    assert_eq!(types(&graces.now().await), ["new_comment"], "nobody else hears of it");

    grace.patch(&path, json!({ "text": "Another" })).await.expect(200);
    grace.delete(&path).await.expect(204);
    grace.delete(&path).await.expect(204);
    app.settled().await;
    let events = adas.now().await;
    assert_eq!(types(&events), ["updated_comment", "notifications_withdrawn", "deleted_comment"]);
    assert_eq!((&events[1]["ids"], &events[1]["community_id"]), (&json!([id]), &json!(community)));
    assert_eq!(types(&graces.now().await), ["updated_comment", "deleted_comment"]);
    assert_eq!(list(ada).await, (vec![], 0));

    // A moderator's deletion tells the author. Deleting one's own text does not.
    let moderator = app.with_role("katherine", *community, "moderator").await;
    let comment = grace.comment(discussion, "Rude").await;
    moderator.delete(&format!("/comments/{}", comment["id"])).await.expect(204);
    moderator.delete(&format!("/discussions/{}", discussion["id"])).await.expect(204);
    for (client, thing, topic) in [(grace, &comment, Value::Null), (ada, discussion, Value::Null)] {
        assert_eq!(kinds(client).await, [about("moderation", thing)]);
        let one = list(client).await.0.remove(0);
        assert_eq!(
            (&one["excerpt"], &one["actor"], &one["reason"], &one["topic"]),
            (&Value::Null, &Value::Null, &Value::Null, &topic)
        );
    }
    app.settled().await;
    assert_eq!(
        types(&graces.now().await),
        ["new_comment", "deleted_comment", "new_notification", "deleted_discussion"]
    );
}

#[tokio::test]
async fn marks_come_to_the_same_in_any_order_and_however_often() {
    let story = Story::new("public").await;
    let Story { app, ada, grace, discussion, .. } = &story;
    for number in 0..5 {
        grace.comment(discussion, &format!("Remark {number}")).await;
    }
    let ids: Vec<i64> = list(ada).await.0.iter().rev().map(|one| one["id"].as_i64().unwrap()).collect();
    let (mut first, mut second) = (story.queue(ada).await, story.queue(ada).await);
    let marks = [
        json!({ "ids": [ids[3], ids[0]] }),
        json!({ "up_to_id": ids[1] }),
        json!({ "ids": [ids[3]], "up_to_id": ids[1] }),
    ];
    for mark in marks.iter().chain(&marks).rev() {
        read(ada, mark.clone()).await;
    }
    // Somebody else's marks, and unknown ids.
    read(grace, json!({ "ids": ids, "up_to_id": ids[4] })).await;
    read(ada, json!({ "ids": [0, -1, i64::MAX] })).await;
    let (all, unread) = list(ada).await;
    let unread_ids: Vec<_> =
        all.iter().filter(|one| one["is_read"] == false).map(|one| one["id"].as_i64().unwrap()).collect();
    assert_eq!((unread, unread_ids), (2, vec![ids[4], ids[2]]));
    let page = ada.get("/notifications?unread=true&limit=1").await.expect(200);
    assert_eq!((&page["notifications"][0]["id"], &page["unread_count"]), (&json!(ids[4]), &json!(2)));
    let next = format!("/notifications?unread=true&limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let next = ada.get(&next).await.expect(200);
    assert_eq!((&next["notifications"][0]["id"], &next["next_cursor"]), (&json!(ids[2]), &Value::Null));

    app.settled().await;
    let events = first.now().await;
    assert_eq!(types(&events), ["notifications_read"], "the first mark named all of them");
    assert_eq!(events[0]["ids"], json!([ids[0], ids[1], ids[3]]));
    assert_eq!(second.now().await, events);
    // All tabs at once.
    let all = json!({ "up_to_id": ids[4] });
    let (one, other) = (read(ada, all.clone()), read(ada, all));
    tokio::join!(one, other);
    app.settled().await;
    let events = first.now().await;
    assert_eq!(types(&events), ["notifications_read"]);
    assert_eq!(events[0]["ids"], json!([ids[2], ids[4]]));

    ada.post("/notifications/read", json!({})).await.refused(422, "invalid_fields");
    ada.post("/notifications/read", json!({ "ids": vec![1; 101] })).await.refused(422, "invalid_fields");
    app.anonymous().get("/notifications").await.refused(401, "token_missing");
}

#[tokio::test]
async fn who_reads_a_text_needs_no_notification_of_it() {
    let story = Story::new("private").await;
    let Story { app, community, article, ada, grace, .. } = &story;
    let discussion = ada.discussion(*article, *community, "Sample size").await;
    let mut comments = Vec::new();
    for text in ["one", "two", "three"] {
        comments.push(grace.comment(&discussion, text).await);
    }
    app.settled().await;
    let mut queue = story.queue(ada).await;
    let unread = |page: Vec<Value>| {
        let left = page.into_iter().filter(|notification| notification["is_read"] == false);
        left.map(|notification| notification["comment_id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    let id = |index: usize| comments[index]["id"].as_i64().unwrap();
    assert_eq!(unread(list(ada).await.0), [id(2), id(1), id(0)]);
    let path = format!("/discussions/{}/read", discussion["id"]);
    ada.post(&path, json!({ "comment_ids": [id(1)] })).await.expect(204);
    assert_eq!(unread(list(ada).await.0), [id(2), id(0)]);
    let events = queue.events(2).await;
    assert_eq!(types(&events), ["read_state_changed", "notifications_read"]);
    assert_eq!(events[1]["ids"].as_array().unwrap().len(), 1);
    // A mention that an edit brings is of a text that was read already. Reading another text leaves it, and reading this one again does not.
    let edited = format!("/comments/{}", id(1));
    grace.patch(&edited, json!({ "text": "two, @ada" })).await.expect(200);
    ada.post(&path, json!({ "comment_ids": [id(1)] })).await.expect(204);
    assert_eq!(unread(list(ada).await.0), [id(2), id(0)]);
    queue.cursor = app.settled().await;
    // A repetition changes nothing and tells nothing. What is marked as unread stays among what was notified.
    ada.post(&path, json!({ "comment_ids": [id(1)] })).await.expect(204);
    ada.post(&format!("/discussions/{}/unread", discussion["id"]), json!({})).await.expect(204);
    assert_eq!(types(&queue.events(1).await), ["read_state_changed"]);
    assert_eq!(unread(list(ada).await.0), [id(2), id(0)]);
    ada.post(&format!("/articles/{article}/read"), json!({ "community_id": community })).await.expect(204);
    assert_eq!(unread(list(ada).await.0), [0_i64; 0]);
    assert_eq!(types(&queue.events(2).await), ["read_state_changed", "notifications_read"]);
    // Comments outlive their discussion.
    let last = grace.comment(&discussion, "four").await;
    ada.delete(&format!("/discussions/{}", discussion["id"])).await.expect(204);
    assert_eq!(unread(list(ada).await.0), [last["id"].as_i64().unwrap()]);
    ada.post(&format!("/articles/{article}/read"), json!({ "community_id": community })).await.expect(204);
    assert_eq!(unread(list(ada).await.0), [0_i64; 0]);
}

/// Something is written while a mark waits for the reader's other tab.
#[tokio::test]
async fn what_is_written_during_a_mark_stays_unread_and_notified() {
    let story = Story::new("private").await;
    let Story { app, community, article, ada, grace, discussion, .. } = &story;
    let first = grace.comment(discussion, "First").await;
    let marks = [
        (
            format!("/discussions/{}/read", discussion["id"]),
            json!({ "comment_ids": [first["id"]], "up_to_comment_id": i64::MAX }),
        ),
        (format!("/articles/{article}/read"), json!({ "community_id": community })),
    ];
    // Her row is there, for the other tab to hold.
    ada.post(&marks[0].0, json!({ "discussion": true })).await.expect(204);
    for (path, mark) in marks {
        let mut other_tab = transaction(app, "select from read_states for update").await;
        let marking = {
            let (ada, path) = (ada.clone(), path.clone());
            tokio::spawn(async move { ada.post(&path, mark).await.expect(204) })
        };
        waiting_for_locks(app, 1).await;
        let comment = grace.comment(discussion, "During the mark").await;
        other_tab.execute("commit").await.unwrap();
        marking.await.unwrap();
        let unread =
            &ada.get(&format!("/discussions/{}", discussion["id"])).await.expect(200)["first_unread_comment_id"];
        assert_eq!(unread, &comment["id"], "{path}");
        let page = ada.get("/notifications?unread=true").await.expect(200);
        assert_eq!(
            (&page["unread_count"], &page["notifications"][0]["comment_id"]),
            (&json!(1), &comment["id"]),
            "{path}"
        );
        read(ada, json!({ "up_to_id": i64::MAX })).await;
    }
}

#[tokio::test]
async fn who_comes_back_has_read_what_they_were_notified_of_before() {
    let story = Story::new("private").await;
    let Story { app, community, ada, grace, emmy, discussion, .. } = &story;
    let before = grace.comment(discussion, "@emmy, look").await;
    app.leave(ada.user, *community).await;
    app.join(ada.user, *community, "admin").await;
    let (all, unread) = list(ada).await;
    assert_eq!((unread, &all[0]["comment_id"], &all[0]["is_read"]), (0, &before["id"], &json!(true)));
    assert_eq!(list(emmy).await.1, 1, "nobody else's");
    let after = grace.comment(discussion, "Welcome back").await;
    assert_eq!(list(ada).await.1, 1);
    // A change of role is no new membership.
    app.join(ada.user, *community, "member").await;
    assert_eq!((list(ada).await.1, &list(ada).await.0[0]["comment_id"]), (1, &after["id"]));
}

#[tokio::test]
async fn too_many_marks_for_an_event_are_told_without_their_ids() {
    let story = Story::new("public").await;
    let Story { app, ada, grace, discussion, .. } = &story;
    for number in 0..101 {
        grace.comment(discussion, &format!("Remark {number}")).await;
    }
    assert_eq!(list(ada).await.1, 101);
    let mut queue = story.queue(ada).await;
    read(ada, json!({ "up_to_id": i64::MAX })).await;
    app.settled().await;
    let events = queue.now().await;
    assert_eq!((types(&events), &events[0]["ids"]), (vec!["notifications_read"], &Value::Null));
    assert_eq!(list(ada).await.1, 0);
}

#[tokio::test]
async fn former_members_and_narrower_tokens_see_nothing_of_a_community() {
    let story = Story::new("private").await;
    let Story { app, community, ada, grace, discussion, .. } = &story;
    let other = app.community("hidden").await;
    let article = app.article(&[other]).await;
    for client in [ada, grace] {
        app.join(client.user, other, "member").await;
    }
    let hidden = ada.discussion(article, other, "Hidden").await;
    let narrow = app.narrow_client(ada.user, &[*community]);
    let (mut wide_queue, mut narrow_queue) = (story.queue(ada).await, story.queue(&narrow).await);
    let here = grace.comment(discussion, "Here").await;
    let there = grace.comment(&hidden, "There").await;
    assert_eq!(kinds(ada).await, [about("comment", &there), about("comment", &here)]);
    assert_eq!(kinds(&narrow).await, [about("comment", &here)]);

    // The marks of a narrow token are of its communities alone, and so are its events.
    read(&narrow, json!({ "up_to_id": i64::MAX })).await;
    assert_eq!(list(ada).await.1, 1);
    read(ada, json!({ "up_to_id": i64::MAX })).await;
    app.settled().await;
    let expected = ["new_comment", "new_notification", "notifications_read"];
    assert_eq!(types(&narrow_queue.now().await), expected);
    assert_eq!(wide_queue.now().await.len(), 2 * expected.len());

    app.leave(ada.user, other).await;
    assert_eq!(kinds(ada).await, [about("comment", &here)]);
    grace.comment(&hidden, "After").await;
    grace.delete(&format!("/comments/{}", there["id"])).await.expect(204);
    app.settled().await;
    assert_eq!(types(&wide_queue.now().await), ["membership_changed"]);
    app.sql(&format!("update users set is_active = false where id = {}", ada.user)).await;
    ada.get("/notifications").await.refused(401, "token_invalid");
    ada.post("/notifications/read", json!({ "up_to_id": 1 })).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn an_actor_under_a_pseudonym_is_shown_as_the_pseudonym() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, discussion, .. } = &story;
    app.sql("update community_articles set is_pseudonymous = true").await;
    let comment = grace.comment(discussion, "Nice").await;
    let reply = ada.reply(&comment, "Thanks").await;
    for (client, text) in [(ada, &comment), (grace, &reply)] {
        let one = list(client).await.0.remove(0);
        assert_eq!(one["actor"], text["author"]);
        assert_eq!(one["actor"]["id"], Value::Null);
    }
}

/// By how much the number of each event is greater than that of the event before.
fn numbers(events: &[Value]) -> Vec<i64> {
    let ids: Vec<i64> = events.iter().map(|event| event["event_id"].as_i64().unwrap()).collect();
    ids.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test]
async fn the_order_does_not_tell_who_is_notified_where_there_are_pseudonyms() {
    let story = Story::new("private").await;
    let Story { app, community, article, ada, grace, emmy, .. } = &story;
    app.with_role("katherine", *community, "admin").await;
    app.sql("update community_articles set is_pseudonymous = true").await;
    let writers = [ada, grace, emmy];
    // A new pseudonym has a number of its own.
    for writer in writers {
        writer.comment(&story.discussion, "Here I am").await;
    }
    assert_eq!((ada.user, grace.user), (1, 2));
    let muted = "insert into article_follows select 1, community_id, article_id, 'mute' from community_articles";
    let admin = "update memberships set role = case user_id when 1 then 'admin' else 'member' end";
    let mut patterns = Vec::new();
    // Who begins the discussion, comments and replies, and what changes before the first and before the last.
    for (people, before, between) in [
        ([0, 1, 2], "", ""),
        // They are one person, or two.
        ([0, 0, 0], "", ""),
        ([0, 0, 1], "", ""),
        ([0, 1, 0], "", ""),
        ([0, 1, 1], "", ""),
        // One has left, wants silence, or is the admin.
        ([0, 1, 2], "", "delete from memberships where user_id = 2"),
        ([0, 1, 2], "", muted),
        ([0, 1, 2], admin, ""),
    ] {
        let [first, second, third] = people.map(|writer| writers[writer]);
        app.sql(before).await;
        let mut watching = app.member("watcher", *community).await.register().await;
        watching.cursor = app.settled().await;
        let discussion = first.discussion(*article, *community, "Topic").await;
        let comment = second.comment(&discussion, "Comment").await;
        app.settled().await;
        let events = watching.now().await;
        assert_eq!(types(&events), ["new_discussion", "new_comment"]);
        app.sql(between).await;
        watching.cursor = app.settled().await;
        let reply = third.reply(&comment, "Reply").await;
        third.delete(&format!("/comments/{}", reply["id"])).await.expect(204);
        third.comment(&discussion, "Last").await;
        app.settled().await;
        let more = watching.now().await;
        assert_eq!(types(&more), ["new_comment", "deleted_comment", "new_comment"]);
        patterns.push(((people, before, between), [numbers(&events), numbers(&more)]));
        app.sql(
            "delete from article_follows;
             insert into memberships (user_id, community_id, role) values (2, 1, 'member') on conflict do nothing;
             update memberships set role = case user_id when 4 then 'admin' else 'member' end",
        )
        .await;
    }
    for (case, gaps) in &patterns {
        assert_eq!(*gaps, patterns[0].1, "{case:?}");
    }
    // The ids of notifications follow each other without telling more.
    let by_text: Vec<i64> = sqlx::query_scalar(
        "select count(*) from notifications where comment_id is not null and discussion_id > 1 group by comment_id order by comment_id",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    assert!(by_text.iter().all(|rows| *rows == by_text[0]), "{by_text:?}");
}

#[tokio::test]
async fn a_rename_and_an_ended_account_do_no_harm() {
    let story = Story::new("public").await;
    let Story { app, article, community, ada, grace, .. } = &story;
    let submitter = app.user("katherine").await;
    app.join(submitter, *community, "member").await;
    app.sql(&format!("update articles set submitter_id = {submitter}")).await;
    let mut ending = app.pool.begin().await.unwrap();
    sqlx::query("delete from users where id = $1").bind(submitter).execute(&mut *ending).await.unwrap();
    let (client, article, community) = (grace.clone(), *article, *community);
    let writing = tokio::spawn(async move { client.discussion(article, community, "While she leaves").await });
    // The statement waits for the row that is being deleted.
    let waits =
        "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&app.pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
    ending.commit().await.unwrap();
    writing.await.unwrap();
    assert_eq!(list(ada).await, (vec![], 0));
}

/// The statement of docs/operations.md for the job that sends mail.
fn mail_statement() -> String {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let section = document.split("## Mail of notifications").nth(1).unwrap();
    section.split("```sql").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

#[tokio::test]
async fn the_documented_statement_takes_each_notification_for_mail_once() {
    let story = Story::new("private").await;
    let Story { app, community, ada, grace, emmy, discussion, .. } = &story;
    let first = grace.comment(discussion, "First").await;
    grace.comment(discussion, "It will be read").await;
    app.sql("update community_articles set is_pseudonymous = true").await;
    let third = emmy.comment(discussion, "Third").await;
    let removed = grace.comment(discussion, "Rude").await;
    app.with_role("katherine", *community, "admin")
        .await
        .delete(&format!("/comments/{}", removed["id"]))
        .await
        .expect(204);
    let ids: Vec<i64> = list(ada).await.0.iter().map(|one| one["id"].as_i64().unwrap()).collect();
    read(ada, json!({ "ids": [ids[1]] })).await;
    let statement = mail_statement();
    let take = async || sqlx::query(&statement).fetch_all(&app.pool).await.unwrap();
    assert_eq!(take().await.len(), 0, "they are too young");
    let age = async || app.sql("update notifications set created_at = created_at - interval '1 hour'").await;
    age().await;

    // Another job has the oldest, and gives it back.
    let mut other = app.pool.begin().await.unwrap();
    sqlx::query("select from notifications order by id limit 1 for update").execute(&mut *other).await.unwrap();
    let rows = take().await;
    let shown = |row: &sqlx::postgres::PgRow| {
        let text = |name: &str| row.get::<Option<String>, _>(name);
        (
            row.get::<i64, _>("user_id"),
            row.get::<Option<i64>, _>("comment_id"),
            text("kind"),
            text("excerpt"),
            text("actor"),
        )
    };
    let some = |text: &str| Some(text.to_owned());
    let name = third["author"]["username"].as_str().unwrap();
    assert_eq!(
        rows.iter().map(shown).collect::<Vec<_>>(),
        [
            (ada.user, third["id"].as_i64(), some("comment"), some("Third"), some(name)),
            (grace.user, removed["id"].as_i64(), some("moderation"), None, None),
        ]
    );
    other.rollback().await.unwrap();
    let rows = take().await;
    let expected = (ada.user, first["id"].as_i64(), some("comment"), some("First"), some("grace"));
    assert_eq!(rows.iter().map(shown).collect::<Vec<_>>(), [expected]);
    assert_eq!(take().await.len(), 0, "each is mailed once");
    grace.comment(discussion, "Last").await;
    age().await;
    app.leave(ada.user, *community).await;
    assert_eq!(take().await.len(), 0, "she may not see it");
    app.join(ada.user, *community, "member").await;
    assert_eq!(take().await.len(), 0, "it counts as read");
}
