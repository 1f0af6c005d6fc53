//! What register, heartbeat and poll take and give.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    events::Event,
    ids::{CommunityId, EventId},
};

/// A registration for events.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "queue_id": "8f14e45f-ceea-467f-a0e6-0c2c5a1b7d3e", "last_event_id": 12345, "communities": [42],
    "heartbeat_interval_seconds": 60, "poll_timeout_seconds": 55
}))]
pub struct Registration {
    /// The queue, known to its user only.
    pub queue_id: Uuid,
    /// Where the order is: poll from here, or from an older place that you have seen everything up to.
    pub last_event_id: EventId,
    /// The communities whose events the queue gets.
    pub communities: Vec<CommunityId>,
    /// Send a heartbeat this often while the person is active.
    pub heartbeat_interval_seconds: u64,
    /// A poll is answered after this long at the latest.
    pub poll_timeout_seconds: u64,
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
        "comment_id": 456, "parent_id": null, "depth": 1, "text": "Nice article!",
        "author": { "id": 9, "username": "ada", "avatar_url": null }, "comment_count": 4,
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
