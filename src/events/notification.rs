//! Notifications, as their events tell the user's own tabs.
//!
//! The events hold neither text nor people: a text may be deleted and a person renamed, and a user may lose the right to read. They hold
//! no number of unread notifications either, because a tab whose token is valid for some communities must not learn how many there are in
//! others. A client that gets one reads the notifications that it shows again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{ArticleId, CommentId, CommunityId, DiscussionId, NotificationId, UserId};

/// Why a user is notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum NotificationKind {
    /// The text mentions them.
    Mention,
    /// A comment replies to theirs.
    Reply,
    /// A comment is in a discussion that they began.
    Comment,
    /// A discussion is on an article that they submitted, or in a community that they administer.
    Discussion,
    /// A moderator removed what they wrote.
    Moderation,
}

/// A new notification, without the text that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewNotification {
    /// The user who is notified, who is also the only one to be told.
    pub user_id: UserId,
    /// The notification's id.
    pub notification_id: NotificationId,
    /// Why they are notified.
    pub kind: NotificationKind,
    /// The community.
    pub community_id: CommunityId,
    /// The article.
    pub article_id: ArticleId,
    /// The discussion.
    pub discussion_id: DiscussionId,
    /// The comment that it is about; null if it is about the discussion's own text.
    #[schema(required)]
    pub comment_id: Option<CommentId>,
    /// When it was written.
    pub timestamp: DateTime<Utc>,
}

/// Notifications of one community that the user has marked as read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationsRead {
    /// The user, who is also the only one to be told.
    pub user_id: UserId,
    /// The community.
    pub community_id: CommunityId,
    /// Those that were unread before. Null where there are too many for an event: read the notifications again.
    #[schema(required)]
    pub ids: Option<Vec<NotificationId>>,
    /// When they were marked.
    pub timestamp: DateTime<Utc>,
}

/// Notifications that are gone, because a text was deleted, or mentions the user no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationsWithdrawn {
    /// The user, who is also the only one to be told.
    pub user_id: UserId,
    /// The community.
    pub community_id: CommunityId,
    /// The notifications.
    pub ids: Vec<NotificationId>,
    /// When they were withdrawn.
    pub timestamp: DateTime<Utc>,
}
