//! Makes faults in three nodes, PostgreSQL and Redis while clients write and read. Then it compares every client's history with
//! the order of events. `make test` runs it for a short time, `make chaos` for ten minutes (docs/chaos.md).

mod balancer;
mod checker;
mod clients;
mod cluster;
mod database;
mod faults;
mod kind;
mod link;
mod process;
mod report;
mod run;
mod silence;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use tokio::time::timeout;

use crate::{faults::FaultPlan, kind::Kind};

/// A run of at least this length makes at least 100 faults, and 5 of each kind.
const LONG_SECONDS: u64 = 600;
/// How long one fault takes in a run of single faults, including the pause after it.
const SINGLE_FAULT_SECONDS: u64 = 12;

/// Breaks nodes, PostgreSQL and Redis under load; exit status 0 if no event was lost, repeated, out of order or leaked
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// How long to make faults; the default is long enough for one of each kind
    #[arg(long, env = "CHAOS_SECONDS", default_value_t = 46)]
    seconds: u64,
    /// Chooses the faults and their order
    #[arg(long, env = "CHAOS_SEED", default_value_t = 20_261_123)]
    seed: u64,
    /// The kinds of faults to make, separated by commas; by default all
    #[arg(long, env = "CHAOS_KINDS", value_enum, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// Make each kind of fault twice, one fault after the other; --seconds then has no effect
    #[arg(long, env = "CHAOS_ALONE")]
    alone: bool,
    /// Where to write the report, as Markdown
    #[arg(long, env = "CHAOS_REPORT")]
    report: Option<PathBuf>,
    /// Keep the logs of a run that passed, in .data/chaos
    #[arg(long, env = "CHAOS_KEEP")]
    keep: bool,
    /// The server to test; by default the `discussions` beside this program
    #[arg(long, env = "DISCUSSIONS_BIN")]
    server: Option<PathBuf>,
}

impl Cli {
    fn plan(&self) -> FaultPlan {
        let kinds = if self.kinds.is_empty() { Kind::value_variants().to_vec() } else { self.kinds.clone() };
        let (each, total) = match self.seconds {
            _ if self.alone => (2, 2 * kinds.len()),
            LONG_SECONDS.. => (5, 100),
            _ => (1, kinds.len()),
        };
        let seconds = if self.alone { SINGLE_FAULT_SECONDS * total as u64 } else { self.seconds };
        FaultPlan { seed: self.seed, lasting: Duration::from_secs(seconds), kinds, each, total, alone: self.alone }
    }

    fn server(&self) -> Result<PathBuf> {
        let server = match &self.server {
            Some(server) => server.clone(),
            None => std::env::current_exe()?.with_file_name("discussions"),
        };
        if !server.is_file() {
            bail!("there is no server at {}; build it with `cargo build --bin discussions`", server.display());
        }
        Ok(server)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run_and_report(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a backtrace, so that the last lines of a log say what is wrong.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run_and_report(cli: Cli) -> Result<()> {
    let plan = cli.plan();
    let limit = plan.lasting * 2 + Duration::from_secs(240);
    let report =
        timeout(limit, run::run(plan, &cli.server()?, cli.keep)).await.context("the run did not end in time")??;
    println!("\n{report}");
    println!("{}", report.longest_silences());
    if let Some(path) = &cli.report {
        report.write(path)?;
    }
    let complaints = report.complaints();
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}
