//! The handler of mentions.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    model::{self, Mentionables},
    store,
};
use crate::{
    auth::{Viewer, access},
    error::Result,
    extract::{PathId, Query},
    ids::{ArticleId, CommunityId},
    openapi::ReadErrors,
    state::AppState,
};

/// Whom to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MembersQuery {
    /// The beginning of the handle, without `@`. Upper and lower case are the same.
    #[serde(default)]
    #[param(max_length = 150)]
    prefix: String,
    /// The article that the text is about. Leave it out for the members of the community.
    article_id: Option<ArticleId>,
}

/// List whom a text may mention
///
/// It is for completion. On an article where people write under pseudonyms, these are the pseudonyms in use there, and no members.
#[utoipa::path(get, path = "/communities/{id}/members", tag = "mentions", operation_id = "listMentionable",
    params(("id" = i64, Path, description = "The community's id"), MembersQuery),
    security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "Up to 20 people", body = Mentionables), ReadErrors))]
pub(super) async fn members(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(community): PathId<CommunityId>,
    Query(MembersQuery { prefix, article_id }): Query<MembersQuery>,
) -> Result<Json<Mentionables>> {
    let prefix = model::prefix(prefix)?;
    let is_pseudonymous = match article_id {
        Some(article) => {
            let placement = access::placement_to_mark(&state.db, &viewer, article, community).await?;
            access::require_membership(placement.role)?;
            placement.is_pseudonymous
        }
        None => {
            access::community_of_member(&state.db, &viewer, community).await?;
            false
        }
    };
    let members = match article_id.filter(|_| is_pseudonymous) {
        Some(article) => store::pseudonyms(&state.db, community, article, &prefix).await?,
        None => store::members(&state.db, community, &prefix).await?,
    };
    Ok(Json(Mentionables { members }))
}
