//! The SQL of comments.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::model::{Comment, MAX_DEPTH};
use crate::{
    auth::{Viewer, access::CommunityAccess},
    authors::{Author, Identity, Pseudonym, store::ResolvedAuthor},
    db::{LastStatement, Write, composite},
    directory::{Role, Visibility},
    error::{ApiError, ErrorCode, Result},
    events::{VoteValue, outbox::UncountedChange},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, PseudonymId, UserId},
    mentions::store::Mentions,
    notifications::store::query_notifying,
};

composite! {
    /// A comment with its author. A statement calls the comment `k`, its author's user `u`, the viewer's vote `own`, their membership `m`
    /// and what they have read of the discussion `r`.
    struct CommentRow in query_comment! {
        id: CommentId = "k.id",
        discussion_id: DiscussionId = "k.discussion_id",
        root_id: CommentId = "k.root_id",
        parent_id: Option<CommentId> = "k.parent_id",
        depth: i16 = "k.depth",
        text: String = "k.text",
        created_at: DateTime<Utc> = "k.created_at",
        updated_at: DateTime<Utc> = "k.updated_at",
        // Only an edit moves `updated_at` (migration 0012), but for the import from Django: it adds a microsecond each time that it makes a
        // quote anew, or hangs a comment elsewhere.
        edited_at: Option<DateTime<Utc>> = "case when k.updated_at >= k.created_at + interval '1 millisecond' then k.updated_at end",
        deleted_at: Option<DateTime<Utc>> = "k.deleted_at",
        upvotes: i64 = "k.upvotes",
        downvotes: i64 = "k.downvotes",
        own_vote: Option<VoteValue> = "own.value",
        is_unread: Option<bool> = "is_unread(k.author_id, k.created_at, k.deleted_at, m.user_id, m.created_at) and (k.id <@ r.comments) is not true",
        author_id: UserId = "k.author_id",
        username: String = "u.username",
        avatar_url: Option<String> = "u.avatar_url",
        pseudonym: Option<Pseudonym> = "(select row(name, avatar_url) from pseudonyms where id = k.pseudonym_id)",
        mentions: Option<Vec<Identity>> = "case when k.mentioned_users is not null or k.mentioned_pseudonyms is not null then array(select row(s.id, s.username, s.avatar_url, case when s.pseudonym is not null then row(s.pseudonym, s.avatar_url) end) from shown_mentions(k.mentioned_users, k.mentioned_pseudonyms) s) end",
    }
}

// Below the row, whose macro it uses.
mod page;
pub(crate) use self::page::{page, position};

impl CommentRow {
    /// The comment for a viewer, who may be a member, and may write there.
    fn shown_to(self, is_member: bool, is_writer: bool) -> Comment {
        let is_live = self.deleted_at.is_none();
        let author = Author::from(Identity {
            user_id: self.author_id,
            username: self.username,
            avatar_url: self.avatar_url,
            pseudonym: self.pseudonym,
        });
        Comment {
            id: self.id,
            discussion_id: self.discussion_id,
            parent_id: self.parent_id,
            depth: self.depth,
            text: is_live.then_some(self.text),
            author: is_live.then_some(author),
            mentions: self.mentions.filter(|_| is_live).into_iter().flatten().map(Author::from).collect(),
            upvotes: self.upvotes,
            downvotes: self.downvotes,
            own_vote: is_writer.then(|| self.own_vote.unwrap_or_default()),
            is_unread: is_member.then(|| self.is_unread.unwrap_or_default()),
            created_at: self.created_at,
            updated_at: self.updated_at,
            edited_at: self.edited_at,
            deleted_at: self.deleted_at,
        }
    }
}

/// Reads a comment for `viewer`.
pub(crate) async fn get(db: impl PgExecutor<'_>, viewer: Option<&Viewer>, id: CommentId) -> Result<Comment> {
    let found = query_comment!(
        r#"select c.id as "community_id: CommunityId", c.kind as "kind: Visibility", m.role as "role?: Role",
                  v.is_active as "viewer_is_active?", case when may_read(c.kind, m.role, $2, v.is_active) then (select "#,
        r#" from users u left join comment_votes own on own.comment_id = k.id and own.user_id = $2
                       where u.id = k.author_id) end as "comment: CommentRow"
           from comments k
           join discussions d on d.id = k.discussion_id
           join communities c on c.id = d.community_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           left join read_states r on r.discussion_id = d.id and r.user_id = m.user_id
           left join users v on v.id = $2
           where k.id = $1"#,
        id as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::CommentNotFound)?;
    let access = CommunityAccess {
        community_id: found.community_id,
        visibility: found.kind,
        role: found.role,
        viewer_is_active: found.viewer_is_active,
    };
    access.may_read(viewer, ErrorCode::CommentNotFound)?;
    let comment = found.comment.ok_or_else(|| ApiError::internal("the statement read no comment for a reader"))?;
    Ok(comment.shown_to(found.role.is_some(), access.is_writer(viewer)))
}

/// What a reply needs to know of the comment that it replies to.
pub(crate) struct Parent {
    /// The comment of the first level above the reply.
    pub root_id: CommentId,
    /// The depth of the reply.
    pub depth: i16,
    /// Who wrote the comment.
    pub author_id: UserId,
}

/// Reads the comment to reply to in `discussion`. `parent_not_found` if it is not in that discussion, `comment_deleted`, or
/// `comment_too_deep` if it is at the deepest level.
pub(crate) async fn parent(db: impl PgExecutor<'_>, discussion: DiscussionId, id: CommentId) -> Result<Parent> {
    let row = sqlx::query!(
        r#"select root_id as "root_id: CommentId", depth, author_id as "author_id: UserId", deleted_at is not null as "is_deleted!" from comments where discussion_id = $1 and id = $2"#,
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
    Ok(Parent { root_id: row.root_id, depth: row.depth + 1, author_id: row.author_id })
}

/// Whether [`insert`] has written.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It has.
    Done,
    /// It has not: since the handler read them, the discussion was deleted ([`is_live`]), or the author renamed, or a minute has passed.
    Nothing,
}

/// Writes a comment by `user` into a live discussion, counts it, adds its event to the outbox, and notifies those whom it mentions and
/// the authors of the comment that it replies to and of the discussion. All of that is one statement, because sqlx sends one statement a round trip.
///
/// The statement adds the discussion's new `comment_count` and `comment_version` to the event, as nobody knows them before.
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
    mentions: &Mentions,
    event: &UncountedChange,
) -> Result<Inserted> {
    let inserted = query_notifying!(
        r#"with author as (
               select from users u
               where u.id = $6 and ($7::bigint is not null or (u.username = $10 and u.avatar_url is not distinct from $11))
               for share of u
           ), counted as (
               update discussions set comment_count = comment_count + 1
               where id = $1 and deleted_at is null and exists (select from author)
                 and $9 > clock_timestamp() - interval '1 minute'
               returning comment_count, comment_version, author_id
           ), inserted as (
               insert into comments (id, discussion_id, root_id, parent_id, depth, author_id, pseudonym_id, text, created_at, updated_at,
                                     mentioned_users, mentioned_pseudonyms)
               overriding system value
               select $2::bigint, $1, coalesce($3, $2::bigint), $4, $5, $6, $7, $8, $9, $9, $17, $18 from counted
               returning id
           ), emitted as (
               insert into outbox (community_id, type, payload)
               select $12, $13, ($14::text::jsonb || jsonb_build_object('comment_count', comment_count, 'comment_version', comment_version))::json
               from counted
               returning community_id
           ), cause as (
               select community_id, $15::bigint as article_id, $1::bigint as discussion_id, $2::bigint as comment_id,
                      $6::bigint as author_id, $9::timestamptz as created_at
               from emitted
           ), recipients as (
               select unnest($19::bigint[]) as user_id, 'mention' as kind
               union all
               select $16::bigint, 'reply'
               union all
               select author_id, 'comment' from counted
           )"#,
        " select id from inserted",
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
        event.payload()?,
        event.article_id() as _,
        parent.map(|parent| parent.author_id) as _,
        mentions.users() as _,
        mentions.pseudonyms() as _,
        &mentions.recipients() as _
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
    pub mentioned_users: Option<Vec<UserId>>,
    pub mentioned_pseudonyms: Option<Vec<PseudonymId>>,
}

/// Locks a comment and reads it for its author, who has no vote on it and has read it. None if it is deleted. The statement holds the
/// author's row too, so that a rename comes after the event that carries the name.
pub(crate) async fn lock(write: &mut Write, id: CommentId) -> Result<Option<LockedComment>> {
    let found = query_comment!(
        "select ",
        r#" as "comment!: CommentRow", d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId",
                  k.mentioned_users as "mentioned_users: Vec<UserId>", k.mentioned_pseudonyms as "mentioned_pseudonyms: Vec<PseudonymId>"
           from comments k
           join discussions d on d.id = k.discussion_id
           join users u on u.id = k.author_id
           cross join (select null::smallint as value) own
           cross join (select null::bigint as user_id, null::timestamptz as created_at) m
           cross join (select null::int8multirange as comments) r
           where k.id = $1 and k.deleted_at is null
           for no key update of k for share of u"#,
        id as _
    )
    .fetch_optional(write)
    .await?;
    Ok(found.map(|row| LockedComment {
        comment: row.comment.shown_to(true, true),
        community_id: row.community_id,
        article_id: row.article_id,
        mentioned_users: row.mentioned_users,
        mentioned_pseudonyms: row.mentioned_pseudonyms,
    }))
}

/// Changes the text of a comment that [`lock`] has locked.
pub(crate) async fn update(write: &mut Write, comment: Comment, text: String, mentions: Mentions) -> Result<Comment> {
    // The clock may be set back. The version must be another one nevertheless, and be shown as an edit (`CommentRow::edited_at`).
    let updated_at = sqlx::query_scalar!(
        "update comments
         set text = $2, mentioned_users = $3, mentioned_pseudonyms = $4,
             updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond', created_at + interval '1 millisecond')
         where id = $1
         returning updated_at",
        comment.id as _,
        text,
        mentions.users() as _,
        mentions.pseudonyms() as _
    )
    .fetch_one(write)
    .await?;
    Ok(Comment { text: Some(text), mentions: mentions.shown, updated_at, edited_at: Some(updated_at), ..comment })
}

/// What the event of a deleted comment shows.
pub(crate) struct Deleted {
    pub community_id: CommunityId,
    pub article_id: ArticleId,
    pub discussion_id: DiscussionId,
    pub parent_id: Option<CommentId>,
    /// The number of comments in the discussion that are not deleted.
    pub comment_count: i64,
    pub comment_version: i64,
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
               update comments
               set text = '', mentioned_users = null, mentioned_pseudonyms = null, deleted_at = clock_timestamp()
               where id = $1 and deleted_at is null
               returning parent_id, deleted_at
           ), counted as (
               update discussions set comment_count = comment_count - 1
               where id = $2 and exists (select from deleted)
               returning comment_count, comment_version
           )
           select deleted.parent_id as "parent_id: CommentId", deleted.deleted_at as "deleted_at!", counted.comment_count, counted.comment_version
           from deleted, counted"#,
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
        comment_version: row.comment_version,
        deleted_at: row.deleted_at,
    }))
}
