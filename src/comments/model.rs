//! Comments as clients send and receive them.

use std::{collections::HashMap, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authors::Author,
    directory::Role,
    discussions::model::ViewerInfo,
    error::Result,
    events::{CommentState, VoteValue},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId},
    page::PositiveId,
    text,
    version::Versioned,
};

/// The depth of the deepest replies.
pub(crate) const MAX_DEPTH: i16 = 3;

/// A comment in a discussion. A deleted comment stays as a tombstone without text and author, and keeps its replies.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": 456, "discussion_id": 77, "parent_id": null, "depth": 1, "text": "Nice article!",
    "author": { "id": 9, "username": "ada", "avatar_url": null }, "mentions": [], "upvotes": 2, "downvotes": 0, "own_vote": 1, "is_unread": false,
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
    /// Whom the text mentions by `@handle`, members by their names before pseudonyms; nobody in a tombstone.
    pub mentions: Vec<Author>,
    /// The number of votes up.
    pub upvotes: i64,
    /// The number of votes down.
    pub downvotes: i64,
    /// The viewer's own vote; null if they may not vote.
    #[schema(required)]
    pub own_vote: Option<VoteValue>,
    /// Whether the viewer has not read it yet; null if they are no signed-in member.
    #[schema(required)]
    pub is_unread: Option<bool>,
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
        mentions: Vec<Author>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            discussion_id,
            parent_id: new.parent_id,
            depth,
            text: Some(new.text.clone()),
            author: Some(author),
            mentions,
            upvotes: 0,
            downvotes: 0,
            own_vote: Some(VoteValue::None),
            is_unread: Some(false),
            created_at: now,
            updated_at: now,
            edited_at: None,
            deleted_at: None,
        }
    }

    /// A comment as its author sees it. What only members are told is null without a role.
    pub(crate) fn shown_to_author(self, role: Option<Role>) -> Self {
        match role {
            Some(_) => self,
            None => Self { is_unread: None, ..self },
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
            mentions: self.mentions.clone(),
            upvotes: self.upvotes,
            downvotes: self.downvotes,
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

/// A page has at most this many times `limit` comments, replies included.
pub(crate) const COMMENTS_PER_ROOT: i64 = 5;

/// A comment with its replies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommentTree {
    /// The comment.
    #[serde(flatten)]
    pub comment: Comment,
    /// True if a page before this one has this comment. It is here for the replies below it, without its text (`text` is null).
    /// Put the replies below the comment that you have, or will have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_repeated: bool,
    /// The replies to it, oldest first.
    #[schema(no_recursion)]
    pub replies: Vec<CommentTree>,
}

/// A place in the order of a discussion's comments: behind the comments of the first level before `root`, with all replies, and
/// behind those of `root` and its replies up to `comment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CommentPosition {
    pub root: CommentId,
    pub comment: CommentId,
}

impl CommentPosition {
    /// The place before all comments.
    pub(crate) const START: Self = Self { root: CommentId::new(0), comment: CommentId::new(0) };
}

/// The cursor of a page of comments.
///
/// As a text, a `next_cursor` is `root`, where a page ended with the last reply, or `root-comment`. A `previous_cursor` is
/// `before-root-comment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommentCursor {
    /// The page begins behind this position.
    After(CommentPosition),
    /// The page ends before the comment of this position.
    Before(CommentPosition),
}

impl fmt::Display for CommentCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(CommentPosition { root, comment }) if comment.get() == i64::MAX => write!(formatter, "{root}"),
            Self::After(CommentPosition { root, comment }) => write!(formatter, "{root}-{comment}"),
            Self::Before(CommentPosition { root, comment }) => write!(formatter, "before-{root}-{comment}"),
        }
    }
}

impl FromStr for CommentCursor {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (wrap, text) = match text.strip_prefix("before-") {
            Some(text) => (Self::Before as fn(CommentPosition) -> Self, text),
            None => (Self::After as fn(CommentPosition) -> Self, text),
        };
        let (PositiveId(root), PositiveId(comment)) = match text.split_once('-') {
            Some((root, comment)) => (root.parse()?, comment.parse()?),
            None => (text.parse()?, PositiveId(i64::MAX)),
        };
        if comment < root { Err(()) } else { Ok(wrap(CommentPosition { root: root.into(), comment: comment.into() })) }
    }
}

/// Which comments a page has: those before a position, those behind it, or both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommentWindow {
    /// The position.
    pub at: CommentPosition,
    /// How many comments of the first level to take of those before the position; None for no comments at all.
    pub before: Option<i64>,
    /// How many to take of those behind the position, likewise.
    pub after: Option<i64>,
}

impl CommentWindow {
    /// The window of a page with up to `limit` comments of the first level.
    pub(crate) fn of(cursor: CommentCursor, limit: i64) -> Self {
        match cursor {
            CommentCursor::After(at) => Self { at, before: None, after: Some(limit) },
            CommentCursor::Before(CommentPosition { root, comment }) => {
                let at = CommentPosition { root, comment: CommentId::new(comment.get() - 1) };
                Self { at, before: Some(limit), after: None }
            }
        }
    }

    /// The window of a page with the comment at `at` in the middle.
    pub(crate) fn around(at: CommentPosition, limit: i64) -> Self {
        let after = limit / 2;
        Self { at, before: Some(limit - after), after: Some(after) }
    }
}

/// A page of comments: those of the first level, oldest first, each with its replies. If there are very many replies, or long
/// ones, the page ends among them and `continues` is true. The next page then begins with the comments above the next reply, which
/// are marked by `is_repeated`. The same holds at the beginning of a page that was read by a `previous_cursor` or `around`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "comments": [{
        "id": 456, "discussion_id": 77, "parent_id": null, "depth": 1, "text": "Nice article!",
        "author": { "id": 9, "username": "ada", "avatar_url": null }, "mentions": [], "upvotes": 2, "downvotes": 0, "own_vote": 1, "is_unread": false,
        "created_at": "2025-08-09T12:34:56Z", "updated_at": "2025-08-09T12:34:56Z", "edited_at": null, "deleted_at": null,
        "replies": [{
            "id": 457, "discussion_id": 77, "parent_id": 456, "depth": 2, "text": null, "author": null,
            "mentions": [], "upvotes": 0, "downvotes": 0, "own_vote": 0, "is_unread": false,
            "created_at": "2025-08-09T12:35:10Z", "updated_at": "2025-08-09T12:35:10Z", "edited_at": null,
            "deleted_at": "2025-08-09T12:36:00Z", "replies": []
        }]
    }],
    "last_event_id": 12345, "previous_cursor": null, "next_cursor": null, "continues": false,
    "viewer": { "user_id": 9, "memberships": [{ "community_id": 42, "role": "member", "pseudonym": null, "joined_at": "2025-08-01T09:00:00Z", "follow_level": "default" }] }
}))]
pub(crate) struct CommentPage {
    /// The comments.
    pub comments: Vec<CommentTree>,
    /// The newest event that the page reflects. Poll from here.
    pub last_event_id: EventId,
    /// The `cursor` of the page before this one; null on the first page.
    #[schema(required)]
    pub previous_cursor: Option<String>,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// Whether the next page goes on with replies to the last comment of the first level.
    pub continues: bool,
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
    /// Puts comments below their parents. The comments must be in the order of a page, so that a parent comes before its replies.
    /// Those that an earlier page has are `repeated`: they have no text here, and are left out where they have no reply.
    pub(crate) fn build(
        repeated: impl DoubleEndedIterator<Item = Comment>,
        new: impl DoubleEndedIterator<Item = Comment>,
    ) -> Vec<Self> {
        let repeated = repeated.map(|comment| (Comment { text: None, ..comment }, true));
        let mut replies: HashMap<Option<CommentId>, Vec<Self>> = HashMap::new();
        // Going backwards, all replies to a comment come before it, in reverse order.
        for (comment, is_repeated) in repeated.chain(new.map(|comment| (comment, false))).rev() {
            let mut own = replies.remove(&Some(comment.id)).unwrap_or_default();
            if is_repeated && own.is_empty() {
                continue;
            }
            own.reverse();
            replies.entry(comment.parent_id).or_default().push(Self { comment, is_repeated, replies: own });
        }
        let mut roots = replies.remove(&None).unwrap_or_default();
        roots.reverse();
        roots
    }
}
