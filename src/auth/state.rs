//! The state of authentication.

use std::{ops::Deref, sync::Arc};

use super::{jwt::Verifier, session::Sessions};
use crate::db::Db;

/// The state of authentication. It is cheap to clone. Handlers can extract [`super::Viewer`] if their router's state contains it.
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
    /// Connections to the database, for reading the directory.
    pub db: Db,
}

impl AuthState {
    /// Makes the state.
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
