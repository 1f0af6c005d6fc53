//! Clients that write, and users who join and leave communities.

use std::time::Duration;

use chrono::Utc;
use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    Client, Outcome, PATIENCE, Thing,
    directory::{RESIDENTS, join, resident},
};
use crate::checker::Write;

impl Client {
    /// Writes from time to time until the writers are to end.
    pub(super) async fn write(mut self, places: Vec<(i64, i64)>) {
        let mut discussions: Vec<i64> = Vec::new();
        let mut comments: Vec<(i64, i64)> = Vec::new();
        let mut failovers = self.shared.failovers.subscribe();
        for number in 0.. {
            let pause = Duration::from_millis(self.random.random_range(300..1_300));
            if timeout(pause, self.shared.quiet.cancelled()).await.is_ok() {
                return;
            }
            if failovers.has_changed().unwrap_or_default() {
                // A failover may have lost what this client knows, and the ids may be assigned again.
                failovers.mark_unchanged();
                discussions.clear();
                comments.clear();
            }
            let mut text = format!("{} of {}", number, self.name);
            if self.random.random_bool(0.2) {
                text += &format!(" @{}", resident(self.random.random_range(0..RESIDENTS)));
            }
            let placement = places[self.random.random_range(0..places.len())];
            match self.random.random_range(0..100) {
                _ if discussions.is_empty() => discussions.extend(self.discuss(placement, text).await),
                0..10 => discussions.extend(self.discuss(placement, text).await),
                10..20 => {
                    let id = discussions[self.random.random_range(0..discussions.len())];
                    self.edit("discussion", id, text).await;
                }
                20..35 if !comments.is_empty() => {
                    let (_, id) = comments[self.random.random_range(0..comments.len())];
                    self.edit("comment", id, text).await;
                }
                35..45 => self.vote(&places).await,
                45..48 => self.mark(&discussions, &comments).await,
                48..50 => self.summarize(places[0], text).await,
                50..53 => self.follow(placement, &discussions).await,
                53..57 => self.answer(&places, text).await,
                57..59 => self.read_notifications().await,
                59..66 if !comments.is_empty() => {
                    let (_, id) = comments.swap_remove(self.random.random_range(0..comments.len()));
                    self.delete(id).await;
                }
                choice => {
                    let discussion = discussions[self.random.random_range(0..discussions.len())];
                    // Reply only to roots, so that no reply is too deep.
                    let parent = if choice < 75 {
                        comments.iter().find(|(written_in, _)| *written_in == discussion)
                    } else {
                        None
                    };
                    let parent = parent.map(|(_, id)| *id);
                    if let Some(id) = self.comment(discussion, parent, text).await
                        && parent.is_none()
                    {
                        comments.push((discussion, id));
                    }
                }
            }
        }
    }

    pub(super) async fn discuss(&mut self, (community, article): (i64, i64), text: String) -> Option<i64> {
        let body = json!({ "community_id": community, "topic": "A topic", "text": text });
        let id =
            self.post(&format!("/articles/{article}/discussions"), &body, format!("new_discussion {text}")).await?;
        self.written(community, format!("/discussions/{id}"));
        Some(id)
    }

    fn written(&self, community: i64, path: String) {
        self.shared.things().push(Thing { community, author: self.user, path });
    }

    /// Votes on something that somebody else wrote in one of these places. The rows and the events show the result.
    async fn vote(&mut self, places: &[(i64, i64)]) {
        let thing = {
            let things = self.shared.things();
            let is_choice = |thing: &&Thing| {
                thing.author != self.user && places.iter().any(|(community, _)| *community == thing.community)
            };
            // The newest ones, so that several users vote on the same thing.
            let choices: Vec<&Thing> = things.iter().rev().filter(is_choice).take(5).collect();
            if choices.is_empty() {
                return;
            }
            choices[self.random.random_range(0..choices.len())].clone()
        };
        let body = json!({ "value": self.random.random_range(-1..=1) });
        let request = self.request(Method::PUT, &format!("{}/vote", thing.path)).json(&body);
        self.send("vote", request, PATIENCE).await;
    }

    /// Marks something that it has written in as read or unread, often with what others wrote there.
    async fn mark(&mut self, discussions: &[i64], comments: &[(i64, i64)]) {
        let discussion = discussions[self.random.random_range(0..discussions.len())];
        let comment = comments.iter().rev().find(|(written_in, _)| *written_in == discussion).map(|(_, id)| *id);
        let (call, body) = match (comment, self.random.random_range(0..4)) {
            (Some(comment), 0) => ("read", json!({ "comment_ids": [comment, comment + 1, comment + 2] })),
            (Some(comment), 1) => ("unread", json!({ "from_comment_id": comment })),
            (_, 2) => ("read", json!({ "up_to_comment_id": i64::MAX })),
            _ => ("read", json!({ "discussion": true })),
        };
        let request = self.request(Method::POST, &format!("/discussions/{discussion}/{call}")).json(&body);
        self.send("mark", request, PATIENCE).await;
    }

    /// Comments on a discussion that somebody else began, who is notified.
    async fn answer(&mut self, places: &[(i64, i64)], text: String) {
        let discussion = {
            let things = self.shared.things();
            let others = things.iter().rev().filter(|thing| {
                thing.author != self.user && places.iter().any(|(community, _)| *community == thing.community)
            });
            let ids: Vec<i64> =
                others.filter_map(|it| it.path.strip_prefix("/discussions/")?.parse().ok()).take(5).collect();
            if ids.is_empty() {
                return;
            }
            ids[self.random.random_range(0..ids.len())]
        };
        self.comment(discussion, None, text).await;
    }

    /// Marks all its notifications as read.
    async fn read_notifications(&mut self) {
        let request = self.request(Method::POST, "/notifications/read").json(&json!({ "up_to_id": i64::MAX }));
        self.send("mark", request, PATIENCE).await;
    }

    /// Writes or deletes the summary of a place that it administers, as others do. The row and the events show the result.
    async fn summarize(&mut self, (community, article): (i64, i64), text: String) {
        let path = format!("/articles/{article}/summary?community_id={community}");
        let request = if self.random.random_bool(0.7) {
            self.request(Method::PUT, &path).json(&json!({ "text": text }))
        } else {
            self.request(Method::DELETE, &path)
        };
        self.send("summary", request, PATIENCE).await;
    }

    /// Says what it thinks of an article, or of a discussion in which it has written.
    async fn follow(&mut self, (community, article): (i64, i64), discussions: &[i64]) {
        let level = ["follow", "mute", "default"][self.random.random_range(0..3)];
        let (path, body) = if self.random.random_bool(0.5) {
            (format!("/articles/{article}/follow"), json!({ "community_id": community, "level": level }))
        } else {
            let discussion = discussions[self.random.random_range(0..discussions.len())];
            (format!("/discussions/{discussion}/follow"), json!({ "level": level }))
        };
        let request = self.request(Method::PUT, &path).json(&body);
        self.send("follow", request, PATIENCE).await;
    }

    pub(super) async fn comment(&mut self, discussion: i64, parent: Option<i64>, text: String) -> Option<i64> {
        let body = json!({ "text": text, "parent_id": parent });
        let of_discussion = format!("/discussions/{discussion}");
        let id = self.post(&format!("{of_discussion}/comments"), &body, format!("new_comment {text}")).await?;
        let community = self.shared.things().iter().find(|thing| thing.path == of_discussion).map(|it| it.community);
        if let Some(community) = community {
            self.written(community, format!("/comments/{id}"));
        }
        Some(id)
    }

    /// Posts until the server acknowledges it. All attempts have one Idempotency-Key, so a repetition writes nothing.
    pub(super) async fn post(&mut self, path: &str, body: &Value, mark: String) -> Option<i64> {
        let key = mark.replace(' ', "-");
        let patience = Instant::now() + Duration::from_secs(60);
        let id = loop {
            let request = self.request(Method::POST, path).json(body).header("idempotency-key", &key);
            match self.send("write", request, PATIENCE).await {
                Outcome::Answer(201, answer) => break answer["id"].as_i64(),
                Outcome::Answer(400..=499, _) => break None,
                _ if Instant::now() > patience => break None,
                _ => self.back_off().await,
            }
        };
        let thing = id.and_then(|id| changed(&mark, id));
        self.wrote(mark, thing, id.is_some());
        id
    }

    /// Posts once, without an Idempotency-Key.
    pub(super) async fn comment_once(&mut self, discussion: i64, text: String) {
        let path = format!("/discussions/{discussion}/comments");
        let request = self.request(Method::POST, &path).json(&json!({ "text": text }));
        let outcome = self.send("write", request, PATIENCE).await;
        self.once(outcome, 201, format!("new_comment {text}"), None);
    }

    /// Edits once. Without an acknowledgement it is not known whether the edit was done.
    async fn edit(&mut self, what: &str, id: i64, text: String) {
        let request = self.request(Method::PATCH, &format!("/{what}s/{id}")).json(&json!({ "text": text }));
        let outcome = self.send("write", request, PATIENCE).await;
        let mark = format!("updated_{what} {text}");
        let thing = changed(&mark, id);
        self.once(outcome, 200, mark, thing);
    }

    async fn delete(&mut self, comment: i64) {
        let outcome = self.send("write", self.request(Method::DELETE, &format!("/comments/{comment}")), PATIENCE).await;
        self.once(outcome, 204, format!("deleted_comment {comment}"), None);
    }

    fn once(&self, outcome: Outcome, done: u16, mark: String, thing: Option<String>) {
        self.wrote(mark, thing, matches!(outcome, Outcome::Answer(status, _) if status == done));
    }

    pub(super) fn wrote(&self, mark: String, thing: Option<String>, is_acknowledged: bool) {
        let acknowledged = is_acknowledged.then(Utc::now);
        self.shared.seen().writes.push(Write { mark, thing, acknowledged });
    }

    /// Changes the kind of a community by plain SQL, as Django does. The outbox shows the result.
    pub(super) async fn turn(mut self, community: i64) {
        loop {
            let pause = Duration::from_millis(self.random.random_range(1_000..5_000));
            if timeout(pause, self.shared.quiet.cancelled()).await.is_ok() {
                return;
            }
            let kind = ["public", "private", "open", "hidden"][self.random.random_range(0..4)];
            let turn = sqlx::query("update communities set kind = $1 where id = $2").bind(kind).bind(community);
            if turn.execute(&self.shared.pool).await.is_err() {
                self.back_off().await;
            }
        }
    }

    /// Joins, leaves and changes roles by plain SQL, as Django does. The outbox shows the result.
    pub(super) async fn wander(mut self, places: Vec<i64>) {
        loop {
            let pause = Duration::from_millis(self.random.random_range(500..3_000));
            if timeout(pause, self.shared.quiet.cancelled()).await.is_ok() {
                // Otherwise the nomad could not register and get the rest.
                while join(&self.shared.pool, self.user, places[0], "member").await.is_err() {
                    self.back_off().await;
                }
                return;
            }
            let community = places[self.random.random_range(0..places.len())];
            let done = match self.random.random_range(0..5) {
                0..2 => join(&self.shared.pool, self.user, community, "member").await,
                2 => join(&self.shared.pool, self.user, community, "reviewer").await,
                _ => {
                    let sql = "delete from memberships where user_id = $1 and community_id = $2";
                    let leave = sqlx::query(sql).bind(self.user).bind(community);
                    leave.execute(&self.shared.pool).await.map(drop)
                }
            };
            if done.is_err() {
                self.back_off().await;
            }
        }
    }
}

/// What the change of this mark changed, as the checker names it if its event is redacted.
fn changed(mark: &str, id: i64) -> Option<String> {
    let kind = mark.split(' ').next()?;
    let what = kind.split('_').next_back()?;
    Some(format!("{kind} of {what}_id {id}"))
}
