//! What the routes of comments do.

use axum::{Json as Answer, extract::State, http::StatusCode, response::Response};

use super::{
    model::{Comment, CommentPage, CommentPatch, NewComment},
    store::{self, Written},
};
use crate::{
    auth::{
        MaybeViewer, Viewer,
        access::{self, DiscussionAccess},
    },
    authors,
    error::{ErrorCode, Result},
    events::{Change, outbox},
    extract::{self, Json, PathId, Query, TEXT_CHARACTERS},
    idempotency::{self, Claim, IdempotencyKey},
    openapi::{ReadErrors, WriteErrors},
    page::PageQuery,
    state::AppState,
};

/// The comments of a discussion as trees, oldest first
///
/// A page has so many comments of the first level, each with all replies. Everything up to `last_event_id` is in the
/// answer: poll from there.
#[utoipa::path(get, path = "/discussions/{id}/comments", tag = "comments", operation_id = "listComments",
    params(("id" = i64, Path, description = "The discussion"), PageQuery),
    security((), ("bearer" = []), ("session" = [])),
    responses((status = 200, description = "A page of the list", body = CommentPage), ReadErrors))]
pub async fn list(
    State(state): State<AppState>,
    MaybeViewer(viewer): MaybeViewer,
    PathId(discussion): PathId,
    Query(page): Query<PageQuery>,
) -> Result<Answer<CommentPage>> {
    let (after, limit) = (page.after()?, page.limit()?);
    store::page(&state.pool, viewer.as_ref(), discussion, after, limit).await.map(Answer)
}

/// Write a comment
#[utoipa::path(post, path = "/discussions/{id}/comments", tag = "comments", operation_id = "createComment",
    params(("id" = i64, Path, description = "The discussion"),
        ("Idempotency-Key" = Option<String>, Header, description = "Repeat the request with the same key, and it is carried out once")),
    request_body = NewComment, security(("bearer" = []), ("session" = [])),
    responses((status = 201, description = "The new comment", body = Comment), WriteErrors))]
pub async fn create(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(discussion): PathId,
    key: IdempotencyKey,
    Json(new): Json<NewComment>,
) -> Result<Response> {
    let new = new.checked()?;
    let place = access::discussion_to_write(&state.pool, &viewer, discussion).await?;

    let mut transaction = state.pool.begin().await?;
    let route = format!("POST /discussions/{discussion}/comments");
    let ticket = match idempotency::claim(&mut transaction, &viewer, key, &route, &new).await? {
        Claim::First(ticket) => ticket,
        Claim::Repeat(answer) => return Ok(answer),
    };
    let parent = match new.parent_id {
        Some(parent) => Some(store::parent(&mut transaction, discussion, parent).await?),
        None => None,
    };
    let user = viewer.user_id;
    let signature =
        authors::store::sign(&mut transaction, user, place.community_id, place.article_id, place.is_pseudonymous)
            .await?;
    let written = store::insert(&mut transaction, user, discussion, &new, parent, signature).await?;
    let written = written.ok_or(ErrorCode::DiscussionDeleted)?;
    outbox::append(&mut transaction, &new_comment(&place, new.text, &written)?).await?;
    ticket.keep(&mut transaction, &written.comment).await?;
    transaction.commit().await?;
    state.wake.wake();
    Ok(idempotency::created(&written.comment))
}

fn new_comment(place: &DiscussionAccess, text: String, Written { comment, comment_count }: &Written) -> Result<Change> {
    Ok(Change::NewComment {
        community_id: place.community_id,
        article_id: place.article_id,
        discussion_id: comment.discussion_id,
        comment_id: comment.id,
        parent_id: comment.parent_id,
        depth: comment.depth,
        text,
        author: comment.author.clone().ok_or(ErrorCode::CommentDeleted)?,
        comment_count: *comment_count,
        timestamp: comment.created_at,
    })
}

/// A comment
#[utoipa::path(get, path = "/comments/{id}", tag = "comments", operation_id = "getComment",
    params(("id" = i64, Path, description = "The comment")),
    security((), ("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The comment", body = Comment), ReadErrors))]
pub async fn read(
    State(state): State<AppState>,
    MaybeViewer(viewer): MaybeViewer,
    PathId(id): PathId,
) -> Result<Answer<Comment>> {
    store::get(&state.pool, viewer.as_ref(), id).await.map(Answer)
}

/// Change a comment
#[utoipa::path(patch, path = "/comments/{id}", tag = "comments", operation_id = "updateComment",
    params(("id" = i64, Path, description = "The comment")),
    request_body = CommentPatch, security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The comment as it is now", body = Comment), WriteErrors))]
pub async fn update(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(id): PathId,
    Json(patch): Json<CommentPatch>,
) -> Result<Answer<Comment>> {
    let text = extract::text("text", &patch.text, TEXT_CHARACTERS)?;
    let found = access::comment_to_write(&state.pool, &viewer, id).await?;
    if found.author_id != viewer.user_id {
        return Err(ErrorCode::NotAuthor.into());
    }
    let mut transaction = state.pool.begin().await?;
    let changed = store::update(&mut transaction, id, &text).await?.ok_or(ErrorCode::CommentDeleted)?;
    let comment = changed.comment;
    let change = Change::UpdatedComment {
        community_id: changed.community_id,
        article_id: changed.article_id,
        discussion_id: comment.discussion_id,
        comment_id: comment.id,
        parent_id: comment.parent_id,
        text,
        author: comment.author.clone().ok_or(ErrorCode::CommentDeleted)?,
        timestamp: comment.updated_at,
    };
    outbox::append(&mut transaction, &change).await?;
    transaction.commit().await?;
    state.wake.wake();
    Ok(Answer(comment))
}

/// Delete a comment
///
/// A tombstone stays, and so do the replies. Deleting one again changes nothing and is no error.
#[utoipa::path(delete, path = "/comments/{id}", tag = "comments", operation_id = "deleteComment",
    params(("id" = i64, Path, description = "The comment")),
    security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "It is deleted"), WriteErrors))]
pub async fn delete(State(state): State<AppState>, viewer: Viewer, PathId(id): PathId) -> Result<StatusCode> {
    let found = access::comment_to_write(&state.pool, &viewer, id).await?;
    if found.author_id != viewer.user_id && !found.role.moderates() {
        return Err(ErrorCode::NotAuthor.into());
    }
    let mut transaction = state.pool.begin().await?;
    if let Some(deleted) = store::delete(&mut transaction, id).await? {
        let change = Change::DeletedComment {
            community_id: deleted.community_id,
            article_id: deleted.article_id,
            discussion_id: deleted.discussion_id,
            comment_id: id,
            parent_id: deleted.parent_id,
            comment_count: deleted.comment_count,
            timestamp: deleted.deleted_at,
        };
        outbox::append(&mut transaction, &change).await?;
        transaction.commit().await?;
        state.wake.wake();
    }
    Ok(StatusCode::NO_CONTENT)
}
