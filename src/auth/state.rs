//! What tells who is asking.

use std::{ops::Deref, sync::Arc};

use super::{jwt::Verifier, session::Sessions};
use crate::db::Db;

/// The state of authentication; cheap to clone. A router whose state gives this one can use [`super::Viewer`].
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
    /// Where the directory is read.
    pub db: Db,
}

impl AuthState {
    /// A state to share.
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
