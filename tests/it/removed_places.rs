//! A place that is removed: an article that left a community, or a whole community. It is read as before, and nobody writes there.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Client, TestApp};

/// A place with a discussion and a comment of Ada's and of Grace's.
struct Place {
    app: TestApp,
    community: i64,
    article: i64,
    ada: Client,
    grace: Client,
    /// The discussions and comments of the two.
    discussions: [Value; 2],
    comments: [Value; 2],
}

impl Place {
    async fn of_kind(kind: &str) -> Self {
        let app = TestApp::start().await;
        let community = app.community(kind).await;
        let article = app.article(&[community]).await;
        let ada = app.with_role("ada", community, "admin").await;
        let grace = app.member("grace", community).await;
        let discussions =
            [ada.discussion(article, community, "Power").await, grace.discussion(article, community, "Size").await];
        let comments = [ada.comment(&discussions[1], "Nice").await, grace.comment(&discussions[0], "Nice").await];
        Self { app, community, article, ada, grace, discussions, comments }
    }

    async fn remove_article(&self) {
        self.app
            .sql(&format!("update community_articles set removed_at = now() where article_id = {}", self.article))
            .await;
    }

    async fn remove_community(&self) {
        let id = self.community;
        self.app
            .sql(&format!(
                "update communities set removed_at = now() where id = {id}; delete from memberships where community_id = {id}"
            ))
            .await;
    }

    /// Ada's writing calls, those on her own texts first.
    fn writes(&self) -> Vec<(Method, String, Value)> {
        let discussion = |at: usize| format!("/discussions/{}", self.discussions[at]["id"]);
        let comment = |at: usize| format!("/comments/{}", self.comments[at]["id"]);
        let new = json!({ "community_id": self.community, "topic": "New", "text": "New" });
        let summary = format!("/articles/{}/summary?community_id={}", self.article, self.community);
        vec![
            (Method::POST, format!("/articles/{}/discussions", self.article), new),
            (Method::PATCH, discussion(0), json!({ "text": "Changed" })),
            (Method::PATCH, discussion(0), json!({ "is_resolved": true })),
            (Method::PATCH, comment(0), json!({ "text": "Changed" })),
            (Method::POST, format!("{}/comments", discussion(0)), json!({ "text": "New" })),
            (
                Method::POST,
                format!("{}/comments", discussion(0)),
                json!({ "text": "New", "parent_id": self.comments[1]["id"] }),
            ),
            (Method::PATCH, discussion(1), json!({ "is_resolved": true })),
            (Method::PUT, format!("{}/vote", discussion(1)), json!({ "value": 1 })),
            (Method::PUT, format!("{}/vote", comment(1)), json!({ "value": -1 })),
            (Method::PUT, summary.clone(), json!({ "text": "New" })),
            (Method::DELETE, summary, json!({})),
            (Method::DELETE, discussion(1), json!({})),
            (Method::DELETE, comment(1), json!({})),
        ]
    }

    async fn all_refused(&self, client: &Client, status: u16, code: &str) {
        for (method, path, body) in self.writes() {
            let answer = client.send(client.request(method.clone(), &path).json(&body)).await;
            let found = (answer.status, answer.body["code"].as_str());
            assert_eq!(found, (status, Some(code)), "{method} {path} {body}: {}", answer.body);
        }
    }

    /// What a client reads of the place.
    async fn read(&self, client: &Client) -> Vec<Value> {
        let mut read = Vec::new();
        let list = format!("/articles/{}/discussions?community_id={}", self.article, self.community);
        let discussion = format!("/discussions/{}", self.discussions[0]["id"]);
        for path in
            [list, format!("{discussion}/comments"), discussion, format!("/comments/{}", self.comments[0]["id"])]
        {
            let mut body = client.get(&path).await.expect(200);
            body.as_object_mut().unwrap().remove("last_event_id");
            read.push(body);
        }
        read
    }
}

#[tokio::test]
async fn nobody_writes_about_an_article_that_was_removed_and_everybody_reads_on() {
    for kind in ["public", "private", "hidden", "open"] {
        let place = Place::of_kind(kind).await;
        let before = place.read(&place.ada).await;
        place.app.settled().await;
        let mut queue = place.grace.register().await;
        place.remove_article().await;
        place.all_refused(&place.ada, 409, "place_removed").await;
        assert_eq!(place.read(&place.ada).await, before, "{kind}");
        assert_eq!(queue.now().await, Vec::<Value>::new(), "{kind}: what is refused makes no event");
        // Others get the same refusals as in any other place.
        let outsider = place.app.client(place.app.user("outsider").await);
        let new = json!({ "community_id": place.community, "topic": "New", "text": "New" });
        let list = format!("/articles/{}/discussions", place.article);
        let answer = outsider.post(&list, new.clone()).await;
        match kind {
            "hidden" => answer.refused(404, "community_not_found"),
            "private" => answer.refused(403, "not_a_member"),
            _ => answer.refused(409, "place_removed"),
        };
        place.app.anonymous().post(&list, new).await.refused(401, "token_missing");
        // What concerns nobody else goes on.
        let of_grace = format!("/discussions/{}", place.discussions[1]["id"]);
        place.ada.post(&format!("{of_grace}/read"), json!({ "discussion": true })).await.expect(204);
        place.ada.put(&format!("{of_grace}/follow"), json!({ "level": "mute" })).await.expect(200);
        let there = json!({ "community_id": place.community });
        place.ada.post(&format!("/articles/{}/read", place.article), there).await.expect(204);
    }
}

#[tokio::test]
async fn authors_delete_what_they_wrote_in_a_removed_place() {
    for kind in ["public", "private", "hidden", "open"] {
        for of_community in [false, true] {
            let place = Place::of_kind(kind).await;
            if of_community {
                place.remove_community().await
            } else {
                place.remove_article().await
            }
            for (client, at) in [(&place.ada, 0), (&place.grace, 1)] {
                client.delete(&format!("/comments/{}", place.comments[at]["id"])).await.expect(204);
                client.delete(&format!("/discussions/{}", place.discussions[at]["id"])).await.expect(204);
            }
        }
    }
}

#[tokio::test]
async fn an_account_that_has_ended_and_a_narrow_token_delete_nothing_in_a_removed_community() {
    let place = Place::of_kind("private").await;
    let elsewhere = place.app.community("public").await;
    place.remove_community().await;
    let path = format!("/discussions/{}", place.discussions[0]["id"]);
    place.app.narrow_client(place.ada.user, &[elsewhere]).delete(&path).await.refused(403, "not_a_member");
    place.app.sql(&format!("update users set is_active = false where id = {}", place.ada.user)).await;
    place.ada.delete(&path).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn a_removed_community_has_no_members_and_is_read_by_whom_its_kind_allows() {
    for kind in ["public", "open", "private", "hidden"] {
        let place = Place::of_kind(kind).await;
        let anonymous = place.app.anonymous();
        let is_public = matches!(kind, "public" | "open");
        let before = place.read(if is_public { &anonymous } else { &place.ada }).await;
        place.app.settled().await;
        let queue = place.ada.register().await;
        let poll = queue.park(&place.app).await;
        place.remove_community().await;
        let mut answer = poll.await.unwrap().expect(200);
        assert_eq!(answer["events"].as_array().unwrap().len(), 1, "{answer}");
        assert_eq!(answer["events"][0]["type"].take(), "membership_changed");
        match kind {
            "public" | "open" => {
                assert_eq!(place.read(&anonymous).await, before);
                place.all_refused(&place.ada, 409, "place_removed").await;
            }
            "private" => place.all_refused(&place.ada, 403, "not_a_member").await,
            _ => {
                place.ada.get(&format!("/discussions/{}", place.discussions[0]["id"])).await.expect(404);
            }
        }
    }
}

#[tokio::test]
async fn a_place_that_is_put_back_takes_writes_again() {
    let place = Place::of_kind("public").await;
    place.remove_article().await;
    place
        .ada
        .post(&format!("/discussions/{}/comments", place.discussions[0]["id"]), json!({ "text": "New" }))
        .await
        .refused(409, "place_removed");
    place.app.sql("update community_articles set removed_at = null").await;
    place.ada.comment(&place.discussions[0], "New").await;
}
