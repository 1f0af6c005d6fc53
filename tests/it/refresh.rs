//! How a log-in goes on by refreshing its tokens, and what ends it.

use reqwest::{Method, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    app::{Answer, PAGE, PATIENCE, TestApp, UserId},
    login::{PASSWORD, log_in, start, user},
};

/// A new log-in's refresh token and access token.
async fn begin(app: &TestApp, name: &str) -> (String, String) {
    tokens(&log_in(app, name, PASSWORD).await.expect(200))
}

fn tokens(body: &Value) -> (String, String) {
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("refresh"), text("access"))
}

async fn refresh(app: &TestApp, token: &str) -> Answer {
    app.anonymous().post("/auth/refresh", json!({ "refresh": token })).await
}

/// The next refresh token.
async fn next(app: &TestApp, token: &str) -> String {
    tokens(&refresh(app, token).await.expect(200)).0
}

/// Lets the grace of all used tokens pass.
async fn pass_grace(app: &TestApp) {
    app.sql(
        "update logins set used = (
             select coalesce(jsonb_agg(one || jsonb_build_object('used_at', (one ->> 'used_at')::bigint - 30001)), '[]')
             from jsonb_array_elements(used) one)",
    )
    .await;
}

async fn logins(app: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from logins").fetch_one(&app.pool).await.unwrap()
}

#[tokio::test]
async fn each_refresh_gives_new_tokens() {
    let app = start().await;
    let ada = user(&app, "ada").await;
    let (mut token, access) = begin(&app, "ada").await;
    let mut seen = vec![(token.clone(), access)];
    for _ in 0..3 {
        let body = refresh(&app, &token).await.expect(200);
        assert_eq!(body["user"], json!({ "id": ada, "username": "ada", "avatar_url": null }));
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(86_400)));
        let (refresh, access) = tokens(&body);
        app.bearer(ada, access.clone()).get("/session").await.expect(200);
        assert!(seen.iter().all(|(old, older)| *old != refresh && *older != access));
        token = refresh.clone();
        seen.push((refresh, access));
        pass_grace(&app).await;
    }
    // The database has nothing that lets somebody in.
    let rows: Vec<String> =
        sqlx::query_scalar("select to_jsonb(l)::text from logins l").fetch_all(&app.pool).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert!(seen.iter().all(|(token, access)| !rows[0].contains(token) && !rows[0].contains(access)));
    for nonsense in ["", "nonsense", &token[1..], &format!("{token}A"), &"A".repeat(64), &seen[0].1] {
        refresh_is_refused(&app, nonsense).await;
    }
    next(&app, &token).await;
}

async fn refresh_is_refused(app: &TestApp, token: &str) {
    refresh(app, token).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn a_token_that_is_used_again_ends_its_log_in_and_no_other() {
    let app = start().await;
    user(&app, "ada").await;
    let ((first, _), (other, _)) = (begin(&app, "ada").await, begin(&app, "ada").await);
    // However long ago it was used.
    let mut token = next(&app, &first).await;
    for _ in 0..20 {
        token = next(&app, &token).await;
    }
    pass_grace(&app).await;
    refresh_is_refused(&app, &first).await;
    refresh_is_refused(&app, &token).await;
    next(&app, &other).await;
    assert_eq!(logins(&app).await, 1);
}

#[tokio::test]
async fn a_lost_answer_and_tabs_that_refresh_at_once_end_nothing() {
    let app = start().await;
    user(&app, "ada").await;
    let (first, _) = begin(&app, "ada").await;
    let eight = (0..8).map(|_| {
        let (anyone, body) = (app.anonymous(), json!({ "refresh": first }));
        tokio::spawn(async move { anyone.post("/auth/refresh", body).await })
    });
    let mut given = Vec::new();
    for answer in eight.collect::<Vec<_>>() {
        given.push(tokens(&answer.await.unwrap().expect(200)).0);
    }
    assert!(given.iter().all(|token| *token == given[0]), "all go on with one token");
    // A tab that was even slower gets the newest one.
    let third = next(&app, &given[0]).await;
    assert_eq!(next(&app, &first).await, third);
    assert_eq!(next(&app, &given[0]).await, third);
    assert_eq!(logins(&app).await, 1);

    // A thief who is as quick has the same token as its owner, and the next of both to use it ends the log-in.
    pass_grace(&app).await;
    let fourth = next(&app, &third).await;
    pass_grace(&app).await;
    refresh_is_refused(&app, &third).await;
    refresh_is_refused(&app, &fourth).await;
    assert_eq!(logins(&app).await, 0);
}

#[tokio::test]
async fn a_log_in_ends_by_itself_and_each_refresh_prolongs_it() {
    let app = start().await;
    user(&app, "ada").await;
    let (token, _) = begin(&app, "ada").await;
    app.sql("update logins set expires_at = now() + interval '1 minute'").await;
    let token = next(&app, &token).await;
    let days = "select extract(epoch from expires_at - now())::bigint from logins";
    let seconds: i64 = sqlx::query_scalar(days).fetch_one(&app.pool).await.unwrap();
    assert!((2_591_000..=2_592_000).contains(&seconds), "{seconds}");
    app.sql("update logins set expires_at = now() - interval '1 second'").await;
    refresh_is_refused(&app, &token).await;

    // The row goes with the next housekeeping. A node begins with one.
    begin(&app, "ada").await;
    assert_eq!(logins(&app).await, 2);
    let second = TestApp::on(app.database.clone(), |config| config.login.password_login = true).await;
    let start = Instant::now();
    while logins(&second).await > 1 {
        assert!(start.elapsed() < PATIENCE, "it is deleted");
    }
}

async fn session(app: &TestApp, cookie: &str) -> Answer {
    let anyone = app.anonymous();
    let request = anyone.request(Method::GET, "/session").header(header::COOKIE, cookie).header(header::ORIGIN, PAGE);
    anyone.send(request).await
}

#[tokio::test]
async fn a_log_out_ends_what_began_with_the_log_in() {
    let app = start().await;
    let ada = user(&app, "ada").await;
    let ((phone, _), (laptop, access)) = (begin(&app, "ada").await, begin(&app, "ada").await);
    let client = app.bearer(ada, access);
    let (cookie, of_django) = (client.session_cookie().await, app.client(ada).session_cookie().await);
    let newest = next(&app, &laptop).await;
    let log_out = async |token: &str| app.anonymous().post("/auth/logout", json!({ "refresh": token })).await;
    // Any token of the log-in will do. A second time, or another text, is no error.
    log_out(&laptop).await.expect(204);
    for ended in [&*laptop, &newest, "nonsense", ""] {
        log_out(ended).await.expect(204);
        refresh_is_refused(&app, ended).await;
    }
    session(&app, &cookie).await.refused(401, "token_missing");
    session(&app, &of_django).await.expect(200);
    // The last token of the log-in is valid until it expires, and begins no session.
    client.get("/session").await.expect(200);
    client.post("/session", json!({})).await.refused(401, "token_invalid");
    next(&app, &phone).await;
}

#[tokio::test]
async fn a_log_out_everywhere_ends_all_log_ins_of_the_user() {
    let app = start().await;
    let ada = user(&app, "ada").await;
    user(&app, "grace").await;
    let ((laptop, access), (phone, _), (grace, _)) =
        (begin(&app, "ada").await, begin(&app, "ada").await, begin(&app, "grace").await);
    app.bearer(ada, access).delete("/session?everywhere=true").await.expect(204);
    for ended in [laptop, phone] {
        refresh_is_refused(&app, &ended).await;
    }
    next(&app, &grace).await;
}

/// Whether `change`, which any program may make by SQL, ends the log-ins of Ada and the sessions that began with them.
async fn ends(app: &TestApp, ada: UserId, change: &str) -> bool {
    let (token, access) = begin(app, "ada").await;
    let cookie = app.bearer(ada, access).session_cookie().await;
    app.sql(change).await;
    let (refreshed, read) = (refresh(app, &token).await.status, session(app, &cookie).await.status);
    assert_eq!(refreshed, read, "{change}");
    refreshed == 401
}

#[tokio::test]
async fn a_changed_password_and_an_ended_account_end_the_log_ins() {
    let app = start().await;
    let ada = user(&app, "ada").await;
    let of_ada = format!("where user_id = {ada}");
    let password: String = sqlx::query_scalar("select password from credentials").fetch_one(&app.pool).await.unwrap();
    let again = format!("update credentials set password = '{password}' {of_ada}");
    for (change, is_end) in [
        (format!("update credentials set password = '!' {of_ada}"), true),
        (format!("update credentials set updated_at = now() {of_ada}"), true),
        (format!("delete from credentials {of_ada}"), true),
        (format!("update users set is_active = false where id = {ada}"), true),
        (format!("update credentials set email = 'ada@scicommons.example' {of_ada}"), false),
        (format!("update credentials set password = password {of_ada}"), false),
        (
            format!("update users set username = 'ada', avatar_url = 'https://scicommons.example/a' where id = {ada}"),
            false,
        ),
    ] {
        assert_eq!(ends(&app, ada, &change).await, is_end, "{change}");
        // Nothing of it comes back.
        app.sql(&format!(
            "update users set is_active = true where id = {ada};
             insert into credentials (user_id, password) values ({ada}, '{password}') on conflict do nothing;
             {again}"
        ))
        .await;
    }
    // A writer who sets the moment too.
    let change = format!("update credentials set password = '!', updated_at = now() - interval '1 day' {of_ada}");
    assert!(ends(&app, ada, &change).await);
    app.sql(&again).await;
    let (token, _) = begin(&app, "ada").await;
    app.sql(&format!("delete from users where id = {ada}")).await;
    refresh_is_refused(&app, &token).await;
    assert_eq!(logins(&app).await, 0);
}

#[tokio::test]
async fn a_user_has_a_hundred_log_ins_at_most() {
    let app = start().await;
    let (ada, grace) = (user(&app, "ada").await, user(&app, "grace").await);
    let (first, _) = begin(&app, "ada").await;
    let (kept, _) = begin(&app, "ada").await;
    app.sql(&format!(
        "insert into logins (user_id, handle_hash, token_hash, expires_at)
         select who, sha256((who * 1000 + number)::text::bytea), '', now() + interval '29 days'
         from generate_series(1, 98) number, unnest(array[{ada}, {grace}]) who"
    ))
    .await;
    // The one that was refreshed least recently ends.
    app.sql(&format!("update logins set expires_at = now() + interval '1 day' where user_id = {ada} and expires_at > now() + interval '29 days' and id = (select min(id) from logins)")).await;
    let kept = next(&app, &kept).await;
    begin(&app, "ada").await;
    let of_ada: i64 = sqlx::query_scalar("select count(*) from logins where user_id = $1")
        .bind(ada)
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!((of_ada, logins(&app).await), (100, 198));
    refresh_is_refused(&app, &first).await;
    next(&app, &kept).await;
}

#[tokio::test]
async fn tables_that_are_emptied_leave_no_log_in() {
    let app = start().await;
    let ada = user(&app, "ada").await;
    let (token, access) = begin(&app, "ada").await;
    app.bearer(ada, access).session_cookie().await;
    app.sql("create table kept as select * from credentials; truncate credentials; insert into credentials select * from kept").await;
    refresh_is_refused(&app, &token).await;
    let (token, access) = begin(&app, "ada").await;
    app.bearer(ada, access).session_cookie().await;
    app.sql("truncate users cascade").await;
    refresh_is_refused(&app, &token).await;
    assert_eq!(logins(&app).await, 0);
}
