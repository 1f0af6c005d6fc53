//! The connections from outside: what they read, what they send, and how they end.

#![allow(missing_docs, reason = "tests are read, not documented")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod connections;
mod differential;
mod heads;
