//! Clients that follow the events, by the protocol.

use std::time::Duration;

use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Client, Outcome, PATIENCE, POLL_SECONDS};
use crate::checker::{Answer, History, Path};

const POLL_PATIENCE: Duration = Duration::from_secs(POLL_SECONDS + 2);
const HEARTBEAT: Duration = Duration::from_secs(3);

/// A client that follows the events.
pub struct Poller {
    client: Client,
    history: History,
    queue: Option<String>,
    /// Up to here it has been told everything; None before its first register.
    cursor: Option<i64>,
    beaten: Instant,
}

impl Poller {
    pub fn new(client: Client, history: History) -> Self {
        Self { client, history, queue: None, cursor: None, beaten: Instant::now() }
    }

    pub async fn run(mut self) -> History {
        let mut end = self.client.shared.end.subscribe();
        loop {
            let goal = *end.borrow_and_update();
            if goal.is_some_and(|goal| self.cursor.is_some_and(|cursor| cursor >= goal)) {
                return self.history;
            }
            let (Some(queue), Some(cursor)) = (self.queue.clone(), self.cursor) else {
                self.register().await;
                continue;
            };
            if self.beaten.elapsed() > HEARTBEAT {
                self.heartbeat(&queue).await;
                continue;
            }
            let path = format!("/poll?queue_id={queue}&last_event_id={cursor}&timeout={POLL_SECONDS}");
            let request = self.client.request(Method::GET, &path);
            match self.client.send("poll", request, POLL_PATIENCE).await {
                Outcome::Answer(200, answer) => self.take(answer).await,
                Outcome::Answer(404, _) => self.queue = None,
                _ => self.client.back_off().await,
            }
        }
    }

    async fn take(&mut self, mut answer: Value) {
        if answer["catchup_required"] == true {
            self.client.shared.seen().catch_ups += 1;
            // The lists anew would be here; for the order it is a new beginning, from the head.
            (self.queue, self.cursor) = (None, None);
            return;
        }
        let to = answer["last_event_id"].as_i64().unwrap_or(-1);
        let Value::Array(events) = answer["events"].take() else {
            self.client.count("poll: an answer without events".to_owned(), true, &answer);
            return;
        };
        if let Some(path) = self.history.paths.last_mut() {
            path.answers.push(Answer { events, to, at: Utc::now() });
        }
        self.cursor = Some(to);
    }

    /// Registers, and goes on from where it was.
    async fn register(&mut self) {
        let request = self.client.request(Method::POST, "/register");
        match self.client.send("register", request, PATIENCE).await {
            Outcome::Answer(200, answer) => {
                self.client.shared.seen().registers += 1;
                self.queue = answer["queue_id"].as_str().map(str::to_owned);
                self.beaten = Instant::now();
                if self.cursor.is_none() {
                    self.cursor = answer["last_event_id"].as_i64();
                    self.history.paths.push(Path { start: self.cursor.unwrap_or_default(), answers: Vec::new() });
                }
            }
            _ => self.client.back_off().await,
        }
    }

    async fn heartbeat(&mut self, queue: &str) {
        let request = self.client.request(Method::POST, "/heartbeat").json(&json!({ "queue_id": queue }));
        match self.client.send("heartbeat", request, PATIENCE).await {
            Outcome::Answer(204, _) => self.beaten = Instant::now(),
            Outcome::Answer(404, _) => self.queue = None,
            // Polls matter more: the next attempt is a second later.
            _ => self.beaten = Instant::now() - HEARTBEAT + Duration::from_secs(1),
        }
    }
}
