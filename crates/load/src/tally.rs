//! What one thread of a run has seen and measured.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// The longest time that a histogram can hold, in microseconds. Longer ones count as this.
const LONGEST: u64 = 600_000_000;

/// Counts and times, in microseconds.
pub(crate) struct Tally {
    /// From the start of a comment's request to the whole answer that brought it.
    pub(crate) delivery: Histogram<u64>,
    /// From the start of a request of a writer to its whole answer.
    pub(crate) request: Histogram<u64>,
    /// Comments that a server answered with 201.
    pub(crate) written: u64,
    /// Deliveries of a comment that never came.
    pub(crate) missed: u64,
    /// Comments that came again.
    pub(crate) repeated: u64,
    /// Comments that came after a newer one.
    pub(crate) disordered: u64,
    /// Events of communities that the reader is not in.
    pub(crate) leaked: u64,
    /// Answers `catchup_required`.
    pub(crate) catchups: u64,
    /// Answers with nothing in them.
    pub(crate) empty: u64,
    /// Queues that had to be registered again.
    pub(crate) registered_again: u64,
    /// What failed, and how often.
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
    /// Notes a failure.
    pub(crate) fn error(&mut self, what: String) {
        *self.errors.entry(what).or_default() += 1;
    }

    /// Adds what another thread has seen.
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
