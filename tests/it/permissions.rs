//! Who may read what and do what, and that no answer reveals the user behind a pseudonym.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, ArticleId, Client, CommunityId, TestApp, types};

/// All kinds of users, by increasing rights.
const EVERYBODY: [&str; 6] = ["anonymous", "outsider", "member", "reviewer", "moderator", "admin"];

/// A status, and the code of a refusal.
type Outcome = (u16, Option<&'static str>);

fn outcome(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.body["code"].as_str())
}

struct Fixture {
    app: TestApp,
    community: CommunityId,
    article: ArticleId,
    author: Client,
}

impl Fixture {
    async fn of_kind(kind: &str) -> Self {
        let app = TestApp::start_with(|config| config.login.password_login = true).await;
        let community = app.community(kind).await;
        let article = app.article(&[community]).await;
        let author = app.member("ada", community).await;
        Self { app, community, article, author }
    }

    async fn actor(&self, who: &str) -> Client {
        match who {
            "anonymous" => self.app.anonymous(),
            "outsider" => self.app.client(self.app.user("outsider").await),
            role => self.app.with_role(role, self.community, role).await,
        }
    }
}

/// The answer to each of [`EVERYBODY`], by the kind of the community. `missing` is the code for an unknown thing.
struct Rules {
    missing: &'static str,
}

impl Rules {
    fn read(&self, kind: &str, who: &str) -> Outcome {
        match (kind, who) {
            ("private", "anonymous") => (401, Some("token_missing")),
            ("private", "outsider") => (403, Some("not_a_member")),
            ("hidden", "anonymous" | "outsider") => (404, Some(self.missing)),
            _ => (200, None),
        }
    }

    /// None for those who may write, who have other rules.
    fn write(&self, kind: &str, who: &str) -> Option<Outcome> {
        match (kind, who) {
            ("open", "outsider") => None,
            _ => self.mark(kind, who),
        }
    }

    /// None for members.
    fn mark(&self, kind: &str, who: &str) -> Option<Outcome> {
        match (kind, who) {
            (_, "anonymous") => Some((401, Some("token_missing"))),
            ("hidden", "outsider") => Some((404, Some(self.missing))),
            (_, "outsider") => Some((403, Some("not_a_member"))),
            _ => None,
        }
    }
}

const NOT_AUTHOR: Outcome = (403, Some("not_author"));

/// Makes every call of one user on another user's texts, and checks the answers.
async fn calls(fixture: &Fixture, kind: &str, who: &str) {
    let Fixture { community, article, author, .. } = fixture;
    let actor = fixture.actor(who).await;
    let discussion = author.discussion(*article, *community, "Sample size").await;
    let comment = author.comment(&discussion, "Nice").await;
    let list = format!("/articles/{article}/discussions");
    let (of_discussion, of_comment) =
        (format!("/discussions/{}", discussion["id"]), format!("/comments/{}", comment["id"]));
    let comments = format!("{of_discussion}/comments");
    let here = |missing| Rules { missing };
    let (moderates, administers) = (matches!(who, "moderator" | "admin"), who == "admin");
    let deleted = if moderates { (204, None) } else { NOT_AUTHOR };
    let resolved = if moderates { (200, None) } else { (403, Some("not_allowed")) };
    let (in_list, in_community) = (here("article_not_found"), here("community_not_found"));
    let (at_discussion, at_comment) = (here("discussion_not_found"), here("comment_not_found"));

    let get = |path: &str| (Method::GET, path.to_owned(), Value::Null);
    let new = json!({ "community_id": community, "topic": "Power", "text": "Enough?" });
    let summary = format!("/articles/{article}/summary?community_id={community}");
    let of_admins = |done| if administers { (done, None) } else { (403, Some("not_allowed")) };
    let calls = [
        (get(&summary), in_community.read(kind, who)),
        (get(&format!("/articles/{article}/summary/revisions?community_id={community}")), in_community.read(kind, who)),
        (
            (Method::PUT, summary.clone(), json!({ "text": "In short" })),
            in_community.write(kind, who).unwrap_or(of_admins(200)),
        ),
        ((Method::DELETE, summary, Value::Null), in_community.write(kind, who).unwrap_or(of_admins(204))),
        (get(&list), in_list.read(kind, who)),
        (get(&format!("{list}?community_id={community}")), in_community.read(kind, who)),
        (get(&of_discussion), at_discussion.read(kind, who)),
        (get(&comments), at_discussion.read(kind, who)),
        (get(&of_comment), at_comment.read(kind, who)),
        ((Method::POST, list, new), in_community.write(kind, who).unwrap_or((201, None))),
        ((Method::POST, comments, json!({ "text": "Very" })), at_discussion.write(kind, who).unwrap_or((201, None))),
        (
            (Method::PATCH, of_discussion.clone(), json!({ "topic": "Mine now" })),
            at_discussion.write(kind, who).unwrap_or(NOT_AUTHOR),
        ),
        (
            (Method::PATCH, of_discussion.clone(), json!({ "text": "Mine now", "is_resolved": true })),
            at_discussion.write(kind, who).unwrap_or(NOT_AUTHOR),
        ),
        (
            (Method::PATCH, of_discussion.clone(), json!({ "is_resolved": true })),
            at_discussion.write(kind, who).unwrap_or(resolved),
        ),
        (
            (Method::PATCH, of_comment.clone(), json!({ "text": "Mine now" })),
            at_comment.write(kind, who).unwrap_or(NOT_AUTHOR),
        ),
        (
            (Method::PUT, format!("{of_comment}/vote"), json!({ "value": 1 })),
            at_comment.write(kind, who).unwrap_or((200, None)),
        ),
        (
            (Method::PUT, format!("{of_discussion}/vote"), json!({ "value": -1 })),
            at_discussion.write(kind, who).unwrap_or((200, None)),
        ),
        (
            (
                Method::POST,
                format!("{of_discussion}/read"),
                json!({ "discussion": true, "comment_ids": [comment["id"]] }),
            ),
            at_discussion.mark(kind, who).unwrap_or((204, None)),
        ),
        (
            (Method::PUT, format!("{of_discussion}/follow"), json!({ "level": "follow" })),
            at_discussion.mark(kind, who).unwrap_or((200, None)),
        ),
        (
            (Method::PUT, format!("/articles/{article}/follow"), json!({ "community_id": community, "level": "mute" })),
            in_community.mark(kind, who).unwrap_or((200, None)),
        ),
        (
            (Method::POST, format!("{of_discussion}/unread"), json!({})),
            at_discussion.mark(kind, who).unwrap_or((204, None)),
        ),
        (
            (Method::POST, format!("/articles/{article}/read"), json!({ "community_id": community })),
            in_community.mark(kind, who).unwrap_or((204, None)),
        ),
        (get("/follows"), (if who == "anonymous" { (401, Some("token_missing")) } else { (200, None) })),
        (get("/unread"), (if who == "anonymous" { (401, Some("token_missing")) } else { (200, None) })),
        (
            get(&format!("/communities/{community}/members?prefix=ada")),
            in_community.mark(kind, who).unwrap_or((200, None)),
        ),
        (
            get(&format!("/communities/{community}/members?article_id={article}")),
            in_community.mark(kind, who).unwrap_or((200, None)),
        ),
        (get("/notifications"), (if who == "anonymous" { (401, Some("token_missing")) } else { (200, None) })),
        (
            (Method::POST, "/notifications/read".to_owned(), json!({ "up_to_id": 1 })),
            (if who == "anonymous" { (401, Some("token_missing")) } else { (204, None) }),
        ),
        // Log-ins are the same for everybody.
        (
            (Method::POST, "/auth/login".to_owned(), json!({ "username": who, "password": "wrong" })),
            (401, Some("credentials_invalid")),
        ),
        ((Method::POST, "/auth/refresh".to_owned(), json!({ "refresh": "nonsense" })), (401, Some("token_invalid"))),
        ((Method::POST, "/auth/logout".to_owned(), json!({ "refresh": "nonsense" })), (204, None)),
        ((Method::DELETE, of_comment, Value::Null), at_comment.write(kind, who).unwrap_or(deleted)),
        ((Method::DELETE, of_discussion, Value::Null), at_discussion.write(kind, who).unwrap_or(deleted)),
    ];
    for ((method, path, body), expected) in calls {
        let request = actor.request(method.clone(), &path);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = actor.send(request).await;
        assert_eq!(outcome(&answer), expected, "{kind}: {who}: {method} {path} {body}: {}", answer.body);
    }
}

async fn matrix(kind: &str) {
    let fixture = Fixture::of_kind(kind).await;
    let Fixture { app, community, article, .. } = &fixture;
    let summary = format!("/articles/{article}/summary?community_id={community}");
    let summarist = app.with_role("summarist", *community, "admin").await;
    summarist.put(&summary, json!({ "text": "To begin with" })).await.expect(200);
    for who in EVERYBODY {
        calls(&fixture, kind, who).await;
    }
    // The refused calls have changed nothing. The admin's have.
    assert_eq!(summarist.put(&summary, json!({ "text": "Again" })).await.expect(200)["revision"], 4);
    let seen = fixture.author.get(&format!("/articles/{}/discussions?limit=100", fixture.article)).await.expect(200);
    let writers = if kind == "open" { 5 } else { 4 };
    assert_eq!(seen["discussions"].as_array().unwrap().len(), EVERYBODY.len() + writers);
    assert!(!seen.to_string().contains("Mine now"));
}

#[tokio::test]
async fn who_may_do_what_in_a_public_community() {
    matrix("public").await;
}

#[tokio::test]
async fn who_may_do_what_in_a_private_community() {
    matrix("private").await;
}

#[tokio::test]
async fn who_may_do_what_in_a_hidden_community() {
    matrix("hidden").await;
}

#[tokio::test]
async fn who_may_do_what_in_an_open_community() {
    matrix("open").await;
}

#[tokio::test]
async fn anyone_signed_in_writes_in_an_open_community() {
    let Fixture { app, community, article, author } = Fixture::of_kind("open").await;
    let elsewhere = app.community("private").await;
    let grace = app.client(app.user("grace").await);
    let others = author.discussion(article, community, "Sample size").await;
    app.settled().await;
    let mut queue = author.register().await;

    let discussion = grace.discussion(article, community, "Power").await;
    let path = format!("/discussions/{}", discussion["id"]);
    let comment = grace.comment(&others, "Nice").await;
    let of_comment = format!("/comments/{}", comment["id"]);
    grace.patch(&path, json!({ "topic": "Strength", "is_resolved": true })).await.expect(200);
    grace.patch(&of_comment, json!({ "text": "Nicer" })).await.expect(200);
    grace.put(&format!("/discussions/{}/vote", others["id"]), json!({ "value": 1 })).await.expect(200);
    let expected = ["new_discussion", "new_comment", "updated_discussion", "updated_comment", "votes_changed"];
    assert_eq!(types(&queue.events(5).await), expected);

    // Their vote is shown. What only members have is null, in the answers to writes too.
    let read = grace.get(&path).await.expect(200);
    let with_changes = grace.patch(&path, json!({ "text": "Enough?" })).await.expect(200);
    for shown in [&discussion, &read, &with_changes] {
        assert_eq!(
            (&shown["own_vote"], &shown["is_unread"], &shown["unread_count"]),
            (&json!(0), &Value::Null, &Value::Null)
        );
        assert_eq!(shown["author"]["username"], "grace");
    }
    let edited = grace.patch(&of_comment, json!({ "text": "Nicest" })).await.expect(200);
    let page = grace.get(&format!("/discussions/{}/comments", others["id"])).await.expect(200);
    for shown in [&comment, &edited, &grace.get(&of_comment).await.expect(200), &page["comments"][0]] {
        assert_eq!((&shown["own_vote"], &shown["is_unread"]), (&json!(0), &Value::Null), "{shown}");
    }
    let list = grace.get(&format!("/articles/{article}/discussions")).await.expect(200);
    assert_eq!(list["discussions"][1]["own_vote"], 1);
    assert_eq!(list["discussions"][1]["unread_count"], Value::Null);
    assert_eq!(list["viewer"]["memberships"], json!([]));
    let anonymous = app.anonymous().get(&path).await.expect(200);
    assert_eq!(anonymous["own_vote"], Value::Null);

    // A token that is narrower reads, and does not write. Neither does a user whose account has ended.
    let narrow = app.narrow_client(grace.user, &[elsewhere]);
    assert_eq!(narrow.get(&path).await.expect(200)["own_vote"], Value::Null);
    let new = json!({ "community_id": community, "topic": "Power", "text": "Enough?" });
    let calls = [
        (Method::POST, format!("/articles/{article}/discussions"), new),
        (Method::POST, format!("{path}/comments"), json!({ "text": "No" })),
        (Method::PATCH, path.clone(), json!({ "topic": "No" })),
        (Method::PATCH, of_comment.clone(), json!({ "text": "No" })),
        (Method::PUT, format!("/discussions/{}/vote", others["id"]), json!({ "value": 1 })),
        (Method::DELETE, of_comment.clone(), Value::Null),
    ];
    for (method, path, body) in &calls {
        narrow.send(narrow.request(method.clone(), path).json(body)).await.refused(403, "not_a_member");
    }
    app.sql(&format!("update users set is_active = false where id = {}", grace.user)).await;
    for (method, path, body) in &calls {
        grace.send(grace.request(method.clone(), path).json(body)).await.refused(401, "token_invalid");
    }
    app.sql(&format!("update users set is_active = true where id = {}", grace.user)).await;

    // Reading marks and follows are for members.
    let marks = json!({ "discussion": true });
    grace.post(&format!("{path}/read"), marks).await.refused(403, "not_a_member");
    grace.put(&format!("{path}/follow"), json!({ "level": "follow" })).await.refused(403, "not_a_member");
    let follow = json!({ "community_id": community, "level": "follow" });
    grace.put(&format!("/articles/{article}/follow"), follow).await.refused(403, "not_a_member");

    // It ends when the community is open no more.
    app.sql(&format!("update communities set kind = 'public' where id = {community}")).await;
    for (method, path, body) in &calls {
        grace.send(grace.request(method.clone(), path).json(body)).await.refused(403, "not_a_member");
    }
    app.sql(&format!("update communities set kind = 'open' where id = {community}")).await;
    grace.delete(&of_comment).await.expect(204);
    grace.delete(&path).await.expect(204);
}

#[tokio::test]
async fn a_pseudonymous_article_of_an_open_community_hides_those_who_are_no_members_too() {
    let Fixture { app, community, article, author } = Fixture::of_kind("open").await;
    app.sql(&format!("update community_articles set is_pseudonymous = true where community_id = {community}")).await;
    let grace = app.client(app.user("grace").await);
    let discussion = grace.discussion(article, community, "Sample size").await;
    let comment = grace.comment(&discussion, "Nice").await;
    assert_eq!(discussion["author"], comment["author"]);
    assert_eq!(comment["author"]["id"], Value::Null);
    let seen = author.get(&format!("/articles/{article}/discussions")).await.expect(200);
    assert!(!seen.to_string().contains("grace"));
}

#[tokio::test]
async fn authors_may_do_anything_with_their_own() {
    for kind in ["public", "private", "hidden"] {
        let fixture = Fixture::of_kind(kind).await;
        let ada = &fixture.author;
        let discussion = ada.discussion(fixture.article, fixture.community, "Sample size").await;
        let comment = ada.comment(&discussion, "Nice").await;
        let path = format!("/discussions/{}", discussion["id"]);
        let all = json!({ "topic": "Power", "text": "Enough?", "is_resolved": true });
        ada.patch(&path, all).await.expect(200);
        ada.patch(&format!("/comments/{}", comment["id"]), json!({ "text": "Nicer" })).await.expect(200);
        // A user who leaves has the rights of an outsider, also for their own texts.
        fixture.app.leave(ada.user, fixture.community).await;
        let refused = if kind == "hidden" { (404, "discussion_not_found") } else { (403, "not_a_member") };
        ada.patch(&path, json!({ "topic": "No" })).await.refused(refused.0, refused.1);
        ada.delete(&path).await.refused(refused.0, refused.1);
        fixture.app.join(ada.user, fixture.community, "member").await;
        ada.delete(&format!("/comments/{}", comment["id"])).await.expect(204);
        ada.delete(&path).await.expect(204);
    }
}

#[tokio::test]
async fn hidden_things_answer_exactly_like_unknown_ones() {
    let fixture = Fixture::of_kind("hidden").await;
    let Fixture { app, community, article, author } = &fixture;
    let discussion = author.discussion(*article, *community, "Sample size").await;
    let comment = author.comment(&discussion, "Nice").await;
    let open = app.community("public").await;
    let unknown = 999_999_999_i64;
    let new = |community: i64| json!({ "community_id": community, "topic": "Power", "text": "Enough?" });
    let open_article = app.article(&[open]).await;

    // Make each call twice, for an existing thing and for an unknown one.
    let calls = [
        (Method::GET, "/articles/{}/discussions", [*article, unknown], [Value::Null, Value::Null]),
        (Method::GET, "/articles/{}/discussions?community_id=2", [*article, unknown], [Value::Null, Value::Null]),
        (Method::GET, "/articles/1/discussions?community_id={}", [*community, unknown], [Value::Null, Value::Null]),
        (Method::POST, "/articles/{}/discussions", [*article, unknown], [new(*community), new(unknown)]),
        (Method::POST, "/articles/{}/discussions", [open_article; 2], [new(*community), new(unknown)]),
        (Method::POST, "/articles/{}/discussions", [*article, unknown], [new(open), new(open)]),
        (Method::POST, "/articles/1/read", [1; 2], [*community, unknown].map(|id| json!({ "community_id": id }))),
        (
            Method::PUT,
            "/articles/1/follow",
            [1; 2],
            [*community, unknown].map(|id| json!({ "community_id": id, "level": "mute" })),
        ),
        (Method::GET, "/articles/1/summary?community_id={}", [*community, unknown], [Value::Null, Value::Null]),
        (
            Method::GET,
            "/articles/1/summary/revisions?community_id={}",
            [*community, unknown],
            [Value::Null, Value::Null],
        ),
        (
            Method::PUT,
            "/articles/1/summary?community_id={}",
            [*community, unknown],
            [(); 2].map(|()| json!({ "text": "Mine" })),
        ),
        (Method::DELETE, "/articles/1/summary?community_id={}", [*community, unknown], [Value::Null, Value::Null]),
        (Method::GET, "/articles/{}/summary?community_id=2", [*article, unknown], [Value::Null, Value::Null]),
        (Method::GET, "/communities/{}/members", [*community, unknown], [Value::Null, Value::Null]),
        (Method::GET, "/communities/{}/members?article_id=1", [*community, unknown], [Value::Null, Value::Null]),
    ]
    .into_iter();
    let discussion = [discussion["id"].as_i64().unwrap(), unknown];
    let comment = [comment["id"].as_i64().unwrap(), unknown];
    let twice = |body: Value| [body.clone(), body];
    let more = [
        (Method::GET, "/discussions/{}", discussion, twice(Value::Null)),
        (Method::PATCH, "/discussions/{}", discussion, twice(json!({ "topic": "Mine" }))),
        (Method::PATCH, "/discussions/{}", discussion, twice(json!({ "topic": "" }))),
        (Method::DELETE, "/discussions/{}", discussion, twice(Value::Null)),
        (Method::POST, "/discussions/{}/read", discussion, twice(json!({ "up_to_comment_id": comment[0] }))),
        (Method::POST, "/discussions/{}/unread", discussion, twice(json!({}))),
        (Method::PUT, "/discussions/{}/follow", discussion, twice(json!({ "level": "follow" }))),
        (Method::GET, "/discussions/{}/comments", discussion, twice(Value::Null)),
        (Method::POST, "/discussions/{}/comments", discussion, twice(json!({ "text": "Mine" }))),
        (
            Method::POST,
            "/discussions/{}/comments",
            discussion,
            twice(json!({ "text": "Mine", "parent_id": comment[0] })),
        ),
        (Method::GET, "/comments/{}", comment, twice(Value::Null)),
        (Method::PATCH, "/comments/{}", comment, twice(json!({ "text": "Mine" }))),
        (Method::DELETE, "/comments/{}", comment, twice(Value::Null)),
    ];
    assert_eq!((*article, open), (1, 2), "the addresses above name them");
    let admin = app.with_role("emmy", *community, "admin").await;
    admin
        .put(&format!("/articles/1/summary?community_id={community}"), json!({ "text": "In short" }))
        .await
        .expect(200);
    let outsider = app.member("grace", open).await;
    for (method, path, ids, bodies) in calls.chain(more) {
        for client in [&outsider, &app.anonymous()] {
            let mut answers = Vec::new();
            for (id, body) in ids.iter().zip(&bodies) {
                let request = client.request(method.clone(), &path.replace("{}", &id.to_string()));
                let request = if body.is_null() { request } else { request.json(body) };
                let mut answer = client.send(request).await;
                assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.status);
                for differs in ["x-request-id", "date"] {
                    answer.headers.remove(differs);
                }
                answers.push((answer.status, answer.headers, answer.body));
            }
            assert_eq!(answers[0], answers[1], "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_narrow_token_narrows() {
    let app = TestApp::start().await;
    let kinds = ["private", "private", "hidden", "public"];
    let mut communities = Vec::new();
    for kind in kinds {
        communities.push(app.community(kind).await);
    }
    let article = app.article(&communities).await;
    let ada = app.user("ada").await;
    for community in &communities {
        app.join(ada, *community, "admin").await;
    }
    let broad = app.client(ada);
    let mut discussions = Vec::new();
    for community in &communities {
        discussions.push(broad.discussion(article, *community, "Sample size").await);
    }
    let narrow = app.narrow_client(ada, &communities[..1]);

    let list = format!("/articles/{article}/discussions");
    let page = narrow.get(&list).await.expect(200);
    let mut anyones = discussions[3].clone();
    for of_members in ["own_vote", "is_unread", "unread_count", "follow_level", "has_written", "is_followed"] {
        anyones[of_members] = Value::Null;
    }
    assert_eq!(page["discussions"], json!([anyones, discussions[0]]), "its own, and what anyone may read");
    assert_eq!(page["viewer"]["memberships"].as_array().unwrap().len(), 1);
    let info = narrow.post("/session", json!({})).await.expect(200);
    assert_eq!(info["communities"].as_array().unwrap().len(), 1);

    // For reading, writing and changing the token's user counts as no member of the other communities, even as author or admin.
    let outside = [(1, 403, "not_a_member"), (2, 404, "discussion_not_found")];
    for (other, status, code) in outside {
        let path = format!("/discussions/{}", discussions[other]["id"]);
        narrow.get(&path).await.refused(status, code);
        narrow.get(&format!("{path}/comments")).await.refused(status, code);
        narrow.post(&format!("{path}/comments"), json!({ "text": "No" })).await.refused(status, code);
        narrow.patch(&path, json!({ "topic": "No" })).await.refused(status, code);
        narrow.delete(&path).await.refused(status, code);
        narrow.post(&format!("{path}/read"), json!({ "discussion": true })).await.refused(status, code);
        narrow.post(&format!("{path}/unread"), json!({})).await.refused(status, code);
        narrow.put(&format!("{path}/follow"), json!({ "level": "mute" })).await.refused(status, code);
        let comment = broad.comment(&discussions[other], "Nice").await;
        let path = format!("/comments/{}", comment["id"]);
        let code = if status == 404 { "comment_not_found" } else { code };
        narrow.get(&path).await.refused(status, code);
        narrow.patch(&path, json!({ "text": "No" })).await.refused(status, code);
        narrow.delete(&path).await.refused(status, code);
        let code = if status == 404 { "community_not_found" } else { code };
        let new = json!({ "community_id": communities[other], "topic": "No", "text": "No" });
        narrow.post(&list, new).await.refused(status, code);
        let summary = format!("/articles/{article}/summary?community_id={}", communities[other]);
        narrow.get(&summary).await.refused(status, code);
        narrow.put(&summary, json!({ "text": "No" })).await.refused(status, code);
        narrow.delete(&summary).await.refused(status, code);
    }
    let public = format!("/discussions/{}", discussions[3]["id"]);
    narrow.get(&public).await.expect(200);
    narrow.patch(&public, json!({ "topic": "No" })).await.refused(403, "not_a_member");
    let summary = format!("/articles/{article}/summary?community_id={}", communities[3]);
    narrow.put(&summary, json!({ "text": "No" })).await.refused(403, "not_a_member");
    narrow.comment(&discussions[0], "Here I may").await;

    app.settled().await;
    let registration = narrow.post("/register", json!({})).await.expect(200);
    assert_eq!(registration["communities"], json!([communities[0]]));
    let registration = broad.post("/register", json!({})).await.expect(200);
    assert_eq!(registration["communities"], json!(communities));
}

#[tokio::test]
async fn a_token_that_names_more_widens_nothing() {
    let app = TestApp::start().await;
    let (mine, private, hidden) =
        (app.community("private").await, app.community("private").await, app.community("hidden").await);
    let article = app.article(&[mine, private, hidden]).await;
    let (ada, grace) = (app.user("ada").await, app.member("grace", private).await);
    app.join(grace.user, hidden, "member").await;
    app.join(ada, mine, "member").await;
    let there = [grace.discussion(article, private, "Ours").await, grace.discussion(article, hidden, "Secret").await];
    let wide = app.narrow_client(ada, &[mine, private, hidden, 999]);

    wide.get(&format!("/discussions/{}", there[0]["id"])).await.refused(403, "not_a_member");
    wide.get(&format!("/discussions/{}", there[1]["id"])).await.refused(404, "discussion_not_found");
    assert_eq!(wide.get(&format!("/articles/{article}/discussions")).await.expect(200)["discussions"], json!([]));
    app.settled().await;
    assert_eq!(wide.post("/register", json!({})).await.expect(200)["communities"], json!([mine]));

    for communities in [&[][..], &[private]] {
        let nowhere = app.narrow_client(ada, communities);
        nowhere.post("/register", json!({})).await.refused(403, "no_communities");
        nowhere.get(&format!("/articles/{article}/discussions")).await.refused(403, "not_a_member");
    }
    let outsider = app.client(app.user("emmy").await);
    outsider.post("/register", json!({})).await.refused(403, "no_communities");
}

/// The id, name and picture of an author. They cannot be in an answer by chance.
const SECRET_ID: i64 = 7_358_921_046;
const SECRET_NAME: &str = "ada-whose-name-is-secret";
const SECRET_PICTURE: &str = "https://pictures.example/secret-face.png";

/// All bytes of the answers to other users.
#[derive(Default)]
struct Overheard(Vec<(String, String)>);

impl Overheard {
    async fn get(&mut self, client: &Client, path: &str) -> Value {
        let response = client.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let headers = format!("{:?}", response.headers());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap();
        self.0.push((path.to_owned(), headers + &text));
        body
    }

    fn tells_nothing(&self) {
        for (path, text) in &self.0 {
            for secret in [&SECRET_ID.to_string(), SECRET_NAME, SECRET_PICTURE, "secret-face"] {
                assert!(!text.contains(secret), "{path} tells {secret}: {text}");
            }
        }
    }
}

async fn pseudonymous(app: &TestApp, article: ArticleId, community: CommunityId, on: bool) {
    let set = format!(
        "update community_articles set is_pseudonymous = {on} where community_id = {community} and article_id = {article}"
    );
    app.sql(&set).await;
}

async fn secret_author(app: &TestApp, communities: &[CommunityId]) -> Client {
    let insert = format!(
        "insert into users (id, username, avatar_url) values ({SECRET_ID}, '{SECRET_NAME}', '{SECRET_PICTURE}')"
    );
    app.sql(&insert).await;
    for community in communities {
        app.join(SECRET_ID, *community, "member").await;
    }
    app.client(SECRET_ID)
}

#[tokio::test]
async fn no_answer_reveals_the_user_behind_a_pseudonym() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    pseudonymous(&app, article, community, true).await;
    let ada = secret_author(&app, &[community]).await;
    let others =
        [app.with_role("grace", community, "admin").await, app.member("emmy", community).await, app.anonymous()];
    app.settled().await;
    let mut queue = others[1].register().await;
    let start = queue.cursor;
    let mut overheard = Overheard::default();

    let discussion = ada.discussion(article, community, "Sample size").await;
    let name = discussion["author"]["username"].clone();
    assert_eq!(discussion["author"], json!({ "id": null, "username": name, "avatar_url": null }));
    let comment = ada.comment(&discussion, "Nice").await;
    let reply = ada.reply(&comment, "Very").await;
    assert_eq!((&comment["author"], &reply["author"]), (&discussion["author"], &discussion["author"]));
    app.join(ada.user, community, "admin").await;
    let summary = format!("/articles/{article}/summary?community_id={community}");
    let revisions = format!("/articles/{article}/summary/revisions?community_id={community}");
    // Only admins write summaries, so her pseudonym under one would say that she is one.
    let written = ada.put(&summary, json!({ "text": "In short" })).await.expect(200);
    assert_eq!(written["author"], Value::Null);
    ada.put(&summary, json!({ "text": "In fewer words" })).await.expect(200);
    let list = format!("/articles/{article}/discussions");
    let path = format!("/discussions/{}", discussion["id"]);
    let comment_path = format!("/comments/{}", comment["id"]);

    let mut listen = async |overheard: &mut Overheard, author: &Value| {
        app.settled().await;
        for other in &others {
            let page = overheard.get(other, &list).await;
            assert_eq!(page["discussions"][0]["author"], *author);
            assert_eq!(overheard.get(other, &path).await["author"], *author);
            let page = overheard.get(other, &format!("{path}/comments")).await;
            assert_eq!(page["comments"][0]["replies"][0]["author"], discussion["author"]);
            overheard.get(other, &comment_path).await;
            assert_eq!(overheard.get(other, &summary).await["author"], Value::Null);
            overheard.get(other, &revisions).await;
            if other.token.is_some() {
                overheard.get(other, "/notifications").await;
            }
        }
        let poll = format!("/poll?queue_id={}&last_event_id={start}&timeout=0", queue.id);
        queue.cursor = overheard.get(&others[1], &poll).await["last_event_id"].as_i64().unwrap();
    };
    listen(&mut overheard, &discussion["author"]).await;
    // Only the author gets the pseudonym in `viewer`.
    let own = ada.get(&list).await.expect(200);
    assert_eq!(own["viewer"]["memberships"][0]["pseudonym"], name);
    let theirs = others[0].get(&list).await.expect(200);
    assert_eq!(theirs["viewer"]["memberships"][0]["pseudonym"], Value::Null);

    // When the article is no longer pseudonymous, older texts keep their pseudonym, also after an edit.
    pseudonymous(&app, article, community, false).await;
    listen(&mut overheard, &discussion["author"]).await;
    assert_eq!(ada.patch(&path, json!({ "topic": "Power" })).await.expect(200)["author"], discussion["author"]);
    assert_eq!(ada.patch(&path, json!({ "is_resolved": true })).await.expect(200)["author"], discussion["author"]);
    others[0].patch(&path, json!({ "is_resolved": false })).await.expect(200);
    let edited = ada.patch(&comment_path, json!({ "text": "Nicer" })).await.expect(200);
    assert_eq!(edited["author"], discussion["author"]);
    listen(&mut overheard, &discussion["author"]).await;

    // She resolved it under her pseudonym, and on an article that is not pseudonymous any more she does so still.
    let resolved = ada.patch(&path, json!({ "is_resolved": true })).await.expect(200);
    assert_eq!(resolved["resolved_by"], discussion["author"]);
    let edited = ada.patch(&path, json!({ "topic": "Sample size" })).await.expect(200);
    assert_eq!(edited["resolved_by"], discussion["author"]);
    listen(&mut overheard, &discussion["author"]).await;

    // Somebody else writes the summary under their own name. Her texts stay without a name.
    let by_grace = others[0].put(&summary, json!({ "text": "In other words" })).await.expect(200);
    assert_eq!(by_grace["author"]["username"], "grace");
    assert_eq!(overheard.get(&others[1], &revisions).await["revisions"][1]["author"], Value::Null);
    others[0].delete(&summary).await.expect(204);
    pseudonymous(&app, article, community, true).await;
    ada.put(&summary, json!({ "text": "Once more" })).await.expect(200);
    pseudonymous(&app, article, community, false).await;

    ada.delete(&comment_path).await.expect(204);
    ada.delete(&path).await.expect(204);
    listen(&mut overheard, &Value::Null).await;
    overheard.tells_nothing();
    assert!(overheard.0.iter().any(|(path, text)| path.starts_with("/poll") && text.contains("deleted_discussion")));

    // Texts under the real name keep it when the article becomes pseudonymous.
    let open = ada.discussion(article, community, "In the open").await;
    assert_eq!(open["author"], json!({ "id": SECRET_ID, "username": SECRET_NAME, "avatar_url": SECRET_PICTURE }));
    pseudonymous(&app, article, community, true).await;
    assert_eq!(others[2].get(&format!("/discussions/{}", open["id"])).await.expect(200)["author"], open["author"]);
    assert_eq!(ada.comment(&open, "Covered again").await["author"]["username"], name, "the same name as before");
}

#[tokio::test]
async fn a_pseudonym_is_one_for_each_author_article_and_community() {
    let app = TestApp::start().await;
    let communities = [app.community("public").await, app.community("hidden").await];
    let articles = [app.article(&communities).await, app.article(&communities).await];
    let (ada, grace) = (app.member("ada", communities[0]).await, app.member("grace", communities[0]).await);
    for user in [ada.user, grace.user] {
        app.join(user, communities[1], "member").await;
    }
    let mut names = BTreeSet::new();
    for article in articles {
        for community in communities {
            pseudonymous(&app, article, community, true).await;
            for author in [&ada, &grace] {
                let discussion = author.discussion(article, community, "One").await;
                let name = discussion["author"]["username"].as_str().unwrap().to_owned();
                assert_eq!(author.discussion(article, community, "Two").await["author"], discussion["author"]);
                assert_eq!(author.comment(&discussion, "Three").await["author"], discussion["author"]);
                assert!(names.insert(name), "{names:?}");
            }
        }
    }
    assert_eq!(names.len(), 8);
}

#[tokio::test]
async fn an_author_who_writes_many_things_at_once_gets_one_pseudonym() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    pseudonymous(&app, article, community, true).await;
    let ada = app.member("ada", community).await;
    let writing: Vec<_> = (0..6)
        .map(|_| {
            let ada = ada.clone();
            tokio::spawn(async move { ada.discussion(article, community, "At once").await["author"].take() })
        })
        .collect();
    let mut names = BTreeSet::new();
    for written in writing {
        names.insert(written.await.unwrap()["username"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn refusals_do_not_reveal_a_pseudonymous_author() {
    let app = TestApp::start().await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    pseudonymous(&app, article, community, true).await;
    let ada = secret_author(&app, &[community]).await;
    let grace = app.member("grace", community).await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let comment = ada.comment(&discussion, "Nice").await;
    let (path, comment) = (format!("/discussions/{}", discussion["id"]), format!("/comments/{}", comment["id"]));
    for answer in [
        grace.patch(&path, json!({ "topic": "Mine" })).await,
        grace.patch(&path, json!({ "is_resolved": true })).await,
        grace.delete(&path).await,
        grace.patch(&comment, json!({ "text": "Mine" })).await,
        grace.delete(&comment).await,
    ] {
        assert_eq!(answer.status, 403);
        let all = format!("{:?}{}", answer.headers, answer.body);
        assert!(!all.contains(SECRET_NAME) && !all.contains(&SECRET_ID.to_string()), "{all}");
    }
}
