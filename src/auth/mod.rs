//! Authentication (who sends a request) and access (what they may do).

pub(crate) mod access;
pub mod jwt;
pub(crate) mod routes;
mod secrets;
pub mod session;
mod state;
pub mod viewer;

pub use state::{AuthState, Shared};
pub use viewer::{MaybeViewer, Viewer};
