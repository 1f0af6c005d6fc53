//! What a user wants to hear of, as its event tells their other tabs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{ArticleId, CommunityId, DiscussionId, UserId};

/// Whether a user wants to hear of an article or a discussion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum FollowLevel {
    /// They want to.
    Follow,
    /// They do not want to.
    Mute,
    /// They said nothing.
    #[default]
    Default,
}

/// A user said whether they want to hear of an article in a community, or of a discussion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FollowChange {
    /// The community it is in.
    pub community_id: CommunityId,
    /// The article.
    pub article_id: ArticleId,
    /// The discussion; null if it is about the article.
    #[schema(required)]
    pub discussion_id: Option<DiscussionId>,
    /// The user, who is also the only one to be told.
    pub user_id: UserId,
    /// What they say now or, if they say nothing, what holds then: see `Follow`.
    pub level: FollowLevel,
    /// Whether they say nothing.
    pub is_default: bool,
    /// Whether they follow it now.
    pub is_followed: bool,
    /// What they said before; `default` for nothing.
    pub previous_level: FollowLevel,
    /// When it changed.
    pub timestamp: DateTime<Utc>,
}

impl FollowChange {
    /// What they say now.
    pub(crate) fn said(&self) -> FollowLevel {
        if self.is_default { FollowLevel::Default } else { self.level }
    }
}
