//! Starts programs as child processes and waits for them: for the crates that measure the server from outside.

pub mod process;
pub mod server;
