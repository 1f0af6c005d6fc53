//! Decides what a viewer may do. Handlers call one of the functions here, which return the row that they load, or a refusal.
//!
//! Anyone may read a public or an open community. Only members may read a private or a hidden one: others get 403 for what is in a
//! private community, and 404 for what is in a hidden one. Members may write, and in an open community everyone who is signed in.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::viewer::Viewer;
use crate::{
    authors::{Author, Identity, store::ResolvedAuthor},
    directory::{Role, Visibility},
    error::{ApiError, ErrorCode, Result},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, PseudonymId, UserId},
};

/// What a viewer's access to a community depends on. Each statement that decides on access reads all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommunityAccess {
    /// The community.
    pub community_id: CommunityId,
    /// Who may read the community.
    pub visibility: Visibility,
    /// The viewer's role. None if the viewer is not a member, or if the community is not in the token's scope.
    pub role: Option<Role>,
    /// Whether the viewer's account is active. None if nobody is signed in, or if the account is deleted. It is read each time, so
    /// that no token and no session is valid longer than the account.
    pub viewer_is_active: Option<bool>,
}

impl CommunityAccess {
    /// Checks that the viewer may read. `missing` is the refusal for a non-member of a hidden community. A statement that reads
    /// discussions or comments has the same condition, the function `may_read` of migration 0012, so that it reads none for a
    /// viewer who is refused here.
    pub(crate) fn may_read(&self, viewer: Option<&Viewer>, missing: ErrorCode) -> Result<()> {
        match (self.role, self.visibility) {
            // Decided before the account is looked at, because any other refusal would reveal that the community exists.
            (None, Visibility::Hidden) => Err(missing.into()),
            _ if viewer.is_some() && self.viewer_is_active != Some(true) => Err(ErrorCode::TokenInvalid.into()),
            (Some(_), _) | (None, Visibility::Public | Visibility::Open) => Ok(()),
            (None, Visibility::Private) if viewer.is_none() => Err(ErrorCode::TokenMissing.into()),
            (None, Visibility::Private) => Err(ErrorCode::NotAMember.into()),
        }
    }

    /// Checks that the viewer may read what is about an article in this community. `is_placed` says whether the article is there.
    pub(crate) fn may_read_placement(&self, viewer: Option<&Viewer>, is_placed: bool) -> Result<()> {
        match (is_placed, self.visibility) {
            (true, _) => self.may_read(viewer, ErrorCode::CommunityNotFound),
            // The answer must not tell whether the article is in a hidden community.
            (false, Visibility::Hidden) => Err(ErrorCode::CommunityNotFound.into()),
            (false, _) => Err(ErrorCode::ArticleNotFound.into()),
        }
    }

    /// Checks that the viewer may write, and returns their role, which is None for a non-member in an open community. `missing` is the
    /// refusal for a non-member of a hidden community.
    pub(crate) fn may_write(&self, viewer: &Viewer, missing: ErrorCode) -> Result<Option<Role>> {
        match (self.role, self.visibility) {
            (None, Visibility::Hidden) => Err(missing.into()),
            _ if self.viewer_is_active != Some(true) => Err(ErrorCode::TokenInvalid.into()),
            _ if self.is_writer(Some(viewer)) => Ok(self.role),
            _ => Err(ErrorCode::NotAMember.into()),
        }
    }

    /// Whether a viewer with an active account may write, and so vote.
    pub(crate) fn is_writer(&self, viewer: Option<&Viewer>) -> bool {
        let may_write_here = |viewer: &Viewer| viewer.scope.allows(self.community_id);
        self.role.is_some() || (self.visibility == Visibility::Open && viewer.is_some_and(may_write_here))
    }
}

/// The role of a writer, for what takes membership. `not_a_member` for a non-member in an open community.
pub(crate) fn require_membership(role: Option<Role>) -> Result<Role> {
    role.ok_or_else(|| ErrorCode::NotAMember.into())
}

/// Checks that the viewer's account is active, for what concerns no community.
pub(crate) async fn active_account(db: impl PgExecutor<'_>, viewer: &Viewer) -> Result<()> {
    let is_active = sqlx::query_scalar!("select is_active from users where id = $1", viewer.user_id as _);
    match is_active.fetch_optional(db).await? {
        Some(true) => Ok(()),
        Some(false) | None => Err(ErrorCode::TokenInvalid.into()),
    }
}

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
    let row = sqlx::query!(
        r#"select c.kind as "kind: Visibility", m.role as "role?: Role", ca.is_pseudonymous as "is_pseudonymous?",
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
    let role = access.may_write(viewer, ErrorCode::CommunityNotFound)?;
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
    let row = sqlx::query!(
        r#"select d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId",
                  d.author_id as "author_id: UserId", ca.is_pseudonymous, c.kind as "kind: Visibility", m.role as "role?: Role",
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
    let role = access.may_write(viewer, ErrorCode::DiscussionNotFound)?;
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
                  u.is_active as "viewer_is_active?", clock_timestamp() as "now!",
                  u.username as "username?", u.avatar_url, p.id as "pseudonym_id?: PseudonymId", p.name as "pseudonym?",
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
    let role = access.may_write(viewer, ErrorCode::DiscussionNotFound)?;
    let (username, avatar_url) = (row.username.ok_or(ErrorCode::TokenInvalid)?, row.avatar_url);
    let identity = Identity { user_id: viewer.user_id, username, avatar_url, pseudonym: row.pseudonym };
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
    let row = sqlx::query!(
        r#"select k.author_id as "author_id: UserId", c.id as "community_id: CommunityId", c.kind as "kind: Visibility", m.role as "role?: Role",
                  (select is_active from users where id = $2) as viewer_is_active
           from comments k
           join discussions d on d.id = k.discussion_id
           join communities c on c.id = d.community_id
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
    let role = access.may_write(viewer, ErrorCode::CommentNotFound)?;
    Ok(CommentAccess { author_id: row.author_id, role })
}
