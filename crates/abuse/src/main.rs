//! `make abuse` attacks a server, one attack after the other, while ordinary users write, read and poll. For each attack it
//! prints what they noticed without and with the attack, and the server's memory.
//!
//! Everything runs on loopback addresses and is bounded in count and time.

mod attacks;
mod ordinary;
mod people;
mod report;
mod server_process;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use discussions_harness::{process, process::Process, server::Server};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    attacks::Attack,
    ordinary::{Noticed, observe},
    people::People,
    report::{Report, Row},
    server_process::ServerProcess,
};

/// The pause after an attack, before the server's memory is read again.
const RECOVERY: Duration = Duration::from_secs(3);

/// Attacks a server; exit status 0 if no ordinary user met an error or had to catch up
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// The attacks to make; all of them if none is named
    #[arg(value_enum)]
    attacks: Vec<Attack>,
    /// How long each attack lasts, and how long ordinary users are observed without it
    #[arg(long, env = "ABUSE_SECONDS", default_value_t = 12, value_parser = clap::value_parser!(u64).range(2..=120))]
    seconds: u64,
    /// The server to attack; without it, the `discussions` beside this program
    #[arg(long, env = "DISCUSSIONS_BIN")]
    server: Option<PathBuf>,
    /// An empty database, which is lost afterwards
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The secret that the server checks tokens with
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    jwt_secret: String,
    /// The folder for the server's log
    #[arg(long, env = "ABUSE_WORK")]
    work: PathBuf,
}

/// What the attacks and the ordinary users share.
struct Scene {
    url: String,
    people: People,
    http: reqwest::Client,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let program = match &cli.server {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("discussions"),
    };
    let log = cli.work.join("server.log");
    Process::start(process::command(&program).arg("migrate").stderr(process::append(&log)?))?.succeed()?;
    let people = People::create(&cli.database_url, &cli.jwt_secret).await?;
    let server = Server::start(&program, &log, &[])?;
    let watched = ServerProcess::new(&server.process.id())?;
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let mut scene = Scene { url: server.url.clone(), people, http };
    scene.people.write_large_events().await?;

    let attacks = if cli.attacks.is_empty() { Attack::value_variants().to_vec() } else { cli.attacks.clone() };
    let mut report = Report::default();
    for attack in attacks {
        eprintln!("==> {attack}");
        let row = run(&scene, attack, Duration::from_secs(cli.seconds), &watched).await;
        report.rows.push(row.with_context(|| format!("{attack}; see {}", log.display()))?);
    }
    println!("{report}");
    let complaints = report.complaints();
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

async fn run(scene: &Scene, attack: Attack, lasting: Duration, server: &ServerProcess) -> Result<Row> {
    let without = observe(scene, lasting).await?;
    let memory_before = server.memory()?;
    let ended = CancellationToken::new();
    let attackers = attacks::start(attack, scene, ended.clone()).await?;
    let highest = highest_memory(server.clone(), ended.clone());
    let with = observe(scene, lasting).await;
    let open_files = server.open_files()?;
    ended.cancel();
    let attacker_saw = attackers.join().await;
    scene.people.check_votes().await?;
    let memory_highest = highest.await??;
    sleep(RECOVERY).await;
    Ok(Row {
        attack,
        without,
        with: with?,
        memory_before,
        memory_highest,
        memory_after: server.memory()?,
        open_files,
        attacker_saw,
    })
}

/// The most memory that the server holds until `ended`, in bytes.
fn highest_memory(server: ServerProcess, ended: CancellationToken) -> JoinHandle<Result<u64>> {
    tokio::spawn(async move {
        let mut highest = 0;
        while !ended.is_cancelled() {
            highest = highest.max(server.memory()?);
            sleep(Duration::from_millis(100)).await;
        }
        Ok(highest)
    })
}
