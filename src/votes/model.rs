//! Votes as clients send and receive them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events::VoteValue;

/// A vote.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "value": 1 }))]
pub(super) struct NewVote {
    /// 1 for up, -1 for down, 0 to take the vote back.
    pub value: VoteValue,
}

/// The votes on a discussion or comment.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(example = json!({ "upvotes": 3, "downvotes": 0, "own_vote": 1, "timestamp": "2025-08-09T12:34:56Z" }))]
pub(crate) struct Votes {
    /// The number of votes up.
    pub upvotes: i64,
    /// The number of votes down.
    pub downvotes: i64,
    /// Your own vote.
    pub own_vote: VoteValue,
    /// When your vote was counted. It is the `timestamp` of its event.
    pub timestamp: DateTime<Utc>,
}
