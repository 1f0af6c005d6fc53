//! Django writes the discussions, and this server tells of it: register, heartbeat and poll are ours, and so is reading.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use discussions::{
    django::{follow, import, views},
    events::Change,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::{
    app::{Client, PATIENCE, TestApp, types},
    django_follow::{connect, imported, options, status},
};

/// Everything is imported, and Django goes on writing.
async fn live() -> TestApp {
    let app = imported().await;
    follow::begin(&mut connect(&app).await, true).await.unwrap();
    app.settled().await;
    app
}

/// As Django inserts a comment.
fn comment(discussion: i64, community: i64, author: i64, parent: Option<i64>, text: &str) -> String {
    let parent = parent.map_or("null".to_owned(), |id| id.to_string());
    format!(
        "insert into articles_discussioncomment
             (content, created_at, updated_at, author_id, discussion_id, parent_id, community_id, is_pseudonymous, is_deleted)
         values ('{text}', now(), now(), {author}, {discussion}, {parent}, {community}, false, false)"
    )
}

/// As Django inserts a discussion.
fn discussion(article: i64, community: i64, author: i64, topic: &str, is_pseudonymous: bool) -> String {
    format!(
        "insert into articles_discussion (topic, content, created_at, updated_at, article_id, author_id, community_id, is_pseudonymous, is_resolved)
         values ('{topic}', 'What do you think?', now(), now(), {article}, {author}, {community}, {is_pseudonymous}, false)"
    )
}

#[tokio::test]
async fn what_django_writes_arrives_at_a_parked_poll_and_in_the_lists() {
    let app = live().await;
    let member = app.client(3);
    let mut queue = member.register().await;
    let poll = queue.park(&app).await;
    app.sql(&comment(1, 1, 2, None, "By Django")).await;
    let answer = poll.await.unwrap().expect(200);
    let event = &answer["events"][0];
    assert_eq!(
        (&event["type"], &event["text"], &event["depth"]),
        (&json!("new_comment"), &json!("By Django"), &json!(1))
    );
    queue.cursor = answer["last_event_id"].as_i64().unwrap();

    app.sql("update articles_discussioncomment set content = 'By Django, changed', updated_at = now() + interval '1 minute' where content = 'By Django'")
        .await;
    app.sql(&discussion(1, 1, 4, "Begun at Django", false)).await;
    app.sql("update articles_discussion set is_resolved = true, updated_at = now() + interval '1 minute' where topic = 'Begun at Django'").await;
    let id: i64 = sqlx::query_scalar("select id from articles_discussion where topic = 'Begun at Django'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    app.sql(&format!("insert into articles_reaction (object_id, vote, created_at, content_type_id, user_id) values ({id}, 1, now(), 8, 2)")).await;
    app.sql("update articles_discussionsummary set content = 'Anew', updated_at = now() where id = 1").await;
    let events = queue.events(5).await;
    assert_eq!(
        types(&events),
        ["updated_comment", "new_discussion", "updated_discussion", "votes_changed", "updated_summary"]
    );
    let list = member.get("/articles/1/discussions?community_id=1").await.expect(200);
    let first = &list["discussions"][0];
    assert_eq!((&first["id"], &first["is_resolved"], &first["upvotes"]), (&json!(id), &json!(true), &json!(1)));
    let state = &events[2];
    for (of_event, of_list) in [
        ("topic", "topic"),
        ("text", "text"),
        ("author", "author"),
        ("timestamp", "updated_at"),
        ("resolved_at", "resolved_at"),
    ] {
        assert_eq!(normal(&state[of_event]), normal(&first[of_list]), "{of_event}");
    }
    assert_eq!(member.get("/articles/1/summary?community_id=1").await.expect(200)["text"], "Anew");

    // It goes as Django lets it go: by a mark, by a flag, or at all.
    app.sql("update articles_discussioncomment set is_deleted = true where content = 'By Django, changed'").await;
    app.sql(&format!("update articles_discussion set topic = '[deleted]', content = '[deleted]' where id = {id}"))
        .await;
    app.sql("delete from articles_discussioncomment where id = 23").await;
    let events = queue.events(2).await;
    assert_eq!(types(&events), ["deleted_comment", "deleted_discussion"]);
    assert_eq!(member.get(&format!("/discussions/{id}")).await.expect(200)["text"], Value::Null);
    let stays: Option<String> =
        sqlx::query_scalar("select text from comments where id = 23").fetch_one(&app.pool).await.unwrap();
    assert_eq!(stays.as_deref(), Some(""), "a tombstone");
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn transactions_whose_commits_swap_arrive_whole_and_in_order() {
    let app = live().await;
    let mut queue = app.client(3).register().await;
    let poll = queue.park(&app).await;
    let (mut first, mut second) = (connect(&app).await, connect(&app).await);
    let mut a = first.begin().await.unwrap();
    let mut b = second.begin().await.unwrap();
    a.execute(comment(1, 1, 2, None, "a1").as_str()).await.unwrap();
    b.execute(comment(15, 1, 2, None, "b1").as_str()).await.unwrap();
    a.execute(comment(1, 1, 2, None, "a2").as_str()).await.unwrap();
    b.commit().await.unwrap();
    let answer = poll.await.unwrap().expect(200);
    assert_eq!(texts(answer["events"].as_array().unwrap()), ["b1"], "what was inserted later and committed first");
    queue.cursor = answer["last_event_id"].as_i64().unwrap();
    a.commit().await.unwrap();
    assert_eq!(texts(&queue.events(2).await), ["a1", "a2"]);

    // In one discussion the second waits for the first.
    let mut a = first.begin().await.unwrap();
    a.execute(comment(1, 1, 2, None, "a3").as_str()).await.unwrap();
    let waiting =
        tokio::spawn(async move { second.execute(comment(1, 1, 4, None, "b2").as_str()).await.map(|_| second) });
    let waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%b2%' and pid <> pg_backend_pid())";
    let is_waiting = async { while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&app.pool).await.unwrap() {} };
    tokio::time::timeout(PATIENCE, is_waiting).await.expect("the second waits for the first");
    a.execute(comment(1, 1, 2, None, "a4").as_str()).await.unwrap();
    a.commit().await.unwrap();
    waiting.await.unwrap().unwrap();
    let events = queue.events(3).await;
    assert_eq!(texts(&events), ["a3", "a4", "b2"]);
    let counts: Vec<i64> = events.iter().map(|event| event["comment_count"].as_i64().unwrap()).collect();
    assert_eq!([counts[1], counts[2]], [counts[0] + 1, counts[0] + 2]);
    let shown = app.client(3).get("/discussions/1").await.expect(200);
    assert_eq!(
        (&shown["comment_count"], &shown["comment_version"]),
        (&events[2]["comment_count"], &events[2]["comment_version"])
    );
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn nothing_that_djangos_role_makes_runs_with_our_rights() {
    let app = live().await;
    let role = format!("django_{}", uuid::Uuid::new_v4().simple());
    let mut connection = connect(&app).await;
    connection.execute(sqlx::raw_sql(&format!(
        "create role {role};
         grant select, insert, update, delete on articles_discussion, articles_discussioncomment, articles_reaction, articles_discussionsummary,
             articles_anonymousidentity to {role};
         grant usage on all sequences in schema public to {role};
         set role {role}"
    )))
    .await
    .unwrap();
    // Temporary tables by the names of all that a merge may use. Whoever touches one of them runs a function of that role.
    connection.execute(sqlx::raw_sql(
        "create function pg_temp.forge() returns trigger language plpgsql as $$
         begin
             insert into public.outbox (community_id, type, payload) values (1, 'forged', '{}');
             return null;
         end $$;
         do $$
         declare
             name text;
         begin
             for name in select relname from pg_class where relkind = 'r' and relnamespace in (select oid from pg_namespace where nspname in ('public', 'django'))
                         union values ('merged_votes'), ('changed_flags'), ('merged_members') loop
                 execute format('create temp table %I (id bigint)', name);
                 execute format('create trigger forge before insert or update or delete or truncate on pg_temp.%I for each statement execute function pg_temp.forge()', name);
             end loop;
         end $$",
    ))
    .await
    .unwrap();
    for sql in [
        discussion(1, 1, 4, "Begun at Django", false),
        discussion(4, 2, 1, "Under a name", true),
        comment(1, 1, 2, None, "By Django"),
        "insert into articles_reaction (object_id, vote, created_at, content_type_id, user_id) values (16, 1, now(), 8, 4)".to_owned(),
        "update articles_discussionsummary set content = 'Anew', updated_at = now() where id = 1".to_owned(),
        "delete from articles_reaction where object_id = 16 and user_id = 4".to_owned(),
    ] {
        let sql = sql.replace("into articles", "into public.articles").replace("update articles", "update public.articles");
        connection.execute(sql.replace("from articles", "from public.articles").as_str()).await.unwrap();
    }
    connection.execute(sqlx::raw_sql(&format!("reset role; drop owned by {role}; drop role {role}"))).await.unwrap();
    let forged: i64 =
        sqlx::query_scalar("select count(*) from outbox where type = 'forged'").fetch_one(&app.pool).await.unwrap();
    assert_eq!(forged, 0);
    assert!(status(&app).await.is_in_step, "nothing of it failed either");
}

#[tokio::test]
async fn what_django_wrote_last_is_not_lost_behind_the_views() {
    let app = live().await;
    let mut connection = connect(&app).await;
    follow::begin(&mut connection, false).await.unwrap();
    app.sql(&comment(1, 1, 2, None, "By an old page")).await;
    let refused = views::make(&mut connection, "django_views").await.unwrap_err().to_string();
    assert!(refused.contains("1 of articles_discussioncomment"), "{refused}");
    import::run(&options(&app, &["--follow"])).await.unwrap();
    views::make(&mut connection, "django_views").await.unwrap();
    assert!(app.client(2).get("/discussions/1/comments").await.expect(200).to_string().contains("By an old page"));
    // Made again, they are those of before.
    views::make(&mut connection, "django_views").await.unwrap();
}

fn texts(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["text"].as_str().unwrap()).collect()
}

/// Ada's writing calls on what Django has, and their status where this server writes.
fn writes() -> Vec<(Method, &'static str, Value, u16)> {
    vec![
        (Method::POST, "/articles/1/discussions", json!({ "community_id": 1, "topic": "New", "text": "New" }), 201),
        (Method::POST, "/discussions/1/comments", json!({ "text": "New" }), 201),
        (Method::PATCH, "/discussions/1", json!({ "text": "Changed" }), 200),
        (Method::PATCH, "/discussions/1", json!({ "is_resolved": true }), 200),
        (Method::PATCH, "/comments/18", json!({ "text": "Changed" }), 200),
        (Method::PUT, "/discussions/16/vote", json!({ "value": 1 }), 200),
        (Method::PUT, "/comments/3/vote", json!({ "value": -1 }), 200),
        (Method::DELETE, "/comments/18", json!({}), 204),
        (Method::PUT, "/articles/2/summary?community_id=2", json!({ "text": "New" }), 200),
        (Method::DELETE, "/discussions/1", json!({}), 204),
    ]
}

async fn statuses(client: &Client) -> Vec<(u16, Option<String>)> {
    let mut statuses = Vec::new();
    for (method, path, body, _) in writes() {
        let answer = client.send(client.request(method, path).json(&body)).await;
        statuses.push((answer.status, answer.body["code"].as_str().map(str::to_owned)));
    }
    statuses
}

#[tokio::test]
async fn this_server_writes_nothing_while_django_does_and_writes_on_afterwards() {
    let app = live().await;
    let client = app.client(1);
    let refused = statuses(&client).await;
    assert_eq!(refused, vec![(409, Some("read_only".to_owned())); writes().len()]);
    // What concerns nobody else goes on.
    client.post("/discussions/2/read", json!({ "discussion": true })).await.expect(204);
    client.put("/discussions/2/follow", json!({ "level": "mute" })).await.expect(200);
    app.sql(&comment(1, 1, 2, None, "By Django")).await;
    let newest: i64 = sqlx::query_scalar("select max(id) from comments").fetch_one(&app.pool).await.unwrap();

    // The way back: Django's directory is followed on, and the discussions are not.
    follow::begin(&mut connect(&app).await, false).await.unwrap();
    assert!(!status(&app).await.with_discussions);
    app.sql(&comment(1, 1, 2, None, "Not for us")).await;
    let written = client.post("/discussions/1/comments", json!({ "text": "Ours again" })).await.expect(201);
    assert!(written["id"].as_i64().unwrap() > newest, "the ids go on above Django's");
    let expected: Vec<_> = writes().into_iter().map(|(_, _, _, status)| (status, None)).collect();
    assert_eq!(statuses(&client).await, expected);
    assert!(!app.client(2).get("/discussions/1/comments").await.expect(200).to_string().contains("Not for us"));
}

#[tokio::test]
async fn the_way_back_from_discussions_is_also_the_end_of_following() {
    let app = live().await;
    assert_eq!(follow::end(&mut connect(&app).await).await.unwrap().len(), 13);
    app.client(2).post("/discussions/1/comments", json!({ "text": "Ours" })).await.expect(201);
    let triggers: i64 = sqlx::query_scalar(
        "select count(*) from pg_trigger t join pg_proc p on p.oid = t.tgfoid where p.pronamespace = 'django'::regnamespace",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(triggers, 0);
}

#[tokio::test]
async fn django_can_write_again_after_this_server_wrote() {
    let app = imported().await;
    follow::begin(&mut connect(&app).await, false).await.unwrap();
    views::make(&mut connect(&app).await, "django_views").await.unwrap();
    let ours = app.client(2).discussion(1, 1, "Begun here").await;
    let own = app.client(2).comment(&ours, "Here").await;

    views::drop(&mut connect(&app).await, "django_views").await.unwrap();
    follow::begin(&mut connect(&app).await, true).await.unwrap();
    for number in 0..3 {
        app.sql(&discussion(1, 1, 4, &format!("Begun at Django {number}"), false)).await;
        app.sql(&comment(1, 1, 2, None, "At Django")).await;
    }
    app.settled().await;
    let status = status(&app).await;
    assert!(status.with_discussions && status.failures.is_empty(), "{status:?}");
    let list = app.client(3).get("/articles/1/discussions?community_id=1").await.expect(200);
    let topics: Vec<_> =
        list["discussions"].as_array().unwrap().iter().filter_map(|one| one["topic"].as_str()).collect();
    assert_eq!(topics[..4], ["Begun here", "Begun at Django 2", "Begun at Django 1", "Begun at Django 0"]);
    assert_eq!(app.client(3).get(&format!("/comments/{}", own["id"])).await.expect(200)["text"], "Here");
    let path = format!("/discussions/{}/comments", ours["id"]);
    app.client(2).post(&path, json!({ "text": "Not now" })).await.refused(409, "read_only");
}

/// A value with its moments in one form: Rust leaves zeros out at their end.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), normal(value))).collect(),
        Value::Array(values) => values.iter().map(normal).collect(),
        Value::String(text) => match DateTime::<FixedOffset>::parse_from_rfc3339(text) {
            Ok(moment) => json!(moment.timestamp_micros()),
            Err(_) => value.clone(),
        },
        _ => value.clone(),
    }
}

/// A random statement of Django's.
fn statement(rng: &mut StdRng, step: usize) -> String {
    let (discussions, people) = ([1, 2, 12, 13, 15, 16], [1, 2, 4, 5]);
    let d = *discussions.choose(rng).unwrap();
    let u = *people.choose(rng).unwrap();
    let text = ["Plain", "Quotes \" and \\ and {}", "Two\nlines\tand a tab", "Ünïcödé 🦀 \u{2028}", "''; --"]
        .choose(rng)
        .unwrap();
    let later = format!("now() + interval '{step} minutes'");
    let any = "order by random() limit 1";
    match rng.random_range(0..10) {
        0 => discussion(1, 1, u, &format!("Topic {step} {}", text.replace('\n', " ")), false),
        1 => discussion(4, 2, u, "Under a name", true),
        2 => format!("update articles_discussion set content = '{text} {step}', updated_at = {later} where id = {d}"),
        3 => format!("update articles_discussion set is_resolved = not is_resolved, updated_at = {later} where id = {d}"),
        4 => comment(if d == 12 { 1 } else { d }, 1, u, None, text),
        5 => format!(
            "insert into articles_discussioncomment
                 (content, created_at, updated_at, author_id, discussion_id, parent_id, community_id, is_pseudonymous, is_deleted)
             select '{text}', now(), now(), {u}, discussion_id, id, community_id, is_pseudonymous, false from articles_discussioncomment {any}"
        ),
        6 => format!("update articles_discussioncomment set content = '{text} {step}', updated_at = {later} where id = (select id from articles_discussioncomment {any})"),
        7 => format!("update articles_discussioncomment set content = '[deleted]', is_deleted = true where id = (select id from articles_discussioncomment {any})"),
        8 => format!(
            "insert into articles_reaction (object_id, vote, created_at, content_type_id, user_id)
             select id, {}, now(), 9, {u} from articles_discussioncomment {any}",
            [1, -1].choose(rng).unwrap()
        ),
        _ => format!("update articles_discussionsummary set content = '{text} {step}', updated_at = {later} where id in (1, 3)"),
    }
}

#[tokio::test]
async fn the_events_are_those_that_this_program_would_have_written() {
    let app = live().await;
    let mut last: i64 =
        sqlx::query_scalar("select coalesce(max(id), 0) from outbox").fetch_one(&app.pool).await.unwrap();
    let first = last;
    let mut rng = StdRng::seed_from_u64(14);
    let mut seen = std::collections::BTreeSet::new();
    for step in 1..=150 {
        let sql = statement(&mut rng, step);
        app.sql(&sql).await;
        let rows: Vec<(i64, String, i64, Option<i64>, Value)> =
            sqlx::query_as("select id, type, community_id, user_id, payload from outbox where id > $1 order by id")
                .bind(last)
                .fetch_all(&app.pool)
                .await
                .unwrap();
        for (id, kind, community, user, payload) in rows {
            last = id;
            if !payload.as_object().unwrap().contains_key("community_id") || kind == "pseudonym_given" {
                continue;
            }
            let change: Change =
                serde_json::from_value(payload.clone()).unwrap_or_else(|error| panic!("{error}: {payload}"));
            assert_eq!(
                (change.kind(), change.community_id().get(), change.user_id().map(|user| user.get())),
                (kind.as_str(), community, user)
            );
            assert_eq!(normal(&serde_json::to_value(&change).unwrap()), normal(&payload), "{sql}");
            seen.insert(kind);
        }
    }
    let all = [
        "deleted_comment",
        "new_comment",
        "new_discussion",
        "own_vote_changed",
        "updated_comment",
        "updated_discussion",
        "updated_summary",
        "votes_changed",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), all);
    let following = status(&app).await;
    assert!(following.is_in_step, "{:?}", following.failures);

    // What each thing is now is what its last event said.
    app.settled().await;
    let reader = app.client(1);
    let last_of: Vec<(Value,)> = sqlx::query_as(
        "select distinct on (payload ->> 'discussion_id') payload from outbox
         where id > $1 and type in ('new_discussion', 'updated_discussion') order by payload ->> 'discussion_id', id desc",
    )
    .bind(first)
    .fetch_all(&app.pool)
    .await
    .unwrap();
    assert!(last_of.len() > 5);
    for (event,) in last_of {
        let shown = reader.get(&format!("/discussions/{}", event["discussion_id"])).await.expect(200);
        for name in ["topic", "text", "author", "mentions", "is_resolved", "edited_at", "resolved_at", "resolved_by"] {
            assert_eq!(normal(&event[name]), normal(&shown[name]), "{name}: {event}");
        }
        assert_eq!(normal(&event["timestamp"]), normal(&shown["updated_at"]));
    }
    let last_of: Vec<(Value,)> = sqlx::query_as(
        "select distinct on (payload ->> 'comment_id') payload from outbox
         where id > $1 and type in ('new_comment', 'updated_comment') and redacted_by is null order by payload ->> 'comment_id', id desc",
    )
    .bind(first)
    .fetch_all(&app.pool)
    .await
    .unwrap();
    assert!(last_of.len() > 10);
    for (event,) in last_of {
        let shown = reader.get(&format!("/comments/{}", event["comment_id"])).await.expect(200);
        for name in ["parent_id", "text", "author", "mentions", "edited_at"] {
            assert_eq!(normal(&event[name]), normal(&shown[name]), "{name}: {event}");
        }
    }
}

#[tokio::test]
async fn a_failure_here_loses_no_event_of_djangos() {
    let app = live().await;
    let mut queue = app.client(3).register().await;
    let mut connection = connect(&app).await;
    let mut lock = connection.begin().await.unwrap();
    lock.execute("select from discussions where id = 1 for update").await.unwrap();
    let began = std::time::Instant::now();
    app.sql(&comment(1, 1, 2, None, "Held up")).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    lock.rollback().await.unwrap();
    assert!(!status(&app).await.is_in_step);
    app.sql("update django.failures set at = at - interval '1 minute'").await;
    app.sql(&comment(15, 1, 2, None, "Not held up")).await;
    assert_eq!(texts(&queue.events(2).await), ["Not held up", "Held up"]);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn a_reply_brings_its_pending_parent_with_an_event_and_an_import_leaves_both_to_it() {
    let app = live().await;
    let mut queue = app.client(3).register().await;
    let mut connection = connect(&app).await;
    let mut lock = connection.begin().await.unwrap();
    lock.execute("select from discussions where id = 1 for update").await.unwrap();
    app.sql(&comment(1, 1, 2, None, "Held up")).await;
    lock.rollback().await.unwrap();
    import::run(&options(&app, &[])).await.unwrap();
    let held = value(&app, "select max(id) from django.comments where is_pending").await;
    app.sql(&comment(1, 1, 4, Some(held), "Reply")).await;
    assert_eq!(texts(&queue.events(2).await), ["Held up", "Reply"]);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn a_pseudonym_that_comes_after_its_first_text_signs_it() {
    let app = live().await;
    let mut queue = app.client(1).register().await;
    let identity = |name: &str, article: i64, user: i64| {
        format!(
            "insert into articles_anonymousidentity (fake_name, article_id, user_id, community_id) values ('{name}', {article}, {user}, 2)"
        )
    };
    // In one transaction, and in two.
    app.sql(&format!("begin; {}; {}; commit", discussion(2, 2, 5, "First", true), identity("Brisk_Newt", 2, 5))).await;
    app.sql(&discussion(2, 2, 7, "Second", true)).await;
    app.sql(&identity("Brisk_Newt", 2, 7)).await;
    app.settled().await;
    let events = queue.now().await;
    let told: Vec<_> = events
        .iter()
        .filter(|event| event["topic"].is_string())
        .map(|event| (event["type"].as_str().unwrap(), event["author"]["username"].as_str().unwrap()))
        .collect();
    assert_eq!(
        (told[0].0, told[1], told[2].0),
        ("new_discussion", ("updated_discussion", "Brisk_Newt"), "new_discussion")
    );
    assert_eq!(told[3], ("updated_discussion", "Brisk_Newt 2"));
    let refused = value(&app, "select count(*) from django.refusals where kind = 'pseudonyms' and id > 7").await;
    assert_eq!(refused, 0);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn a_quote_goes_with_what_it_quotes() {
    let app = live().await;
    let mut queue = app.client(3).register().await;
    app.sql("update articles_discussioncomment set is_deleted = true where id = 3").await;
    let events = queue.events(2).await;
    let mut kinds = types(&events);
    kinds.sort_unstable();
    assert_eq!(kinds, ["deleted_comment", "updated_comment"]);
    let quotes = app.client(3).get("/comments/4").await.expect(200);
    assert_eq!(quotes["text"], "> *In reply to a deleted comment.*\n\nThank you.");
    // Nobody has edited it.
    let event = events.iter().find(|event| event["type"] == "updated_comment").unwrap();
    assert_eq!((&quotes["edited_at"], &event["edited_at"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn only_what_was_meant_is_deleted_with_what_hangs_on_it() {
    let app = live().await;
    app.sql("delete from articles_discussioncomment where id = 23").await;
    app.sql(&comment(1, 1, 2, Some(11), "To one who goes")).await;
    let live = "select (select count(*) from discussions where deleted_at is null) * 1000 + count(*) from comments where deleted_at is null";
    let before = value(&app, live).await;
    // As Django does it: the ends first.
    app.sql(
        "begin;
         delete from articles_discussioncomment where content = 'To one who goes';
         update articles_discussioncomment set parent_id = null where parent_id in (6, 8, 9, 10, 11);
         delete from articles_discussioncomment where author_id = 4 or discussion_id in (15, 16);
         delete from articles_discussion where author_id = 4;
         delete from articles_userflag where user_id = 4;
         delete from articles_discussionsubscription where user_id = 4;
         delete from communities_membership where user_id = 4;
         delete from communities_community_moderators where user_id = 4;
         delete from communities_community_reviewers where user_id = 4;
         delete from \"user\" where id = 4;
         commit",
    )
    .await;
    assert_eq!(value(&app, live).await, before);
    // A reply goes with its parent at Django, and not here.
    app.sql("begin; delete from articles_discussioncomment where id in (4, 5); delete from articles_discussioncomment where id = 3; commit").await;
    assert_eq!(value(&app, live).await, before - 1);
    // What was deleted for itself stays so when its author goes.
    app.sql("delete from communities_membership where user_id = 8; delete from \"user\" where id = 8").await;
    assert_eq!(value(&app, live).await, before - 1);
    assert!(status(&app).await.is_in_step);
}

#[tokio::test]
async fn what_django_writes_while_an_import_runs_is_unread_for_those_with_a_flag() {
    let app = live().await;
    let (cedar, delta) = (app.client(3), app.client(4));
    let unread =
        async |client: &Client| client.get("/discussions/1").await.expect(200)["unread_count"].as_i64().unwrap();
    let options = options(&app, &[]);
    // The import has its snapshot when it needs these: before it notes what is new, and after.
    for held in ["django.flags", "django.read_work"] {
        let (of_cedar, of_delta) = (unread(&cedar).await, unread(&delta).await);
        let mut other = connect(&app).await;
        let mut hold = other.begin().await.unwrap();
        hold.execute(format!("lock table {held} in share mode").as_str()).await.unwrap();
        let write = async {
            let waits = format!("select count(*) from pg_locks where not granted and relation = '{held}'::regclass");
            let is_waiting = async { while value(&app, &waits).await == 0 {} };
            tokio::time::timeout(PATIENCE, is_waiting).await.expect("the import waits");
            app.sql(&format!(
                "with written as ({} returning id)
                 insert into articles_userflag (flag_type, entity_type, entity_id, created_at, user_id) select 'unread', 'comment', id, now(), 3 from written",
                comment(1, 1, 2, None, "Meanwhile")
            ))
            .await;
            hold.rollback().await.unwrap();
        };
        let (ended, ()) = tokio::join!(import::run(&options), write);
        ended.unwrap();
        assert_eq!(unread(&cedar).await, of_cedar + 1, "{held}");
        // The next import has the flags.
        import::run(&options).await.unwrap();
        assert_eq!((unread(&cedar).await, unread(&delta).await), (of_cedar + 1, of_delta), "{held}");
    }
    app.settled().await;
}

async fn value(app: &TestApp, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&app.pool).await.unwrap()
}
