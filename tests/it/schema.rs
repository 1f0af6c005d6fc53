//! A schema that a later release has extended. An older program still works, and the additions appear in no answer.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use sqlx::{Column, Connection, Either, Executor, PgConnection, TypeInfo};

use crate::app::{Client, Queue, TestApp, TestDatabase, config};

/// The columns of every table of this program.
async fn columns(app: &TestApp) -> Vec<(String, String)> {
    sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.columns
         where table_schema = 'public' and table_name not like '\\_sqlx%' order by 1, 2",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap()
}

/// Adds to each table a column for every name that any table has, and a new one. A statement that depends on the order or on the
/// uniqueness of names then fails.
async fn add_columns_everywhere(app: &TestApp) {
    let columns = columns(app).await;
    let tables: BTreeSet<&String> = columns.iter().map(|(table, _)| table).collect();
    let mut names: BTreeSet<&str> = columns.iter().map(|(_, name)| name.as_str()).collect();
    names.insert("language");
    for table in tables {
        let missing = names.iter().filter(|name| !columns.contains(&(table.clone(), (**name).to_owned())));
        let added: Vec<String> =
            missing.map(|name| format!("add column {name} text not null default 'added later'")).collect();
        app.sql(&format!("alter table {table} {}", added.join(", "))).await;
    }
}

/// Users with one thing of each kind, on a pseudonymous article and on a normal one.
struct World {
    ada: Client,
    grace: Client,
    article: i64,
    hidden: i64,
    ids: Vec<(&'static str, i64)>,
}

impl World {
    async fn new(app: &TestApp) -> Self {
        let hidden = app.community("hidden").await;
        let public = app.community("public").await;
        let article = app.article(&[hidden, public]).await;
        app.sql(&format!("update community_articles set is_pseudonymous = true where community_id = {hidden}")).await;
        let ada = app.with_role("ada", hidden, "admin").await;
        app.join(ada.user, public, "member").await;
        let grace = app.member("grace", hidden).await;
        let mut ids = Vec::new();
        for community in [hidden, public] {
            let discussion = ada.discussion(article, community, "A topic").await;
            let comment = ada.comment(&discussion, "A comment").await;
            ids.push(("discussions", discussion["id"].as_i64().unwrap()));
            ids.push(("comments", comment["id"].as_i64().unwrap()));
        }
        Self { ada, grace, article, hidden, ids }
    }

    /// The answers of all reading calls.
    async fn shown(&self) -> Vec<Value> {
        let mut shown = Vec::new();
        for client in [&self.ada, &self.grace] {
            shown.push(client.get(&format!("/articles/{}/discussions", self.article)).await.expect(200));
            shown.push(client.get("/session").await.expect(200));
            for what in ["summary", "summary/revisions"] {
                let answer =
                    client.get(&format!("/articles/{}/{what}?community_id={}", self.article, self.hidden)).await;
                shown.push(json!([answer.status, answer.body]));
            }
            for (what, id) in &self.ids {
                let answer = client.get(&format!("/{what}/{id}")).await;
                shown.push(json!([answer.status, answer.body]));
                if *what == "discussions" {
                    let answer = client.get(&format!("/discussions/{id}/comments")).await;
                    shown.push(json!([answer.status, answer.body]));
                }
            }
        }
        shown
    }

    /// Makes one change of each kind, and returns their events.
    async fn changed(&self, app: &TestApp) -> Vec<Value> {
        let mut queue: Queue = self.grace.register().await;
        for (what, id) in &self.ids {
            // It must differ from the last time, or nothing would change.
            let new = format!("Changed with {}", queue.id);
            let body = if *what == "comments" { json!({ "text": new }) } else { json!({ "topic": new }) };
            self.ada.patch(&format!("/{what}/{id}"), body).await.expect(200);
        }
        let summary = format!("/articles/{}/summary?community_id={}", self.article, self.hidden);
        for text in ["First", "Second"] {
            self.ada.put(&summary, json!({ "text": format!("{text} of {}", queue.id) })).await.expect(200);
        }
        self.ada.delete(&summary).await.expect(204);
        self.ada.put(&summary, json!({ "text": "In short" })).await.expect(200);
        let discussion = self.ada.discussion(self.article, self.hidden, "New").await;
        let comment = self.grace.comment(&discussion, "New").await;
        self.ada.delete(&format!("/comments/{}", comment["id"])).await.expect(204);
        self.ada.delete(&format!("/discussions/{}", discussion["id"])).await.expect(204);
        app.settled().await;
        queue.events(10).await
    }
}

/// The authors in these answers.
fn authors(values: &[Value]) -> BTreeSet<String> {
    fn collect(value: &Value, authors: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                authors.extend(object.get("author").map(Value::to_string));
                object.values().for_each(|value| collect(value, authors));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, authors)),
            _ => {}
        }
    }
    let mut authors = BTreeSet::new();
    values.iter().for_each(|value| collect(value, &mut authors));
    authors
}

#[tokio::test]
async fn columns_that_a_later_release_adds_show_nowhere() {
    let app = TestApp::start().await;
    let world = World::new(&app).await;
    let before = world.shown().await;
    let before_events = world.changed(&app).await;
    // Read once more, so that every statement is prepared before the schema changes.
    let shown = world.shown().await;
    assert!(authors(&before).is_subset(&authors(&shown)));

    add_columns_everywhere(&app).await;
    assert_eq!(world.shown().await, shown, "at a server that was running");
    let events = world.changed(&app).await;
    assert!(authors(&events).is_superset(&authors(&before_events)));
    for event in &events {
        assert_eq!(event["community_id"], world.hidden, "{event}");
        assert!(event["author"].is_null() || event["author"]["id"].is_null(), "a pseudonym stays one: {event}");
    }

    let fresh = TestApp::on(app.database.clone(), |_| {}).await;
    let world = World { ada: fresh.client(world.ada.user), grace: fresh.client(world.grace.user), ..world };
    let shown_by_fresh = world.shown().await;
    app.settled().await;
    assert_eq!(authors(&shown_by_fresh), authors(&shown), "at a server that starts on the new schema");
    world.changed(&fresh).await;
}

#[tokio::test]
async fn a_column_of_another_type_costs_one_retry() {
    let app = TestApp::start_with(|config| config.database_connections = 2).await;
    let world = World::new(&app).await;
    let before = world.ada.get("/session").await.expect(200);
    app.sql("alter table users alter column username type varchar(500)").await;
    // The change has made the prepared statements invalid.
    world.ada.get("/session").await.refused(503, "unavailable");
    assert_eq!(world.ada.get("/session").await.expect(200), before);
}

#[tokio::test]
async fn a_program_that_is_older_than_the_schema_starts() {
    let app = TestApp::start().await;
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values ($1, 'of a later release', true, '\\x00', 0)";
    sqlx::query(newer).bind(9_999_i64).execute(&app.pool).await.unwrap();
    let app = TestApp::on(app.stop().await, |_| {}).await;
    let world = World::new(&app).await;
    assert_eq!(world.shown().await.len(), 20);

    // A missing migration in between means that the schema is of another program.
    sqlx::query(newer).bind(0_i64).execute(&app.pool).await.unwrap();
    let settings = config(&app.database.url);
    let error =
        discussions::app::start(settings, tokio::runtime::Handle::current()).await.err().expect("it does not start");
    assert!(format!("{error:#}").contains("is it the right database?"), "{error:#}");
}

#[tokio::test]
async fn the_statements_of_the_last_two_releases_mean_the_same_on_this_schema() {
    let database = TestDatabase::create().await;
    let app = TestApp::on(std::sync::Arc::new(database), |_| {}).await;
    let mut connection = PgConnection::connect(&app.database.url).await.unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/last_releases");
    let releases: Vec<_> = fs::read_dir(folder).unwrap().map(|release| release.unwrap().path()).collect();
    assert_eq!(releases.len(), 2, "{releases:?}");
    let mut count = 0;
    for file in releases.iter().flat_map(|release| fs::read_dir(release).unwrap()) {
        let recorded: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        let statement = recorded["query"].as_str().unwrap();
        count += 1;
        let described = connection.describe(statement).await;
        let described = described.unwrap_or_else(|error| panic!("{statement}\n{error}"));
        let lower = |name: &Value| name.as_str().unwrap_or_default().to_lowercase().replace("array", "[]");
        let named = |column: &Value| (column["name"].as_str().unwrap().to_owned(), lower(&column["type_info"]));
        let before: Vec<_> = recorded["describe"]["columns"].as_array().unwrap().iter().map(named).collect();
        let now: Vec<_> = described
            .columns()
            .iter()
            .map(|column| (column.name().to_owned(), column.type_info().name().to_lowercase()))
            .collect();
        assert_eq!(now, before, "{statement}");
        let before: Vec<_> = recorded["describe"]["parameters"]["Left"].as_array().unwrap().iter().map(lower).collect();
        if let Some(Either::Left(parameters)) = described.parameters() {
            let now: Vec<_> = parameters.iter().map(|parameter| parameter.name().to_lowercase()).collect();
            assert_eq!(now, before, "{statement}");
        }
    }
    assert!(count > 120, "{count} statements were compared");
}

#[test]
fn statements_name_their_columns() {
    let star = |line: &str| {
        let line = line.trim_start();
        ["select *", "returning *"].iter().any(|words| line.contains(words))
            || line.split([' ', ',']).any(|word| word.len() <= 12 && word.ends_with(".*") && !word.starts_with('`'))
    };
    fn files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut sources = Vec::new();
    files(concat!(env!("CARGO_MANIFEST_DIR"), "/src").as_ref(), &mut sources);
    for source in sources {
        let text = fs::read_to_string(&source).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            assert!(!star(line), "{}:{}: {line}", source.display(), number + 1);
        }
    }
}
