//! What a run came to: one table, for people, and the complaints, which fail the test.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Display, Formatter},
    fs,
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{
    checker::{Event, Verdict},
    clients::{NOMAD, POLL_SECONDS, Seen},
    faults::{Kind, Made},
};

/// The restart of every node in turn.
pub struct Rolling {
    pub restarts: usize,
    /// From SIGTERM to the end of the process.
    pub slowest: Duration,
    pub writes: usize,
    pub errors: BTreeMap<String, usize>,
}

/// What a run came to.
pub struct Report {
    pub seed: u64,
    pub lasted: Duration,
    pub rolling: Rolling,
    pub made: Vec<Made>,
    /// Nodes that ended although nobody ended them.
    pub ended: usize,
    pub order: Vec<Event>,
    pub seen: Seen,
    pub verdict: Verdict,
}

/// A time in which something was waited for.
struct Wait {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

impl Wait {
    fn seconds(&self) -> f64 {
        self.to.signed_duration_since(self.from).as_seconds_f64()
    }
}

fn longest(waits: &[Wait]) -> f64 {
    waits.iter().map(Wait::seconds).fold(0.0, f64::max)
}

impl Report {
    /// What must not be. Empty is success.
    pub fn complaints(&self) -> Vec<String> {
        let Self { verdict, rolling, seen, .. } = self;
        let mut complaints = Vec::new();
        let mut complain = |count: usize, what: &str| {
            if count > 0 {
                complaints.push(format!("{what}: {count}"));
            }
        };
        complain(verdict.lost, "events lost");
        complain(verdict.repeated, "events repeated");
        complain(verdict.out_of_order, "events out of order");
        complain(verdict.leaked, "events leaked");
        complain(verdict.altered, "events altered");
        complain(verdict.writes, "writes acknowledged and not there, or there twice");
        complain(verdict.order, "faults of the order");
        complain(seen.catch_ups, "clients told to catch up");
        complain(self.ended, "nodes that ended by themselves");
        complain(rolling.errors.values().sum(), "errors during the rolling restart");
        complaints.extend(rolling.errors.keys().cloned());
        complaints.extend(verdict.examples.iter().cloned());
        complaints.extend(seen.unexpected.iter().take(10).map(|error| format!("unexpected: {error}")));
        complaints
    }

    /// From the commit of an event to its arrival, for each delivery.
    fn deliveries(&self) -> Vec<Wait> {
        let written: HashMap<i64, DateTime<Utc>> =
            self.order.iter().map(|event| (event.event_id, event.written_at)).collect();
        let mut waits = Vec::new();
        for answer in self.measured().flat_map(|history| &history.paths).flat_map(|path| &path.answers) {
            for event in &answer.events {
                if let Some(from) = event["event_id"].as_i64().and_then(|id| written.get(&id)) {
                    waits.push(Wait { from: *from, to: answer.at });
                }
            }
        }
        waits
    }

    /// From one answer to the next, for each client.
    fn silences(&self) -> Vec<Wait> {
        let answers = self.measured().flat_map(|history| &history.paths).map(|path| &path.answers);
        let pairs = answers.flat_map(|answers| answers.windows(2));
        pairs.map(|pair| Wait { from: pair[0].at, to: pair[1].at }).collect()
    }

    fn measured(&self) -> impl Iterator<Item = &crate::checker::History> {
        self.seen.histories.iter().filter(|history| !history.name.starts_with(NOMAD))
    }

    /// The table as a page of the documentation, with how to make it again.
    pub fn document(&self) -> String {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| -> String {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            line.split(':').nth(1).unwrap_or("?").trim().to_owned()
        };
        let processor = field(&file("/proc/cpuinfo"), "model name");
        let memory = field(&file("/proc/meminfo"), "MemTotal");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let build = if std::env::var_os("DISCUSSIONS_BIN").is_some() { "DISCUSSIONS_BIN" } else { "debug" };
        let seconds = self.lasted.as_secs();
        let (date, seed) = (Utc::now().format("%Y-%m-%d"), self.seed);
        format!(
            "# Chaos: what the last long run came to\n\n\
             Written by `make chaos`; do not edit. What the test does is told in `tests/chaos/main.rs`, what each failure \
             means for an operator in [operations.md](operations.md).\n\n\
             * {date}, {cores} cores ({processor}), {memory} of memory, shared with all clients, PostgreSQL and Redis\n\
             * three nodes ({build} build), PostgreSQL, Redis, a round-robin balancer without health checks\n\
             * `CHAOS_SEED={seed} CHAOS_SECONDS={seconds} make chaos`: the same kinds of faults in the same order; \
             their moments vary with the machine\n\n\
             {self}"
        )
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { verdict, rolling, seen, .. } = self;
        let (deliveries, silences) = (self.deliveries(), self.silences());
        writeln!(f, "## Rolling restart\n")?;
        writeln!(
            f,
            "{} restarts by SIGTERM, each node in turn, under {} writes: {} error answers or lost connections. \
             From SIGTERM to the end of the process: {:.1} s at most.\n",
            rolling.restarts,
            rolling.writes,
            rolling.errors.values().sum::<usize>(),
            rolling.slowest.as_secs_f64()
        )?;
        writeln!(f, "## Faults\n")?;
        writeln!(f, "| fault | times | slowest event, s | longest silence, s |\n| --- | ---: | ---: | ---: |")?;
        for kind in Kind::ALL {
            let made: Vec<&Made> = self.made.iter().filter(|made| made.kind == kind).collect();
            let during = |waits: &[Wait]| {
                let met = |wait: &&Wait| made.iter().any(|made| wait.from <= made.to && made.from <= wait.to);
                waits.iter().filter(met).map(Wait::seconds).fold(0.0, f64::max)
            };
            let (slowest, silence) = (during(&deliveries), during(&silences));
            writeln!(f, "| {} | {} | {slowest:.1} | {silence:.1} |", kind.words(), made.len())?;
        }
        let (slowest, silence) = (longest(&deliveries), longest(&silences));
        writeln!(f, "| **all**, in {} s | {} | {slowest:.1} | {silence:.1} |", self.lasted.as_secs(), self.made.len())?;
        writeln!(
            f,
            "\nA slow event is one that a client got so long after its commit; a silence is from one answer to the next, and \
             a poll with nothing to tell is answered after {POLL_SECONDS} s. Faults overlap: a figure is the worst that any \
             client saw while such a fault was on, whichever was to blame.\n"
        )?;
        writeln!(f, "## What the clients saw\n")?;
        writeln!(f, "| | |\n| --- | ---: |")?;
        let mut row = |what: &str, value: String| writeln!(f, "| {what} | {value} |");
        let acknowledged = seen.writes.iter().filter(|write| write.acknowledged).count();
        row("clients that poll", seen.histories.len().to_string())?;
        row("events in the order", self.order.len().to_string())?;
        row("writes asked for", seen.writes.len().to_string())?;
        row("writes acknowledged", acknowledged.to_string())?;
        row("deliveries", deliveries.len().to_string())?;
        let mut seconds: Vec<f64> = deliveries.iter().map(Wait::seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let at = |part: f64| seconds.get(((seconds.len() as f64 - 1.0) * part) as usize).copied().unwrap_or_default();
        let percentiles = format!("{:.3} / {:.1} / {:.1}", at(0.5), at(0.99), at(1.0));
        row("from commit to client, s: median / 99 % / slowest", percentiles)?;
        row("longest silence, s", format!("{silence:.1}"))?;
        row("registers (the first of each client included)", seen.registers.to_string())?;
        for (error, count) in &seen.errors {
            row(&format!("`{error}`"), count.to_string())?;
        }
        row("nodes that ended by themselves", self.ended.to_string())?;
        writeln!(f, "\n## Verdict\n")?;
        writeln!(f, "| | |\n| --- | ---: |")?;
        for (what, count) in [
            ("lost", verdict.lost),
            ("repeated", verdict.repeated),
            ("out of order", verdict.out_of_order),
            ("leaked", verdict.leaked),
            ("altered", verdict.altered),
            ("`catchup_required`", seen.catch_ups),
            ("acknowledged writes not in the order, or in it twice", verdict.writes),
            ("gaps and misplaced events in the order", verdict.order),
            ("errors that no fault excuses", seen.unexpected.len()),
        ] {
            writeln!(f, "| {what} | {count} |")?;
        }
        Ok(())
    }
}
