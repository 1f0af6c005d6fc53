//! The hub by itself: no database, no sockets, and a time that the tests set.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use discussions::{
    directory::{Role, Scope},
    events::{Audience, Change, Event, MembershipChange, SequencedEvent, history::HistoryId},
    ids::QueueId,
    realtime::{
        self,
        hub::{Hub, Limits, ParkHandle, ParkedOutcome, PollOutcome, RegistrationGuard, Start},
        memberships::MembershipHistory as History,
        registry::Registry,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::{CommunityId, EventId, UserId};

const TTL: Duration = Duration::from_secs(120);
const LIMITS: Limits = Limits { community_events: 1_000, total_events: 100_000, total_bytes: 1 << 28, queue_ttl: TTL };

/// A hub that takes ids as plain numbers.
struct TestHub(Arc<Hub>);

impl std::ops::Deref for TestHub {
    type Target = Arc<Hub>;

    fn deref(&self) -> &Arc<Hub> {
        &self.0
    }
}

impl TestHub {
    fn new(limits: Limits, head: EventId, evicted: impl IntoIterator<Item = (CommunityId, EventId)>) -> Self {
        let evicted = evicted.into_iter().map(|(community, event_id)| (community.into(), event_id.into()));
        Self(Arc::new(Hub::new(limits, head.into(), evicted)))
    }

    fn head(&self) -> EventId {
        self.0.head().get()
    }

    fn begin_registration(&self, user: UserId) -> RegistrationGuard {
        self.0.begin_registration(user.into())
    }

    fn poll(
        &self,
        queue: QueueId,
        user: UserId,
        token: &Scope,
        cursor: EventId,
        park: bool,
        now: Instant,
    ) -> PollOutcome {
        self.0.poll(queue, user.into(), token, cursor.into(), park, now)
    }

    fn heartbeat(&self, queue: QueueId, user: UserId, now: Instant) -> Option<Scope> {
        self.0.heartbeat(queue, user.into(), now)
    }

    fn close(&self, queue: QueueId, user: UserId) -> bool {
        self.0.close(queue, user.into())
    }

    fn has_queue(&self, queue: QueueId, user: UserId, now: Instant) -> bool {
        self.0.has_queue(queue, user.into(), now)
    }
}

fn hub() -> TestHub {
    TestHub::new(LIMITS, 0, [])
}

/// The memberships of somebody who was always in these communities.
fn member_of(communities: &[CommunityId]) -> History {
    History { communities: communities.iter().map(|community| (*community).into()).collect(), ..History::default() }
}

/// The same, read at `head`, after these changes.
fn changed(head: EventId, changes: &[(EventId, MembershipChange)], communities: &[CommunityId]) -> History {
    let changes = changes.iter().map(|(event_id, change)| ((*event_id).into(), *change)).collect();
    History { head: head.into(), changes, ..member_of(communities) }
}

fn register(hub: &TestHub, user: UserId, history: &History, now: Instant) -> QueueId {
    let queue = QueueId::random();
    assert_eq!(hub.begin_registration(user).create_queue(queue, Scope::default(), history, TTL, now), None);
    queue
}

fn event(event_id: EventId, community_id: CommunityId, size: usize) -> SequencedEvent {
    let json = json!({ "event_id": event_id, "community_id": community_id, "text": "x".repeat(size) }).to_string();
    let (event_id, community_id) = (event_id.into(), community_id.into());
    SequencedEvent { event_id, community_id, audience: Audience::Community, json: json.into(), written_at: Utc::now() }
}

fn membership(event_id: EventId, change: MembershipChange) -> SequencedEvent {
    let event_id = event_id.into();
    let json = serde_json::to_vec(&Event { event_id, change: Change::MembershipChanged(change) }).unwrap();
    SequencedEvent {
        event_id,
        community_id: change.community_id,
        audience: Audience::Member(change),
        json: json.into(),
        written_at: Utc::now(),
    }
}

fn change(
    user_id: UserId,
    community_id: CommunityId,
    previous_role: Option<Role>,
    role: Option<Role>,
) -> MembershipChange {
    let (user_id, community_id) = (user_id.into(), community_id.into());
    MembershipChange { community_id, user_id, role, previous_role, timestamp: DateTime::UNIX_EPOCH }
}

/// The ids of the events and the cursor of an answer.
fn read(body: &Bytes) -> (Vec<Value>, EventId) {
    let body: Value = serde_json::from_slice(body).unwrap();
    (body["events"].as_array().unwrap().clone(), body["last_event_id"].as_i64().unwrap())
}

fn ids(events: &[Value]) -> Vec<EventId> {
    events.iter().map(|event| event["event_id"].as_i64().unwrap()).collect()
}

/// A poll that is to be answered at once.
#[track_caller]
fn answered(hub: &TestHub, queue: QueueId, user: UserId, cursor: EventId, now: Instant) -> (Vec<EventId>, EventId) {
    match hub.poll(queue, user, &Scope::default(), cursor, false, now) {
        PollOutcome::Answer(body) => {
            let (events, last) = read(&body);
            (ids(&events), last)
        }
        _ => panic!("the poll is not answered"),
    }
}

#[track_caller]
fn parked(hub: &TestHub, queue: QueueId, user: UserId, cursor: EventId, now: Instant) -> ParkHandle {
    match hub.poll(queue, user, &Scope::default(), cursor, true, now) {
        PollOutcome::Parked(parked) => parked,
        _ => panic!("the poll is not parked"),
    }
}

/// The outcome, if it has come.
fn outcome(parked: &mut ParkHandle) -> Option<ParkedOutcome> {
    match Pin::new(parked).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

#[track_caller]
fn event_of(parked: &mut ParkHandle) -> (Vec<EventId>, EventId) {
    match outcome(parked) {
        Some(ParkedOutcome::Event(body)) => {
            let (events, last) = read(&body);
            (ids(&events), last)
        }
        other => panic!("told {other:?}"),
    }
}

// Expiry (I6).

#[tokio::test(start_paused = true)]
async fn a_queue_without_heartbeats_is_gone_after_120_s_although_it_is_polled() {
    let hub = hub();
    let start = Instant::now();
    let expiry =
        tokio::spawn(realtime::expire(Arc::clone(&hub), Arc::new(Registry::local()), CancellationToken::new()));
    let polled = register(&hub, 1, &member_of(&[7]), start);
    let waiting = register(&hub, 2, &member_of(&[7]), start);
    let active = register(&hub, 3, &member_of(&[7]), start);
    let parked = parked(&hub, waiting, 2, 0, start);
    for _ in 0..11 {
        tokio::time::advance(Duration::from_secs(10)).await;
        answered(&hub, polled, 1, 0, Instant::now());
    }
    assert!(hub.heartbeat(active, 3, Instant::now()).is_some());
    tokio::time::sleep_until(start + Duration::from_millis(119_990)).await;
    answered(&hub, polled, 1, 0, Instant::now());
    assert_eq!(hub.stats().queues, 3);

    assert!(matches!(parked.await, ParkedOutcome::Gone));
    let lived = start.elapsed();
    assert!(lived >= TTL && lived <= TTL + Duration::from_secs(5), "{lived:?}");
    let stats = hub.stats();
    assert_eq!((stats.queues, stats.users, stats.parked), (1, 1, 0));
    assert!(matches!(hub.poll(polled, 1, &Scope::default(), 0, true, Instant::now()), PollOutcome::NotFound));
    assert!(hub.heartbeat(polled, 1, Instant::now()).is_none());
    answered(&hub, active, 3, 0, Instant::now());
    expiry.abort();
}

#[test]
fn a_queue_whose_time_is_up_is_not_served_even_before_it_is_removed() {
    let hub = hub();
    let start = Instant::now();
    let queue = register(&hub, 1, &member_of(&[7]), start);
    assert!(hub.heartbeat(queue, 1, start + TTL).is_none());
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 0, true, start + TTL), PollOutcome::NotFound));
    assert!(hub.heartbeat(queue, 1, start + TTL - Duration::from_millis(1)).is_some());
}

#[test]
fn the_memory_of_expired_queues_is_freed() {
    // Alone in its process: the other tests would be measured as well.
    if std::env::var_os("HUB_TEST_ALONE").is_none() {
        let name = "hub::the_memory_of_expired_queues_is_freed";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env("HUB_TEST_ALONE", "1")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
        return;
    }
    let resident_kib = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
    };
    let hub = hub();
    let mut now = Instant::now();
    let mut user = 0;
    let mut after_warming_up = 0;
    for round in 0..150 {
        let mut polls = Vec::new();
        for _ in 0..1_000 {
            user += 1;
            let queue = register(&hub, user, &member_of(&[user % 5, user % 7, user % 11]), now);
            polls.push(parked(&hub, queue, user, 0, now));
        }
        assert_eq!(hub.stats().parked, 1_000);
        now += TTL;
        for queue in hub.expired(now) {
            assert!(hub.drop_expired(queue, now));
        }
        assert!(polls.iter_mut().all(|parked| matches!(outcome(parked), Some(ParkedOutcome::Gone))));
        assert_eq!(hub.stats(), discussions::realtime::hub::Stats::default());
        // By then the allocator has the room that it works in.
        if round == 49 {
            after_warming_up = resident_kib();
        }
    }
    // 100,000 more queues; 40 bytes kept of each would be 3.8 MiB.
    let grown = resident_kib().saturating_sub(after_warming_up);
    assert!(grown < 2_048, "{grown} KiB more");
}

// Memberships along the order (I5).

#[test]
fn events_of_a_member_are_those_between_joining_and_leaving() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7]), now);
    let (member, admin) = (Some(Role::Member), Some(Role::Admin));
    hub.append(&event(1, 8, 0)); // before joining
    hub.append(&membership(2, change(1, 8, None, member)));
    hub.append(&event(3, 8, 0));
    hub.append(&membership(4, change(1, 8, member, admin)));
    hub.append(&event(5, 8, 0));
    hub.append(&membership(6, change(1, 8, admin, None)));
    hub.append(&event(7, 8, 0)); // after leaving
    hub.append(&event(8, 7, 0));
    hub.append(&membership(9, change(1, 8, None, member)));
    hub.append(&event(10, 8, 0));
    hub.append(&membership(11, change(2, 8, None, member))); // somebody else's
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![2, 3, 4, 5, 6, 8, 9, 10], 11));
    assert_eq!(answered(&hub, queue, 1, 5, now), (vec![6, 8, 9, 10], 11));
    assert_eq!(answered(&hub, queue, 1, 10, now), (vec![], 11));
}

#[test]
fn a_parked_poll_is_told_of_its_users_memberships_and_waits_where_they_lead() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7]), now);
    let mut poll = parked(&hub, queue, 1, 0, now);
    assert_eq!(hub.append(&event(1, 8, 0)), Some(0), "nobody is woken for a community of others");
    assert!(outcome(&mut poll).is_none());
    assert_eq!(hub.append(&membership(2, change(1, 8, None, Some(Role::Member)))), Some(1));
    assert_eq!(event_of(&mut poll), (vec![2], 2));
    let mut poll = parked(&hub, queue, 1, 2, now);
    assert_eq!(hub.append(&event(3, 8, 0)), Some(1));
    assert_eq!(event_of(&mut poll), (vec![3], 3));
    let mut poll = parked(&hub, queue, 1, 3, now);
    assert_eq!(hub.append(&membership(4, change(1, 8, Some(Role::Member), None))), Some(1));
    assert_eq!(event_of(&mut poll), (vec![4], 4));
    let mut poll = parked(&hub, queue, 1, 4, now);
    assert_eq!(hub.append(&event(5, 8, 0)), Some(0), "nor for one that they have left");
    assert!(outcome(&mut poll).is_none());
}

#[test]
fn what_is_left_in_a_list_of_one_who_has_gone_wakes_nobody() {
    let (hub, now) = (hub(), Instant::now());
    // Enough others in the list of community 7 that it is not cleared of single entries.
    let others: Vec<_> = (100..110).map(|user| (user, register(&hub, user, &member_of(&[7]), now))).collect();
    let _parked: Vec<_> = others.iter().map(|(user, queue)| parked(&hub, *queue, *user, 0, now)).collect();
    let leaver = register(&hub, 1, &member_of(&[7, 8]), now);
    let closer = register(&hub, 2, &member_of(&[7]), now);
    let _leaves = parked(&hub, leaver, 1, 0, now);
    let _closes = parked(&hub, closer, 2, 0, now);

    hub.append(&membership(1, change(1, 7, Some(Role::Member), None)));
    let mut left = parked(&hub, leaver, 1, 1, now);
    assert!(hub.close(closer, 2));
    // The next queue has the closed one's slot.
    let newcomer = register(&hub, 3, &changed(1, &[], &[8]), now);
    let mut new = parked(&hub, newcomer, 3, 1, now);

    assert_eq!(hub.append(&event(2, 7, 0)), Some(others.len()));
    assert!(outcome(&mut left).is_none(), "they have left");
    assert!(outcome(&mut new).is_none(), "they never were there");
    assert_eq!(hub.append(&event(3, 8, 0)), Some(2));
    assert_eq!((event_of(&mut left), event_of(&mut new)), ((vec![3], 3), (vec![3], 3)));
}

#[test]
fn a_registration_meets_a_snapshot_older_than_the_hub() {
    let (hub, now) = (hub(), Instant::now());
    hub.append(&event(1, 7, 0));
    let registration = hub.begin_registration(1);
    let history = changed(1, &[], &[7]);
    hub.append(&membership(2, change(1, 7, Some(Role::Member), None)));
    hub.append(&event(3, 7, 0));
    hub.append(&membership(4, change(1, 8, None, Some(Role::Member))));
    hub.append(&event(5, 8, 0));
    let queue = QueueId::random();
    registration.create_queue(queue, Scope::default(), &history, TTL, now);
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![2, 4, 5], 5));
}

#[test]
fn a_registration_meets_a_snapshot_newer_than_the_hub() {
    let (hub, now) = (hub(), Instant::now());
    let (joined, left) = (change(1, 8, None, Some(Role::Member)), change(1, 7, Some(Role::Member), None));
    let history = changed(4, &[(2, joined), (4, left)], &[8]);
    let queue = register(&hub, 1, &history, now);
    // The hub has yet to come to any of this: neither do its polls.
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![], 0));
    let mut poll = parked(&hub, queue, 1, 0, now);
    assert_eq!(hub.append(&event(1, 8, 0)), Some(0), "not a member there yet");
    assert!(outcome(&mut poll).is_none());
    assert_eq!(hub.append(&membership(2, joined)), Some(1));
    assert_eq!(event_of(&mut poll), (vec![2], 2));
    let mut poll = parked(&hub, queue, 1, 2, now);
    assert_eq!(
        hub.append(&event(3, 7, 0)),
        Some(0),
        "they were a member there, and it is known that they are none now"
    );
    assert!(outcome(&mut poll).is_none());
    assert_eq!(hub.append(&membership(4, left)), Some(1));
    assert_eq!(event_of(&mut poll), (vec![4], 4));
    hub.append(&event(5, 7, 0));
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![2, 4], 5));
}

#[test]
fn who_is_no_member_now_is_told_nothing_of_before() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7, 8]), now);
    let member = Some(Role::Member);
    hub.append(&event(1, 8, 0));
    hub.append(&event(2, 7, 0));
    hub.append(&membership(3, change(1, 8, member, None)));
    hub.append(&event(4, 8, 0));
    // The old queue and a new one, with every cursor: of community 8 the end of the membership alone.
    let changes = [(3, change(1, 8, member, None))];
    let new = register(&hub, 1, &changed(4, &changes, &[7]), now);
    for queue in [queue, new] {
        for (cursor, events) in [(0, vec![2, 3]), (1, vec![2, 3]), (2, vec![3]), (3, vec![]), (4, vec![])] {
            assert_eq!(answered(&hub, queue, 1, cursor, now), (events, 4), "from {cursor}");
        }
    }
    // After the rejoin: what was theirs, and what comes.
    hub.append(&membership(5, change(1, 8, None, member)));
    hub.append(&event(6, 8, 0));
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![1, 2, 3, 5, 6], 6));
    assert_eq!(answered(&hub, queue, 1, 3, now), (vec![5, 6], 6));
}

#[test]
fn another_registration_may_know_more_and_ends_what_the_first_is_told() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7, 8]), now);
    hub.append(&event(1, 8, 0));
    let mut poll = parked(&hub, queue, 1, 1, now);
    // This node's feed is behind: the database has the removal at 3 already, which the second tab's registration reads.
    let left = change(1, 8, Some(Role::Member), None);
    register(&hub, 1, &changed(3, &[(3, left)], &[7]), now);
    assert_eq!(hub.append(&event(2, 8, 0)), Some(0));
    assert!(outcome(&mut poll).is_none());
    assert_eq!(hub.append(&membership(3, left)), Some(1));
    assert_eq!(event_of(&mut poll), (vec![3], 3));
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![3], 3));
}

#[test]
fn what_is_gone_of_a_community_of_before_makes_nobody_catch_up() {
    let limits = Limits { community_events: 2, ..LIMITS };
    let (hub, now) = (TestHub::new(limits, 0, []), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7, 8]), now);
    for event_id in 1..=5 {
        hub.append(&event(event_id, 8, 0));
    }
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 0, false, now), PollOutcome::Catchup));
    hub.append(&membership(6, change(1, 8, Some(Role::Member), None)));
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![6], 6));
    hub.append(&membership(7, change(1, 8, None, Some(Role::Member))));
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 0, false, now), PollOutcome::Catchup), "it is theirs again");
    assert_eq!(answered(&hub, queue, 1, 3, now), (vec![4, 5, 6, 7], 7));
}

#[test]
fn more_changes_of_membership_than_are_kept_are_said_to_be_gone() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7]), now);
    for round in 0..50 {
        hub.append(&membership(2 * round + 1, change(1, 8, None, Some(Role::Member))));
        hub.append(&membership(2 * round + 2, change(1, 8, Some(Role::Member), None)));
    }
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 35, false, now), PollOutcome::Catchup));
    assert_eq!(answered(&hub, queue, 1, 36, now), ((37..=100).collect(), 100));
}

#[test]
fn a_registration_that_is_given_up_leaves_nothing() {
    let (hub, now) = (hub(), Instant::now());
    let first = hub.begin_registration(1);
    let second = hub.begin_registration(1);
    assert_eq!(hub.stats().users, 1);
    drop(first);
    second.create_queue(QueueId::random(), Scope::default(), &member_of(&[7]), TTL, now);
    assert_eq!(hub.stats().users, 1);
    drop(hub.begin_registration(2));
    assert_eq!(hub.stats().users, 1);
}

#[test]
fn what_is_not_the_next_event_is_refused() {
    let hub = hub();
    assert_eq!(hub.append(&event(2, 7, 0)), None);
    assert_eq!(hub.append(&event(1, 7, 0)), Some(0));
    assert_eq!(hub.append(&event(1, 7, 0)), None);
    assert_eq!(hub.head(), 1);
}

#[test]
fn the_end_of_an_account_ends_its_queues_and_registrations_under_way() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7]), now);
    let other = register(&hub, 2, &member_of(&[7]), now);
    let mut poll = parked(&hub, queue, 1, 0, now);
    let mut others = parked(&hub, other, 2, 0, now);
    let (early, late) = (hub.begin_registration(1), hub.begin_registration(1));
    let ends = SequencedEvent { audience: Audience::Account(1.into()), ..event(1, 0, 0) };
    assert_eq!(hub.append(&ends), Some(0), "it is delivered to nobody");
    assert!(matches!(outcome(&mut poll), Some(ParkedOutcome::Gone)));
    assert!(outcome(&mut others).is_none());
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 0, true, now), PollOutcome::NotFound));
    // A registration that read the database before makes no queue; one that read it afterwards does.
    let (before, after) = (QueueId::random(), QueueId::random());
    early.create_queue(before, Scope::default(), &member_of(&[7]), TTL, now);
    assert!(!hub.has_queue(before, 1, now));
    late.create_queue(after, Scope::default(), &changed(1, &[], &[7]), TTL, now);
    assert!(hub.has_queue(after, 1, now));
    assert_eq!((hub.stats().queues, hub.stats().events), (2, 0));
}

// The bounds of the logs.

#[test]
fn the_logs_stay_within_their_bounds() {
    let limits = Limits { community_events: 10, total_events: 40, total_bytes: 6_000, queue_ttl: TTL };
    let hub = TestHub::new(limits, 0, []);
    let mut most = 0;
    for event_id in 1..=500 {
        hub.append(&event(event_id, event_id % 13, (event_id as usize * 37) % 900));
        let stats = hub.stats();
        assert!(stats.events <= 40 && stats.bytes <= 6_000, "{stats:?}");
        most = most.max(stats.events);
    }
    assert!(most > 10);
    // One event larger than all bounds is not kept either.
    hub.append(&event(501, 1, 10_000));
    assert_eq!((hub.stats().events, hub.stats().bytes), (0, 0));
    for event_id in 502..=600 {
        hub.append(&event(event_id, 1, 0));
        assert!(hub.stats().events <= 10);
    }
    assert_eq!(hub.stats().events, 10);
}

// The model: it keeps the whole history and answers from first principles.

/// What a random step does; indices are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Write {
        community: CommunityId,
        size: usize,
    },
    /// Joins where they are not a member; else leaves or changes role.
    Member {
        user: UserId,
        community: CommunityId,
        leaves: bool,
    },
    /// The account ends, and is in use again at once.
    EndAccount {
        user: UserId,
    },
    Feed {
        count: usize,
    },
    Begin {
        user: UserId,
    },
    Snapshot {
        which: usize,
    },
    Install {
        which: usize,
        scope: Option<Vec<CommunityId>>,
    },
    Poll {
        which: usize,
        token: Option<Vec<CommunityId>>,
        back: EventId,
        park: bool,
    },
    PollOfAnother {
        which: usize,
    },
    TimeOut {
        which: usize,
    },
    GoAway {
        which: usize,
    },
    Heartbeat {
        which: usize,
    },
    Close {
        which: usize,
    },
    Advance {
        seconds: u64,
    },
    Expire,
    /// The database is brought back as it was so many events ago, where so much is different in who is a member, and leaps.
    Restore {
        lost: usize,
        base: EventId,
        changed: Vec<(UserId, CommunityId, bool)>,
    },
    /// The feed finds out.
    Notice,
}

const USERS: UserId = 3;
const COMMUNITIES: CommunityId = 4;

fn scope() -> impl Strategy<Value = Option<Vec<CommunityId>>> {
    prop_oneof![
        3 => Just(None),
        1 => proptest::collection::vec(1..=COMMUNITIES, 0..4).prop_map(Some),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (user, community, which) = (1..=USERS, 1..=COMMUNITIES, 0..64_usize);
    let back = prop_oneof![4 => Just(0_i64), 4 => 0..6_i64, 2 => 0..60_i64, 1 => Just(-1_i64)];
    prop_oneof![
        8 => (community.clone(), 0..120_usize).prop_map(|(community, size)| Step::Write { community, size }),
        6 => (user.clone(), community, any::<bool>())
            .prop_map(|(user, community, leaves)| Step::Member { user, community, leaves }),
        1 => user.clone().prop_map(|user| Step::EndAccount { user }),
        10 => (1..6_usize).prop_map(|count| Step::Feed { count }),
        3 => user.prop_map(|user| Step::Begin { user }),
        3 => which.clone().prop_map(|which| Step::Snapshot { which }),
        4 => (which.clone(), scope()).prop_map(|(which, scope)| Step::Install { which, scope }),
        14 => (which.clone(), scope(), back, any::<bool>())
            .prop_map(|(which, token, back, park)| Step::Poll { which, token, back, park }),
        1 => which.clone().prop_map(|which| Step::PollOfAnother { which }),
        2 => which.clone().prop_map(|which| Step::TimeOut { which }),
        2 => which.clone().prop_map(|which| Step::GoAway { which }),
        3 => which.clone().prop_map(|which| Step::Heartbeat { which }),
        1 => which.prop_map(|which| Step::Close { which }),
        3 => (1..50_u64).prop_map(|seconds| Step::Advance { seconds }),
        2 => Just(Step::Expire),
        1 => (0..9_usize, 0..4_i64, proptest::collection::vec((1..=USERS, 1..=COMMUNITIES, any::<bool>()), 0..4))
            .prop_map(|(lost, base, changed)| Step::Restore { lost, base: base * 1_000, changed }),
        2 => Just(Step::Notice),
    ]
}

/// The scope of a token for these communities, or for all.
fn narrowed(communities: Option<Vec<CommunityId>>) -> Scope {
    Scope::new(communities.map(|communities| communities.into_iter().map(Into::into).collect()))
}

struct ModelQueue {
    id: QueueId,
    user: UserId,
    scope: Scope,
    expires_at: Instant,
    parked: Option<ModelParked>,
}

struct ModelParked {
    token: Scope,
    parked: ParkHandle,
}

/// How a parked poll must have been answered by a step.
enum Due {
    Event(EventId),
    Released(EventId),
    Leapt,
}

/// A history: who was a member at its base, and all that was written since.
#[derive(Clone, Default)]
struct World {
    id: HistoryId,
    members: BTreeMap<(UserId, CommunityId), Role>,
    events: Vec<SequencedEvent>,
}

impl World {
    fn head(&self) -> EventId {
        self.id.base.get() + self.events.len() as EventId
    }

    fn event(&self, event_id: EventId) -> &SequencedEvent {
        &self.events[(event_id - self.id.base.get()) as usize - 1]
    }

    /// The role of a member at a place in the order.
    fn role_at(&self, at: EventId, user: UserId, community: CommunityId) -> Option<Role> {
        let before = &self.events[..(at - self.id.base.get()) as usize];
        let newest = before.iter().rev().find_map(|event| match event.audience {
            Audience::Member(change) if change.user_id.get() == user && change.community_id.get() == community => {
                Some(change.role)
            }
            _ => None,
        });
        newest.unwrap_or_else(|| self.members.get(&(user, community)).copied())
    }

    fn write(&mut self, community: CommunityId, size: usize) {
        self.events.push(event(self.head() + 1, community, size));
    }

    fn change(&mut self, user: UserId, community: CommunityId, leaves: bool) {
        let before = self.role_at(self.head(), user, community);
        let after = match before {
            None => Some(Role::Member),
            Some(_) if leaves => None,
            Some(Role::Member) => Some(Role::Admin),
            Some(_) => Some(Role::Member),
        };
        self.events.push(membership(self.head() + 1, change(user, community, before, after)));
    }

    fn end_account(&mut self, user: UserId) {
        self.events.push(SequencedEvent { audience: Audience::Account(user.into()), ..event(self.head() + 1, 0, 0) });
    }

    fn history(&self, user: UserId) -> History {
        let own = self.events.iter().filter_map(|event| match event.audience {
            Audience::Member(change) if change.user_id.get() == user => Some((event.event_id, change)),
            _ => None,
        });
        History {
            id: self.id.clone(),
            head: self.head().into(),
            communities: (1..=COMMUNITIES)
                .filter(|community| self.role_at(self.head(), user, *community).is_some())
                .map(Into::into)
                .collect(),
            changes: own.collect(),
            ..History::default()
        }
    }
}

struct Model {
    hub: TestHub,
    limits: Limits,
    now: Instant,
    /// What the hub follows.
    world: World,
    /// The database, where it is in another history by now.
    restored: Option<World>,
    /// How many histories there were.
    histories: usize,
    head: EventId,
    start: EventId,
    /// Events of communities that the hub should still have.
    kept: BTreeSet<EventId>,
    /// The hub's window of the order begins after this.
    window: EventId,
    registrations: Vec<(UserId, RegistrationGuard, Option<History>)>,
    queues: Vec<ModelQueue>,
    /// How far the memberships of a user are known to the hub by a registration's snapshot: perhaps beyond its head.
    known: BTreeMap<UserId, EventId>,
    /// The newest end of each user's account that the hub has come to.
    ended: BTreeMap<UserId, EventId>,
    due: BTreeMap<QueueId, Due>,
}

impl Model {
    fn new(world: World, start: EventId) -> Self {
        let limits = Limits { community_events: 4, total_events: 15, total_bytes: 1_200, queue_ttl: TTL };
        let mut evicted = BTreeMap::new();
        for event in
            world.events.iter().filter(|event| event.event_id.get() <= start && event.audience == Audience::Community)
        {
            evicted.insert(event.community_id.get(), event.event_id.get());
        }
        Self {
            hub: TestHub::new(limits, start, evicted),
            limits,
            now: Instant::now(),
            world,
            restored: None,
            histories: 0,
            head: start,
            start,
            kept: BTreeSet::new(),
            window: start,
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

    /// The database.
    fn database(&mut self) -> &mut World {
        self.restored.as_mut().unwrap_or(&mut self.world)
    }

    fn history(&mut self, user: UserId) -> History {
        self.database().history(user)
    }

    /// What the hub learns of a user, if it is of its own history.
    fn learns(&mut self, user: UserId, history: &History) {
        if history.id == self.world.id {
            let known = self.known.entry(user).or_default();
            *known = history.head.get().max(*known);
        }
    }

    /// Whether the user is a member now, by the newest that the hub has been told.
    fn is_member(&self, user: UserId, community: CommunityId) -> bool {
        let now = self.known.get(&user).map_or(self.head, |known| self.head.max(*known));
        self.world.role_at(now, user, community).is_some()
    }

    fn sees(&self, queue: &ModelQueue, token: &Scope, event_id: EventId) -> bool {
        let event = self.event(event_id);
        let community = event.community_id.get();
        let allowed = queue.scope.allows(event.community_id) && token.allows(event.community_id);
        allowed
            && match event.audience {
                Audience::Member(change) => change.user_id.get() == queue.user,
                Audience::Community => {
                    self.world.role_at(event_id - 1, queue.user, community).is_some()
                        && self.is_member(queue.user, community)
                }
                Audience::Account(_) | Audience::Nobody => false,
            }
    }

    /// Whether an event is gone that came after `cursor`, in a community in which the user is a member now, and was one at
    /// `cursor` or joined later and before that event.
    fn lost(&self, queue: &ModelQueue, token: &Scope, cursor: EventId) -> bool {
        (self.world.id.base.get() + 1..=self.head).any(|event_id| {
            let event = self.event(event_id);
            let place = event.community_id;
            event.audience == Audience::Community
                && event_id > cursor
                && !self.kept.contains(&event_id)
                && queue.scope.allows(place)
                && token.allows(place)
                && self.is_member(queue.user, place.get())
                && (cursor..event_id).any(|at| self.world.role_at(at, queue.user, place.get()).is_some())
        })
    }

    fn feed(&mut self) {
        if self.restored.is_some() || self.head == self.world.head() {
            return;
        }
        let next = self.event(self.head + 1).clone();
        self.head += 1;
        if next.audience == Audience::Community {
            self.kept.insert(next.event_id.get());
            let own: Vec<_> =
                self.kept.iter().copied().filter(|id| self.event(*id).community_id == next.community_id).collect();
            if own.len() > self.limits.community_events {
                self.kept.remove(&own[0]);
            }
        }
        while (self.head - self.window) as usize > self.limits.total_events || self.bytes() > self.limits.total_bytes {
            self.window += 1;
            self.kept.remove(&self.window);
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
        let woken = self.hub.append(&next).unwrap();
        assert!(woken >= expected, "{woken} woken of {expected}");
        if let Audience::Account(user) = next.audience {
            self.ended.insert(user.get(), self.head);
            while let Some(which) = self.queues.iter().position(|queue| queue.user == user.get()) {
                self.forget(which);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.kept.iter().map(|id| self.event(*id).json.len()).sum()
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
            // What the slow path does.
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
        let news: Vec<_> = (cursor + 1..=self.head).filter(|event_id| self.sees(queue, &token, *event_id)).collect();
        match polled {
            PollOutcome::Catchup => assert!(self.lost(queue, &token, cursor), "no event is gone after {cursor}"),
            PollOutcome::Answer(body) => {
                assert!(!self.lost(queue, &token, cursor), "an event is gone after {cursor}");
                let (events, last) = read(&body);
                assert_eq!((ids(&events), last), (news, self.head));
                for event in &events {
                    let written = &self.event(event["event_id"].as_i64().unwrap()).json;
                    assert_eq!(*event, serde_json::from_slice::<Value>(written).unwrap());
                }
                assert!(!park || !events.is_empty());
            }
            PollOutcome::Parked(parked) => {
                assert!(park && cursor <= self.head && news.is_empty());
                assert!(!self.lost(queue, &token, cursor), "an event is gone after {cursor}");
                assert_eq!(parked.seen().get(), self.head);
                self.queues[which].parked = Some(ModelParked { token, parked });
            }
            PollOutcome::Ahead | PollOutcome::MembershipsUnknown | PollOutcome::NotFound => {
                panic!("the queue is not served")
            }
        }
    }

    /// The database is another one, and has leapt; the hub has yet to hear of it.
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
        self.restored = Some(World { id: HistoryId { base: base.into(), fingerprint }, members, events: Vec::new() });
    }

    /// The feed finds out, at once or after more was written.
    fn notice(&mut self) {
        let Some(world) = self.restored.take() else { return };
        let base = world.id.base;
        self.hub.leap(Start { history: world.id.clone(), head: base, floor: base, evicted: Vec::new() });
        self.world = world;
        (self.head, self.start, self.window) = (base.get(), base.get(), base.get());
        self.kept.clear();
        self.known.clear();
        self.ended.clear();
        for queue in self.queues.iter().filter(|queue| queue.parked.is_some()) {
            self.due.insert(queue.id, Due::Leapt);
        }
    }

    /// Parked polls are answered if and only if they should be.
    fn check_due(&mut self) {
        for queue in &mut self.queues {
            let Some(mut waiting) = queue.parked.take() else { continue };
            match (self.due.remove(&queue.id), outcome(&mut waiting.parked)) {
                (None, None) => queue.parked = Some(waiting),
                (Some(Due::Event(event_id)), Some(ParkedOutcome::Event(body))) => {
                    let (events, last) = read(&body);
                    assert_eq!((ids(&events), last), (vec![event_id], event_id));
                }
                (Some(Due::Released(seen)), Some(ParkedOutcome::Released(at))) => assert_eq!(seen, at.get()),
                (Some(Due::Leapt), Some(ParkedOutcome::Leapt)) => {}
                (due, outcome) => panic!("{}: {outcome:?}", if due.is_some() { "wrongly answered" } else { "not due" }),
            }
        }
        assert!(self.due.is_empty(), "a poll that does not wait is due");
    }

    fn step(&mut self, step: Step) {
        let pick = |which: usize, of: usize| (of > 0).then(|| which % of);
        match step {
            Step::Write { community, size } => self.database().write(community, size),
            Step::Member { user, community, leaves } => self.database().change(user, community, leaves),
            Step::EndAccount { user } => self.database().end_account(user),
            Step::Feed { count } => {
                for _ in 0..count {
                    self.feed();
                    self.check_due();
                }
            }
            Step::Begin { user } => self.registrations.push((user, self.hub.begin_registration(user), None)),
            Step::Snapshot { which } => {
                if let Some(which) = pick(which, self.registrations.len()) {
                    let history = self.history(self.registrations[which].0);
                    self.registrations[which].2 = Some(history);
                }
            }
            Step::Install { which, scope } => {
                let Some(which) = pick(which, self.registrations.len()) else { return };
                let (user, registration, history) = self.registrations.remove(which);
                let history = history.unwrap_or_else(|| self.history(user));
                self.learns(user, &history);
                let (id, scope) = (QueueId::random(), narrowed(scope));
                assert_eq!(registration.create_queue(id, scope.clone(), &history, TTL, self.now), None);
                if history.id == self.world.id && self.ended.get(&user).is_some_and(|ended| *ended > history.head.get())
                {
                    assert!(!self.hub.has_queue(id, user, self.now));
                    return;
                }
                self.queues.push(ModelQueue { id, user, scope, expires_at: self.now + TTL, parked: None });
            }
            Step::Poll { which, token, back, park } => {
                if let Some(which) = pick(which, self.queues.len()) {
                    // Now and then from the past of another history.
                    self.poll(which, narrowed(token), (self.head - back).max(0), park);
                }
            }
            Step::PollOfAnother { which } => {
                if let Some(which) = pick(which, self.queues.len()) {
                    let queue = &self.queues[which];
                    let other = queue.user % USERS + 1;
                    let polled = self.hub.poll(queue.id, other, &Scope::default(), 0, true, self.now);
                    assert!(matches!(polled, PollOutcome::NotFound));
                    assert!(self.hub.heartbeat(queue.id, other, self.now).is_none());
                    assert!(!self.hub.close(queue.id, other));
                }
            }
            Step::TimeOut { which } => {
                if let Some(which) = pick(which, self.queues.len())
                    && let Some(waiting) = self.queues[which].parked.take()
                {
                    let body = self.hub.time_out(&waiting.parked).unwrap();
                    assert_eq!(read(&body), (vec![], self.head));
                }
            }
            Step::GoAway { which } => {
                if let Some(which) = pick(which, self.queues.len())
                    && let Some(waiting) = self.queues[which].parked.take()
                {
                    self.hub.unpark(&waiting.parked);
                }
            }
            Step::Heartbeat { which } => {
                if let Some(which) = pick(which, self.queues.len()) {
                    let queue = &mut self.queues[which];
                    let kept = self.hub.heartbeat(queue.id, queue.user, self.now);
                    assert_eq!(kept.is_some(), queue.expires_at > self.now);
                    if kept.is_some() {
                        queue.expires_at = self.now + TTL;
                    }
                }
            }
            Step::Close { which } => {
                if let Some(which) = pick(which, self.queues.len()) {
                    assert!(self.hub.close(self.queues[which].id, self.queues[which].user));
                    self.forget(which);
                }
            }
            Step::Advance { seconds } => self.now += Duration::from_secs(seconds),
            Step::Expire => {
                let mut due = self.hub.expired(self.now);
                for queue in &due {
                    assert!(self.hub.drop_expired(*queue, self.now));
                }
                let mut expired = Vec::new();
                while let Some(which) = self.queues.iter().position(|queue| queue.expires_at <= self.now) {
                    expired.push(self.forget(which).id);
                }
                due.sort_unstable();
                expired.sort_unstable();
                assert_eq!(due, expired);
            }
            Step::Restore { lost, base, changed } => self.restore(lost, base, changed),
            Step::Notice => self.notice(),
        }
        let users: BTreeSet<_> =
            self.queues.iter().map(|queue| queue.user).chain(self.registrations.iter().map(|it| it.0)).collect();
        // Who has no queue here and is about to have none is forgotten.
        self.known.retain(|user, _| users.contains(user));
        self.check_due();
        self.check_stats();
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
                Step::Write { community, size } => world.write(community, size),
                Step::Member { user, community, leaves } => world.change(user, community, leaves),
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
