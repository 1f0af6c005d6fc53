//! A row that cannot be decoded is an error. It is never missing from an answer that looks complete.

use serde_json::json;

use crate::app::{Client, TestApp};

/// A column that is null although the program takes it for one that never is, and the paths that show it.
const NULLS: [(&str, &str, &[&str]); 8] = [
    ("discussions", "topic", &["/discussions/1", "/articles/1/discussions", "/articles/1/discussions?community_id=1"]),
    ("discussions", "text", &["/discussions/1", "/articles/1/discussions", "/articles/1/discussions?community_id=1"]),
    ("discussions", "updated_at", &["/discussions/1", "/articles/1/discussions"]),
    ("comments", "text", &["/comments/1", "/discussions/1/comments"]),
    ("comments", "depth", &["/comments/1", "/discussions/1/comments"]),
    ("comments", "created_at", &["/comments/1", "/discussions/1/comments"]),
    ("users", "username", &["/discussions/1", "/articles/1/discussions", "/comments/1", "/discussions/1/comments"]),
    ("communities", "name", &["/session"]),
];

async fn world() -> (TestApp, Client) {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let comment = ada.comment(&discussion, "Nice article!").await;
    assert_eq!((&discussion["id"], &comment["id"]), (&json!(1), &json!(1)), "the paths name them");
    (app, ada)
}

#[tokio::test]
async fn a_null_where_none_may_be_is_an_error_and_no_shorter_list() {
    let (app, ada) = world().await;
    for (table, column, paths) in NULLS {
        for path in paths {
            ada.get(path).await.expect(200);
        }
        let kept = format!("kept_{table}_{column}");
        app.sql(&format!(
            "create table {kept} as select id, {column} from {table};
             alter table {table} alter {column} drop not null;
             update {table} set {column} = null"
        ))
        .await;
        for path in paths {
            ada.get(path).await.refused(500, "internal");
        }
        app.sql(&format!("update {table} t set {column} = kept.{column} from {kept} kept where kept.id = t.id")).await;
    }
}
