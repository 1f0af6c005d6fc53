//! Runs `discussions-load` against a correct server.

use clap::Parser;
use discussions_load::LoadArgs;

use crate::app::{SECRET, TestApp};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: LoadArgs,
}

async fn load(app: &TestApp, arguments: &str) -> bool {
    let url = format!("http://{}", app.addr);
    let fixed = ["load", "--url", &url, "--jwt-secret", SECRET, "--database-url", &app.database.url, "--json"];
    let args = Cli::parse_from(fixed.into_iter().chain(arguments.split(' '))).args;
    discussions_load::run(args).await.unwrap()
}

async fn rows(app: &TestApp) -> i64 {
    let count =
        "select (select count(*) from users) + (select count(*) from memberships) + (select count(*) from communities)
        + (select count(*) from articles) + (select count(*) from discussions) + (select count(*) from comments)";
    sqlx::query_scalar(count).fetch_one(&app.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_works_passes_and_is_left_as_it_was() {
    let app = TestApp::start().await;
    let user = app.user("ada").await;
    let before = rows(&app).await;
    assert!(load(&app, "--queues 40 --communities 3 --memberships 2 --rate 0 --seconds 1").await);
    assert!(load(&app, "--requests comment --connections 3 --seconds 1").await);
    assert_eq!(rows(&app).await, before, "only what was there is left, such as user {user}");
    let written: i64 = sqlx::query_scalar("select count(*) from outbox where type = 'new_comment'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!(written > 0, "the events say that something was written");
}
