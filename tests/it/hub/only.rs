//! Queues that want only a part of the events, against a model that keeps the whole history.

use std::collections::BTreeSet;

use discussions::{
    events::{EventType, FollowChange, FollowLevel},
    realtime::{
        follows::FollowHistory,
        hub::LostEvents,
        terms::{Only, QueueTerms},
    },
};

use super::*;

/// The user whose queue it is. They are a member of all communities, and write as this pseudonym where they do so.
const READER: UserId = 1;
const PSEUDONYM: &str = "Quiet Heron 123";
const COMMUNITIES: CommunityId = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    community: CommunityId,
    article: i64,
    /// 0 for the article itself.
    discussion: i64,
}

impl Place {
    /// There are two communities, each with two articles of its own, each with two discussions.
    fn of(number: i64) -> Self {
        let (community, article) = (number % 2 + 1, number / 2 % 2);
        Self {
            community,
            article: 10 * community + article,
            discussion: 100 * community + 10 * article + number / 4 % 2 + 1,
        }
    }

    fn article(self) -> Self {
        Self { discussion: 0, ..self }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write { place: i64, event_type: usize, writer: usize },
    Own,
    Follow { place: i64, of_article: bool, level: FollowLevel },
    Submit { place: i64 },
    Feed { events: usize },
    Register { ahead: usize },
    Poll { back: EventId, park: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let level = prop_oneof![Just(FollowLevel::Follow), Just(FollowLevel::Mute), Just(FollowLevel::Default)];
    prop_oneof![
        8 => (0..8_i64, 0..4_usize, 0..6_usize).prop_map(|(place, event_type, writer)| Step::Write { place, event_type, writer }),
        1 => Just(Step::Own),
        3 => (0..8_i64, any::<bool>(), level).prop_map(|(place, of_article, level)| Step::Follow { place, of_article, level }),
        1 => (0..8_i64).prop_map(|place| Step::Submit { place }),
        8 => (1..4_usize).prop_map(|events| Step::Feed { events }),
        1 => (0..3_usize).prop_map(|ahead| Step::Register { ahead }),
        8 => (0..12_i64, any::<bool>()).prop_map(|(back, park)| Step::Poll { back, park }),
    ]
}

fn only() -> impl Strategy<Value = Only> {
    let articles = prop_oneof![Just(None), Just(Some(vec![10.into(), 20.into()])), Just(Some(Vec::new()))];
    let types = prop_oneof![
        Just(None),
        Just(Some(vec![EventType::NewComment])),
        Just(Some(vec![EventType::VotesChanged, EventType::OwnVoteChanged])),
    ];
    (any::<bool>(), articles, types).prop_map(|(followed, article_ids, types)| Only { followed, article_ids, types })
}

/// What an event says to the model.
#[derive(Clone, Debug)]
enum Fact {
    Shared { place: Place, event_type: &'static str, by_reader: bool },
    Own,
    Follow { place: Place, level: FollowLevel },
    Submitted { article: i64 },
}

struct Model {
    hub: TestHub,
    only: Only,
    now: Instant,
    events: Vec<(SequencedEvent, Fact)>,
    head: EventId,
    /// The queue, and up to which event the hub knew what its user follows when it was made.
    queue: Option<(QueueId, EventId)>,
    /// Events that were gone when the queue asked for them, and that it did not want then. It is not told of them any more, also if the
    /// reader submits their article or writes in their discussion later.
    dismissed: BTreeSet<EventId>,
    parked: Option<ParkHandle>,
}

impl Model {
    fn new(only: Only) -> Self {
        let hub = TestHub::new(
            Limits { community_events: 5, total_events: 100, total_bytes: 1 << 20, queue_ttl: TTL },
            0,
            [],
        );
        Self {
            hub,
            only,
            now: Instant::now(),
            events: Vec::new(),
            head: 0,
            queue: None,
            dismissed: BTreeSet::new(),
            parked: None,
        }
    }

    fn written(&self) -> EventId {
        self.events.len() as EventId
    }

    fn happens(&mut self, community: CommunityId, user: Option<UserId>, json: &Value, fact: Fact) {
        self.events.push((sequenced(self.written() + 1, community, user, json), fact));
    }

    /// What the reader had said when the order came to `at`.
    fn said(&self, place: Place, at: EventId) -> FollowLevel {
        let before = self.events.iter().rev().filter(|(event, _)| event.event_id.get() < at);
        let mut said = before.filter_map(|(_, fact)| match fact {
            Fact::Follow { place: of, level } if *of == place => Some(*level),
            _ => None,
        });
        said.next().unwrap_or_default()
    }

    fn follows(&self, place: Place, at: EventId) -> bool {
        let said = match self.said(place, at) {
            FollowLevel::Default => self.said(place.article(), at),
            said => said,
        };
        // What they wrote and submitted counts as far as the hub knows it.
        let known = self.queue.map_or(0, |(_, read)| read).max(self.head);
        let is_implied = self.events.iter().take(known as usize).any(|(_, fact)| match fact {
            Fact::Shared { place: of, by_reader, .. } => *by_reader && *of == place,
            Fact::Submitted { article } => *article == place.article,
            _ => false,
        });
        said == FollowLevel::Follow || said == FollowLevel::Default && is_implied
    }

    fn sees(&self, event_id: EventId) -> bool {
        let allows = |event_type: &str| {
            let listed = |types: &Vec<EventType>| types.iter().any(|one| <&str>::from(one) == event_type);
            self.only.types.as_ref().is_none_or(listed)
        };
        match &self.events[event_id as usize - 1].1 {
            Fact::Own => allows("own_vote_changed"),
            Fact::Follow { .. } => allows("follow_changed"),
            Fact::Submitted { .. } => false,
            Fact::Shared { place, event_type, .. } => {
                allows(event_type)
                    && self.only.article_ids.as_ref().is_none_or(|ids| ids.contains(&place.article.into()))
                    && (!self.only.followed || self.follows(*place, event_id))
            }
        }
    }

    fn feed(&mut self) {
        if self.head == self.written() {
            return;
        }
        self.head += 1;
        let event = self.events[self.head as usize - 1].0.clone();
        self.hub.append(&event).unwrap();
        if let Some(mut parked) = self.parked.take() {
            match (outcome(&mut parked), self.sees(self.head)) {
                (Some(ParkedOutcome::Event(body)), true) => assert_eq!(ids(&read(body.json()).0), [self.head]),
                (None, false) => self.parked = Some(parked),
                (outcome, sees) => panic!("{outcome:?} of an event that is {} wanted", if sees { "" } else { "not" }),
            }
        }
    }

    /// Reads the database, feeds `ahead` events, and makes the queue.
    fn register(&mut self, ahead: usize) {
        let registration = self.hub.begin_registration(READER);
        let read = self.written();
        let mut said = BTreeMap::new();
        let (mut written, mut submitted) = (BTreeSet::new(), BTreeSet::new());
        for (_, fact) in &self.events {
            match fact {
                Fact::Follow { place, level } => {
                    let discussion = Some(place.discussion).filter(|id| *id != 0).map(Into::into);
                    said.insert((place.community.into(), place.article.into(), discussion), *level);
                }
                Fact::Shared { place, by_reader: true, .. } => {
                    written.insert(place.discussion);
                }
                Fact::Submitted { article } => {
                    submitted.insert(*article);
                }
                Fact::Shared { .. } | Fact::Own => {}
            }
        }
        let places = (0..8).map(Place::of);
        let follows = FollowHistory {
            head: read.into(),
            said: said.into_iter().collect(),
            written: written.into_iter().map(Into::into).collect(),
            submitted: submitted.into_iter().map(Into::into).collect(),
            administered: Vec::new(),
            pseudonyms: places
                .map(|place| (place.community.into(), place.article.into(), PSEUDONYM.to_owned()))
                .collect(),
        };
        let own_events = self.events.iter().filter_map(|(event, _)| own_event(event, READER)).collect();
        let history = History { head: read.into(), own_events, follows: Some(follows), ..member_of(&[1, COMMUNITIES]) };
        (0..ahead).for_each(|_| self.feed());
        let queue = QueueId::random();
        let terms = QueueTerms { only: Some(Arc::new(self.only.clone())), ..QueueTerms::default() };
        assert_eq!(registration.create_queue(queue, terms, &history, TTL, self.now), None);
        // What the hub knows of the user already follows the order.
        let known = self.queue.map_or(read, |(_, known)| known);
        self.dismissed.clear();
        self.queue = Some((queue, known));
    }

    fn poll(&mut self, cursor: EventId, park: bool) {
        let Some((queue, _)) = self.queue else { return };
        self.parked = None;
        let expected: Vec<_> = (cursor + 1..=self.head)
            .filter(|event_id| self.sees(*event_id) && !self.dismissed.contains(event_id))
            .collect();
        // A look in the database at what is gone, as the slow path does it.
        for _ in 0..2 {
            match self.hub.poll(queue, READER, &Scope::default(), cursor, park, self.now) {
                PollOutcome::Lost(lost) => {
                    let gone: Vec<EventId> = lost.iter().flat_map(|lost| self.gone(lost)).collect();
                    let about = |event_id: &EventId| {
                        let event = &self.events[*event_id as usize - 1].0;
                        (
                            event.event_id,
                            if event.audience == Audience::Community { event.community_id } else { 0.into() },
                            event.subject,
                        )
                    };
                    let wants_any = self.hub.wants_any(queue, &gone.iter().map(about).collect::<Vec<_>>());
                    assert_eq!(wants_any, gone.iter().any(|event_id| self.sees(*event_id)), "of {gone:?}");
                    if wants_any {
                        return;
                    }
                    self.hub.note_unwanted(queue, lost);
                    self.dismissed.extend(gone);
                }
                PollOutcome::Answer(body) => {
                    let (events, last) = read(&body);
                    assert_eq!((ids(&events), last), (expected, self.head));
                    return;
                }
                PollOutcome::Parked(handle) => {
                    assert!(park && expected.is_empty(), "{expected:?}");
                    self.parked = Some(handle);
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("what is known to be unwanted is asked for again");
    }

    fn gone(&self, lost: &LostEvents) -> Vec<EventId> {
        let is_of = |event: &SequencedEvent| match lost.community {
            Some(community) => event.audience == Audience::Community && event.community_id == community,
            None => matches!(event.audience, Audience::User(_)),
        };
        let gone = self.events.iter().map(|(event, _)| event);
        gone.filter(|event| is_of(event) && event.event_id > lost.after && event.event_id <= lost.through)
            .map(|event| event.event_id.get())
            .collect()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write { place, event_type, writer } => {
                let place = Place::of(place);
                let event_type = ["new_discussion", "new_comment", "updated_comment", "votes_changed"][event_type];
                let author = match writer {
                    0 => json!({ "id": READER, "username": "ada", "avatar_url": null }),
                    1 => json!({ "id": null, "username": PSEUDONYM, "avatar_url": null }),
                    2 => json!({ "id": null, "username": "Calm Otter 321", "avatar_url": null }),
                    _ => json!({ "id": 2, "username": "grace", "avatar_url": null }),
                };
                let json = json!({ "type": event_type, "article_id": place.article, "discussion_id": place.discussion,
                    "comment_id": self.written() + 1, "author": author });
                let by_reader = writer < 2 && event_type.starts_with("new_");
                self.happens(place.community, None, &json, Fact::Shared { place, event_type, by_reader });
            }
            Step::Own => {
                let json = json!({ "type": "own_vote_changed", "article_id": 10 });
                self.happens(1, Some(READER), &json, Fact::Own);
            }
            Step::Follow { place, of_article, level } => {
                let place = if of_article { Place::of(place).article() } else { Place::of(place) };
                let change = Change::FollowChanged(FollowChange {
                    community_id: place.community.into(),
                    article_id: place.article.into(),
                    discussion_id: Some(place.discussion).filter(|id| *id != 0).map(Into::into),
                    user_id: READER.into(),
                    level,
                    is_default: level == FollowLevel::Default,
                    is_followed: level == FollowLevel::Follow,
                    previous_level: self.said(place, self.written() + 1),
                    timestamp: DateTime::UNIX_EPOCH,
                });
                let json = serde_json::to_value(change).unwrap();
                self.happens(place.community, Some(READER), &json, Fact::Follow { place, level });
            }
            Step::Submit { place } => {
                let article = Place::of(place).article;
                let json = json!({ "type": "article_submitted", "user_id": READER, "article_id": article });
                self.happens(0, None, &json, Fact::Submitted { article });
            }
            Step::Feed { events } => (0..events).for_each(|_| self.feed()),
            Step::Register { ahead } => self.register(ahead),
            Step::Poll { back, park } => self.poll((self.head - back).max(0), park),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each event that the queue wants comes, no other does, and a catch-up is asked for only if one of them is gone.
    #[test]
    fn a_queue_that_wants_a_part_gets_just_that(
        only in only(),
        past in proptest::collection::vec(step(), 0..40),
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut model = Model::new(only);
        for step in past.into_iter().filter(|step| !matches!(step, Step::Register { .. })) {
            model.step(step);
        }
        model.register(0);
        for step in steps {
            model.step(step);
        }
    }
}

/// A queue may be made before the hub has come to what its user said. That takes effect at its place all the same.
#[test]
fn what_was_said_ahead_of_the_hub_takes_effect_at_its_place() {
    let mut model = Model::new(Only { followed: true, ..Only::default() });
    let follow = |place| Step::Follow { place, of_article: false, level: FollowLevel::Follow };
    model.step(follow(2));
    model.step(Step::Write { place: 1, event_type: 2, writer: 3 });
    model.step(follow(1));
    model.step(Step::Write { place: 1, event_type: 2, writer: 3 });
    model.register(0);
    for _ in 0..4 {
        model.feed();
        model.poll(0, false);
    }
}

/// What is known of one log stays known when another one loses events.
#[test]
fn each_log_is_asked_for_once() {
    let mut model = Model::new(Only { types: Some(vec![EventType::NewComment]), ..Only::default() });
    model.register(0);
    let votes = |model: &mut Model, place| {
        for _ in 0..10 {
            model.step(Step::Write { place, event_type: 3, writer: 3 });
            model.feed();
        }
    };
    // The places 0 and 1 are in two communities.
    for place in [0, 1, 0, 1] {
        votes(&mut model, place);
        model.poll(0, false);
        model.poll(0, false);
    }
}

/// One's own marks, which a queue does not want, make nobody catch up.
#[test]
fn own_events_that_are_not_wanted_cause_no_catch_up() {
    let mut model = Model::new(Only { types: Some(vec![EventType::NewComment]), ..Only::default() });
    model.register(0);
    model.step(Step::Write { place: 0, event_type: 1, writer: 3 });
    for _ in 0..200 {
        model.step(Step::Own);
    }
    (0..201).for_each(|_| model.feed());
    let (queue, _) = model.queue.unwrap();
    assert!(matches!(model.hub.poll(queue, READER, &Scope::default(), 0, false, model.now), PollOutcome::Lost(_)));
    model.poll(0, false);
}
