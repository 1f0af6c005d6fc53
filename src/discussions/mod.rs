//! Discussions: topics on an article in a community.

mod handlers;
pub(crate) mod model;
mod resolver;
pub(crate) mod store;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// The routes of discussions.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(handlers::list, handlers::create)).routes(routes!(
        handlers::read,
        handlers::update,
        handlers::delete
    ))
}
