//! Notifications: each is one thing that concerns one user. They are written in the transaction of their cause ([`store`]), and a
//! deleted text takes its notifications with it (migration 0023). The user's own tabs are told (`new_notification`,
//! `notifications_read`, `notifications_withdrawn`), and nobody else.
//!
//! A notification has no text and no name of its own. The list reads both from the text that it is about, and shows nothing of a
//! community that the user is not a member of.

mod handlers;
mod model;
pub(crate) mod store;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// The routes of notifications.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(handlers::list)).routes(routes!(handlers::mark_read))
}
