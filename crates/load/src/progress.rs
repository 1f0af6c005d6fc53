//! Shows the progress of a run: a bar on a terminal, otherwise a line every few seconds.

use std::{
    io::{Write, stderr},
    sync::Arc,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::{run_state::RunState, scenario::Scenario};

/// The pause between two lines, if standard error is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// The progress of a run, on standard error.
pub(crate) struct Progress {
    state: Arc<RunState>,
    bar: ProgressBar,
    queues: u64,
    seconds: u64,
    printed: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(scenario: &Scenario, state: Arc<RunState>) -> Self {
        let style =
            ProgressStyle::with_template("{bar:24} {pos} of {len} {msg}").expect("a constant template that is valid");
        let bar = ProgressBar::new(0).with_style(style);
        Self { state, bar, queues: scenario.args.queues.into(), seconds: scenario.args.seconds, printed: None }
    }

    /// Shows how many polls are parked.
    pub(crate) fn parking(&mut self) {
        self.show(self.state.parked(), self.queues, "polls parked");
    }

    /// Shows the progress while the writers write, since `start`.
    pub(crate) fn writing(&mut self, start: Instant) {
        self.show(start.elapsed().as_secs(), self.seconds, &self.deliveries());
    }

    /// Shows the progress while the last deliveries come.
    pub(crate) fn draining(&mut self) {
        self.show(self.seconds, self.seconds, &self.deliveries());
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn deliveries(&self) -> String {
        let (delivered, expected) = self.state.deliveries();
        format!("seconds, {delivered} of {expected} deliveries, {} failed requests", self.state.errors())
    }

    fn show(&mut self, position: u64, length: u64, what: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_length(length);
            self.bar.set_message(what.to_owned());
            self.bar.set_position(position);
        } else if self.printed.is_none_or(|printed| printed.elapsed() >= PAUSE) {
            // A closed standard error does not end the run.
            let _ = writeln!(stderr(), "{position} of {length} {what}");
            self.printed = Some(Instant::now());
        }
    }
}
