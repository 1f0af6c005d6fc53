//! Shows how far an import is: a bar on a terminal, a line for each step elsewhere.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// One step of an import.
pub(super) struct Step {
    name: String,
    bar: Option<ProgressBar>,
    done: u64,
    begun: Instant,
}

impl Step {
    /// Begins a step of `total` rows; without a number if nobody knows it.
    pub(super) fn new(name: impl Into<String>, total: Option<u64>) -> Self {
        let name = name.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let template = if total.is_some() {
                "{msg:28} {bar:30} {pos}/{len} {elapsed}"
            } else {
                "{msg:28} {spinner} {elapsed}"
            };
            bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(name.clone())
        });
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { name, bar, done: 0, begun: Instant::now() }
    }

    /// Notes that `rows` more are done.
    pub(super) fn add(&mut self, rows: u64) {
        self.done += rows;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
    }

    /// Ends the step. Returns its name, its rows and how long it took.
    pub(super) fn end(self) -> StepTime {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let time = StepTime { step: self.name, rows: self.done, seconds: self.begun.elapsed().as_secs_f64() };
        // A closed stderr must not stop an import.
        let _ = writeln!(std::io::stderr(), "{:<32} {:>10} rows {:>8.1} s", time.step, time.rows, time.seconds);
        time
    }
}

/// How long a step took.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct StepTime {
    pub(super) step: String,
    pub(super) rows: u64,
    pub(super) seconds: f64,
}
