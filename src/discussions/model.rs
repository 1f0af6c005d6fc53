//! Discussions as clients see them and send them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authors::Author,
    directory::Role,
    error::{ApiError, ErrorCode, Result},
    events::DiscussionState,
    ids::{ArticleId, CommunityId, DiscussionId, EventId, UserId},
    text,
};

/// A topic on an article inside a community. A deleted one stays as a tombstone without topic, text and author.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": 77, "community_id": 42, "article_id": 789, "topic": "Sample size", "text": "Is **n = 12** enough?",
    "author": { "id": 9, "username": "ada", "avatar_url": null }, "is_resolved": false, "comment_count": 3,
    "created_at": "2025-08-09T12:34:56Z", "updated_at": "2025-08-09T12:34:56Z", "deleted_at": null
}))]
pub struct Discussion {
    /// Its id.
    pub id: DiscussionId,
    /// The community it is in.
    pub community_id: CommunityId,
    /// The article it is about.
    pub article_id: ArticleId,
    /// Its topic; null in a tombstone.
    #[schema(required)]
    pub topic: Option<String>,
    /// Its text in Markdown; null in a tombstone.
    #[schema(required)]
    pub text: Option<String>,
    /// Who wrote it; null in a tombstone.
    #[schema(required)]
    pub author: Option<Author>,
    /// Whether its question is settled.
    pub is_resolved: bool,
    /// How many comments live in it.
    pub comment_count: i64,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When topic, text or `is_resolved` last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was deleted, if it was.
    #[schema(required)]
    pub deleted_at: Option<DateTime<Utc>>,
}

impl Discussion {
    /// A discussion that is written now.
    pub fn new(
        id: DiscussionId,
        article_id: ArticleId,
        new: &NewDiscussion,
        author: Author,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            community_id: new.community_id,
            article_id,
            topic: Some(new.topic.clone()),
            text: Some(new.text.clone()),
            author: Some(author),
            is_resolved: false,
            comment_count: 0,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        }
    }

    /// The discussion as its events show it. `discussion_deleted` if it is a tombstone, of which no event shows anything.
    pub fn state(&self) -> Result<DiscussionState> {
        let (Some(topic), Some(text), Some(author)) = (&self.topic, &self.text, &self.author) else {
            return Err(ErrorCode::DiscussionDeleted.into());
        };
        Ok(DiscussionState {
            community_id: self.community_id,
            article_id: self.article_id,
            discussion_id: self.id,
            topic: topic.clone(),
            text: text.clone(),
            author: author.clone(),
            is_resolved: self.is_resolved,
            comment_count: self.comment_count,
            timestamp: self.updated_at,
        })
    }
}

/// Who is looking, and as whom.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ViewerInfo {
    /// The user.
    pub user_id: UserId,
    /// The user's memberships among the communities of this answer.
    pub memberships: Vec<ViewerMembership>,
}

/// A membership of the viewer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ViewerMembership {
    /// The community.
    pub community_id: CommunityId,
    /// The viewer's role.
    pub role: Role,
    /// The viewer's own pseudonym on this article, where there is one: what carries it is the viewer's.
    #[schema(required)]
    pub pseudonym: Option<String>,
}

/// A page of discussions, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "discussions": [{
        "id": 77, "community_id": 42, "article_id": 789, "topic": "Sample size", "text": "Is **n = 12** enough?",
        "author": { "id": 9, "username": "ada", "avatar_url": null }, "is_resolved": false, "comment_count": 3,
        "created_at": "2025-08-09T12:34:56Z", "updated_at": "2025-08-09T12:34:56Z", "deleted_at": null
    }],
    "last_event_id": 12345, "next_cursor": "77",
    "viewer": { "user_id": 9, "memberships": [{ "community_id": 42, "role": "member", "pseudonym": null }] }
}))]
pub struct DiscussionPage {
    /// The discussions.
    pub discussions: Vec<Discussion>,
    /// Everything up to this event is in the page: poll from here.
    pub last_event_id: EventId,
    /// For the next page; null on the last.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// Who is looking; null without a token.
    #[schema(required)]
    pub viewer: Option<ViewerInfo>,
}

/// A discussion to begin.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "community_id": 42, "topic": "Sample size", "text": "Is **n = 12** enough?" }))]
pub struct NewDiscussion {
    /// The community to begin it in.
    pub community_id: CommunityId,
    /// 1 to 200 characters after trimming, at least one of them visible; one line.
    #[schema(min_length = 1, max_length = 200)]
    pub topic: String,
    /// 1 to 50,000 characters after trimming, at least one of them visible, in Markdown.
    #[schema(min_length = 1, max_length = 50_000)]
    pub text: String,
}

impl NewDiscussion {
    /// With topic and text as they are stored, or what is wrong with them.
    pub fn checked(self) -> Result<Self> {
        Ok(Self { community_id: self.community_id, topic: text::topic(&self.topic)?, text: text::text(&self.text)? })
    }
}

/// What to change of a discussion; at least one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "is_resolved": true }))]
pub struct DiscussionPatch {
    /// 1 to 200 characters after trimming, at least one of them visible; one line. Takes authorship.
    #[schema(min_length = 1, max_length = 200)]
    pub topic: Option<String>,
    /// 1 to 50,000 characters after trimming, at least one of them visible, in Markdown. Takes authorship.
    #[schema(min_length = 1, max_length = 50_000)]
    pub text: Option<String>,
    /// Takes authorship or the role of an admin.
    pub is_resolved: Option<bool>,
}

impl DiscussionPatch {
    /// With topic and text as they are stored, or what is wrong.
    pub fn checked(self) -> Result<Self> {
        if self.topic.is_none() && self.text.is_none() && self.is_resolved.is_none() {
            return Err(ApiError::invalid_field("body", "has none of topic, text, is_resolved"));
        }
        Ok(Self {
            topic: self.topic.map(|topic| text::topic(&topic)).transpose()?,
            text: self.text.map(|text| text::text(&text)).transpose()?,
            is_resolved: self.is_resolved,
        })
    }

    /// Whether it changes what only the author may change.
    pub fn takes_authorship(&self) -> bool {
        self.topic.is_some() || self.text.is_some()
    }
}
