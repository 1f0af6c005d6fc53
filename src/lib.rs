//! Real-time discussions for SciCommons: one axum application that owns the discussions and comments, writes an event beside
//! every change, gives the events one total order, and delivers them by long polling.
//!
//! The way of a change: a handler of [`discussions`] or [`comments`] asks [`auth::access`], writes by its `store` and
//! [`events::outbox`] in one transaction; [`events::relay`] numbers what is committed; [`feed`] brings it, in order, to the
//! [`realtime::hub`], which answers the polls that wait for it.

pub mod app; // wires state, background tasks, shutdown
pub mod auth; // authentication and access
mod authors; // authors, as other users may see them
mod background; // tasks that are tried again
mod comments; // comments in a discussion
pub mod config; // settings
pub mod db; // the pool and the migrations
#[cfg(feature = "demo")]
pub mod demo; // the sign-in of the demo
pub mod directory; // people and communities
mod discussions; // topics on an article in a community
pub mod error; // the one error of the API
pub mod events; // the one definition of events, their outbox and relay
mod extract; // extractors whose refusals are the API's errors
mod feed; // a node's ordered reader of events
mod health; // liveness, readiness, metrics
mod idempotency; // the header Idempotency-Key
pub mod ids; // a type for each kind of id
mod limits; // how often clients may send requests
pub mod metrics; // the names of all metrics
mod openapi; // the document
mod page; // the pages of lists
pub mod realtime; // register, poll, heartbeat; the hub
mod request_id; // the id of a request
pub mod router; // all routes, and what is around them
pub mod serve; // connections
pub mod state; // what handlers share
mod static_files; // the files of STATIC_DIR
pub mod telemetry; // logs and metrics
mod text; // validation of topics and texts
