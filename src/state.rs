//! What handlers share.

use std::{ops::Deref, sync::Arc};

use axum::extract::FromRef;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{auth::AuthState, config::Config, db::Db, realtime::RealtimeState, votes::batch::VoteWriter};

/// The state of the application. It is cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// What [`AppState`] points to.
pub struct Shared {
    /// The settings, as they were at the start.
    pub config: Config,
    /// The requests' connections to the database. Background tasks have their own.
    pub db: Db,
    /// What finds out who is asking.
    pub auth: AuthState,
    /// What delivers events.
    pub realtime: RealtimeState,
    /// Where votes are written.
    pub votes: VoteWriter,
    /// Requests that may write. They run to their end even if the client hangs up (I9).
    pub writes: TaskTracker,
    /// Cancelled when this process must end. Then parked polls are answered.
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

/// What the handlers of votes need.
impl FromRef<AppState> for VoteWriter {
    fn from_ref(state: &AppState) -> Self {
        state.votes.clone()
    }
}
