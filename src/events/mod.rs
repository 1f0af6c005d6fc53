//! Events: the one definition of what clients are told. OpenAPI, the TypeScript union and the tests come from [`Event`].

mod follow;
pub mod history;
pub(crate) mod kinds;
pub(crate) mod log;
mod notification;
pub(crate) mod outbox;
pub(crate) mod publisher;
mod read_state;
pub mod redaction;
pub mod relay;
mod sequenced;
pub(crate) mod stream;
mod stream_window;
mod subject;
mod vote_value;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{EnumDiscriminants, EnumString, IntoStaticStr};
use utoipa::ToSchema;

pub use self::{
    follow::{FollowChange, FollowLevel},
    kinds::{KindAt, KindChange},
    log::OutboxRow,
    notification::{NewNotification, NotificationKind, NotificationsRead, NotificationsWithdrawn},
    read_state::{ReadState, ReadStateChange},
    redaction::Content,
    sequenced::{Audience, NodeMessage, SequencedEvent},
    subject::{Subject, Writer},
    vote_value::VoteValue,
};
use crate::{
    authors::Author,
    directory::{Role, Visibility},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId, UserId},
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
    /// Whom its text mentions, members by their names before pseudonyms; nobody if it was deleted since.
    // Events of the releases before mentions lack it.
    #[serde(default)]
    #[schema(required)]
    pub mentions: Vec<Author>,
    /// Whether its question is settled.
    pub is_resolved: bool,
    /// How many comments live in it.
    pub comment_count: i64,
    /// The number of votes up.
    // Events of the releases before votes lack the two.
    #[serde(default)]
    #[schema(required)]
    pub upvotes: i64,
    /// The number of votes down.
    #[serde(default)]
    #[schema(required)]
    pub downvotes: i64,
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
    /// Whom its text mentions, members by their names before pseudonyms; nobody if it was deleted since.
    // Events of the releases before mentions lack it.
    #[serde(default)]
    #[schema(required)]
    pub mentions: Vec<Author>,
    /// The number of votes up.
    // Events of the releases before votes lack the two.
    #[serde(default)]
    #[schema(required)]
    pub upvotes: i64,
    /// The number of votes down.
    #[serde(default)]
    #[schema(required)]
    pub downvotes: i64,
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

/// The summary of the discussions on an article in a community, as it is after the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SummaryState {
    /// The community.
    pub community_id: CommunityId,
    /// The article.
    pub article_id: ArticleId,
    /// The text, in Markdown; null if the summary is deleted by this change, or was since.
    #[schema(required)]
    pub text: Option<String>,
    /// Who wrote the text; null where there is none.
    #[schema(required)]
    pub author: Option<Author>,
    /// The number of this change of the summary. It grows with every change.
    pub revision: i64,
    /// When the first text was written, or the first after a deletion.
    pub created_at: DateTime<Utc>,
    /// When the text was written or deleted.
    pub updated_at: DateTime<Utc>,
    /// When the change was made.
    pub timestamp: DateTime<Utc>,
    /// When it was deleted. Absent unless it was deleted after this change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A change without its place in the order: what a handler appends to the outbox.
///
/// Every event says what is, not what is added: applying one twice, or one that a snapshot already shows, changes nothing. When a
/// discussion, comment or summary is deleted, its older events are redacted ([`redaction`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, EnumDiscriminants)]
#[serde(tag = "type", rename_all = "snake_case")]
#[strum_discriminants(
    name(EventType),
    doc = "The `type` of an event.",
    derive(EnumString, IntoStaticStr, PartialOrd, Ord, Serialize, Deserialize, ToSchema),
    strum(serialize_all = "snake_case"),
    serde(rename_all = "snake_case")
)]
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
        /// The discussion's `comment_version` after it. Absent in events of older releases.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment_version: Option<i64>,
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
        /// The discussion's `comment_version` after it. Absent in events of older releases.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment_version: Option<i64>,
        /// When it was deleted.
        timestamp: DateTime<Utc>,
    },
    /// The summary of the discussions on an article was written, changed or deleted.
    UpdatedSummary(SummaryState),
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
    /// The community is of another kind. Who watches one that not everybody may read any more gets no further event of it.
    CommunityChanged {
        /// The community.
        community_id: CommunityId,
        /// Who may read it now.
        kind: Visibility,
        /// Who could read it before.
        previous_kind: Visibility,
        /// When it changed.
        timestamp: DateTime<Utc>,
    },
    /// The votes on a discussion or comment changed.
    VotesChanged {
        /// The community it is in.
        community_id: CommunityId,
        /// The article it is about.
        article_id: ArticleId,
        /// The discussion.
        discussion_id: DiscussionId,
        /// The comment; null if the votes are on the discussion itself.
        #[schema(required)]
        comment_id: Option<CommentId>,
        /// The number of votes up.
        upvotes: i64,
        /// The number of votes down.
        downvotes: i64,
        /// When they changed.
        timestamp: DateTime<Utc>,
    },
    /// The user joined, left, was removed or has another role. Sent to that user only.
    MembershipChanged(MembershipChange),
    /// The user voted on a discussion or comment. Sent to that user only.
    OwnVoteChanged {
        /// The community it is in.
        community_id: CommunityId,
        /// The article it is about.
        article_id: ArticleId,
        /// The discussion.
        discussion_id: DiscussionId,
        /// The comment; null if the vote is on the discussion itself.
        #[schema(required)]
        comment_id: Option<CommentId>,
        /// The voter, who is also the only one to be told.
        user_id: UserId,
        /// The vote now.
        value: VoteValue,
        /// When it changed.
        timestamp: DateTime<Utc>,
    },
    /// The user marked something of a discussion as read or unread. Sent to that user only.
    ReadStateChanged(ReadStateChange),
    /// The user said whether they want to hear of an article or a discussion. Sent to that user only.
    FollowChanged(FollowChange),
    /// The user has a new notification. Sent to that user only. Its text is in the list of notifications.
    NewNotification(NewNotification),
    /// The user marked notifications as read. Sent to that user only.
    NotificationsRead(NotificationsRead),
    /// Notifications of the user are gone. Sent to that user only.
    NotificationsWithdrawn(NotificationsWithdrawn),
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
            | Self::AuthorChanged { community_id, .. }
            | Self::CommunityChanged { community_id, .. }
            | Self::VotesChanged { community_id, .. }
            | Self::OwnVoteChanged { community_id, .. } => *community_id,
            Self::UpdatedSummary(summary) => summary.community_id,
            Self::MembershipChanged(change) => change.community_id,
            Self::ReadStateChanged(change) => change.community_id,
            Self::FollowChanged(change) => change.community_id,
            Self::NewNotification(new) => new.community_id,
            Self::NotificationsRead(read) => read.community_id,
            Self::NotificationsWithdrawn(withdrawn) => withdrawn.community_id,
        }
    }

    /// The only user to be told. None if it is for the whole community.
    pub fn user_id(&self) -> Option<UserId> {
        match self {
            Self::MembershipChanged(change) => Some(change.user_id),
            Self::OwnVoteChanged { user_id, .. } => Some(*user_id),
            Self::ReadStateChanged(change) => Some(change.user_id),
            Self::FollowChanged(change) => Some(change.user_id),
            Self::NewNotification(new) => Some(new.user_id),
            Self::NotificationsRead(read) => Some(read.user_id),
            Self::NotificationsWithdrawn(withdrawn) => Some(withdrawn.user_id),
            Self::NewDiscussion(_)
            | Self::UpdatedDiscussion(_)
            | Self::DeletedDiscussion { .. }
            | Self::NewComment { .. }
            | Self::UpdatedComment(_)
            | Self::DeletedComment { .. }
            | Self::UpdatedSummary(_)
            | Self::AuthorChanged { .. }
            | Self::CommunityChanged { .. }
            | Self::VotesChanged { .. } => None,
        }
    }

    /// Its `type`, as clients see it.
    pub fn kind(&self) -> &'static str {
        EventType::from(self).into()
    }
}
