//! What a queue may get, and what it wants to get.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    directory::Scope,
    error::{ApiError, Result},
    events::{EventType, Subject},
    ids::{ArticleId, CommunityId, DiscussionId},
};

/// The most articles that a queue may name.
const MAX_ARTICLES: usize = 100;
/// The most types of events that a queue may name, repeated ones included.
const MAX_TYPES: usize = 100;
/// The most communities that a queue may watch.
const MAX_WATCHED: usize = 100;

/// What the new queue is to get. Without a body it gets everything that its user may see as a member.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "only": { "article_ids": [789], "types": ["new_comment"] }, "watch": [42] }))]
pub struct NewRegistration {
    /// Deliver only this part of the events.
    pub only: Option<Only>,
    /// Public and open communities whose events the queue gets without a membership, 100 at most.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub watch: Vec<CommunityId>,
}

/// The part of the events that a queue wants. What it leaves out is not delivered, and the queue's cursor moves past it. Changes of
/// one's memberships and of who may read a community always come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "followed": true }))]
pub struct Only {
    /// Of the events of discussions, only those that one follows.
    #[serde(default)]
    pub followed: bool,
    /// Of the events of articles, only those of these articles, 100 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub article_ids: Option<Vec<ArticleId>>,
    /// Only events of these types, 100 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub types: Option<Vec<EventType>>,
}

/// What a queue may get and wants to get, as its record in the registry keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueTerms {
    /// The scope of the token that registered the queue.
    pub scope: Scope,
    /// The part of the events that it wants. None for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Arc<Only>>,
    /// The communities that it watches, in ascending order.
    #[serde(default, skip_serializing_if = "watches_none")]
    pub watch: Arc<[CommunityId]>,
}

fn watches_none(watch: &Arc<[CommunityId]>) -> bool {
    watch.is_empty()
}

impl From<Scope> for QueueTerms {
    fn from(scope: Scope) -> Self {
        Self { scope, ..Self::default() }
    }
}

impl QueueTerms {
    /// Whether it must be known what the queue's user follows.
    pub(super) fn needs_follows(&self) -> bool {
        self.only.as_ref().is_some_and(|only| only.followed)
    }
}

impl NewRegistration {
    /// The terms of the queue, which a token of this scope registers. 422 for lists that are too long.
    pub(super) fn terms(self, scope: Scope) -> Result<QueueTerms> {
        let only = self.only.map(Only::validate).transpose()?.filter(|only| *only != Only::default());
        Ok(QueueTerms { scope, only: only.map(Arc::new), watch: watched("watch", self.watch)? })
    }
}

/// A list of communities to watch, sorted. 422 if it is too long.
pub(super) fn watched(field: &str, mut communities: Vec<CommunityId>) -> Result<Arc<[CommunityId]>> {
    check_length(field, communities.len(), MAX_WATCHED)?;
    communities.sort_unstable();
    communities.dedup();
    Ok(communities.into())
}

fn check_length(field: &str, length: usize, most: usize) -> Result<()> {
    if length > most {
        return Err(ApiError::invalid_field(field, format!("has {length} items; it may have {most}")));
    }
    Ok(())
}

impl Only {
    /// Sorts the lists, which are then searched for each event.
    fn validate(mut self) -> Result<Self> {
        if let Some(articles) = &mut self.article_ids {
            check_length("only.article_ids", articles.len(), MAX_ARTICLES)?;
            articles.sort_unstable();
            articles.dedup();
        }
        if let Some(types) = &mut self.types {
            check_length("only.types", types.len(), MAX_TYPES)?;
            types.sort_unstable();
            types.dedup();
        }
        Ok(self)
    }

    /// Whether the queue wants an event for a whole community. `is_followed` says whether its user follows a discussion.
    pub(super) fn wants(&self, subject: &Subject, is_followed: impl FnOnce(DiscussionId) -> bool) -> bool {
        (subject.event_type == Some(EventType::CommunityChanged) || self.wants_type(subject.event_type))
            && (self.article_ids.as_deref().zip(subject.article))
                .is_none_or(|(ids, article)| ids.binary_search(&article).is_ok())
            && (!self.followed || subject.discussion.is_none_or(is_followed))
    }

    /// Whether the queue wants an own event of its user.
    pub(super) fn wants_own(&self, event_type: Option<EventType>) -> bool {
        event_type == Some(EventType::MembershipChanged) || self.wants_type(event_type)
    }

    /// Events of a type that only a later release knows are in no list.
    fn wants_type(&self, event_type: Option<EventType>) -> bool {
        let listed = |types: &Vec<EventType>| event_type.is_some_and(|event_type| types.contains(&event_type));
        self.types.as_ref().is_none_or(listed)
    }
}
