//! A line that says how far the run is: one that changes on a terminal, one every few seconds elsewhere.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{board::Board, plan::Plan};

/// The progress of a run, on standard error.
pub struct Progress {
    board: Arc<Board>,
    queues: u32,
    seconds: u64,
    start: Option<Instant>,
    said: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    /// Nothing said yet.
    pub fn new(plan: &Plan, board: Arc<Board>) -> Self {
        let is_terminal = stderr().is_terminal();
        Self { board, queues: plan.args.queues, seconds: plan.args.seconds, start: None, said: None, is_terminal }
    }

    /// While polls are being parked.
    pub fn parking(&mut self) {
        if self.is_due() {
            self.say(&format!("parking polls: {} of {}", self.board.parked(), self.queues));
        }
    }

    /// While writers write.
    pub fn writing(&mut self) {
        let start = *self.start.get_or_insert_with(Instant::now);
        if self.is_due() {
            const WIDTH: u64 = 24;
            let done = (start.elapsed().as_secs() * WIDTH / self.seconds).min(WIDTH) as usize;
            let bar = format!("[{}{}]", "#".repeat(done), " ".repeat(WIDTH as usize - done));
            self.deliveries(&format!("{bar} {} of {} s", start.elapsed().as_secs(), self.seconds));
        }
    }

    /// While the last deliveries come.
    pub fn draining(&mut self) {
        if self.is_due() {
            self.deliveries("the last deliveries");
        }
    }

    /// Ends the line.
    pub fn end(&self) {
        if self.is_terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    fn deliveries(&mut self, what: &str) {
        let (delivered, expected) = self.board.deliveries();
        let errors = self.board.errors();
        self.say(&format!("{what}   {delivered} of {expected} deliveries, {errors} failed requests"));
    }

    fn is_due(&mut self) -> bool {
        let pause = if self.is_terminal { Duration::from_millis(200) } else { Duration::from_secs(5) };
        let due = self.said.is_none_or(|said| said.elapsed() >= pause);
        if due {
            self.said = Some(Instant::now());
        }
        due
    }

    fn say(&self, line: &str) {
        // Standard error that is closed is no reason to end the run.
        let _ = if self.is_terminal { write!(stderr(), "\r\x1b[K{line}") } else { writeln!(stderr(), "{line}") };
    }
}
