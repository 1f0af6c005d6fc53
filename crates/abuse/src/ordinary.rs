//! Ordinary users: ten write, one polls, one loads lists, and one polls again after being away for the whole time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Scene,
    people::{ARTICLE, HOME},
};

/// How many of them write.
const WRITERS: i64 = 10;
/// How often each of them writes. It is within the limit of writes.
const WRITE_EVERY: Duration = Duration::from_millis(1_300);
const LIST_EVERY: Duration = Duration::from_millis(50);

/// What ordinary users noticed.
#[derive(Debug, Default)]
pub(crate) struct Noticed {
    /// From the start of a POST until another user has read the event.
    pub deliveries: Vec<Duration>,
    pub lists: Vec<Duration>,
    pub catch_ups: usize,
    /// Requests that failed or were answered with an error.
    pub errors: Vec<String>,
    /// Comments that were answered 201 and never delivered.
    pub missed: usize,
}

impl Noticed {
    /// The 99th percentile.
    pub(crate) fn p99(times: &[Duration]) -> Duration {
        let mut sorted = times.to_vec();
        sorted.sort();
        sorted.get(sorted.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
    }
}

#[derive(Default)]
struct Shared {
    noticed: Mutex<Noticed>,
    /// The comments that are not delivered yet, by their text.
    sent: Mutex<HashMap<String, Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn error(&self, what: &str, error: impl std::fmt::Display) {
        lock(&self.noticed).errors.push(format!("{what}: {error}"));
    }
}

/// Runs the ordinary users for `lasting`.
pub(crate) async fn observe(scene: &Scene, lasting: Duration) -> Result<Noticed> {
    let shared = Arc::new(Shared::default());
    let ended = CancellationToken::new();
    let away = Queue::register(scene, &scene.people.ordinary(1)?).await?;
    let mut people = JoinSet::new();
    let queue = Queue::register(scene, &scene.people.ordinary(0)?).await?;
    people.spawn(queue.poll(Arc::clone(&shared), ended.clone()));
    for index in 0..WRITERS {
        let token = scene.people.ordinary(2 + index)?;
        let url = format!("{}/discussions/{}/comments", scene.url, HOME * 1_000 + index);
        let offset = WRITE_EVERY * index as u32 / WRITERS as u32;
        people.spawn(write(scene.http.clone(), url, token, offset, Arc::clone(&shared), ended.clone()));
    }
    let url = format!("{}/articles/{ARTICLE}/discussions?community_id={HOME}", scene.url);
    people.spawn(list(scene.http.clone(), url, scene.people.ordinary(1)?, Arc::clone(&shared), ended.clone()));

    sleep(lasting).await;
    // This user was away for the whole time.
    let answer = away.once(0.0).await;
    match answer {
        Ok(answer) if answer["catchup_required"] == true => lock(&shared.noticed).catch_ups += 1,
        Ok(_) => {}
        Err(error) => shared.error("poll after a while", error),
    }
    ended.cancel();
    while let Some(ended) = people.join_next().await {
        ended?;
    }
    let mut noticed = std::mem::take(&mut *lock(&shared.noticed));
    noticed.missed = lock(&shared.sent).len();
    Ok(noticed)
}

/// A user's queue.
struct Queue {
    http: reqwest::Client,
    url: String,
    token: String,
    id: String,
    cursor: i64,
}

impl Queue {
    async fn register(scene: &Scene, token: &str) -> Result<Self> {
        let request = scene.http.post(format!("{}/register", scene.url)).bearer_auth(token).json(&json!({}));
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        Ok(Self {
            http: scene.http.clone(),
            url: scene.url.clone(),
            token: token.to_owned(),
            id: answer["queue_id"].as_str().context("no queue_id")?.to_owned(),
            cursor: answer["last_event_id"].as_i64().context("no last_event_id")?,
        })
    }

    async fn once(&self, timeout: f64) -> Result<Value> {
        let url = format!("{}/poll?queue_id={}&last_event_id={}&timeout={timeout}", self.url, self.id, self.cursor);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        Ok(answer.json().await?)
    }

    /// Polls until the end, and up to 5 s longer for the comments that are not delivered yet.
    async fn poll(mut self, shared: Arc<Shared>, ended: CancellationToken) {
        let mut deadline = None;
        loop {
            if ended.is_cancelled() {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + Duration::from_secs(5));
                if lock(&shared.sent).is_empty() || Instant::now() > deadline {
                    return;
                }
            }
            let answer = match self.once(0.5).await {
                Ok(answer) => answer,
                Err(error) => {
                    shared.error("poll", error);
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if answer["catchup_required"] == true {
                let mut noticed = lock(&shared.noticed);
                noticed.catch_ups += 1;
                noticed.errors.push("the poller cannot go on after its catch-up".to_owned());
                return;
            }
            let now = Instant::now();
            for event in answer["events"].as_array().into_iter().flatten() {
                let began = event["text"].as_str().and_then(|text| lock(&shared.sent).remove(text));
                lock(&shared.noticed).deliveries.extend(began.map(|began| now - began));
            }
            self.cursor = answer["last_event_id"].as_i64().unwrap_or(self.cursor);
        }
    }
}

async fn write(
    http: reqwest::Client,
    url: String,
    token: String,
    offset: Duration,
    shared: Arc<Shared>,
    ended: CancellationToken,
) {
    sleep(offset).await;
    let mut ticks = interval(WRITE_EVERY);
    for number in 0.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ended.cancelled() => return,
        }
        let began = Instant::now();
        let text = format!("{number} at {url} since {began:?}");
        lock(&shared.sent).insert(text.clone(), began);
        let answer = http.post(&url).bearer_auth(&token).json(&json!({ "text": text })).send().await;
        let error = match answer {
            Ok(answer) if answer.status() == 201 => continue,
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        lock(&shared.sent).remove(&text);
        shared.error("comment", error);
    }
}

async fn list(http: reqwest::Client, url: String, token: String, shared: Arc<Shared>, ended: CancellationToken) {
    let mut ticks = interval(LIST_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ended.cancelled() => return,
        }
        let began = Instant::now();
        let answer = async {
            let answer = http.get(&url).bearer_auth(&token).send().await?.error_for_status()?;
            answer.bytes().await
        };
        match answer.await {
            Ok(_) => lock(&shared.noticed).lists.push(began.elapsed()),
            Err(error) => shared.error("list", error),
        }
    }
}
