//! Other programs write the directory, with their own role, with their own settings, and by a restore.

use sqlx::{Connection, Executor, PgConnection};

use crate::{
    app::{TestApp, types},
    postgres::run,
};

/// Changes memberships by another program's connection, and checks that Grace's queue gets the events for her.
async fn writes(app: &TestApp, connection: &mut PgConnection) {
    let community = app.community("private").await;
    let grace = app.member("grace", community).await;
    app.settled().await;
    let mut queue = grace.register().await;
    for statement in [
        "insert into public.users (id, username) values (1000, 'lin')".to_owned(),
        "insert into public.communities (id, name, slug, kind) values (1000, 'Physics', 'physics', 'private')"
            .to_owned(),
        "insert into public.articles (id, title, slug) values (1000, 'Light', 'light')".to_owned(),
        "insert into public.community_articles (community_id, article_id) values (1000, 1000)".to_owned(),
        format!(
            "insert into public.memberships (user_id, community_id, role) values (1000, 1000, 'admin'), ({}, 1000, 'member')",
            grace.user
        ),
        format!("update public.memberships set role = 'moderator' where user_id = {}", grace.user),
        format!("delete from public.memberships where user_id = {} and community_id = 1000", grace.user),
        "delete from public.users where id = 1000".to_owned(),
    ] {
        connection.execute(statement.as_str()).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    app.settled().await;
    assert_eq!(types(&queue.events(4).await), ["membership_changed"; 4]);
    assert_eq!(queue.now().await.len(), 0);
}

#[tokio::test]
async fn a_role_that_may_write_only_the_directory_can() {
    let app = TestApp::start().await;
    let role = format!("directory_{}", uuid::Uuid::new_v4().simple());
    app.sql(&format!(
        "create role {role};
         grant usage on schema public to {role};
         grant select, insert, update, delete on users, communities, memberships, articles, community_articles to {role}"
    ))
    .await;
    let mut connection = PgConnection::connect(&app.database.url).await.unwrap();
    connection.execute(format!("set role {role}").as_str()).await.unwrap();
    writes(&app, &mut connection).await;
    // The role can do nothing else, neither with the tables nor by the functions that run with the owner's rights.
    for refused in [
        "insert into outbox (community_id, type, payload) values (1, 'x', '{}')",
        "select membership_event(1, 1, null, 'admin')",
        "select leap_now()",
        "create temp table mine (user_id bigint, community_id bigint, role text);
         create trigger mine after insert on mine for each row execute function public.memberships_changed()",
        "create temp table mine (id bigint, is_active boolean);
         create trigger mine after delete on mine for each row execute function public.account_ended()",
        "create temp table mine (id bigint, kind text);
         create trigger mine after update on mine for each row execute function public.community_changed()",
        "create temp table mine (id bigint, username text, avatar_url text);
         create trigger mine after update on mine for each row execute function public.author_changed()",
    ] {
        let error = connection.execute(sqlx::raw_sql(refused)).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{refused}: {error}");
    }
    connection.close().await.unwrap();
    app.sql(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn a_writer_with_another_search_path_can() {
    let app = TestApp::start().await;
    let mut connection = PgConnection::connect(&app.database.url).await.unwrap();
    connection.execute("set search_path = ''").await.unwrap();
    writes(&app, &mut connection).await;
}

#[tokio::test]
async fn a_table_of_the_writers_own_does_not_stand_in_for_the_outbox() {
    let app = TestApp::start().await;
    let mut connection = PgConnection::connect(&app.database.url).await.unwrap();
    connection
        .execute("create temp table outbox (community_id bigint, user_id bigint, type text, payload json)")
        .await
        .unwrap();
    writes(&app, &mut connection).await;
}

#[tokio::test]
async fn the_directory_is_restored_from_a_dump_of_its_data() {
    let old = TestApp::start().await;
    let community = old.community("private").await;
    old.article(&[community]).await;
    let ada = old.member("ada", community).await;
    old.settled().await;
    let file = std::env::temp_dir().join(format!("it_{}.dump", uuid::Uuid::new_v4().simple()));
    let file = file.to_str().unwrap();
    let tables = ["users", "communities", "memberships", "articles", "community_articles"];
    let tables = tables.map(|table| format!("--table={table}"));
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    run("pg_dump", &[&["-Fc", "--data-only", "-d", &old.database.url, "-f", file], &*tables].concat());

    let new = TestApp::start().await;
    run("pg_restore", &["--exit-on-error", "-d", &new.database.url, file]);
    std::fs::remove_file(file).unwrap();
    new.settled().await;
    let ada = new.client(ada.user);
    assert_eq!(ada.register().await.client.user, ada.user);
    ada.get("/session").await.expect(200);
}

/// With the owner's rights, anybody could otherwise run it, or make it the trigger of a table of their own.
#[tokio::test]
async fn nobody_but_the_owner_may_execute_what_runs_with_the_owners_rights() {
    let app = TestApp::start().await;
    let functions: Vec<(String, bool, String)> = sqlx::query_as(
        "select p.proname::text,
                exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0),
                coalesce(array_to_string(p.proconfig, ' '), '')
         from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prosecdef order by 1",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let names: Vec<&str> = functions.iter().map(|(name, ..)| name.as_str()).collect();
    for name in [
        "account_ended",
        "author_changed",
        "community_changed",
        "membership_event",
        "memberships_changed",
        "wake_relay",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for (name, is_public, settings) in &functions {
        assert!(!is_public, "everybody may execute {name}");
        assert!(settings.contains("search_path=pg_catalog, public, pg_temp"), "{name}: {settings}");
    }
}
