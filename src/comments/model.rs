//! Comments as clients send and receive them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authors::Author,
    discussions::model::ViewerInfo,
    error::Result,
    events::CommentState,
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId},
    text,
    version::Versioned,
};

/// The depth of the deepest replies.
pub(crate) const MAX_DEPTH: i16 = 3;

/// A comment in a discussion. A deleted comment stays as a tombstone without text and author, and keeps its replies.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": 456, "discussion_id": 77, "parent_id": null, "depth": 1, "text": "Nice article!",
    "author": { "id": 9, "username": "ada", "avatar_url": null },
    "created_at": "2025-08-09T12:34:56Z", "updated_at": "2025-08-09T12:34:56Z", "edited_at": null, "deleted_at": null
}))]
pub(crate) struct Comment {
    /// The comment's id.
    pub id: CommentId,
    /// The discussion it is in.
    pub discussion_id: DiscussionId,
    /// The comment it replies to; null at the first level.
    #[schema(required)]
    pub parent_id: Option<CommentId>,
    /// The level of nesting, 1 to 3.
    pub depth: i16,
    /// The text in Markdown; null in a tombstone.
    #[schema(required)]
    pub text: Option<String>,
    /// Who wrote it; null in a tombstone.
    #[schema(required)]
    pub author: Option<Author>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it last changed. It is the version that `if_updated_at` names.
    pub updated_at: DateTime<Utc>,
    /// When the author last changed the text; null if they never did.
    #[schema(required)]
    pub edited_at: Option<DateTime<Utc>>,
    /// When it was deleted; null if it is not deleted.
    #[schema(required)]
    pub deleted_at: Option<DateTime<Utc>>,
}

impl Comment {
    /// A comment that is written now.
    pub(crate) fn new(
        id: CommentId,
        discussion_id: DiscussionId,
        depth: i16,
        new: &NewComment,
        author: Author,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            discussion_id,
            parent_id: new.parent_id,
            depth,
            text: Some(new.text.clone()),
            author: Some(author),
            created_at: now,
            updated_at: now,
            edited_at: None,
            deleted_at: None,
        }
    }

    /// The comment as its events show it.
    pub(crate) fn state(&self, community_id: CommunityId, article_id: ArticleId) -> CommentState {
        CommentState {
            community_id,
            article_id,
            discussion_id: self.discussion_id,
            comment_id: self.id,
            parent_id: self.parent_id,
            text: self.text.clone(),
            author: self.author.clone(),
            edited_at: self.edited_at,
            timestamp: self.updated_at,
            deleted_at: self.deleted_at,
        }
    }
}

impl Versioned for Comment {
    fn version(&self) -> Option<DateTime<Utc>> {
        self.deleted_at.is_none().then_some(self.updated_at)
    }
}

/// A comment with its replies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommentTree {
    /// The comment.
    #[serde(flatten)]
    pub comment: Comment,
    /// The replies to it, oldest first.
    #[schema(no_recursion)]
    pub replies: Vec<CommentTree>,
}

/// A page of comments: those of the first level, oldest first, each with all of its replies.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "comments": [{
        "id": 456, "discussion_id": 77, "parent_id": null, "depth": 1, "text": "Nice article!",
        "author": { "id": 9, "username": "ada", "avatar_url": null },
        "created_at": "2025-08-09T12:34:56Z", "updated_at": "2025-08-09T12:34:56Z", "edited_at": null, "deleted_at": null,
        "replies": [{
            "id": 457, "discussion_id": 77, "parent_id": 456, "depth": 2, "text": null, "author": null,
            "created_at": "2025-08-09T12:35:10Z", "updated_at": "2025-08-09T12:35:10Z", "edited_at": null,
            "deleted_at": "2025-08-09T12:36:00Z", "replies": []
        }]
    }],
    "last_event_id": 12345, "next_cursor": null,
    "viewer": { "user_id": 9, "memberships": [{ "community_id": 42, "role": "member", "pseudonym": null }] }
}))]
pub(crate) struct CommentPage {
    /// The comments.
    pub comments: Vec<CommentTree>,
    /// The newest event that the page reflects. Poll from here.
    pub last_event_id: EventId,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// The signed-in user; null if nobody is signed in.
    #[schema(required)]
    pub viewer: Option<ViewerInfo>,
}

/// A new comment.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "text": "Nice article!", "parent_id": null }))]
pub(crate) struct NewComment {
    /// 1 to 50,000 characters after trimming, at least one of them visible, in Markdown.
    #[schema(min_length = 1, max_length = 50_000)]
    pub text: String,
    /// The comment to reply to. Leave it out to write at the first level.
    pub parent_id: Option<CommentId>,
}

impl NewComment {
    /// Checks the text and trims it.
    pub(crate) fn validate(self) -> Result<Self> {
        Ok(Self { text: text::text(&self.text)?, parent_id: self.parent_id })
    }
}

/// A change of a comment. Only the author may change it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "text": "Nice article, and a good appendix." }))]
pub(crate) struct CommentPatch {
    /// 1 to 50,000 characters after trimming, at least one of them visible, in Markdown.
    #[schema(min_length = 1, max_length = 50_000)]
    pub text: String,
    /// The `updated_at` that you have read, exactly as it was sent: the change is made only if it is still this one.
    pub if_updated_at: Option<DateTime<Utc>>,
}

impl CommentTree {
    /// Puts comments below their parents. `comments` must be in ascending order of ids, so that a parent comes before its replies.
    pub(crate) fn build(comments: impl DoubleEndedIterator<Item = Comment>) -> Vec<Self> {
        let mut replies: std::collections::HashMap<Option<CommentId>, Vec<Self>> = Default::default();
        // Going backwards, all replies to a comment come before it, in reverse order.
        for comment in comments.rev() {
            let mut own = replies.remove(&Some(comment.id)).unwrap_or_default();
            own.reverse();
            replies.entry(comment.parent_id).or_default().push(Self { comment, replies: own });
        }
        let mut roots = replies.remove(&None).unwrap_or_default();
        roots.reverse();
        roots
    }
}
