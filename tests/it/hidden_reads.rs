//! A statement reads no discussion and no comment for a viewer who is refused. So the time of a refusal does not tell how much
//! there is.
//!
//! The tests measure no time. They put traps into the tables: a row or a text that is read fails the statement.

use discussions::auth::jwt;
use serde_json::json;

use crate::app::{Client, SECRET, TestApp};

/// Puts a view in the place of `table`. Whatever reads a row of it fails, if `rows`; otherwise whatever reads a text.
async fn trap(app: &TestApp, table: &str, rows: bool) {
    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns where table_schema = 'public' and table_name = $1 order by ordinal_position",
    )
    .bind(table)
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let columns = columns.iter().map(|name| match (name.as_str(), rows) {
        ("text", false) => "trapped(text) as text".to_owned(),
        (name, _) => name.to_owned(),
    });
    // A view has no ctid of its own.
    let columns: Vec<String> = columns.chain(["ctid".to_owned()]).collect();
    // The planner takes the function for one without effects, so it calls it where the value is needed and nowhere else.
    app.sql(&format!(
        "create or replace function trapped(value text) returns text language plpgsql immutable as
             $$ begin raise exception 'it was read'; end $$;
         alter table {table} rename to real_{table};
         create view {table} as select {} from real_{table} {}",
        columns.join(", "),
        if rows { "where trapped(id::text) is not null" } else { "" }
    ))
    .await;
}

async fn untrap(app: &TestApp, table: &str) {
    app.sql(&format!("drop view {table}; alter table real_{table} rename to {table}")).await;
}

/// Those who may not read, each with what is refused.
struct Strangers {
    member: Client,
    outsider: Client,
    narrow: Client,
    ended: Client,
    anonymous: Client,
}

struct World {
    app: TestApp,
    strangers: Strangers,
    list: String,
    discussion: String,
    comment: String,
    summary: String,
}

impl World {
    async fn of_kind(kind: &str) -> Self {
        let app = TestApp::start().await;
        let community = app.community(kind).await;
        let elsewhere = app.community("private").await;
        let article = app.article(&[community]).await;
        let member = app.member("ada", community).await;
        let discussion = member.discussion(article, community, "Sample size").await;
        let comment = member.comment(&discussion, "Nice").await;
        let summary = format!("/articles/{article}/summary?community_id={community}");
        app.with_role("marie", community, "admin").await.put(&summary, json!({ "text": "In short" })).await.expect(200);
        let ended = app.member("emmy", community).await;
        app.sql(&format!("update users set is_active = false where id = {}", ended.user)).await;
        let narrow = app.narrow_client(member.user, &[elsewhere]);
        let strangers = Strangers {
            outsider: app.member("grace", elsewhere).await,
            narrow,
            ended,
            anonymous: app.anonymous(),
            member,
        };
        Self {
            strangers,
            list: format!("/articles/{article}/discussions"),
            discussion: format!("/discussions/{}", discussion["id"]),
            comment: format!("/comments/{}", comment["id"]),
            summary,
            app,
        }
    }

    /// Checks that `path` is refused to all who may not read it, and reads what the trap guards for the member alone.
    async fn check(&self, path: &str, may_anyone_read: bool) {
        let Strangers { member, outsider, narrow, ended, anonymous } = &self.strangers;
        let others = [outsider, narrow, anonymous].into_iter().filter(|_| !may_anyone_read);
        for stranger in others.chain([ended]) {
            let answer = stranger.get(path).await;
            assert!((400..500).contains(&answer.status), "{path}: {}", answer.body);
        }
        member.get(path).await.refused(500, "internal");
    }
}

#[tokio::test]
async fn no_row_is_read_for_who_may_not_read_it() {
    for kind in ["public", "private", "hidden", "open"] {
        let world = World::of_kind(kind).await;
        let everyone = matches!(kind, "public" | "open");
        let comments = format!("{}/comments", world.discussion);
        let of_community = format!("{}?community_id=1", world.list);

        let around = world.comment.replace("/comments/", "");
        let around = format!("{comments}?around={around}");

        trap(&world.app, "comments", true).await;
        world.check(&comments, everyone).await;
        world.check(&around, everyone).await;
        untrap(&world.app, "comments").await;

        trap(&world.app, "discussions", true).await;
        for path in [&world.list, &of_community] {
            world.check(path, everyone).await;
        }
        untrap(&world.app, "discussions").await;

        trap(&world.app, "summaries", false).await;
        for path in [&world.summary, &world.summary.replace("summary", "summary/revisions")] {
            world.check(path, everyone).await;
        }
        untrap(&world.app, "summaries").await;

        // A single thing says itself where it is. Nothing else of it is read.
        for (table, path) in [("discussions", &world.discussion), ("comments", &world.comment)] {
            trap(&world.app, table, false).await;
            world.check(path, everyone).await;
            untrap(&world.app, table).await;
        }
        world.strangers.member.get(&comments).await.expect(200);
    }
}

/// The authors of what is hidden are not looked up either: a picture may be long, too.
#[tokio::test]
async fn no_author_is_read_for_who_may_not_read_the_text() {
    for kind in ["private", "hidden"] {
        let world = World::of_kind(kind).await;
        let app = &world.app;
        app.sql(
            "create function trapped(value text) returns text language plpgsql immutable as
                 $$ begin raise exception 'it was read'; end $$;
             alter table users rename to real_users;
             create view users as select id, trapped(username) as username, avatar_url, created_at, is_active from real_users",
        )
        .await;
        let comments = format!("{}/comments", world.discussion);
        for path in [&world.list, &world.discussion, &comments, &world.comment, &world.summary] {
            world.check(path, false).await;
        }
    }
}

/// The condition of the statements and the one that names the refusal are one.
#[tokio::test]
async fn the_statements_refuse_whom_the_program_refuses() {
    let app = TestApp::start().await;
    let member = app.user("ada").await;
    for kind in ["public", "private", "hidden", "open"] {
        let community = app.community(kind).await;
        let article = app.article(&[community]).await;
        let author = app.member("grace", community).await;
        let discussion = author.discussion(article, community, "Sample size").await;
        for role in [None, Some("member"), Some("admin")] {
            match role {
                Some(role) => app.join(member, community, role).await,
                None => app.leave(member, community).await,
            }
            let gone = app.bearer(9_999, jwt::mint(SECRET, 9_999.into(), None, 3600).unwrap());
            for (client, account) in [
                (app.client(member), Some(true)),
                (app.client(member), Some(false)),
                (gone, None),
                (app.anonymous(), None),
            ] {
                let is_active = account != Some(false);
                app.sql(&format!("update users set is_active = {is_active} where id = {member}")).await;
                let role = role.filter(|_| client.user == member);
                let may_read: bool = sqlx::query_scalar("select may_read($1, $2, $3, $4)")
                    .bind(kind)
                    .bind(role)
                    .bind((client.user != 0).then_some(client.user))
                    .bind(account)
                    .fetch_one(&app.pool)
                    .await
                    .unwrap();
                let answer = client.get(&format!("/discussions/{}/comments", discussion["id"])).await;
                assert_eq!(answer.status == 200, may_read, "{kind} {role:?} {account:?}: {}", answer.body);
                assert!(answer.status < 500, "{}", answer.body);
            }
        }
    }
    app.anonymous().get("/articles/1/discussions").await.expect(200);
}
