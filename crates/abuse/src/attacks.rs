//! The attacks. Each runs until its token is cancelled, and then reports what it saw.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Scene,
    people::{ARTICLE, ATTACKING_PEOPLE, ELSEWHERE, HIDDEN, HOME, HOT_COMMENT, PUBLIC, VOTING_PEOPLE},
};

/// Requests that a flood has under way at the same time.
const FLOOD: usize = 16;
/// Sockets that never read their answers.
const SLOW_READERS: i64 = 64;
/// Sockets that never send a request.
const IDLE_CONNECTIONS: usize = 1_500;
/// How often each voter votes, just within the limit.
const VOTE_EVERY: Duration = Duration::from_millis(500);
/// Clients that poll with old cursors, and how often each polls.
const OLD_CURSORS: i64 = 4;
const OLD_CURSOR_EVERY: Duration = Duration::from_millis(143);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// Sockets that ask for a large answer and never read it
    SlowReaders,
    /// The same, with requests that hyper serves
    SlowReadersByHyper,
    /// Clients that ask for a long past again and again
    OldCursors,
    /// One member who writes small comments without pause in the ordinary users' community
    WriteFlood,
    /// Many members who write the largest possible comments in another community
    LargeComments,
    /// One user who registers queues without pause
    RegisterFlood,
    /// A client without a token that reads without pause
    AnonymousReads,
    /// Many members who vote on one comment, 500 times a second, in the discussion that an ordinary user writes in
    HotComment,
    /// Connections without a request
    IdleConnections,
    /// An outsider who compares the times of hidden and unknown things
    HiddenTiming,
}

impl Display for Attack {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// An attack under way.
#[derive(Default)]
pub(crate) struct Attackers {
    tasks: JoinSet<()>,
    saw: Arc<Saw>,
}

/// What the attackers saw, with counts.
#[derive(Default)]
struct Saw(Mutex<BTreeMap<String, usize>>);

impl Saw {
    fn count(&self, what: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what.into()).or_default() += 1;
    }
}

impl Attackers {
    /// Waits for the attackers and returns what they saw. The attack's token must be cancelled before.
    pub(crate) async fn join(mut self) -> String {
        while self.tasks.join_next().await.is_some() {}
        let saw = self.saw.0.lock().unwrap_or_else(PoisonError::into_inner);
        saw.iter().map(|(what, times)| format!("{what}: {times}")).collect::<Vec<_>>().join(", ")
    }

    /// Sends the requests that `make` makes without pause, [`FLOOD`] at a time.
    fn flood(&mut self, ended: &CancellationToken, make: impl Fn(usize) -> RequestBuilder + Send + Sync + 'static) {
        let make = Arc::new(make);
        for index in 0..FLOOD {
            let (make, saw, ended) = (Arc::clone(&make), Arc::clone(&self.saw), ended.clone());
            self.tasks.spawn(async move {
                for number in 0.. {
                    let request = make(number * FLOOD + index);
                    let answer = async {
                        let answer = request.send().await?;
                        let status = answer.status();
                        answer.bytes().await?;
                        Ok::<_, reqwest::Error>(status)
                    };
                    tokio::select! {
                        answer = answer => match answer {
                            Ok(status) => saw.count(status.as_u16().to_string()),
                            Err(_) => saw.count("no answer"),
                        },
                        () = ended.cancelled() => return,
                    }
                }
            });
        }
    }
}

/// Starts `attack`; it ends with `ended`.
pub(crate) async fn start(attack: Attack, scene: &Scene, ended: CancellationToken) -> Result<Attackers> {
    let mut attackers = Attackers::default();
    // Attackers have connections of their own.
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let url = scene.url.clone();
    match attack {
        Attack::SlowReaders => slow_readers(scene, &mut attackers, &ended, "").await?,
        Attack::SlowReadersByHyper => slow_readers(scene, &mut attackers, &ended, "TE: trailers\r\n").await?,
        Attack::OldCursors => {
            for index in 0..OLD_CURSORS {
                let (http, token, saw) = (http.clone(), scene.people.attacker(index)?, Arc::clone(&attackers.saw));
                let (path, ended) = (old_poll(scene, &token).await?, ended.clone());
                attackers.tasks.spawn(async move {
                    while timeout(OLD_CURSOR_EVERY, ended.cancelled()).await.is_err() {
                        let answer = async {
                            let answer = http.get(&path).bearer_auth(&token).send().await?;
                            answer.bytes().await
                        };
                        match answer.await {
                            Ok(body) => saw.count(format!("answer of {:.0} MB", body.len() as f64 / 1e6)),
                            Err(_) => saw.count("no answer"),
                        }
                    }
                });
            }
        }
        Attack::WriteFlood => {
            let (token, path) = (scene.people.attacker(0)?, format!("{url}/discussions/{}/comments", HOME * 1_000));
            attackers.flood(&ended, move |number| {
                http.post(&path).bearer_auth(&token).json(&json!({ "text": format!("flood {number}") }))
            });
        }
        Attack::LargeComments => {
            let tokens: Vec<String> =
                (0..ATTACKING_PEOPLE).map(|index| scene.people.attacker(index)).collect::<Result<_>>()?;
            let (path, text) = (format!("{url}/discussions/{}/comments", ELSEWHERE * 1_000), "文".repeat(50_000));
            attackers.flood(&ended, move |number| {
                let token = &tokens[number % tokens.len()];
                http.post(&path).bearer_auth(token).json(&json!({ "text": text }))
            });
        }
        Attack::RegisterFlood => {
            let (token, path) = (scene.people.attacker(0)?, format!("{url}/register"));
            attackers.flood(&ended, move |_| http.post(&path).bearer_auth(&token).json(&json!({})));
        }
        Attack::AnonymousReads => {
            let path = format!("{url}/articles/{ARTICLE}/discussions?community_id={PUBLIC}&limit=100");
            attackers.flood(&ended, move |_| http.request(Method::GET, &path));
        }
        Attack::HotComment => {
            for index in 0..VOTING_PEOPLE {
                let (http, token, saw) = (http.clone(), scene.people.voter(index)?, Arc::clone(&attackers.saw));
                let (path, ended) = (format!("{url}/comments/{HOT_COMMENT}/vote"), ended.clone());
                attackers.tasks.spawn(async move {
                    sleep(VOTE_EVERY * index as u32 / VOTING_PEOPLE as u32).await;
                    let mut ticks = interval(VOTE_EVERY);
                    for value in [1, -1, 0].into_iter().cycle().skip(index as usize % 3) {
                        tokio::select! {
                            _ = ticks.tick() => {}
                            () = ended.cancelled() => return,
                        }
                        let vote = http.put(&path).bearer_auth(&token).json(&json!({ "value": value }));
                        match vote.send().await {
                            Ok(answer) => saw.count(answer.status().as_u16().to_string()),
                            Err(_) => saw.count("no answer"),
                        }
                    }
                });
            }
        }
        Attack::IdleConnections => idle_connections(scene, &mut attackers, &ended).await?,
        Attack::HiddenTiming => {
            let (token, saw) = (scene.people.attacker(1)?, Arc::clone(&attackers.saw));
            attackers.tasks.spawn(async move {
                let times = compare(&http, &url, &token, &ended).await;
                saw.count(match times {
                    Ok([hidden, unknown]) => format!(
                        "hidden / unknown {:.2} ({:.2} / {:.2} ms), repeats",
                        hidden.as_secs_f64() / unknown.as_secs_f64(),
                        hidden.as_secs_f64() * 1e3,
                        unknown.as_secs_f64() * 1e3
                    ),
                    Err(error) => error.to_string(),
                });
            });
        }
    }
    Ok(attackers)
}

/// Registers a queue and returns the URL of a poll that asks for all large events.
async fn old_poll(scene: &Scene, token: &str) -> Result<String> {
    let request = scene.http.post(format!("{}/register", scene.url)).bearer_auth(token).json(&json!({}));
    let answer: Value = request.send().await?.error_for_status()?.json().await?;
    let queue = answer["queue_id"].as_str().context("no queue_id")?;
    Ok(format!("{}/poll?queue_id={queue}&last_event_id={}&timeout=0", scene.url, scene.people.old_cursor))
}

async fn connect(scene: &Scene) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // The kernel takes little of the answer for a reader that does not read.
    socket.set_recv_buffer_size(4_096)?;
    let address = scene.url.strip_prefix("http://").context("not http://")?.parse()?;
    Ok(socket.connect(address).await?)
}

/// `header` decides who serves the request.
async fn slow_readers(
    scene: &Scene,
    attackers: &mut Attackers,
    ended: &CancellationToken,
    header: &'static str,
) -> Result<()> {
    for index in 0..SLOW_READERS {
        let token = scene.people.attacker(index)?;
        let poll = old_poll(scene, &token).await?;
        let path = poll.strip_prefix(&scene.url).context("another address")?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}Authorization: Bearer {token}\r\n\r\n");
        let mut stream = connect(scene).await?;
        stream.write_all(request.as_bytes()).await?;
        let (saw, ended) = (Arc::clone(&attackers.saw), ended.clone());
        attackers.tasks.spawn(async move {
            ended.cancelled().await;
            // First comes what the kernel has buffered, and then the end of the connection or more of the answer.
            let mut bytes = 0;
            let mut buffer = vec![0; 64 * 1024];
            let end = loop {
                match timeout(Duration::from_millis(500), stream.read(&mut buffer)).await {
                    Ok(Ok(0) | Err(_)) => break "connections that the server ended",
                    Ok(Ok(read)) => bytes += read,
                    Err(_) => break "connections still open",
                }
                if bytes > 8 << 20 {
                    break "connections still open";
                }
            };
            saw.count(end);
        });
    }
    Ok(())
}

async fn idle_connections(scene: &Scene, attackers: &mut Attackers, ended: &CancellationToken) -> Result<()> {
    for _ in 0..IDLE_CONNECTIONS {
        let mut stream = connect(scene).await?;
        let (saw, ended, began) = (Arc::clone(&attackers.saw), ended.clone(), Instant::now());
        attackers.tasks.spawn(async move {
            tokio::select! {
                _ = stream.read_u8() => saw.count(format!("ended after {} s", began.elapsed().as_secs())),
                () = ended.cancelled() => saw.count("still open at the end"),
            }
        });
    }
    Ok(())
}

/// The median times of an answer about a hidden and about an unknown discussion.
async fn compare(http: &reqwest::Client, url: &str, token: &str, ended: &CancellationToken) -> Result<[Duration; 2]> {
    let mut paths =
        [(0, HIDDEN * 1_000), (1, 999_999_999)].map(|(which, id)| (which, format!("{url}/discussions/{id}/comments")));
    let mut times = [Vec::new(), Vec::new()];
    while !ended.is_cancelled() {
        // The first request after a pause takes longer, so each is the first as often as the other.
        paths.reverse();
        for (which, path) in &paths {
            let began = Instant::now();
            let answer = http.get(path).bearer_auth(token).send().await?;
            anyhow::ensure!(answer.status() == 404, "{}", answer.status());
            answer.bytes().await?;
            times[*which].push(began.elapsed());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    }))
}
