//! A model of the hub, which keeps the whole history and answers from first principles. Random steps compare the two.

mod steps;
mod world;

use steps::{Step, step};
use world::World;

use super::*;

const USERS: UserId = 3;
const COMMUNITIES: CommunityId = 4;

struct ModelQueue {
    id: QueueId,
    user: UserId,
    scope: Scope,
    watch: Vec<CommunityId>,
    expires_at: Instant,
    parked: Option<ModelParked>,
}

struct ModelParked {
    token: Scope,
    parked: ParkHandle,
}

/// The answer that a parked poll must have got by a step.
enum Due {
    Event(EventId),
    Released(EventId),
    Leapt,
}

struct Model {
    hub: TestHub,
    limits: Limits,
    now: Instant,
    /// The history that the hub follows.
    world: World,
    /// The database's history, if it is another one.
    restored: Option<World>,
    /// The number of histories so far.
    histories: usize,
    head: EventId,
    start: EventId,
    /// The community events that the hub should still have.
    kept: BTreeSet<EventId>,
    registrations: Vec<(UserId, RegistrationGuard, Option<History>)>,
    queues: Vec<ModelQueue>,
    /// Up to which event the hub knows a user's memberships from a registration. This may be beyond its head.
    known: BTreeMap<UserId, EventId>,
    /// The newest end of each user's account up to the hub's head.
    ended: BTreeMap<UserId, EventId>,
    due: BTreeMap<QueueId, Due>,
}

impl Model {
    fn new(world: World, start: EventId) -> Self {
        let limits = Limits { community_events: 4, total_events: 15, total_bytes: 900, queue_ttl: TTL };
        let mut evicted = BTreeMap::new();
        for event in
            world.events.iter().filter(|event| event.event_id.get() <= start && event.audience == Audience::Community)
        {
            evicted.insert(event.community_id.get(), event.event_id.get());
        }
        Self {
            hub: TestHub(Arc::new(Hub::starting_at(
                limits,
                Start {
                    head: start.into(),
                    evicted: evicted
                        .into_iter()
                        .map(|(community, at): (i64, i64)| (community.into(), at.into()))
                        .collect(),
                    kinds: world.kinds_at(start),
                    ..Start::default()
                },
            ))),
            limits,
            now: Instant::now(),
            world,
            restored: None,
            histories: 0,
            head: start,
            start,
            kept: BTreeSet::new(),
            registrations: Vec::new(),
            queues: Vec::new(),
            known: BTreeMap::new(),
            ended: BTreeMap::new(),
            due: BTreeMap::new(),
        }
    }

    fn event(&self, event_id: EventId) -> &SequencedEvent {
        self.world.event(event_id)
    }

    /// The database's history.
    fn database(&mut self) -> &mut World {
        self.restored.as_mut().unwrap_or(&mut self.world)
    }

    fn history(&mut self, user: UserId) -> History {
        self.database().history(user)
    }

    /// The hub gets a user's memberships. It ignores them if they are of another history.
    fn learns(&mut self, user: UserId, history: &History) {
        if history.id == self.world.id {
            let known = self.known.entry(user).or_default();
            *known = history.head.get().max(*known);
        }
    }

    /// How far the hub knows a user's own events.
    fn known_through(&self, user: UserId) -> EventId {
        self.known.get(&user).map_or(self.head, |known| self.head.max(*known))
    }

    /// Whether the user is a member, by the newest memberships that the hub knows.
    fn is_member(&self, user: UserId, community: CommunityId) -> bool {
        self.world.role_at(self.known_through(user), user, community).is_some()
    }

    fn sees(&self, queue: &ModelQueue, token: &Scope, event_id: EventId) -> bool {
        let event = self.event(event_id);
        let community = event.community_id.get();
        let allowed = queue.scope.allows(event.community_id) && token.allows(event.community_id);
        allowed
            && match event.audience {
                Audience::Member(change) => change.user_id.get() == queue.user,
                Audience::User(user) => {
                    user.get() == queue.user
                        && (community == 0
                            || self.is_present(event_id, queue.user, community)
                            || self.is_open_since(event_id, community))
                }
                Audience::Community => {
                    self.is_present(event_id, queue.user, community) || self.is_watched(queue, event_id, community)
                }
                Audience::Account(_)
                | Audience::Sessions { .. }
                | Audience::Nodes(_)
                | Audience::Watch(..)
                | Audience::CommunityKind(..)
                | Audience::Nobody => false,
            }
    }

    /// Whether the user was a member at an event and still is.
    fn is_present(&self, event_id: EventId, user: UserId, community: CommunityId) -> bool {
        self.world.role_at(event_id - 1, user, community).is_some() && self.is_member(user, community)
    }

    /// Whether the community has been open since before an event.
    fn is_open_since(&self, event_id: EventId, community: CommunityId) -> bool {
        (event_id - 1..=self.head).all(|at| self.world.kind_at(at, community) == Visibility::Open)
    }

    /// Whether the queue gets the event because it watches the community: anyone may read the community now and could read it at the
    /// event, or the event says that they cannot any more.
    fn is_watched(&self, queue: &ModelQueue, event_id: EventId, community: CommunityId) -> bool {
        let readable = |at| self.world.is_readable_at(at, community);
        let (before, after, now) = (readable(event_id - 1), readable(event_id), readable(self.head));
        queue.watch.contains(&community) && if now { before || after } else { before && !after }
    }

    /// Whether an event after `cursor` is gone that the queue may have got because it watches the community.
    fn has_lost_watched(&self, queue: &ModelQueue, cursor: EventId, event_id: EventId, community: CommunityId) -> bool {
        let readable = |at| self.world.is_readable_at(at, community);
        let ends = readable(event_id - 1) && !readable(event_id);
        queue.watch.contains(&community) && (ends || readable(self.head) && (cursor..=event_id).any(readable))
    }

    /// Whether an event after `cursor` is gone: one of the user's own, or one in a community of which the user is a member now, and was a member at `cursor` or
    /// joined before that event.
    fn lost(&self, queue: &ModelQueue, token: &Scope, cursor: EventId) -> bool {
        if self.world.own_gone_through(self.known_through(queue.user), queue.user) > cursor {
            return true;
        }
        (self.world.id.base.get() + 1..=self.head).any(|event_id| {
            let event = self.event(event_id);
            let community = event.community_id;
            event.audience == Audience::Community
                && event_id > cursor
                && !self.kept.contains(&event_id)
                && queue.scope.allows(community)
                && token.allows(community)
                && (self.has_lost_watched(queue, cursor, event_id, community.get())
                    || self.is_member(queue.user, community.get())
                        && (cursor..event_id).any(|at| self.world.role_at(at, queue.user, community.get()).is_some()))
        })
    }

    fn feed(&mut self) {
        if self.restored.is_some() || self.head == self.world.head() {
            return;
        }
        let next = self.event(self.head + 1).clone();
        self.head += 1;
        if next.audience == Audience::Community {
            self.world.redact(self.head);
            self.keep(next.event_id.get());
        }
        for queue in &self.queues {
            if let Some(parked) = &queue.parked
                && self.known.contains_key(&queue.user)
                && self.sees(queue, &parked.token, self.head)
            {
                self.due.insert(queue.id, Due::Event(self.head));
            }
        }
        let expected = self.due.len();
        let notified = self.hub.append(&next).unwrap();
        assert!(notified >= expected, "{notified} notified of {expected}");
        if let Audience::Account(user) = next.audience {
            self.ended.insert(user.get(), self.head);
            while let Some(which) = self.queues.iter().position(|queue| queue.user == user.get()) {
                self.forget(which);
            }
        }
    }

    /// The events that are kept of each community, oldest first.
    fn logs(&self) -> BTreeMap<CommunityId, Vec<EventId>> {
        let mut logs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for event_id in &self.kept {
            logs.entry(self.event(*event_id).community_id.get()).or_default().push(*event_id);
        }
        logs
    }

    fn bytes_of(&self, events: &[EventId]) -> usize {
        events.iter().map(|event_id| self.event(*event_id).json.len()).sum()
    }

    /// Keeps the newest event, and makes room for it.
    fn keep(&mut self, newest: EventId) {
        // The event before this one may have been larger than the room for it.
        self.divide(self.limits.total_bytes, newest, Self::bytes_of);
        self.kept.insert(newest);
        let own = &self.logs()[&self.event(newest).community_id.get()];
        if own.len() > self.limits.community_events {
            self.kept.remove(&own[0]);
        }
        self.divide(self.limits.total_events, newest, |_, log| log.len());
        self.divide(self.limits.total_bytes, newest, Self::bytes_of);
    }

    /// The largest log gives way until all fit into the room. Of equally large ones, the one with the oldest event does.
    fn divide(&mut self, room: usize, newest: EventId, size: impl Fn(&Self, &[EventId]) -> usize) {
        loop {
            let logs = self.logs();
            if logs.values().map(|log| size(self, log)).sum::<usize>() <= room {
                return;
            }
            let largest = logs.values().max_by_key(|log| (size(self, log), std::cmp::Reverse(log[0]))).unwrap();
            if largest[0] == newest {
                return;
            }
            assert!(size(self, largest) * logs.len() > room, "who is within an even share loses nothing");
            self.kept.remove(&largest[0]);
        }
    }

    fn bytes(&self) -> usize {
        self.bytes_of(&self.kept.iter().copied().collect::<Vec<_>>())
    }

    fn forget(&mut self, which: usize) -> ModelQueue {
        let mut queue = self.queues.remove(which);
        if let Some(mut parked) = queue.parked.take() {
            assert!(matches!(outcome(&mut parked.parked), Some(ParkedOutcome::Gone)));
        }
        queue
    }

    fn poll(&mut self, which: usize, token: Scope, cursor: EventId, park: bool) {
        let queue = &self.queues[which];
        let polled = self.hub.poll(queue.id, queue.user, &token, cursor, park, self.now);
        if queue.expires_at <= self.now {
            assert!(matches!(polled, PollOutcome::NotFound));
            return;
        }
        if let Some(older) = &queue.parked {
            self.due.insert(queue.id, Due::Released(older.parked.seen().get()));
        }
        self.check_due();
        if matches!(polled, PollOutcome::MembershipsUnknown) {
            let user = self.queues[which].user;
            assert!(!self.known.contains_key(&user), "what was known is forgotten");
            // Do what the slow path does.
            let registration = self.hub.begin_registration(user);
            let history = self.history(user);
            registration.update_memberships(&history);
            self.learns(user, &history);
            if self.known.contains_key(&user) {
                self.poll(which, token, cursor, park);
            }
            return;
        }
        let queue = &self.queues[which];
        if cursor < self.world.id.base.get() || cursor > self.head {
            assert!(matches!(polled, PollOutcome::Ahead));
            return;
        }
        assert!(self.known.contains_key(&queue.user), "whose memberships are not known is not served");
        let expected: Vec<_> =
            (cursor + 1..=self.head).filter(|event_id| self.sees(queue, &token, *event_id)).collect();
        match polled {
            PollOutcome::Catchup => assert!(self.lost(queue, &token, cursor), "no event is gone after {cursor}"),
            PollOutcome::Answer(body) => {
                assert!(!self.lost(queue, &token, cursor), "an event is gone after {cursor}");
                let (events, last) = read(&body);
                assert_eq!((ids(&events), last), (expected, self.head));
                for event in &events {
                    let written = &self.event(event["event_id"].as_i64().unwrap()).json;
                    assert_eq!(*event, serde_json::from_slice::<Value>(written).unwrap());
                }
                assert!(!park || !events.is_empty());
            }
            PollOutcome::Parked(parked) => {
                assert!(park && cursor <= self.head && expected.is_empty());
                assert!(!self.lost(queue, &token, cursor), "an event is gone after {cursor}");
                assert_eq!(parked.seen().get(), self.head);
                self.queues[which].parked = Some(ModelParked { token, parked });
            }
            PollOutcome::Ahead
            | PollOutcome::MembershipsUnknown
            | PollOutcome::SessionEnded
            | PollOutcome::SessionUnknown
            | PollOutcome::NotFound
            | PollOutcome::Lost(_) => panic!("the queue is not served"),
        }
    }

    /// The database has leaped to another history. The hub does not know that yet.
    fn restore(&mut self, lost: usize, base: EventId, changed: Vec<(UserId, CommunityId, bool)>) {
        self.histories += 1;
        let fingerprint = self.histories.to_string();
        let database = self.database();
        let at = (database.head() - lost as EventId).max(database.id.base.get());
        let mut members = BTreeMap::new();
        for (user, community) in (1..=USERS).flat_map(|user| (1..=COMMUNITIES).map(move |community| (user, community)))
        {
            members.extend(database.role_at(at, user, community).map(|role| ((user, community), role)));
        }
        for (user, community, is_member) in changed {
            match is_member {
                true => members.insert((user, community), Role::Member),
                false => members.remove(&(user, community)),
            };
        }
        let kinds = (1..=COMMUNITIES).map(|community| (community, self.database().kind_at(at, community))).collect();
        let id = HistoryId { base: base.into(), fingerprint };
        self.restored = Some(World { id, members, kinds, events: Vec::new() });
    }

    /// The feed notices the leap, at once or after more events.
    fn notice(&mut self) {
        let Some(world) = self.restored.take() else { return };
        let base = world.id.base;
        let kinds = world.kinds_at(base.get());
        self.hub.leap(Start { history: world.id.clone(), head: base, floor: base, evicted: Vec::new(), kinds });
        self.world = world;
        (self.head, self.start) = (base.get(), base.get());
        self.kept.clear();
        self.known.clear();
        self.ended.clear();
        for queue in self.queues.iter().filter(|queue| queue.parked.is_some()) {
            self.due.insert(queue.id, Due::Leapt);
        }
    }

    /// Checks that exactly the right parked polls are answered.
    fn check_due(&mut self) {
        for queue in &mut self.queues {
            let Some(mut waiting) = queue.parked.take() else { continue };
            match (self.due.remove(&queue.id), outcome(&mut waiting.parked)) {
                (None, None) => queue.parked = Some(waiting),
                (Some(Due::Event(event_id)), Some(ParkedOutcome::Event(body))) => {
                    let (events, last) = read(body.json());
                    assert_eq!((ids(&events), last), (vec![event_id], event_id));
                }
                (Some(Due::Released(seen)), Some(ParkedOutcome::Released(at))) => assert_eq!(seen, at.get()),
                (Some(Due::Leapt), Some(ParkedOutcome::Leapt)) => {}
                (due, outcome) => panic!("{}: {outcome:?}", if due.is_some() { "wrongly answered" } else { "not due" }),
            }
        }
        assert!(self.due.is_empty(), "a poll that does not wait is due");
    }

    fn check_stats(&self) {
        let stats = self.hub.stats();
        let users: BTreeSet<_> =
            self.queues.iter().map(|queue| queue.user).chain(self.registrations.iter().map(|it| it.0)).collect();
        let parked = self.queues.iter().filter(|queue| queue.parked.is_some()).count();
        assert_eq!((stats.queues, stats.users, stats.parked), (self.queues.len(), users.len(), parked));
        assert_eq!((stats.events, stats.bytes, stats.head.get()), (self.kept.len(), self.bytes(), self.head));
        assert!(self.head >= self.start);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_that_of_a_model_which_keeps_the_whole_history(
        past in proptest::collection::vec(step(), 0..40),
        start in 0.0..1.0_f64,
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut world = World::default();
        for step in past {
            match step {
                Step::Write { community, comment, size } => world.write(community, comment, size),
                Step::Delete { community, comment } => world.delete(community, comment),
                Step::Member { user, community, leaves } => world.change(user, community, leaves),
                Step::Own { user, community, size } => world.own(user, community, size),
                Step::Turn { community, kind } => world.turn(community, kind),
                Step::EndAccount { user } => world.end_account(user),
                _ => {}
            }
        }
        let start = (world.head() as f64 * start) as EventId;
        let mut model = Model::new(world, start);
        for step in steps {
            model.step(step);
        }
    }
}
