//! The handlers of summaries.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    model::{NewSummary, Summary, SummaryRevisions},
    store,
};
use crate::{
    auth::{
        MaybeViewer, Viewer,
        access::{self, PlacementAccess},
    },
    authors,
    directory::Role,
    error::{ApiError, ErrorCode, Result},
    events::Change,
    extract::{JsonBody, PathId, Query},
    ids::{ArticleId, CommunityId},
    openapi::{ChangeErrors, ReadErrors},
    page::PageQuery,
    state::AppState,
    version::{Expected, IfMatch, IfNoneMatch, WithETag},
};

/// Where a summary is.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SummaryQuery {
    /// The community.
    community_id: CommunityId,
}

/// Get the summary of the discussions on an article in a community
///
/// `summary_not_found` if there is none.
#[utoipa::path(get, path = "/articles/{id}/summary", tag = "summaries", operation_id = "getSummary",
    params(("id" = i64, Path, description = "The article's id"), SummaryQuery),
    security((), ("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The summary", body = Summary), ReadErrors))]
pub(super) async fn read(
    State(state): State<AppState>,
    MaybeViewer(viewer): MaybeViewer,
    PathId(article): PathId<ArticleId>,
    Query(SummaryQuery { community_id }): Query<SummaryQuery>,
) -> Result<WithETag<Summary>> {
    Ok(WithETag(store::get(&state.db, viewer.as_ref(), article, community_id).await?))
}

/// List the texts of a summary, newest first
///
/// `summary_not_found` if there is no summary. A page ends at `limit` texts or near 1 MiB.
#[utoipa::path(get, path = "/articles/{id}/summary/revisions", tag = "summaries", operation_id = "listSummaryRevisions",
    params(("id" = i64, Path, description = "The article's id"), SummaryQuery, PageQuery),
    security((), ("bearer" = []), ("session" = [])),
    responses((status = 200, description = "A page of texts", body = SummaryRevisions), ReadErrors))]
pub(super) async fn revisions(
    State(state): State<AppState>,
    MaybeViewer(viewer): MaybeViewer,
    PathId(article): PathId<ArticleId>,
    Query(SummaryQuery { community_id }): Query<SummaryQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<SummaryRevisions>> {
    let (before, limit) = (page.after()?, page.limit()?);
    Ok(Json(store::revisions(&state.db, viewer.as_ref(), article, community_id, before, limit).await?))
}

/// Write the summary of the discussions on an article in a community
///
/// Admins only. Where people write under pseudonyms the summary has no author. The text before stays as a revision. The same text again
/// changes nothing and makes no event. Without `If-Match`, `If-None-Match` and `if_updated_at` the last change wins. `summary_not_found` if
/// the request names a version and there is no summary any more.
#[utoipa::path(put, path = "/articles/{id}/summary", tag = "summaries", operation_id = "putSummary",
    params(("id" = i64, Path, description = "The article's id"), SummaryQuery,
        ("If-Match" = Option<String>, Header, description = "Entity tags that you have got as `ETag`: the text is written only if one of them is still the summary's"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the text is written only if there is no summary")),
    request_body = NewSummary, security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The summary as it is now", body = Summary), ChangeErrors<Summary>))]
pub(super) async fn write(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(article): PathId<ArticleId>,
    Query(SummaryQuery { community_id }): Query<SummaryQuery>,
    if_match: IfMatch,
    if_none_match: IfNoneMatch,
    JsonBody(new): JsonBody<NewSummary>,
) -> Result<WithETag<Summary>> {
    let new = new.validate()?;
    let placement = placement_of_admin(&state, &viewer, article, community_id).await?;
    let mut write = state.db.write();
    let expected = Expected { if_match, if_updated_at: new.if_updated_at };
    match store::lock_or_begin(&mut write, article, community_id).await? {
        Some(current) if if_none_match == IfNoneMatch::Anything => {
            return Err(ApiError::from(ErrorCode::ChangedMeanwhile).current(&current)?);
        }
        Some(current) => {
            expected.check(&current)?;
            if current.text == new.text {
                return Ok(WithETag(current));
            }
        }
        None if expected.needs_a_version() => return Err(ErrorCode::SummaryNotFound.into()),
        None => {}
    }
    // Where people write under pseudonyms it is not kept who wrote it (migration 0044).
    let author = if placement.is_pseudonymous {
        None
    } else {
        let user = viewer.user_id;
        Some((user, authors::store::resolve(&mut write, user, community_id, article, false).await?.author))
    };
    let summary = store::write(&mut write, article, community_id, author, new.text).await?;
    write.emit(&Change::UpdatedSummary(summary.state())).await?;
    write.commit().await?;
    Ok(WithETag(summary))
}

/// Delete the summary of the discussions on an article in a community
///
/// Admins only. It erases the text and all revisions. Deleting what is not there changes nothing and is no error. Without `If-Match` it is
/// deleted whatever it says.
#[utoipa::path(delete, path = "/articles/{id}/summary", tag = "summaries", operation_id = "deleteSummary",
    params(("id" = i64, Path, description = "The article's id"), SummaryQuery,
        ("If-Match" = Option<String>, Header, description = "Entity tags that you have got as `ETag`: it is deleted only if one of them is still the summary's")),
    security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "There is no summary now"), ChangeErrors<Summary>))]
pub(super) async fn delete(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(article): PathId<ArticleId>,
    Query(SummaryQuery { community_id }): Query<SummaryQuery>,
    if_match: IfMatch,
) -> Result<StatusCode> {
    placement_of_admin(&state, &viewer, article, community_id).await?;
    let mut write = state.db.write();
    if let Some(current) = store::lock(&mut write, article, community_id).await? {
        Expected { if_match, if_updated_at: None }.check(&current)?;
        let deleted = store::erase(&mut write, article, community_id).await?;
        write.emit(&Change::UpdatedSummary(deleted)).await?;
        write.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Checks that `viewer` is an admin of the community that the article is in.
async fn placement_of_admin(
    state: &AppState,
    viewer: &Viewer,
    article: ArticleId,
    community: CommunityId,
) -> Result<PlacementAccess> {
    let placement = access::placement_to_write(&state.db, viewer, article, community).await?;
    match placement.role {
        Some(Role::Admin) => Ok(placement),
        _ => Err(ErrorCode::NotAllowed.into()),
    }
}
