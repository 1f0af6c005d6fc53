//! Follows as clients send and receive them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    events::FollowLevel,
    ids::{ArticleId, CommunityId, DiscussionId, EventId},
    page::PositiveId,
};

/// Whether to hear of an article.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "community_id": 42, "level": "follow" }))]
pub(super) struct NewArticleFollow {
    /// The community in which the article is discussed.
    pub community_id: CommunityId,
    /// `default` takes back what was said before.
    pub level: FollowLevel,
}

/// Whether to hear of a discussion.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "level": "mute" }))]
pub(super) struct NewDiscussionFollow {
    /// `default` takes back what was said before.
    pub level: FollowLevel,
}

/// Whether you want to hear of an article in a community, or of a discussion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "community_id": 42, "article_id": 789, "discussion_id": 77, "level": "follow", "is_default": true, "is_followed": true
}))]
pub(super) struct Follow {
    /// The community.
    pub community_id: CommunityId,
    /// The article.
    pub article_id: ArticleId,
    /// The discussion; null if it is about the article.
    #[schema(required)]
    pub discussion_id: Option<DiscussionId>,
    /// What you said. If you said nothing, it is `follow` where you wrote in the discussion and did not mute its article, or where you
    /// submitted the article or administer the community, and `default` otherwise.
    pub level: FollowLevel,
    /// Whether you said nothing.
    pub is_default: bool,
    /// Whether you follow it. What you said about a discussion counts before what you said about its article, and both before what
    /// follows from what you did.
    pub is_followed: bool,
}

/// A page of what you follow and what you muted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "follows": [{ "community_id": 42, "article_id": 789, "discussion_id": null, "level": "follow", "is_default": false, "is_followed": true }],
    "last_event_id": 12345, "next_cursor": null
}))]
pub(super) struct Follows {
    /// By community, article and discussion, in ascending order. An article comes before its discussions.
    pub follows: Vec<Follow>,
    /// Everything up to this event is reflected in the page.
    pub last_event_id: EventId,
    /// The cursor of the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// The last item of a page. The discussion is 0 for an article.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FollowCursor {
    pub community: i64,
    pub article: i64,
    pub discussion: i64,
}

impl From<&Follow> for FollowCursor {
    fn from(follow: &Follow) -> Self {
        Self {
            community: follow.community_id.get(),
            article: follow.article_id.get(),
            discussion: follow.discussion_id.map_or(0, DiscussionId::get),
        }
    }
}

impl fmt::Display for FollowCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.community, self.article, self.discussion)
    }
}

impl FromStr for FollowCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let mut id = || parts.next().ok_or(())?.parse().map(|PositiveId(id)| id);
        let (community, article) = (id()?, id()?);
        let discussion = parts.next().ok_or(())?;
        let discussion = if discussion == "0" { 0 } else { discussion.parse::<PositiveId>()?.0 };
        Ok(Self { community, article, discussion })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_was_written() {
        for text in ["42.789.0", "42.789.77"] {
            assert_eq!(text.parse::<FollowCursor>().unwrap().to_string(), text);
        }
        for text in ["", "42", "42.789", "0.1.1", "42.789.-1", "42.789.77.1", "a.b.c"] {
            assert_eq!(text.parse::<FollowCursor>(), Err(()), "{text}");
        }
    }
}
