//! What the routes of comments do.

use axum::{Json as Answer, extract::State, http::StatusCode, response::Response};
use sqlx::PgConnection;

use super::{
    model::{Comment, CommentPage, CommentPatch, NewComment},
    store,
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
    ids::DiscussionId,
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
    let mut db = state.db.connection().await?;
    let page = store::page(&mut *db, viewer.as_ref(), discussion, after, limit).await?;
    db.done();
    Ok(Answer(page))
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
    let mut db = state.db.connection().await?;
    let place = access::discussion_to_write(&mut *db, &viewer, discussion).await?;
    let comment = if key.is_given() || place.signature.is_none() {
        let mut transaction = db.begin().await?;
        let route = format!("POST /discussions/{discussion}/comments");
        let ticket = match idempotency::claim(&mut transaction, &viewer, key, &route, &new).await? {
            Claim::First(ticket) => ticket,
            Claim::Repeat(answer) => return Ok(answer),
        };
        let comment = write(&mut transaction, &viewer, discussion, place, new).await?;
        ticket.keep(&mut transaction, &comment).await?;
        transaction.commit().await?;
        comment
    } else {
        // One statement, which is a transaction by itself: begin and commit would be two round trips more.
        write(&mut db, &viewer, discussion, place, new).await?
    };
    db.done();
    state.wake.wake();
    Ok(idempotency::created(&comment))
}

/// Writes the comment and its event.
async fn write(
    db: &mut PgConnection,
    viewer: &Viewer,
    discussion: DiscussionId,
    place: DiscussionAccess,
    new: NewComment,
) -> Result<Comment> {
    let parent = match new.parent_id {
        Some(parent) => Some(store::parent(db, discussion, parent).await?),
        None => None,
    };
    let DiscussionAccess { community_id, article_id, is_pseudonymous, now, .. } = place;
    let signature = match place.signature {
        Some(signature) => signature,
        None => authors::store::sign(db, viewer.user_id, community_id, article_id, is_pseudonymous).await?,
    };
    let depth = parent.as_ref().map_or(1, |parent| parent.depth);
    let told = Change::NewComment {
        community_id,
        article_id,
        discussion_id: discussion,
        comment_id: store::SAID_BY_THE_DATABASE,
        parent_id: new.parent_id,
        depth,
        text: new.text.clone(),
        author: signature.author.clone(),
        comment_count: store::SAID_BY_THE_DATABASE,
        timestamp: now,
    };
    let id =
        store::insert(db, viewer.user_id, discussion, &new.text, parent, signature.pseudonym_id, now, &told).await?;
    Ok(Comment {
        id: id.ok_or(ErrorCode::DiscussionDeleted)?,
        discussion_id: discussion,
        parent_id: new.parent_id,
        depth,
        text: Some(new.text),
        author: Some(signature.author),
        created_at: now,
        updated_at: now,
        deleted_at: None,
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
    let mut db = state.db.connection().await?;
    let found = store::get(&mut *db, viewer.as_ref(), id).await?;
    db.done();
    Ok(Answer(found))
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
    let mut db = state.db.connection().await?;
    let found = access::comment_to_write(&mut *db, &viewer, id).await?;
    if found.author_id != viewer.user_id {
        return Err(ErrorCode::NotAuthor.into());
    }
    let mut transaction = db.begin().await?;
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
    db.done();
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
    let mut db = state.db.connection().await?;
    let found = access::comment_to_write(&mut *db, &viewer, id).await?;
    if found.author_id != viewer.user_id && !found.role.moderates() {
        return Err(ErrorCode::NotAuthor.into());
    }
    let mut transaction = db.begin().await?;
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
        db.done();
        state.wake.wake();
    }
    Ok(StatusCode::NO_CONTENT)
}
