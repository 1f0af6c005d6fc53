//! What handlers share.

use std::{ops::Deref, sync::Arc};

use axum::extract::FromRef;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{auth::AuthState, config::Config, db::Db, realtime::RealtimeState};

/// The state of the application; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// What [`AppState`] points to.
pub struct Shared {
    /// The settings.
    pub config: Config,
    /// Connections to the database.
    pub db: Db,
    /// Who is asking.
    pub auth: AuthState,
    /// Delivery of events.
    pub realtime: RealtimeState,
    /// Requests that write, which go on even if their client has gone.
    pub writes: TaskTracker,
    /// Cancelled when this process is to end: parked polls are answered.
    pub shutdown: CancellationToken,
}

impl AppState {
    /// A state to share.
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What [`crate::auth::Viewer`] needs.
impl FromRef<AppState> for AuthState {
    fn from_ref(state: &AppState) -> Self {
        state.auth.clone()
    }
}
