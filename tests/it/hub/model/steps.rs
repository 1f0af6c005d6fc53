//! What happens to the hub and its model, at random.

use super::*;

/// A random step. Indices are taken modulo the number of things.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A comment is written or edited.
    Write {
        community: CommunityId,
        comment: i64,
        size: usize,
    },
    Delete {
        community: CommunityId,
        comment: i64,
    },
    /// The user joins if they are no member. Otherwise they leave or change their role.
    Member {
        user: UserId,
        community: CommunityId,
        leaves: bool,
    },
    /// The community is of this kind now.
    Turn {
        community: CommunityId,
        kind: Visibility,
    },
    /// Something of the user's own happens, in a community or, where it is 0, in none.
    Own {
        user: UserId,
        community: CommunityId,
        size: usize,
    },
    /// The account ends and is active again at once.
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
        watch: Vec<CommunityId>,
    },
    Watch {
        which: usize,
        communities: Vec<CommunityId>,
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
    /// The database is restored to its state `lost` events ago, with `changed` memberships, and leaps to `base`.
    Restore {
        lost: usize,
        base: EventId,
        changed: Vec<(UserId, CommunityId, bool)>,
    },
    /// The feed notices the restore.
    Notice,
}

fn scope() -> impl Strategy<Value = Option<Vec<CommunityId>>> {
    prop_oneof![
        3 => Just(None),
        1 => proptest::collection::vec(1..=COMMUNITIES, 0..4).prop_map(Some),
    ]
}

fn kind() -> impl Strategy<Value = Visibility> {
    proptest::sample::select(vec![Visibility::Public, Visibility::Private, Visibility::Hidden, Visibility::Open])
}

fn watch() -> impl Strategy<Value = Vec<CommunityId>> {
    proptest::collection::vec(1..=COMMUNITIES, 0..4)
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (user, community, which) = (1..=USERS, 1..=COMMUNITIES, 0..64_usize);
    let back = prop_oneof![4 => Just(0_i64), 4 => 0..6_i64, 2 => 0..60_i64, 1 => Just(-1_i64)];
    // A few events are larger than all the room for them.
    let size = prop_oneof![12 => 0..120_usize, 1 => 500..1_500_usize];
    prop_oneof![
        8 => (community.clone(), 0..3_i64, size)
            .prop_map(|(community, comment, size)| Step::Write { community, comment, size }),
        2 => (community.clone(), 0..3_i64).prop_map(|(community, comment)| Step::Delete { community, comment }),
        3 => (community.clone(), kind()).prop_map(|(community, kind)| Step::Turn { community, kind }),
        6 => (user.clone(), community, any::<bool>())
            .prop_map(|(user, community, leaves)| Step::Member { user, community, leaves }),
        4 => (user.clone(), 0..=COMMUNITIES, prop_oneof![4 => 0..100_usize, 1 => 20_000..70_000_usize])
            .prop_map(|(user, community, size)| Step::Own { user, community, size }),
        1 => user.clone().prop_map(|user| Step::EndAccount { user }),
        10 => (1..6_usize).prop_map(|count| Step::Feed { count }),
        3 => user.prop_map(|user| Step::Begin { user }),
        3 => which.clone().prop_map(|which| Step::Snapshot { which }),
        4 => (which.clone(), scope(), watch()).prop_map(|(which, scope, watch)| Step::Install { which, scope, watch }),
        1 => (which.clone(), watch()).prop_map(|(which, communities)| Step::Watch { which, communities }),
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
fn scope_of(communities: Option<Vec<CommunityId>>) -> Scope {
    Scope::new(communities.map(|communities| communities.into_iter().map(Into::into).collect()))
}

impl Model {
    pub(super) fn step(&mut self, step: Step) {
        let pick = |which: usize, of: usize| (of > 0).then(|| which % of);
        match step {
            Step::Write { community, comment, size } => self.database().write(community, comment, size),
            Step::Delete { community, comment } => self.database().delete(community, comment),
            Step::Member { user, community, leaves } => self.database().change(user, community, leaves),
            Step::Turn { community, kind } => self.database().turn(community, kind),
            Step::Own { user, community, size } => self.database().own(user, community, size),
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
            Step::Watch { which, communities } => {
                let Some(which) = pick(which, self.queues.len()) else { return };
                let queue = &mut self.queues[which];
                self.hub.set_watch(queue.id, &communities);
                if let Some(parked) = &queue.parked
                    && watched(&queue.watch) != watched(&communities)
                {
                    self.due.insert(queue.id, Due::Released(parked.parked.seen().get()));
                }
                queue.watch = communities;
            }
            Step::Install { which, scope, watch } => {
                let Some(which) = pick(which, self.registrations.len()) else { return };
                let (user, registration, history) = self.registrations.remove(which);
                let history = history.unwrap_or_else(|| self.history(user));
                self.learns(user, &history);
                let (id, scope) = (QueueId::random(), scope_of(scope));
                let terms = QueueTerms { scope: scope.clone(), watch: watched(&watch), ..QueueTerms::default() };
                assert_eq!(registration.create_queue(id, terms, &history, TTL, self.now), None);
                if history.id == self.world.id && self.ended.get(&user).is_some_and(|ended| *ended > history.head.get())
                {
                    assert!(!self.hub.has_queue(id, user, self.now));
                    return;
                }
                self.queues.push(ModelQueue { id, user, scope, watch, expires_at: self.now + TTL, parked: None });
            }
            Step::Poll { which, token, back, park } => {
                if let Some(which) = pick(which, self.queues.len()) {
                    // Some of these cursors are of an older history.
                    self.poll(which, scope_of(token), (self.head - back).max(0), park);
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
        // The hub forgets users who have neither a queue nor a registration under way.
        self.known.retain(|user, _| users.contains(user));
        self.check_due();
        self.check_stats();
    }
}
