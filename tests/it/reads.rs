//! Read states: what is unread for whom, and the events for the reader's own tabs.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::Executor;

use crate::{
    app::{ArticleId, Client, CommunityId, TestApp, types},
    plans::statement,
};

struct Story {
    app: TestApp,
    community: CommunityId,
    article: ArticleId,
    ada: Client,
    grace: Client,
    discussion: Value,
    comments: Vec<Value>,
}

impl Story {
    /// Ada has written a discussion and four comments. Grace was a member before.
    async fn new(kind: &str) -> Self {
        let app = TestApp::start().await;
        let community = app.community(kind).await;
        let article = app.article(&[community]).await;
        let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
        let discussion = ada.discussion(article, community, "Sample size").await;
        let mut comments = Vec::new();
        for number in 1..=4 {
            comments.push(ada.comment(&discussion, &format!("Remark {number}")).await);
        }
        app.settled().await;
        Self { app, community, article, ada, grace, discussion, comments }
    }

    fn id(&self, comment: usize) -> i64 {
        self.comments[comment].id()
    }

    /// Marks something of the discussion as read.
    async fn read(&self, client: &Client, marks: Value) {
        client.post(&format!("/discussions/{}/read", self.discussion["id"]), marks).await.expect(204);
    }

    async fn unread(&self, client: &Client, from: Value) {
        client.post(&format!("/discussions/{}/unread", self.discussion["id"]), from).await.expect(204);
    }

    /// What the client sees of the discussion: whether it is unread, how many comments are, and the first of them. The list, the
    /// discussion, its comments and the list of what is unread agree.
    async fn seen_by(&self, client: &Client) -> (Value, Value, Value) {
        let one = client.get(&format!("/discussions/{}", self.discussion["id"])).await.expect(200);
        let list = client.get(&format!("/articles/{}/discussions", self.article)).await.expect(200);
        assert_eq!(list["discussions"][0], one);
        let page = client.get(&format!("/discussions/{}/comments", self.discussion["id"])).await.expect(200);
        let comments = page["comments"].as_array().unwrap();
        let unread: Vec<_> = comments.iter().filter(|comment| comment["is_unread"] == true).collect();
        for comment in comments {
            let alone = client.get(&format!("/comments/{}", comment["id"])).await.expect(200);
            assert_eq!(alone["is_unread"], comment["is_unread"]);
        }
        if one["unread_count"].is_null() {
            assert!(comments.iter().all(|comment| comment["is_unread"].is_null()), "{page}");
        } else {
            assert_eq!(one["unread_count"], unread.len());
            assert_eq!(one["first_unread_comment_id"], unread.first().map_or(Value::Null, |first| first["id"].clone()));
            let all = client.get("/unread").await.expect(200);
            let expected = (one["is_unread"] == true || !unread.is_empty()).then(|| {
                let names = ["id", "community_id", "article_id", "topic", "is_unread", "unread_count"];
                let more = ["first_unread_comment_id", "comment_version"];
                Value::Object(names.iter().chain(&more).map(|name| ((*name).to_owned(), one[name].clone())).collect())
            });
            assert_eq!(all["discussions"], json!(expected.as_slice()));
            let sums = expected.map(
                |one| json!({ "community_id": one["community_id"], "discussions": 1, "comments": one["unread_count"] }),
            );
            assert_eq!(all["communities"], json!(sums.as_slice()));
            let sums = sums.map(|mut sums| {
                sums["article_id"] = one["article_id"].clone();
                sums
            });
            assert_eq!(all["articles"], json!(sums.as_slice()));
        }
        (one["is_unread"].clone(), one["unread_count"].clone(), one["first_unread_comment_id"].clone())
    }

    /// The number of ranges of the client's row.
    async fn ranges(&self, client: &Client) -> i64 {
        let ranges = "select count(*) from read_states, unnest(comments) where user_id = $1 and discussion_id = $2";
        let ranges = sqlx::query_scalar(ranges).bind(client.user).bind(self.discussion.id());
        ranges.fetch_one(&self.app.pool).await.unwrap()
    }
}

trait Id {
    fn id(&self) -> i64;
}

impl Id for Value {
    fn id(&self) -> i64 {
        self["id"].as_i64().unwrap()
    }
}

fn state(is_unread: bool, count: i64, first: impl Into<Value>) -> (Value, Value, Value) {
    (json!(is_unread), json!(count), first.into())
}

#[tokio::test]
async fn what_is_unread_for_whom() {
    let story = Story::new("public").await;
    let Story { app, ada, grace, .. } = &story;
    let newcomer = app.member("katherine", story.community).await;
    let outsider = app.client(app.user("emmy").await);
    assert_eq!(story.seen_by(grace).await, state(true, 4, story.id(0)));
    assert_eq!(story.seen_by(ada).await, state(false, 0, Value::Null), "one's own");
    assert_eq!(story.seen_by(&newcomer).await, state(false, 0, Value::Null), "older than the membership");
    for client in [&outsider, &app.anonymous()] {
        assert_eq!(story.seen_by(client).await, (Value::Null, Value::Null, Value::Null));
    }

    story.read(grace, json!({ "discussion": true })).await;
    assert_eq!(story.seen_by(grace).await, state(false, 4, story.id(0)));
    story.read(grace, json!({ "comment_ids": [story.id(0), story.id(2)] })).await;
    assert_eq!(story.seen_by(grace).await, state(false, 2, story.id(1)));
    story.read(grace, json!({ "up_to_comment_id": story.id(2) })).await;
    assert_eq!(story.seen_by(grace).await, state(false, 1, story.id(3)));

    // What is written or deleted later counts, and an edit does not.
    let own = grace.comment(&story.discussion, "Mine").await;
    let later = ada.comment(&story.discussion, "Later").await;
    ada.patch(&format!("/comments/{}", story.id(0)), json!({ "text": "Edited" })).await.expect(200);
    assert_eq!(story.seen_by(grace).await, state(false, 2, story.id(3)));
    assert_eq!(story.seen_by(ada).await, state(false, 1, own.id()));
    assert_eq!(story.seen_by(&newcomer).await, state(false, 2, own.id()));
    ada.delete(&format!("/comments/{}", story.id(3))).await.expect(204);
    assert_eq!(story.seen_by(grace).await, state(false, 1, later.id()));

    story.unread(grace, json!({ "from_comment_id": story.id(2) })).await;
    assert_eq!(story.seen_by(grace).await, state(false, 2, story.id(2)));
    story.unread(grace, json!({})).await;
    assert_eq!(story.seen_by(grace).await, state(true, 4, story.id(0)));
    let article = format!("/articles/{}/read", story.article);
    grace.post(&article, json!({ "community_id": story.community })).await.expect(204);
    assert_eq!(story.seen_by(grace).await, state(false, 0, Value::Null));

    // A member who comes back has read what was written before.
    let last = ada.comment(&story.discussion, "Last").await;
    assert_eq!(story.seen_by(grace).await, state(false, 1, last.id()));
    app.leave(grace.user, story.community).await;
    app.join(grace.user, story.community, "member").await;
    assert_eq!(story.seen_by(grace).await, state(false, 0, Value::Null));
}

#[tokio::test]
async fn what_is_unread_is_listed_and_counted() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, .. } = &story;
    let second = app.article(&[story.community]).await;
    let elsewhere = app.community("hidden").await;
    let article = app.article(&[elsewhere]).await;
    for user in [ada, grace] {
        app.join(user.user, elsewhere, "member").await;
    }
    let mut discussions = vec![story.discussion.clone()];
    for (article, community) in [(second, story.community), (second, story.community), (article, elsewhere)] {
        let discussion = ada.discussion(article, community, "Another").await;
        ada.comment(&discussion, "A remark").await;
        discussions.push(discussion);
    }
    let ids = |answer: &Value| -> Vec<i64> { answer["discussions"].as_array().unwrap().iter().map(Id::id).collect() };
    let [first, two, three, four] = [0, 1, 2, 3].map(|index| discussions[index].id());
    let all = grace.get("/unread").await.expect(200);
    assert_eq!(ids(&all), [four, three, two, first]);
    assert_eq!(
        all["communities"],
        json!([
            { "community_id": story.community, "discussions": 3, "comments": 6 },
            { "community_id": elsewhere, "discussions": 1, "comments": 1 },
        ])
    );
    assert_eq!(all["articles"].as_array().unwrap().len(), 3);
    assert_eq!(all["next_cursor"], Value::Null);
    assert_eq!(ids(&ada.get("/unread").await.expect(200)), [0; 0]);

    // Page by page, and narrowed. The sums are those of everything.
    let page = grace.get("/unread?limit=3").await.expect(200);
    assert_eq!((ids(&page), &page["communities"]), (vec![four, three, two], &all["communities"]));
    let page =
        grace.get(&format!("/unread?limit=3&cursor={}", page["next_cursor"].as_str().unwrap())).await.expect(200);
    assert_eq!((ids(&page), &page["next_cursor"]), (vec![first], &Value::Null));
    let narrow = grace.get(&format!("/unread?article_id={second}")).await.expect(200);
    assert_eq!((ids(&narrow), narrow["articles"].as_array().unwrap().len()), (vec![three, two], 1));
    assert_eq!(ids(&grace.get(&format!("/unread?community_id={elsewhere}")).await.expect(200)), [four]);
    let scoped = app.narrow_client(grace.user, &[elsewhere]);
    assert_eq!(ids(&scoped.get("/unread").await.expect(200)), [four]);

    // Whoever has left is told of nothing there, and a deleted discussion is nothing to read.
    app.leave(grace.user, elsewhere).await;
    ada.delete(&format!("/discussions/{two}")).await.expect(204);
    assert_eq!(ids(&grace.get("/unread").await.expect(200)), [three, first]);
    app.anonymous().get("/unread").await.refused(401, "token_missing");
    app.sql(&format!("update users set is_active = false where id = {}", grace.user)).await;
    grace.get("/unread").await.refused(401, "token_invalid");
}

#[tokio::test]
async fn a_mark_is_told_to_the_readers_own_tabs_alone() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, .. } = &story;
    let mut others = ada.register().await;
    let mut tabs = [grace.register().await, grace.register().await];
    let parked = tabs[1].park(app).await;
    story.read(grace, json!({ "discussion": true, "comment_ids": [story.id(0), story.id(1)] })).await;
    let events = tabs[0].events(1).await;
    let [event] = events.as_slice() else { panic!("{events:?}") };
    let expected = json!({
        "event_id": event["event_id"], "type": "read_state_changed", "community_id": story.community, "article_id": story.article,
        "discussion_id": story.discussion["id"], "user_id": grace.user, "is_unread": false, "unread_count": 2,
        "first_unread_comment_id": story.id(2), "comment_version": 4, "read_comments": event["read_comments"],
        "timestamp": event["timestamp"],
    });
    assert_eq!(event, &expected);
    let covered = |event: &Value, comment: i64| {
        let ranges = event["read_comments"].as_array().unwrap().iter();
        ranges
            .map(|range| (range[0].as_i64().unwrap(), range[1].as_i64().unwrap()))
            .any(|(from, to)| (from..=to).contains(&comment))
    };
    assert_eq!([0, 1, 2, 3].map(|comment| covered(event, story.id(comment))), [true, true, false, false]);
    assert_eq!(parked.await.unwrap().expect(200)["events"][0], *event);

    // A repeat and what changes nothing make no event.
    tabs[0].now().await;
    story.read(grace, json!({ "discussion": true, "comment_ids": [story.id(0), 999_999] })).await;
    story.read(grace, json!({ "up_to_comment_id": story.id(1) })).await;
    story.read(ada, json!({ "comment_ids": [story.id(0)] })).await;
    story.unread(ada, json!({})).await;
    story.unread(grace, json!({ "from_comment_id": story.id(3) })).await;
    app.settled().await;
    assert_eq!(tabs[0].now().await, [] as [Value; 0]);

    story.unread(grace, json!({ "from_comment_id": story.id(1) })).await;
    let event = &tabs[0].events(1).await[0];
    assert_eq!((&event["unread_count"], &event["first_unread_comment_id"]), (&json!(3), &json!(story.id(1))));
    grace
        .post(&format!("/articles/{}/read", story.article), json!({ "community_id": story.community }))
        .await
        .expect(204);
    let event = &tabs[0].events(1).await[0];
    assert_eq!((&event["unread_count"], &event["first_unread_comment_id"]), (&json!(0), &Value::Null));
    assert_eq!(others.now().await, [] as [Value; 0]);
}

#[tokio::test]
async fn marks_of_several_tabs_add_up_in_whatever_order_they_come() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, .. } = &story;
    let mut comments = story.comments.clone();
    for number in 5..=60 {
        comments.push(ada.comment(&story.discussion, &format!("Remark {number}")).await);
    }
    let mut tabs = [grace.register().await, grace.register().await];
    let own: Vec<_> =
        comments.iter().enumerate().filter(|(index, _)| index % 7 != 3).map(|(_, one)| one.id()).collect();
    let marks = own.chunks(4).map(|ids| story.read(grace, json!({ "comment_ids": ids })));
    // Somebody else writes meanwhile.
    let writes = (0..5).map(|_| ada.comment(&story.discussion, "Meanwhile"));
    let (_, written) = tokio::join!(join_all(marks), join_all(writes));
    app.settled().await;
    let first = comments[3].id();
    let unread = comments.len() - own.len() + written.len();
    assert_eq!(story.seen_by_all(grace).await, state(true, unread as i64, first));
    // The last event of each tab says so, too.
    for tab in &mut tabs {
        let events = tab.now().await;
        let marks: Vec<_> = events.iter().filter(|event| event["type"] == "read_state_changed").collect();
        assert_eq!(marks.len(), own.len().div_ceil(4));
        let version = marks.last().unwrap()["comment_version"].as_i64().unwrap();
        let later = events.iter().filter(|event| event["type"] == "new_comment");
        let later = later.filter(|event| event["comment_version"].as_i64().unwrap() > version).count();
        assert_eq!(marks.last().unwrap()["unread_count"].as_i64().unwrap() + later as i64, unread as i64);
    }
}

impl Story {
    /// As `seen_by`, of a discussion whose comments are on several pages.
    async fn seen_by_all(&self, client: &Client) -> (Value, Value, Value) {
        let one = client.get(&format!("/discussions/{}", self.discussion["id"])).await.expect(200);
        (one["is_unread"].clone(), one["unread_count"].clone(), one["first_unread_comment_id"].clone())
    }
}

#[tokio::test]
async fn a_comment_that_is_committed_late_is_not_read_before_anybody_could_see_it() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, .. } = &story;
    let mut late = app.pool.begin().await.unwrap();
    // The id is taken now, and so is the place among the others.
    let late_id: i64 = sqlx::query_scalar("select nextval(pg_get_serial_sequence('comments', 'id'))")
        .fetch_one(&mut *late)
        .await
        .unwrap();
    let newer = ada.comment(&story.discussion, "Newer, and visible first").await;
    assert!(newer.id() > late_id);
    story.read(grace, json!({ "up_to_comment_id": newer.id() })).await;
    assert_eq!(story.seen_by(grace).await, state(true, 0, Value::Null));
    late.execute(
        format!(
            "insert into comments (id, discussion_id, root_id, depth, author_id, text) overriding system value
             values ({late_id}, {}, {late_id}, 1, {}, 'Late')",
            story.discussion["id"], ada.user
        )
        .as_str(),
    )
    .await
    .unwrap();
    let counted =
        format!("update discussions set comment_count = comment_count + 1 where id = {}", story.discussion["id"]);
    late.execute(counted.as_str()).await.unwrap();
    late.commit().await.unwrap();
    assert_eq!(story.seen_by(grace).await, state(true, 1, late_id));

    // Later, when no comment can come between, what is read becomes one range.
    app.sql("update comments set created_at = created_at - interval '10 minutes', updated_at = updated_at - interval '10 minutes'").await;
    app.sql("update memberships set created_at = created_at - interval '1 hour'").await;
    story.read(grace, json!({ "comment_ids": [late_id] })).await;
    assert_eq!((story.seen_by(grace).await, story.ranges(grace).await), (state(true, 0, Value::Null), 1));
    // An id that a comment may still get.
    app.sql("select nextval(pg_get_serial_sequence('comments', 'id'))").await;
    let new = ada.comment(&story.discussion, "New").await;
    story.read(grace, json!({ "up_to_comment_id": new.id() })).await;
    assert_eq!((story.seen_by(grace).await, story.ranges(grace).await), (state(true, 0, Value::Null), 2));
}

#[tokio::test]
async fn a_mark_that_waits_is_not_written_for_a_former_member() {
    let story = Story::new("private").await;
    let Story { app, grace, .. } = &story;
    story.read(grace, json!({ "comment_ids": [story.id(0)] })).await;
    let rows = async || -> Vec<(bool, String)> {
        let rows = sqlx::query_as("select is_read, comments::text from read_states");
        rows.fetch_all(&app.pool).await.unwrap()
    };
    let before = rows().await;
    for call in [format!("/discussions/{}/read", story.discussion["id"]), format!("/articles/{}/read", story.article)] {
        let mut other = app.pool.begin().await.unwrap();
        other.execute("select from read_states for update").await.unwrap();
        let body = match call.starts_with("/articles") {
            true => json!({ "community_id": story.community }),
            false => json!({ "discussion": true }),
        };
        let (client, path) = (grace.clone(), call.clone());
        let marking = tokio::spawn(async move { client.post(&path, body).await });
        let waits =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&app.pool).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        app.leave(grace.user, story.community).await;
        other.commit().await.unwrap();
        marking.await.unwrap().refused(403, "not_a_member");
        assert_eq!(rows().await, before, "{call}");
        app.join(grace.user, story.community, "member").await;
        app.sql("update memberships set created_at = created_at - interval '1 hour'").await;
    }
}

/// Otherwise a node that was halted before it wrote could write a comment whose id is in a range already.
#[tokio::test]
async fn no_comment_is_written_a_minute_after_it_got_its_id() {
    let story = Story::new("private").await;
    let mut connection = story.app.pool.acquire().await.unwrap();
    let insert = statement("insert into comments (");
    connection.execute(format!("prepare comment as {insert}").as_str()).await.unwrap();
    for (seconds, written) in [(70, 0), (50, 1)] {
        let execute = format!(
            "execute comment({}, nextval(pg_get_serial_sequence('comments', 'id')), null, null, 1, {}, null, 'Late',
                             clock_timestamp() - interval '{seconds} seconds', 'ada', null, {}, 'new_comment', '{{}}',
                             {}, null, null, null, '{{}}')",
            story.discussion["id"], story.ada.user, story.community, story.article
        );
        assert_eq!(connection.execute(execute.as_str()).await.unwrap().rows_affected(), written, "{seconds} s");
    }
}

#[tokio::test]
async fn the_ranges_of_a_row_are_bounded() {
    let story = Story::new("private").await;
    let Story { app, ada, grace, .. } = &story;
    app.sql(&format!(
        "insert into comments (id, discussion_id, root_id, depth, author_id, text, created_at, updated_at) overriding system value
         select id, {}, id, 1, {}, 'Many', at, at
         from (select nextval(pg_get_serial_sequence('comments', 'id')) as id from generate_series(1, 2500)) new,
              (select now() - interval '10 minutes') as old (at);
         update memberships set created_at = now() - interval '1 hour'",
        story.discussion["id"], ada.user
    ))
    .await;
    let mut queue = grace.register().await;
    let ids: Vec<i64> = sqlx::query_scalar("select id from comments where text = 'Many' order by id")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    story.read(grace, json!({ "up_to_comment_id": ids[499] })).await;
    let event = &queue.events(1).await[0];
    assert_eq!(event["read_comments"], json!([[1, ids[499]]]));
    let every_second: Vec<_> = ids[501..].iter().step_by(2).copied().collect();
    for chunk in every_second.chunks(400) {
        story.read(grace, json!({ "comment_ids": chunk })).await;
    }
    assert_eq!((every_second.len(), story.ranges(grace).await), (1_000, 1_000));
    // What was read from the beginning on is kept, and the oldest of the others is forgotten.
    assert_eq!(story.seen_by_all(grace).await, state(true, 1_001, ids[500]));
    let events = queue.events(3).await;
    assert_eq!(events.last().unwrap()["read_comments"], Value::Null, "too many for an event");
    let refused = story_read(&story, grace, json!({ "comment_ids": vec![1; 1_001] })).await;
    assert_eq!(refused["fields"]["comment_ids"], "has 1001 ids; it may have 1000");
    for nothing in [json!({}), json!({ "discussion": false }), json!({ "comment_ids": [] })] {
        assert!(story_read(&story, grace, nothing).await["fields"]["body"].is_string());
    }
}

async fn story_read(story: &Story, client: &Client, marks: Value) -> Value {
    client.post(&format!("/discussions/{}/read", story.discussion["id"]), marks).await.refused(422, "invalid_fields")
}

#[tokio::test]
async fn a_thousand_members_read_a_hundred_thousand_comments_with_a_row_each() {
    let story = Story::new("private").await;
    let Story { app, ada, .. } = &story;
    app.sql(&format!(
        "insert into comments (id, discussion_id, root_id, depth, author_id, text, created_at, updated_at) overriding system value
         select id, {0}, id, 1, {1}, 'Many', at, at
         from (select nextval(pg_get_serial_sequence('comments', 'id')) as id from generate_series(1, 100000)) new,
              (select clock_timestamp() - interval '10 minutes') as old (at);
         update discussions set comment_count = 100004;
         insert into users (id, username) select 1000 + n, 'reader-' || n from generate_series(0, 999) n;
         insert into memberships (user_id, community_id, role, created_at)
         select id, {2}, 'member', now() - interval '1 day' from users where id >= 1000",
        story.discussion["id"], ada.user, story.community
    ))
    .await;
    app.sql("vacuum analyze comments").await;
    app.settled().await;
    let newest: i64 = sqlx::query_scalar("select max(id) from comments").fetch_one(&app.pool).await.unwrap();
    let first = app.client(1_000);
    let since = Instant::now();
    assert_eq!(story.seen_by_all(&first).await, state(true, 100_004, story.id(0)));
    let counted = since.elapsed();

    let readers: Vec<Client> = (0..1_000).map(|number| app.client(1_000 + number)).collect();
    let since = Instant::now();
    for some in readers.chunks(8) {
        let marks = json!({ "discussion": true, "up_to_comment_id": newest });
        join_all(some.iter().map(|reader| story.read(reader, marks.clone()))).await;
    }
    let marked = since.elapsed();
    let (rows, ranges, bytes): (i64, i64, i64) = sqlx::query_as(
        "select count(*), sum((select count(*) from unnest(comments)))::bigint, pg_relation_size('read_states') from read_states",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!((rows, ranges), (1_000, 1_000));
    assert!(bytes < 1_000_000, "{bytes} bytes");
    let since = Instant::now();
    assert_eq!(story.seen_by_all(&readers[999]).await, state(false, 0, Value::Null));
    println!(
        "100,004 unread comments counted in {counted:.1?}; 1,000 members marked all of them in {marked:.1?}: {rows} rows, {bytes} \
         bytes; a member who has read all asks in {:.1?}",
        since.elapsed()
    );
    app.settled().await;
    let events = sqlx::query_scalar::<_, i64>("select count(*) from outbox where type = 'read_state_changed'");
    assert_eq!(events.fetch_one(&app.pool).await.unwrap(), 1_000);
    let mut queue = first.register().await;
    queue.cursor -= 1_000;
    assert_eq!(types(&queue.now().await), ["read_state_changed"], "each has their own alone");
}
