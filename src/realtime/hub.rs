//! The hub: a node's queues and recent events.
//!
//! One mutex holds all of it, for a microsecond or so at a time: a poll looks and parks under it, an event is appended under
//! it, so that neither can come between the other's steps, and there is nothing to re-check. Parked polls are answered after
//! it is released. What this keeps true:
//!
//! * the head moves with the append, so a reader that sees a head sees every event up to it (I3);
//! * a poll is parked only when nothing up to the head is there for it, in the very lists that the next event empties;
//! * memberships change at their place among the events, so delivery stops and starts exactly there, and what is known of a
//!   membership's end stops it at once, for events of before too (I5).
//!
//! Events come one at a time from the feed, in order. An event costs one push and, for each poll parked in its community,
//! one wake (I8).

use std::{
    cmp::Reverse,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use super::{
    answer,
    hub_state::State,
    member::Member,
    memberships::MembershipHistory,
    queue::Queue,
    waiter::{Fired, ParkedOutcome},
};
use crate::{
    directory::Scope,
    events::{
        Audience, SequencedEvent,
        history::{HistoryId, Position},
    },
    ids::{CommunityId, EventId, QueueId, UserId},
};

/// The most events of one answer.
pub const ANSWER_EVENTS: usize = 500;
/// The most queues of one user.
pub const USER_QUEUES: usize = 32;

/// The bounds of a hub.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events kept of one community.
    pub community_events: usize,
    /// Events kept of all: the newest so many of the order.
    pub total_events: usize,
    /// Bytes of events kept.
    pub total_bytes: usize,
    /// How long a queue lives without a heartbeat.
    pub queue_ttl: Duration,
}

/// A place in the order from which a hub goes on.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The history that the place is in.
    pub history: HistoryId,
    /// The event before the hub's first.
    pub head: EventId,
    /// Everything up to here counts as gone for everyone; from the history's base on.
    pub floor: EventId,
    /// For each community with a past in this history: through which event that is gone.
    pub evicted: Vec<(CommunityId, EventId)>,
}

/// A node's queues and recent events.
pub struct Hub {
    limits: Limits,
    state: Mutex<State>,
    /// The head, for those who wait for it to move: readiness and polls that are ahead of this node.
    head: watch::Sender<EventId>,
}

/// What a poll comes to at first.
pub enum PollOutcome {
    /// An answer at once.
    Answer(Bytes),
    /// Something after the cursor is gone.
    Catchup,
    /// Nothing yet: wait, then [`Hub::unpark`].
    Parked(ParkHandle),
    /// The cursor is not of the order that this node knows. It may be behind: wait for it, or find that there is no such event.
    Ahead,
    /// The user's memberships have to be read anew: [`Hub::begin_registration`], then [`RegistrationGuard::update_memberships`].
    MembershipsUnknown,
    /// No such queue of this user.
    NotFound,
}

/// A poll that waits.
pub struct ParkHandle {
    /// Resolves with the outcome.
    pub fired: Fired,
    /// Whose poll it is.
    pub queue: QueueId,
    /// Everything up to here has been seen by the queue.
    pub seen: EventId,
}

/// What the hub holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Queues.
    pub queues: usize,
    /// Users with queues.
    pub users: usize,
    /// Polls parked.
    pub parked: usize,
    /// Events kept.
    pub events: usize,
    /// Bytes of those.
    pub bytes: usize,
    /// The newest event.
    pub head: EventId,
}

impl Hub {
    /// An empty hub whose first event will be `head + 1`, in a history without a name. `evicted` says, for each community with
    /// a past, through which event that is gone.
    pub fn new(limits: Limits, head: EventId, evicted: impl IntoIterator<Item = (CommunityId, EventId)>) -> Self {
        Self::starting_at(limits, Start { head, evicted: evicted.into_iter().collect(), ..Start::default() })
    }

    /// An empty hub that goes on from `start`.
    pub fn starting_at(limits: Limits, start: Start) -> Self {
        let head = watch::Sender::new(start.head);
        let mut state = State::default();
        state.leap(start);
        Self { limits, state: Mutex::new(state), head }
    }

    /// Goes on from `start`, which is in another history or beyond a gap: forgets all events and what is known of users'
    /// memberships, and tells the parked polls to catch up. Queues live on.
    pub fn leap(&self, start: Start) {
        let parked = {
            let mut state = self.state();
            let head = start.head;
            let parked = state.leap(start);
            self.head.send_replace(head);
            parked
        };
        for waiter in parked {
            waiter.fire(ParkedOutcome::Leapt);
        }
    }

    /// The bounds.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The history that the events here are of.
    pub fn history(&self) -> HistoryId {
        self.state().history.clone()
    }

    /// How far this node is.
    pub fn position(&self) -> Position {
        let state = self.state();
        Position { history: state.history.clone(), head: state.head }
    }

    /// Whether this node is in that history and has come so far.
    pub fn has_reached(&self, position: &Position) -> bool {
        let state = self.state();
        state.history == position.history && state.head >= position.head
    }

    /// Waits until this node is in that history and has come so far.
    pub async fn wait_for_position(&self, position: &Position) {
        let mut heads = self.watch_head();
        // The hub outlives the wait: there is always a next head.
        while !self.has_reached(position) && heads.changed().await.is_ok() {}
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic with the lock held would be a fault of this file; going on with what is there beats answering nobody.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest event.
    pub fn head(&self) -> EventId {
        *self.head.borrow()
    }

    /// For waiting until the head has moved.
    pub fn watch_head(&self) -> watch::Receiver<EventId> {
        self.head.subscribe()
    }

    /// Appends the next event and answers the polls that it is for. Returns how many those were; None, and nothing is
    /// done, where it is not the next event: the feed's fault, who must fill the gap.
    pub fn append(&self, event: &SequencedEvent) -> Option<usize> {
        let (woken, gone) = {
            let mut state = self.state();
            if event.event_id != state.head.next() {
                return None;
            }
            state.head = event.event_id;
            let woken = state.append(event);
            let gone = match event.audience {
                Audience::Account(user) => state.end_account(user, event.event_id),
                _ => Vec::new(),
            };
            state.evict(&self.limits);
            self.head.send_replace(event.event_id);
            (woken, gone)
        };
        for waiter in gone {
            waiter.fire(ParkedOutcome::Gone);
        }
        let count = woken.len();
        if count > 0 {
            let body = answer::events(std::slice::from_ref(&event.json), event.event_id);
            for waiter in woken {
                waiter.fire(ParkedOutcome::Event(body.clone()));
            }
        }
        Some(count)
    }

    /// Begins a registration: from now on the user's membership changes are noted, so that a snapshot of the database
    /// taken after this can be brought up to the hub's place in the order.
    pub fn begin_registration(self: &Arc<Self>, user: UserId) -> RegistrationGuard {
        self.state().members.entry(user).or_insert_with(|| Box::new(Member::loading())).loading += 1;
        RegistrationGuard { hub: Arc::clone(self), user }
    }

    /// Restarts the queue's life and returns its scope; None where there is no such queue of this user.
    pub fn heartbeat(&self, queue: QueueId, user: UserId, now: Instant) -> Option<Scope> {
        let mut state = self.state();
        let found = state.queues.get_mut(queue)?;
        if found.user != user || found.expires_at <= now {
            return None;
        }
        found.expires_at = now + self.limits.queue_ttl;
        Some(found.scope.clone())
    }

    /// Deletes a queue and answers its poll; false where there is no such queue of this user.
    pub fn close(&self, queue: QueueId, user: UserId) -> bool {
        let gone = {
            let mut state = self.state();
            match state.queues.get(queue) {
                Some(found) if found.user == user => state.remove(queue),
                _ => return false,
            }
        };
        if let Some(waiter) = gone {
            waiter.fire(ParkedOutcome::Gone);
        }
        true
    }

    /// Deletes a queue that was closed at another node, and answers its poll.
    pub fn closed_elsewhere(&self, queue: QueueId) {
        let gone = self.state().remove(queue);
        if let Some(waiter) = gone {
            waiter.fire(ParkedOutcome::Gone);
        }
    }

    /// The queues whose time is up. They stay until [`Hub::drop_due`] or [`Hub::extend`]: another node may know better.
    pub fn due(&self, now: Instant) -> Vec<QueueId> {
        let mut state = self.state();
        let mut due = Vec::new();
        while let Some(Reverse((at, queue))) = state.expiries.peek().copied() {
            if at > now {
                break;
            }
            state.expiries.pop();
            match state.queues.get(queue).map(|queue| queue.expires_at) {
                Some(expires_at) if expires_at > now => state.expiries.push(Reverse((expires_at, queue))),
                Some(_) => due.push(queue),
                None => {}
            }
        }
        due
    }

    /// Lets a due queue live on: it had a heartbeat elsewhere and has this much time left.
    pub fn extend(&self, queue: QueueId, now: Instant, left: Duration) {
        let mut state = self.state();
        if let Some(found) = state.queues.get_mut(queue) {
            found.expires_at = found.expires_at.max(now + left);
            let expires_at = found.expires_at;
            state.expiries.push(Reverse((expires_at, queue)));
        }
    }

    /// Deletes a due queue, whosever it is, and answers its poll: false where it had a heartbeat meanwhile or is gone.
    pub fn drop_due(&self, queue: QueueId, now: Instant) -> bool {
        let gone = {
            let mut state = self.state();
            match state.queues.get(queue).map(|queue| queue.expires_at) {
                Some(expires_at) if expires_at > now => {
                    state.expiries.push(Reverse((expires_at, queue)));
                    return false;
                }
                Some(_) => state.remove(queue),
                None => return false,
            }
        };
        if let Some(waiter) = gone {
            waiter.fire(ParkedOutcome::Gone);
        }
        true
    }

    /// Whether this node knows the queue as that user's.
    pub fn has_queue(&self, queue: QueueId, user: UserId, now: Instant) -> bool {
        self.state().queues.get(queue).is_some_and(|found| found.user == user && found.expires_at > now)
    }

    /// What is there for the queue after `cursor`; parks where that is nothing and `park` says so.
    ///
    /// `token` is the scope of the token the queue is polled with, which can only narrow the queue's own. A poll that is
    /// parked on the queue already is answered at once, and loses nothing: its cursor stays where it was.
    pub fn poll(
        &self,
        queue: QueueId,
        user: UserId,
        token: &Scope,
        cursor: EventId,
        park: bool,
        now: Instant,
    ) -> PollOutcome {
        let (older, polled) = {
            let mut state = self.state();
            let state = &mut *state;
            let Some(slot) = state.queues.slot(queue) else { return PollOutcome::NotFound };
            match state.queues.at_mut(slot) {
                Some(found) if found.user == user && found.expires_at > now => {
                    let older = found.parked.take();
                    (older, state.poll(slot, token, cursor, park))
                }
                _ => return PollOutcome::NotFound,
            }
        };
        if let Some(older) = older {
            older.waiter.fire(ParkedOutcome::Released(older.seen));
        }
        polled
    }

    /// Takes a poll back that nobody waits for any longer.
    pub fn unpark(&self, parked: &ParkHandle) {
        if let Some(queue) = self.state().queues.get_mut(parked.queue) {
            queue.unpark(&parked.fired.0);
        }
    }

    /// Ends the wait of a parked poll with what is there by now, most often nothing. None where its outcome is on its way.
    pub fn time_out(&self, parked: &ParkHandle) -> Option<Bytes> {
        let mut state = self.state();
        let slot = state.queues.slot(parked.queue)?;
        let token = state.queues.at_mut(slot)?.unpark(&parked.fired.0)?.token;
        match state.poll(slot, &token, parked.seen, false) {
            PollOutcome::Answer(body) => Some(body),
            PollOutcome::Catchup => Some(answer::catchup()),
            PollOutcome::Parked(_) | PollOutcome::Ahead | PollOutcome::MembershipsUnknown | PollOutcome::NotFound => {
                None
            }
        }
    }

    /// Answers all parked polls with an empty list and parks none from now on, so that clients move to another node.
    pub fn release(&self) {
        let parked: Vec<_> = {
            let mut state = self.state();
            state.closing = true;
            state.queues.iter_mut().filter_map(|queue| queue.parked.take()).collect()
        };
        for parked in parked {
            parked.waiter.fire(ParkedOutcome::Released(parked.seen));
        }
    }

    /// What the hub holds.
    pub fn stats(&self) -> Stats {
        let state = self.state();
        Stats {
            queues: state.queues.len(),
            users: state.members.len(),
            parked: state.queues.iter().filter(|queue| queue.is_waiting()).count(),
            events: state.communities.iter().map(|community| community.log.len()).sum(),
            bytes: state.bytes,
            head: state.head,
        }
    }
}

/// A registration under way. Dropped without [`RegistrationGuard::create_queue`], it leaves nothing behind.
pub struct RegistrationGuard {
    hub: Arc<Hub>,
    user: UserId,
}

impl RegistrationGuard {
    /// Takes the user's history as it was read after [`Hub::begin_registration`], and makes no queue.
    pub fn update_memberships(self, history: &MembershipHistory) {
        self.hub.state().update_memberships(self.user, history);
    }

    /// Makes the queue, from the user's history as it was read after [`Hub::begin_registration`]. Where the user has too many queues,
    /// the one idle longest goes; its id is returned.
    pub fn create_queue(
        self,
        queue: QueueId,
        scope: Scope,
        history: &MembershipHistory,
        left: Duration,
        now: Instant,
    ) -> Option<QueueId> {
        let mut guard = self.hub.state();
        let state = &mut *guard;
        state.update_memberships(self.user, history);
        let member = state.members.get_mut(&self.user)?;
        if history.id == state.history && member.ended > history.head {
            // The queue is not made. Whoever asks for it by this id is told of the account.
            return None;
        }
        if state.queues.slot(queue).is_some() {
            return None;
        }
        let oldest = (member.queues.len() >= USER_QUEUES)
            .then(|| member.queues.iter().filter_map(|slot| state.queues.at(*slot)).min_by_key(|one| one.expires_at))
            .flatten()
            .map(|oldest| oldest.id);
        let expires_at = now + left;
        let slot = state.queues.insert(Queue::new(queue, self.user, scope, expires_at));
        member.queues.push(slot);
        state.expiries.push(Reverse((expires_at, queue)));
        let gone = oldest.and_then(|oldest| state.remove(oldest));
        drop(guard);
        if let Some(waiter) = gone {
            waiter.fire(ParkedOutcome::Gone);
        }
        oldest
    }
}

impl Drop for RegistrationGuard {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if let Some(member) = state.members.get_mut(&self.user) {
            member.loading -= 1;
            if member.loading == 0 && member.queues.is_empty() {
                state.members.remove(&self.user);
            }
        }
    }
}
