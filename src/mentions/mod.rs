//! Mentions: whom a text names by `@handle`, and the handles of a community for those who write.
//!
//! A handle is the name of a member, or a pseudonym of the article with `-` for its spaces. A pseudonym is mentioned as the pseudonym. A
//! name means the member of that name, whether or not they have a pseudonym there, and nothing tells which. Both are stored with the
//! text as ids, and shown by their names of now.

mod handlers;
mod model;
mod parser;
pub(crate) mod store;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// The routes of mentions.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(handlers::members))
}
