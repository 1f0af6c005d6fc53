//! Statements whose cost does not grow with what others have written, whatever plan PostgreSQL chooses.

use std::fs;

use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::app::TestDatabase;

/// The statement in `.sqlx` that contains `part`.
pub(crate) fn statement(part: &str) -> String {
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

/// A database with an old article of 200 discussions, and 20,000 newer discussions of another article in the same community. In 30
/// other communities, each of 100 articles has ten discussions. User 1 is a member everywhere.
async fn world() -> (TestDatabase, PgConnection) {
    let database = TestDatabase::create().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection
        .execute(
            "insert into users (id, username) values (1, 'ada');
             insert into communities (id, name, slug, kind)
             select id, 'c' || id, 'c' || id, 'private' from generate_series(1, 31) id;
             insert into articles (id, title, slug) select id, 'a' || id, 'a' || id from generate_series(1, 102) id;
             insert into community_articles (community_id, article_id)
             select community, article from generate_series(2, 31) community, generate_series(3, 102) article
             union all values (1, 1), (1, 2);
             insert into memberships (user_id, community_id, role) select 1, id, 'member' from generate_series(1, 31) id;
             insert into discussions (community_id, article_id, author_id, topic, text)
             select 1, case when number <= 200 then 1 else 2 end, 1, 'Topic', 'Text' from generate_series(1, 20200) number;
             insert into discussions (community_id, article_id, author_id, topic, text)
             select community, article, 1, 'Topic', 'Text'
             from generate_series(1, 10), generate_series(2, 31) community, generate_series(3, 102) article;
             analyze",
        )
        .await
        .unwrap();
    connection.execute(format!("prepare page as {}", statement("with placements as (")).as_str()).await.unwrap();
    (database, connection)
}

/// The statement of a page for user 1. A page that is not the first begins before discussion 150.
fn page(article: i64, community: &str, before: &str) -> String {
    format!("execute page({article}, {community}, 1, null, {before}, 20, 1048576)")
}

#[tokio::test]
async fn a_page_of_an_old_article_reads_no_newer_discussions_of_others() {
    let (_database, mut connection) = world().await;
    for mode in ["force_generic_plan", "force_custom_plan"] {
        connection.execute(format!("set plan_cache_mode = {mode}").as_str()).await.unwrap();
        for (community, before) in [("1", "null"), ("null", "null"), ("1", "150")] {
            let explain = format!("explain (analyze, timing off, format json) {}", page(1, community, before));
            let (plan,): (Value,) = sqlx::query_as(&explain).fetch_one(&mut connection).await.unwrap();
            let rows = rows_read(&plan[0]["Plan"]);
            assert!(rows < 1_000.0, "{mode}: {rows} rows were read: {plan:#}");
        }
    }
}

#[tokio::test]
async fn a_page_of_comments_reads_no_more_than_it_has_of_a_long_discussion() {
    let database = TestDatabase::create().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    // The first root of the first discussion has nearly all comments of all.
    connection
        .execute(
            "insert into users (id, username) values (1, 'ada');
             insert into communities (id, name, slug, kind) values (1, 'Biology', 'biology', 'private');
             insert into articles (id, title, slug) values (1, 'Old', 'old');
             insert into community_articles (community_id, article_id) values (1, 1);
             insert into memberships (user_id, community_id, role) values (1, 1, 'member');
             insert into discussions (community_id, article_id, author_id, topic, text)
             select 1, 1, 1, 'Topic', 'Text' from generate_series(1, 20);
             insert into comments (id, discussion_id, root_id, parent_id, depth, author_id, text) overriding system value
             select number, 1, 1, case when number > 1 then 1 end, case when number > 1 then 2 else 1 end, 1, repeat('x', 300)
             from generate_series(1, 20000) number;
             insert into comments (id, discussion_id, root_id, depth, author_id, text) overriding system value
             select 20000 + number, 1 + number % 20, 20000 + number, 1, 1, 'Text' from generate_series(1, 1000) number;
             analyze",
        )
        .await
        .unwrap();
    connection.execute(format!("prepare page as {}", statement("with next_root as (")).as_str()).await.unwrap();
    for mode in ["force_generic_plan", "force_custom_plan"] {
        connection.execute(format!("set plan_cache_mode = {mode}").as_str()).await.unwrap();
        for (discussion, root, comment) in [(1, 0, 0), (1, 1, 10_000), (1, 1, i64::MAX), (7, 0, 0)] {
            // After the position, before it, and around it.
            for window in ["20, 101, 0, 0", "0, 0, 20, 101", "10, 51, 10, 51"] {
                let explain = format!(
                    "explain (analyze, timing off, format json)
                     execute page({discussion}, 1, null, {root}, {comment}, {window}, 1048576)"
                );
                let (plan,): (Value,) = sqlx::query_as(&explain).fetch_one(&mut connection).await.unwrap();
                let rows = rows_read(&plan[0]["Plan"]);
                assert!(rows < 3_000.0, "{mode}, {window} at {root}-{comment}: {rows} rows were read: {plan:#}");
            }
        }
    }
}

/// A community of 20,000 members, all of whom follow its article, beside many small ones. User 1 writes there, and user 2 began the
/// discussion and submitted the article.
async fn crowd() -> (TestDatabase, PgConnection) {
    let database = TestDatabase::create().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection
        .execute(
            "insert into users (id, username) select id, 'user' || id from generate_series(1, 20000) id;
             insert into communities (id, name, slug, kind)
             select id, 'c' || id, 'c' || id, 'private' from generate_series(1, 3000) id;
             insert into articles (id, title, slug, submitter_id)
             select id, 'a' || id, 'a' || id, case when id = 1 then 2 end from generate_series(1, 3000) id;
             insert into community_articles (community_id, article_id) select id, id from generate_series(1, 3000) id;
             insert into memberships (user_id, community_id, role)
             select id, 1, case when id = 3 then 'admin' else 'member' end from generate_series(1, 20000) id;
             insert into memberships (user_id, community_id, role)
             select id, community, 'admin' from generate_series(1, 2) id, generate_series(2, 3000) community;
             insert into article_follows (user_id, community_id, article_id, level)
             select id, 1, 1, 'follow' from generate_series(1, 20000) id;
             insert into article_follows (user_id, community_id, article_id, level)
             select 1, id, id, 'mute' from generate_series(2, 3000) id;
             insert into discussions (id, community_id, article_id, author_id, topic, text) overriding system value
             select id, id, id, 2, 'Topic', 'Text' from generate_series(1, 3000) id;
             insert into discussion_follows (user_id, discussion_id, level)
             select id, 1, 'follow' from generate_series(1, 20000) id;
             insert into read_states (user_id, discussion_id) select id, 1 from generate_series(1, 20000) id;
             insert into comments (id, discussion_id, root_id, depth, author_id, text) overriding system value
             select id, 1, id, 1, id, 'Text' from generate_series(1, 20000) id;
             insert into notifications (user_id, kind, community_id, article_id, discussion_id, comment_id)
             select id, 'reply', 1, 1, 1, id from generate_series(1, 20000) id;
             analyze",
        )
        .await
        .unwrap();
    (database, connection)
}

#[tokio::test]
async fn who_writes_to_few_people_does_not_read_all_members() {
    let (_database, mut connection) = crowd().await;
    let statements = [
        (
            "insert into comments (",
            "1, 30000, null, null, 1, 1, null, 'Text', clock_timestamp(), 'user1', null, 1, 'new_comment', '{}', 1, null, null, null, '{4,5}'",
        ),
        ("select submitter_id, 'discussion' from articles", "1, 1, 1, 1, '{4,5}'"),
        ("select unnest($6::bigint[]) as user_id, $7::text as kind", "1, 1, 1, 20000, 1, '{6,7}', 'reply'"),
        ("nextval(pg_get_serial_sequence('comments', 'id'))", "1, 1, null"),
        ("with asked as (", "1, 1, '{user6,user7}'"),
        ("with newest as (", "1, 1, true, '{5,6}', null, '2 min'"),
        ("n.community_id = $6 and n.article_id = $7", "5, 1, false, '{5}', null, null, null"),
        ("(n.id = any($3) or n.id <= $4)", "5, null, '{5}', null"),
        ("delete from comment_votes v using cast_votes", "'{5,6}', '{1,1}', '{1,2}', '{1,-1}'"),
    ];
    for (part, arguments) in statements {
        for mode in ["force_generic_plan", "force_custom_plan"] {
            let prepare = format!("set plan_cache_mode = {mode}; begin; prepare one as {}", statement(part));
            connection.execute(prepare.as_str()).await.unwrap();
            let explain = format!("explain (analyze, timing off, format json) execute one({arguments})");
            let (plan,): (Value,) =
                sqlx::query_as(&explain).persistent(false).fetch_one(&mut connection).await.unwrap();
            let rows = rows_read(&plan[0]["Plan"]);
            // All communities may be read for many votes, but not all members.
            assert!(rows < 5_000.0, "{mode}: {rows} rows were read: {plan:#}");
            connection.execute("rollback; deallocate one").await.unwrap();
        }
    }
}
