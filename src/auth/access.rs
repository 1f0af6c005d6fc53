//! Who may do what where. Handlers ask one of the functions here, which return the loaded row or a named refusal.
//!
//! Public communities are read by anyone, private and hidden ones by members. To others the things of a hidden community
//! do not exist (404), those of a private one are forbidden (403). Writing takes membership.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::viewer::Viewer;
use crate::{
    authors::{Author, Identity, store::ResolvedAuthor},
    directory::{Role, Visibility},
    error::{ApiError, ErrorCode, Result},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, PseudonymId, UserId},
};

/// What decides on a viewer's access to a community.
#[derive(Clone, Copy, Debug)]
pub struct CommunityAccess {
    /// How open the community is.
    pub visibility: Visibility,
    /// The viewer's role. None for who is no member, and where the token's scope leaves the community out.
    pub role: Option<Role>,
    /// Whether the viewer's account is in use: None where nobody is signed in or the account is deleted. Every statement that
    /// decides on access reads it anew, so that no token or session outlives the account.
    pub viewer_is_active: Option<bool>,
}

impl CommunityAccess {
    /// That the viewer may read. `missing` is what a hidden community's thing answers to those outside.
    pub fn may_read(&self, viewer: Option<&Viewer>, missing: ErrorCode) -> Result<()> {
        match (self.role, self.visibility) {
            // To those outside it is not there, whatever their account: another answer would tell that it is.
            (None, Visibility::Hidden) => Err(missing.into()),
            _ if viewer.is_some() && self.viewer_is_active != Some(true) => Err(ErrorCode::TokenInvalid.into()),
            (Some(_), _) | (None, Visibility::Public) => Ok(()),
            (None, Visibility::Private) if viewer.is_none() => Err(ErrorCode::TokenMissing.into()),
            (None, Visibility::Private) => Err(ErrorCode::NotAMember.into()),
        }
    }

    /// The viewer's role, which writing takes.
    pub fn may_write(&self, missing: ErrorCode) -> Result<Role> {
        match (self.role, self.visibility) {
            (None, Visibility::Hidden) => Err(missing.into()),
            _ if self.viewer_is_active != Some(true) => Err(ErrorCode::TokenInvalid.into()),
            (Some(role), _) => Ok(role),
            (None, _) => Err(ErrorCode::NotAMember.into()),
        }
    }
}

/// An article's place in a community, to begin a discussion at.
pub struct PlaceAccess {
    /// Whether new contributions are signed with a pseudonym.
    pub is_pseudonymous: bool,
}

/// A place that `viewer` may write at.
pub async fn place_to_write(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    article: ArticleId,
    community: CommunityId,
) -> Result<PlaceAccess> {
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
    CommunityAccess { visibility: row.kind, role: row.role, viewer_is_active: row.viewer_is_active }
        .may_write(ErrorCode::CommunityNotFound)?;
    let is_pseudonymous = row.is_pseudonymous.ok_or(ErrorCode::ArticleNotFound)?;
    Ok(PlaceAccess { is_pseudonymous })
}

/// A discussion that the viewer may see and, with authorship or a role, change.
pub struct DiscussionAccess {
    /// The community it is in.
    pub community_id: CommunityId,
    /// The article it is about.
    pub article_id: ArticleId,
    /// Who wrote it.
    pub author_id: UserId,
    /// The viewer's role.
    pub role: Role,
}

/// Discussion `id`, for `viewer` to change.
pub async fn discussion_to_write(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    id: DiscussionId,
) -> Result<DiscussionAccess> {
    let row = sqlx::query!(
        r#"select d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId",
                  d.author_id as "author_id: UserId", c.kind as "kind: Visibility", m.role as "role?: Role",
                  (select is_active from users where id = $2) as viewer_is_active
           from discussions d
           join communities c on c.id = d.community_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           where d.id = $1"#,
        id as _,
        viewer.user_id as _,
        viewer.scope.as_sql() as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::DiscussionNotFound)?;
    let role = CommunityAccess { visibility: row.kind, role: row.role, viewer_is_active: row.viewer_is_active }
        .may_write(ErrorCode::DiscussionNotFound)?;
    Ok(DiscussionAccess { community_id: row.community_id, article_id: row.article_id, author_id: row.author_id, role })
}

/// A discussion that the viewer may comment in, with all that the new comment needs to know.
pub struct CommentingAccess {
    /// The community it is in.
    pub community_id: CommunityId,
    /// The article it is about.
    pub article_id: ArticleId,
    /// Whether new contributions here are signed with a pseudonym.
    pub is_pseudonymous: bool,
    /// How the viewer signs here; None where they need a pseudonym and have none yet.
    pub author: Option<ResolvedAuthor>,
    /// The id of the new comment. It is taken from the sequence here, so that the write is one statement.
    pub comment_id: CommentId,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

/// Discussion `id`, for `viewer` to comment in.
pub async fn discussion_to_comment_in(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    id: DiscussionId,
) -> Result<CommentingAccess> {
    let row = sqlx::query!(
        r#"select d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId", ca.is_pseudonymous, c.kind as "kind: Visibility", m.role as "role?: Role",
                  clock_timestamp() as "now!", (select is_active from users where id = $2) as viewer_is_active, u.username as "username?", u.avatar_url, p.id as "pseudonym_id?: PseudonymId",
                  p.name as "pseudonym?",
                  case when m.role is not null then nextval(pg_get_serial_sequence('comments', 'id')) end as "comment_id: CommentId"
           from discussions d
           join communities c on c.id = d.community_id
           join community_articles ca on ca.community_id = d.community_id and ca.article_id = d.article_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           left join users u on u.id = m.user_id
           left join pseudonyms p
               on ca.is_pseudonymous and p.community_id = c.id and p.article_id = d.article_id and p.user_id = m.user_id
           where d.id = $1"#,
        id as _,
        viewer.user_id as _,
        viewer.scope.as_sql() as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::DiscussionNotFound)?;
    CommunityAccess { visibility: row.kind, role: row.role, viewer_is_active: row.viewer_is_active }
        .may_write(ErrorCode::DiscussionNotFound)?;
    let (username, avatar_url) = (row.username.ok_or(ErrorCode::TokenInvalid)?, row.avatar_url);
    let identity = Identity { user_id: viewer.user_id, username, avatar_url, pseudonym: row.pseudonym };
    let is_signed = !row.is_pseudonymous || identity.pseudonym.is_some();
    Ok(CommentingAccess {
        community_id: row.community_id,
        article_id: row.article_id,
        is_pseudonymous: row.is_pseudonymous,
        author: is_signed.then(|| ResolvedAuthor { pseudonym_id: row.pseudonym_id, author: Author::of(identity) }),
        comment_id: row.comment_id.ok_or_else(|| ApiError::internal("a member's comment was given no id"))?,
        now: row.now,
    })
}

/// A comment that the viewer may see and, with authorship or a role, change.
pub struct CommentAccess {
    /// Who wrote it.
    pub author_id: UserId,
    /// The viewer's role.
    pub role: Role,
}

/// Comment `id`, for `viewer` to change.
pub async fn comment_to_write(db: impl PgExecutor<'_>, viewer: &Viewer, id: CommentId) -> Result<CommentAccess> {
    let row = sqlx::query!(
        r#"select k.author_id as "author_id: UserId", c.kind as "kind: Visibility", m.role as "role?: Role",
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
    let role = CommunityAccess { visibility: row.kind, role: row.role, viewer_is_active: row.viewer_is_active }
        .may_write(ErrorCode::CommentNotFound)?;
    Ok(CommentAccess { author_id: row.author_id, role })
}
