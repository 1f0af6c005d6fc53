//! What a member has read of a discussion, as its event tells their other tabs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{ArticleId, CommentId, CommunityId, DiscussionId, UserId};

/// What is unread for a member in a discussion.
///
/// Everything that a member wrote themselves, and what is older than their membership, counts as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadState {
    /// Whether the discussion's own text is unread.
    pub is_unread: bool,
    /// How many of its comments are unread.
    pub unread_count: i64,
    /// The unread comment with the lowest id; null if there is none.
    #[schema(required)]
    pub first_unread_comment_id: Option<CommentId>,
    /// The discussion's `comment_version` that the count is of.
    pub comment_version: i64,
}

/// What a member has read of a discussion after they marked something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadStateChange {
    /// The community it is in.
    pub community_id: CommunityId,
    /// The article it is about.
    pub article_id: ArticleId,
    /// The discussion.
    pub discussion_id: DiscussionId,
    /// The member, who is also the only one to be told.
    pub user_id: UserId,
    /// What is unread now.
    #[serde(flatten)]
    pub state: ReadState,
    /// The ids of the comments that are read, as ascending ranges from the first to the last id, both included. Null where there are too
    /// many ranges for an event: read the comments again.
    #[schema(required)]
    pub read_comments: Option<Vec<(CommentId, CommentId)>>,
    /// When it changed.
    pub timestamp: DateTime<Utc>,
}
