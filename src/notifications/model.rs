//! Notifications as clients send and receive them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authors::Author,
    error::{ApiError, Result},
    events::NotificationKind,
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId, NotificationId},
};

/// The most notifications that one request may name.
const MAX_IDS: usize = 100;

/// One thing that concerns the user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Notification {
    /// The notification's id.
    pub id: NotificationId,
    /// Why the user is notified.
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
    /// The discussion's topic; null if the discussion is deleted.
    #[schema(required)]
    pub topic: Option<String>,
    /// The first 200 characters of the text, as it was typed; null if the text was removed.
    #[schema(required)]
    pub excerpt: Option<String>,
    /// Who wrote the text, shown as its author is; null if the text was removed.
    #[schema(required)]
    pub actor: Option<Author>,
    /// Why a moderator removed the text; null for the other kinds, and if no reason was given.
    #[schema(required)]
    pub reason: Option<String>,
    /// Whether the user has marked it as read.
    pub is_read: bool,
    /// When it was written.
    pub created_at: DateTime<Utc>,
}

/// A page of the user's notifications, newest first. Those of communities that the user is no member of are left out, and so are those
/// of communities that the token is not valid for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "notifications": [{
        "id": 31, "kind": "reply", "community_id": 42, "article_id": 789, "discussion_id": 77, "comment_id": 456,
        "topic": "Sample size", "excerpt": "Nice article!", "actor": { "id": 9, "username": "ada", "avatar_url": null },
        "reason": null, "is_read": false, "created_at": "2025-08-09T12:34:56Z"
    }],
    "unread_count": 1, "last_event_id": 12345, "next_cursor": null
}))]
pub(super) struct NotificationPage {
    /// The notifications.
    pub notifications: Vec<Notification>,
    /// How many notifications are unread, on all pages.
    pub unread_count: i64,
    /// The newest event that the answer reflects. Poll from here.
    pub last_event_id: EventId,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Which notifications are read. It needs at least one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "ids": [31] }))]
pub(super) struct ReadNotifications {
    /// Notifications that are read, 100 at most. Ids that are no notifications of the user change nothing.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub ids: Vec<NotificationId>,
    /// All notifications up to this id are read.
    pub up_to_id: Option<NotificationId>,
}

impl ReadNotifications {
    /// Checks that there is a mark, and not too many.
    pub(super) fn validate(self) -> Result<Self> {
        if self.ids.is_empty() && self.up_to_id.is_none() {
            return Err(ApiError::invalid_field("body", "has none of ids, up_to_id"));
        }
        if self.ids.len() > MAX_IDS {
            return Err(ApiError::invalid_field("ids", format!("has {} ids; it may have {MAX_IDS}", self.ids.len())));
        }
        Ok(self)
    }
}
