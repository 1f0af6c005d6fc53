//! The handlers of comments.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    model::{Comment, CommentCursor, CommentPage, CommentPatch, CommentPosition, CommentWindow, NewComment},
    store::{self, Inserted, LockedComment},
};
use crate::{
    auth::{
        MaybeViewer, Viewer,
        access::{self, CommentingAccess},
    },
    authors,
    directory::Role,
    error::{ApiError, ErrorCode, Result},
    events::{Change, NotificationKind, WrittenComment, outbox::UncountedChange},
    extract::{JsonBody, PathId, Query},
    idempotency::{self, Claim, IdempotencyKey},
    ids::{CommentId, DiscussionId},
    mentions::{self, store::ChangedMentions},
    notifications::{self, store::Cause},
    openapi::{ChangeErrors, ReadErrors, WriteErrors},
    page::PageQuery,
    state::AppState,
    text,
    version::{Expected, IfMatch, WithETag},
};

/// How often a comment is tried if its author is renamed at the same moment.
const MAX_TRIES: usize = 3;

/// Where a page of comments is.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AroundQuery {
    /// A comment. The page then has this comment in its middle. It is not allowed beside `cursor`.
    around: Option<CommentId>,
}

/// List the comments of a discussion as trees, oldest first
///
/// `limit` counts the comments of the first level. Each comes with its replies. A page also ends at five times `limit` comments in
/// all and near 1 MiB, and the next page then goes on with the replies. `around` begins in the middle of a discussion, and
/// `previous_cursor` leads on towards its beginning. The answer reflects every event up to `last_event_id`: poll
/// from there.
#[utoipa::path(get, path = "/discussions/{id}/comments", tag = "comments", operation_id = "listComments",
    params(("id" = i64, Path, description = "The discussion's id"), AroundQuery, PageQuery),
    security((), ("bearer" = []), ("session" = [])),
    responses((status = 200, description = "A page of comments", body = CommentPage), ReadErrors))]
pub(super) async fn list(
    State(state): State<AppState>,
    MaybeViewer(viewer): MaybeViewer,
    PathId(discussion): PathId<DiscussionId>,
    Query(AroundQuery { around }): Query<AroundQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<CommentPage>> {
    let (cursor, limit) = (page.cursor()?, page.limit()?);
    let Some(comment) = around else {
        let cursor = cursor.unwrap_or(CommentCursor::After(CommentPosition::START));
        let window = CommentWindow::of(cursor, limit);
        return Ok(Json(store::page(&state.db, viewer.as_ref(), discussion, window).await?));
    };
    if cursor.is_some() {
        return Err(ApiError::invalid_parameter("around", "is not allowed beside a cursor"));
    }
    // The page's statement decides on access. So nothing tells unknown comments from those that the viewer may not read.
    let position = store::position(&state.db, viewer.as_ref(), discussion, comment).await?;
    let window = CommentWindow::around(position.unwrap_or(CommentPosition::START), limit);
    let page = store::page(&state.db, viewer.as_ref(), discussion, window).await?;
    position.ok_or(ErrorCode::CommentNotFound)?;
    Ok(Json(page))
}

/// Write a comment
#[utoipa::path(post, path = "/discussions/{id}/comments", tag = "comments", operation_id = "createComment",
    params(("id" = i64, Path, description = "The discussion's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of your choice. If you repeat the request with the same key, the comment is written only once, and the answer is the comment as it is now")),
    request_body = NewComment, security(("bearer" = []), ("session" = [])),
    responses((status = 201, description = "The new comment", body = Comment), WriteErrors))]
pub(super) async fn create(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(discussion): PathId<DiscussionId>,
    key: IdempotencyKey,
    JsonBody(new): JsonBody<NewComment>,
) -> Result<Response> {
    let new = new.validate()?;
    for _ in 0..MAX_TRIES {
        if let Some(answer) = try_create(&state, &viewer, discussion, &key, &new).await? {
            return Ok(answer);
        }
    }
    Err(ErrorCode::Unavailable.into())
}

/// Writes the comment. None, and nothing is written, if the author is renamed at this moment.
async fn try_create(
    state: &AppState,
    viewer: &Viewer,
    discussion: DiscussionId,
    key: &IdempotencyKey,
    new: &NewComment,
) -> Result<Option<Response>> {
    let access = access::discussion_to_comment_in(&state.db, viewer, discussion).await?;
    let CommentingAccess { community_id, article_id, role, is_pseudonymous, comment_id, now, author } = access;

    // Without an idempotency key and mentions, and if the author is known, the transaction is one statement.
    let mut write = state.db.write();
    let route = format!("POST /discussions/{discussion}/comments");
    let ticket = match idempotency::claim(&mut write, viewer, key.clone(), &route, new).await? {
        Claim::First(ticket) => ticket,
        Claim::Repeat(written) => {
            let comment = store::get(&mut write, Some(viewer), written.into()).await?;
            return Ok(Some(idempotency::repeated(&comment)));
        }
    };
    let parent = match new.parent_id {
        Some(parent) => Some(store::parent(write.read_before(), discussion, parent).await?),
        None => None,
    };
    let author = match author {
        Some(author) => author,
        None => authors::store::resolve(&mut write, viewer.user_id, community_id, article_id, is_pseudonymous).await?,
    };
    let mentions = mentions::store::resolve(&mut write, community_id, article_id, &new.text).await?;
    let depth = parent.as_ref().map_or(1, |parent| parent.depth);
    let shown = mentions.shown.clone();
    let comment =
        Comment::new(comment_id, discussion, depth, new, author.author.clone(), shown, now).shown_to_author(role);
    ticket.keep(&mut write, comment_id.get()).await?;
    let event = UncountedChange::NewComment(WrittenComment { comment: comment.state(community_id, article_id), depth });
    let user = viewer.user_id;
    match store::insert(write.last(), &comment, parent.as_ref(), user, &author, &mentions, &event).await? {
        Inserted::Done => Ok(Some(idempotency::created(&comment))),
        Inserted::Nothing if store::is_live(&state.db, discussion).await? => Ok(None),
        Inserted::Nothing => Err(ErrorCode::DiscussionDeleted.into()),
    }
}

/// Get a comment
#[utoipa::path(get, path = "/comments/{id}", tag = "comments", operation_id = "getComment",
    params(("id" = i64, Path, description = "The comment's id")),
    security((), ("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The comment", body = Comment), ReadErrors))]
pub(super) async fn read(
    State(state): State<AppState>,
    MaybeViewer(viewer): MaybeViewer,
    PathId(id): PathId<CommentId>,
) -> Result<WithETag<Comment>> {
    Ok(WithETag(store::get(&state.db, viewer.as_ref(), id).await?))
}

/// Change a comment
///
/// A change that changes nothing makes no event. Without `If-Match` and `if_updated_at` the last change wins.
#[utoipa::path(patch, path = "/comments/{id}", tag = "comments", operation_id = "updateComment",
    params(("id" = i64, Path, description = "The comment's id"),
        ("If-Match" = Option<String>, Header, description = "Entity tags that you have got as `ETag`: the change is made only if one of them is still the comment's")),
    request_body = CommentPatch, security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The comment as it is now", body = Comment), ChangeErrors<Comment>))]
pub(super) async fn update(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(id): PathId<CommentId>,
    if_match: IfMatch,
    JsonBody(patch): JsonBody<CommentPatch>,
) -> Result<WithETag<Comment>> {
    let text = text::text(&patch.text)?;
    let found = access::comment_to_write(&state.db, &viewer, id).await?;
    if found.author_id != viewer.user_id {
        return Err(ErrorCode::NotAuthor.into());
    }
    let mut write = state.db.write();
    let locked = store::lock(&mut write, id).await?.ok_or(ErrorCode::CommentDeleted)?;
    let LockedComment { comment, community_id, article_id, mentioned_users, mentioned_pseudonyms } = locked;
    let comment = comment.shown_to_author(found.role);
    Expected { if_match, if_updated_at: patch.if_updated_at }.check(&comment)?;
    if comment.text.as_ref() == Some(&text) {
        return Ok(WithETag(comment));
    }
    let mentions = mentions::store::resolve(&mut write, community_id, article_id, &text).await?;
    let changed = ChangedMentions::new(mentioned_users.as_deref(), mentioned_pseudonyms.as_deref(), &mentions);
    let comment = store::update(&mut write, comment, text, mentions).await?;
    write.emit(&Change::UpdatedComment(comment.state(community_id, article_id))).await?;
    let (discussion_id, author_id) = (comment.discussion_id, viewer.user_id);
    let cause = Cause { community_id, article_id, discussion_id, comment_id: Some(id), author_id };
    mentions::store::withdraw(&mut write, discussion_id, Some(id), &changed).await?;
    notifications::store::notify(&mut write, &cause, NotificationKind::Mention, &changed.added).await?;
    write.commit().await?;
    Ok(WithETag(comment))
}

/// Delete a comment
///
/// A tombstone and the replies stay. Deleting a tombstone changes nothing and is no error.
#[utoipa::path(delete, path = "/comments/{id}", tag = "comments", operation_id = "deleteComment",
    params(("id" = i64, Path, description = "The comment's id")),
    security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "The comment is deleted"), WriteErrors))]
pub(super) async fn delete(
    State(state): State<AppState>,
    viewer: Viewer,
    PathId(id): PathId<CommentId>,
) -> Result<StatusCode> {
    let found = access::comment_to_delete(&state.db, &viewer, id).await?;
    if found.author_id != viewer.user_id && !found.role.is_some_and(Role::moderates) {
        return Err(ErrorCode::NotAuthor.into());
    }
    let mut write = state.db.write();
    if let Some(deleted) = store::delete(&mut write, id).await? {
        let change = Change::DeletedComment {
            community_id: deleted.community_id,
            article_id: deleted.article_id,
            discussion_id: deleted.discussion_id,
            comment_id: id,
            parent_id: deleted.parent_id,
            comment_count: deleted.comment_count,
            comment_version: Some(deleted.comment_version),
            timestamp: deleted.deleted_at,
        };
        write.emit(&change).await?;
        if found.author_id != viewer.user_id {
            let cause = Cause {
                community_id: deleted.community_id,
                article_id: deleted.article_id,
                discussion_id: deleted.discussion_id,
                comment_id: Some(id),
                author_id: viewer.user_id,
            };
            notifications::store::notify(&mut write, &cause, NotificationKind::Moderation, &[found.author_id]).await?;
        }
        write.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
