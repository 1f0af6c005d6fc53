//! A hub with communities and parked polls, for the benchmark.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use discussions::{
    auth::Viewer,
    directory::Scope,
    events::{Audience, Content, SequencedEvent, Subject},
    ids::{CommunityId, EventId, QueueId, UserId},
    realtime::{
        hub::{Hub, Limits, ParkedOutcome, PollOutcome},
        memberships::MembershipHistory as History,
    },
};
use tokio::{sync::Notify, task::LocalSet};

use crate::measure::median;

const TTL: Duration = Duration::from_secs(3_600);

/// A hub whose communities are numbered from 0.
pub(crate) struct HubFixture {
    pub hub: Arc<Hub>,
    json: Bytes,
}

impl HubFixture {
    pub(crate) fn new(communities: i64) -> Self {
        let limits = Limits { community_events: 1_000, total_events: 100_000, total_bytes: 256 << 20, queue_ttl: TTL };
        let fixture = Self { hub: Arc::new(Hub::new(limits, EventId::START, [])), json: Bytes::from(vec![b'x'; 500]) };
        // Put an event into the log of every community.
        (0..communities).for_each(|community| fixture.append(community));
        fixture
    }

    /// Registers a queue of `user`, who is in the first `communities`.
    pub(crate) fn register(&self, user: i64, communities: i64) -> (QueueId, UserId) {
        self.install(user, (0..communities).map(CommunityId::new).collect())
    }

    /// Registers a queue of `user`, who is only in this community.
    pub(crate) fn register_in(&self, user: i64, community: i64) -> (QueueId, UserId) {
        self.install(user, [CommunityId::new(community)].into())
    }

    fn install(&self, user: i64, communities: std::collections::BTreeSet<CommunityId>) -> (QueueId, UserId) {
        let (queue, user) = (QueueId::random(), UserId::new(user));
        let history = History { head: self.hub.head(), communities, ..History::default() };
        let now = tokio::time::Instant::now();
        self.hub.begin_registration(user).create_queue(queue, Scope::default(), &history, TTL, now);
        (queue, user)
    }

    pub(crate) fn append(&self, community: i64) {
        let event = SequencedEvent {
            event_id: self.hub.head().next(),
            community_id: community.into(),
            audience: Audience::Community,
            json: self.json.clone(),
            subject: Subject::default(),
            writer: None,
            content: Content::of(&self.json),
            written_at: chrono::DateTime::UNIX_EPOCH,
        };
        assert!(self.hub.append(&event).is_some(), "it is the next event");
    }

    pub(crate) fn poll(&self, (queue, user): (QueueId, UserId), cursor: EventId, park: bool) -> PollOutcome {
        self.hub.poll(queue, &viewer(user), cursor, park, tokio::time::Instant::now())
    }

    pub(crate) fn heartbeat(&self, (queue, user): (QueueId, UserId)) {
        assert!(self.hub.heartbeat(queue, user, tokio::time::Instant::now()).is_some(), "the queue is there");
    }

    pub(crate) fn park_and_unpark(&self, queue: (QueueId, UserId)) {
        match self.poll(queue, self.hub.head(), true) {
            PollOutcome::Parked(parked) => self.hub.unpark(&parked),
            _ => panic!("there is nothing new, so it parks"),
        }
    }

    /// Parks the polls of `count` users from `first` on, each in `communities` communities and with a task of its own.
    pub(crate) async fn park_all(&self, first: i64, count: u32, communities: i64) -> ParkedTasks {
        let parked = ParkedTasks { tasks: LocalSet::new(), waits: Rc::default(), count, all: Rc::default() };
        for user in first..first + i64::from(count) {
            let queue = self.register(user, communities);
            let (hub, waits, all) = (Arc::clone(&self.hub), Rc::clone(&parked.waits), Rc::clone(&parked.all));
            parked.tasks.spawn_local(async move {
                let mut cursor = hub.head();
                loop {
                    let now = tokio::time::Instant::now();
                    let PollOutcome::Parked(poll) = hub.poll(queue.0, &viewer(queue.1), cursor, true, now) else {
                        panic!("there is nothing new, so it parks");
                    };
                    waits.set(waits.get() + 1);
                    if waits.get() == count {
                        all.notify_one();
                    }
                    let ParkedOutcome::Event(body) = poll.await else { return };
                    assert!(body.json().len() > 500);
                    cursor = hub.head();
                }
            });
        }
        parked.tasks.run_until(parked.all.notified()).await;
        parked
    }
}

/// A user with a token for all their communities.
fn viewer(user_id: UserId) -> Viewer {
    Viewer { user_id, scope: Scope::default(), expires_at: None, session: None }
}

/// Many parked polls.
pub(crate) struct ParkedTasks {
    tasks: LocalSet,
    waits: Rc<Cell<u32>>,
    count: u32,
    all: Rc<Notify>,
}

impl ParkedTasks {
    /// Appends events to community 0 and returns two medians in seconds: the time of the append alone, and the time until all
    /// polls have their event and are parked again.
    pub(crate) async fn rounds(&self, fixture: &HubFixture, rounds: u32) -> (f64, f64) {
        let mut times = Vec::new();
        for _ in 0..rounds {
            assert_eq!(self.waits.replace(0), self.count);
            let start = Instant::now();
            fixture.append(0);
            let append = start.elapsed().as_secs_f64();
            self.tasks.run_until(self.all.notified()).await;
            times.push((append, start.elapsed().as_secs_f64()));
        }
        (median(times.iter().map(|(append, _)| *append)), median(times.iter().map(|(_, all)| *all)))
    }
}
