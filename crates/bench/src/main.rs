//! `make bench`: measures this server and others on this machine, and writes the figures of docs/performance.md again.
//! scripts/bench.sh starts it, with a private PostgreSQL that syncs to disk as in production.
//!
//! Servers that are compared are measured in turns within one run, because two runs an hour apart may differ more than the
//! servers do.

mod database;
mod delivery;
mod document;
mod fanout;
mod growth;
mod member;
mod nodes;
mod peers;
mod relay;
mod requests;
mod samples;
mod statements;

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use discussions_harness::{
    process,
    server::{self, Server},
};
use serde_json::Value;

use self::database::Database;

/// The stages of the benchmark, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// One event to many parked polls, compared with pollbench's floor and nchan
    Fanout,
    /// From a comment's POST to its delivery
    Delivery,
    /// Requests a second, compared with pgbench
    Requests,
    /// What is a member's own: unread things, notifications, follows
    Member,
    /// The relay with a backlog, and with a steady rate of new rows
    Relay,
    /// The hub's operations alone
    Hub,
    /// Polls over connections in memory
    Connections,
    /// Several nodes on one Redis
    Nodes,
}

/// Measures the server's speed and writes docs/performance.md again
#[derive(Parser)]
struct Settings {
    /// What to measure; by default everything
    stages: Vec<Stage>,
    /// How often each stage is measured; the median counts
    #[arg(long, env = "BENCH_REPEATS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// The numbers of polls that get an event
    #[arg(long, env = "BENCH_POLLS", value_delimiter = ' ', default_value = "1000 5000 19900")]
    polls: Vec<u32>,
    /// How long requests are measured, in seconds
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 6)]
    seconds: u32,
    /// Rows in the relay's backlog
    #[arg(long, env = "BENCH_BACKLOG", default_value_t = 200_000)]
    backlog: u32,
    /// How long rows are written for the relay at a steady rate, in seconds
    #[arg(long, env = "BENCH_OFFER_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..))]
    offer_seconds: u32,
    /// The number of nodes
    #[arg(long, env = "BENCH_NODES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=20))]
    nodes: u32,
    /// Sockets of each node
    #[arg(long, env = "BENCH_NODE_QUEUES", default_value_t = 19_000)]
    node_queues: u32,
    /// How long comments are written to the nodes, in seconds
    #[arg(long, env = "BENCH_NODE_SECONDS", default_value_t = 60)]
    node_seconds: u32,
    /// The document, from the repository's root
    #[arg(long, env = "BENCH_DOCUMENT", default_value = "docs/performance.md")]
    document: PathBuf,
    /// The image with the plots, from the repository's root
    #[arg(long, env = "BENCH_PLOTS", default_value = "docs/images/growth.svg")]
    plots: PathBuf,
    /// The server to measure; by default the one that was built beside this program
    #[arg(long, env = "BENCH_BINARY")]
    server: Option<PathBuf>,
    /// The load generator with `floor`: its program or its source; by default ../shared/pollbench. Without it the project's own
    /// load test runs instead, without a comparison.
    #[arg(long, env = "POLLBENCH")]
    pollbench: Option<PathBuf>,
    /// nginx; by default the one in PATH
    #[arg(long, env = "NGINX_BINARY")]
    nginx_binary: Option<PathBuf>,
    /// nginx's module nchan
    #[arg(long, env = "NCHAN_MODULE", default_value = "/usr/lib/nginx/modules/ngx_nchan_module.so")]
    nchan_module: PathBuf,
    /// An empty database, which the benchmark fills
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The folder of PostgreSQL's programs
    #[arg(long, env = "PG_BIN")]
    postgres_programs: PathBuf,
    /// The folder for logs and results
    #[arg(long, env = "BENCH_WORK")]
    work: PathBuf,
    /// The secret with which the servers check tokens
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    jwt_secret: String,
}

impl Settings {
    fn most_polls(&self) -> u32 {
        self.polls.last().copied().unwrap_or_default()
    }
}

/// The state that the stages share.
struct Bench {
    settings: Settings,
    stages: Vec<Stage>,
    root: PathBuf,
    work: PathBuf,
    server: PathBuf,
    load: PathBuf,
    database: Database,
}

/// The measurements of all stages.
#[derive(Default)]
struct Figures {
    fan_out: Option<fanout::FanOut>,
    delivery: Option<delivery::Delivery>,
    requests: Option<requests::Requests>,
    member: Option<member::Member>,
    relay: Option<relay::Relay>,
    hub: Option<growth::Printed>,
    connections: Option<growth::Printed>,
    nodes: Option<nodes::Nodes>,
}

impl Bench {
    fn new(settings: Settings) -> anyhow::Result<Self> {
        let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize()?;
        let built = std::env::current_exe()?.parent().context("this program is in no folder")?.to_owned();
        let (server, load) =
            (settings.server.clone().unwrap_or(built.join("discussions")), built.join("discussions-load"));
        for program in [&server, &load] {
            ensure!(program.is_file(), "{} is not there: is it built?", program.display());
        }
        let stages = match settings.stages.as_slice() {
            [] => Stage::value_variants().to_vec(),
            some => some.to_vec(),
        };
        let database = Database { url: settings.database_url.clone(), programs: settings.postgres_programs.clone() };
        let work = settings.work.clone();
        Ok(Self { settings, stages, root, work, server: server.canonicalize()?, load, database })
    }

    /// Runs the load test and returns its result. Fails if the load test found a fault.
    fn load(&self, arguments: &str) -> anyhow::Result<Measured> {
        let log = self.work.join("load.log");
        let mut load = process::command(&self.load);
        load.args(arguments.split(' ')).arg("--json").stdout(Stdio::piped()).stderr(process::append(&log)?);
        let output = load.output()?;
        ensure!(output.status.success(), "discussions-load {arguments}: {}; see {}", output.status, log.display());
        Measured::read(&output.stdout)
    }

    /// Starts the server under test with `environment` added to this program's own, and without its limits: a benchmark writes
    /// faster than people.
    fn start_server(&self, environment: &[(&str, &str)]) -> anyhow::Result<Server> {
        let limits = ["WRITES_PER_MINUTE", "VOTES_PER_MINUTE", "REGISTERS_PER_MINUTE", "ANONYMOUS_READS_PER_MINUTE"];
        let environment: Vec<_> =
            limits.map(|limit| (limit, "0")).into_iter().chain(environment.iter().copied()).collect();
        Server::start(&self.server, &self.work.join("server.log"), &environment)
    }

    fn measure(&self) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        for stage in &self.stages {
            eprintln!("==> measuring: {stage:?}");
            match stage {
                Stage::Fanout => figures.fan_out = Some(fanout::measure(self)?),
                Stage::Delivery => figures.delivery = Some(delivery::measure(self)?),
                Stage::Requests => figures.requests = Some(requests::measure(self)?),
                Stage::Member => figures.member = Some(member::measure(self)?),
                Stage::Relay => figures.relay = Some(relay::measure(self)?),
                Stage::Hub => figures.hub = Some(growth::measure(self, "hub")?),
                Stage::Connections => figures.connections = Some(growth::measure(self, "connections")?),
                Stage::Nodes => figures.nodes = Some(nodes::measure(self)?),
            }
        }
        Ok(figures)
    }
}

/// The JSON that a load generator printed.
struct Measured(Value);

impl Measured {
    fn read(json: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(serde_json::from_slice(json)?))
    }

    /// The number at a path such as `/delivery/p50`.
    fn number(&self, path: &str) -> anyhow::Result<f64> {
        self.0.pointer(path).and_then(Value::as_f64).with_context(|| format!("no number at {path} of {}", self.0))
    }
}

fn main() -> anyhow::Result<()> {
    let bench = Bench::new(Settings::parse())?;
    database::seed(&bench)?;
    let figures = document::figures(&bench, &bench.measure()?)?;
    document::write(&bench.root.join(&bench.settings.document), &figures)?;
    print!("{figures}");
    Ok(())
}
