//! The processes: a private PostgreSQL and Redis, and three nodes of the built program, each with its own link to Redis.
//!
//! All of them get a death signal from the kernel, so that none outlives this test, however it ends. Paused ones are
//! continued by the very shell that stopped them.

use std::{
    fs::{self, File, OpenOptions},
    net::{SocketAddr, TcpListener as StdListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::network::{Balancer, Link};

pub const NODES: usize = 3;
/// What tokens are signed with.
pub const SECRET: &str = "a secret of the chaos test, of enough bytes for HS256";
/// Short, so that registrations expire while things are down.
pub const QUEUE_TTL: Duration = Duration::from_secs(15);
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A private service that a script of this repository runs.
pub struct Service {
    script: PathBuf,
    dir: PathBuf,
    child: Option<Child>,
    pub url: String,
    pub addr: SocketAddr,
    paused_until: Option<Instant>,
}

impl Service {
    async fn prepare(name: &str, dir: &Path) -> Result<Self> {
        let script = Path::new(ROOT).join(format!("scripts/{name}.sh"));
        let dir = dir.join(name);
        let output = Command::new(&script).arg("prepare").arg(&dir).output().await?;
        ensure!(output.status.success(), "{name}.sh prepare: {}", String::from_utf8_lossy(&output.stderr));
        let url = fs::read_to_string(dir.join("url"))?.trim().to_owned();
        let port: u16 = fs::read_to_string(dir.join("port"))?.trim().parse()?;
        Ok(Self { script, dir, child: None, url, addr: ([127, 0, 0, 1], port).into(), paused_until: None })
    }

    /// Starts it, and does not wait until it answers.
    pub fn start(&mut self) -> Result<()> {
        let mut command = Command::new(&self.script);
        command.arg("run").arg(&self.dir).stdin(Stdio::null()).kill_on_drop(true);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Whether a process of it runs (it may be starting, or paused).
    pub fn runs(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    pub fn is_whole(&mut self) -> Result<bool> {
        Ok(self.runs()? && self.paused_until.is_none_or(|until| until < Instant::now()))
    }

    /// `signal` ends it; returns when it has.
    pub async fn end(&mut self, signal: &str) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        end(&mut child, signal).await
    }

    /// Stops it, children included, and continues it after a while.
    pub fn pause(&mut self, pause: Duration) -> Result<()> {
        let pid = self.child.as_ref().and_then(Child::id).context("it does not run")?;
        let mut pids = vec![pid];
        pids.extend(children(pid));
        pause_all(&pids, pause)?;
        self.paused_until = Some(Instant::now() + pause);
        Ok(())
    }
}

/// A node of the service under test.
pub struct Node {
    pub addr: SocketAddr,
    pub metrics: SocketAddr,
    pub link: Link,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    child: Option<Child>,
    paused_until: Option<Instant>,
}

impl Node {
    pub fn start(&mut self) -> Result<()> {
        let log = || -> Result<File> { Ok(OpenOptions::new().create(true).append(true).open(&self.log)?) };
        let binary = std::env::var("DISCUSSIONS_BIN").unwrap_or(env!("CARGO_BIN_EXE_discussions").to_owned());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", &binary, "serve"]);
        command.env_clear().envs(std::env::var("PATH").map(|path| ("PATH", path)));
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log()?).stderr(log()?).kill_on_drop(true);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Whether the process has ended although nobody ended it.
    pub fn ended_by_itself(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(false),
        }
    }

    pub async fn end(&mut self, signal: &str) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        end(&mut child, signal).await
    }

    pub fn pause(&mut self, pause: Duration) -> Result<()> {
        pause_all(&[self.pid().context("it does not run")?], pause)?;
        self.paused_until = Some(Instant::now() + pause);
        Ok(())
    }

    /// Whether no fault is on it.
    pub fn is_whole(&self) -> bool {
        self.child.is_some() && self.link.is_open() && self.paused_until.is_none_or(|until| until < Instant::now())
    }

    /// Waits until it is ready for requests.
    pub async fn ready(&self, http: &reqwest::Client, patience: Duration) -> Result<()> {
        let url = format!("http://{}/health/ready", self.addr);
        let ready = async {
            loop {
                let answer = http.get(&url).timeout(Duration::from_secs(5)).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(patience, ready).await.with_context(|| format!("a node was not ready in time; see {:?}", self.log))
    }
}

/// Everything that runs.
pub struct Cluster {
    dir: PathBuf,
    pub postgres: Service,
    pub redis: Service,
    pub nodes: Vec<Node>,
    pub balancer: Balancer,
    /// The test's own connections.
    pub pool: PgPool,
    pub http: reqwest::Client,
}

impl Cluster {
    /// Starts it all, with an empty database.
    pub async fn start() -> Result<Self> {
        let dir = own_folder()?;
        let mut postgres = Service::prepare("postgres", &dir).await?;
        let mut redis = Service::prepare("redis", &dir).await?;
        postgres.start()?;
        redis.start()?;
        let mut nodes = Vec::new();
        for index in 0..NODES {
            nodes.push(node(index, &dir, &postgres, &redis).await?);
        }
        let pool = PgPoolOptions::new()
            .max_connections(6)
            .acquire_timeout(Duration::from_secs(2))
            .connect_lazy(&format!("{}?application_name=chaos", postgres.url))?;
        let balancer = Balancer::start(nodes.iter().map(|node| node.addr).collect()).await?;
        // A connection a request: each goes to the next node.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build()?;
        let mut cluster = Self { dir, postgres, redis, nodes, balancer, pool, http };
        cluster.reachable().await?;
        for node in &mut cluster.nodes {
            node.start()?;
            node.ready(&cluster.http, Duration::from_secs(60)).await?;
        }
        Ok(cluster)
    }

    /// Waits until the database answers.
    pub async fn reachable(&mut self) -> Result<()> {
        for _ in 0..300 {
            if sqlx::query("select 1").execute(&self.pool).await.is_ok() {
                return Ok(());
            }
            if !self.postgres.runs()? {
                self.postgres.start()?;
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("PostgreSQL does not answer; see {:?}", self.dir)
    }

    /// The node whose relay is the leader: it holds the advisory lock.
    pub async fn leader(&self) -> Option<usize> {
        let sql = "select client_port from pg_stat_activity join pg_locks using (pid)
                   where locktype = 'advisory' and granted and datname = current_database() and classid = 6580595
                   limit 1";
        let port = timeout(Duration::from_secs(1), sqlx::query_scalar::<_, i32>(sql).fetch_optional(&self.pool)).await;
        let port = port.ok()?.ok()??;
        self.nodes.iter().position(|node| node.pid().is_some_and(|pid| owns_port(pid, port)))
    }

    /// Removes its folder: for a test that has passed. Otherwise the logs in it may say why.
    pub async fn remove(mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.end("TERM").await?;
        }
        self.pool.close().await;
        self.redis.end("KILL").await?;
        self.postgres.end("INT").await?;
        remove_folder(&self.dir);
        Ok(())
    }
}

async fn node(index: usize, dir: &Path, postgres: &Service, redis: &Service) -> Result<Node> {
    let (addr, metrics) = (free_addr()?, free_addr()?);
    let link = Link::start(redis.addr).await?;
    let environment = vec![
        ("DATABASE_URL", postgres.url.clone()),
        ("DATABASE_CONNECTIONS", "10".to_owned()),
        ("REDIS_URL", redis.url.replace(&redis.addr.to_string(), &link.addr.to_string())),
        ("BIND_ADDR", addr.to_string()),
        ("METRICS_ADDR", metrics.to_string()),
        ("JWT_SECRET", SECRET.to_owned()),
        ("QUEUE_TTL_SECONDS", QUEUE_TTL.as_secs().to_string()),
        ("RUST_BACKTRACE", "1".to_owned()),
    ];
    let log = dir.join(format!("node-{index}.log"));
    Ok(Node { addr, metrics, link, environment, log, child: None, paused_until: None })
}

/// Below the range that the kernel gives to outgoing connections: a node that is down must find its port free.
fn free_addr() -> Result<SocketAddr> {
    for _ in 0..100 {
        let addr = SocketAddr::from(([127, 0, 0, 1], rand::rng().random_range(20_000..32_000)));
        if StdListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    bail!("no free port")
}

/// A folder of this run; those of runs that were killed are removed.
fn own_folder() -> Result<PathBuf> {
    let parent = Path::new(ROOT).join(".data/chaos");
    fs::create_dir_all(&parent)?;
    for old in fs::read_dir(&parent)?.flatten() {
        if !Path::new("/proc").join(old.file_name()).exists() {
            remove_folder(&old.path());
        }
    }
    let dir = parent.join(std::process::id().to_string());
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn remove_folder(dir: &Path) {
    for service in ["postgres", "redis"] {
        // Where the service's account cannot reach the checkout, its files are elsewhere.
        if let Ok(elsewhere) = fs::read_to_string(dir.join(service).join("location")) {
            let _ = fs::remove_dir_all(elsewhere.trim());
        }
    }
    let _ = fs::remove_dir_all(dir);
}

async fn end(child: &mut Child, signal: &str) -> Result<()> {
    if let Some(pid) = child.id() {
        shell(&format!("kill -{signal} {pid}"))?.wait().await?;
    }
    timeout(Duration::from_secs(20), child.wait())
        .await
        .with_context(|| format!("did not end after SIG{signal}"))??;
    Ok(())
}

fn pause_all(pids: &[u32], pause: Duration) -> Result<()> {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let pids = pids.join(" ");
    let mut paused = shell(&format!("kill -STOP {pids}; sleep {}; kill -CONT {pids}", pause.as_secs_f64()))?;
    tokio::spawn(async move { paused.wait().await });
    Ok(())
}

/// Not killed when dropped: a paused process must be continued.
fn shell(script: &str) -> Result<Child> {
    Ok(Command::new("sh").args(["-c", script]).stderr(Stdio::null()).spawn()?)
}

fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // The name of a process may hold anything, but it ends at the last bracket.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        if fields.split_whitespace().nth(1) == Some(&parent.to_string()) {
            found.push(pid);
        }
    }
    found
}

/// Whether the process has a connection from this port.
fn owns_port(pid: u32, port: i32) -> bool {
    let from = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let inodes: Vec<String> = fields
        .filter(|fields| fields.get(1) == Some(&from.as_str()))
        .filter_map(|fields| fields.get(9).map(|inode| format!("socket:[{inode}]")))
        .collect();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
}
