//! The integration tests. They are one binary, so that everything is linked only once.

#![allow(missing_docs, reason = "tests are read, not documented")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod alerts;
mod app;
mod arrows;
mod authentication;
mod database;
mod delivery;
mod differential;
mod directory;
mod edits;
mod ending;
mod fast_path;
mod former_members;
mod forwarder;
mod health;
mod hidden_reads;
mod history;
mod hub;
mod idempotency;
mod idle;
mod invariants;
mod law_of_events;
mod limits;
mod load;
mod load_of_many;
mod logs;
mod lost_redis;
mod nodes;
mod openapi;
mod pages;
mod permissions;
mod pgbouncer;
mod plans;
mod poll_heads;
mod poll_rules;
mod postgres;
mod readme;
mod redaction;
mod redis;
mod refusals;
mod renames;
mod rest;
mod restart;
mod rows;
mod schema;
mod sessions;
mod signals;
mod slow_readers;
mod stream_bounds;
mod tokens;
mod writes;
