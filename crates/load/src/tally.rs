//! The counts and times of one thread of a run.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// The longest time that a histogram can hold, in microseconds. Longer times count as this one.
const LONGEST: u64 = 600_000_000;

/// Counts and times, in microseconds.
pub(crate) struct Tally {
    /// From the start of a comment's POST to the complete answer that delivered it.
    pub(crate) delivery: Histogram<u64>,
    /// From the start of a writer's request to its complete answer.
    pub(crate) request: Histogram<u64>,
    /// Comments that a server answered with 201.
    pub(crate) written: u64,
    /// Deliveries that never came.
    pub(crate) missed: u64,
    /// Comments that came more than once.
    pub(crate) repeated: u64,
    /// Comments that came after a newer one.
    pub(crate) disordered: u64,
    /// Events that the reader must not get.
    pub(crate) leaked: u64,
    /// Answers `catchup_required`.
    pub(crate) catchups: u64,
    /// Answers without events.
    pub(crate) empty: u64,
    /// Queues that had to be registered again.
    pub(crate) registered_again: u64,
    /// Failed requests: what failed, and how often.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LONGEST, 3).expect("constant bounds that are valid");
        Self {
            delivery: histogram(),
            request: histogram(),
            written: 0,
            missed: 0,
            repeated: 0,
            disordered: 0,
            leaked: 0,
            catchups: 0,
            empty: 0,
            registered_again: 0,
            errors: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// Counts a failure.
    pub(crate) fn error(&mut self, what: String) {
        *self.errors.entry(what).or_default() += 1;
    }

    /// Adds the counts and times of another thread.
    pub(crate) fn add(&mut self, other: Self) {
        self.delivery.add(&other.delivery).expect("both have the same bounds");
        self.request.add(&other.request).expect("both have the same bounds");
        self.written += other.written;
        self.missed += other.missed;
        self.repeated += other.repeated;
        self.disordered += other.disordered;
        self.leaked += other.leaked;
        self.catchups += other.catchups;
        self.empty += other.empty;
        self.registered_again += other.registered_again;
        for (what, count) in other.errors {
            *self.errors.entry(what).or_default() += count;
        }
    }
}
