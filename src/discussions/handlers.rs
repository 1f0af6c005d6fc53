//! The handlers of discussions.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    model::{Discussion, DiscussionPage, DiscussionPatch, NewDiscussion},
    resolver::resolver,
    store,
};
use crate::{
    auth::{MaybeViewer, Viewer, access},
    authors,
    directory::Role,
    error::{ErrorCode, Result},
    events::{Change, NotificationKind},
    extract::{JsonBody, PathId, Query},
    idempotency::{self, Claim, IdempotencyKey},
    ids::{ArticleId, CommunityId, DiscussionId},
    mentions::{self, store::ChangedMentions},
    notifications::{self, store::Cause},
    openapi::{ChangeErrors, ReadErrors, WriteErrors},
    page::PageQuery,
    state::AppState,
    version::{Expected, IfMatch, WithETag},
};

/// Which of an article's discussions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CommunityQuery {
    /// The community whose discussions to list. Leave it out for those of all communities that you may read.
    community_id: Option<CommunityId>,
}

/// List the discussions of an article, newest first
///
/// The answer reflects every event up to `last_event_id`: poll from there.
#[utoipa::path(get, path = "/articles/{id}/discussions", tag = "discussions", operation_id = "listDiscussions",
    params(("id" = i64, Path, description = "The article's id"), CommunityQuery, PageQuery),
    security((), ("bearer" = []), ("session" = [])),
    responses((status = 200, description = "A page of discussions", body = DiscussionPage), ReadErrors))]
pub(super) async fn list(
    State(state): State<AppState>,
    MaybeViewer(viewer): MaybeViewer,
    PathId(article): PathId<ArticleId>,
    Query(query): Query<CommunityQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<DiscussionPage>> {
    let (before, limit) = (page.after()?, page.limit()?);
    Ok(Json(store::page(&state.db, viewer.as_ref(), article, query.community_id, before, limit).await?))
}

/// Begin a discussion
#[utoipa::path(post, path = "/articles/{id}/discussions", tag = "discussions", operation_id = "createDiscussion",
    params(("id" = i64, Path, description = "The article's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of your choice. If you repeat the request with the same key, the discussion is written only once, and the answer is the discussion as it is now")),
    request_body = NewDiscussion, security(("bearer" = []), ("session" = [])),
    responses((status = 201, description = "The new discussion", body = Discussion), WriteErrors))]
pub(super) async fn create(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(article): PathId<ArticleId>,
    key: IdempotencyKey,
    JsonBody(new): JsonBody<NewDiscussion>,
) -> Result<Response> {
    let new = new.validate()?;
    let placement = access::placement_to_write(&state.db, &viewer, article, new.community_id).await?;

    let mut write = state.db.write();
    let route = format!("POST /articles/{article}/discussions");
    let ticket = match idempotency::claim(&mut write, &viewer, key, &route, &new).await? {
        Claim::First(ticket) => ticket,
        Claim::Repeat(written) => {
            let discussion = store::get(&mut write, Some(&viewer), written.into()).await?;
            return Ok(idempotency::repeated(&discussion));
        }
    };
    let user = viewer.user_id;
    let author =
        authors::store::resolve(&mut write, user, new.community_id, article, placement.is_pseudonymous).await?;
    let mentions = mentions::store::resolve(&mut write, new.community_id, article, &new.text).await?;
    let discussion =
        store::insert(&mut write, user, article, &new, author, &mentions).await?.shown_to_author(placement.role);
    write.emit(&Change::NewDiscussion(discussion.state())).await?;
    let cause = Cause {
        community_id: new.community_id,
        article_id: article,
        discussion_id: discussion.id,
        comment_id: None,
        author_id: user,
    };
    notifications::store::notify_of_discussion(&mut write, &cause, &mentions.recipients()).await?;
    ticket.keep(&mut write, discussion.id.get()).await?;
    write.commit().await?;
    Ok(idempotency::created(&discussion))
}

/// Get a discussion
#[utoipa::path(get, path = "/discussions/{id}", tag = "discussions", operation_id = "getDiscussion",
    params(("id" = i64, Path, description = "The discussion's id")),
    security((), ("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The discussion", body = Discussion), ReadErrors))]
pub(super) async fn read(
    State(state): State<AppState>,
    MaybeViewer(viewer): MaybeViewer,
    PathId(id): PathId<DiscussionId>,
) -> Result<WithETag<Discussion>> {
    Ok(WithETag(store::get(&state.db, viewer.as_ref(), id).await?))
}

/// Change a discussion, or resolve it
///
/// A change that changes nothing makes no event. Without `If-Match` and `if_updated_at` the last change wins.
#[utoipa::path(patch, path = "/discussions/{id}", tag = "discussions", operation_id = "updateDiscussion",
    params(("id" = i64, Path, description = "The discussion's id"),
        ("If-Match" = Option<String>, Header, description = "Entity tags that you have got as `ETag`: the change is made only if one of them is still the discussion's")),
    request_body = DiscussionPatch, security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The discussion as it is now", body = Discussion), ChangeErrors<Discussion>))]
pub(super) async fn update(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(id): PathId<DiscussionId>,
    if_match: IfMatch,
    JsonBody(patch): JsonBody<DiscussionPatch>,
) -> Result<WithETag<Discussion>> {
    let patch = patch.validate()?;
    let found = access::discussion_to_write(&state.db, &viewer, id).await?;
    if found.author_id != viewer.user_id {
        if patch.needs_author() {
            return Err(ErrorCode::NotAuthor.into());
        }
        if !found.role.is_some_and(Role::moderates) {
            return Err(ErrorCode::NotAllowed.into());
        }
    }
    let mut write = state.db.write();
    let locked = store::lock(&mut write, viewer.user_id, found.role.is_some(), id).await?;
    let locked = locked.ok_or(ErrorCode::DiscussionDeleted)?;
    Expected { if_match, if_updated_at: patch.if_updated_at }.check(&locked.discussion)?;
    if !patch.changes(&locked.discussion) {
        return Ok(WithETag(locked.discussion));
    }
    let is_resolved = patch.is_resolved.unwrap_or(locked.discussion.is_resolved);
    let resolver = match is_resolved {
        true => resolver(&mut write, &locked, viewer.user_id, found.is_pseudonymous).await?,
        false => None,
    };
    let (community_id, article_id) = (found.community_id, found.article_id);
    let new_text = patch.text.as_deref().filter(|text| Some(*text) != locked.discussion.text.as_deref());
    let mentions = match new_text {
        Some(text) => Some(mentions::store::resolve(&mut write, community_id, article_id, text).await?),
        None => None,
    };
    let (users, pseudonyms) = (locked.mentioned_users.as_deref(), locked.mentioned_pseudonyms.as_deref());
    let changed = mentions.as_ref().map(|now| ChangedMentions::new(users, pseudonyms, now));
    let discussion = store::update(&mut write, locked.discussion, &patch, resolver, mentions).await?;
    write.emit(&Change::UpdatedDiscussion(discussion.state())).await?;
    if let Some(changed) = changed {
        let cause = Cause { community_id, article_id, discussion_id: id, comment_id: None, author_id: viewer.user_id };
        mentions::store::withdraw(&mut write, id, None, &changed).await?;
        notifications::store::notify(&mut write, &cause, NotificationKind::Mention, &changed.added).await?;
    }
    write.commit().await?;
    Ok(WithETag(discussion))
}

/// Delete a discussion
///
/// A tombstone stays. Deleting a tombstone changes nothing and is no error.
#[utoipa::path(delete, path = "/discussions/{id}", tag = "discussions", operation_id = "deleteDiscussion",
    params(("id" = i64, Path, description = "The discussion's id")),
    security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "The discussion is deleted"), WriteErrors))]
pub(super) async fn delete(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(id): PathId<DiscussionId>,
) -> Result<StatusCode> {
    let found = access::discussion_to_delete(&state.db, &viewer, id).await?;
    if found.author_id != viewer.user_id && !found.role.is_some_and(Role::moderates) {
        return Err(ErrorCode::NotAuthor.into());
    }
    let mut write = state.db.write();
    if let Some(timestamp) = store::delete(&mut write, id).await? {
        let (community_id, article_id) = (found.community_id, found.article_id);
        let change = Change::DeletedDiscussion { community_id, article_id, discussion_id: id, timestamp };
        write.emit(&change).await?;
        if found.author_id != viewer.user_id {
            let cause =
                Cause { community_id, article_id, discussion_id: id, comment_id: None, author_id: viewer.user_id };
            notifications::store::notify(&mut write, &cause, NotificationKind::Moderation, &[found.author_id]).await?;
        }
        write.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
