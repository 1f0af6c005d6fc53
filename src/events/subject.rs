//! What an event is about, and who wrote what it shows, read from its JSON once for all queues.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::EventType;
use crate::{
    authors::Author,
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, UserId},
};

/// What an event is about. Queues that want only a part of the events look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Its type. None if only a later release knows it.
    pub event_type: Option<EventType>,
    /// The article, if it is about one.
    pub article: Option<ArticleId>,
    /// The discussion, if it is about one.
    pub discussion: Option<DiscussionId>,
}

/// Who wrote a new discussion or comment, as its event shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A user under their own name.
    User(UserId),
    /// Who has this pseudonym on this article of this community.
    Pseudonym(CommunityId, ArticleId, String),
}

/// The parts of an event that matter to a node. The others are skipped, and no text is copied.
#[derive(Deserialize)]
pub(super) struct Outline<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) community_id: Option<CommunityId>,
    pub(super) article_id: Option<ArticleId>,
    pub(super) discussion_id: Option<DiscussionId>,
    pub(super) comment_id: Option<CommentId>,
    #[serde(borrow)]
    pub(super) topic: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) author: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) mentions: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) resolved_by: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) deleted_at: Option<&'a RawValue>,
}

impl<'a> Outline<'a> {
    /// The outline of an event in JSON. None for what another program wrote in another shape.
    pub(super) fn of(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub(super) fn subject(&self) -> Subject {
        Subject { event_type: self.kind.parse().ok(), article: self.article_id, discussion: self.discussion_id }
    }

    /// Who wrote the discussion or comment, if it is new.
    pub(super) fn writer(&self) -> Option<Writer> {
        if !matches!(self.kind, "new_discussion" | "new_comment") {
            return None;
        }
        let author: Author = serde_json::from_str(self.author?.get()).ok()?;
        Some(match author.user_id() {
            Some(user) => Writer::User(user),
            None => Writer::Pseudonym(self.community_id?, self.article_id?, author.username().to_owned()),
        })
    }
}
