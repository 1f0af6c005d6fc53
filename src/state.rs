//! What handlers share.

use std::{ops::Deref, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{jwt::Verifier, session::Sessions},
    config::Config,
    db::Db,
    error::{ApiError, Result},
    realtime::{hub::Hub, registry::Registry},
};

/// The state of the application; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// What [`AppState`] points to.
pub struct Shared {
    /// The settings.
    pub config: Config,
    /// Connections to the database.
    pub db: Db,
    /// Checks bearer tokens.
    pub verifier: Verifier,
    /// Browser sessions.
    pub sessions: Sessions,
    /// This node's queues and events.
    pub hub: Arc<Hub>,
    /// What nodes know of each other's queues.
    pub registry: Arc<Registry>,
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

impl Shared {
    /// How long a poll may wait: what it asks for, within the server's limit and the life of its token (which ends at
    /// `expires_at`, in seconds since 1970).
    pub fn poll_limit(&self, asked_seconds: Option<f64>, expires_at: Option<i64>) -> Result<Duration> {
        let most = self.config.poll_timeout_seconds as f64;
        let asked = asked_seconds.unwrap_or(most);
        if !(asked.is_finite() && asked >= 0.0) {
            return Err(ApiError::invalid_parameter("timeout", "is not a number of seconds from 0 on"));
        }
        let left = expires_at.map_or(most, |at| (at - chrono::Utc::now().timestamp()).max(0) as f64);
        Ok(Duration::from_secs_f64(asked.min(most).min(left)))
    }
}
