//! Bearer tokens of every kind, sessions of browsers, and allowed origins.

use std::path::Path;

use discussions::{app, config::JwtAlgorithm};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::app::{Answer, Client, PAGE, SECRET, TestApp, TestDatabase, config};

/// Made by simplejwt 5.5.1 with `SECRET` for user "1", valid for a hundred years.
const SIMPLEJWT_ACCESS: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0b2tlbl90eXBlIjoiYWNjZXNzIiwiZXhwIjo0OTQ5MDQwODI0LCJpYXQiOjE3OTU0NDA4MjQsImp0aSI6IjA0Nzc4ZDI5YzNlMTRkNjQ5OTIyYWYwNGI0MzM5MmFhIiwidXNlcl9pZCI6IjEifQ.4JNetgEo8fz3ORE_IMIHYS0oBs0J1Yd9Z3YsN2aMRTc";
const SIMPLEJWT_REFRESH: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCIsImV4cCI6NDk0OTA0MDgyNCwiaWF0IjoxNzk1NDQwODI0LCJqdGkiOiIwMGUzZDA1Mjc5MGQ0ODE1YWNjMDRhY2UyNTFmNDI1YyIsInVzZXJfaWQiOiIxIn0.6uLFoEAVJjpboGw7opaH0VtNKnGduqgFCbtv-gGf5O4";

/// Keys that only the tests use, made with `openssl genpkey`.
mod keys {
    pub(super) const RSA: &str = include_str!("keys/rsa.pem");
    pub(super) const RSA_PUBLIC: &str = include_str!("keys/rsa.pub");
    pub(super) const EC: &str = include_str!("keys/ec.pem");
    pub(super) const EC_PUBLIC: &str = include_str!("keys/ec.pub");
    pub(super) const ED: &str = include_str!("keys/ed.pem");
    pub(super) const ED_PUBLIC: &str = include_str!("keys/ed.pub");
}

fn in_seconds(seconds: i64) -> i64 {
    chrono::Utc::now().timestamp() + seconds
}

/// The claims of a valid access token of user 1, changed by `change`. A null removes a claim.
fn claims(change: Value) -> Value {
    let mut claims =
        json!({ "token_type": "access", "exp": in_seconds(300), "iat": in_seconds(0), "jti": "1", "user_id": 1 });
    let object = claims.as_object_mut().unwrap();
    object.extend(change.as_object().unwrap().clone());
    object.retain(|_, value| !value.is_null());
    claims
}

fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).unwrap()
}

fn hs256(claims: &Value) -> String {
    signed(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), claims)
}

async fn with_header(app: &TestApp, path: &str, authorization: impl AsRef<[u8]>) -> Answer {
    let value = header::HeaderValue::from_bytes(authorization.as_ref()).unwrap();
    let anyone = app.anonymous();
    anyone.send(anyone.request(Method::GET, path).header(header::AUTHORIZATION, value)).await
}

/// Asks the server for the token's user.
async fn who(app: &TestApp, token: &str) -> Answer {
    with_header(app, "/session", format!("Bearer {token}")).await
}

#[tokio::test]
async fn tokens_are_what_simplejwt_makes() {
    let app = TestApp::start().await;
    assert_eq!(app.user("ada").await, 1);
    let ada = json!({ "id": 1, "username": "ada", "avatar_url": null });

    assert_eq!(who(&app, SIMPLEJWT_ACCESS).await.expect(200)["user"], ada);
    who(&app, SIMPLEJWT_REFRESH).await.refused(401, "token_invalid");
    for good in [
        json!({}),
        json!({ "user_id": "1" }),
        json!({ "iat": null, "jti": null }),
        json!({ "exp": in_seconds(300) as f64 + 0.5 }),
        json!({ "nbf": in_seconds(-5) }),
        json!({ "more": { "of": "anything" } }),
    ] {
        assert_eq!(who(&app, &hs256(&claims(good.clone()))).await.expect(200)["user"], ada, "{good}");
    }
    for bad in [
        json!({ "token_type": "refresh" }),
        json!({ "token_type": null }),
        json!({ "token_type": 1 }),
        json!({ "exp": null }),
        json!({ "exp": "soon" }),
        json!({ "nbf": in_seconds(60) }),
        json!({ "user_id": null }),
        json!({ "user_id": "ada" }),
        json!({ "user_id": "" }),
        json!({ "user_id": 1.5 }),
        json!({ "user_id": true }),
        json!({ "user_id": [1] }),
        json!({ "user_id": 0 }),
        json!({ "user_id": "-1" }),
        json!({ "user_id": "9223372036854775808" }),
        // An invalid list must not count as no list.
        json!({ "communities": "1" }),
        json!({ "communities": ["all"] }),
        json!({ "communities": { "1": true } }),
    ] {
        let refused = who(&app, &hs256(&claims(bad.clone()))).await;
        assert_eq!((refused.status, &refused.body["code"]), (401, &json!("token_invalid")), "{bad}");
    }
    who(&app, &hs256(&claims(json!({ "user_id": 2 })))).await.refused(401, "token_invalid");
    // `exp` is the first second in which the token is no longer valid.
    for exp in [-1, 0] {
        who(&app, &hs256(&claims(json!({ "exp": in_seconds(exp) })))).await.refused(401, "token_expired");
    }
    // The issuer's clock may be a little fast. `iat` may be missing.
    for iat in [json!(in_seconds(-9_999)), json!(in_seconds(30)), json!(0.5), Value::Null] {
        who(&app, &hs256(&claims(json!({ "iat": iat })))).await.expect(200);
    }
    for iat in [json!(in_seconds(120)), json!(1e300), json!("yesterday")] {
        who(&app, &hs256(&claims(json!({ "iat": iat })))).await.refused(401, "token_invalid");
    }
    let expired_and_forged = signed(
        Algorithm::HS256,
        &EncodingKey::from_secret(b"another secret"),
        &claims(json!({ "exp": in_seconds(-1) })),
    );
    who(&app, &expired_and_forged).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn only_the_shared_secret_and_its_algorithm_sign() {
    let app = TestApp::start().await;
    app.user("ada").await;
    let good = hs256(&claims(json!({})));
    who(&app, &good).await.expect(200);

    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    // An issuer may say which parts of the header must be understood. This program understands none.
    for critical in [&["exp"][..], &["b64"], &[]] {
        let crit = Some(critical.iter().map(|&name| name.to_owned()).collect());
        let header = Header { crit, ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims(json!({})), &secret).unwrap();
        who(&app, &token).await.refused(401, "token_invalid");
    }
    let rsa = EncodingKey::from_rsa_pem(keys::RSA.as_bytes()).unwrap();
    let parts: Vec<_> = good.split('.').collect();
    // {"alg":"none","typ":"JWT"} and {"alg":"None"}
    let (none, none_again) = ("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", "eyJhbGciOiJOb25lIn0");
    for bad in [
        signed(Algorithm::HS256, &EncodingKey::from_secret(b"another secret"), &claims(json!({}))),
        signed(Algorithm::HS256, &EncodingKey::from_secret(b""), &claims(json!({}))),
        signed(Algorithm::HS384, &secret, &claims(json!({}))),
        signed(Algorithm::HS512, &secret, &claims(json!({}))),
        signed(Algorithm::RS256, &rsa, &claims(json!({}))),
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{none_again}.{}.", parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}."),
        format!("{}.{}.{}", parts[0], SIMPLEJWT_ACCESS.split('.').nth(1).unwrap(), parts[2]),
        good.replace('.', " "),
        "null".to_owned(),
        "..".to_owned(),
        "a".repeat(16_000),
    ] {
        let refused = who(&app, &bad).await;
        assert_eq!((refused.status, &refused.body["code"]), (401, &json!("token_invalid")), "{bad}");
    }
}

#[tokio::test]
async fn public_keys_check_what_private_keys_sign() {
    let all = [
        (JwtAlgorithm::Rs256, Algorithm::RS256, EncodingKey::from_rsa_pem(keys::RSA.as_bytes()), keys::RSA_PUBLIC),
        (JwtAlgorithm::Es256, Algorithm::ES256, EncodingKey::from_ec_pem(keys::EC.as_bytes()), keys::EC_PUBLIC),
        (JwtAlgorithm::EdDsa, Algorithm::EdDSA, EncodingKey::from_ed_pem(keys::ED.as_bytes()), keys::ED_PUBLIC),
    ];
    let all = all.map(|(setting, algorithm, key, public)| (setting, algorithm, key.unwrap(), public));
    for (setting, algorithm, key, public) in &all {
        let app = TestApp::start_with(|config| {
            config.jwt.jwt_algorithm = *setting;
            config.jwt.jwt_public_key = Some((*public).to_owned());
        })
        .await;
        app.user("ada").await;
        who(&app, &signed(*algorithm, key, &claims(json!({})))).await.expect(200);
        who(&app, &signed(*algorithm, key, &claims(json!({ "user_id": "1" })))).await.expect(200);
        let expired = signed(*algorithm, key, &claims(json!({ "exp": in_seconds(-1) })));
        who(&app, &expired).await.refused(401, "token_expired");
        let refresh = signed(*algorithm, key, &claims(json!({ "token_type": "refresh" })));
        who(&app, &refresh).await.refused(401, "token_invalid");

        // Neither the public key nor the secret beside it can be used to sign.
        for secret in [public.as_bytes(), public.trim().as_bytes(), SECRET.as_bytes(), b""] {
            let forged = signed(Algorithm::HS256, &EncodingKey::from_secret(secret), &claims(json!({})));
            who(&app, &forged).await.refused(401, "token_invalid");
        }
        for (_, other, key, _) in all.iter().filter(|(other, ..)| other != setting) {
            who(&app, &signed(*other, key, &claims(json!({})))).await.refused(401, "token_invalid");
        }
    }
}

#[tokio::test]
async fn a_public_key_may_be_a_file_or_one_line_and_a_wrong_setting_ends_the_start() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/keys/ed.pub").to_str().unwrap().to_owned();
    let key = EncodingKey::from_ed_pem(keys::ED.as_bytes()).unwrap();
    for setting in [file, keys::ED_PUBLIC.replace('\n', "\\n")] {
        let app = TestApp::start_with(|config| {
            config.jwt.jwt_algorithm = JwtAlgorithm::EdDsa;
            config.jwt.jwt_public_key = Some(setting);
        })
        .await;
        app.user("ada").await;
        who(&app, &signed(Algorithm::EdDSA, &key, &claims(json!({})))).await.expect(200);
    }

    let database = TestDatabase::create().await;
    let wrong = [
        (JwtAlgorithm::Hs256, None, None, "JWT_SECRET"),
        (JwtAlgorithm::Hs256, Some(""), Some(keys::RSA_PUBLIC), "JWT_SECRET"),
        (JwtAlgorithm::Hs256, Some("31 bytes are one fewer than due"), None, "JWT_SECRET has 31 bytes"),
        (JwtAlgorithm::Rs256, Some(SECRET), None, "JWT_PUBLIC_KEY"),
        (JwtAlgorithm::Rs256, None, Some(keys::ED_PUBLIC), "JWT_PUBLIC_KEY"),
        (JwtAlgorithm::Es256, None, Some("/no/such/file.pem"), "JWT_PUBLIC_KEY"),
        (JwtAlgorithm::EdDsa, None, Some("-----BEGIN PUBLIC KEY-----\nnonsense"), "JWT_PUBLIC_KEY"),
    ];
    for (algorithm, secret, public_key, named) in wrong {
        let mut config = config(&database.url);
        config.jwt.jwt_algorithm = algorithm;
        config.jwt.jwt_secret = secret.map(Into::into);
        config.jwt.jwt_public_key = public_key.map(str::to_owned);
        let error =
            app::start(config, tokio::runtime::Handle::current()).await.err().expect("such a setting ends the start");
        assert!(format!("{error:#}").contains(named), "{error:#}");
    }
}

#[tokio::test]
async fn each_refusal_of_a_header_has_its_code() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    app.user("ada").await;
    let good = hs256(&claims(json!({})));
    let public = format!("/articles/{article}/discussions");

    app.anonymous().get(&public).await.expect(200);
    let missing = app.anonymous().get("/session").await;
    assert_eq!(missing.headers["www-authenticate"], "Bearer");
    missing.refused(401, "token_missing");
    for (method, path) in [
        (Method::POST, "/register"),
        (Method::POST, "/heartbeat"),
        (Method::GET, "/poll?queue_id=x&last_event_id=0"),
        (Method::DELETE, "/queues/x"),
        (Method::POST, "/queues/x/close"),
        (Method::POST, "/articles/1/discussions"),
        (Method::PATCH, "/discussions/1"),
        (Method::DELETE, "/comments/1"),
        (Method::POST, "/session"),
    ] {
        let anyone = app.anonymous();
        anyone.send(anyone.request(method, path)).await.refused(401, "token_missing");
    }
    for scheme in ["Bearer", "bearer", "BEARER"] {
        with_header(&app, "/session", format!("{scheme} {good}")).await.expect(200);
    }
    // An invalid token is refused even where none is needed. Otherwise its owner would silently see less.
    for path in ["/session", &public] {
        for bad in ["Bearer", "Bearer ", "bearer", "Bearer a b c", "Bearer a.b.c", "Bearer Basic YWRhOmFkYQ=="] {
            with_header(&app, path, bad).await.refused(401, "token_invalid");
        }
        with_header(&app, path, b"Bearer \xff\xfe\xfd").await.refused(401, "token_invalid");
    }
    // Other schemes are ignored.
    for other in ["", "Basic YWRhOmFkYQ==", "Basic", "Token x", "Negotiate x", "Bearers x", &good] {
        with_header(&app, "/session", other).await.refused(401, "token_missing");
        with_header(&app, &public, other).await.expect(200);
    }
    with_header(&app, &public, b"Basic \xff").await.expect(200);
    app.anonymous().get(&format!("/session?token={good}&access_token={good}")).await.refused(401, "token_missing");
}

/// A browser with a session's cookie.
struct Browser {
    anyone: Client,
    cookie: String,
}

impl Browser {
    /// Signs in with the client's token.
    async fn of(app: &TestApp, client: &Client) -> Self {
        Self { anyone: app.anonymous(), cookie: client.session_cookie().await }
    }

    async fn send(&self, method: Method, path: &str, origin: Option<&str>, body: Option<Value>) -> Answer {
        let mut request = self.anyone.request(method, path).header(header::COOKIE, format!("a=b; {}", self.cookie));
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.anyone.send(request).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, None).await
    }
}

#[tokio::test]
async fn a_browser_gets_a_session_for_its_token() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let ada = app.with_role("ada", community, "reviewer").await;

    let answer = ada.post("/session", json!({})).await;
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    let info = json!({
        "user": { "id": ada.user, "username": "ada", "avatar_url": null },
        "communities": [{ "id": community, "name": "private", "slug": "private", "kind": "private", "role": "reviewer" }],
    });
    assert_eq!(answer.expect(200), info);
    let parts: Vec<_> = cookie.split("; ").collect();
    assert!(parts[0].starts_with("discussions_session="), "{cookie}");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"] {
        assert!(parts.contains(&part), "{part}: {cookie}");
    }
    assert!(!parts.contains(&"Secure"), "{cookie}");

    let browser = Browser::of(&app, &ada).await;
    assert_eq!(browser.get("/session").await.expect(200), info);
    browser.get(&format!("/articles/{article}/discussions")).await.expect(200);
    // If there is a token, only the token counts.
    let both = ada.request(Method::GET, "/session").header(header::COOKIE, "discussions_session=nonsense");
    ada.send(both).await.expect(200);
    for cookie in [
        "discussions_session=",
        "discussions_session=nonsense",
        "discussions_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let made_up = Browser { anyone: app.anonymous(), cookie: cookie.to_owned() };
        made_up.get("/session").await.refused(401, "token_missing");
        // A client cannot choose the id of a session.
        let begun = ada.send(ada.request(Method::POST, "/session").header(header::COOKIE, cookie)).await;
        assert!(!begun.headers[header::SET_COOKIE].to_str().unwrap().starts_with(&format!("{cookie};")));
        made_up.get("/session").await.refused(401, "token_missing");
    }
}

#[tokio::test]
async fn a_change_by_cookie_must_come_from_an_allowed_origin() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let comment = ada.comment(&discussion, "Nice").await;
    app.settled().await;
    let queue = ada.register().await;
    let browser = Browser::of(&app, &ada).await;

    let (of_discussion, of_comment) =
        (format!("/discussions/{}", discussion["id"]), format!("/comments/{}", comment["id"]));
    let new = json!({ "community_id": community, "topic": "Power", "text": "Enough?" });
    let calls = [
        (Method::POST, format!("/articles/{article}/discussions"), Some(new), 201),
        (Method::PATCH, of_discussion.clone(), Some(json!({ "topic": "Power" })), 200),
        (Method::POST, format!("{of_discussion}/comments"), Some(json!({ "text": "Nice" })), 201),
        (Method::PATCH, of_comment.clone(), Some(json!({ "text": "Nicer" })), 200),
        (Method::DELETE, of_comment, None, 204),
        (Method::DELETE, of_discussion, None, 204),
        (Method::POST, "/register".to_owned(), None, 200),
        (Method::POST, "/heartbeat".to_owned(), Some(json!({ "queue_id": queue.id })), 204),
        (Method::POST, format!("/queues/{}/close", queue.id), None, 204),
        (Method::DELETE, "/session".to_owned(), None, 204),
    ];
    for (method, path, body, status) in calls {
        let others = [
            None,
            Some("null"),
            Some("https://evil.example"),
            Some("http://127.0.0.1:3000.evil.example"),
            Some("https://127.0.0.1:3000"),
            Some("http://127.0.0.1"),
            Some(""),
        ];
        for origin in others {
            let refused = browser.send(method.clone(), &path, origin, body.clone()).await;
            assert_eq!(refused.body["code"], "origin_not_allowed", "{method} {path} {origin:?}: {}", refused.body);
            assert_eq!(refused.status, 403);
        }
        browser.send(method, &path, Some(PAGE), body).await.expect(status);
    }
    browser.get("/session").await.refused(401, "token_missing");
}

#[tokio::test]
async fn a_session_ends_with_the_log_out_the_next_sign_in_and_its_time() {
    let app = TestApp::start().await;
    let ada = app.client(app.user("ada").await);
    let browser = Browser::of(&app, &ada).await;
    browser.get("/session").await.expect(200);
    let ended = browser.send(Method::DELETE, "/session", Some(PAGE), None).await;
    let cookie = ended.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("discussions_session=;") && cookie.contains("Max-Age=0"), "{cookie}");
    ended.expect(204);
    browser.get("/session").await.refused(401, "token_missing");
    browser.send(Method::DELETE, "/session", Some(PAGE), None).await.expect(204);
    app.anonymous().delete("/session").await.expect(204);

    // Signing in again in the same browser begins a new session and ends the old one.
    let old = Browser::of(&app, &ada).await;
    let again = ada.send(ada.request(Method::POST, "/session").header(header::COOKIE, &old.cookie)).await;
    let new = Browser { anyone: app.anonymous(), cookie: again.cookie() };
    assert_ne!(new.cookie, old.cookie);
    old.get("/session").await.refused(401, "token_missing");
    new.get("/session").await.expect(200);

    app.sql("update sessions set expires_at = now() - interval '1 second'").await;
    new.get("/session").await.refused(401, "token_missing");
}

#[tokio::test]
async fn a_log_out_ends_the_polls_of_a_session_at_once_although_they_do_not_ask_each_time() {
    let app = TestApp::start().await;
    let ada = app.member("ada", app.community("private").await).await;
    app.settled().await;
    let queue = ada.register().await;
    let browser = Browser::of(&app, &ada).await;
    let poll = format!("/poll?queue_id={}&last_event_id={}&timeout=0", queue.id, queue.cursor);
    browser.get(&poll).await.expect(200);
    browser.get(&poll).await.expect(200);
    browser.send(Method::DELETE, "/session", Some(PAGE), None).await.expect(204);
    browser.get(&poll).await.refused(401, "token_missing");
}

#[tokio::test]
async fn a_session_is_as_narrow_as_the_token_it_was_given_for() {
    let app = TestApp::start().await;
    let communities = [app.community("private").await, app.community("private").await];
    let article = app.article(&communities).await;
    let ada = app.member("ada", communities[0]).await;
    app.join(ada.user, communities[1], "admin").await;
    let discussion = ada.discussion(article, communities[1], "Sample size").await;
    let path = format!("/discussions/{}", discussion["id"]);
    Browser::of(&app, &ada).await.get(&path).await.expect(200);
    let narrow = Browser::of(&app, &app.narrow_client(ada.user, &communities[..1])).await;
    narrow.get(&path).await.refused(403, "not_a_member");
    narrow.send(Method::DELETE, &path, Some(PAGE), None).await.refused(403, "not_a_member");
    assert_eq!(narrow.get("/session").await.expect(200)["communities"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_poll_by_cookie_writes_no_session() {
    let app = TestApp::start().await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    app.settled().await;
    let browser = Browser::of(&app, &grace).await;
    let sessions = async || -> Vec<(String, String, String)> {
        sqlx::query_as("select id, xmin::text, expires_at::text from sessions").fetch_all(&app.pool).await.unwrap()
    };
    let before = sessions().await;
    assert_eq!(before.len(), 1);

    let queue = browser.send(Method::POST, "/register", Some(PAGE), None).await.expect(200);
    let path =
        format!("/poll?queue_id={}&last_event_id={}", queue["queue_id"].as_str().unwrap(), queue["last_event_id"]);
    let parked = tokio::spawn({
        let browser = Browser { anyone: app.anonymous(), cookie: browser.cookie.clone() };
        let path = path.clone();
        async move { browser.get(&path).await }
    });
    app.until(|| app.state.realtime.hub.stats().parked == 1).await;
    ada.discussion(article, community, "Sample size").await;
    let answer = parked.await.unwrap();
    assert_eq!(answer.headers.get(header::SET_COOKIE), None);
    assert_eq!(answer.expect(200)["events"][0]["topic"], "Sample size");
    browser.get(&format!("/articles/{article}/discussions")).await.expect(200);
    assert_eq!(sessions().await, before);

    let nobody = Browser {
        anyone: app.anonymous(),
        cookie: "discussions_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    };
    nobody.get(&path).await.refused(401, "token_missing");
}

#[tokio::test]
async fn only_allowed_origins_get_cors_headers() {
    let app = TestApp::start().await;
    let anyone = app.anonymous();
    for path in ["/discussions/1", "/poll", "/session", "/register", "/no/such/path"] {
        for (origin, known) in [(PAGE, true), ("https://evil.example", false), ("null", false)] {
            let preflight = anyone
                .request(Method::OPTIONS, path)
                .header(header::ORIGIN, origin)
                .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH")
                .header(
                    header::ACCESS_CONTROL_REQUEST_HEADERS,
                    "authorization,content-type,idempotency-key,if-match,if-none-match",
                );
            let preflight = anyone.send(preflight).await;
            let plain = anyone.send(anyone.request(Method::GET, path).header(header::ORIGIN, origin)).await;
            assert_eq!(preflight.status, 200);
            for answer in [&preflight, &plain] {
                let allowed = answer.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
                assert_eq!(allowed.map(|origin| origin.to_str().unwrap()), known.then_some(origin), "{path}");
                assert!(answer.headers[header::VARY].to_str().unwrap().contains("origin"), "{path}");
                for (name, value) in &answer.headers {
                    assert!(!name.as_str().starts_with("access-control") || value != "*", "{name}: {value:?}");
                }
            }
            assert_eq!(preflight.headers[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
            let methods = preflight.headers[header::ACCESS_CONTROL_ALLOW_METHODS].to_str().unwrap();
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                assert!(methods.contains(method), "{methods}");
            }
            let headers = preflight.headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
            for name in ["authorization", "content-type", "idempotency-key", "if-match", "if-none-match"] {
                assert!(headers.contains(name), "{headers}");
            }
        }
    }
}
