//! Votes, and the events for one user that they make.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::app::{Answer, ArticleId, Client, CommunityId, PATIENCE, TestApp, types};

struct Story {
    app: TestApp,
    community: CommunityId,
    article: ArticleId,
    ada: Client,
    grace: Client,
    discussion: Value,
    comment: Value,
}

impl Story {
    /// Ada has written a discussion and a comment.
    async fn new(kind: &str) -> Self {
        let app = TestApp::start().await;
        let community = app.community(kind).await;
        let article = app.article(&[community]).await;
        let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
        let discussion = ada.discussion(article, community, "Sample size").await;
        let comment = ada.comment(&discussion, "Twelve is enough").await;
        app.settled().await;
        Self { app, community, article, ada, grace, discussion, comment }
    }

    fn of_comment(&self) -> String {
        format!("/comments/{}/vote", self.comment["id"])
    }

    fn of_discussion(&self) -> String {
        format!("/discussions/{}/vote", self.discussion["id"])
    }
}

/// What the server answers to a vote, without the time.
fn answered(answer: Answer) -> Value {
    let answer = answer.expect(200);
    assert!(answer["timestamp"].is_string(), "{answer}");
    shown(&answer)
}

fn votes(upvotes: i64, downvotes: i64, own_vote: impl Into<Value>) -> Value {
    json!({ "upvotes": upvotes, "downvotes": downvotes, "own_vote": own_vote.into() })
}

/// The votes of a discussion or comment, as an answer shows them.
fn shown(thing: &Value) -> Value {
    json!({ "upvotes": thing["upvotes"], "downvotes": thing["downvotes"], "own_vote": thing["own_vote"] })
}

#[tokio::test]
async fn everyone_sees_the_sums_and_each_their_own_vote() {
    let story = Story::new("public").await;
    let Story { app, ada, grace, .. } = &story;
    let (outsider, anonymous) = (app.client(app.user("emmy").await), app.anonymous());
    for (path, thing) in [(story.of_comment(), "comments"), (story.of_discussion(), "discussions")] {
        assert_eq!(answered(grace.put(&path, json!({ "value": -1 })).await), votes(0, 1, -1));
        assert_eq!(answered(grace.put(&path, json!({ "value": 1 })).await), votes(1, 0, 1));
        assert_eq!(answered(grace.put(&path, json!({ "value": 1 })).await), votes(1, 0, 1), "again");
        let own =
            format!("/{thing}/{}", if thing == "comments" { &story.comment["id"] } else { &story.discussion["id"] });
        for (client, own_vote) in
            [(grace, json!(1)), (ada, json!(0)), (&outsider, Value::Null), (&anonymous, Value::Null)]
        {
            let expected = votes(1, 0, own_vote);
            assert_eq!(shown(&client.get(&own).await.expect(200)), expected);
            let list = match thing {
                "comments" => client.get(&format!("/discussions/{}/comments", story.discussion["id"])).await,
                _ => client.get(&format!("/articles/{}/discussions", story.article)).await,
            };
            assert_eq!(shown(&list.expect(200)[thing][0]), expected);
        }
    }
    // What changes the thing keeps its votes.
    let path = format!("/comments/{}", story.comment["id"]);
    assert_eq!(shown(&ada.patch(&path, json!({ "text": "Twelve are" })).await.expect(200)), votes(1, 0, 0));
    let admin = app.with_role("margaret", story.community, "admin").await;
    admin.put(&story.of_discussion(), json!({ "value": -1 })).await.expect(200);
    let path = format!("/discussions/{}", story.discussion["id"]);
    assert_eq!(shown(&admin.patch(&path, json!({ "is_resolved": true })).await.expect(200)), votes(1, 1, -1));
    assert_eq!(answered(grace.put(&story.of_discussion(), json!({ "value": 0 })).await), votes(0, 1, 0));
}

#[tokio::test]
async fn what_one_may_not_vote_on() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, .. } = &story;
    for path in [story.of_comment(), story.of_discussion()] {
        ada.put(&path, json!({ "value": 1 })).await.refused(403, "vote_on_own");
        for value in [json!(2), json!(-2), json!(0.5), json!("1"), Value::Null] {
            let refused = grace.put(&path, json!({ "value": value })).await.refused(422, "invalid_fields");
            assert!(refused["fields"]["value"].is_string(), "{refused}");
        }
        app.client(app.user("emmy").await).put(&path, json!({ "value": 1 })).await.refused(403, "not_a_member");
        grace.put(&path, json!({ "value": 1 })).await.expect(200);
    }
    ada.delete(&format!("/comments/{}", story.comment["id"])).await.expect(204);
    grace.put(&story.of_comment(), json!({ "value": -1 })).await.refused(409, "comment_deleted");
    ada.delete(&format!("/discussions/{}", story.discussion["id"])).await.expect(204);
    grace.put(&story.of_discussion(), json!({ "value": -1 })).await.refused(409, "discussion_deleted");
    grace.put("/comments/99/vote", json!({ "value": 1 })).await.refused(404, "comment_not_found");
    grace.put("/discussions/99/vote", json!({ "value": 1 })).await.refused(404, "discussion_not_found");
}

#[tokio::test]
async fn a_vote_is_told_to_all_and_the_voter_alone_hears_whose_it_is() {
    let story = Story::new("hidden").await;
    let Story { app, ada, grace, .. } = &story;
    let mut others = ada.register().await;
    let mut tabs = [grace.register().await, grace.register().await];
    let mut elsewhere = app.member("emmy", app.community("public").await).await;
    elsewhere = app.client(elsewhere.user);
    app.settled().await;
    let mut outside = elsewhere.register().await;
    let parked = tabs[0].park(app).await;
    grace.put(&story.of_comment(), json!({ "value": 1 })).await.expect(200);
    grace.put(&story.of_comment(), json!({ "value": 1 })).await.expect(200);
    app.settled().await;

    // The parked poll of the voter gets the first event of the two.
    let first = parked.await.unwrap().expect(200);
    assert_eq!(types(first["events"].as_array().unwrap()), ["own_vote_changed"]);
    let seen = tabs[1].now().await;
    assert_eq!(types(&seen), ["own_vote_changed", "votes_changed"], "the second vote changed nothing");
    let place =
        |event: &Value| ["community_id", "article_id", "discussion_id", "comment_id"].map(|name| event[name].clone());
    let expected =
        [json!(story.community), json!(story.article), story.discussion["id"].clone(), story.comment["id"].clone()];
    assert_eq!((place(&seen[0]), place(&seen[1])), (expected.clone(), expected));
    assert_eq!((&seen[0]["value"], &seen[0]["user_id"]), (&json!(1), &json!(grace.user)));
    assert_eq!((&seen[1]["upvotes"], &seen[1]["downvotes"]), (&json!(1), &json!(0)));
    let told = others.now().await;
    assert_eq!(types(&told), ["votes_changed"]);
    assert!(!told[0].to_string().contains("user_id") && !told[0].to_string().contains("grace"), "{}", told[0]);
    assert!(outside.now().await.is_empty());
    // A token without the community hears nothing of it.
    let other = app.community("private").await;
    app.join(grace.user, other, "member").await;
    app.settled().await;
    let mut narrow = app.narrow_client(grace.user, &[other]).register().await;
    narrow.cursor = first["last_event_id"].as_i64().unwrap() - 1;
    assert_eq!(types(&narrow.now().await), ["membership_changed"]);
}

/// Own events of a community end with the membership, as its other events do (I5).
#[tokio::test]
async fn a_former_member_gets_no_own_events_of_the_community() {
    let story = Story::new("private").await;
    let Story { app, grace, .. } = &story;
    let mut queue = grace.register().await;
    let before = queue.cursor;
    grace.put(&story.of_comment(), json!({ "value": 1 })).await.expect(200);
    app.settled().await;
    assert_eq!(types(&queue.now().await), ["own_vote_changed", "votes_changed"]);
    app.leave(grace.user, story.community).await;
    app.settled().await;
    queue.cursor = before;
    assert_eq!(types(&queue.now().await), ["membership_changed"]);
    app.join(grace.user, story.community, "member").await;
    app.settled().await;
    queue.cursor = before;
    let types = queue.now().await.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(types, ["own_vote_changed", "votes_changed", "membership_changed", "membership_changed"]);
}

/// Double clicks, two tabs and many users at once end right, and make fewer events than votes.
#[tokio::test]
async fn many_votes_at_once_are_exact() {
    let story = Story::new("public").await;
    let Story { app, community, ada, .. } = &story;
    let mut voters = Vec::new();
    for number in 0..40 {
        voters.push(app.member(&format!("voter {number}"), *community).await);
    }
    app.settled().await;
    let mut queue = ada.register().await;
    let path = story.of_comment();
    let cast = voters.iter().enumerate().flat_map(|(number, voter)| {
        // The last vote of each is up for every third, down for every third, and taken back by the others.
        let last = [1, -1, 0][number % 3];
        [1, -1, last, last].map(|value| (voter, value))
    });
    // Those of one voter one after the other, as their last one counts; each twice at the same time.
    let by_voter: Vec<Vec<_>> = cast.collect::<Vec<_>>().chunks(4).map(<[_]>::to_vec).collect();
    let path = &path;
    join_all(by_voter.iter().map(|votes| async move {
        for (voter, value) in votes {
            let vote = || voter.put(path, json!({ "value": value }));
            let (one, other) = tokio::join!(vote(), vote());
            assert_eq!(
                (one.expect(200)["own_vote"].clone(), other.expect(200)["own_vote"].clone()),
                (json!(value), json!(value))
            );
        }
    }))
    .await;
    app.settled().await;
    let expected = votes(14, 13, 0);
    assert_eq!(shown(&ada.get(&format!("/comments/{}", story.comment["id"])).await.expect(200)), expected);
    let rows: (i64, i64) = sqlx::query_as(
        "select count(*) filter (where value = 1), count(*) filter (where value = -1) from comment_votes",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(rows, (14, 13), "the sums are those of the rows");
    let told = queue.now().await;
    let last = told.last().unwrap();
    assert_eq!((&last["upvotes"], &last["downvotes"]), (&json!(14), &json!(13)));
    assert!(told.len() < 40 * 3, "{} events of 320 votes", told.len());
    assert_eq!(types(&told).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["votes_changed"]));
}

/// A vote and its events commit together or not at all (I1).
#[tokio::test]
async fn without_its_event_there_is_no_vote() {
    let story = Story::new("public").await;
    let Story { app, grace, .. } = &story;
    app.sql(
        "create function no_votes() returns trigger language plpgsql as 'begin raise exception ''no''; end';
         create trigger no_votes before insert on outbox for each row when (new.type = 'votes_changed') execute function no_votes()",
    )
    .await;
    grace.put(&story.of_comment(), json!({ "value": 1 })).await.refused(500, "internal");
    app.sql("drop trigger no_votes on outbox").await;
    let path = format!("/comments/{}", story.comment["id"]);
    assert_eq!(shown(&grace.get(&path).await.expect(200)), votes(0, 0, 0));
    assert_eq!(answered(grace.put(&story.of_comment(), json!({ "value": 1 })).await), votes(1, 0, 1));
}

/// A row that another program keeps locked holds up the votes on it, and no others.
#[tokio::test]
async fn a_locked_row_holds_up_no_other_votes() {
    let story = Story::new("public").await;
    let Story { app, ada, grace, .. } = &story;
    let other = ada.comment(&story.discussion, "Or thirteen").await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("select from comments where id = $1 for update")
        .bind(story.comment["id"].as_i64().unwrap())
        .execute(&mut *lock)
        .await
        .unwrap();
    let (path, waiting) = (story.of_comment(), grace.clone());
    let waiting = tokio::spawn(async move { waiting.put(&path, json!({ "value": 1 })).await });
    let free = format!("/comments/{}/vote", other["id"]);
    for value in [1, -1, 0, 1] {
        assert_eq!(grace.put(&free, json!({ "value": value })).await.expect(200)["own_vote"], value);
    }
    assert!(!waiting.is_finished());
    lock.rollback().await.unwrap();
    let answer = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(answered(answer), votes(1, 0, 1));
}

/// A vote that waits is counted only if its user is still a member then.
#[tokio::test]
async fn a_vote_that_waits_counts_only_if_its_user_is_still_a_member() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, community, .. } = &story;
    let emmy = app.member("emmy", *community).await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("select from comments where id = $1 for update")
        .bind(story.comment["id"].as_i64().unwrap())
        .execute(&mut *lock)
        .await
        .unwrap();
    let cast = |voter: &Client| {
        let (voter, path) = (voter.clone(), story.of_comment());
        tokio::spawn(async move { voter.put(&path, json!({ "value": 1 })).await })
    };
    let (removed, ended, member) = (cast(grace), cast(&emmy), cast(&app.member("alan", *community).await));
    // All three have had their access checked when the database has seen their votes.
    app.until(|| app.state.votes.waiting() == 3).await;
    app.leave(grace.user, *community).await;
    app.sql(&format!("update users set is_active = false where id = {}", emmy.user)).await;
    lock.rollback().await.unwrap();
    removed.await.unwrap().refused(403, "not_a_member");
    ended.await.unwrap().refused(403, "not_a_member");
    assert_eq!(answered(member.await.unwrap()), votes(1, 0, 1));
    let path = format!("/comments/{}", story.comment["id"]);
    assert_eq!(shown(&ada.get(&path).await.expect(200)), votes(1, 0, 0));
}

/// A client that hangs up has voted, or has not: the sums and the rows agree, and the next vote is counted.
#[tokio::test]
async fn a_voter_who_hangs_up_harms_nothing() {
    let story = Story::new("public").await;
    let Story { app, ada, grace, .. } = &story;
    let path = story.of_comment();
    for microseconds in (0..10_000).step_by(250) {
        for value in [1, -1] {
            let vote = grace.put(&path, json!({ "value": value }));
            let _ = timeout(Duration::from_micros(microseconds), vote).await;
        }
    }
    // A vote that was given up may come after this one, on its own connection. The last one to come counts.
    let last = async { while answered(grace.put(&path, json!({ "value": 1 })).await)["own_vote"] != 1 {} };
    timeout(PATIENCE, last).await.expect("no more votes come");
    app.settled().await;
    let rows: Vec<i16> = sqlx::query_scalar("select value from comment_votes").fetch_all(&app.pool).await.unwrap();
    let comment = ada.get(&format!("/comments/{}", story.comment["id"])).await.expect(200);
    let sum = |value: i16| rows.iter().filter(|row| **row == value).count();
    assert_eq!(shown(&comment), json!({ "upvotes": sum(1), "downvotes": sum(-1), "own_vote": 0 }));
}

/// A node that starts, or did not know the user, reads the newest own events from the outbox.
#[tokio::test]
async fn own_events_outlive_the_node() {
    let story = Story::new("public").await;
    let queue = story.grace.register().await;
    let (before, user) = (queue.cursor, story.grace.user);
    story.grace.put(&story.of_comment(), json!({ "value": 1 })).await.expect(200);
    story.app.settled().await;
    let database = story.app.stop().await;
    let app = TestApp::on(database, |_| {}).await;
    let mut queue = app.client(user).register().await;
    queue.cursor = before;
    assert_eq!(types(&queue.now().await), ["own_vote_changed", "votes_changed"]);
}

/// Own events are pruned by age, and only a user who has lost one is told to catch up.
#[tokio::test]
async fn pruned_own_events_require_a_catch_up_of_their_user_alone() {
    let story = Story::new("public").await;
    let queue = story.grace.register().await;
    let (before, grace, ada) = (queue.cursor, story.grace.user, story.ada.user);
    story.grace.put(&story.of_comment(), json!({ "value": 1 })).await.expect(200);
    story.app.settled().await;
    // The sums' event goes too, as it is as old. Ada's cursor is behind it.
    story.app.sql("update outbox set created_at = now() - interval '1 year' where type = 'own_vote_changed'").await;
    let after = story.app.settled().await;
    let database = story.app.stop().await;
    let app = TestApp::on(database, |config| {
        (config.outbox_retention_hours, config.total_log_events) = (24, 1);
    })
    .await;
    let pruned = async {
        let is_pruned = "select exists (select from outbox_pruned_users)";
        while !sqlx::query_scalar::<_, bool>(is_pruned).fetch_one(&app.pool).await.unwrap() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, pruned).await.expect("old events go");
    let mut of_grace = app.client(grace).register().await;
    of_grace.cursor = before;
    assert_eq!(of_grace.poll_raw(0.0).await.expect(200), json!({ "catchup_required": true }));
    of_grace.cursor = after;
    assert!(of_grace.now().await.is_empty());
    let mut of_ada = app.client(ada).register().await;
    of_ada.cursor = after - 1;
    assert_eq!(of_ada.poll_raw(0.0).await.expect(200)["catchup_required"], Value::Null);
}

/// An event of no community, and of a type that this release does not know, reaches its user by any token, and nobody else.
#[tokio::test]
async fn an_event_of_no_community_reaches_its_user_alone() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, community, .. } = &story;
    let (mut own, mut others) = (grace.register().await, ada.register().await);
    let mut narrow = app.narrow_client(grace.user, &[*community]).register().await;
    let parked = narrow.park(app).await;
    let insert = format!(
        "insert into outbox (community_id, user_id, type, payload)
         values (null, {}, 'made_up', '{{\"type\": \"made_up\", \"told\": true}}')",
        grace.user
    );
    app.sql(&insert).await;
    app.settled().await;
    let events = own.now().await;
    assert_eq!((types(&events), &events[0]["told"]), (vec!["made_up"], &json!(true)));
    let answer = parked.await.unwrap().expect(200);
    assert_eq!(answer["events"], json!(events));
    narrow.cursor = answer["last_event_id"].as_i64().unwrap();
    assert!(narrow.now().await.is_empty() && others.now().await.is_empty());
}
