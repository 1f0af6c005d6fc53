//! What members have read: marks by themselves, and what is unread for them.
//!
//! A member has one row for each discussion that they looked at, with the ids of the comments that they have read as ranges.
//! Discussions and comments say what is unread where they are read. A mark is told to the member's other tabs
//! (`read_state_changed`), and to nobody else.

mod handlers;
mod model;
mod store;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// The routes of read states.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(handlers::mark_read))
        .routes(routes!(handlers::mark_unread))
        .routes(routes!(handlers::mark_article_read))
        .routes(routes!(handlers::list))
}
