//! The clients, which use the balancer: writers, pollers that follow the protocol, and users who join and leave communities.

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

pub(crate) use self::directory::{Directory, NOMAD};
use self::poller::Poller;
use crate::{
    checker::{History, Write},
    cluster::{Cluster, SECRET},
};

/// The timeout of polls. It is short, so that a silence differs from a parked poll.
pub(crate) const POLL_SECONDS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(6);
/// The first and the longest pause after an error. It doubles each time, and half to all of it is waited.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The observations of all clients.
#[derive(Default)]
pub(crate) struct Observations {
    pub writes: Vec<Write>,
    pub histories: Vec<History>,
    /// The counts of error answers and of requests without an answer, by request and error.
    pub errors: BTreeMap<String, usize>,
    /// The errors that no fault explains.
    pub unexpected: Vec<String>,
    /// Requests for discussions and comments that did not exist. A failover may have lost them.
    pub missing: Vec<(DateTime<Utc>, String)>,
    pub registers: usize,
    pub catch_ups: usize,
    /// The attempts of each poller, by its name.
    pub attempts: HashMap<String, Vec<Attempt>>,
}

/// A request and its result.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub what: String,
}

/// The clients at work.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    writers: JoinSet<()>,
    pollers: JoinSet<(History, Vec<Attempt>)>,
    /// The users who write, with their placements (community and article).
    residents: Vec<(i64, Vec<(i64, i64)>)>,
    bursts: usize,
}

struct Shared {
    http: reqwest::Client,
    base: String,
    addr: SocketAddr,
    pool: PgPool,
    seed: u64,
    /// Cancelled when the writers are to end.
    quiet: CancellationToken,
    /// Pollers end when they have everything up to this event.
    end: watch::Sender<Option<i64>>,
    /// The number of failovers so far.
    failovers: watch::Sender<usize>,
    seen: Mutex<Observations>,
    /// What was written since the last failover, to be voted on.
    things: Mutex<Vec<Thing>>,
    /// When each poller last got an answer.
    heard: Mutex<HashMap<String, Instant>>,
}

/// A discussion or comment.
#[derive(Clone)]
struct Thing {
    community: i64,
    author: i64,
    path: String,
}

/// The result of a request.
enum Outcome {
    Answer(u16, Value),
    /// No answer, or an incomplete one.
    Failed,
}

impl Clients {
    pub(crate) fn start(cluster: &Cluster, directory: &Directory, seed: u64) -> Result<Self> {
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
            things: Mutex::default(),
            heard: Mutex::default(),
        });
        let (mut writers, mut pollers) = (JoinSet::new(), JoinSet::new());
        let mut poller = |name: String, user: i64, scope: Option<Vec<i64>>, placement| -> Result<()> {
            let client = Client::new(&shared, &name, user, scope.clone())?;
            let history = History { name, user, scope, ..History::default() };
            pollers.spawn(Poller::new(client, history, placement).run());
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
        for (index, user) in directory.watchers.iter().enumerate() {
            let name = format!("watcher {index}");
            let client = Client::new(&shared, &name, *user, None)?;
            let watch = vec![directory.communities[0].0, directory.turning];
            let history = History { name, user: *user, watch, ..History::default() };
            pollers.spawn(Poller::new(client, history, Some(directory.communities[0])).run());
        }
        writers.spawn(Client::new(&shared, "turner", directory.watchers[0], None)?.turn(directory.turning));
        Ok(Self { shared, writers, pollers, residents: directory.residents.clone(), bursts: 0 })
    }

    /// Starts clients that hang up on their writes and others that write as fast as they can, for `lasting`.
    pub(crate) fn hang_up(&mut self, lasting: Duration) -> Result<()> {
        let deadline = Instant::now() + lasting;
        self.bursts += 1;
        for index in 0..hang_up::HANG_UPS + hang_up::BUSY_WRITERS {
            let (user, homes) = &self.residents[index % self.residents.len()];
            let placement = homes[index % homes.len()];
            let client = |what: &str| {
                Client::new(&self.shared, &format!("{what} {index} of burst {}", self.bursts), *user, None)
            };
            if index < hang_up::HANG_UPS {
                self.writers.spawn(client("hanger-up")?.hang_up(placement, deadline));
            } else {
                self.writers.spawn(client("busy writer")?.write_fast(placement, deadline));
            }
        }
        Ok(())
    }

    /// Tells the writers that the things they know may be lost.
    pub(crate) fn failed_over(&self) {
        self.shared.things().clear();
        self.shared.failovers.send_modify(|failovers| *failovers += 1);
    }

    /// Whether every measured poller has got an answer since `since`.
    pub(crate) fn all_heard(&self, since: Instant) -> bool {
        let heard = self.shared.heard.lock().expect("no task panics while it holds the lock");
        heard.iter().all(|(name, at)| name.starts_with(NOMAD) || *at > since)
    }

    /// The errors that the clients have seen so far.
    pub(crate) fn errors(&self) -> BTreeMap<String, usize> {
        self.shared.seen().errors.clone()
    }

    /// The number of changes that the clients have requested so far.
    pub(crate) fn writes(&self) -> usize {
        self.shared.seen().writes.len()
    }

    /// Ends the writers, so that the order gets no new events.
    pub(crate) async fn quiet(&mut self) -> Result<()> {
        self.shared.quiet.cancel();
        while let Some(ended) = self.writers.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// Waits until every poller has reached `head`. Returns the observations of all clients.
    pub(crate) async fn finish(mut self, head: i64, patience: Duration) -> Result<Observations> {
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
            timeout(patience, finishing).await.context("some poller never reached the end of the order")??;
        Ok(Observations { histories, attempts, ..std::mem::take(&mut *self.shared.seen()) })
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Observations> {
        self.seen.lock().expect("no task panics while it holds the lock")
    }

    fn things(&self) -> std::sync::MutexGuard<'_, Vec<Thing>> {
        self.things.lock().expect("no task panics while it holds the lock")
    }
}

/// A user who sends requests.
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
                // A thing may be deleted before the vote on it, and after a failover its id may be another thing's.
                let is_late_vote =
                    what == "vote" && matches!(&*code, "discussion_deleted" | "comment_deleted" | "vote_on_own");
                if status < 400 || is_late_vote {
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

    /// Records that this client got an answer.
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
