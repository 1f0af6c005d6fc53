//! What the handlers of delivery share.

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use super::{hub::Hub, registry::Registry};
use crate::{auth::AuthState, db::Db};

/// The state of register, heartbeat, poll and close; cheap to clone.
#[derive(Clone)]
pub struct RealtimeState(Arc<Shared>);

/// What [`RealtimeState`] points to.
pub struct Shared {
    /// For the viewer.
    pub auth: AuthState,
    /// For the viewer's memberships.
    pub db: Db,
    /// This node's queues and events.
    pub hub: Arc<Hub>,
    /// The queues that all nodes share.
    pub registry: Arc<Registry>,
    /// The longest that a poll waits.
    pub poll_timeout: Duration,
    /// Cancelled when this process is to end.
    pub shutdown: CancellationToken,
}

impl RealtimeState {
    /// Shares these.
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for RealtimeState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl FromRef<RealtimeState> for AuthState {
    fn from_ref(state: &RealtimeState) -> Self {
        state.auth.clone()
    }
}
