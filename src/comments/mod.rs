//! Comments in a discussion. Replies nest three levels deep.

mod handlers;
pub(crate) mod model;
pub(crate) mod store;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// The routes of comments.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(handlers::list, handlers::create)).routes(routes!(
        handlers::read,
        handlers::update,
        handlers::delete
    ))
}
