//! What the users of this node follow, for their queues that want only that.
//!
//! What a user said takes effect at its place in the order: an own event (`follow_changed`) says it, and what was said before. What
//! follows from writing, submitting and administering counts as it is at the delivery.

use std::collections::{HashMap, HashSet, VecDeque};

use foldhash::fast::RandomState;

use super::own_log::{OWN_EVENTS, OwnEvent};
use crate::{
    directory::Role,
    events::{FollowLevel, NodeMessage, SequencedEvent, Writer},
    ids::{ArticleId, CommunityId, DiscussionId, EventId, UserId},
    realtime::follows::FollowHistory,
};

/// A thing that a user may say something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FollowTarget {
    Article(CommunityId, ArticleId),
    Discussion(DiscussionId),
}

/// Where a pseudonym stands for one user.
pub(super) type PseudonymKey = (CommunityId, ArticleId, String);

/// What a user follows.
#[derive(Debug)]
pub(super) struct Follows {
    /// Own events up to this one are included, though the hub may still have to come to them.
    through: EventId,
    /// The newest own event that was taken. The hub may come to it a second time.
    applied_through: EventId,
    /// What they said, after the newest event that is known.
    said: HashMap<FollowTarget, FollowLevel, RandomState>,
    /// The newest changes of that in ascending order, with what was said before each.
    changes: VecDeque<(EventId, FollowTarget, FollowLevel)>,
    written: HashSet<DiscussionId, RandomState>,
    submitted: HashSet<ArticleId, RandomState>,
    administered: HashSet<CommunityId, RandomState>,
    /// Their pseudonyms, by which [`super::members::Members`] finds them.
    pseudonyms: Vec<PseudonymKey>,
}

impl Follows {
    /// What was read from the database. It may be much, so the hub's lock must not be held.
    pub(super) fn read(read: &FollowHistory) -> Self {
        Self {
            through: read.head,
            applied_through: EventId::START,
            said: read
                .said
                .iter()
                .copied()
                .map(|((community, article, discussion), level)| (target(community, article, discussion), level))
                .collect(),
            changes: VecDeque::new(),
            written: read.written.iter().copied().collect(),
            submitted: read.submitted.iter().copied().collect(),
            administered: read.administered.iter().copied().collect(),
            pseudonyms: read.pseudonyms.clone(),
        }
    }

    /// The event after which what was read holds.
    pub(super) fn through(&self) -> EventId {
        self.through
    }

    pub(super) fn pseudonyms(&self) -> &[PseudonymKey] {
        &self.pseudonyms
    }

    /// Takes an own event when the order comes to it, or before if the user's log has it already.
    pub(super) fn apply(&mut self, event: &OwnEvent) {
        if event.event_id <= self.applied_through {
            return;
        }
        self.applied_through = event.event_id;
        let is_new = event.event_id > self.through;
        if let Some(change) = event.follow_change() {
            let target = target(change.community_id, change.article_id, change.discussion_id);
            self.changes.push_back((event.event_id, target, change.previous_level));
            // Older ones are needed only by readers who have lost own events.
            if self.changes.len() > OWN_EVENTS {
                self.changes.pop_front();
            }
            if is_new {
                match change.said() {
                    FollowLevel::Default => self.said.remove(&target),
                    level => self.said.insert(target, level),
                };
            }
        }
        if let Some(change) = event.membership_change().filter(|_| is_new) {
            if change.role == Some(Role::Admin) {
                self.administered.insert(change.community_id);
            } else {
                self.administered.remove(&change.community_id);
            }
        }
    }

    /// Takes what all nodes are told of the user.
    pub(super) fn learn(&mut self, fact: &FollowFact) {
        match fact {
            FollowFact::Wrote(_, discussion) => {
                self.written.insert(*discussion);
            }
            FollowFact::Told(NodeMessage::Submitted(_, article)) => {
                self.submitted.insert(*article);
            }
            FollowFact::Told(NodeMessage::Pseudonym(_, community, article, name)) => {
                self.pseudonyms.push((*community, *article, name.clone()));
            }
        }
    }

    /// What they had said when the order came to `event_id`.
    fn said(&self, target: FollowTarget, event_id: EventId) -> FollowLevel {
        // Most events are newer than all changes.
        let is_known = self.changes.back().is_none_or(|(changed, _, _)| *changed <= event_id);
        let mut changes = if is_known { Default::default() } else { self.changes.iter() };
        let later = changes.find(|(changed, of, _)| *changed > event_id && *of == target);
        let said = later.map(|(_, _, before)| *before).or_else(|| self.said.get(&target).copied());
        said.unwrap_or_default()
    }

    /// Whether they get the event of this discussion by following it.
    pub(super) fn has(
        &self,
        community: CommunityId,
        article: Option<ArticleId>,
        discussion: DiscussionId,
        event_id: EventId,
    ) -> bool {
        let about_article = || {
            article
                .map_or(FollowLevel::Default, |article| self.said(FollowTarget::Article(community, article), event_id))
        };
        let said = match self.said(FollowTarget::Discussion(discussion), event_id) {
            FollowLevel::Default => about_article(),
            said => said,
        };
        match said {
            FollowLevel::Follow => true,
            FollowLevel::Mute => false,
            FollowLevel::Default => {
                self.administered.contains(&community)
                    || self.written.contains(&discussion)
                    || article.is_some_and(|article| self.submitted.contains(&article))
            }
        }
    }
}

fn target(community: CommunityId, article: ArticleId, discussion: Option<DiscussionId>) -> FollowTarget {
    discussion.map_or(FollowTarget::Article(community, article), FollowTarget::Discussion)
}

/// What an event tells nodes about what somebody follows.
#[derive(Clone, Debug)]
pub(super) enum FollowFact {
    Wrote(Writer, DiscussionId),
    Told(NodeMessage),
}

impl FollowFact {
    pub(super) fn of(event: &SequencedEvent) -> Option<Self> {
        if let crate::events::Audience::Nodes(message) = &event.audience {
            return Some(Self::Told(message.clone()));
        }
        Some(Self::Wrote(event.writer.clone()?, event.subject.discussion?))
    }
}

/// How many facts are kept.
const RECENT_FACTS: usize = 1_024;

/// The newest facts. What a user follows is read from the database while events go on, and these close the gap.
#[derive(Debug, Default)]
pub(super) struct RecentFacts {
    facts: VecDeque<(EventId, FollowFact)>,
    /// The newest event whose fact is gone.
    gone_through: EventId,
}

impl RecentFacts {
    /// None yet, after `head`.
    pub(super) fn starting_at(head: EventId) -> Self {
        Self { gone_through: head, ..Self::default() }
    }

    pub(super) fn add(&mut self, event_id: EventId, fact: FollowFact) {
        self.facts.push_back((event_id, fact));
        if self.facts.len() > RECENT_FACTS
            && let Some((event_id, _)) = self.facts.pop_front()
        {
            self.gone_through = event_id;
        }
    }

    /// The facts after `event_id`. None where some are gone.
    pub(super) fn after(&self, event_id: EventId) -> Option<impl Iterator<Item = &FollowFact>> {
        let start = self.facts.partition_point(|(at, _)| *at <= event_id);
        (event_id >= self.gone_through).then(|| self.facts.range(start..).map(|(_, fact)| fact))
    }
}

/// Whom this fact is about, as far as it says so itself.
impl FollowFact {
    pub(super) fn user(&self) -> Result<UserId, PseudonymKey> {
        match self {
            Self::Wrote(Writer::User(user), _)
            | Self::Told(NodeMessage::Submitted(user, _) | NodeMessage::Pseudonym(user, ..)) => Ok(*user),
            Self::Wrote(Writer::Pseudonym(community, article, name), _) => Err((*community, *article, name.clone())),
        }
    }
}
