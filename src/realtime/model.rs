//! The requests and answers of register, heartbeat and poll.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    error::{ApiError, ErrorCode, Result},
    events::Event,
    ids::{CommunityId, EventId, QueueId},
};

/// A registration for events.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "queue_id": "8f14e45f-ceea-467f-a0e6-0c2c5a1b7d3e", "last_event_id": 12345, "communities": [42],
    "heartbeat_interval_seconds": 60, "poll_timeout_seconds": 55
}))]
pub struct Registration {
    /// The queue, known to its user only.
    #[schema(value_type = Uuid)]
    pub queue_id: QueueId,
    /// Where the order is: poll from here, or from an older place that you have seen everything up to.
    pub last_event_id: EventId,
    /// The communities whose events the queue gets: those of the user, and those that it watches.
    pub communities: Vec<CommunityId>,
    /// Send a heartbeat this often while the person is active.
    pub heartbeat_interval_seconds: u64,
    /// A poll is answered after this long at the latest.
    pub poll_timeout_seconds: u64,
}

/// What a queue is to watch. It replaces what the queue has watched before.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "community_ids": [42] }))]
pub struct NewWatch {
    /// Public and open communities whose events the queue gets without a membership, 100 at most. Others are left out.
    #[schema(max_items = 100)]
    pub community_ids: Vec<CommunityId>,
}

/// What a queue gets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "communities": [42], "last_event_id": 12345 }))]
pub struct QueueCommunities {
    /// From this place on the queue gets the events of what it watches now. Read a list again that is older.
    pub last_event_id: EventId,
    /// The communities whose events the queue gets: those of the user, and those that it watches.
    pub communities: Vec<CommunityId>,
}

/// A sign of life.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "queue_id": "8f14e45f-ceea-467f-a0e6-0c2c5a1b7d3e" }))]
pub struct Heartbeat {
    /// The queue to keep.
    #[schema(format = Uuid)]
    pub queue_id: String,
}

/// From where to poll, and for how long.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PollQuery {
    /// The queue.
    #[param(value_type = Uuid)]
    pub queue_id: String,
    /// The `last_event_id` of the answer before, of `/register`, or of a GET.
    #[param(minimum = 0)]
    pub last_event_id: EventId,
    /// Answer after so many seconds at the latest; 0 is at once. The server's own limit is never exceeded.
    #[param(minimum = 0)]
    pub timeout: Option<f64>,
}

/// A valid [`PollQuery`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PollRequest {
    /// The queue.
    pub queue: QueueId,
    /// The events after this one are asked for.
    pub cursor: EventId,
    /// How many seconds to wait at most.
    pub timeout: Option<f64>,
}

/// Parses the id of a queue. An id that does not parse cannot belong to a queue, so the error is `queue_not_found`.
pub fn queue_id(text: &str) -> Result<QueueId> {
    text.parse().map_err(|_| ErrorCode::QueueNotFound.into())
}

impl TryFrom<PollQuery> for PollRequest {
    type Error = ApiError;

    fn try_from(query: PollQuery) -> Result<Self> {
        let queue = queue_id(&query.queue_id)?;
        if query.last_event_id < EventId::START {
            return Err(ApiError::invalid_parameter("last_event_id", "is negative"));
        }
        Ok(Self { queue, cursor: query.last_event_id, timeout: query.timeout })
    }
}

impl PollRequest {
    /// Parses a query as nearly all clients write it, without copying: known names, each once, plain digits, nothing escaped.
    /// None for every other query, valid or not. [`PollQuery`] then decides.
    pub fn plain(query: &str) -> Option<Self> {
        let (mut queue, mut cursor, mut timeout) = (None, None, None);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=')?;
            let is_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let is_repeated = match name {
                // Only the usual form of a uuid has this length.
                "queue_id" if value.len() == 36 => {
                    queue.replace(Uuid::try_parse_ascii(value.as_bytes()).ok()?.into()).is_some()
                }
                "last_event_id" if is_digits => cursor.replace(value.parse().ok()?).is_some(),
                "timeout" if value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
                    timeout.replace(value.parse().ok()?).is_some()
                }
                _ => return None,
            };
            if is_repeated {
                return None;
            }
        }
        Some(Self { queue: queue?, cursor: cursor?, timeout })
    }
}

/// What a poll is answered with.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PollAnswer {
    /// What happened.
    Events(PollEvents),
    /// The cursor is too old.
    Catchup(PollCatchup),
}

/// All events after the cursor that the queue may see, up to `last_event_id`; 500 at the most.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "events": [{
        "event_id": 12346, "type": "new_comment", "community_id": 42, "article_id": 789, "discussion_id": 77,
        "comment_id": 456, "parent_id": null, "depth": 1, "text": "Nice article!", "edited_at": null,
        "author": { "id": 9, "username": "ada", "avatar_url": null }, "mentions": [], "comment_count": 4, "upvotes": 0, "downvotes": 0,
        "timestamp": "2025-08-09T12:34:56Z"
    }],
    "last_event_id": 12346
}))]
pub struct PollEvents {
    /// In order; none when nothing happened.
    pub events: Vec<Event>,
    /// Poll on from here.
    pub last_event_id: EventId,
}

/// Events after the cursor may be gone: get the lists anew and poll from their `last_event_id`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "catchup_required": true }))]
pub struct PollCatchup {
    /// Always true.
    #[schema(value_type = bool)]
    pub catchup_required: bool,
}
