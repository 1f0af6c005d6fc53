//! The handlers of votes.

use axum::{Json, extract::State};

use super::{
    batch::{Target, Vote, VoteWriter},
    model::{NewVote, Votes},
};
use crate::{
    auth::{Viewer, access},
    error::{ErrorCode, Result},
    extract::{JsonBody, PathId},
    ids::{CommentId, DiscussionId, UserId},
    openapi::WriteErrors,
};

/// Vote on a discussion
///
/// The vote replaces your last one. Sending it again changes nothing. You cannot vote on what you wrote.
#[utoipa::path(put, path = "/discussions/{id}/vote", tag = "votes", operation_id = "voteOnDiscussion",
    params(("id" = i64, Path, description = "The discussion's id")),
    request_body = NewVote, security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The votes now", body = Votes), WriteErrors))]
pub(super) async fn on_discussion(
    State(writer): State<VoteWriter>,
    viewer: Viewer,
    PathId(id): PathId<DiscussionId>,
    JsonBody(new): JsonBody<NewVote>,
) -> Result<Json<Votes>> {
    let found = access::discussion_to_write(&writer.db, &viewer, id).await?;
    vote(&writer, &viewer, found.author_id, Target::Discussion(id), new).await
}

/// Vote on a comment
///
/// The vote replaces your last one. Sending it again changes nothing. You cannot vote on what you wrote.
#[utoipa::path(put, path = "/comments/{id}/vote", tag = "votes", operation_id = "voteOnComment",
    params(("id" = i64, Path, description = "The comment's id")),
    request_body = NewVote, security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The votes now", body = Votes), WriteErrors))]
pub(super) async fn on_comment(
    State(writer): State<VoteWriter>,
    viewer: Viewer,
    PathId(id): PathId<CommentId>,
    JsonBody(new): JsonBody<NewVote>,
) -> Result<Json<Votes>> {
    let found = access::comment_to_write(&writer.db, &viewer, id).await?;
    vote(&writer, &viewer, found.author_id, Target::Comment(id), new).await
}

async fn vote(
    writer: &VoteWriter,
    viewer: &Viewer,
    author: UserId,
    target: Target,
    NewVote { value }: NewVote,
) -> Result<Json<Votes>> {
    if author == viewer.user_id {
        return Err(ErrorCode::VoteOnOwn.into());
    }
    Ok(Json(writer.write(Vote { target, user_id: viewer.user_id, value }).await?))
}
