//! The integration tests, as one binary: what is shared is linked once.

#![allow(missing_docs, reason = "tests are read, not documented")]

mod app;
mod delivery;
mod nodes;
mod redis;
