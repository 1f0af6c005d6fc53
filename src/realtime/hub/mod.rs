//! The hub: a node's queues and recent events.
//!
//! One mutex guards all of it and is held for about a microsecond at a time. A poll looks and parks under the mutex, and an
//! event is appended under it, so neither can come between the other's steps. Parked polls are answered after it is
//! released. What this guarantees:
//!
//! * The head moves together with the append. A reader that sees a head sees every event up to it (I3).
//! * A poll is parked only when there is nothing for it up to the head, in the lists that the next event empties.
//! * A user's own events are in one bounded log for each user who has a queue here, in the same order.
//! * Memberships change in order with the other events, so delivery starts and stops exactly there. A membership whose end is
//!   known delivers nothing any more, not even earlier events (I5).
//! * Communities change their kinds in order too. Who watches one that only members may read now gets the events that say so, and no others.
//! * A deletion redacts the earlier events of its discussion or comment under the mutex. No poll that begins after it gets the
//!   deleted text.
//! * Sessions end in order with the other events. A poll that came by an ended session is answered, and none is parked.
//!
//! Events come one at a time, in order, from the feed. An event costs one push, and one wake for each poll that is parked
//! in its community (I8).
//!
//! The compiler puts the files of this folder into units of their own. `#[inline]` on the functions that every poll calls keeps
//! an event's delivery about 6 % cheaper (`cargo bench --bench hub`).

mod communities;
mod community_log;
mod ended_sessions;
mod event_logs;
mod follows;
mod lifetime;
mod limits;
mod lost;
mod members;
mod own_log;
mod parked;
mod queues;
mod registration;
mod state;
mod timeline;
mod visibilities;
mod visible;
mod waiting_lists;
mod watchers;

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

pub(crate) use self::{limits::USER_QUEUES, own_log::OWN_EVENTS};
pub use self::{
    limits::{Limits, Start, Stats},
    lost::LostEvents,
    own_log::{OwnContent, OwnEvent},
    parked::{ParkHandle, ParkedOutcome},
    registration::RegistrationGuard,
};
use self::{
    parked::{ParkedEntry, answer},
    state::HubState,
};
use super::body::{self, SharedBody};
use crate::{
    auth::Viewer,
    events::{
        SequencedEvent, Subject,
        history::{HistoryId, Position},
    },
    ids::{CommunityId, EventId, QueueId, UserId},
};

/// A node's queues and recent events.
pub struct Hub {
    limits: Limits,
    state: Mutex<HubState>,
    /// The head, for those who wait until it moves. Set after the state's head, and before anybody hears of the event.
    head: watch::Sender<EventId>,
}

/// What the first look of a poll finds.
#[derive(Debug)]
pub enum PollOutcome {
    /// An answer at once.
    Answer(Bytes),
    /// An event after the cursor is gone.
    Catchup,
    /// There is nothing yet. Wait for the handle, or give it back by [`Hub::unpark`].
    Parked(ParkHandle),
    /// The cursor is not in the order that this node knows: the node is behind, or there is no such event.
    Ahead,
    /// The user's memberships must be read anew: [`Hub::begin_registration`], then [`RegistrationGuard::update_memberships`].
    MembershipsUnknown,
    /// The viewer's session has ended since it was read.
    SessionEnded,
    /// The viewer's session was read so long ago that it must be read again.
    SessionUnknown,
    /// This user has no such queue here.
    NotFound,
    /// These events are gone, and the queue wants only a part of the events. If it wants none of these, [`Hub::note_unwanted`] takes
    /// that, and otherwise the answer is a catch-up.
    Lost(Vec<LostEvents>),
}

impl Hub {
    /// An empty hub whose first event will be `head + 1`, in a history without a name. `evicted` has, for each community with
    /// older events, the newest of them that is gone.
    pub fn new(limits: Limits, head: EventId, evicted: impl IntoIterator<Item = (CommunityId, EventId)>) -> Self {
        Self::starting_at(limits, Start { head, evicted: evicted.into_iter().collect(), ..Start::default() })
    }

    /// An empty hub that continues from `start`.
    pub fn starting_at(limits: Limits, start: Start) -> Self {
        let head = watch::Sender::new(start.head);
        let mut state = HubState::default();
        let _nobody_is_parked = state.leap(start);
        Self { limits, state: Mutex::new(state), head }
    }

    /// Calls `change` with the lock held. Whoever is to be woken is woken afterwards.
    #[inline]
    fn locked<R>(&self, change: impl FnOnce(&mut HubState) -> R) -> R {
        // A panic with the lock held would be a fault of this folder. Continuing with what is there beats answering nobody.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Continues from `start`, which is in another history or after a gap. Forgets all events and memberships and tells the
    /// parked polls to catch up. Queues stay.
    pub fn leap(&self, start: Start) {
        let head = start.head;
        let parked = self.locked(|state| state.leap(start));
        self.head.send_replace(head);
        for sender in parked {
            answer(sender, ParkedOutcome::Leapt);
        }
    }

    /// Appends the next event and answers the parked polls that it is for. Returns how many those were. Returns None, and
    /// does nothing, where it is not the next event: the feed must fill the gap first.
    pub fn append(&self, event: &SequencedEvent) -> Option<usize> {
        let appended = self.locked(|state| state.append(event, &self.limits))?;
        self.head.send_replace(event.event_id);
        for queue in appended.gone {
            queue.answer();
        }
        for sender in appended.signed_out {
            answer(sender, ParkedOutcome::SessionEnded);
        }
        if let Some(parked) = appended.released {
            parked.release();
        }
        let count = appended.woken.len();
        if count > 0 {
            let body = SharedBody::from(body::events([&event.json].into_iter(), event.event_id));
            for sender in appended.woken {
                answer(sender, ParkedOutcome::Event(body.clone()));
            }
        }
        Some(count)
    }

    /// The bounds.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The history of the events here.
    pub fn history(&self) -> HistoryId {
        self.position().history
    }

    /// How far this node is.
    pub fn position(&self) -> Position {
        self.locked(|state| state.position())
    }

    /// The newest event.
    pub fn head(&self) -> EventId {
        *self.head.borrow()
    }

    /// For waiting until the head moves.
    pub fn watch_head(&self) -> watch::Receiver<EventId> {
        self.head.subscribe()
    }

    fn has_reached(&self, position: &Position) -> bool {
        let here = self.position();
        here.history == position.history && here.head >= position.head
    }

    /// Waits until this node follows that history and has come that far.
    pub async fn wait_for_position(&self, position: &Position) {
        let mut heads = self.watch_head();
        // The hub outlives the wait, so there is always a next head.
        while !self.has_reached(position) && heads.changed().await.is_ok() {}
    }

    /// Looks for what there is for a queue of `viewer` after `cursor`. Parks the poll where that is nothing, if it `may_park`.
    ///
    /// The viewer's scope can only narrow the queue's own. A poll that is already parked on the queue is answered at once with an
    /// empty list. It loses nothing, since its cursor stays where it was.
    pub fn poll(&self, queue: QueueId, viewer: &Viewer, cursor: EventId, may_park: bool, now: Instant) -> PollOutcome {
        let (older, found) = self.locked(|state| state.poll(queue, viewer, cursor, may_park, now));
        if let Some(older) = older {
            older.release();
        }
        found.into()
    }

    /// Takes back a poll that nobody waits for any longer.
    pub fn unpark(&self, handle: &ParkHandle) {
        self.locked(|state| state.unpark(handle));
    }

    /// Ends the wait of a parked poll. Returns the body of its answer, most often an empty list, or None where its outcome is
    /// on its way already.
    pub fn time_out(&self, handle: &ParkHandle) -> Option<Bytes> {
        let found = self.locked(|state| state.time_out(handle))?;
        match found.into() {
            PollOutcome::Answer(body) => Some(body),
            PollOutcome::Catchup => Some(body::catchup()),
            // A parked poll comes to none of these. Were it otherwise, its cursor would stay where it is.
            PollOutcome::Parked(_)
            | PollOutcome::Ahead
            | PollOutcome::MembershipsUnknown
            | PollOutcome::SessionEnded
            | PollOutcome::SessionUnknown
            | PollOutcome::NotFound
            | PollOutcome::Lost(_) => Some(body::empty(handle.seen())),
        }
    }

    /// Whether a queue of the user needs to know what they follow.
    pub(crate) fn needs_follows(&self, user: UserId) -> bool {
        self.locked(|state| state.needs_follows(user))
    }

    /// Whether the queue wants any of these events of a community, or of its user if the community is [`CommunityId::NONE`].
    pub fn wants_any(&self, queue: QueueId, events: &[(EventId, CommunityId, Subject)]) -> bool {
        self.locked(|state| state.wants_any(queue, events))
    }

    /// Notes that the queue wants none of the events that are gone.
    pub fn note_unwanted(&self, queue: QueueId, events: Vec<LostEvents>) {
        self.locked(|state| state.note_unwanted(queue, events));
    }

    /// Answers all parked polls with an empty list and parks none from now on, so that clients move to another node.
    pub fn release(&self) {
        self.locked(HubState::close).into_iter().for_each(ParkedEntry::release);
    }

    /// What the hub holds.
    pub fn stats(&self) -> Stats {
        self.locked(|state| state.stats())
    }
}
