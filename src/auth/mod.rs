//! Who is asking, and what they may do.

pub mod access;
pub mod jwt;
pub mod routes;
mod secrets;
pub mod session;
mod state;
pub mod viewer;

pub use state::{AuthState, Shared};
pub use viewer::{MaybeViewer, Viewer};
