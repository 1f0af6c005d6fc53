//! The handlers of follows.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    model::{Follow, Follows, NewArticleFollow, NewDiscussionFollow},
    store::{self, Target},
};
use crate::{
    auth::{Viewer, access},
    error::{ErrorCode, Result},
    events::{Change, FollowChange, FollowLevel},
    extract::{JsonBody, PathId, Query},
    ids::{ArticleId, CommunityId, DiscussionId},
    openapi::{ReadErrors, WriteErrors},
    page::PageQuery,
    state::AppState,
};

/// Follow or mute an article in a community
///
/// Saying the same again changes nothing.
#[utoipa::path(put, path = "/articles/{id}/follow", tag = "follows", operation_id = "followArticle",
    params(("id" = i64, Path, description = "The article's id")),
    request_body = NewArticleFollow, security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "What holds now", body = Follow), WriteErrors))]
pub(super) async fn follow_article(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(article): PathId<ArticleId>,
    JsonBody(NewArticleFollow { community_id, level }): JsonBody<NewArticleFollow>,
) -> Result<Json<Follow>> {
    access::placement_to_mark(&state.db, &viewer, article, community_id).await?;
    set(&state, &viewer, community_id, Target::Article(community_id, article), level).await
}

/// Follow or mute a discussion
///
/// Saying the same again changes nothing.
#[utoipa::path(put, path = "/discussions/{id}/follow", tag = "follows", operation_id = "followDiscussion",
    params(("id" = i64, Path, description = "The discussion's id")),
    request_body = NewDiscussionFollow, security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "What holds now", body = Follow), WriteErrors))]
pub(super) async fn follow_discussion(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(id): PathId<DiscussionId>,
    JsonBody(NewDiscussionFollow { level }): JsonBody<NewDiscussionFollow>,
) -> Result<Json<Follow>> {
    let found = access::discussion_to_mark(&state.db, &viewer, id).await?;
    set(&state, &viewer, found.community_id, Target::Discussion(id), level).await
}

async fn set(
    state: &AppState,
    viewer: &Viewer,
    community: CommunityId,
    target: Target,
    level: FollowLevel,
) -> Result<Json<Follow>> {
    let mut write = state.db.write();
    // Two tabs take turns, so that each event says what was said before it. A member who leaves meanwhile says nothing.
    if !store::lock_membership(&mut write, viewer.user_id, community).await? {
        return Err(ErrorCode::NotAMember.into());
    }
    let previous_level = store::said(&mut write, viewer.user_id, target).await?;
    store::say(&mut write, viewer.user_id, target, level).await?;
    let (follow, timestamp) = store::get(&mut write, viewer.user_id, target).await?;
    if level != previous_level {
        write
            .emit(&Change::FollowChanged(FollowChange {
                community_id: follow.community_id,
                article_id: follow.article_id,
                discussion_id: follow.discussion_id,
                user_id: viewer.user_id,
                level: follow.level,
                is_default: follow.is_default,
                is_followed: follow.is_followed,
                previous_level,
                timestamp,
            }))
            .await?;
        write.commit().await?;
    }
    Ok(Json(follow))
}

/// Which follows to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowsQuery {
    /// Only those of this community.
    community_id: Option<CommunityId>,
    /// Only those on this article.
    article_id: Option<ArticleId>,
}

/// List what you follow and what you muted
///
/// It has what you said, and what you follow without having said so.
#[utoipa::path(get, path = "/follows", tag = "follows", operation_id = "listFollows",
    params(FollowsQuery, PageQuery), security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "What you follow and what you muted", body = Follows), ReadErrors))]
pub(super) async fn list(
    State(state): State<AppState>,
    viewer: Viewer,
    Query(query): Query<FollowsQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Follows>> {
    let (after, limit) = (page.cursor()?, page.limit()?);
    Ok(Json(store::list(&state.db, &viewer, query.community_id, query.article_id, after, limit).await?))
}
