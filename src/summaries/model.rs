//! Summaries as clients send and receive them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authors::Author,
    error::Result,
    events::SummaryState,
    ids::{ArticleId, CommunityId},
    text,
    version::Versioned,
};

/// What the admins of a community say of the discussions on an article there.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "community_id": 42, "article_id": 789, "text": "The sample is **small**, and the effect is large.",
    "author": { "id": 9, "username": "ada", "avatar_url": null }, "revision": 3,
    "created_at": "2025-08-09T12:34:56Z", "updated_at": "2025-08-10T07:00:00Z"
}))]
pub(super) struct Summary {
    /// The community.
    pub community_id: CommunityId,
    /// The article.
    pub article_id: ArticleId,
    /// The text in Markdown.
    pub text: String,
    /// Who wrote this text. Null where people write under pseudonyms: only admins write summaries, so a pseudonym would tell whose it is.
    #[schema(required)]
    pub author: Option<Author>,
    /// The number of this text. It grows with every change, deletions included.
    pub revision: i64,
    /// When the first text was written, or the first after a deletion.
    pub created_at: DateTime<Utc>,
    /// When this text was written. It is the version that `if_updated_at` names.
    pub updated_at: DateTime<Utc>,
}

impl Summary {
    /// The summary as its event shows it.
    pub(super) fn state(&self) -> SummaryState {
        SummaryState {
            community_id: self.community_id,
            article_id: self.article_id,
            text: Some(self.text.clone()),
            author: self.author.clone(),
            revision: self.revision,
            created_at: self.created_at,
            updated_at: self.updated_at,
            timestamp: self.updated_at,
            deleted_at: None,
        }
    }
}

impl Versioned for Summary {
    fn version(&self) -> Option<DateTime<Utc>> {
        Some(self.updated_at)
    }
}

/// The text of a summary.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "text": "The sample is **small**, and the effect is large." }))]
pub(super) struct NewSummary {
    /// 1 to 50,000 characters after trimming, at least one of them visible, in Markdown.
    #[schema(min_length = 1, max_length = 50_000)]
    pub text: String,
    /// The `updated_at` that you have read, exactly as it was sent: the text is written only if it is still this one.
    pub if_updated_at: Option<DateTime<Utc>>,
}

impl NewSummary {
    /// Checks the text and trims it.
    pub(super) fn validate(self) -> Result<Self> {
        Ok(Self { text: text::text(&self.text)?, ..self })
    }
}

/// A text of a summary.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SummaryRevision {
    /// Its number.
    pub revision: i64,
    /// The text in Markdown.
    pub text: String,
    /// Who wrote it; null as for the summary.
    #[schema(required)]
    pub author: Option<Author>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
}

/// A page of the texts of a summary, newest first. The first is the summary as it is now. A deletion erases all of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "revisions": [{ "revision": 3, "text": "The sample is **small**, and the effect is large.",
        "author": { "id": 9, "username": "ada", "avatar_url": null }, "created_at": "2025-08-10T07:00:00Z" }],
    "next_cursor": "3"
}))]
pub(super) struct SummaryRevisions {
    /// The texts.
    pub revisions: Vec<SummaryRevision>,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
}
