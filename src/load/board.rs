//! What the threads of a run tell each other.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use tokio_util::sync::CancellationToken;

use super::{plan::Plan, seen::Seen};

/// Counters and signals.
pub struct Board {
    communities: Vec<Community>,
    parked: AtomicI64,
    expected: AtomicU64,
    delivered: AtomicU64,
    errors: AtomicU64,
    under_way: AtomicI64,
    writing: AtomicBool,
    fatal: Mutex<Option<String>>,
    /// Cancelled when readers and writers are to end.
    pub stopped: CancellationToken,
}

#[derive(Default)]
struct Community {
    readers: u64,
    next: AtomicU32,
    /// The comments that a server has said are written.
    written: Mutex<Seen>,
}

impl Board {
    /// A board on which nothing is written yet.
    pub fn new(plan: &Plan) -> Self {
        let mut communities: Vec<Community> = (0..plan.args.communities).map(|_| Community::default()).collect();
        for reader in 0..plan.args.queues {
            for community in plan.communities_of(reader) {
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

    /// A poll was sent (1) or answered (-1).
    pub fn park(&self, change: i64) {
        self.parked.fetch_add(change, Relaxed);
    }

    /// Polls sent and not answered.
    pub fn parked(&self) -> u64 {
        self.parked.load(Relaxed).max(0) as u64
    }

    /// The number of the community's next comment.
    pub fn next(&self, community: u32) -> u32 {
        self.communities[community as usize].next.fetch_add(1, Relaxed)
    }

    /// A server has said that the comment is written.
    pub fn written(&self, community: u32, number: u32) {
        let community = &self.communities[community as usize];
        community.written.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        self.expected.fetch_add(community.readers, Relaxed);
    }

    /// What is written in a community.
    pub fn all_written(&self, community: u32) -> Seen {
        self.communities[community as usize].written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A reader got something for the first time.
    pub fn delivered(&self) {
        self.delivered.fetch_add(1, Relaxed);
    }

    /// Deliveries made and deliveries that are to be made.
    pub fn deliveries(&self) -> (u64, u64) {
        (self.delivered.load(Relaxed), self.expected.load(Relaxed))
    }

    /// A writer's request began (1) or ended (-1).
    pub fn under_way(&self, change: i64) {
        self.under_way.fetch_add(change, Relaxed);
    }

    /// Whether no writer waits and every reader has everything, as far as counting tells.
    pub fn complete(&self) -> bool {
        let (delivered, expected) = self.deliveries();
        self.under_way.load(Relaxed) == 0 && delivered >= expected
    }

    /// A request failed.
    pub fn error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// Requests that failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Nothing can come of this run.
    pub fn fail(&self, why: String) {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    /// Why nothing can come of this run.
    pub fn fatal(&self) -> Option<String> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the writers write, or not.
    pub fn write(&self, may: bool) {
        self.writing.store(may, Relaxed);
    }

    /// Whether writers may write.
    pub fn may_write(&self) -> bool {
        self.writing.load(Relaxed)
    }

    /// Ends the run.
    pub fn stop(&self) {
        self.stopped.cancel();
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}
