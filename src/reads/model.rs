//! Marks and what is unread, as clients send and receive them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    error::{ApiError, Result},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId},
};

/// The most comments that one request may name.
const MAX_COMMENTS: usize = 1_000;

/// What a member has read of a discussion. It needs at least one of the three.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "discussion": true, "comment_ids": [455, 456] }))]
pub(super) struct NewMarks {
    /// Whether the discussion's own text is read. False changes nothing.
    #[serde(default)]
    pub discussion: bool,
    /// Comments that are read, 1,000 at most. Ids that are no comments of the discussion change nothing.
    #[serde(default)]
    #[schema(max_items = 1_000)]
    pub comment_ids: Vec<CommentId>,
    /// All comments up to this id are read. A comment that arrives later with a lower id is not.
    pub up_to_comment_id: Option<CommentId>,
}

impl NewMarks {
    /// Checks that there is a mark, and not too many.
    pub(super) fn validate(self) -> Result<Self> {
        if !self.discussion && self.comment_ids.is_empty() && self.up_to_comment_id.is_none() {
            return Err(ApiError::invalid_field("body", "has none of discussion, comment_ids, up_to_comment_id"));
        }
        if self.comment_ids.len() > MAX_COMMENTS {
            let reason = format!("has {} ids; it may have {MAX_COMMENTS}", self.comment_ids.len());
            return Err(ApiError::invalid_field("comment_ids", reason));
        }
        Ok(self)
    }
}

/// What is to be unread again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "from_comment_id": 455 }))]
pub(super) struct UnreadFrom {
    /// This comment and those with a higher id. Leave it out for all comments and the discussion's own text. What you wrote, and what
    /// is older than your membership, stays read.
    pub from_comment_id: Option<CommentId>,
}

/// An article of a community.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "community_id": 42 }))]
pub(super) struct ArticleMarks {
    /// The community whose discussions of the article are read.
    pub community_id: CommunityId,
}

/// A discussion with something unread.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UnreadDiscussion {
    /// The discussion's id.
    pub id: DiscussionId,
    /// The community it is in.
    pub community_id: CommunityId,
    /// The article it is about.
    pub article_id: ArticleId,
    /// The topic.
    pub topic: String,
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

/// How much is unread on an article of a community.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UnreadArticle {
    /// The community.
    pub community_id: CommunityId,
    /// The article.
    pub article_id: ArticleId,
    /// How many of its discussions have something unread.
    pub discussions: i64,
    /// How many comments in them are unread.
    pub comments: i64,
}

/// How much is unread in a community.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UnreadCommunity {
    /// The community.
    pub community_id: CommunityId,
    /// How many of its discussions have something unread.
    pub discussions: i64,
    /// How many comments in them are unread.
    pub comments: i64,
}

/// What is unread for a member: sums over everything, and a page of the discussions, newest first. Deleted discussions do not count.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "communities": [{ "community_id": 42, "discussions": 1, "comments": 2 }],
    "articles": [{ "community_id": 42, "article_id": 789, "discussions": 1, "comments": 2 }],
    "discussions": [{
        "id": 77, "community_id": 42, "article_id": 789, "topic": "Sample size", "is_unread": false, "unread_count": 2,
        "first_unread_comment_id": 455, "comment_version": 3
    }],
    "last_event_id": 12345, "next_cursor": null
}))]
pub(super) struct Unread {
    /// The sums of the communities that have something unread.
    pub communities: Vec<UnreadCommunity>,
    /// The sums of the articles that have something unread.
    pub articles: Vec<UnreadArticle>,
    /// A page of the discussions that have something unread.
    pub discussions: Vec<UnreadDiscussion>,
    /// The newest event that the answer reflects. Poll from here.
    pub last_event_id: EventId,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
}
