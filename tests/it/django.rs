//! `discussions import-django`: what becomes of Django's rows, good and bad ones.

use std::{collections::BTreeSet, process::Stdio, sync::Arc};

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::process::Command;

use crate::app::{Client, SECRET, TestApp, TestDatabase};

/// A database of Django's, and one of ours without the demo.
pub(crate) struct Move {
    pub source: TestDatabase,
    pub target: Arc<TestDatabase>,
}

/// How an import ended.
pub(crate) struct Imported {
    pub is_finished: bool,
    /// The table for people.
    pub table: String,
    pub errors: String,
    /// The JSON of `--report`; null if there is none.
    pub report: Value,
}

impl Move {
    /// The small source of these tests.
    pub(crate) async fn small() -> Self {
        Self::of(include_str!("django/source.sql")).await
    }

    pub(crate) async fn of(sql: &str) -> Self {
        let source = TestDatabase::create_empty().await;
        execute(&source, sql).await;
        Self { source, target: Arc::new(TestDatabase::create().await) }
    }

    /// The program's command.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_discussions"));
        command
            .args(["import-django", "--from", &self.source.url, "--database-url", &self.target.url])
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null());
        command
    }

    /// Imports, with more arguments.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Imported {
        let report = std::env::temp_dir().join(format!("{}.json", uuid::Uuid::new_v4()));
        let mut command = self.command(arguments);
        let output = command.arg("--report").arg(&report).output().await.unwrap();
        let text = std::fs::read_to_string(&report).unwrap_or_default();
        let _ = std::fs::remove_file(&report);
        Imported {
            is_finished: output.status.success(),
            table: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
            report: if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() },
        }
    }

    /// Imports. Fails if it does not finish.
    pub(crate) async fn import(&self) -> Imported {
        let imported = self.run(&[]).await;
        assert!(imported.is_finished, "{}", imported.errors);
        imported
    }

    /// Serves what was imported.
    pub(crate) async fn serve(&self) -> TestApp {
        TestApp::on(Arc::clone(&self.target), |_| {}).await
    }

    /// Runs SQL in Django's database.
    pub(crate) async fn django(&self, sql: &str) {
        execute(&self.source, sql).await;
    }

    /// Runs SQL in our database.
    pub(crate) async fn here(&self, sql: &str) {
        execute(&self.target, sql).await;
    }

    /// A value in our database, as JSON.
    pub(crate) async fn value(&self, sql: &str) -> Value {
        let mut connection = PgConnection::connect(&self.target.url).await.unwrap();
        let value = sqlx::query_scalar(&format!("select to_json(({sql}))")).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        value
    }

    /// Each row of each table here, but those of the server's own business.
    pub(crate) async fn content(&self) -> Vec<(String, Vec<String>)> {
        let mut connection = PgConnection::connect(&self.target.url).await.unwrap();
        let tables: Vec<String> = sqlx::query_scalar(
            "select format('%I.%I', schemaname, tablename) from pg_tables
             where schemaname in ('public', 'django') and tablename not in ('_sqlx_migrations', 'event_head') order by 1",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let mut content = Vec::new();
        for table in tables {
            let rows = format!("select t::text from {table} t order by 1");
            content.push((table, sqlx::query_scalar(&rows).fetch_all(&mut connection).await.unwrap()));
        }
        connection.close().await.unwrap();
        content
    }
}

async fn execute(database: &TestDatabase, sql: &str) {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection.execute(sqlx::raw_sql(sql)).await.unwrap();
    connection.close().await.unwrap();
}

impl Imported {
    /// `kind id what` of each row in a list of the report.
    fn list(&self, list: &str, what: &str) -> BTreeSet<String> {
        let rows = self.report[list].as_array().unwrap().iter();
        rows.map(|row| format!("{} {} {}", row["kind"].as_str().unwrap(), row["id"], row[what].as_str().unwrap()))
            .collect()
    }
}

/// A user with a token as Django makes it: simplejwt writes the id as text.
pub(crate) fn django_client(app: &TestApp, user: i64) -> Client {
    let now = chrono::Utc::now().timestamp();
    let claims = json!({ "token_type": "access", "exp": now + 86400, "iat": now, "jti": "fixture", "user_id": user.to_string() });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    app.bearer(user, jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap())
}

fn expected(list: &str) -> BTreeSet<String> {
    list.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_badness_is_repaired_or_refused_and_reported() {
    let site = Move::small().await;
    let imported = site.import().await;
    let repairs = "
        users 8 username_empty
        users 9 username_doubled
        communities 4 kind_unknown
        pseudonyms 3 name_doubled
        pseudonyms 7 picture_unreadable
        discussions 4 deleted_mark
        discussions 5 topic_blank
        discussions 6 topic_cleaned
        discussions 7 text_empty
        discussions 8 text_empty
        discussions 9 text_cut
        discussions 13 pseudonym_made
        discussions 14 place_missing
        comments 4 too_deep
        comments 5 too_deep
        comments 6 deleted_moment
        comments 8 deleted_mark
        comments 9 text_empty
        comments 10 text_cut
        comments 11 community_differs
        comments 13 parent_elsewhere
        comments 14 parent_elsewhere
        comments 15 parent_circle
        comments 19 too_deep
        summaries 3 author_hidden";
    assert_eq!(imported.list("repairs", "repair"), expected(repairs));
    let refusals = "
        community_articles 5 doubled
        memberships 6 doubled
        memberships 8 doubled
        moderators 2 no_membership
        reviewers 2 no_membership
        pseudonyms 4 doubled
        pseudonyms 6 no_place
        votes 3 own
        votes 5 doubled
        votes 7 no_value
        votes 9 no_target
        subscriptions 3 not_active
        subscriptions 5 doubled
        flags 5 own
        flags 6 not_a_member
        flags 7 other_type
        flags 8 no_target
        summaries 2 doubled
        summaries 4 empty";
    assert_eq!(imported.list("refusals", "reason"), expected(refusals));
    // Both sides are counted.
    let comments = json!({ "django": 23, "here": 23, "changed": 23, "repaired": 11, "refused": 0 });
    assert_eq!(imported.report["kinds"]["comments"], comments);
    assert!(imported.table.contains("repaired comments too_deep: 3 (4, 5, 19)"), "{}", imported.table);
    // What was cut is whole in the report.
    let cut = imported.report["repairs"].as_array().unwrap().iter();
    let lengths: Vec<usize> = cut
        .filter(|row| row["repair"] == "text_cut")
        .map(|row| row["original"].as_str().unwrap().chars().count())
        .collect();
    assert_eq!(lengths, [50_010, 60_003]);

    let of = async |column: &str, table: &str, id: i64| {
        let value = site.value(&format!("select {column} from {table} where id = {id}")).await;
        value.as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(of("topic", "discussions", 5).await, "The first line names it");
    assert_eq!(of("topic", "discussions", 6).await, "Two lines");
    assert_eq!(of("text", "discussions", 8).await, "*(This text was empty.)*");
    let cut = of("text", "discussions", 9).await;
    assert!(cut.chars().count() == 50_000 && cut.ends_with("\n\n*(Cut: this text had 60003 characters.)*"));
    // A reply that is too deep hangs on the deepest parent that there may be, and quotes whom it answers: by the name that is shown there.
    let places = site.value("select json_agg(json_build_array(id, root_id, parent_id, depth) order by id) from comments where id in (3, 4, 5, 13, 15, 16, 17, 19)");
    let expected = json!([
        [3, 1, 2, 3],
        [4, 1, 2, 3],
        [5, 1, 2, 3],
        [13, 13, null, 1],
        [15, 15, null, 1],
        [16, 15, 15, 2],
        [17, 18, 18, 2],
        [19, 20, 21, 3]
    ]);
    assert_eq!(places.await, expected);
    assert_eq!(of("text", "comments", 4).await, "> birch wrote: The one of the baseline.\n\nThank you.");
    assert_eq!(of("text", "comments", 19).await, "> Calm\\_Otter 2 wrote: The third of four.\n\nThe fourth of four.");
    // Nothing of a private community gets into a public one.
    let elsewhere = of("text", "comments", 13).await;
    assert_eq!(elsewhere, "> *In reply to a comment in another community.*\n\nMy parent is in a private discussion.");
    // Derived numbers are right.
    let wrong = "select count(*) from discussions d where comment_count <> (select count(*) from comments k where k.discussion_id = d.id and k.deleted_at is null)
        or upvotes <> (select count(*) from discussion_votes v where v.discussion_id = d.id and v.value = 1)";
    assert_eq!(site.value(wrong).await, 0);
    assert_eq!(site.value("select array[upvotes, downvotes] from comments where id = 1").await, json!([1, 1]));
    assert_eq!(site.value("select count(*) from outbox").await, 0, "an import makes no event");
    assert_eq!(site.value("select count(*) from notifications").await, 0);
}

#[tokio::test]
async fn what_was_imported_is_read_with_a_token_of_django() {
    let site = Move::small().await;
    assert!(site.run(&["--media-url", "https://media.example.org/"]).await.is_finished);
    let app = site.serve().await;
    let cedar = django_client(&app, 3);
    let page = cedar.get("/articles/1/discussions?community_id=1").await.expect(200);
    let find = |id: i64| page["discussions"].as_array().unwrap().iter().find(|found| found["id"] == id).unwrap();
    assert_eq!(page["discussions"].as_array().unwrap().len(), 9);
    assert_eq!((&find(4)["topic"], &find(4)["deleted_at"]), (&Value::Null, &json!("2025-05-05T08:00:00Z")));
    assert_eq!(
        find(1)["author"],
        json!({ "id": 1, "username": "amber", "avatar_url": "https://media.example.org/profile_images/amber.png" })
    );
    assert_eq!((&find(1)["edited_at"], &find(16)["edited_at"]), (&Value::Null, &json!("2025-05-17T08:00:00Z")));
    assert_eq!(find(15)["resolved_at"], "2025-05-16T08:00:00Z");
    // What Django has a flag for is unread, and nothing else is.
    let unread: Vec<&Value> = page["discussions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["is_unread"] == true)
        .map(|one| &one["id"])
        .collect();
    assert_eq!(unread, [&json!(15)]);
    assert_eq!((&find(1)["unread_count"], &find(1)["first_unread_comment_id"]), (&json!(2), &json!(3)));
    let comments = cedar.get("/discussions/1/comments").await.expect(200);
    let votes = json!([
        comments["comments"][0]["upvotes"],
        comments["comments"][0]["downvotes"],
        comments["comments"][0]["own_vote"]
    ]);
    assert_eq!(votes, json!([1, 1, -1]));
    let follows = cedar.get("/follows").await.expect(200);
    let follows = follows["follows"].as_array().unwrap();
    let says = |one: &Value| one["discussion_id"].is_null() && one["level"] == "follow" && one["is_default"] == false;
    let said: Vec<&Value> = follows.iter().filter(|one| says(one)).map(|one| &one["article_id"]).collect();
    assert_eq!(said, [&json!(1)], "what was said of a community that one has left is not shown: {follows:?}");
    let summary = cedar.get("/articles/1/summary?community_id=1").await.expect(200);
    assert_eq!((&summary["text"], &summary["revision"]), (&json!("The drift is that of the baseline."), &json!(1)));

    // A private and a hidden community stay so.
    cedar.get("/discussions/2").await.refused(403, "not_a_member");
    cedar.get("/discussions/3").await.refused(404, "discussion_not_found");
    // Pseudonyms show their pictures, and nobody behind them.
    let amber = django_client(&app, 1);
    let page = amber.get("/articles/4/discussions?community_id=2").await.expect(200);
    let author = &page["discussions"][1]["author"];
    assert_eq!((&author["id"], &author["username"]), (&Value::Null, &json!("Calm_Otter")));
    assert!(author["avatar_url"].as_str().unwrap().starts_with("data:image/png;base64,iVBORw0KGgo"));
    assert_eq!(page["discussions"][0]["author"], json!({ "id": null, "username": "Anonymous 13", "avatar_url": null }));
    // The article's own discussions are in the open community: anyone reads them, and anyone signed in writes there.
    let open = site.value("select id from communities where kind = 'open'").await.as_i64().unwrap();
    assert_eq!(open, 1_000_005);
    let path = format!("/articles/5/discussions?community_id={open}");
    let page = app.anonymous().get(&path).await.expect(200);
    assert_eq!(page["discussions"][0]["topic"], "Outside of communities");
    // New ids come after Django's.
    let written = django_client(&app, 9).discussion(5, open, "A new one").await;
    assert!(written["id"].as_i64().unwrap() > 16, "{written}");
    django_client(&app, 10).get("/discussions/1").await.refused(401, "token_invalid");
    app.settled().await;
}

#[tokio::test]
async fn both_names_of_the_table_of_flags_are_read() {
    let site = Move::small().await;
    site.django(
        "alter table articles_userflag rename to articles_entityflag; alter table articles_entityflag alter user_id drop not null;
         insert into articles_entityflag (id, flag_type, entity_type, entity_id, created_at, user_id)
         values (20, 'pinned', 'discussion', 1, now(), null), (21, 'unread', 'comment', 1, now(), null)",
    )
    .await;
    let imported = site.import().await;
    assert_eq!(imported.report["kinds"]["flags"]["here"], 4);
    let refused = imported.list("refusals", "reason");
    assert!(refused.contains("flags 20 global") && refused.contains("flags 21 global"), "{refused:?}");
}

#[tokio::test]
async fn nothing_changes_where_an_import_cannot_go_on() {
    let refused = async |site: &Move, problem: &str| {
        let before = site.content().await;
        let imported = site.run(&[]).await;
        assert!(!imported.is_finished && imported.errors.contains(problem), "{}", imported.errors);
        let ours = |content: Vec<(String, Vec<String>)>| {
            content.into_iter().filter(|(name, _)| !name.starts_with("django.")).collect::<Vec<_>>()
        };
        assert_eq!(ours(before), ours(site.content().await));
    };
    refused(&Move::of("create table notes (id bigint)").await, "this is no database of SciCommons").await;
    let site = Move::small().await;
    site.django("alter table articles_discussion drop is_pseudonymous; alter table articles_anonymousidentity drop identicon; drop table articles_discussionsummary").await;
    refused(&site, "Tables that are missing: articles_discussionsummary. Columns that are missing: articles_anonymousidentity.identicon, articles_discussion.is_pseudonymous.").await;
    // Somebody is here whose id is one of Django's.
    let site = Move::small().await;
    site.here("insert into users (id, username) values (3, 'somebody'); insert into communities (id, name, slug, kind) values (7, 'a', 'a', 'public')").await;
    refused(&site, "1 of users (the first is 3)").await;
    // Another import is under way.
    let site = Move::small().await;
    let mut other = PgConnection::connect(&site.target.url).await.unwrap();
    other.execute(format!("select pg_advisory_lock({})", 0x64_6a_61_6e_67_6f_i64).as_str()).await.unwrap();
    refused(&site, "another import is under way").await;
    other.close().await.unwrap();
    // The address is that of another site.
    site.import().await;
    let site = Move { source: Move::small().await.source, target: Arc::clone(&site.target) };
    site.django("update \"user\" set date_joined = date_joined + interval '1 day'").await;
    refused(&site, "this is not the site that was imported before").await;
}

#[tokio::test]
async fn a_role_that_may_not_read_all_is_told_of_each_table() {
    let site = Move::small().await;
    let role = format!("reader_{}", uuid::Uuid::new_v4().simple());
    site.django(&format!("create role {role}; grant select on articles_article to {role}; grant select (id, topic) on articles_discussion to {role}"))
        .await;
    let separator = if site.source.url.contains('?') { '&' } else { '?' };
    let from = format!("{}{separator}options=-c%20role%3D{role}", site.source.url);
    let run = async || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_discussions"));
        command.args(["import-django", "--from", &from, "--database-url", &site.target.url]).env_clear();
        let output = command.output().await.unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (is_finished, errors) = run().await;
    let granting = errors.lines().find_map(|line| line.split_once("Let it: ")).expect(&errors).1;
    assert!(!is_finished && !granting.contains("articles_article,"), "{errors}");
    for table in
        ["\"user\"", "articles_discussion", "articles_userflag", "communities_membership", "django_content_type"]
    {
        assert!(granting.contains(table), "{table}: {errors}");
    }
    assert_eq!(site.value("select to_regclass('django.users') is null").await, true);
    // What it says is enough.
    site.django(granting).await;
    let (is_finished, errors) = run().await;
    assert!(is_finished, "{errors}");
    site.django(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn a_text_that_nobody_can_see_is_known_as_blank() {
    let site = Move::small().await;
    site.import().await;
    let is_blank = async |text: &str| {
        let mut connection = PgConnection::connect(&site.target.url).await.unwrap();
        sqlx::query_scalar::<_, bool>("select django.is_blank($1)").bind(text).fetch_one(&mut connection).await.unwrap()
    };
    // As in src/text.rs.
    for blank in [
        "",
        " \n\t ",
        "\u{200b}",
        "\u{3164}",
        "\u{2800}",
        "\u{feff}",
        "\u{ad}",
        "\u{200d}",
        "\u{180e}",
        "\u{115f}\u{1160}",
        "\u{ffa0}",
        "\u{fe0f}",
        "\u{e0100}",
        "\u{e0041}",
        "\u{202e}",
        "\u{34f}",
        "\u{61c}",
        "\u{17b4}",
        "\u{301}",
        "\u{1}",
        "\u{85}",
        "\u{2028}",
        "\u{fff9}",
        "\u{378}",
        "\u{200b} \u{3164}\n\u{2800}",
        "\u{1d159}",
        "\u{20dd}",
        "\u{206a}",
    ] {
        assert!(is_blank(blank).await, "{blank:?}");
    }
    for real in ["👩‍🔬", "❤️", "می‌خواهم", "1", "-", "…", "e\u{301}", "ㅋㅋ", "\u{feff}a", "⠃"]
    {
        assert!(!is_blank(real).await, "{real:?}");
    }
}
