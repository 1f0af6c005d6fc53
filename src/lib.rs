//! Real-time discussions for SciCommons: one axum application that owns the discussions and comments, writes an event beside
//! every change, gives the events one total order, and delivers them by long polling.
//!
//! The way of a change: a handler of [`discussions`] or [`comments`] asks [`auth::access`], writes by its `store` and
//! [`events::outbox`] in one transaction; [`events::relay`] numbers what is committed; [`feed`] brings it, in order, to the
//! [`realtime::hub`], which answers the polls that wait for it.

pub mod app; // wires state, background tasks, shutdown
pub mod auth; // who is asking, and what they may do
mod authors; // who wrote something, as others may know it
mod background; // tasks that are tried again
mod comments; // comments of a discussion
pub mod config; // settings
pub mod db; // the pool and the migrations
#[cfg(feature = "demo")]
pub mod demo; // the demo's sign-in, in demo mode only
pub mod directory; // who people and communities are
mod discussions; // topics on an article inside a community
pub mod error; // the one error of the API
pub mod events; // the one definition of events, their outbox and relay
mod extract; // extractors that refuse with our errors
mod feed; // a node's ordered reader of events
mod health; // liveness, readiness, metrics
mod idempotency; // a repeated POST writes once
pub mod ids; // a type for each kind of id
mod limits; // how often clients may send requests
pub mod metrics; // the names of all metrics
mod openapi; // the document
mod page; // cursors and limits
pub mod realtime; // register, poll, heartbeat; the hub
mod request_id; // the id of a request
pub mod router; // all routes, and what is around them
pub mod serve; // connections
pub mod state; // what handlers share
mod static_files; // the files of STATIC_DIR
pub mod telemetry; // logs and metrics
mod text; // what people may write
