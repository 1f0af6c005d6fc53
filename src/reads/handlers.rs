//! The handlers of read states.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    model::{ArticleMarks, NewMarks, Unread, UnreadFrom},
    store,
};
use crate::{
    auth::{Viewer, access},
    db::Write,
    error::{ErrorCode, Result},
    events::Change,
    extract::{JsonBody, PathId, Query},
    ids::{ArticleId, CommunityId, DiscussionId, UserId},
    notifications::store::{ReadTexts, mark_read_texts},
    openapi::{ReadErrors, WriteErrors},
    page::PageQuery,
    state::AppState,
};

/// Mark as read
///
/// Marks add up, in whatever order they come. A mark that is there already makes no event. What you were notified of and have read now
/// is marked as read among your notifications too.
#[utoipa::path(post, path = "/discussions/{id}/read", tag = "reads", operation_id = "markRead",
    params(("id" = i64, Path, description = "The discussion's id")),
    request_body = NewMarks, security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "It is read"), WriteErrors))]
pub(super) async fn mark_read(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(id): PathId<DiscussionId>,
    JsonBody(marks): JsonBody<NewMarks>,
) -> Result<StatusCode> {
    let marks = marks.validate()?;
    access::require_membership(access::discussion_to_mark(&state.db, &viewer, id).await?.role)?;
    let mut write = state.db.write();
    let changed = store::mark_read(&mut write, viewer.user_id, id, &marks).await?;
    let NewMarks { discussion: own, ref comment_ids, up_to_comment_id: up_to } = marks;
    let texts = ReadTexts::Of { discussion: id, own, comments: comment_ids, up_to };
    let notified = mark_read_texts(&mut write, viewer.user_id, &texts).await?;
    finish(write, viewer.user_id, changed, notified).await
}

/// Mark as unread
#[utoipa::path(post, path = "/discussions/{id}/unread", tag = "reads", operation_id = "markUnread",
    params(("id" = i64, Path, description = "The discussion's id")),
    request_body = UnreadFrom, security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "It is unread"), WriteErrors))]
pub(super) async fn mark_unread(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(id): PathId<DiscussionId>,
    JsonBody(UnreadFrom { from_comment_id }): JsonBody<UnreadFrom>,
) -> Result<StatusCode> {
    access::require_membership(access::discussion_to_mark(&state.db, &viewer, id).await?.role)?;
    let mut write = state.db.write();
    let changed = store::mark_unread(&mut write, viewer.user_id, id, from_comment_id).await?;
    finish(write, viewer.user_id, changed, Vec::new()).await
}

/// Mark everything on an article as read
#[utoipa::path(post, path = "/articles/{id}/read", tag = "reads", operation_id = "markArticleRead",
    params(("id" = i64, Path, description = "The article's id")),
    request_body = ArticleMarks, security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "It is read"), WriteErrors))]
pub(super) async fn mark_article_read(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(article): PathId<ArticleId>,
    JsonBody(ArticleMarks { community_id }): JsonBody<ArticleMarks>,
) -> Result<StatusCode> {
    access::require_membership(access::placement_to_mark(&state.db, &viewer, article, community_id).await?.role)?;
    let mut write = state.db.write();
    let changed = store::mark_article_read(&mut write, viewer.user_id, article, community_id).await?;
    let texts = ReadTexts::On(community_id, article);
    let notified = mark_read_texts(&mut write, viewer.user_id, &texts).await?;
    finish(write, viewer.user_id, changed, notified).await
}

/// Tells the member's tabs what is unread now in the discussions whose marks have changed, and what they were `notified` of and have read
/// with it. If they are no member any more, nothing is changed.
async fn finish(
    mut write: Write,
    member: UserId,
    changed: Vec<DiscussionId>,
    notified: Vec<Change>,
) -> Result<StatusCode> {
    if !changed.is_empty() || !notified.is_empty() {
        let changes = store::refresh(&mut write, member, &changed).await?;
        if changes.len() < changed.len() {
            return Err(ErrorCode::NotAMember.into());
        }
        write.emit_all(&[changes, notified].concat()).await?;
        write.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Which of the unread discussions to list, and to count.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UnreadQuery {
    /// Only those of this community.
    community_id: Option<CommunityId>,
    /// Only those on this article.
    article_id: Option<ArticleId>,
    /// True for only those that you follow.
    #[serde(default)]
    followed: bool,
}

/// List the discussions with something unread, newest first, with sums by community and article
#[utoipa::path(get, path = "/unread", tag = "reads", operation_id = "listUnread",
    params(UnreadQuery, PageQuery), security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "What is unread", body = Unread), ReadErrors))]
pub(super) async fn list(
    State(state): State<AppState>,
    viewer: Viewer,
    Query(query): Query<UnreadQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Unread>> {
    let (before, limit) = (page.after()?, page.limit()?);
    let UnreadQuery { community_id, article_id, followed } = query;
    Ok(Json(store::unread(&state.db, &viewer, community_id, article_id, followed, before, limit).await?))
}
