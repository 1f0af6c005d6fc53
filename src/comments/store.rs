//! The SQL of comments.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::model::{Comment, CommentPage, CommentTree, MAX_DEPTH};
use crate::{
    auth::{Viewer, access::CommunityAccess},
    authors::{Author, Identity, store::ResolvedAuthor},
    db::{LastStatement, Write, composite},
    directory::{Role, Visibility},
    discussions::model::{ViewerInfo, ViewerMembership},
    error::{ApiError, ErrorCode, Result},
    events::outbox::UncountedChange,
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId, UserId},
    page,
};

composite! {
    /// A comment with its author. A statement calls the comment `k` and its author's user `u`.
    struct CommentRow in query_comment! {
        id: CommentId = "k.id",
        discussion_id: DiscussionId = "k.discussion_id",
        parent_id: Option<CommentId> = "k.parent_id",
        depth: i16 = "k.depth",
        text: String = "k.text",
        created_at: DateTime<Utc> = "k.created_at",
        updated_at: DateTime<Utc> = "k.updated_at",
        // Only an edit moves `updated_at` (migration 0012).
        edited_at: Option<DateTime<Utc>> = "nullif(k.updated_at, k.created_at)",
        deleted_at: Option<DateTime<Utc>> = "k.deleted_at",
        author_id: UserId = "k.author_id",
        username: String = "u.username",
        avatar_url: Option<String> = "u.avatar_url",
        pseudonym: Option<String> = "(select name from pseudonyms where id = k.pseudonym_id)",
    }
}

impl From<CommentRow> for Comment {
    fn from(row: CommentRow) -> Self {
        let is_live = row.deleted_at.is_none();
        let author = Author::from(Identity {
            user_id: row.author_id,
            username: row.username,
            avatar_url: row.avatar_url,
            pseudonym: row.pseudonym,
        });
        Self {
            id: row.id,
            discussion_id: row.discussion_id,
            parent_id: row.parent_id,
            depth: row.depth,
            text: is_live.then_some(row.text),
            author: is_live.then_some(author),
            created_at: row.created_at,
            updated_at: row.updated_at,
            edited_at: row.edited_at,
            deleted_at: row.deleted_at,
        }
    }
}

/// Reads a page of the discussion's comments: up to `limit` comments of the first level, with all replies below them. It is one
/// statement, so the comments and the head are of one snapshot (I4).
pub(crate) async fn page(
    db: impl PgExecutor<'_>,
    viewer: Option<&Viewer>,
    discussion: DiscussionId,
    after: Option<CommentId>,
    limit: i64,
) -> Result<CommentPage> {
    let found = query_comment!(
        r#"select (select last_assigned from event_head) as "head!: EventId", d.community_id as "community_id: CommunityId",
                  c.kind as "kind: Visibility", m.role as "role?: Role", p.name as "own_pseudonym?",
                  v.is_active as "viewer_is_active?",
                  case when may_read(c.kind, m.role, $2, v.is_active) then array(select "#,
        r#"
                        from (select id from comments
                              where discussion_id = d.id and parent_id is null and id > coalesce($4::bigint, 0)
                              order by id limit $5::bigint + 1) roots
                        join comments k on k.discussion_id = d.id and k.root_id = roots.id
                        join users u on u.id = k.author_id
                        order by k.id) end as "comments: Vec<CommentRow>"
           from discussions d
           join communities c on c.id = d.community_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           left join pseudonyms p on p.community_id = c.id and p.article_id = d.article_id and p.user_id = m.user_id
           left join users v on v.id = $2
           where d.id = $1"#,
        discussion as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _,
        after as _,
        limit
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::DiscussionNotFound)?;
    CommunityAccess { visibility: found.kind, role: found.role, viewer_is_active: found.viewer_is_active }
        .may_read(viewer, ErrorCode::DiscussionNotFound)?;

    let membership = found.role.map(|role| ViewerMembership {
        community_id: found.community_id,
        role,
        pseudonym: found.own_pseudonym,
    });
    let memberships = membership.into_iter().collect();
    let rows = found.comments.ok_or_else(|| ApiError::internal("the statement read no comments for a reader"))?;
    let mut comments = CommentTree::build(rows.into_iter().map(Comment::from));
    let next_cursor = page::next_cursor(comments.iter().map(|tree| tree.comment.id), limit);
    comments.truncate(limit as usize);
    Ok(CommentPage {
        comments,
        last_event_id: found.head,
        next_cursor,
        viewer: viewer.map(|viewer| ViewerInfo { user_id: viewer.user_id, memberships }),
    })
}

/// Reads a comment for `viewer`.
pub(crate) async fn get(db: impl PgExecutor<'_>, viewer: Option<&Viewer>, id: CommentId) -> Result<Comment> {
    let found = query_comment!(
        r#"select c.kind as "kind: Visibility", m.role as "role?: Role", v.is_active as "viewer_is_active?",
                  case when may_read(c.kind, m.role, $2, v.is_active) then (select "#,
        r#" from users u where u.id = k.author_id) end as "comment: CommentRow"
           from comments k
           join discussions d on d.id = k.discussion_id
           join communities c on c.id = d.community_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           left join users v on v.id = $2
           where k.id = $1"#,
        id as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::CommentNotFound)?;
    CommunityAccess { visibility: found.kind, role: found.role, viewer_is_active: found.viewer_is_active }
        .may_read(viewer, ErrorCode::CommentNotFound)?;
    Ok(found.comment.ok_or_else(|| ApiError::internal("the statement read no comment for a reader"))?.into())
}

/// What a reply needs to know of the comment that it replies to.
pub(crate) struct Parent {
    /// The comment of the first level above the reply.
    pub root_id: CommentId,
    /// The depth of the reply.
    pub depth: i16,
}

/// Reads the comment to reply to in `discussion`. `parent_not_found` if it is not in that discussion, `comment_deleted`, or
/// `comment_too_deep` if it is at the deepest level.
pub(crate) async fn parent(db: impl PgExecutor<'_>, discussion: DiscussionId, id: CommentId) -> Result<Parent> {
    let row = sqlx::query!(
        r#"select root_id as "root_id: CommentId", depth, deleted_at is not null as "is_deleted!" from comments where discussion_id = $1 and id = $2"#,
        discussion as _,
        id as _
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(|| ApiError::from(ErrorCode::ParentNotFound).field("parent_id", "is not a comment of this discussion"))?;
    if row.is_deleted {
        return Err(ErrorCode::CommentDeleted.into());
    }
    if row.depth >= MAX_DEPTH {
        return Err(ApiError::from(ErrorCode::CommentTooDeep).field("parent_id", "is itself at the third level"));
    }
    Ok(Parent { root_id: row.root_id, depth: row.depth + 1 })
}

/// Whether [`insert`] has written.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It has.
    Done,
    /// It has not: since the handler read them, the discussion was deleted or the author renamed. [`is_live`] says which.
    Nothing,
}

/// Writes a comment by `user` into a live discussion, counts it, and adds its event to the outbox. All of that is one statement,
/// because sqlx sends one statement a round trip.
///
/// The statement adds the discussion's new `comment_count` to the event, as nobody knows it before.
///
/// The statement locks the discussion's row before it writes the outbox row, so that the events of a discussion are in the order
/// of its commits. It holds the author's row until the commit, so that a rename comes after the event and sees the comment
/// (migration 0010).
pub(crate) async fn insert(
    last: LastStatement,
    comment: &Comment,
    parent: Option<&Parent>,
    user: UserId,
    author: &ResolvedAuthor,
    event: &UncountedChange,
) -> Result<Inserted> {
    let inserted = sqlx::query!(
        r#"with author as (
               select from users u
               where u.id = $6 and ($7::bigint is not null or (u.username = $10 and u.avatar_url is not distinct from $11))
               for share of u
           ), counted as (
               update discussions set comment_count = comment_count + 1
               where id = $1 and deleted_at is null and exists (select from author)
               returning comment_count
           ), inserted as (
               insert into comments (id, discussion_id, root_id, parent_id, depth, author_id, pseudonym_id, text, created_at, updated_at)
               overriding system value
               select $2::bigint, $1, coalesce($3, $2::bigint), $4, $5, $6, $7, $8, $9, $9 from counted
               returning id
           ), emitted as (
               insert into outbox (community_id, type, payload)
               select $12, $13, ($14::text::jsonb || jsonb_build_object('comment_count', comment_count))::json
               from counted
           )
           select id from inserted"#,
        comment.discussion_id as _,
        comment.id as _,
        parent.map(|parent| parent.root_id) as _,
        comment.parent_id as _,
        comment.depth,
        user as _,
        author.pseudonym_id as _,
        comment.text.as_deref().unwrap_or_default(),
        comment.created_at,
        author.author.username(),
        author.author.avatar_url(),
        event.community_id() as _,
        event.kind(),
        event.payload()?
    )
    .fetch_optional(last)
    .await?;
    Ok(if inserted.is_some() { Inserted::Done } else { Inserted::Nothing })
}

/// Whether the discussion exists and is not deleted.
pub(crate) async fn is_live(db: impl PgExecutor<'_>, discussion: DiscussionId) -> Result<bool> {
    let is_live = sqlx::query_scalar!(
        r#"select exists (select from discussions where id = $1 and deleted_at is null) as "is_live!""#,
        discussion as _
    );
    Ok(is_live.fetch_one(db).await?)
}

/// A live comment whose row is locked until the commit, and where it is.
pub(crate) struct LockedComment {
    pub comment: Comment,
    pub community_id: CommunityId,
    pub article_id: ArticleId,
}

/// Locks a comment and reads it. None if it is deleted. The statement holds the author's row too, so that a rename comes after the
/// event that carries the name.
pub(crate) async fn lock(write: &mut Write, id: CommentId) -> Result<Option<LockedComment>> {
    let found = query_comment!(
        "select ",
        r#" as "comment!: CommentRow", d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId"
           from comments k
           join discussions d on d.id = k.discussion_id
           join users u on u.id = k.author_id
           where k.id = $1 and k.deleted_at is null
           for no key update of k for share of u"#,
        id as _
    )
    .fetch_optional(write)
    .await?;
    Ok(found.map(|row| LockedComment {
        comment: row.comment.into(),
        community_id: row.community_id,
        article_id: row.article_id,
    }))
}

/// Changes the text of a comment that [`lock`] has locked.
pub(crate) async fn update(write: &mut Write, comment: Comment, text: String) -> Result<Comment> {
    // The clock may be set back. The version must be another one nevertheless.
    let updated_at = sqlx::query_scalar!(
        "update comments set text = $2, updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
         where id = $1
         returning updated_at",
        comment.id as _,
        text
    )
    .fetch_one(write)
    .await?;
    Ok(Comment { text: Some(text), updated_at, edited_at: Some(updated_at), ..comment })
}

/// What the event of a deleted comment shows.
pub(crate) struct Deleted {
    pub community_id: CommunityId,
    pub article_id: ArticleId,
    pub discussion_id: DiscussionId,
    pub parent_id: Option<CommentId>,
    /// The number of comments in the discussion that are not deleted.
    pub comment_count: i64,
    pub deleted_at: DateTime<Utc>,
}

/// Makes a live comment a tombstone and lowers the discussion's count. None if it is a tombstone already.
///
/// It locks the discussion's row first, as [`insert`] does. With the same order everywhere, no two writers wait for each other.
pub(crate) async fn delete(write: &mut Write, id: CommentId) -> Result<Option<Deleted>> {
    let discussion = sqlx::query!(
        r#"select d.id as "id: DiscussionId", d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId"
         from discussions d
         where d.id = (select discussion_id from comments where id = $1)
         for no key update of d"#,
        id as _
    )
    .fetch_one(&mut *write)
    .await?;
    let row = sqlx::query!(
        r#"with deleted as (
               update comments set text = '', deleted_at = clock_timestamp()
               where id = $1 and deleted_at is null
               returning parent_id, deleted_at
           ), counted as (
               update discussions set comment_count = comment_count - 1
               where id = $2 and exists (select from deleted)
               returning comment_count
           )
           select deleted.parent_id as "parent_id: CommentId", deleted.deleted_at as "deleted_at!", counted.comment_count from deleted, counted"#,
        id as _,
        discussion.id as _
    )
    .fetch_optional(write)
    .await?;
    Ok(row.map(|row| Deleted {
        community_id: discussion.community_id,
        article_id: discussion.article_id,
        discussion_id: discussion.id,
        parent_id: row.parent_id,
        comment_count: row.comment_count,
        deleted_at: row.deleted_at,
    }))
}
