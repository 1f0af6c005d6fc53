//! The result of a run: a table for people, and the complaints, which make the run fail.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    fs, io,
    path::Path,
    time::Duration,
};

use chrono::Utc;

use clap::ValueEnum;

use crate::{
    checker::{Failover, Truth, Verdict},
    clients::{Observations, POLL_SECONDS},
    faults::{FaultPlan, Made, Outcome},
    kind::Kind,
    silence::{AFTER_THE_END, Wait, longest},
};

/// The heading of the last part of the document, which `CHAOS_ALONE=true` writes.
const ALONE: &str = "## Each kind of fault alone";
/// How long after a failover clients may still request what it lost.
const FORGETTING: Duration = Duration::from_secs(15);

/// The restarts of the nodes, one after the other.
pub(crate) struct Rolling {
    pub restarts: usize,
    /// From SIGTERM to the end of the process.
    pub slowest: Duration,
    pub writes: usize,
    pub errors: BTreeMap<String, usize>,
}

/// The results of a run.
pub(crate) struct Report {
    pub plan: FaultPlan,
    pub lasted: Duration,
    pub rolling: Rolling,
    pub outcome: Outcome,
    pub truth: Truth,
    pub seen: Observations,
    pub verdict: Verdict,
}

impl Report {
    /// The faults that make the run fail. Empty if it succeeded.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let Self { verdict, rolling, seen, outcome, .. } = self;
        let mut complaints = Vec::new();
        let mut complain = |count: usize, what: &str| {
            if count > 0 {
                complaints.push(format!("{what}: {count}"));
            }
        };
        for (what, count) in verdict.faults() {
            complain(count, what);
        }
        complain(outcome.ended, "nodes that ended by themselves");
        complain(outcome.left_open.len(), "transactions left open");
        complain(rolling.errors.values().sum(), "errors during the rolling restart");
        complaints.extend(rolling.errors.keys().cloned());
        complaints.extend(verdict.examples.iter().cloned());
        complaints.extend(seen.unexpected.iter().take(10).map(|error| format!("unexpected: {error}")));
        complaints.extend(self.missing().iter().take(10).map(|what| format!("missing: {what}")));
        complaints.extend(self.long_silences());
        complaints
    }

    /// Things that did not exist although no failover had just lost them.
    fn missing(&self) -> Vec<&String> {
        let is_lost = |at| {
            let forgets = |failover: &Failover| failover.from <= at && at <= failover.to + FORGETTING;
            self.truth.failovers.iter().any(forgets)
        };
        self.seen.missing.iter().filter(|(at, _)| !is_lost(*at)).map(|(_, what)| what).collect()
    }

    /// Writes this run's part of the document. The other part stays as it is.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let old = fs::read_to_string(path).unwrap_or_default();
        let (all, alone) = match old.find(ALONE) {
            Some(start) => (&old[..start], &old[start..]),
            None => (&*old, ""),
        };
        let document = if self.plan.alone {
            format!("{}\n\n{ALONE}\n\n{}\n\n{}", all.trim_end(), self.alone_introduction(), self.alone_table())
        } else {
            format!("{}\n\n{alone}", self.document().trim_end())
        };
        fs::write(path, format!("{}\n", document.trim_end()))
    }

    fn alone_introduction(&self) -> String {
        format!(
            "* {}\n* `CHAOS_SEED={} CHAOS_ALONE=true make chaos`\n\nA fault ends when the process runs again, the link is \
             open again, or PostgreSQL accepts connections again. The run fails if a client that polls through the balancer \
             gets no answer for more than {AFTER_THE_END:.0} s after that. A poll without events is answered after \
             {POLL_SECONDS} s.",
            Self::machine(),
            self.plan.seed
        )
    }

    fn machine() -> String {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| -> String {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            line.split(':').nth(1).unwrap_or("?").trim().to_owned()
        };
        let processor = field(&file("/proc/cpuinfo"), "model name");
        let memory = field(&file("/proc/meminfo"), "MemTotal");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let date = Utc::now().format("%Y-%m-%d");
        format!(
            "{date}, {cores} cores ({processor}), {memory} of memory, shared with all clients, PostgreSQL and Redis"
        )
    }

    /// The report as a page of the documentation, with the command that makes it.
    fn document(&self) -> String {
        let build = if std::env::var_os("DISCUSSIONS_BIN").is_some() { "DISCUSSIONS_BIN" } else { "debug" };
        let (seconds, seed) = (self.lasted.as_secs(), self.plan.seed);
        format!(
            "# Chaos: the results of the last long run\n\n\
             `make chaos` writes this page; do not edit it. `crates/chaos/src/main.rs` says what the run does. \
             [operations.md](operations.md) says what each failure means for an operator.\n\n\
             * {}\n\
             * three nodes ({build} build), PostgreSQL with an asynchronous replica, Redis, a round-robin balancer that asks \
             `GET /health/ready` once a second\n\
             * `CHAOS_SEED={seed} CHAOS_SECONDS={seconds} make chaos`: repeats the same kinds of faults in the same \
             order; their times vary with the machine\n\n\
             {self}",
            Self::machine()
        )
    }

    fn made(&self, kind: Kind) -> Vec<&Made> {
        self.outcome.made.iter().filter(|made| made.kind == kind).collect()
    }

    fn alone_table(&self) -> String {
        let silences = self.silences();
        let mut lines = vec![
            "| fault | times | longest, s | longest silence, s | silence after its end, s |".to_owned(),
            "| --- | ---: | ---: | ---: | ---: |".to_owned(),
        ];
        for kind in &self.plan.kinds {
            let made = self.made(*kind);
            let lasted = made.iter().map(|made| (made.to - made.from).as_seconds_f64()).fold(0.0, f64::max);
            let silence = longest(silences.iter().filter(|wait| made.iter().any(|made| wait.meets(made))));
            let after = made.iter().map(|made| self.after(made)).fold(0.0, f64::max);
            let (words, times) = (kind.description(), made.len());
            lines.push(format!("| {words} | {times} | {lasted:.1} | {silence:.1} | {after:.1} |"));
        }
        lines.join("\n")
    }

    fn faults_table(&self, f: &mut Formatter<'_>, deliveries: &[Wait], silences: &[Wait]) -> fmt::Result {
        writeln!(f, "| fault | times | slowest event, s | longest silence, s |\n| --- | ---: | ---: | ---: |")?;
        for kind in Kind::value_variants().iter().copied() {
            let made = self.made(kind);
            let during = |waits: &[Wait]| longest(waits.iter().filter(|wait| made.iter().any(|made| wait.meets(made))));
            let (slowest, silence) = (during(deliveries), during(silences));
            writeln!(f, "| {} | {} | {slowest:.1} | {silence:.1} |", kind.description(), made.len())?;
        }
        let (slowest, silence) = (longest(deliveries), longest(silences));
        let (seconds, times) = (self.lasted.as_secs(), self.outcome.made.len());
        writeln!(f, "| **all**, in {seconds} s | {times} | {slowest:.1} | {silence:.1} |")?;
        writeln!(
            f,
            "\nThe slowest event is the longest time from a commit to a client that got its event. A silence is the time from one \
             answer to the next; a poll without events is answered after {POLL_SECONDS} s. Faults overlap: each figure is the \
             worst that any client saw during such a fault, whichever fault caused it.\n"
        )
    }

    fn seen_table(&self, f: &mut Formatter<'_>, deliveries: &[Wait], silences: &[Wait]) -> fmt::Result {
        let Self { seen, truth, verdict, .. } = self;
        writeln!(f, "| | |\n| --- | ---: |")?;
        let mut row = |what: &str, value: String| writeln!(f, "| {what} | {value} |");
        let acknowledged = seen.writes.iter().filter(|write| write.acknowledged.is_some()).count();
        row("clients that poll", seen.histories.len().to_string())?;
        row("events in the order", truth.order.len().to_string())?;
        row("writes attempted", seen.writes.len().to_string())?;
        row("writes acknowledged", acknowledged.to_string())?;
        row("acknowledged writes lost with the primary, in a failover", verdict.lost_with_primary.to_string())?;
        row("deliveries", deliveries.len().to_string())?;
        let mut seconds: Vec<f64> = deliveries.iter().map(Wait::seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let at = |part: f64| seconds.get(((seconds.len() as f64 - 1.0) * part) as usize).copied().unwrap_or_default();
        let percentiles = format!("{:.3} / {:.1} / {:.1}", at(0.5), at(0.99), at(1.0));
        row("from commit to client, s: median / 99 % / slowest", percentiles)?;
        row("longest silence, s", format!("{:.1}", longest(silences)))?;
        row("registrations (including the first of each client)", seen.registers.to_string())?;
        row("`catchup_required`, each after a failover", seen.catch_ups.to_string())?;
        for (error, count) in &seen.errors {
            row(&format!("`{error}`"), count.to_string())?;
        }
        row("nodes that ended by themselves", self.outcome.ended.to_string())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { verdict, rolling, seen, .. } = self;
        let (deliveries, silences) = (self.deliveries(), self.silences());
        if self.plan.alone {
            writeln!(f, "{ALONE}\n\n{}\n", self.alone_table())?;
        }
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
        self.faults_table(f, &deliveries, &silences)?;
        writeln!(f, "## What the clients saw\n")?;
        self.seen_table(f, &deliveries, &silences)?;
        writeln!(f, "\n## Verdict\n")?;
        writeln!(f, "| | |\n| --- | ---: |")?;
        for (what, count) in verdict.faults() {
            writeln!(f, "| {what} | {count} |")?;
        }
        writeln!(f, "| transactions left open | {} |", self.outcome.left_open.len())?;
        writeln!(f, "| unexpected errors | {} |", seen.unexpected.len() + self.missing().len())
    }
}
