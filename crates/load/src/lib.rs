//! The load test: real HTTP against running servers, one connection for each queue, with its own data in the database. The
//! program is `discussions-load`.
//!
//! The text of every comment begins with a tag that says who wrote it, where and when. So each reader knows by itself which
//! comments it must get. A comment that never comes is missed, one that comes twice is repeated, and one of a community that the
//! reader is not in is leaked.

mod files;
mod http;
mod machine;
mod message_tag;
mod progress;
mod reader;
mod report;
mod requests;
mod run_state;
mod scenario;
mod store;
mod tally;
mod worker;
mod writer;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use discussions::config::SigningConfig;
use tokio::time::{Instant, sleep};

use self::{http::Target, machine::Machine, report::Report, run_state::RunState, scenario::Scenario};

/// How long readers may take to get the last comments after the writers have stopped.
const DRAIN: Duration = Duration::from_secs(20);

/// The arguments of `discussions-load`.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Where a server accepts requests; repeat it for several nodes
    #[arg(long = "url", default_value = "http://127.0.0.1:8000")]
    urls: Vec<Target>,
    /// Where to write comments, if not where they are read, so that events cross between nodes
    #[arg(long = "write-url")]
    write_urls: Vec<Target>,
    /// Queues; each has its own user, its own connection and a parked poll
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    queues: u32,
    /// Communities
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    communities: u32,
    /// Communities of each user
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    memberships: u32,
    /// Users who write comments, one after the other, each on its own connection
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    writers: u32,
    /// Comments a second of all writers together; 0: as many as the server answers
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// How long they write
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Send the headers of a browser with each poll
    #[arg(long)]
    browser_headers: bool,
    /// Measure requests a second instead of deliveries: each connection sends its next request at once
    #[arg(long)]
    requests: Option<Requests>,
    /// Connections of --requests
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// The server's process, for its CPU time and memory; repeat it for several
    #[arg(long = "server-pid")]
    server_pids: Vec<u32>,
    /// Which range of ids to use; simultaneous runs need different ones
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=99))]
    slot: u8,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// How the servers check tokens
    #[command(flatten)]
    signing: SigningConfig,
    /// The servers' database; users and communities are created there and deleted afterwards
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

/// The requests that `--requests` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Requests {
    /// List 20 of 200 discussions
    List,
    /// Write a comment in one of 200 discussions
    Comment,
}

/// Runs the load test. Returns true if nothing was missed, repeated, out of order or leaked.
pub async fn run(args: LoadArgs) -> anyhow::Result<bool> {
    ensure!(args.rate.is_finite() && args.rate >= 0.0, "--rate is not a number of comments a second");
    let connections = match args.requests {
        None => args.queues + args.writers + args.urls.len() as u32 * worker::threads() as u32,
        Some(_) => args.connections,
    };
    files::allow(connections)?;
    let scenario = Arc::new(Scenario::new(args)?);
    let mut store = store::Store::open(&scenario.args.database_url, scenario.args.slot).await?;
    let outcome = tokio::select! {
        outcome = seeded(&scenario, &mut store) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    eprintln!("deleting this run's users, communities and comments ...");
    let cleaned = store.clean(&scenario).await.context("some of this run's rows are left; the next run deletes them");
    let good = outcome?;
    cleaned?;
    store.release().await?;
    Ok(good)
}

async fn seeded(scenario: &Arc<Scenario>, store: &mut store::Store) -> anyhow::Result<bool> {
    store.clean(scenario).await.context("cannot delete what an earlier run left; is the database migrated?")?;
    store.seed(scenario).await.context("cannot make users and communities")?;
    store.relayed().await?;
    match scenario.args.requests {
        None => deliveries(scenario).await,
        Some(what) => requests::measure(scenario, what).await,
    }
}

/// Parks the polls, lets the writers write, waits for the last delivery, and prints the result.
async fn deliveries(scenario: &Arc<Scenario>) -> anyhow::Result<bool> {
    let state = Arc::new(RunState::new(scenario));
    let machine = Machine::new(&scenario.args.server_pids)?;
    let empty = machine.usage()?;
    let threads = worker::start(scenario, &state)?;
    let mut progress = progress::Progress::new(scenario, Arc::clone(&state));

    let parking = Instant::now();
    while state.parked() < u64::from(scenario.args.queues) {
        if let Some(error) = state.fatal() {
            bail!("{error}");
        }
        progress.parking();
        ensure!(parking.elapsed() < Duration::from_secs(120), "only {} polls could be parked", state.parked());
        sleep(Duration::from_millis(10)).await;
    }
    machine.wait_for_rest().await?;
    let parked = machine.usage()?;

    let start = Instant::now();
    state.set_writing(true);
    while start.elapsed() < Duration::from_secs(scenario.args.seconds) {
        progress.writing(start);
        sleep(Duration::from_millis(20)).await;
    }
    state.set_writing(false);
    let wrote_for = start.elapsed();
    let draining = Instant::now();
    while !state.is_complete() && draining.elapsed() < DRAIN {
        progress.draining();
        sleep(Duration::from_millis(5)).await;
    }
    machine.wait_for_rest().await?;
    let after = machine.usage()?;
    progress.end();

    state.stop();
    let tally = threads.join()?;
    let usage = machine.is_watched().then_some([empty, parked, after]);
    let report = Report::new(scenario, &state, tally, wrote_for, usage);
    report.print(scenario.args.json)?;
    Ok(report.is_good())
}
