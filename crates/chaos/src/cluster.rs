//! The processes of a run: PostgreSQL, Redis, three nodes of the built program, and the network between them.

use std::{
    fs::{self, File, OpenOptions},
    net::{SocketAddr, TcpListener as StdListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use rand::Rng;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{
    balancer::Balancer,
    database::Database,
    link::{Link, Old},
    process::{Service, end, pause_all, repository},
};

pub(crate) const NODES: usize = 3;
/// The secret that signs the tokens.
pub(crate) const SECRET: &str = "a secret of the chaos test, of enough bytes for HS256";
/// It is short, so that registrations expire during faults.
pub(crate) const QUEUE_TTL: Duration = Duration::from_secs(15);

/// A node of the service under test.
pub(crate) struct Node {
    pub addr: SocketAddr,
    pub metrics: SocketAddr,
    /// The link to Redis.
    pub redis: Link,
    /// The link to PostgreSQL.
    pub database: Link,
    server: PathBuf,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    child: Option<Child>,
    paused_until: Option<Instant>,
}

impl Node {
    pub(crate) fn start(&mut self) -> Result<()> {
        let log = || -> Result<File> { Ok(OpenOptions::new().create(true).append(true).open(&self.log)?) };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.server).arg("serve");
        command.env_clear().envs(std::env::var("PATH").map(|path| ("PATH", path)));
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log()?).stderr(log()?).kill_on_drop(true);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Whether the process has ended by itself.
    pub(crate) fn ended_by_itself(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(false),
        }
    }

    pub(crate) async fn end(&mut self, signal: &str) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        end(&mut child, signal).await
    }

    pub(crate) fn pause(&mut self, pause: Duration) -> Result<()> {
        pause_all(&[self.pid().context("it does not run")?], pause)?;
        self.paused_until = Some(Instant::now() + pause);
        Ok(())
    }

    /// Whether the node has no fault at present.
    pub(crate) fn is_whole(&self) -> bool {
        let links_open = self.redis.is_open() && self.database.is_open();
        self.child.is_some() && links_open && self.paused_until.is_none_or(|until| until < Instant::now())
    }

    /// Waits until it is ready for requests.
    pub(crate) async fn ready(&self, http: &reqwest::Client, patience: Duration) -> Result<()> {
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

/// All processes of a run.
pub(crate) struct Cluster {
    pub dir: PathBuf,
    pub database: Database,
    pub redis: Service,
    pub nodes: Vec<Node>,
    pub balancer: Balancer,
    /// The run's own link to PostgreSQL.
    link: Link,
    /// The run's own connections to PostgreSQL.
    pub pool: PgPool,
    pub http: reqwest::Client,
}

impl Cluster {
    /// Starts all processes, with an empty database. The nodes run the program `server`.
    pub(crate) async fn start(server: &Path, with_replica: bool) -> Result<Self> {
        let dir = own_folder()?;
        let mut database = Database::start(&dir).await?;
        let mut redis = Service::prepare("redis", &dir).await?;
        redis.start()?;
        if with_replica {
            database.with_replica(&dir).await?;
        }
        let mut nodes = Vec::new();
        for index in 0..NODES {
            nodes.push(node(server, index, &dir, &database, &redis).await?);
        }
        let link = Link::start(database.primary.addr).await?;
        let pool = PgPoolOptions::new()
            .max_connections(6)
            .acquire_timeout(Duration::from_secs(2))
            .connect_lazy(&format!("{}?application_name=chaos", url_by(&database, &link)))?;
        let addrs = nodes.iter().map(|node| node.addr).collect();
        let balancer = Balancer::start(addrs, &dir.join("balancer.log")).await?;
        // Each request has its own connection, so it goes to the next node.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build()?;
        let mut cluster = Self { dir, database, redis, nodes, balancer, link, pool, http };
        cluster.reachable().await?;
        for node in &mut cluster.nodes {
            node.start()?;
            node.ready(&cluster.http, Duration::from_secs(60)).await?;
        }
        Ok(cluster)
    }

    /// Waits until the database answers.
    pub(crate) async fn reachable(&mut self) -> Result<()> {
        for _ in 0..300 {
            if sqlx::query("select 1").execute(&self.pool).await.is_ok() {
                return Ok(());
            }
            if !self.database.primary.runs()? {
                self.database.primary.start()?;
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("PostgreSQL does not answer; see {:?}", self.dir)
    }

    /// The node whose relay is the leader, that is, holds the advisory lock.
    pub(crate) async fn leader(&self) -> Option<usize> {
        let sql = "select client_port from pg_stat_activity join pg_locks using (pid)
                   where locktype = 'advisory' and granted and datname = current_database() and classid = 6580595
                   limit 1";
        let port = timeout(Duration::from_secs(1), sqlx::query_scalar::<_, i32>(sql).fetch_optional(&self.pool)).await;
        let port = u16::try_from(port.ok()?.ok()??).ok()?;
        self.nodes.iter().position(|node| node.database.owns(port))
    }

    /// Kills the primary. From then on the address leads to the replica.
    pub(crate) async fn fail_over(&mut self, old: Old) -> Result<()> {
        let links: Vec<&Link> =
            self.nodes.iter().map(|node| &node.database).chain(std::iter::once(&self.link)).collect();
        self.database.fail_over(&links, old).await
    }

    /// The nodes' transactions that began before `since` and are still open, by process and start.
    pub(crate) async fn open_transactions(&self, since: DateTime<Utc>) -> Result<Vec<(i32, DateTime<Utc>)>> {
        let sql = "select pid, xact_start from pg_stat_activity
                   where application_name = 'discussions' and backend_type = 'client backend' and xact_start < $1";
        Ok(sqlx::query_as(sql).bind(since).fetch_all(&self.pool).await?)
    }

    /// Ends all processes and removes the folder. After a failed run keep the folder, because its logs may show the cause.
    pub(crate) async fn remove(mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.end("TERM").await?;
        }
        self.pool.close().await;
        self.redis.end("KILL").await?;
        self.database.end().await?;
        remove_folder(&self.dir);
        Ok(())
    }
}

/// The address of the database through `link`.
fn url_by(database: &Database, link: &Link) -> String {
    database.primary.url.replace(&database.primary.addr.to_string(), &link.addr.to_string())
}

async fn node(server: &Path, index: usize, dir: &Path, database: &Database, redis: &Service) -> Result<Node> {
    let (addr, metrics) = (free_addr()?, free_addr()?);
    let to_redis = Link::start(redis.addr).await?;
    let to_database = Link::start(database.primary.addr).await?;
    let environment = vec![
        ("DATABASE_URL", url_by(database, &to_database)),
        ("DATABASE_CONNECTIONS", "10".to_owned()),
        ("REDIS_URL", redis.url.replace(&redis.addr.to_string(), &to_redis.addr.to_string())),
        ("BIND_ADDR", addr.to_string()),
        ("METRICS_ADDR", metrics.to_string()),
        ("JWT_SECRET", SECRET.to_owned()),
        // Few users write much, and all requests come from one address.
        ("WRITES_PER_MINUTE", "0".to_owned()),
        ("VOTES_PER_MINUTE", "0".to_owned()),
        ("REGISTERS_PER_MINUTE", "0".to_owned()),
        ("ANONYMOUS_READS_PER_MINUTE", "0".to_owned()),
        ("QUEUE_TTL_SECONDS", QUEUE_TTL.as_secs().to_string()),
        ("RUST_BACKTRACE", "1".to_owned()),
    ];
    let log = dir.join(format!("node-{index}.log"));
    Ok(Node {
        addr,
        metrics,
        redis: to_redis,
        database: to_database,
        server: server.to_owned(),
        environment,
        log,
        child: None,
        paused_until: None,
    })
}

/// A free port. It is below the range of outgoing connections, so that it is still free when a node starts again.
fn free_addr() -> Result<SocketAddr> {
    for _ in 0..100 {
        let addr = SocketAddr::from(([127, 0, 0, 1], rand::rng().random_range(20_000..32_000)));
        if StdListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    bail!("no free port")
}

/// Creates the folder of this run, and removes the folders of killed runs.
fn own_folder() -> Result<PathBuf> {
    let parent = repository().join(".data/chaos");
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
    for service in ["postgres", "postgres-2", "redis"] {
        // If the service's account cannot reach the checkout, its files are elsewhere.
        if let Ok(elsewhere) = fs::read_to_string(dir.join(service).join("location")) {
            let _ = fs::remove_dir_all(elsewhere.trim());
        }
    }
    let _ = fs::remove_dir_all(dir);
}
