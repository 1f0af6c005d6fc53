//! Log-in by password. `refresh.rs` tests how a log-in goes on and ends.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use discussions::{app, config::JwtAlgorithm};
use reqwest::{Method, header};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    app::{Answer, PATIENCE, TestApp, TestDatabase, UserId, config},
    logs::Log,
};

/// The password of all hashes here. Django 5.2 has made them, of lower cost than usual.
pub(crate) const PASSWORD: &str = "correct horse ü 7";
const PBKDF2: &str = "pbkdf2_sha256$1000$seasalt1$7aPWpb0tGc7yEzsdqCdxNJgz6BSjPyxxAIJ2hagDrMQ=";
const OTHERS: [&str; 5] = [
    "pbkdf2_sha1$1000$seasalt2$Y9e9YSthBaA1hMVyUTxpu0Hiun8=",
    "argon2$argon2id$v=19$m=256,t=2,p=2$c2Vhc2FsdDNzZWFzYWx0Mw$tW6ARvDc/zuGH4UtA4V2lFa8RmeN0QliVRToBRNVO5M",
    "bcrypt_sha256$$2b$04$8x/j9qWLvgGMTAe37Z.MterKcBH7U1gFO.xVQEh0UJrYEm7.LfoCu",
    "bcrypt$$2b$04$1sUFZWalBAps/8X3FSrtOuD7czORFSQdxfXxdrGQJ7WGzfsNKruiG",
    "scrypt$256$seasalt5$8$1$w3rkm54rOsa+cx/Kksex45XjIVENUkEEwQSqnG5/TVPD+4lQFfOFmLxMLs/j/X18LmfAr2Jm3mdvvirYnu1+SA==",
];
const UNUSABLE: &str = "!aPRkQtiQX2CZ8YM1lhnaDDuBPCaPUIG1G0qoNjHU";

pub(crate) async fn start() -> TestApp {
    TestApp::start_with(|config| config.login.password_login = true).await
}

/// A user with a password.
pub(crate) async fn user(app: &TestApp, name: &str) -> UserId {
    with_password(app, name, PBKDF2).await
}

async fn with_password(app: &TestApp, name: &str, password: &str) -> UserId {
    let user = app.user(name).await;
    let credentials = sqlx::query("insert into credentials (user_id, email, password) values ($1, $2, $3)");
    let address = format!("{name}@Example.org");
    credentials.bind(user).bind(address).bind(password).execute(&app.pool).await.unwrap();
    user
}

/// A hash by Argon2id with our cost, of [`PASSWORD`].
async fn stored(app: &TestApp, user: UserId) -> String {
    let stored = sqlx::query_scalar("select password from credentials where user_id = $1");
    stored.bind(user).fetch_one(&app.pool).await.unwrap()
}

#[track_caller]
fn is_argon2(password: &str) {
    assert!(password.starts_with("argon2$argon2id$v=19$m=19456,t=2,p=1$"), "{password}");
}

pub(crate) async fn log_in(app: &TestApp, name: &str, password: &str) -> Answer {
    app.anonymous().post("/auth/login", json!({ "username": name, "password": password })).await
}

fn claims(token: &Value) -> Value {
    let payload = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn without_the_setting_there_is_no_log_in() {
    let app = TestApp::start_with(|config| config.limits.logins_per_minute = 1).await;
    user(&app, "ada").await;
    for path in ["/auth/login", "/auth/refresh", "/auth/logout"] {
        for method in [Method::POST, Method::GET, Method::PUT] {
            let anyone = app.anonymous();
            let body = json!({ "username": "ada", "password": PASSWORD });
            anyone.send(anyone.request(method, path).json(&body)).await.refused(404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_sign_does_not_offer_it() {
    let database = TestDatabase::create().await;
    let mut config = config(&database.url);
    config.login.password_login = true;
    config.jwt.jwt_algorithm = JwtAlgorithm::EdDsa;
    config.jwt.jwt_public_key = Some(include_str!("keys/ed.pub").to_owned());
    let refused = app::start(config, tokio::runtime::Handle::current()).await.err().expect("it has only a public key");
    let said = format!("{refused:#}");
    assert!(said.contains("PASSWORD_LOGIN") && said.contains("JWT_SECRET"), "{said}");
}

#[tokio::test]
async fn who_knows_the_password_gets_tokens_like_those_of_django() {
    let app = TestApp::start_with(|config| {
        config.login.password_login = true;
        config.login.access_token_seconds = 600;
        config.jwt.jwt_audience = vec!["discussions".to_owned(), "others".to_owned()];
        config.jwt.jwt_issuer = vec!["https://scicommons.example".to_owned()];
    })
    .await;
    let ada = user(&app, "ada").await;
    let community = app.community("private").await;
    app.join(ada, community, "member").await;
    let article = app.article(&[community]).await;

    let answer = log_in(&app, "ada", PASSWORD).await;
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert!(!answer.headers.contains_key(header::SET_COOKIE));
    let tokens = answer.expect(200);
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(tokens["user"], json!({ "id": ada, "username": "ada", "avatar_url": null }));
    let claims = claims(&tokens["access"]);
    assert_eq!((&claims["token_type"], &claims["user_id"]), (&json!("access"), &json!(ada)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!("discussions"), &json!("https://scicommons.example")));
    assert_eq!(claims["jti"].as_str().unwrap().len(), 32);

    let ada = app.bearer(ada, tokens["access"].as_str().unwrap().to_owned());
    ada.discussion(article, community, "Sample size").await;
    app.settled().await;
    ada.register().await.now().await;
    // A refresh token gives no access.
    let refresh = app.bearer(0, tokens["refresh"].as_str().unwrap().to_owned());
    refresh.get("/session").await.refused(401, "token_invalid");
}

#[tokio::test]
async fn every_hash_of_django_is_replaced_by_argon2id_at_the_next_log_in() {
    let app = start().await;
    for (number, hash) in OTHERS.iter().chain([&PBKDF2]).enumerate() {
        let name = format!("user{number}");
        let user = with_password(&app, &name, hash).await;
        log_in(&app, &name, "correct horse").await.refused(401, "credentials_invalid");
        assert_eq!(stored(&app, user).await, *hash, "a wrong password changes nothing");
        log_in(&app, &name, PASSWORD).await.expect(200);
        let rehashed = stored(&app, user).await;
        is_argon2(&rehashed);
        log_in(&app, &name, PASSWORD).await.expect(200);
        assert_eq!(stored(&app, user).await, rehashed);
        log_in(&app, &name, "correct horse").await.refused(401, "credentials_invalid");
    }
}

#[tokio::test]
async fn names_are_exact_and_addresses_are_not() {
    let app = start().await;
    user(&app, "Ada").await;
    let (emmy, grace) = (user(&app, "emmy").await, user(&app, "grace").await);
    for (name, is_known) in [
        ("Ada", true),
        ("ada", false),
        ("Ada ", false),
        ("Ada@Example.org", true),
        ("ADA@EXAMPLE.ORG", true),
        ("ada@example.org", true),
        ("ada@example.or", false),
        ("%", false),
        ("Ad_", false),
    ] {
        let answer = log_in(&app, name, PASSWORD).await;
        if is_known { _ = answer.expect(200) } else { _ = answer.refused(401, "credentials_invalid") }
    }
    // An address of two accounts is the address of none. Neither is one that is the name of another.
    app.sql(&format!("update credentials set email = 'EMMY@example.org' where user_id = {grace}")).await;
    log_in(&app, "emmy@example.org", PASSWORD).await.refused(401, "credentials_invalid");
    log_in(&app, "emmy", PASSWORD).await.expect(200);
    app.sql(&format!("update credentials set email = 'Ada' where user_id = {emmy}")).await;
    log_in(&app, "Ada", PASSWORD).await.refused(401, "credentials_invalid");

    for (name, password, field) in [
        ("", "x", "username"),
        ("a\0", "x", "username"),
        (&*"a".repeat(255), "x", "username"),
        ("ada", "", "password"),
        ("ada", &*"x".repeat(4_097), "password"),
    ] {
        let refusal = log_in(&app, name, password).await.refused(422, "invalid_fields");
        assert_eq!(refusal["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), [field]);
    }
    log_in(&app, &"ü".repeat(254), &"x".repeat(4_096)).await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn refusals_do_not_tell_who_has_an_account() {
    let app = TestApp::start_with(|config| {
        config.login.password_login = true;
        config.login.django_password_rounds = 200_000;
    })
    .await;
    user(&app, "ada").await;
    user(&app, "rehashed").await;
    log_in(&app, "rehashed", PASSWORD).await.expect(200);
    let inactive = user(&app, "inactive").await;
    app.sql(&format!("update users set is_active = false where id = {inactive}")).await;
    with_password(&app, "unusable", UNUSABLE).await;
    app.user("nothing").await;

    let refusals = [
        ("nobody", PASSWORD),
        ("ada", "wrong"),
        ("rehashed", "wrong"),
        ("inactive", PASSWORD),
        ("inactive", "wrong"),
        ("unusable", PASSWORD),
        ("unusable", UNUSABLE),
        ("nothing", PASSWORD),
    ];
    // The fastest of each kind, which other work on the machine has delayed least. That all do the same work is tested beside the
    // code. Here a kind that takes a shorter way would be found, which is faster many times over.
    let mut fastest = [Duration::MAX; 8];
    let mut answers = Vec::new();
    for _ in 0..6 {
        for (fastest, (name, password)) in fastest.iter_mut().zip(refusals) {
            let start = Instant::now();
            let mut answer = log_in(&app, name, password).await;
            *fastest = start.elapsed().min(*fastest);
            for differs in ["x-request-id", "date"] {
                answer.headers.remove(differs);
            }
            answers.push((answer.status, answer.headers, answer.body));
        }
    }
    assert_eq!(answers[0].2["code"], "credentials_invalid");
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:#?}");
    let (least, most) = (fastest.iter().min().unwrap(), fastest.iter().max().unwrap());
    assert!(*most < 5 * *least, "{fastest:?}");
}

#[tokio::test]
async fn log_ins_are_limited_by_name_and_by_address() {
    let app = TestApp::start_with(|config| {
        config.login.password_login = true;
        config.limits.logins_per_minute = 6;
        config.limits.trusted_proxies = "127.0.0.0/8".parse().unwrap();
    })
    .await;
    user(&app, "ada").await;
    let from = async |address: &str, name: &str, password: &str| {
        let request = app.anonymous().request(Method::POST, "/auth/login").header("x-forwarded-for", address);
        app.anonymous().send(request.json(&json!({ "username": name, "password": password }))).await
    };
    // A third may come at once, and of a name five times as many. Names that nobody has count too, and the case of a name does not matter.
    for name in ["ada", "nobody"] {
        let mut number = 0;
        let limited = loop {
            number += 1;
            assert!(number < 100, "{name} is limited");
            let name = if number % 2 == 0 { name.to_uppercase() } else { name.to_owned() };
            let answer = from(&format!("192.0.2.{number}"), &name, "wrong").await;
            if answer.status == 429 {
                break answer;
            }
            answer.refused(401, "credentials_invalid");
        };
        assert!(number > 10, "{number}");
        assert!((1..=10).contains(&limited.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap()));
        limited.refused(429, "rate_limited");
    }
    for name in ["a", "b"] {
        from("198.51.100.7", name, "wrong").await.refused(401, "credentials_invalid");
    }
    for name in ["c", "d"] {
        let limited = from("198.51.100.7", name, "wrong").await;
        assert!(limited.headers.contains_key(header::RETRY_AFTER));
        limited.refused(429, "rate_limited");
    }
    // A token makes no difference.
    let stranger = app.client(app.user("grace").await);
    let request = stranger.request(Method::POST, "/auth/login").header("x-forwarded-for", "198.51.100.7");
    stranger.send(request.json(&json!({ "username": "e", "password": "wrong" }))).await.refused(429, "rate_limited");
    from("198.51.100.8", "e", "wrong").await.refused(401, "credentials_invalid");
}

/// Starts a log-in and returns once it waits for a lock.
async fn blocked_log_in(app: &TestApp, name: &'static str) -> JoinHandle<Answer> {
    let anyone = app.anonymous();
    let body = json!({ "username": name, "password": PASSWORD });
    let answer = tokio::spawn(async move { anyone.post("/auth/login", body).await });
    let start = Instant::now();
    while waiting(app).await.is_empty() {
        assert!(start.elapsed() < PATIENCE, "it waits");
    }
    answer
}

/// The backends of log-ins that wait for a lock. The purge may wait for one too.
async fn waiting(app: &TestApp) -> Vec<i32> {
    let waiting = "select pid from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and query not like 'delete from logins where expires_at%'";
    sqlx::query_scalar(waiting).fetch_all(&app.pool).await.unwrap()
}

#[tokio::test]
async fn a_password_that_changes_meanwhile_is_not_lost() {
    let app = start().await;
    let ada = user(&app, "ada").await;
    for ends in [
        format!("update credentials set password = '{UNUSABLE}' where user_id = {ada}"),
        format!("update users set is_active = false where id = {ada}"),
        format!("delete from credentials where user_id = {ada}"),
    ] {
        app.sql(&format!("update credentials set password = '{PBKDF2}' where user_id = {ada}")).await;
        let mut change = app.pool.begin().await.unwrap();
        sqlx::query(&ends).execute(&mut *change).await.unwrap();
        let answer = blocked_log_in(&app, "ada").await;
        change.commit().await.unwrap();
        answer.await.unwrap().refused(401, "credentials_invalid");
        let kept: Option<String> =
            sqlx::query_scalar("select password from credentials").fetch_optional(&app.pool).await.unwrap();
        assert!(kept.is_none_or(|kept| !kept.starts_with("argon2")), "{ends}");
        app.sql("update users set is_active = true").await;
    }
    assert_eq!(sqlx::query_scalar::<_, i64>("select count(*) from logins").fetch_one(&app.pool).await.unwrap(), 0);
}

#[tokio::test]
async fn two_log_ins_at_once_both_succeed() {
    let app = start().await;
    let ada = user(&app, "ada").await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("select from credentials for update").execute(&mut *lock).await.unwrap();
    let first = blocked_log_in(&app, "ada").await;
    let second = tokio::spawn({
        let anyone = app.anonymous();
        async move { anyone.post("/auth/login", json!({ "username": "ADA@example.org", "password": PASSWORD })).await }
    });
    let start = Instant::now();
    while waiting(&app).await.len() < 2 {
        assert!(start.elapsed() < PATIENCE, "both wait");
    }
    lock.commit().await.unwrap();
    for answer in [first, second] {
        answer.await.unwrap().expect(200);
    }
    is_argon2(&stored(&app, ada).await);
}

#[tokio::test]
async fn a_log_in_that_is_killed_leaves_the_password_as_it_was() {
    let app = start().await;
    let ada = user(&app, "ada").await;
    // It has hashed anew, and is at its last statement.
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("lock table logins in access exclusive mode").execute(&mut *lock).await.unwrap();
    let answer = blocked_log_in(&app, "ada").await;
    let pids = waiting(&app).await;
    sqlx::query("select pg_terminate_backend(pid) from unnest($1) pid").bind(pids).execute(&app.pool).await.unwrap();
    answer.await.unwrap().refused(503, "unavailable");
    lock.commit().await.unwrap();
    assert_eq!(stored(&app, ada).await, PBKDF2);
    log_in(&app, "ada", PASSWORD).await.expect(200);
    is_argon2(&stored(&app, ada).await);
}

#[tokio::test]
async fn no_log_has_a_password_or_a_token() {
    let log = Log::capture();
    let app = start().await;
    user(&app, "ada").await;
    let anyone = app.anonymous();
    let tokens = log_in(&app, "ada", PASSWORD).await.expect(200);
    log_in(&app, "ada", "a wrong password").await.refused(401, "credentials_invalid");
    log_in(&app, "a secret in the wrong field", PASSWORD).await.refused(401, "credentials_invalid");
    let first = json!({ "refresh": tokens["refresh"] });
    let next = anyone.post("/auth/refresh", first.clone()).await.expect(200);
    anyone.post("/auth/refresh", json!({ "refresh": next["refresh"] })).await.expect(200);
    app.sql("update logins set used = '[]'").await;
    anyone.post("/auth/refresh", first.clone()).await.refused(401, "token_invalid");
    anyone.post("/auth/logout", first).await.expect(204);
    anyone.post("/auth/login", json!({ "username": 1, "password": [PASSWORD] })).await.refused(422, "invalid_fields");
    let text = log.text();
    assert!(text.contains("/auth/refresh") && text.contains("used twice"), "{text}");
    let mut secrets = vec![PASSWORD, "a wrong password", "a secret in the wrong field", "$argon2id$"];
    secrets.extend(
        [&tokens, &next]
            .into_iter()
            .flat_map(|tokens| [&tokens["access"], &tokens["refresh"]])
            .filter_map(Value::as_str),
    );
    for secret in secrets {
        assert!(!text.contains(secret), "{secret}");
    }
}
