//! Tests the hub alone, without a database and sockets, and with a clock that the tests set.

mod expiry;
mod logs;
mod memberships;
mod model;
mod only;
mod sessions;

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
    auth::Viewer,
    directory::{Role, Scope, Visibility},
    events::{Audience, Change, KindAt, MembershipChange, OutboxRow, SequencedEvent, history::HistoryId},
    ids::QueueId,
    realtime::{
        self,
        hub::{Hub, Limits, OwnEvent, ParkHandle, ParkedOutcome, PollOutcome, RegistrationGuard, Start},
        memberships::MembershipHistory as History,
        registry::Registry,
        terms::QueueTerms,
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
        let viewer = Viewer { user_id: user.into(), scope: token.clone(), expires_at: None, session: None };
        self.0.poll(queue, &viewer, cursor.into(), park, now)
    }

    fn heartbeat(&self, queue: QueueId, user: UserId, now: Instant) -> Option<QueueTerms> {
        self.0.heartbeat(queue, user.into(), now)
    }

    fn set_watch(&self, queue: QueueId, communities: &[CommunityId]) {
        self.0.set_watch(queue, &watched(communities));
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

/// A list of communities as a queue's terms have it.
fn watched(communities: &[CommunityId]) -> Arc<[discussions::ids::CommunityId]> {
    let communities: BTreeSet<_> = communities.iter().map(|community| (*community).into()).collect();
    communities.into_iter().collect()
}

/// The memberships of somebody who was always in these communities.
fn member_of(communities: &[CommunityId]) -> History {
    History { communities: communities.iter().map(|community| (*community).into()).collect(), ..History::default() }
}

/// The same, read at `head`, after these changes.
fn changed(head: EventId, changes: &[(EventId, MembershipChange)], communities: &[CommunityId]) -> History {
    let own_event = |(event_id, change): &(EventId, _)| OwnEvent::membership((*event_id).into(), *change);
    History { head: head.into(), own_events: changes.iter().map(own_event).collect(), ..member_of(communities) }
}

fn register(hub: &TestHub, user: UserId, history: &History, now: Instant) -> QueueId {
    let queue = QueueId::random();
    assert_eq!(hub.begin_registration(user).create_queue(queue, Scope::default(), history, TTL, now), None);
    queue
}

fn event(event_id: EventId, community_id: CommunityId, size: usize) -> SequencedEvent {
    with_json(event_id, community_id, &json!({ "text": "x".repeat(size) }))
}

/// An event that shows this comment.
fn shows(event_id: EventId, community_id: CommunityId, comment_id: i64, size: usize) -> SequencedEvent {
    let json =
        json!({ "type": "updated_comment", "comment_id": comment_id, "text": "x".repeat(size), "author": { "id": 1 } });
    with_json(event_id, community_id, &json)
}

fn deletes(event_id: EventId, community_id: CommunityId, comment_id: i64) -> SequencedEvent {
    let json =
        json!({ "type": "deleted_comment", "comment_id": comment_id, "timestamp": format!("deletion {event_id}") });
    with_json(event_id, community_id, &json)
}

fn changes_kind(
    event_id: EventId,
    community_id: CommunityId,
    previous: Visibility,
    kind: Visibility,
) -> SequencedEvent {
    let json = json!({ "type": "community_changed", "kind": kind, "previous_kind": previous });
    with_json(event_id, community_id, &json)
}

fn with_json(event_id: EventId, community_id: CommunityId, json: &Value) -> SequencedEvent {
    sequenced(event_id, community_id, None, json)
}

/// An event as the feed makes it of an outbox row.
fn sequenced(event_id: EventId, community_id: CommunityId, user_id: Option<UserId>, json: &Value) -> SequencedEvent {
    let mut payload = json.clone();
    payload["community_id"] = json!(community_id);
    OutboxRow {
        event_id: event_id.into(),
        community_id: community_id.into(),
        user_id: user_id.map(Into::into),
        payload: payload.to_string(),
        created_at: Utc::now(),
    }
    .into_event()
}

fn membership(event_id: EventId, change: MembershipChange) -> SequencedEvent {
    let json = serde_json::to_value(Change::MembershipChanged(change)).unwrap();
    sequenced(event_id, change.community_id.get(), Some(change.user_id.get()), &json)
}

/// An event for one user.
fn own(event_id: EventId, user: UserId, community_id: CommunityId, size: usize) -> SequencedEvent {
    let json = json!({ "type": "own_vote_changed", "filler": "x".repeat(size) });
    sequenced(event_id, community_id, Some(user), &json)
}

/// An event as the log of its user takes it. None if it is for others.
fn own_event(event: &SequencedEvent, user: UserId) -> Option<OwnEvent> {
    match event.audience {
        Audience::Member(change) if change.user_id.get() == user => Some(OwnEvent::membership(event.event_id, change)),
        Audience::User(one) if one.get() == user => Some(OwnEvent::other(event)),
        _ => None,
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

/// The ids of an answer's events, and its cursor.
fn read(body: &Bytes) -> (Vec<Value>, EventId) {
    let body: Value = serde_json::from_slice(body).unwrap();
    (body["events"].as_array().unwrap().clone(), body["last_event_id"].as_i64().unwrap())
}

fn ids(events: &[Value]) -> Vec<EventId> {
    events.iter().map(|event| event["event_id"].as_i64().unwrap()).collect()
}

/// The answer of a poll that does not park.
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
            let (events, last) = read(body.json());
            (ids(&events), last)
        }
        other => panic!("answered {other:?}"),
    }
}
