//! The clients, through the balancer: writers, pollers that follow the protocol, and people who come and go.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use chrono::Utc;
use discussions::auth::jwt;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    checker::{Answer, History, Path, Write},
    cluster::{Cluster, SECRET},
};

/// A poll asks for this long: short, so that a silence is told from a parked poll.
pub const POLL_SECONDS: u64 = 4;
const POLL_PATIENCE: Duration = Duration::from_secs(POLL_SECONDS + 2);
const PATIENCE: Duration = Duration::from_secs(6);
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Waits after errors: half to all of it, doubled each time.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Sometimes in no community, and then told nothing: not measured.
pub const NOMAD: &str = "nomad";

/// The directory that the clients live in.
pub struct Directory {
    communities: Vec<(i64, i64)>,
    residents: Vec<(i64, Vec<(i64, i64)>)>,
    /// With the communities that they come to and leave; the last is the nomad.
    wanderers: Vec<(i64, Vec<i64>)>,
}

impl Directory {
    /// Four communities with an article each; residents, who are in two of them for good and write there; wanderers, who
    /// are in one for good and in the others now and then; and a nomad, who is now and then in one and else in none.
    pub async fn create(pool: &PgPool) -> Result<Self> {
        let mut communities = Vec::new();
        for kind in ["public", "private", "hidden", "private"] {
            let sql = "insert into communities (name, slug, kind) values ($1, $1, $1) returning id";
            let community: i64 = sqlx::query_scalar(sql).bind(kind).fetch_one(pool).await?;
            let sql = "insert into articles (title, slug) values ('An article', 'an-article') returning id";
            let article: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
            let sql = "insert into community_articles (community_id, article_id) values ($1, $2)";
            sqlx::query(sql).bind(community).bind(article).execute(pool).await?;
            communities.push((community, article));
        }
        let mut directory = Self { communities: communities.clone(), residents: Vec::new(), wanderers: Vec::new() };
        for index in 0..6 {
            let home = vec![communities[index % 4], communities[(index + 1 + index / 4) % 4]];
            let user = user(pool, &format!("resident {index}")).await?;
            for (community, _) in &home {
                join(pool, user, *community, "member").await?;
            }
            directory.residents.push((user, home));
        }
        for index in 0..4 {
            let user = user(pool, &format!("wanderer {index}")).await?;
            join(pool, user, communities[index].0, "member").await?;
            let others = communities.iter().map(|(community, _)| *community).filter(|id| *id != communities[index].0);
            directory.wanderers.push((user, others.collect()));
        }
        directory.wanderers.push((user(pool, NOMAD).await?, vec![communities[2].0]));
        Ok(directory)
    }
}

async fn user(pool: &PgPool, name: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar("insert into users (username) values ($1) returning id").bind(name).fetch_one(pool).await
}

async fn join(pool: &PgPool, user: i64, community: i64, role: &str) -> sqlx::Result<()> {
    let sql = "insert into memberships (user_id, community_id, role) values ($1, $2, $3)
               on conflict (user_id, community_id) do update set role = excluded.role";
    sqlx::query(sql).bind(user).bind(community).bind(role).execute(pool).await.map(drop)
}

/// What the clients saw.
#[derive(Default)]
pub struct Seen {
    pub writes: Vec<Write>,
    pub histories: Vec<History>,
    /// Answers that were errors, and failures without an answer, by what was asked and what came.
    pub errors: BTreeMap<String, usize>,
    /// The ones among them that no fault excuses.
    pub unexpected: Vec<String>,
    pub registers: usize,
    pub catch_ups: usize,
}

/// The clients at work.
pub struct Clients {
    shared: Arc<Shared>,
    writers: JoinSet<()>,
    pollers: JoinSet<History>,
}

struct Shared {
    http: reqwest::Client,
    base: String,
    pool: PgPool,
    seed: u64,
    /// No more writes.
    quiet: CancellationToken,
    /// Pollers end once they have everything up to here.
    end: tokio::sync::watch::Sender<Option<i64>>,
    seen: Mutex<Seen>,
}

/// What a request came to.
enum Outcome {
    Answer(u16, Value),
    /// Nothing, or not a whole answer.
    Failed,
}

impl Clients {
    pub fn start(cluster: &Cluster, directory: &Directory, seed: u64) -> Result<Self> {
        let shared = Arc::new(Shared {
            http: cluster.http.clone(),
            base: format!("http://{}", cluster.balancer.addr),
            pool: cluster.pool.clone(),
            seed,
            quiet: CancellationToken::new(),
            end: tokio::sync::watch::Sender::new(None),
            seen: Mutex::default(),
        });
        let (mut writers, mut pollers) = (JoinSet::new(), JoinSet::new());
        let mut poller = |name: String, user: i64, scope: Option<Vec<i64>>| -> Result<()> {
            let client = Client::new(&shared, &name, user, scope.clone())?;
            let history = History { name, user, scope, paths: Vec::new() };
            let poller = Poller { client, history, queue: None, cursor: None, beaten: Instant::now() };
            pollers.spawn(poller.run());
            Ok(())
        };
        for (index, (user, homes)) in directory.residents.iter().enumerate() {
            let writer = Client::new(&shared, &format!("writer {index}"), *user, None)?;
            writers.spawn(writer.write(homes.clone()));
            poller(format!("resident {index}, device 1"), *user, None)?;
            poller(format!("resident {index}, device 2"), *user, None)?;
        }
        let narrow = vec![directory.communities[0].0];
        poller("resident 0, narrow token".to_owned(), directory.residents[0].0, Some(narrow))?;
        for (index, (user, places)) in directory.wanderers.iter().enumerate() {
            let name =
                if index + 1 == directory.wanderers.len() { NOMAD.to_owned() } else { format!("wanderer {index}") };
            writers.spawn(Client::new(&shared, &name, *user, None)?.wander(places.clone()));
            poller(format!("{name}, device 1"), *user, None)?;
            poller(format!("{name}, device 2"), *user, None)?;
        }
        Ok(Self { shared, writers, pollers })
    }

    /// So many errors the clients have seen up to now.
    pub fn errors(&self) -> BTreeMap<String, usize> {
        self.shared.seen().errors.clone()
    }

    /// So many changes the clients have asked for up to now.
    pub fn writes(&self) -> usize {
        self.shared.seen().writes.len()
    }

    /// Ends the writing, after which the order has an end.
    pub async fn quiet(&mut self) -> Result<()> {
        self.shared.quiet.cancel();
        while let Some(ended) = self.writers.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// Lets every poller get to `head`, and returns what all clients saw.
    pub async fn finish(mut self, head: i64, patience: Duration) -> Result<Seen> {
        self.shared.end.send_replace(Some(head));
        let finishing = async {
            let mut histories = Vec::new();
            while let Some(ended) = self.pollers.join_next().await {
                histories.push(ended?);
            }
            Ok::<_, anyhow::Error>(histories)
        };
        let histories =
            timeout(patience, finishing).await.context("some poller never got to the end of the order")??;
        Ok(Seen { histories, ..std::mem::take(&mut *self.shared.seen()) })
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no task of this test panics with it held")
    }
}

/// Somebody who sends requests.
struct Client {
    shared: Arc<Shared>,
    name: String,
    user: i64,
    token: String,
    random: StdRng,
    waits: u32,
}

impl Client {
    fn new(shared: &Arc<Shared>, name: &str, user: i64, scope: Option<Vec<i64>>) -> Result<Self> {
        let token = jwt::mint(SECRET, user, scope, 86_400)?;
        let own = name.bytes().fold(shared.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let random = StdRng::seed_from_u64(own);
        Ok(Self { shared: Arc::clone(shared), name: name.to_owned(), user, token, random, waits: 0 })
    }

    async fn send(&mut self, what: &str, request: reqwest::RequestBuilder, patience: Duration) -> Outcome {
        let request = request.bearer_auth(&self.token).timeout(patience);
        let answer = async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status().as_u16(), response.bytes().await?))
        };
        match answer.await {
            Ok((status, body)) => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                if status < 400 {
                    self.waits = 0;
                } else {
                    let code = body["code"].as_str().unwrap_or("(from the balancer)");
                    let error = format!("{what}: {status} {code}");
                    let excused = matches!(status, 502 | 503) || matches!(code, "queue_not_found" | "no_communities");
                    self.count(error, !excused, &body);
                }
                Outcome::Answer(status, body)
            }
            Err(error) => {
                let class = if error.is_timeout() { "no answer in time" } else { "connection lost" };
                self.count(format!("{what}: {class}"), false, &Value::Null);
                Outcome::Failed
            }
        }
    }

    fn count(&self, error: String, unexpected: bool, body: &Value) {
        let mut seen = self.shared.seen();
        if unexpected {
            seen.unexpected.push(format!("{}: {error} {body}", self.name));
        }
        *seen.errors.entry(error).or_default() += 1;
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.shared.http.request(method, format!("{}{path}", self.shared.base))
    }

    async fn back_off(&mut self) {
        let longest = BACK_OFF.0 * 2_u32.pow(self.waits.min(10));
        self.waits += 1;
        let part = self.random.random_range(0.5..=1.0);
        sleep(longest.min(BACK_OFF.1).mul_f64(part)).await;
    }

    /// Writes now and then, until all is to be quiet.
    async fn write(mut self, places: Vec<(i64, i64)>) {
        let mut discussions: Vec<i64> = Vec::new();
        let mut comments: Vec<(i64, i64)> = Vec::new();
        for number in 0.. {
            let pause = Duration::from_millis(self.random.random_range(300..1_300));
            if timeout(pause, self.shared.quiet.cancelled()).await.is_ok() {
                return;
            }
            let text = format!("{} of {}", number, self.name);
            let place = places[self.random.random_range(0..places.len())];
            match self.random.random_range(0..100) {
                _ if discussions.is_empty() => discussions.extend(self.discuss(place, text).await),
                0..10 => discussions.extend(self.discuss(place, text).await),
                10..20 => {
                    let id = discussions[self.random.random_range(0..discussions.len())];
                    self.edit("discussion", id, text).await;
                }
                20..35 if !comments.is_empty() => {
                    let (_, id) = comments[self.random.random_range(0..comments.len())];
                    self.edit("comment", id, text).await;
                }
                35..42 if !comments.is_empty() => {
                    let (_, id) = comments.swap_remove(self.random.random_range(0..comments.len()));
                    self.delete(id).await;
                }
                choice => {
                    let discussion = discussions[self.random.random_range(0..discussions.len())];
                    // Replies are to roots only, so never too deep.
                    let parent =
                        if choice < 60 { comments.iter().find(|(place, _)| *place == discussion) } else { None };
                    let parent = parent.map(|(_, id)| *id);
                    if let Some(id) = self.comment(discussion, parent, text).await {
                        if parent.is_none() {
                            comments.push((discussion, id));
                        }
                    }
                }
            }
        }
    }

    async fn discuss(&mut self, (community, article): (i64, i64), text: String) -> Option<i64> {
        let body = json!({ "community_id": community, "topic": "A topic", "text": text });
        self.post(&format!("/articles/{article}/discussions"), &body, format!("new_discussion {text}")).await
    }

    async fn comment(&mut self, discussion: i64, parent: Option<i64>, text: String) -> Option<i64> {
        let body = json!({ "text": text, "parent_id": parent });
        self.post(&format!("/discussions/{discussion}/comments"), &body, format!("new_comment {text}")).await
    }

    /// Posts until it is done, under one Idempotency-Key: a repetition writes nothing.
    async fn post(&mut self, path: &str, body: &Value, mark: String) -> Option<i64> {
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
        self.shared.seen().writes.push(Write { mark, acknowledged: id.is_some() });
        id
    }

    /// Edits once: whether it was done is known only where it was acknowledged.
    async fn edit(&mut self, what: &str, id: i64, text: String) {
        let request = self.request(Method::PATCH, &format!("/{what}s/{id}")).json(&json!({ "text": text }));
        let outcome = self.send("write", request, PATIENCE).await;
        self.once(outcome, 200, format!("updated_{what} {text}"));
    }

    async fn delete(&mut self, comment: i64) {
        let outcome = self.send("write", self.request(Method::DELETE, &format!("/comments/{comment}")), PATIENCE).await;
        self.once(outcome, 204, format!("deleted_comment {comment}"));
    }

    fn once(&self, outcome: Outcome, done: u16, mark: String) {
        let acknowledged = matches!(outcome, Outcome::Answer(status, _) if status == done);
        self.shared.seen().writes.push(Write { mark, acknowledged });
    }

    /// Joins, leaves and changes roles by plain SQL, as Django does. What came of it the outbox will tell.
    async fn wander(mut self, places: Vec<i64>) {
        loop {
            let pause = Duration::from_millis(self.random.random_range(500..3_000));
            if timeout(pause, self.shared.quiet.cancelled()).await.is_ok() {
                // Or the nomad could not register, to be told the rest.
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

/// A client that follows the events.
struct Poller {
    client: Client,
    history: History,
    queue: Option<String>,
    /// Up to here it has been told everything; None before its first register.
    cursor: Option<i64>,
    beaten: Instant,
}

impl Poller {
    async fn run(mut self) -> History {
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
