//! The statements that load what a viewer wants to change, and with it what decides whether they may.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::{CommunityAccess, Purpose, Removal, require_membership};
use crate::{
    auth::viewer::Viewer,
    authors::{Author, Identity, Pseudonym, store::ResolvedAuthor},
    directory::{Role, Visibility},
    error::{ApiError, ErrorCode, Result},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, PseudonymId, UserId},
};

/// An article in a community, in which the viewer may begin a discussion.
pub(crate) struct PlacementAccess {
    /// The viewer's role. None for a non-member in an open community.
    pub role: Option<Role>,
    /// Whether new discussions and comments show a pseudonym.
    pub is_pseudonymous: bool,
}

/// Checks that `viewer` is a member of the community, and returns their role.
pub(crate) async fn community_of_member(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    community: CommunityId,
) -> Result<Role> {
    let row = sqlx::query!(
        r#"select c.kind as "kind: Visibility", m.role as "role?: Role",
                  (select is_active from users where id = $2) as viewer_is_active
           from communities c
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           where c.id = $1"#,
        community as _,
        viewer.user_id as _,
        viewer.scope.as_sql() as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::CommunityNotFound)?;
    let access = CommunityAccess {
        community_id: community,
        visibility: row.kind,
        role: row.role,
        viewer_is_active: row.viewer_is_active,
    };
    require_membership(access.may_write(viewer, ErrorCode::CommunityNotFound)?)
}

/// Checks that `viewer` may begin a discussion on the article in the community.
pub(crate) async fn placement_to_write(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    article: ArticleId,
    community: CommunityId,
) -> Result<PlacementAccess> {
    placement(db, viewer, article, community, Purpose::Write).await
}

/// Checks that `viewer` may say what they have read there or want to hear of. A removed place does not refuse that.
pub(crate) async fn placement_to_mark(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    article: ArticleId,
    community: CommunityId,
) -> Result<PlacementAccess> {
    placement(db, viewer, article, community, Purpose::Mark).await
}

async fn placement(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    article: ArticleId,
    community: CommunityId,
    purpose: Purpose,
) -> Result<PlacementAccess> {
    let row = sqlx::query!(
        r#"select c.kind as "kind: Visibility", m.role as "role?: Role", ca.is_pseudonymous as "is_pseudonymous?",
                  c.removed_at is not null as "community_is_removed!", ca.removed_at is not null as "article_is_removed!",
                  (select is_active from users where id = $2) as viewer_is_active
           from communities c
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           left join community_articles ca on ca.community_id = c.id and ca.article_id = $4
           where c.id = $1"#,
        community as _,
        viewer.user_id as _,
        viewer.scope.as_sql() as _,
        article as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::CommunityNotFound)?;
    let (visibility, role, viewer_is_active) = (row.kind, row.role, row.viewer_is_active);
    let access = CommunityAccess { community_id: community, visibility, role, viewer_is_active };
    let removal = Removal { of_community: row.community_is_removed, of_article: row.article_is_removed };
    let role = access.may(purpose, removal, viewer, ErrorCode::CommunityNotFound)?;
    let is_pseudonymous = row.is_pseudonymous.ok_or(ErrorCode::ArticleNotFound)?;
    Ok(PlacementAccess { role, is_pseudonymous })
}

/// A discussion in a community in which the viewer may write. What they may change depends on the author and the role.
pub(crate) struct DiscussionAccess {
    pub community_id: CommunityId,
    pub article_id: ArticleId,
    pub author_id: UserId,
    /// None for a non-member in an open community.
    pub role: Option<Role>,
    /// Whether people show a pseudonym there.
    pub is_pseudonymous: bool,
}

/// Loads what decides whether `viewer` may change discussion `id`.
pub(crate) async fn discussion_to_write(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    id: DiscussionId,
) -> Result<DiscussionAccess> {
    discussion(db, viewer, id, |_| Purpose::Write).await
}

/// As [`discussion_to_write`], for what the viewer has read or wants to hear of. A removed place does not refuse that.
pub(crate) async fn discussion_to_mark(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    id: DiscussionId,
) -> Result<DiscussionAccess> {
    discussion(db, viewer, id, |_| Purpose::Mark).await
}

/// As [`discussion_to_write`], for deleting. A removed place does not refuse that to the author.
pub(crate) async fn discussion_to_delete(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    id: DiscussionId,
) -> Result<DiscussionAccess> {
    discussion(db, viewer, id, |author| to_delete(viewer, author)).await
}

fn to_delete(viewer: &Viewer, author: UserId) -> Purpose {
    if author == viewer.user_id { Purpose::DeleteOwn } else { Purpose::Write }
}

/// `purpose` says what the viewer wants to do with the text of this author.
async fn discussion(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    id: DiscussionId,
    purpose: impl FnOnce(UserId) -> Purpose,
) -> Result<DiscussionAccess> {
    let row = sqlx::query!(
        r#"select d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId",
                  d.author_id as "author_id: UserId", ca.is_pseudonymous, c.kind as "kind: Visibility", m.role as "role?: Role",
                  c.removed_at is not null as "community_is_removed!", ca.removed_at is not null as "article_is_removed!",
                  (select is_active from users where id = $2) as viewer_is_active
           from discussions d
           join communities c on c.id = d.community_id
           join community_articles ca on ca.community_id = d.community_id and ca.article_id = d.article_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           where d.id = $1"#,
        id as _,
        viewer.user_id as _,
        viewer.scope.as_sql() as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::DiscussionNotFound)?;
    let access = CommunityAccess {
        community_id: row.community_id,
        visibility: row.kind,
        role: row.role,
        viewer_is_active: row.viewer_is_active,
    };
    let removal = Removal { of_community: row.community_is_removed, of_article: row.article_is_removed };
    let role = access.may(purpose(row.author_id), removal, viewer, ErrorCode::DiscussionNotFound)?;
    Ok(DiscussionAccess {
        community_id: row.community_id,
        article_id: row.article_id,
        author_id: row.author_id,
        role,
        is_pseudonymous: row.is_pseudonymous,
    })
}

/// A discussion in which the viewer may comment, and all that the new comment needs.
pub(crate) struct CommentingAccess {
    pub community_id: CommunityId,
    pub article_id: ArticleId,
    /// The viewer's role. None for a non-member in an open community.
    pub role: Option<Role>,
    /// Whether new discussions and comments show a pseudonym.
    pub is_pseudonymous: bool,
    /// The author of the new comment. None if the viewer needs a pseudonym and has none yet.
    pub author: Option<ResolvedAuthor>,
    /// The id of the new comment. This statement takes it from the sequence, so that one more statement can write everything.
    pub comment_id: CommentId,
    /// The time by the database's clock.
    pub now: DateTime<Utc>,
}

/// Checks that `viewer` may comment in discussion `id`.
pub(crate) async fn discussion_to_comment_in(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    id: DiscussionId,
) -> Result<CommentingAccess> {
    let row = sqlx::query!(
        r#"select d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId", ca.is_pseudonymous,
                  c.kind as "kind: Visibility", m.role as "role?: Role",
                  c.removed_at is not null as "community_is_removed!", ca.removed_at is not null as "article_is_removed!",
                  u.is_active as "viewer_is_active?", clock_timestamp() as "now!",
                  u.username as "username?", u.avatar_url, p.id as "pseudonym_id?: PseudonymId", p.name as "pseudonym?", p.avatar_url as "pseudonym_avatar_url?",
                  case when m.role is not null or c.kind = 'open' then nextval(pg_get_serial_sequence('comments', 'id')) end as "comment_id: CommentId"
           from discussions d
           join communities c on c.id = d.community_id
           join community_articles ca on ca.community_id = d.community_id and ca.article_id = d.article_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           left join users u on u.id = $2
           left join pseudonyms p
               on ca.is_pseudonymous and p.community_id = c.id and p.article_id = d.article_id and p.user_id = $2
           where d.id = $1"#,
        id as _,
        viewer.user_id as _,
        viewer.scope.as_sql() as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::DiscussionNotFound)?;
    let access = CommunityAccess {
        community_id: row.community_id,
        visibility: row.kind,
        role: row.role,
        viewer_is_active: row.viewer_is_active,
    };
    let removal = Removal { of_community: row.community_is_removed, of_article: row.article_is_removed };
    let role = access.may(Purpose::Write, removal, viewer, ErrorCode::DiscussionNotFound)?;
    let (username, avatar_url) = (row.username.ok_or(ErrorCode::TokenInvalid)?, row.avatar_url);
    let pseudonym = row.pseudonym.map(|name| Pseudonym { name, avatar_url: row.pseudonym_avatar_url });
    let identity = Identity { user_id: viewer.user_id, username, avatar_url, pseudonym };
    let is_resolved = !row.is_pseudonymous || identity.pseudonym.is_some();
    Ok(CommentingAccess {
        community_id: row.community_id,
        article_id: row.article_id,
        role,
        is_pseudonymous: row.is_pseudonymous,
        author: is_resolved.then(|| ResolvedAuthor { pseudonym_id: row.pseudonym_id, author: Author::from(identity) }),
        comment_id: row.comment_id.ok_or_else(|| ApiError::internal("the statement gave a writer's comment no id"))?,
        now: row.now,
    })
}

/// A comment in a community in which the viewer may write. What they may change depends on the author and the role.
pub(crate) struct CommentAccess {
    pub author_id: UserId,
    /// None for a non-member in an open community.
    pub role: Option<Role>,
}

/// Loads what decides whether `viewer` may change comment `id`.
pub(crate) async fn comment_to_write(db: impl PgExecutor<'_>, viewer: &Viewer, id: CommentId) -> Result<CommentAccess> {
    comment(db, viewer, id, |_| Purpose::Write).await
}

/// As [`comment_to_write`], for deleting. A removed place does not refuse that to the author.
pub(crate) async fn comment_to_delete(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    id: CommentId,
) -> Result<CommentAccess> {
    comment(db, viewer, id, |author| to_delete(viewer, author)).await
}

/// `purpose` says what the viewer wants to do with the text of this author.
async fn comment(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    id: CommentId,
    purpose: impl FnOnce(UserId) -> Purpose,
) -> Result<CommentAccess> {
    let row = sqlx::query!(
        r#"select k.author_id as "author_id: UserId", c.id as "community_id: CommunityId", c.kind as "kind: Visibility", m.role as "role?: Role",
                  c.removed_at is not null as "community_is_removed!", ca.removed_at is not null as "article_is_removed!",
                  (select is_active from users where id = $2) as viewer_is_active
           from comments k
           join discussions d on d.id = k.discussion_id
           join communities c on c.id = d.community_id
           join community_articles ca on ca.community_id = d.community_id and ca.article_id = d.article_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           where k.id = $1"#,
        id as _,
        viewer.user_id as _,
        viewer.scope.as_sql() as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::CommentNotFound)?;
    let access = CommunityAccess {
        community_id: row.community_id,
        visibility: row.kind,
        role: row.role,
        viewer_is_active: row.viewer_is_active,
    };
    let removal = Removal { of_community: row.community_is_removed, of_article: row.article_is_removed };
    let role = access.may(purpose(row.author_id), removal, viewer, ErrorCode::CommentNotFound)?;
    Ok(CommentAccess { author_id: row.author_id, role })
}
