//! Clients that follow the events as the protocol says.

use std::time::Duration;

use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Attempt, Client, Outcome, PATIENCE, POLL_SECONDS};
use crate::checker::{Answer, History, Page, Path};

const POLL_PATIENCE: Duration = Duration::from_secs(POLL_SECONDS + 2);
const HEARTBEAT: Duration = Duration::from_secs(3);
/// The number of newest discussions that a client has open.
const OPEN_DISCUSSIONS: usize = 4;

/// A client that follows the events.
pub(super) struct Poller {
    client: Client,
    history: History,
    /// The community and article of its page. None for a client that may lose its access.
    placement: Option<(i64, i64)>,
    queue: Option<String>,
    /// It has all events up to this one. None before its first registration.
    cursor: Option<i64>,
    beaten: Instant,
}

impl Poller {
    pub(super) fn new(client: Client, history: History, placement: Option<(i64, i64)>) -> Self {
        Self { client, history, placement, queue: None, cursor: None, beaten: Instant::now() }
    }

    /// Polls until it has everything. Returns its history and its attempts.
    pub(super) async fn run(mut self) -> (History, Vec<Attempt>) {
        let mut end = self.client.shared.end.subscribe();
        loop {
            let goal = *end.borrow_and_update();
            if goal.is_some_and(|goal| self.cursor.is_some_and(|cursor| cursor >= goal)) {
                return (self.history, self.client.attempts);
            }
            let (Some(queue), Some(cursor)) = (self.queue.clone(), self.cursor) else {
                self.register().await;
                continue;
            };
            if self.placement.is_some() && self.history.page.is_none() {
                match self.load().await {
                    Some(page) => self.history.page = Some(page),
                    None => self.client.back_off().await,
                }
                continue;
            }
            if self.beaten.elapsed() > HEARTBEAT {
                self.heartbeat(&queue).await;
                continue;
            }
            let path = format!("/poll?queue_id={queue}&last_event_id={cursor}&timeout={POLL_SECONDS}");
            let request = self.client.request(Method::GET, &path);
            match self.client.send("poll", request, POLL_PATIENCE).await {
                Outcome::Answer(200, answer) => self.take(answer),
                Outcome::Answer(404, _) => self.queue = None,
                _ => self.client.back_off().await,
            }
        }
    }

    fn take(&mut self, mut answer: Value) {
        self.client.hear();
        let Some(path) = self.history.paths.last_mut() else { return };
        if answer["catchup_required"] == true {
            path.caught_up = Some(Utc::now());
            self.client.shared.seen().catch_ups += 1;
            // Register first and load the lists afterwards, so that no event is lost in between.
            (self.queue, self.cursor, self.history.page) = (None, None, None);
            return;
        }
        let to = answer["last_event_id"].as_i64().unwrap_or(-1);
        let Value::Array(events) = answer["events"].take() else {
            self.client.count("poll: an answer without events".to_owned(), true, &answer);
            return;
        };
        if let Some(page) = &mut self.history.page {
            events.iter().for_each(|event| page.apply(event));
        }
        path.answers.push(Answer { events, to, at: Utc::now() });
        self.cursor = Some(to);
    }

    /// Registers, and continues from its cursor.
    async fn register(&mut self) {
        let request = self.client.request(Method::POST, "/register").json(&json!({ "watch": self.history.watch }));
        match self.client.send("register", request, PATIENCE).await {
            Outcome::Answer(200, answer) => {
                self.client.shared.seen().registers += 1;
                self.queue = answer["queue_id"].as_str().map(str::to_owned);
                self.beaten = Instant::now();
                if self.cursor.is_none() {
                    self.cursor = answer["last_event_id"].as_i64();
                    self.history.paths.push(Path { start: self.cursor.unwrap_or_default(), ..Path::default() });
                }
            }
            _ => self.client.back_off().await,
        }
    }

    /// Loads the lists of its page. None if a list could not be loaded.
    async fn load(&mut self) -> Option<Page> {
        let (community, article) = self.placement?;
        let mut page = Page::new(community);
        let list = format!("/articles/{article}/discussions?community_id={community}&limit=100");
        let mut next = list.clone();
        loop {
            let answer = self.list(&next).await?;
            page.take_discussions(&answer);
            let Some(cursor) = answer["next_cursor"].as_str() else { break };
            next = format!("{list}&cursor={cursor}");
        }
        for discussion in page.newest(OPEN_DISCUSSIONS) {
            let list = format!("/discussions/{discussion}/comments?limit=100");
            let mut next = list.clone();
            loop {
                let answer = self.list(&next).await?;
                page.take_comments(discussion, &answer);
                let Some(cursor) = answer["next_cursor"].as_str() else { break };
                next = format!("{list}&cursor={cursor}");
            }
        }
        Some(page)
    }

    async fn list(&mut self, path: &str) -> Option<Value> {
        let request = self.client.request(Method::GET, path);
        match self.client.send("list", request, PATIENCE).await {
            Outcome::Answer(200, answer) => Some(answer),
            _ => None,
        }
    }

    async fn heartbeat(&mut self, queue: &str) {
        let request = self.client.request(Method::POST, "/heartbeat").json(&json!({ "queue_id": queue }));
        match self.client.send("heartbeat", request, PATIENCE).await {
            Outcome::Answer(204, _) => self.beaten = Instant::now(),
            Outcome::Answer(404, _) => self.queue = None,
            // Polls are more important, so try again a second later.
            _ => self.beaten = Instant::now() - HEARTBEAT + Duration::from_secs(1),
        }
    }
}
