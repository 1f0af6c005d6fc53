//! Events: the one definition of what clients are told. OpenAPI, the TypeScript union and the tests come from [`Event`].

pub mod history;
pub(crate) mod log;
pub(crate) mod outbox;
pub(crate) mod publisher;
pub mod redaction;
pub mod relay;
pub(crate) mod stream;
mod stream_window;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{log::OutboxRow, redaction::Content};
use crate::{
    authors::Author,
    directory::Role,
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId, SessionTag, UserId},
};

/// A discussion as it is after the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiscussionState {
    /// The community it is in.
    pub community_id: CommunityId,
    /// The article it is about.
    pub article_id: ArticleId,
    /// The discussion.
    pub discussion_id: DiscussionId,
    /// Its topic; null if it was deleted since.
    #[schema(required)]
    pub topic: Option<String>,
    /// Its text, in Markdown; null if it was deleted since.
    #[schema(required)]
    pub text: Option<String>,
    /// Who wrote it; null if it was deleted since.
    #[schema(required)]
    pub author: Option<Author>,
    /// Whether its question is settled.
    pub is_resolved: bool,
    /// How many comments live in it.
    pub comment_count: i64,
    /// When the author last changed topic or text; null if they never did.
    #[schema(required)]
    pub edited_at: Option<DateTime<Utc>>,
    /// When it was resolved; null while it is not.
    #[schema(required)]
    pub resolved_at: Option<DateTime<Utc>>,
    /// Who resolved it; null while it is not resolved, and if nobody is known.
    #[schema(required)]
    pub resolved_by: Option<Author>,
    /// When the change was made.
    pub timestamp: DateTime<Utc>,
    /// When it was deleted. Absent unless it was deleted after this change: its older events then show a tombstone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A comment as it is after the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommentState {
    /// The community it is in.
    pub community_id: CommunityId,
    /// The article it is about.
    pub article_id: ArticleId,
    /// The discussion it is in.
    pub discussion_id: DiscussionId,
    /// The comment.
    pub comment_id: CommentId,
    /// The comment it replies to; null at the first level.
    #[schema(required)]
    pub parent_id: Option<CommentId>,
    /// Its text, in Markdown; null if it was deleted since.
    #[schema(required)]
    pub text: Option<String>,
    /// Who wrote it; null if it was deleted since.
    #[schema(required)]
    pub author: Option<Author>,
    /// When the author last changed the text; null if they never did.
    #[schema(required)]
    pub edited_at: Option<DateTime<Utc>>,
    /// When the change was made.
    pub timestamp: DateTime<Utc>,
    /// When it was deleted. Absent unless it was deleted after this change: its older events then show a tombstone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A comment that was written now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WrittenComment {
    /// The comment.
    #[serde(flatten)]
    pub comment: CommentState,
    /// Its level, 1 to 3.
    pub depth: i16,
}

/// A change without its place in the order: what a handler appends to the outbox.
///
/// Every event says what is, not what is added: applying one twice, or one that a snapshot already shows, changes nothing. When a
/// discussion or comment is deleted, its older events are redacted ([`redaction`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// A discussion was begun.
    NewDiscussion(DiscussionState),
    /// Topic, text or `is_resolved` changed.
    UpdatedDiscussion(DiscussionState),
    /// A discussion was deleted: a tombstone stays.
    DeletedDiscussion {
        /// The community it is in.
        community_id: CommunityId,
        /// The article it is about.
        article_id: ArticleId,
        /// The discussion.
        discussion_id: DiscussionId,
        /// When it was deleted.
        timestamp: DateTime<Utc>,
    },
    /// A comment was written.
    NewComment {
        /// The comment.
        #[serde(flatten)]
        written: WrittenComment,
        /// The number of comments in the discussion that are not deleted.
        comment_count: i64,
    },
    /// A comment's text changed.
    UpdatedComment(CommentState),
    /// A comment was deleted: a tombstone stays, and so do its replies.
    DeletedComment {
        /// The community it is in.
        community_id: CommunityId,
        /// The article it is about.
        article_id: ArticleId,
        /// The discussion it is in.
        discussion_id: DiscussionId,
        /// The comment.
        comment_id: CommentId,
        /// The comment it replied to; null at the first level.
        #[schema(required)]
        parent_id: Option<CommentId>,
        /// How many comments now live in the discussion.
        comment_count: i64,
        /// When it was deleted.
        timestamp: DateTime<Utc>,
    },
    /// A person has another name or picture: wherever this community shows the author of this id, they are now shown like
    /// this. It is sent where they wrote under their own name, and says nothing of pseudonyms.
    AuthorChanged {
        /// The community.
        community_id: CommunityId,
        /// The author as they are shown now; its id is never null.
        author: Author,
        /// When it changed.
        timestamp: DateTime<Utc>,
    },
    /// The user joined, left, was removed or has another role. Sent to that user only.
    MembershipChanged(MembershipChange),
}

/// What became of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MembershipChange {
    /// The community.
    pub community_id: CommunityId,
    /// The member, who is also the only one to be told.
    pub user_id: UserId,
    /// The role now; null when no longer a member.
    #[schema(required)]
    pub role: Option<Role>,
    /// The role before; null when not a member before.
    #[schema(required)]
    pub previous_role: Option<Role>,
    /// When it changed.
    pub timestamp: DateTime<Utc>,
}

/// A committed change at its place in the total order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place: contiguous, ascending.
    pub event_id: EventId,
    /// What happened.
    #[serde(flatten)]
    pub change: Change,
}

impl Change {
    /// Where it happened.
    pub fn community_id(&self) -> CommunityId {
        match self {
            Self::NewDiscussion(state) | Self::UpdatedDiscussion(state) => state.community_id,
            Self::NewComment { written: WrittenComment { comment, .. }, .. } | Self::UpdatedComment(comment) => {
                comment.community_id
            }
            Self::DeletedDiscussion { community_id, .. }
            | Self::DeletedComment { community_id, .. }
            | Self::AuthorChanged { community_id, .. } => *community_id,
            Self::MembershipChanged(change) => change.community_id,
        }
    }

    /// Its `type`, as clients see it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NewDiscussion(_) => "new_discussion",
            Self::UpdatedDiscussion(_) => "updated_discussion",
            Self::DeletedDiscussion { .. } => "deleted_discussion",
            Self::NewComment { .. } => "new_comment",
            Self::UpdatedComment(_) => "updated_comment",
            Self::DeletedComment { .. } => "deleted_comment",
            Self::AuthorChanged { .. } => "author_changed",
            Self::MembershipChanged(_) => "membership_changed",
        }
    }
}

/// An event on its way from the feed to the hub. The hub does not parse its JSON.
#[derive(Clone, Debug)]
pub struct SequencedEvent {
    /// Its number in the order.
    pub event_id: EventId,
    /// The community in which it happened.
    pub community_id: CommunityId,
    /// Who gets it.
    pub audience: Audience,
    /// The event as clients get it.
    pub json: Bytes,
    /// What it has to do with redaction.
    pub content: Content,
    /// When its outbox row was written.
    pub written_at: DateTime<Utc>,
}

/// Who gets an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The community's members, as of this event.
    Community,
    /// The user whose membership it changes.
    Member(MembershipChange),
    /// No client. It tells the nodes that this user's account has ended, and so their queues end.
    Account(UserId),
    /// No client. It tells the nodes that these sessions of the user have ended, and so their parked polls end.
    Sessions {
        /// The user.
        user_id: UserId,
        /// The sessions that have ended. The user may have others.
        ended: Vec<SessionTag>,
    },
    /// Nobody. It only has a number in the order.
    Nobody,
}

/// The community of rows that are for the nodes and for no client.
const NO_COMMUNITY: CommunityId = CommunityId::new(0);

/// What a row of [`NO_COMMUNITY`] says (migrations 0009 and 0013).
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ForNodes {
    AccountChanged { user_id: UserId },
    SessionsEnded { user_id: UserId, sessions: Vec<SessionTag> },
}

impl OutboxRow {
    /// The event for the hub. This program writes rows for one user only about memberships. Nobody gets any other such row, but
    /// it has its number in the order.
    pub(crate) fn into_event(self) -> SequencedEvent {
        let audience = match self.user_id {
            None if self.community_id == NO_COMMUNITY => match serde_json::from_str(&self.payload) {
                Ok(ForNodes::AccountChanged { user_id }) => Audience::Account(user_id),
                Ok(ForNodes::SessionsEnded { user_id, sessions }) => Audience::Sessions { user_id, ended: sessions },
                // A later release wrote it. This one does not know what it means.
                Err(_) => Audience::Nobody,
            },
            None => Audience::Community,
            Some(_) => match serde_json::from_str(&self.payload) {
                Ok(Change::MembershipChanged(change)) => Audience::Member(change),
                _ => {
                    tracing::error!(
                        event_id = self.event_id.get(),
                        "an outbox row for one user is no membership_changed: skipped"
                    );
                    Audience::Nobody
                }
            },
        };
        // The event_id goes in front of the change's fields. A change always has fields.
        let fields = self.payload.trim_start().trim_start_matches('{');
        let json = Bytes::from(format!("{{\"event_id\":{},{}", self.event_id, fields.trim_start()));
        SequencedEvent {
            event_id: self.event_id,
            community_id: self.community_id,
            content: if audience == Audience::Community { Content::of(&json) } else { Content::Other },
            audience,
            json,
            written_at: self.created_at,
        }
    }
}
