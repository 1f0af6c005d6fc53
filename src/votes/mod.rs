//! Votes on discussions and comments: up, down or none, one for each user and thing.
//!
//! The sums are live for everyone who may read the thing (`votes_changed`), and one's own vote is live in one's own tabs
//! (`own_vote_changed`). Nothing tells anybody else who has voted. Votes are written in batches ([`batch`]).

pub mod batch;
mod handlers;
mod model;
mod store;

use axum::extract::FromRef;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::batch::VoteWriter;
use crate::auth::AuthState;

/// The routes of votes, in a router whose state has what they need.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S>
where
    AuthState: FromRef<S>,
    VoteWriter: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(handlers::on_discussion)).routes(routes!(handlers::on_comment))
}
