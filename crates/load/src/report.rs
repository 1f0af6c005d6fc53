//! The result of a run.

use std::{io::Write, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{machine::Usage, run_state::RunState, scenario::Scenario, tally::Tally};

/// The result of a run. Times are in milliseconds.
#[derive(Serialize)]
pub(crate) struct Report {
    queues: u32,
    communities: u32,
    memberships: u32,
    writers: u32,
    seconds: f64,
    written: u64,
    deliveries: u64,
    delivery: Times,
    post: Times,
    missed: u64,
    repeated: u64,
    out_of_order: u64,
    leaked: u64,
    catchups: u64,
    registered_again: u64,
    empty_answers: u64,
    errors: Vec<(String, u64)>,
    server: Option<Server>,
}

/// How long something took, in milliseconds.
#[derive(Serialize)]
pub(crate) struct Times {
    p50: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

/// What the servers used.
#[derive(Serialize)]
struct Server {
    cpu_seconds: f64,
    /// Includes writing, relaying and parking the polls again.
    cpu_us_a_delivery: f64,
    memory_before: u64,
    memory_parked: u64,
    memory_after: u64,
    bytes_a_queue_parked: f64,
    bytes_a_queue_after: f64,
}

impl Times {
    /// The times of a histogram in microseconds.
    pub(crate) fn new(of: &Histogram<u64>) -> Self {
        let at = |quantile| of.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50: at(0.5), p99: at(0.99), p99_9: at(0.999), max: of.max() as f64 / 1e3 }
    }
}

impl Report {
    /// `usage` was measured before the first connection, with all polls parked, and after the last delivery.
    pub(crate) fn new(
        scenario: &Scenario,
        state: &RunState,
        tally: Tally,
        wrote_for: Duration,
        usage: Option<[Usage; 3]>,
    ) -> Self {
        let args = &scenario.args;
        let (deliveries, _) = state.deliveries();
        let server = usage.map(|[empty, parked, after]| {
            let a_queue = |usage: Usage| (usage.memory as f64 - empty.memory as f64) / f64::from(args.queues);
            let cpu = after.cpu.saturating_sub(parked.cpu) as f64;
            Server {
                cpu_seconds: cpu / 1e6,
                cpu_us_a_delivery: cpu / (deliveries.max(1) as f64),
                memory_before: empty.memory,
                memory_parked: parked.memory,
                memory_after: after.memory,
                bytes_a_queue_parked: a_queue(parked),
                bytes_a_queue_after: a_queue(after),
            }
        });
        Self {
            queues: args.queues,
            communities: args.communities,
            memberships: args.memberships,
            writers: args.writers,
            seconds: wrote_for.as_secs_f64(),
            written: tally.written,
            deliveries,
            delivery: Times::new(&tally.delivery),
            post: Times::new(&tally.request),
            missed: tally.missed,
            repeated: tally.repeated,
            out_of_order: tally.disordered,
            leaked: tally.leaked,
            catchups: tally.catchups,
            registered_again: tally.registered_again,
            empty_answers: tally.empty,
            errors: tally.errors.into_iter().collect(),
            server,
        }
    }

    /// Whether comments were written, and every reader got all of its comments, once and in order, and nothing else.
    pub(crate) fn is_good(&self) -> bool {
        self.missed + self.repeated + self.out_of_order + self.leaked == 0 && self.written > 0
    }

    /// Prints a table, or JSON.
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            return Ok(writeln!(out, "{}", serde_json::to_string_pretty(self)?)?);
        }
        let mut row = |name: &str, value: String| writeln!(out, "{name:<28}{value}");
        row("queues", format!("{} in {} of {} communities each", self.queues, self.memberships, self.communities))?;
        row("comments written", format!("{} by {} writers in {:.1} s", self.written, self.writers, self.seconds))?;
        row("deliveries", format!("{}", self.deliveries))?;
        row("", "      p50       p99     p99.9       max   (ms)".to_owned())?;
        row("POST to delivery", self.delivery.row())?;
        row("POST to its own answer", self.post.row())?;
        row("missed", self.missed.to_string())?;
        row("repeated", self.repeated.to_string())?;
        row("out of order", self.out_of_order.to_string())?;
        row("leaked", self.leaked.to_string())?;
        row("catch-ups required", self.catchups.to_string())?;
        row("registered again", self.registered_again.to_string())?;
        if let Some(server) = &self.server {
            row("server CPU", format!("{:.2} s, {:.1} us a delivery", server.cpu_seconds, server.cpu_us_a_delivery))?;
            row(
                "server memory",
                format!(
                    "{:.1} MB before, {:.1} MB parked, {:.1} MB after",
                    server.memory_before as f64 / 1e6,
                    server.memory_parked as f64 / 1e6,
                    server.memory_after as f64 / 1e6
                ),
            )?;
            row(
                "memory a queue and its poll",
                format!("{:.0} B parked, {:.0} B after", server.bytes_a_queue_parked, server.bytes_a_queue_after),
            )?;
        }
        for (what, count) in &self.errors {
            row("failed requests", format!("{count} x {what}"))?;
        }
        row("result", if self.is_good() { "good".to_owned() } else { "NOT GOOD".to_owned() })?;
        Ok(())
    }
}

impl Times {
    /// The four times, in columns.
    pub(crate) fn row(&self) -> String {
        format!("{:>9.2} {:>9.2} {:>9.2} {:>9.2}", self.p50, self.p99, self.p99_9, self.max)
    }
}
