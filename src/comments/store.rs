//! The SQL of comments.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::model::{Comment, CommentPage, CommentTree, DEEPEST};
use crate::{
    auth::{Viewer, access::Standing},
    authors::{Author, Identity},
    db::{LastStatement, Write},
    directory::{Role, Visibility},
    discussions::model::{ViewerInfo, ViewerMembership},
    error::{ApiError, ErrorCode, Result},
    events::{Change, outbox},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId, PseudonymId, UserId},
    page,
};

/// A comment's row with its author.
struct Row {
    id: CommentId,
    discussion_id: DiscussionId,
    parent_id: Option<CommentId>,
    depth: i16,
    text: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    author_id: UserId,
    username: String,
    avatar_url: Option<String>,
    pseudonym: Option<String>,
}

impl From<Row> for Comment {
    fn from(row: Row) -> Self {
        let live = row.deleted_at.is_none();
        let author = Author::of(Identity {
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
            text: live.then_some(row.text),
            author: live.then_some(author),
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        }
    }
}

/// A page of the discussion's comments in one statement, and so in one snapshot with its head (I4): `limit` comments of
/// the first level, with all below them.
pub async fn page(
    db: impl PgExecutor<'_>,
    viewer: Option<&Viewer>,
    discussion: DiscussionId,
    after: Option<CommentId>,
    limit: i64,
) -> Result<CommentPage> {
    let rows = sqlx::query!(
        r#"with place as (
               select d.id, d.community_id, c.kind, m.role, p.name as pseudonym,
                      (select is_active from users where id = $2) as viewer_is_active
               from discussions d
               join communities c on c.id = d.community_id
               left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
               left join pseudonyms p on p.community_id = d.community_id and p.article_id = d.article_id and p.user_id = m.user_id
               where d.id = $1
           ), roots as (
               select id from comments
               where discussion_id = $1 and parent_id is null and id > coalesce($4::bigint, 0)
               order by id limit $5::bigint + 1
           ), found as (
               select k.id, k.parent_id, k.depth, k.text, k.created_at, k.updated_at, k.deleted_at, k.author_id,
                      u.username, u.avatar_url, p.name as pseudonym
               from roots
               join comments k on k.discussion_id = $1 and k.root_id = roots.id
               join users u on u.id = k.author_id
               left join pseudonyms p on p.id = k.pseudonym_id
           )
           select (select last_assigned from event_head) as "head!: EventId", place.community_id as "community_id: CommunityId",
                  place.kind as "kind!: Visibility", place.role as "role?: Role", place.pseudonym as "own_pseudonym?",
                  place.viewer_is_active as "viewer_is_active?",
                  k.id as "id?: CommentId", k.parent_id as "parent_id?: CommentId", k.depth as "depth?", k.text as "text?",
                  k.created_at as "created_at?", k.updated_at as "updated_at?", k.deleted_at as "deleted_at?",
                  k.author_id as "author_id?: UserId", k.username as "username?", k.avatar_url as "avatar_url?",
                  k.pseudonym as "pseudonym?"
           from place left join found k on true
           order by k.id"#,
        discussion as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _,
        after as _,
        limit
    )
    .fetch_all(db)
    .await?;

    let first = rows.first().ok_or(ErrorCode::DiscussionNotFound)?;
    Standing { kind: first.kind, role: first.role, viewer_is_active: first.viewer_is_active }
        .may_read(viewer, ErrorCode::DiscussionNotFound)?;
    let last_event_id = first.head;
    let own = first.role.map(|role| ViewerMembership {
        community_id: first.community_id,
        role,
        pseudonym: first.own_pseudonym.clone(),
    });
    let viewer = viewer.map(|viewer| ViewerInfo { user_id: viewer.user_id, memberships: own.into_iter().collect() });

    let mut comments = Vec::with_capacity(rows.len());
    for row in rows {
        if let (Some(id), Some(depth), Some(text), Some(created_at), Some(updated_at)) =
            (row.id, row.depth, row.text, row.created_at, row.updated_at)
            && let (Some(author_id), Some(username)) = (row.author_id, row.username)
        {
            comments.push(Comment::from(Row {
                id,
                discussion_id: discussion,
                parent_id: row.parent_id,
                depth,
                text,
                created_at,
                updated_at,
                deleted_at: row.deleted_at,
                author_id,
                username,
                avatar_url: row.avatar_url,
                pseudonym: row.pseudonym,
            }));
        }
    }
    let mut comments = CommentTree::grow(comments);
    let next_cursor = page::next_cursor(comments.iter().map(|tree| tree.comment.id), limit);
    comments.truncate(limit as usize);
    Ok(CommentPage { comments, last_event_id, next_cursor, viewer })
}

/// Comment `id` for `viewer` to read.
pub async fn get(db: impl PgExecutor<'_>, viewer: Option<&Viewer>, id: CommentId) -> Result<Comment> {
    let row = sqlx::query!(
        r#"select c.kind as "kind: Visibility", m.role as "role?: Role", k.id as "id: CommentId",
                  k.discussion_id as "discussion_id: DiscussionId", k.parent_id as "parent_id: CommentId", k.depth, k.text,
                  k.created_at, k.updated_at, k.deleted_at, k.author_id as "author_id: UserId", u.username, u.avatar_url, p.name as "pseudonym?",
                  (select is_active from users where id = $2) as viewer_is_active
           from comments k
           join discussions d on d.id = k.discussion_id
           join communities c on c.id = d.community_id
           join users u on u.id = k.author_id
           left join pseudonyms p on p.id = k.pseudonym_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           where k.id = $1"#,
        id as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::CommentNotFound)?;
    Standing { kind: row.kind, role: row.role, viewer_is_active: row.viewer_is_active }
        .may_read(viewer, ErrorCode::CommentNotFound)?;
    Ok(Row {
        id: row.id,
        discussion_id: row.discussion_id,
        parent_id: row.parent_id,
        depth: row.depth,
        text: row.text,
        created_at: row.created_at,
        updated_at: row.updated_at,
        deleted_at: row.deleted_at,
        author_id: row.author_id,
        username: row.username,
        avatar_url: row.avatar_url,
        pseudonym: row.pseudonym,
    }
    .into())
}

/// Where a comment is to hang.
pub struct Parent {
    /// The first comment of its branch.
    pub root_id: CommentId,
    /// The level of the reply.
    pub depth: i16,
}

/// The comment to reply to in `discussion`. `parent_not_found` where it is not in that discussion, `comment_deleted`,
/// `comment_too_deep` where it is at the deepest level already.
pub async fn parent(db: impl PgExecutor<'_>, discussion: DiscussionId, id: CommentId) -> Result<Parent> {
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
    if row.depth >= DEEPEST {
        return Err(ApiError::from(ErrorCode::CommentTooDeep).field("parent_id", "is itself at the third level"));
    }
    Ok(Parent { root_id: row.root_id, depth: row.depth + 1 })
}

/// Stands in the event that [`insert`] is given. The statement puts the discussion's new count there, which only it knows.
pub const COUNTED_BY_THE_STATEMENT: i64 = 0;

/// Whether [`insert`] has written.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It has.
    Done,
    /// The discussion is deleted, or the author renamed, since it was asked who writes where: ask [`is_live`].
    Nothing,
}

/// Writes a comment by `user` into a live discussion, counts it, and adds its event to the outbox: one statement, so that it
/// takes one round trip. Nothing is written and the result says why where the discussion is a tombstone by now or the author is
/// no longer called as the event says.
///
/// The counter's row is locked before the outbox row is written, which gives a discussion's events the order of its commits.
/// The author's row is held until the commit, so that a rename comes after the event and sees the comment (migration 0010).
pub async fn insert(
    last: LastStatement,
    comment: &Comment,
    root_id: Option<CommentId>,
    user: UserId,
    pseudonym_id: Option<PseudonymId>,
    event: &Change,
) -> Result<Inserted> {
    let written = sqlx::query!(
        r#"with author as (
               select from users u, (select $12::text::jsonb -> 'author' as told) event
               where u.id = $6 and ($7::bigint is not null or (u.username = event.told ->> 'username'
                   and u.avatar_url is not distinct from event.told ->> 'avatar_url'))
               for share of u
           ), counted as (
               update discussions set comment_count = comment_count + 1
               where id = $1 and deleted_at is null and exists (select from author)
               returning comment_count
           ), written as (
               insert into comments (id, discussion_id, root_id, parent_id, depth, author_id, pseudonym_id, text, created_at, updated_at)
               overriding system value
               select $2::bigint, $1, coalesce($3, $2::bigint), $4, $5, $6, $7, $8, $9, $9 from counted
               returning id
           ), told as (
               insert into outbox (community_id, type, payload)
               select $10, $11, ($12::text::jsonb || jsonb_build_object('comment_count', comment_count))::json
               from counted
           )
           select id from written"#,
        comment.discussion_id as _,
        comment.id as _,
        root_id as _,
        comment.parent_id as _,
        comment.depth,
        user as _,
        pseudonym_id as _,
        comment.text.as_deref().unwrap_or_default(),
        comment.created_at,
        event.community_id() as _,
        event.kind(),
        outbox::payload(event)?
    )
    .fetch_optional(last)
    .await?;
    Ok(if written.is_some() { Inserted::Done } else { Inserted::Nothing })
}

/// Whether the discussion is there and not deleted.
pub async fn is_live(db: impl PgExecutor<'_>, discussion: DiscussionId) -> Result<bool> {
    let is_live = sqlx::query_scalar!(
        r#"select exists (select from discussions where id = $1 and deleted_at is null) as "is_live!""#,
        discussion as _
    );
    Ok(is_live.fetch_one(db).await?)
}

/// A changed comment and where it is.
pub struct Changed {
    /// The comment.
    pub comment: Comment,
    /// The community it is in.
    pub community_id: CommunityId,
    /// The article it is about.
    pub article_id: ArticleId,
}

/// Changes the text of a live comment. None where it is deleted by now. A rename of the author waits for the event that carries
/// the name.
pub async fn update(write: &mut Write, id: CommentId, text: &str) -> Result<Option<Changed>> {
    let row = sqlx::query!(
        r#"with changed as (
               update comments set text = $2, updated_at = clock_timestamp() where id = $1 and deleted_at is null
               returning id, discussion_id, parent_id, depth, text, created_at, updated_at, deleted_at, author_id, pseudonym_id
           )
           select k.id as "id: CommentId", k.discussion_id as "discussion_id: DiscussionId",
                  k.parent_id as "parent_id: CommentId", k.depth, k.text, k.created_at, k.updated_at, k.deleted_at,
                  k.author_id as "author_id: UserId", d.community_id as "community_id: CommunityId",
                  d.article_id as "article_id: ArticleId", u.username, u.avatar_url, p.name as "pseudonym?"
           from changed k
           join discussions d on d.id = k.discussion_id
           join users u on u.id = k.author_id
           left join pseudonyms p on p.id = k.pseudonym_id
           for share of u"#,
        id as _,
        text
    )
    .fetch_optional(write)
    .await?;
    Ok(row.map(|row| Changed {
        community_id: row.community_id,
        article_id: row.article_id,
        comment: Row {
            id: row.id,
            discussion_id: row.discussion_id,
            parent_id: row.parent_id,
            depth: row.depth,
            text: row.text,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
            author_id: row.author_id,
            username: row.username,
            avatar_url: row.avatar_url,
            pseudonym: row.pseudonym,
        }
        .into(),
    }))
}

/// A comment just deleted.
pub struct Deleted {
    /// The community it was in.
    pub community_id: CommunityId,
    /// The article it was about.
    pub article_id: ArticleId,
    /// The discussion it was in.
    pub discussion_id: DiscussionId,
    /// The comment it replied to.
    pub parent_id: Option<CommentId>,
    /// How many comments still live in the discussion.
    pub comment_count: i64,
    /// When it was deleted.
    pub deleted_at: DateTime<Utc>,
}

/// Makes a live comment a tombstone and counts it off. None where it was one already.
///
/// The discussion's row is locked first, as in [`insert`]: the same order everywhere, so that no two writers wait for each
/// other.
pub async fn delete(write: &mut Write, id: CommentId) -> Result<Option<Deleted>> {
    let place = sqlx::query!(
        r#"select d.id as "id: DiscussionId", d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId"
         from discussions d
         where d.id = (select discussion_id from comments where id = $1)
         for no key update of d"#,
        id as _
    )
    .fetch_one(&mut *write)
    .await?;
    let row = sqlx::query!(
        r#"with gone as (
               update comments set text = '', deleted_at = clock_timestamp()
               where id = $1 and deleted_at is null
               returning parent_id, deleted_at
           ), counted as (
               update discussions set comment_count = comment_count - 1
               where id = $2 and exists (select from gone)
               returning comment_count
           )
           select gone.parent_id as "parent_id: CommentId", gone.deleted_at as "deleted_at!", counted.comment_count from gone, counted"#,
        id as _,
        place.id as _
    )
    .fetch_optional(write)
    .await?;
    Ok(row.map(|row| Deleted {
        community_id: place.community_id,
        article_id: place.article_id,
        discussion_id: place.id,
        parent_id: row.parent_id,
        comment_count: row.comment_count,
        deleted_at: row.deleted_at,
    }))
}
