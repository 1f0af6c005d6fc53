//! The counters and signals that the threads of a run share.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use fixedbitset::FixedBitSet;
use tokio_util::sync::CancellationToken;

use crate::scenario::Scenario;

/// The state that all threads of a run share.
pub(crate) struct RunState {
    communities: Vec<Community>,
    parked: AtomicI64,
    expected: AtomicU64,
    delivered: AtomicU64,
    errors: AtomicU64,
    under_way: AtomicI64,
    writing: AtomicBool,
    fatal: Mutex<Option<String>>,
    /// Cancelled when readers and writers are to end.
    pub(crate) stopped: CancellationToken,
}

#[derive(Default)]
struct Community {
    readers: u64,
    next: AtomicU32,
    /// The numbers of the comments that a server answered with 201.
    written: Mutex<FixedBitSet>,
}

impl RunState {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut communities: Vec<Community> = (0..scenario.args.communities).map(|_| Community::default()).collect();
        for reader in 0..scenario.args.queues {
            for community in scenario.communities_of(reader) {
                communities[community as usize].readers += 1;
            }
        }
        Self {
            communities,
            parked: AtomicI64::new(0),
            expected: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            under_way: AtomicI64::new(0),
            writing: AtomicBool::new(false),
            fatal: Mutex::new(None),
            stopped: CancellationToken::new(),
        }
    }

    /// Counts a poll that was sent (1) or answered (-1).
    pub(crate) fn count_parked(&self, change: i64) {
        self.parked.fetch_add(change, Relaxed);
    }

    /// Polls that were sent and not answered yet.
    pub(crate) fn parked(&self) -> u64 {
        self.parked.load(Relaxed).max(0) as u64
    }

    /// The number of the community's next comment.
    pub(crate) fn next_number(&self, community: u32) -> u32 {
        self.communities[community as usize].next.fetch_add(1, Relaxed)
    }

    /// Records a comment that a server answered with 201. Every reader of its community must get it.
    pub(crate) fn record_written(&self, community: u32, number: u32) {
        let community = &self.communities[community as usize];
        community.written.lock().unwrap_or_else(PoisonError::into_inner).grow_and_insert(number as usize);
        self.expected.fetch_add(community.readers, Relaxed);
    }

    /// The numbers of the written comments, for each community.
    pub(crate) fn written(&self) -> Vec<FixedBitSet> {
        let communities = self.communities.iter();
        communities.map(|one| one.written.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    /// Counts a comment that a reader got for the first time.
    pub(crate) fn record_delivered(&self) {
        self.delivered.fetch_add(1, Relaxed);
    }

    /// The deliveries made so far, and the deliveries expected.
    pub(crate) fn deliveries(&self) -> (u64, u64) {
        (self.delivered.load(Relaxed), self.expected.load(Relaxed))
    }

    /// Counts a writer's request that began (1) or ended (-1).
    pub(crate) fn count_under_way(&self, change: i64) {
        self.under_way.fetch_add(change, Relaxed);
    }

    /// Whether no writer waits for an answer and, by the counts, every reader has all its comments.
    pub(crate) fn is_complete(&self) -> bool {
        let (delivered, expected) = self.deliveries();
        self.under_way.load(Relaxed) == 0 && delivered >= expected
    }

    /// Counts a failed request.
    pub(crate) fn record_error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// The number of failed requests.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Makes the run fail. Only the first reason is kept.
    pub(crate) fn give_up(&self, why: String) {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    /// Why the run failed, if it did.
    pub(crate) fn fatal(&self) -> Option<String> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the writers write, or makes them wait.
    pub(crate) fn set_writing(&self, may: bool) {
        self.writing.store(may, Relaxed);
    }

    /// Whether the writers may write.
    pub(crate) fn may_write(&self) -> bool {
        self.writing.load(Relaxed)
    }

    /// Ends the run.
    pub(crate) fn stop(&self) {
        self.stopped.cancel();
    }
}

impl Drop for RunState {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}
