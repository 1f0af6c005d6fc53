//! The clients, through the balancer: writers, pollers that follow the protocol, and people who come and go.

mod directory;
mod hang_up;
mod poller;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use discussions::auth::jwt;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::Value;
use sqlx::PgPool;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
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
    /// Things that were asked for and are not there. A failover may have lost them.
    pub missing: Vec<(DateTime<Utc>, String)>,
    pub registers: usize,
    pub catch_ups: usize,
    /// What each poller tried, by its name.
    pub attempts: HashMap<String, Vec<Attempt>>,
}

/// A request and what came of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub what: String,
}

/// The clients at work.
pub struct Clients {
    shared: Arc<Shared>,
    writers: JoinSet<()>,
    pollers: JoinSet<(History, Vec<Attempt>)>,
    /// Who writes, and where.
    residents: Vec<(i64, Vec<(i64, i64)>)>,
    bursts: usize,
}

struct Shared {
    http: reqwest::Client,
    base: String,
    addr: SocketAddr,
    pool: PgPool,
    seed: u64,
    /// No more writes.
    quiet: CancellationToken,
    /// Pollers end once they have everything up to here.
    end: watch::Sender<Option<i64>>,
    /// So many failovers were made.
    failovers: watch::Sender<usize>,
    seen: Mutex<Seen>,
    /// When each poller was last told anything.
    heard: Mutex<HashMap<String, Instant>>,
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
            addr: cluster.balancer.addr,
            pool: cluster.pool.clone(),
            seed,
            quiet: CancellationToken::new(),
            end: watch::Sender::new(None),
            failovers: watch::Sender::new(0),
            seen: Mutex::default(),
            heard: Mutex::default(),
        });
        let (mut writers, mut pollers) = (JoinSet::new(), JoinSet::new());
        let mut poller = |name: String, user: i64, scope: Option<Vec<i64>>, place| -> Result<()> {
            let client = Client::new(&shared, &name, user, scope.clone())?;
            let history = History { name, user, scope, ..History::default() };
            pollers.spawn(Poller::new(client, history, place).run());
            Ok(())
        };
        for (index, (user, homes)) in directory.residents.iter().enumerate() {
            let writer = Client::new(&shared, &format!("writer {index}"), *user, None)?;
            writers.spawn(writer.write(homes.clone()));
            poller(format!("resident {index}, device 1"), *user, None, Some(homes[0]))?;
            poller(format!("resident {index}, device 2"), *user, None, Some(homes[1]))?;
        }
        let narrow = directory.communities[0];
        poller("resident 0, narrow token".to_owned(), directory.residents[0].0, Some(vec![narrow.0]), Some(narrow))?;
        for (index, (user, places)) in directory.wanderers.iter().enumerate() {
            let is_nomad = index + 1 == directory.wanderers.len();
            let name = if is_nomad { NOMAD.to_owned() } else { format!("wanderer {index}") };
            let home = (!is_nomad).then(|| directory.communities[index]);
            writers.spawn(Client::new(&shared, &name, *user, None)?.wander(places.clone()));
            poller(format!("{name}, device 1"), *user, None, home)?;
            poller(format!("{name}, device 2"), *user, None, home)?;
        }
        Ok(Self { shared, writers, pollers, residents: directory.residents.clone(), bursts: 0 })
    }

    /// For a while some clients hang up on their writes, and others write as fast as they can.
    pub fn hang_up(&mut self, lasting: Duration) -> Result<()> {
        let deadline = Instant::now() + lasting;
        self.bursts += 1;
        for index in 0..hang_up::HANG_UPS + hang_up::BUSY_WRITERS {
            let (user, homes) = &self.residents[index % self.residents.len()];
            let place = homes[index % homes.len()];
            let client = |what: &str| {
                Client::new(&self.shared, &format!("{what} {index} of burst {}", self.bursts), *user, None)
            };
            if index < hang_up::HANG_UPS {
                self.writers.spawn(client("hanger-up")?.hang_up(place, deadline));
            } else {
                self.writers.spawn(client("busy writer")?.write_fast(place, deadline));
            }
        }
        Ok(())
    }

    /// Tells the writers that what they know may be lost.
    pub fn failed_over(&self) {
        self.shared.failovers.send_modify(|failovers| *failovers += 1);
    }

    /// Whether every poller that is measured was told something since.
    pub fn all_heard(&self, since: Instant) -> bool {
        let heard = self.shared.heard.lock().expect("no task panics while it holds the lock");
        heard.iter().all(|(name, at)| name.starts_with(NOMAD) || *at > since)
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
            let (mut histories, mut attempts) = (Vec::new(), HashMap::new());
            while let Some(ended) = self.pollers.join_next().await {
                let (history, tried) = ended?;
                attempts.insert(history.name.clone(), tried);
                histories.push(history);
            }
            Ok::<_, anyhow::Error>((histories, attempts))
        };
        let (histories, attempts) =
            timeout(patience, finishing).await.context("some poller never got to the end of the order")??;
        Ok(Seen { histories, attempts, ..std::mem::take(&mut *self.shared.seen()) })
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no task panics while it holds the lock")
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
    attempts: Vec<Attempt>,
}

impl Client {
    fn new(shared: &Arc<Shared>, name: &str, user: i64, scope: Option<Vec<i64>>) -> Result<Self> {
        let scope = scope.map(|communities| communities.into_iter().map(Into::into).collect());
        let token = jwt::mint(SECRET, user.into(), scope, 86_400)?;
        let own = name.bytes().fold(shared.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let random = StdRng::seed_from_u64(own);
        Ok(Self {
            shared: Arc::clone(shared),
            name: name.to_owned(),
            user,
            token,
            random,
            waits: 0,
            attempts: Vec::new(),
        })
    }

    async fn send(&mut self, what: &str, request: reqwest::RequestBuilder, patience: Duration) -> Outcome {
        let from = Utc::now();
        let request = request.bearer_auth(&self.token).timeout(patience);
        let answer = async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status().as_u16(), response.bytes().await?))
        };
        let (outcome, came) = match answer.await {
            Ok((status, body)) => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let code = body["code"].as_str().unwrap_or("(from the balancer)").to_owned();
                if status < 400 {
                    self.waits = 0;
                } else if matches!(&*code, "discussion_not_found" | "comment_not_found" | "parent_not_found") {
                    self.count(format!("{what}: {status} {code}"), false, &body);
                    self.shared.seen().missing.push((Utc::now(), format!("{}: {what}: {code}", self.name)));
                } else {
                    let excused = matches!(status, 502 | 503) || matches!(&*code, "queue_not_found" | "no_communities");
                    self.count(format!("{what}: {status} {code}"), !excused, &body);
                }
                let came = if status < 400 { status.to_string() } else { format!("{status} {code}") };
                (Outcome::Answer(status, body), came)
            }
            Err(error) => {
                let class = if error.is_timeout() { "no answer in time" } else { "connection lost" };
                self.count(format!("{what}: {class}"), false, &Value::Null);
                (Outcome::Failed, class.to_owned())
            }
        };
        self.attempts.push(Attempt { from, to: Utc::now(), what: format!("{what}: {came}") });
        outcome
    }

    /// Notes that it was told something.
    fn hear(&self) {
        let mut heard = self.shared.heard.lock().expect("no task panics while it holds the lock");
        heard.insert(self.name.clone(), Instant::now());
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
