//! The SQL of discussions.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::{
    model::{Discussion, DiscussionPatch, NewDiscussion},
    resolver::Resolver,
};
use crate::{
    auth::{Viewer, access::CommunityAccess},
    authors::{Author, Identity, Pseudonym, store::ResolvedAuthor},
    db::{Write, composite},
    directory::{Role, Visibility},
    error::{ApiError, ErrorCode, Result},
    events::{FollowLevel, VoteValue},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, PseudonymId, UserId},
    mentions::{self, store::Mentions},
};

composite! {
    /// A discussion with its author. A statement calls the discussion `d`, its author's user `u`, the viewer's vote `own`, their
    /// membership `m`, what they have read of it `r`, its comments that they have not read `unread`, what they said about following it
    /// `f`, and the level of its article `article`.
    struct DiscussionRow in query_discussion! {
        id: DiscussionId = "d.id",
        community_id: CommunityId = "d.community_id",
        article_id: ArticleId = "d.article_id",
        topic: String = "d.topic",
        text: String = "d.text",
        is_resolved: bool = "d.is_resolved",
        comment_count: i64 = "d.comment_count",
        upvotes: i64 = "d.upvotes",
        downvotes: i64 = "d.downvotes",
        own_vote: Option<VoteValue> = "own.value",
        is_unread: Option<bool> = "is_unread(d.author_id, d.created_at, d.deleted_at, m.user_id, m.created_at) and r.is_read is not true",
        unread_count: Option<i64> = "unread.count",
        first_unread_comment_id: Option<CommentId> = "unread.first",
        comment_version: i64 = "d.comment_version",
        follow_level: Option<FollowLevel> = "f.level",
        article_level: Option<FollowLevel> = "article.level",
        has_written: Option<bool> = "d.author_id = m.user_id or exists (select from comments where author_id = m.user_id and discussion_id = d.id)",
        created_at: DateTime<Utc> = "d.created_at",
        updated_at: DateTime<Utc> = "d.updated_at",
        edited_at: Option<DateTime<Utc>> = "d.edited_at",
        resolved_at: Option<DateTime<Utc>> = "d.resolved_at",
        resolver: Option<Identity> = "case when d.resolved_by is not null then (select row(s.id, s.username, s.avatar_url, case when s.pseudonym is not null then row(s.pseudonym, s.avatar_url) end) from shown_resolver(d.resolved_by, d.resolved_pseudonym_id) s) end",
        deleted_at: Option<DateTime<Utc>> = "d.deleted_at",
        author_id: UserId = "d.author_id",
        username: String = "u.username",
        avatar_url: Option<String> = "u.avatar_url",
        pseudonym: Option<Pseudonym> = "(select row(name, avatar_url) from pseudonyms where id = d.pseudonym_id)",
        mentions: Option<Vec<Identity>> = "case when d.mentioned_users is not null or d.mentioned_pseudonyms is not null then array(select row(s.id, s.username, s.avatar_url, case when s.pseudonym is not null then row(s.pseudonym, s.avatar_url) end) from shown_mentions(d.mentioned_users, d.mentioned_pseudonyms) s) end",
    }
}

// Below the row, whose macro it uses.
mod page;
pub(crate) use self::page::page;

impl DiscussionRow {
    /// The discussion for a viewer, who may be a member, and may write there.
    fn shown_to(self, is_member: bool, is_writer: bool) -> Discussion {
        let is_live = self.deleted_at.is_none();
        let follow_level = self.follow_level.unwrap_or_default();
        let has_written = self.has_written.unwrap_or_default();
        let is_followed = follow_level.or(self.article_level.unwrap_or_default()).is_followed(has_written);
        let author = Author::from(Identity {
            user_id: self.author_id,
            username: self.username,
            avatar_url: self.avatar_url,
            pseudonym: self.pseudonym,
        });
        Discussion {
            id: self.id,
            community_id: self.community_id,
            article_id: self.article_id,
            topic: is_live.then_some(self.topic),
            text: is_live.then_some(self.text),
            author: is_live.then_some(author),
            mentions: self.mentions.filter(|_| is_live).into_iter().flatten().map(Author::from).collect(),
            is_resolved: self.is_resolved,
            comment_count: self.comment_count,
            upvotes: self.upvotes,
            downvotes: self.downvotes,
            own_vote: is_writer.then(|| self.own_vote.unwrap_or_default()),
            is_unread: is_member.then(|| self.is_unread.unwrap_or_default()),
            unread_count: is_member.then(|| self.unread_count.unwrap_or_default()),
            first_unread_comment_id: self.first_unread_comment_id,
            comment_version: self.comment_version,
            follow_level: is_member.then_some(follow_level),
            has_written: is_member.then_some(has_written),
            is_followed: is_member.then_some(is_followed),
            created_at: self.created_at,
            updated_at: self.updated_at,
            edited_at: self.edited_at,
            resolved_at: self.resolved_at,
            // The author may have resolved it, and a tombstone does not show the author.
            resolved_by: self.resolver.filter(|_| is_live).map(Author::from),
            deleted_at: self.deleted_at,
        }
    }
}

/// Reads a discussion for `viewer`.
pub(crate) async fn get(db: impl PgExecutor<'_>, viewer: Option<&Viewer>, id: DiscussionId) -> Result<Discussion> {
    let found = query_discussion!(
        r#"select c.id as "community_id: CommunityId", c.kind as "kind: Visibility", m.role as "role?: Role",
                  v.is_active as "viewer_is_active?", case when may_read(c.kind, m.role, $2, v.is_active) then (select "#,
        r#" from users u
                       left join discussion_votes own on own.discussion_id = d.id and own.user_id = $2
                       left join read_states r on r.user_id = m.user_id and r.discussion_id = d.id
                       left join discussion_follows f on f.user_id = m.user_id and f.discussion_id = d.id
                       cross join lateral said_about_article(m.user_id, m.role, d.community_id, d.article_id) article
                       cross join lateral unread_comments(
                           d.id, d.created_at, d.comment_count, d.comment_version, m.user_id, m.created_at,
                           r.comments, r.comment_version, r.joined_at, r.unread_count, r.first_unread) unread
                       where u.id = d.author_id) end as "discussion: DiscussionRow"
           from discussions d
           join communities c on c.id = d.community_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           left join users v on v.id = $2
           where d.id = $1"#,
        id as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::DiscussionNotFound)?;
    let access = CommunityAccess {
        community_id: found.community_id,
        visibility: found.kind,
        role: found.role,
        viewer_is_active: found.viewer_is_active,
    };
    access.may_read(viewer, ErrorCode::DiscussionNotFound)?;
    let discussion =
        found.discussion.ok_or_else(|| ApiError::internal("the statement read no discussion for a reader"))?;
    Ok(discussion.shown_to(found.role.is_some(), access.is_writer(viewer)))
}

/// Writes a discussion by `user`.
pub(crate) async fn insert(
    write: &mut Write,
    user: UserId,
    article: ArticleId,
    new: &NewDiscussion,
    author: ResolvedAuthor,
    mentions: &Mentions,
) -> Result<Discussion> {
    let row = sqlx::query!(
        r#"insert into discussions
             (community_id, article_id, author_id, pseudonym_id, topic, text, mentioned_users, mentioned_pseudonyms)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         returning id as "id: DiscussionId", created_at,
             (select level from said_about(author_id, id, community_id, article_id)) is not distinct from 'mute' as "is_muted!""#,
        new.community_id as _,
        article as _,
        user as _,
        author.pseudonym_id as _,
        new.topic,
        new.text,
        mentions.users() as _,
        mentions.pseudonyms() as _
    )
    .fetch_one(write)
    .await?;
    let mentions = mentions.shown.clone();
    Ok(Discussion::new(row.id, article, new, author.author, mentions, !row.is_muted, row.created_at))
}

/// A live discussion whose row is locked until the commit, and who is behind the names that it shows.
pub(super) struct LockedDiscussion {
    pub discussion: Discussion,
    pub author_id: UserId,
    pub author_pseudonym_id: Option<PseudonymId>,
    pub resolver_id: Option<UserId>,
    pub resolver_pseudonym_id: Option<PseudonymId>,
    pub mentioned_users: Option<Vec<UserId>>,
    pub mentioned_pseudonyms: Option<Vec<PseudonymId>>,
}

/// Locks a discussion and reads it for a writer, who may be a member. None if it is deleted. The rows of the author and of those whom it
/// mentions are held too, so that a rename comes after the event that carries the name.
///
/// Two statements, because a statement that waits for a row reads the others as they were before: a pseudonym under which
/// somebody has resolved the discussion meanwhile would be missing.
pub(super) async fn lock(
    write: &mut Write,
    writer: UserId,
    is_member: bool,
    id: DiscussionId,
) -> Result<Option<LockedDiscussion>> {
    let mentioned = sqlx::query_scalar!(
        r#"select mentioned_users as "users: Vec<UserId>" from discussions where id = $1 for no key update"#,
        id as _
    );
    let mentioned = mentioned.fetch_optional(&mut *write).await?.flatten().unwrap_or_default();
    mentions::store::hold_names(write, &mentioned).await?;
    let found = query_discussion!(
        "select ",
        r#" as "discussion!: DiscussionRow", d.pseudonym_id as "author_pseudonym_id: PseudonymId",
                  d.resolved_by as "resolver_id: UserId", d.resolved_pseudonym_id as "resolver_pseudonym_id: PseudonymId",
                  d.mentioned_users as "mentioned_users: Vec<UserId>", d.mentioned_pseudonyms as "mentioned_pseudonyms: Vec<PseudonymId>"
           from discussions d
           join users u on u.id = d.author_id
           left join discussion_votes own on own.discussion_id = d.id and own.user_id = $2
           left join memberships m on m.community_id = d.community_id and m.user_id = $2
           left join read_states r on r.user_id = m.user_id and r.discussion_id = d.id
           left join discussion_follows f on f.user_id = m.user_id and f.discussion_id = d.id
           cross join lateral said_about_article(m.user_id, m.role, d.community_id, d.article_id) article
           cross join lateral unread_comments(
               d.id, d.created_at, d.comment_count, d.comment_version, m.user_id, m.created_at,
               r.comments, r.comment_version, r.joined_at, r.unread_count, r.first_unread) unread
           where d.id = $1 and d.deleted_at is null
           for share of u"#,
        id as _,
        writer as _
    )
    .fetch_optional(write)
    .await?;
    Ok(found.map(|row| LockedDiscussion {
        author_id: row.discussion.author_id,
        author_pseudonym_id: row.author_pseudonym_id,
        resolver_id: row.resolver_id,
        resolver_pseudonym_id: row.resolver_pseudonym_id,
        mentioned_users: row.mentioned_users,
        mentioned_pseudonyms: row.mentioned_pseudonyms,
        discussion: row.discussion.shown_to(is_member, true),
    }))
}

/// Changes a discussion that [`lock`] has locked. `mentions` are those of a new text. A trigger sets `edited_at` and `resolved_at` (migration 0012).
pub(super) async fn update(
    write: &mut Write,
    discussion: Discussion,
    patch: &DiscussionPatch,
    resolver: Option<Resolver>,
    mentions: Option<Mentions>,
) -> Result<Discussion> {
    // The clock may be set back. The version must be another one nevertheless.
    let row = sqlx::query!(
        r#"update discussions
           set topic = coalesce($2, topic), text = coalesce($3, text), is_resolved = coalesce($4, is_resolved),
               resolved_by = $5, resolved_pseudonym_id = $6,
               mentioned_users = case when $7 then $8 else mentioned_users end,
               mentioned_pseudonyms = case when $7 then $9 else mentioned_pseudonyms end,
               updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
           where id = $1
           returning is_resolved, updated_at, edited_at, resolved_at"#,
        discussion.id as _,
        patch.topic,
        patch.text,
        patch.is_resolved,
        resolver.as_ref().map(|resolver| resolver.user_id) as _,
        resolver.as_ref().and_then(|resolver| resolver.shown.pseudonym_id) as _,
        mentions.is_some(),
        mentions.as_ref().and_then(Mentions::users) as _,
        mentions.as_ref().and_then(Mentions::pseudonyms) as _
    )
    .fetch_one(write)
    .await?;
    Ok(Discussion {
        topic: patch.topic.clone().or(discussion.topic),
        text: patch.text.clone().or(discussion.text),
        mentions: mentions.map_or(discussion.mentions, |mentions| mentions.shown),
        is_resolved: row.is_resolved,
        updated_at: row.updated_at,
        edited_at: row.edited_at,
        resolved_at: row.resolved_at,
        resolved_by: resolver.map(|resolver| resolver.shown.author),
        ..discussion
    })
}

/// Makes a live discussion a tombstone and returns when that was. None if it is a tombstone already.
pub(crate) async fn delete(write: &mut Write, id: DiscussionId) -> Result<Option<DateTime<Utc>>> {
    let row = sqlx::query!(
        r#"update discussions
           set topic = '', text = '', mentioned_users = null, mentioned_pseudonyms = null, deleted_at = clock_timestamp()
           where id = $1 and deleted_at is null
           returning deleted_at as "deleted_at!""#,
        id as _
    )
    .fetch_optional(write)
    .await?;
    Ok(row.map(|row| row.deleted_at))
}
