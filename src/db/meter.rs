//! How long a request waits for the database, for its line in the log.
//!
//! A request runs inside [`Meter::measure`]. Every statement of [`Db`](super::Db) and [`Write`](super::Write) counts itself
//! at the meter of the task that it runs on. Statements of tasks without a meter (polls, background tasks) are not counted.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task_local, time::Instant};

task_local! {
    static METER: Arc<Meter>;
}

/// Counts what one request asks of the database.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Counts>);

/// What a request has asked of the database so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DbUsage {
    /// How long at least one statement was under way, or waited for its connection.
    pub(crate) elapsed: Duration,
    /// Statements sent, BEGIN and COMMIT among them.
    pub(crate) statements: u32,
}

#[derive(Debug, Default)]
struct Counts {
    ended: DbUsage,
    /// How many guards are alive, and since when at least one is. Two at once count their common time once.
    running: u32,
    running_since: Option<Instant>,
}

impl Meter {
    /// Runs `request` with its statements counted here, on whichever task it is polled.
    pub(crate) fn measure<F: Future>(self: &Arc<Self>, request: F) -> impl Future<Output = F::Output> + use<F> {
        METER.scope(Arc::clone(self), request)
    }

    /// What was asked so far. A statement that is under way counts up to this moment.
    pub(crate) fn usage(&self) -> DbUsage {
        let counts = self.counts();
        let running = counts.running_since.map_or(Duration::ZERO, |since| since.elapsed());
        DbUsage { elapsed: counts.ended.elapsed + running, ..counts.ended }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(self: Arc<Self>, statements: u32) -> Running {
        let mut counts = self.counts();
        counts.ended.statements += statements;
        counts.running += 1;
        counts.running_since.get_or_insert_with(Instant::now);
        drop(counts);
        Running(self)
    }
}

/// The database is being waited for until this is dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<Meter>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.running -= 1;
        if counts.running == 0 {
            let elapsed = counts.running_since.take().map_or(Duration::ZERO, |since| since.elapsed());
            counts.ended.elapsed += elapsed;
        }
    }
}

/// Counts one statement, and its time until the guard is dropped.
pub(super) fn statement() -> Option<Running> {
    start(1)
}

/// Counts the time until the guard is dropped.
pub(super) fn waiting() -> Option<Running> {
    start(0)
}

fn start(statements: u32) -> Option<Running> {
    METER.try_with(|meter| Arc::clone(meter).start(statements)).ok()
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn statements_count_once_whether_they_end_or_not() {
        let meter = Arc::<Meter>::default();
        assert!(statement().is_none(), "nothing is counted outside of a request");
        let request = meter.measure(async {
            let connection = waiting();
            sleep(SECOND).await;
            drop(connection);
            // Two at once, and one of them is given up.
            let (one, other) = (statement(), statement());
            sleep(SECOND).await;
            drop(one);
            sleep(SECOND).await;
            drop(other);
            sleep(SECOND).await;
        });
        // On another task, as a request that writes.
        tokio::spawn(request).await.unwrap();
        assert_eq!(meter.usage(), DbUsage { elapsed: 3 * SECOND, statements: 2 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_under_way_counts_up_to_now() {
        let meter = Arc::<Meter>::default();
        let running = meter.measure(async { statement() }).await;
        advance(4 * SECOND).await;
        assert_eq!(meter.usage(), DbUsage { elapsed: 4 * SECOND, statements: 1 });
        drop(running);
        assert_eq!(meter.usage(), DbUsage { elapsed: 4 * SECOND, statements: 1 });
    }
}
