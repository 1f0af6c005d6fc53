//! Who is asking, and what they may do.

pub mod access;
pub mod jwt;
pub mod routes;
pub mod session;
pub mod viewer;

pub use viewer::{MaybeViewer, Viewer};
