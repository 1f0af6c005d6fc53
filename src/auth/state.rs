//! What authentication needs, for the handlers of this folder and for [`super::Viewer`].

use std::{ops::Deref, sync::Arc};

use super::{jwt::Verifier, session::Sessions};
use crate::db::Db;

/// The state of authentication; cheap to clone. [`super::Viewer`] can be extracted with every state that gives this one.
#[derive(Clone)]
pub struct AuthState(Arc<Shared>);

/// What [`AuthState`] points to.
pub struct Shared {
    /// Checks bearer tokens.
    pub verifier: Verifier,
    /// Browser sessions.
    pub sessions: Sessions,
    /// The origins whose pages may write with a session.
    pub allowed_origins: Vec<String>,
    /// For the directory.
    pub db: Db,
}

impl AuthState {
    /// Shares these.
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for AuthState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
