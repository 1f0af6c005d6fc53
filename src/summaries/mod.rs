//! Summaries: what the admins of a community say of the discussions on an article there, in one text.
//!
//! Whoever may read the discussions may read the summary and its revisions. Every change is live for them (`updated_summary`). A
//! deletion erases all texts, and the row stays, so that the numbers of revisions go on.

mod handlers;
mod model;
mod store;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// The routes of summaries.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(handlers::read, handlers::write, handlers::delete))
        .routes(routes!(handlers::revisions))
}
