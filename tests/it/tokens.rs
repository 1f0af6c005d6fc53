//! Which tokens are valid: audiences, issuers, secrets that change, and a proxy in front with its own password.

use discussions::{app, auth::jwt};
use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::app::{Answer, Client, TestApp, TestDatabase, config};

const NEW: &str = "the secret of now that is long enough";
const OLD: &str = "the secret of before that is long enough";

fn claims(change: Value) -> Value {
    let exp = chrono::Utc::now().timestamp() + 300;
    let mut claims = json!({ "token_type": "access", "exp": exp, "user_id": 1 });
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    claims
}

fn signed(secret: &str, change: Value) -> String {
    jsonwebtoken::encode(&Header::default(), &claims(change), &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

async fn who(app: &TestApp, token: String) -> Answer {
    app.bearer(1, token).get("/session").await
}

#[tokio::test]
async fn audience_and_issuer_are_checked_if_they_are_set() {
    let app = TestApp::start_with(|config| config.jwt.jwt_secret = Some(OLD.into())).await;
    app.user("ada").await;
    let says = [
        json!({}),
        json!({ "aud": "discussions" }),
        json!({ "aud": ["others", "discussions"] }),
        json!({ "aud": "others", "iss": "others" }),
        json!({ "aud": 7, "iss": 7 }),
        json!({ "aud": "discussions", "iss": "https://scicommons.org" }),
        json!({ "aud": ["next"], "iss": "staging" }),
        json!({ "aud": [], "iss": "staging" }),
        json!({ "aud": "Discussions", "iss": "staging" }),
        json!({ "aud": "discussions,next", "iss": "staging" }),
    ];
    for said in &says {
        who(&app, signed(OLD, said.clone())).await.expect(200);
    }

    let app = TestApp::on(app.database.clone(), |config| {
        config.jwt.jwt_secret = Some(OLD.into());
        config.jwt.jwt_audience = vec!["discussions".to_owned(), " next".to_owned()];
        config.jwt.jwt_issuer = vec!["https://scicommons.org".to_owned(), "staging".to_owned(), String::new()];
    })
    .await;
    let mut good = Vec::new();
    for said in &says {
        let answer = who(&app, signed(OLD, said.clone())).await;
        match answer.status {
            200 => good.push(said.clone()),
            _ => drop(answer.refused(401, "token_invalid")),
        }
    }
    assert_eq!(good, says[5..7]);
    // Tokens that this program signs itself are valid there.
    who(&app, jwt::mint(&app.state.config.jwt, 1.into(), None, 60).unwrap()).await.expect(200);
    who(&app, jwt::mint(OLD, 1.into(), None, 60).unwrap()).await.refused(401, "token_invalid");
    let expired = json!({ "exp": 1, "aud": "discussions", "iss": "staging" });
    who(&app, signed(OLD, expired)).await.refused(401, "token_expired");
}

#[tokio::test]
async fn a_secret_is_changed_without_a_log_out() {
    let database = std::sync::Arc::new(TestDatabase::create().await);
    for (setting, old, new) in [
        (OLD.to_owned(), true, false),
        (format!("{OLD},{NEW}"), true, true),
        (format!("{NEW}, {OLD}"), true, true),
        (format!("{NEW},"), false, true),
        (NEW.to_owned(), false, true),
    ] {
        let app = TestApp::on(database.clone(), |config| config.jwt.jwt_secret = Some(setting.as_str().into())).await;
        app.sql("insert into users (id, username) values (1, 'ada') on conflict do nothing").await;
        for (secret, is_good) in [(OLD, old), (NEW, new), ("the secret of nobody", false)] {
            let answer = who(&app, signed(secret, json!({}))).await;
            assert_eq!(answer.status, if is_good { 200 } else { 401 }, "{setting}: {secret}");
            // The fast path caches the last valid token of a connection.
            let poll = "/poll?queue_id=00000000-0000-4000-8000-000000000000&last_event_id=0&timeout=0";
            let answer = app.bearer(1, signed(secret, json!({}))).get(poll).await;
            assert_eq!(answer.status, if is_good { 404 } else { 401 }, "{setting}: {secret}");
        }
        let expired = who(&app, signed(NEW, json!({ "exp": 1 }))).await;
        assert_eq!(expired.body["code"], if new { "token_expired" } else { "token_invalid" });
        // The first secret signs.
        let minted = jwt::mint(&app.state.config.jwt, 1.into(), None, 60).unwrap();
        let first = if setting.starts_with(OLD) { OLD } else { NEW };
        let only = TestApp::on(database.clone(), |config| config.jwt.jwt_secret = Some(first.into())).await;
        who(&only, minted).await.expect(200);
    }
    let mut config = config(&database.url);
    config.jwt.jwt_secret = Some(format!("{NEW},short").into());
    let error =
        app::start(config, tokio::runtime::Handle::current()).await.err().expect("a secret that can be guessed");
    assert!(format!("{error:#}").contains("JWT_SECRET"), "{error:#}");
}

/// Sends a request as a browser that also sends a proxy's password.
async fn behind_a_proxy(client: &Client, method: Method, path: &str, cookie: &str, body: Option<Value>) -> Answer {
    let mut request = client
        .request(method, path)
        .header(header::AUTHORIZATION, "Basic YWRhOmFkYQ==")
        .header(header::COOKIE, cookie)
        .header(header::ORIGIN, "http://127.0.0.1:3000");
    if let Some(body) = body {
        request = request.json(&body);
    }
    client.send(request).await
}

#[tokio::test]
async fn a_proxy_may_ask_for_a_password_of_its_own() {
    for direct in [true, false] {
        let app = TestApp::start_with(|config| config.direct_polls = direct).await;
        let community = app.community("public").await;
        let article = app.article(&[community]).await;
        let ada = app.member("ada", community).await;
        app.settled().await;
        let set = ada.post("/session", json!({})).await.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
        let cookie = set.split(';').next().unwrap();
        let browser = app.anonymous();

        let list = format!("/articles/{article}/discussions");
        behind_a_proxy(&browser, Method::GET, &list, "", None).await.expect(200);
        behind_a_proxy(&browser, Method::GET, "/session", "", None).await.refused(401, "token_missing");
        behind_a_proxy(&browser, Method::GET, "/session", cookie, None).await.expect(200);
        let new = json!({ "community_id": community, "topic": "Power", "text": "Enough?" });
        behind_a_proxy(&browser, Method::POST, &list, cookie, Some(new)).await.expect(201);
        let queue = behind_a_proxy(&browser, Method::POST, "/register", cookie, None).await.expect(200);
        let poll = format!("/poll?queue_id={}&last_event_id=0&timeout=0", queue["queue_id"].as_str().unwrap());
        behind_a_proxy(&browser, Method::GET, &poll, cookie, None).await.expect(200);
        behind_a_proxy(&browser, Method::GET, &poll, "", None).await.refused(401, "token_missing");
        let heartbeat = json!({ "queue_id": queue["queue_id"] });
        behind_a_proxy(&browser, Method::POST, "/heartbeat", cookie, Some(heartbeat)).await.expect(204);
        // A token counts even beside the password, in any order.
        behind_a_proxy(&ada, Method::GET, "/session", "", None).await.expect(200);
        let request = browser.request(Method::GET, &poll).header(header::AUTHORIZATION, "Basic YWRhOmFkYQ==");
        browser.send(request.bearer_auth(ada.token.as_deref().unwrap())).await.expect(200);
    }
}
