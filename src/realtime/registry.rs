//! Where the registrations of queues are kept.
//!
//! Alone, a node's hub is all there is: a queue that it does not know does not exist.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    auth::Scope,
    error::Result,
    ids::{QueueId, UserId},
};

/// What another node needs to serve a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Whose it is.
    pub user_id: UserId,
    /// What the token that registered it was narrowed to.
    pub scope: Scope,
}

/// The registrations that all nodes share, if they share any.
pub struct Registry;

impl Registry {
    /// Makes a queue known to all nodes.
    pub async fn save(&self, _queue: QueueId, _registered: &Registered) -> Result<()> {
        Ok(())
    }

    /// The queue's registration and how long it has left.
    pub async fn find(&self, _queue: QueueId) -> Result<Option<(Registered, Duration)>> {
        Ok(None)
    }

    /// Restarts the queue's life for all nodes.
    pub async fn touch(&self, _queue: QueueId, _registered: &Registered) -> Result<()> {
        Ok(())
    }

    /// Makes the queue unknown.
    pub async fn remove(&self, _queue: QueueId) {}

    /// How long each queue has left: None where it is gone.
    pub async fn left(&self, queues: &[QueueId]) -> Vec<Option<Duration>> {
        vec![None; queues.len()]
    }
}
