//! The clients, through the balancer: writers, pollers that follow the protocol, and people who come and go.

mod directory;
mod poller;
mod writer;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use discussions::auth::jwt;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::Value;
use sqlx::PgPool;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub use self::directory::{Directory, NOMAD};
use self::poller::Poller;
use crate::{
    checker::{History, Write},
    cluster::{Cluster, SECRET},
};

/// A poll asks for this long: short, so that a silence is told from a parked poll.
pub const POLL_SECONDS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(6);
/// Waits after errors: half to all of it, doubled each time.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

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
            pollers.spawn(Poller::new(client, history).run());
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
}
