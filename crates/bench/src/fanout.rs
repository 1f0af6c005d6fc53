//! Measures the delivery of one event to N parked polls, each of which polls again, for this server, pollbench's floor, and nginx
//! with nchan if it is installed.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, ensure};

use crate::{
    Bench, Measured,
    peers::{Peers, start_nchan},
    process::{self, Process},
    samples::Samples,
};

/// The server that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Floor,
    Ours,
    Nchan,
}

/// The runs, by the number of polls, whether they have a browser's headers, and the target.
#[derive(Default)]
pub(crate) struct FanOut {
    runs: BTreeMap<(u32, bool, Target), Run>,
    /// Deliveries of this server that were missed or repeated.
    wrong: f64,
}

/// The measurements of one kind of run.
#[derive(Default)]
pub(crate) struct Run {
    /// Microseconds of the server's CPU for each delivery.
    pub(crate) cpu: Samples,
    /// Bytes for each parked poll, before and after the rounds.
    parked: Samples,
    pub(crate) memory: Samples,
    /// Milliseconds from the publication to the last delivery, and to 50 % and 99 % of the deliveries.
    pub(crate) last: Samples,
    p50: Samples,
    p99: Samples,
}

impl FanOut {
    pub(crate) fn run(&self, polls: u32, browser: bool, target: Target) -> Option<&Run> {
        self.runs.get(&(polls, browser, target))
    }
}

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<FanOut> {
    let mut fan_out = FanOut::default();
    let Some(peers) = Peers::find(bench)? else {
        return without_pollbench(bench);
    };
    let polls = &bench.settings.polls;
    let with_browser = polls.last().map(|most| (*most, true));
    for round in 1..=bench.settings.repeats {
        for (polls, browser) in polls.iter().map(|polls| (*polls, false)).chain(with_browser) {
            eprintln!("==> fan-out to {polls} polls, round {round} of {}", bench.settings.repeats);
            for target in [Target::Floor, Target::Ours, Target::Nchan] {
                if target != Target::Nchan || (peers.nchan.is_some() && !browser) {
                    measure_one(bench, &peers, &mut fan_out, (polls, browser, target))?;
                }
            }
        }
    }
    Ok(fan_out)
}

fn measure_one(
    bench: &Bench,
    peers: &Peers,
    fan_out: &mut FanOut,
    kind @ (polls, browser, target): (u32, bool, Target),
) -> anyhow::Result<()> {
    let out = bench.work.join("pollbench.json");
    let mut pollbench = process::command(&peers.pollbench);
    pollbench.args(["run", "-n", &polls.to_string(), "--rounds", "10", "--quiet", "--json"]).arg(&out);
    if browser {
        pollbench.arg("--browser-headers");
    }
    let (process, url) = match target {
        Target::Floor => peers.start_floor(bench)?,
        Target::Nchan => start_nchan(bench, peers.nchan.as_ref().context("no nchan")?)?,
        Target::Ours => {
            let server = bench.start_server(&[])?;
            pollbench.args(["--jwt-secret", &bench.settings.jwt_secret, "--first-user-id", "1000"]);
            pollbench.args(["--publish-user-id", "1", "--publish-path", "/discussions/999999999/comments"]);
            pollbench.args(["--publish-body", r#"{"text":"{text}"}"#, "--payload-bytes", "280"]);
            (server.process, server.url)
        }
    };
    let name = match target {
        Target::Floor => "floor",
        Target::Ours => "scicommons",
        Target::Nchan => "nchan",
    };
    pollbench.args(["--target", name, "--url", &url, "--server-pid", &process.id()]);
    let log = bench.work.join("pollbench.log");
    let ended = Process::start(pollbench.stdout(process::append(&log)?))?.succeed();
    ended.with_context(|| format!("pollbench failed: see {}", log.display()))?;
    drop(process);

    let result = Measured::read(&fs::read(&out)?)?;
    let wrong = result.number("/missed")? + result.number("/duplicates")? + result.number("/repeated_in_body")?;
    if target == Target::Ours {
        ensure!(wrong == 0.0, "{wrong} deliveries were missed or repeated: see {}", out.display());
        fan_out.wrong += wrong;
    }
    let run = fan_out.runs.entry(kind).or_default();
    run.cpu.record(result.number("/server/cpu_us_per_delivery")?);
    run.parked.record(result.number("/server/bytes_per_poller")?);
    run.memory.record(result.number("/server/bytes_per_poller_after")?);
    run.last.record(result.number("/wall_ms/median")?);
    run.p50.record(result.number("/latency_us/p50")? / 1_000.0);
    run.p99.record(result.number("/latency_us/p99")? / 1_000.0);
    Ok(())
}

/// Measures with the project's own load test, with every queue in one community.
fn without_pollbench(bench: &Bench) -> anyhow::Result<FanOut> {
    let mut fan_out = FanOut::default();
    for _ in 0..bench.settings.repeats {
        for polls in &bench.settings.polls {
            let server = bench.start_server(&[])?;
            let (url, pid) = (&server.url, server.process.id());
            let one = "--communities 1 --writers 1 --rate 1 --seconds 10";
            let result = bench.load(&format!("{one} --queues {polls} --url {url} --server-pid {pid}"))?;
            let run = fan_out.runs.entry((*polls, false, Target::Ours)).or_default();
            run.cpu.record(result.number("/server/cpu_us_a_delivery")?);
            run.parked.record(result.number("/server/bytes_a_queue_parked")?);
            run.memory.record(result.number("/server/bytes_a_queue_after")?);
            run.p50.record(result.number("/delivery/p50")?);
            run.p99.record(result.number("/delivery/p99")?);
            run.last.record(result.number("/delivery/max")?);
        }
    }
    Ok(fan_out)
}

pub(crate) fn table(bench: &Bench, fan_out: &FanOut) -> String {
    let mut table = "
### One event to N parked polls, each polling again (10 rounds a run)

| | server CPU a delivery, us | bytes a parked poll, first -> after the rounds | publish to last delivery, ms | p50 / p99, ms |
| --- | --- | --- | --- | --- |
"
    .to_owned();
    for polls in &bench.settings.polls {
        for browser in [false, true] {
            let headers = if browser { ", with the headers of a browser" } else { "" };
            let run = |target| fan_out.run(*polls, browser, target);
            let (floor, ours, nchan) = (run(Target::Floor), run(Target::Ours), run(Target::Nchan));
            table += &row(&format!("floor, {polls}{headers}"), floor);
            table += &row(&format!("**ours**, {polls}{headers}"), ours);
            table += &ratios("ours / floor", ours, floor);
            table += &row(&format!("nginx + nchan, {polls}{headers}"), nchan);
            table += &ratios("ours / nchan", ours, nchan);
        }
    }
    let most = bench.settings.most_polls();
    table
        + &format!(
            "
Goals: CPU <= 1.3 x floor, then <= 1.1 x; memory after the rounds at {most} <= 11.5 kB, then <= 2.5 kB; last delivery at {most} <= 1.15 x floor.
Missed or repeated: {} of ours.
",
            fan_out.wrong
        )
}

fn row(name: &str, run: Option<&Run>) -> String {
    let Some(Run { cpu, parked, memory, last, p50, p99 }) = run else { return String::new() };
    let (cpu, parked, memory, last) = (cpu.spread(1, 1), parked.show(0), memory.show(0), last.spread(1, 0));
    format!("| {name} | {cpu} | {parked} -> {memory} | {last} | {} / {} |\n", p50.show(1), p99.show(1))
}

fn ratios(name: &str, one: Option<&Run>, other: Option<&Run>) -> String {
    let (Some(one), Some(other)) = (one, other) else { return String::new() };
    let (cpu, memory, last) = (one.cpu.over(&other.cpu), one.memory.over(&other.memory), one.last.over(&other.last));
    format!("| {name} | {cpu} | {memory} | {last} | {} / {} |\n", one.p50.over(&other.p50), one.p99.over(&other.p99))
}
