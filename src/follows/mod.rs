//! What members want to hear of: what they say about an article in a community, or about a discussion, and what follows from it.
//!
//! Who says nothing follows the discussions in which they wrote, the articles that they submitted, and all articles of the communities
//! that they administer. The user's other tabs are told what they say (`follow_changed`), and nobody else. Queues that want only what
//! their user follows are the hub's business (`realtime::hub::follows`).

mod handlers;
mod model;
mod store;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// The routes of follows.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(handlers::follow_article))
        .routes(routes!(handlers::follow_discussion))
        .routes(routes!(handlers::list))
}
