//! Real-time discussions for SciCommons: one axum application that owns the discussions and comments, writes an event beside
//! every change, gives the events one total order, and delivers them by long polling.
//!
//! A change travels like this. A handler of [`discussions`] or [`comments`] checks the access ([`auth::access`]). It writes the
//! rows and the event in one transaction ([`events::outbox`]). The [`events::relay`] numbers committed events. The [`feed`] hands
//! them, in order, to the [`realtime::hub`], which answers the polls that wait for them. docs/architecture.md has the whole
//! picture.

pub mod app; // wires state, background tasks, shutdown
pub mod auth; // authentication and access
mod authors; // authors, as other users may see them
mod background; // runs background tasks, and restarts them after a failure
mod comments; // comments in a discussion
pub mod compression; // which answers are compressed, and how
pub mod config; // settings
pub mod db; // one way to read and one to write; migrations
#[cfg(feature = "demo")]
pub mod demo; // the sign-in of the demo
pub mod directory; // people and communities
mod discussions; // topics on an article in a community
pub mod django; // the move from Django
pub mod error; // the error type of the API
pub mod events; // the definition of events, their outbox, relay and stream
mod extract; // extractors whose refusals are the API's errors
mod feed; // a node's ordered reader of events
mod follows; // what members want to hear of
mod health; // liveness, readiness, metrics
mod idempotency; // the header Idempotency-Key
pub mod ids; // a type for each kind of id
mod limits; // how often clients may send requests
mod login; // log-in by password, without Django
mod mentions; // whom texts mention, and the handles of a community
pub mod metrics; // the names of all metrics
mod notifications; // what concerns one user
mod openapi; // the OpenAPI document
mod page; // the pages of lists
mod reads; // what members have read
pub mod realtime; // register, poll, heartbeat; the hub
mod request_id; // the id of a request
pub mod router; // all routes, and the layers around them
pub mod serve; // connections and shutdown
pub mod state; // what handlers share
mod static_files; // the files of STATIC_DIR
mod summaries; // what admins say of an article's discussions
pub mod telemetry; // logs and metrics
mod text; // validation of topics and texts
mod version; // versions of discussions, comments and summaries, and conditions on them
pub mod votes; // votes on discussions and comments
