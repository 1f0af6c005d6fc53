//! Statements whose cost does not grow with what others have written, whatever plan PostgreSQL chooses.

use std::fs;

use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::app::TestDatabase;

/// The statement in `.sqlx` that contains `part`.
fn statement(part: &str) -> String {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx")).unwrap();
    let mut statements = files.filter_map(|file| {
        let recorded: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        recorded["query"].as_str().filter(|statement| statement.contains(part)).map(str::to_owned)
    });
    let found = statements.next().unwrap_or_else(|| panic!("no statement has {part}"));
    assert_eq!(statements.next(), None, "only one statement has {part}");
    found
}

/// The rows that all nodes of a plan have read, those that they threw away included.
fn rows_read(node: &Value) -> f64 {
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    let own = (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
    own + node["Plans"].as_array().into_iter().flatten().map(rows_read).sum::<f64>()
}

#[tokio::test]
async fn a_page_of_an_old_article_reads_no_newer_discussions_of_others() {
    let database = TestDatabase::create().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection
        .execute(
            "insert into users (id, username) values (1, 'ada');
             insert into communities (id, name, slug, kind) values (1, 'Biology', 'biology', 'private');
             insert into articles (id, title, slug) values (1, 'Old', 'old'), (2, 'New', 'new');
             insert into community_articles (community_id, article_id) values (1, 1), (1, 2);
             insert into memberships (user_id, community_id, role) values (1, 1, 'member');
             insert into discussions (community_id, article_id, author_id, topic, text)
             select 1, case when number <= 200 then 1 else 2 end, 1, 'Topic', 'Text' from generate_series(1, 20000) number;
             analyze",
        )
        .await
        .unwrap();
    connection.execute(format!("prepare page as {}", statement("with placements as (")).as_str()).await.unwrap();
    // A server's connection uses one plan for all parameters after a while.
    for mode in ["force_generic_plan", "force_custom_plan"] {
        connection.execute(format!("set plan_cache_mode = {mode}").as_str()).await.unwrap();
        for community in ["1", "null"] {
            let explain =
                format!("explain (analyze, timing off, format json) execute page(1, {community}, 1, null, null, 20)");
            let (plan,): (Value,) = sqlx::query_as(&explain).fetch_one(&mut connection).await.unwrap();
            let rows = rows_read(&plan[0]["Plan"]);
            assert!(rows < 1_000.0, "{mode}: {rows} rows were read: {plan:#}");
        }
    }
}
