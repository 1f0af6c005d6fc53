//! What the handlers of this folder share.

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
    /// Who is asking.
    pub auth: AuthState,
    /// Where memberships are read.
    pub db: Db,
    /// This node's queues and events.
    pub hub: Arc<Hub>,
    /// What nodes know of each other's queues.
    pub registry: Arc<Registry>,
    /// The longest that a poll waits.
    pub poll_timeout: Duration,
    /// Cancelled when this process is to end: parked polls are answered.
    pub shutdown: CancellationToken,
}

impl RealtimeState {
    /// A state to share.
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
