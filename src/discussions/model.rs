//! Discussions as clients send and receive them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authors::Author,
    directory::Role,
    error::{ApiError, Result},
    events::{DiscussionState, FollowLevel, VoteValue},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId, UserId},
    text,
    version::Versioned,
};

/// A topic on an article in a community. A deleted discussion stays as a tombstone without topic, text and author.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": 77, "community_id": 42, "article_id": 789, "topic": "Sample size", "text": "Is **n = 12** enough?",
    "author": { "id": 9, "username": "ada", "avatar_url": null }, "mentions": [], "is_resolved": false, "comment_count": 3,
    "upvotes": 2, "downvotes": 0, "own_vote": 1,
    "is_unread": false, "unread_count": 2, "first_unread_comment_id": 455, "comment_version": 3, "follow_level": "default", "has_written": true, "is_followed": true,
    "created_at": "2025-08-09T12:34:56Z", "updated_at": "2025-08-09T12:34:56Z", "edited_at": null,
    "resolved_at": null, "resolved_by": null, "deleted_at": null
}))]
pub(crate) struct Discussion {
    /// The discussion's id.
    pub id: DiscussionId,
    /// The community it is in.
    pub community_id: CommunityId,
    /// The article it is about.
    pub article_id: ArticleId,
    /// The topic; null in a tombstone.
    #[schema(required)]
    pub topic: Option<String>,
    /// The text in Markdown; null in a tombstone.
    #[schema(required)]
    pub text: Option<String>,
    /// Who wrote it; null in a tombstone.
    #[schema(required)]
    pub author: Option<Author>,
    /// Whom the text mentions by `@handle`, members by their names before pseudonyms; nobody in a tombstone.
    pub mentions: Vec<Author>,
    /// Whether it is resolved.
    pub is_resolved: bool,
    /// The number of comments in it that are not deleted.
    pub comment_count: i64,
    /// The number of votes up.
    pub upvotes: i64,
    /// The number of votes down.
    pub downvotes: i64,
    /// The viewer's own vote; null if they may not vote.
    #[schema(required)]
    pub own_vote: Option<VoteValue>,
    /// Whether the viewer has not read its text yet; null if they are no signed-in member.
    #[schema(required)]
    pub is_unread: Option<bool>,
    /// How many of its comments the viewer has not read yet; null if they are no signed-in member.
    #[schema(required)]
    pub unread_count: Option<i64>,
    /// The comment with the lowest id that the viewer has not read yet; null if there is none.
    #[schema(required)]
    pub first_unread_comment_id: Option<CommentId>,
    /// How often the number of its comments has changed, as far as that was counted. `unread_count` reflects the events of comments up to this version.
    pub comment_version: i64,
    /// What the viewer said about following it, `default` for nothing; null if they are no signed-in member.
    #[schema(required)]
    pub follow_level: Option<FollowLevel>,
    /// Whether the viewer wrote in it: the discussion itself, or a comment, deleted ones included; null if they are no signed-in member.
    #[schema(required)]
    pub has_written: Option<bool>,
    /// Whether the viewer follows it: by `follow_level` or, if that is `default`, by the level of its article (`viewer.memberships` of
    /// lists has it) or, if that is `default` too, by `has_written`. Null if they are no signed-in member.
    #[schema(required)]
    pub is_followed: Option<bool>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When the topic, the text or `is_resolved` last changed. It is the version that `if_updated_at` names.
    pub updated_at: DateTime<Utc>,
    /// When the author last changed the topic or the text; null if they never did.
    #[schema(required)]
    pub edited_at: Option<DateTime<Utc>>,
    /// When it was resolved; null while it is not.
    #[schema(required)]
    pub resolved_at: Option<DateTime<Utc>>,
    /// Who resolved it, shown as authors are; null while it is not resolved, if nobody is known, and in a tombstone.
    #[schema(required)]
    pub resolved_by: Option<Author>,
    /// When it was deleted; null if it is not deleted.
    #[schema(required)]
    pub deleted_at: Option<DateTime<Utc>>,
}

impl Discussion {
    /// A discussion that is written now. Its author follows it, unless they muted its article.
    pub(crate) fn new(
        id: DiscussionId,
        article_id: ArticleId,
        new: &NewDiscussion,
        author: Author,
        mentions: Vec<Author>,
        is_followed: bool,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            community_id: new.community_id,
            article_id,
            topic: Some(new.topic.clone()),
            text: Some(new.text.clone()),
            author: Some(author),
            mentions,
            is_resolved: false,
            comment_count: 0,
            upvotes: 0,
            downvotes: 0,
            own_vote: Some(VoteValue::None),
            is_unread: Some(false),
            unread_count: Some(0),
            first_unread_comment_id: None,
            comment_version: 0,
            follow_level: Some(FollowLevel::Default),
            has_written: Some(true),
            is_followed: Some(is_followed),
            created_at: now,
            updated_at: now,
            edited_at: None,
            resolved_at: None,
            resolved_by: None,
            deleted_at: None,
        }
    }

    /// A new discussion as its author sees it. What only members are told is null without a role.
    pub(crate) fn shown_to_author(self, role: Option<Role>) -> Self {
        match role {
            Some(_) => self,
            None => Self {
                is_unread: None,
                unread_count: None,
                follow_level: None,
                has_written: None,
                is_followed: None,
                ..self
            },
        }
    }

    /// The discussion as its events show it.
    pub(crate) fn state(&self) -> DiscussionState {
        DiscussionState {
            community_id: self.community_id,
            article_id: self.article_id,
            discussion_id: self.id,
            topic: self.topic.clone(),
            text: self.text.clone(),
            author: self.author.clone(),
            mentions: self.mentions.clone(),
            is_resolved: self.is_resolved,
            comment_count: self.comment_count,
            upvotes: self.upvotes,
            downvotes: self.downvotes,
            edited_at: self.edited_at,
            resolved_at: self.resolved_at,
            resolved_by: self.resolved_by.clone(),
            timestamp: self.updated_at,
            deleted_at: self.deleted_at,
        }
    }
}

impl Versioned for Discussion {
    fn version(&self) -> Option<DateTime<Utc>> {
        self.deleted_at.is_none().then_some(self.updated_at)
    }
}

/// The signed-in user, as far as it concerns the list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ViewerInfo {
    /// The user's id.
    pub user_id: UserId,
    /// The user's memberships in the communities of the list.
    pub memberships: Vec<ViewerMembership>,
}

/// A membership of the signed-in user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ViewerMembership {
    /// The community.
    pub community_id: CommunityId,
    /// The user's role.
    pub role: Role,
    /// The user's own pseudonym on this article, if they have one: what is written under it is theirs.
    #[schema(required)]
    pub pseudonym: Option<String>,
    /// When they joined. What is older counts as read.
    pub joined_at: DateTime<Utc>,
    /// What they said about the article here. If they said nothing, it is `follow` where they submitted it or administer the community.
    pub follow_level: FollowLevel,
}

/// A page of discussions, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "discussions": [{
        "id": 77, "community_id": 42, "article_id": 789, "topic": "Sample size", "text": "Is **n = 12** enough?",
        "author": { "id": 9, "username": "ada", "avatar_url": null }, "mentions": [], "is_resolved": false, "comment_count": 3,
        "upvotes": 2, "downvotes": 0, "own_vote": 1,
        "is_unread": false, "unread_count": 2, "first_unread_comment_id": 455, "comment_version": 3,
        "follow_level": "default", "has_written": true, "is_followed": true,
        "created_at": "2025-08-09T12:34:56Z", "updated_at": "2025-08-09T12:34:56Z", "edited_at": null,
        "resolved_at": null, "resolved_by": null, "deleted_at": null
    }],
    "last_event_id": 12345, "next_cursor": "77",
    "viewer": { "user_id": 9, "memberships": [{ "community_id": 42, "role": "member", "pseudonym": null, "joined_at": "2025-08-01T09:00:00Z", "follow_level": "default" }] }
}))]
pub(crate) struct DiscussionPage {
    /// The discussions.
    pub discussions: Vec<Discussion>,
    /// The newest event that the page reflects. Poll from here.
    pub last_event_id: EventId,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// The signed-in user; null if nobody is signed in.
    #[schema(required)]
    pub viewer: Option<ViewerInfo>,
}

/// A new discussion.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "community_id": 42, "topic": "Sample size", "text": "Is **n = 12** enough?" }))]
pub(crate) struct NewDiscussion {
    /// The community that it is in.
    pub community_id: CommunityId,
    /// 1 to 200 characters after trimming, at least one of them visible; one line.
    #[schema(min_length = 1, max_length = 200)]
    pub topic: String,
    /// 1 to 50,000 characters after trimming, at least one of them visible, in Markdown.
    #[schema(min_length = 1, max_length = 50_000)]
    pub text: String,
}

impl NewDiscussion {
    /// Checks topic and text and trims them.
    pub(crate) fn validate(self) -> Result<Self> {
        Ok(Self { community_id: self.community_id, topic: text::topic(&self.topic)?, text: text::text(&self.text)? })
    }
}

/// A change of a discussion. It needs at least one of `topic`, `text` and `is_resolved`. What is as it says already is not
/// changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "is_resolved": true }))]
pub(crate) struct DiscussionPatch {
    /// 1 to 200 characters after trimming, at least one of them visible; one line. Only the author may change it.
    #[schema(min_length = 1, max_length = 200)]
    pub topic: Option<String>,
    /// 1 to 50,000 characters after trimming, at least one of them visible, in Markdown. Only the author may change it.
    #[schema(min_length = 1, max_length = 50_000)]
    pub text: Option<String>,
    /// The author and admins may change it.
    pub is_resolved: Option<bool>,
    /// The `updated_at` that you have read, exactly as it was sent: the change is made only if it is still this one.
    pub if_updated_at: Option<DateTime<Utc>>,
}

impl DiscussionPatch {
    /// Checks that something is to change, and checks and trims topic and text.
    pub(crate) fn validate(self) -> Result<Self> {
        if self.topic.is_none() && self.text.is_none() && self.is_resolved.is_none() {
            return Err(ApiError::invalid_field("body", "has none of topic, text, is_resolved"));
        }
        Ok(Self {
            topic: self.topic.map(|topic| text::topic(&topic)).transpose()?,
            text: self.text.map(|text| text::text(&text)).transpose()?,
            ..self
        })
    }

    /// Whether it changes anything of `current`.
    pub(crate) fn changes(&self, current: &Discussion) -> bool {
        (self.topic.is_some() && self.topic != current.topic)
            || (self.text.is_some() && self.text != current.text)
            || self.is_resolved.is_some_and(|is_resolved| is_resolved != current.is_resolved)
    }

    /// Whether only the author may make this change.
    pub(crate) fn needs_author(&self) -> bool {
        self.topic.is_some() || self.text.is_some()
    }
}
