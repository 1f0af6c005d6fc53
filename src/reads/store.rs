//! The SQL of read states.
//!
//! A mark is written in two statements of one transaction. The first adds to the member's row and so locks it. The second sees the
//! row as it is then ([`refresh`]): marks from several tabs add up, and their events come in the order of their commits.
//!
//! A range may stand for comments that nobody has asked for, as long as none of them can be unread. So the ranges of a member who reads
//! everything are one. But a comment gets its id before it is committed, and a comment with a lower id may be committed later. It must
//! not be read before anybody could see it. So a range covers only ids below that of a comment that is older than [`COMMIT_HORIZON`].

use sqlx::{PgExecutor, postgres::types::PgInterval};

use super::model::{NewMarks, Unread, UnreadArticle, UnreadCommunity, UnreadDiscussion};
use crate::{
    auth::Viewer,
    db::Write,
    error::{ErrorCode, Result},
    events::{Change, ReadState, ReadStateChange},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId, UserId},
};

/// A comment that is older than this has no uncommitted one before it: one that is a minute old is not written any more.
const COMMIT_HORIZON: PgInterval = PgInterval { months: 0, days: 0, microseconds: 2 * 60 * 1_000_000 };
/// The most ranges of a row. Of more, the shortest are forgotten, the oldest first: what they covered is unread again.
const MAX_RANGES: i64 = 1_000;
/// The most ranges of an event.
const MAX_RANGES_IN_EVENT: usize = 100;

/// Adds marks to the member's row of the discussion. Returns the discussion if that has changed the row.
pub(super) async fn mark_read(
    write: &mut Write,
    member: UserId,
    discussion: DiscussionId,
    marks: &NewMarks,
) -> Result<Vec<DiscussionId>> {
    let ids: Vec<i64> = marks.comment_ids.iter().map(|id| id.get()).collect();
    let changed = sqlx::query_scalar!(
        r#"with newest as (
               select max(id) as id from (
                   select id from comments
                   where discussion_id = $2 and id <= $5 and created_at < clock_timestamp() - $6::interval
                   order by discussion_id desc, id desc limit 1
               ) found
           ), new as (
               select coalesce(range_agg(ids), '{}') as comments from (
                   select int8range(1, id, '[]') as ids from newest where id is not null
                   union all
                   select int8range(k.id, k.id, '[]')
                   from comments k
                   join discussions d on d.id = k.discussion_id
                   join memberships m on m.community_id = d.community_id and m.user_id = $1
                   where k.discussion_id = $2
                     and (k.id = any($4) or k.id <= $5 and k.id > coalesce((select id from newest), 0))
                     and is_unread(k.author_id, k.created_at, k.deleted_at, m.user_id, m.created_at)
               ) found
           )
           insert into read_states as r (user_id, discussion_id, is_read, comments)
           select $1, $2, $3, comments from new where $3 or not isempty(comments)
           on conflict (user_id, discussion_id) do update
               set is_read = r.is_read or excluded.is_read, comments = r.comments + excluded.comments
               where (r.is_read or excluded.is_read, r.comments + excluded.comments) is distinct from (r.is_read, r.comments)
           returning discussion_id as "discussion_id: DiscussionId""#,
        member as _,
        discussion as _,
        marks.discussion,
        &ids,
        marks.up_to_comment_id as _,
        COMMIT_HORIZON
    )
    .fetch_all(write)
    .await?;
    Ok(changed)
}

/// Takes marks of the discussion back: of all comments from `from` on, or of everything. Returns the discussion if that has changed
/// the row.
pub(super) async fn mark_unread(
    write: &mut Write,
    member: UserId,
    discussion: DiscussionId,
    from: Option<CommentId>,
) -> Result<Vec<DiscussionId>> {
    let changed = sqlx::query_scalar!(
        r#"update read_states
           set is_read = is_read and $3::bigint is not null,
               comments = comments - int8multirange(int8range(coalesce($3::bigint, 1), null))
           where user_id = $1 and discussion_id = $2
             and (is_read and $3::bigint is null or comments && int8range(coalesce($3::bigint, 1), null))
           returning discussion_id as "discussion_id: DiscussionId""#,
        member as _,
        discussion as _,
        from as _
    )
    .fetch_all(write)
    .await?;
    Ok(changed)
}

/// Marks all live discussions of an article in a community as read, with their comments. Returns those whose rows have changed.
pub(super) async fn mark_article_read(
    write: &mut Write,
    member: UserId,
    article: ArticleId,
    community: CommunityId,
) -> Result<Vec<DiscussionId>> {
    let changed = sqlx::query_scalar!(
        r#"insert into read_states as r (user_id, discussion_id, is_read, comments)
           select $1, d.id, true, coalesce(older.ids, '{}') + newer.ids
           from discussions d
           join memberships m on m.community_id = d.community_id and m.user_id = $1
           left join read_states r on r.discussion_id = d.id and r.user_id = $1
           cross join lateral unread_comments(
               d.id, d.created_at, d.comment_count, d.comment_version, m.user_id, m.created_at,
               r.comments, r.comment_version, r.joined_at, r.unread_count, r.first_unread) unread
           left join lateral (
               select k.id, int8multirange(int8range(1, k.id, '[]')) as ids
               from comments k
               where k.discussion_id = d.id and k.created_at < clock_timestamp() - $4::interval
               order by k.discussion_id desc, k.id desc limit 1
           ) older on true
           cross join lateral (
               select coalesce(range_agg(int8range(k.id, k.id, '[]')), '{}') as ids
               from comments k
               where k.discussion_id = d.id and k.id > coalesce(older.id, 0)
                 and is_unread(k.author_id, k.created_at, k.deleted_at, m.user_id, m.created_at)
           ) newer
           where d.article_id = $2 and d.community_id = $3 and d.deleted_at is null
             and (unread.count > 0
                  or is_unread(d.author_id, d.created_at, d.deleted_at, m.user_id, m.created_at) and r.is_read is not true)
           order by d.id
           on conflict (user_id, discussion_id) do update
               set is_read = true, comments = r.comments + excluded.comments
               where not r.is_read or r.comments + excluded.comments <> r.comments
           returning discussion_id as "discussion_id: DiscussionId""#,
        member as _,
        article as _,
        community as _,
        COMMIT_HORIZON
    )
    .fetch_all(write)
    .await?;
    Ok(changed)
}

/// Closes the gaps between the ranges of discussions whose rows this transaction has locked, and returns their events. There is none for
/// a discussion in whose community the user is no member any more.
///
/// A gap is closed if nothing in it is unread and nothing unread can appear in it any more.
pub(super) async fn refresh(write: &mut Write, member: UserId, discussions: &[DiscussionId]) -> Result<Vec<Change>> {
    let ids: Vec<i64> = discussions.iter().map(|id| id.get()).collect();
    let rows = sqlx::query!(
        r#"with marked as (
               select r.discussion_id, r.comments, m.created_at as joined_at
               from read_states r
               join discussions d on d.id = r.discussion_id
               join memberships m on m.community_id = d.community_id and m.user_id = r.user_id
               where r.user_id = $1 and r.discussion_id = any($2)
           ), ranges as (
               select discussion_id, joined_at, ids,
                      int8range(coalesce(lag(upper(ids)) over (partition by discussion_id order by ids), 1), lower(ids)) as gap
               from marked cross join lateral unnest(comments) as ids
           ), closed as (
               select discussion_id, range_agg(gap) as gaps
               from ranges
               where not isempty(gap)
                 and exists (select from comments where id = upper(gap) and created_at < clock_timestamp() - $3::interval)
                 and not exists (
                     select from comments k
                     where k.discussion_id = ranges.discussion_id and k.id >= lower(gap) and k.id < upper(gap)
                       and k.deleted_at is null and k.author_id <> $1 and k.created_at > joined_at)
               group by discussion_id
           ), next as (
               select discussion_id, joined_at,
                      coalesce(
                          (select range_agg(ids) from (
                              select ids from unnest(marked.comments + coalesce(closed.gaps, '{}')) as ids
                              -- The first one has what was read long ago, however short it is.
                              order by lower(ids) = 1 desc, upper(ids) - lower(ids) desc, ids desc limit $4) newest),
                          '{}') as comments
               from marked left join closed using (discussion_id)
           ), counted as (
               update read_states r
               set comments = next.comments, unread_count = unread.count, first_unread = unread.first,
                   comment_version = d.comment_version, joined_at = next.joined_at
               from next
               join discussions d on d.id = next.discussion_id
               cross join lateral count_unread(d.id, $1, next.joined_at, next.comments) unread
               where r.user_id = $1 and r.discussion_id = next.discussion_id
               returning d.id, d.community_id, d.article_id, d.author_id, d.created_at, d.deleted_at,
                         r.is_read, r.comments, r.unread_count, r.first_unread, r.comment_version, r.joined_at
           )
           select id as "id: DiscussionId", community_id as "community_id: CommunityId", article_id as "article_id: ArticleId",
                  comment_version as "comment_version!", clock_timestamp() as "timestamp!",
                  coalesce(is_unread(author_id, created_at, deleted_at, $1, joined_at) and not is_read, false) as "is_unread!",
                  unread_count as "unread_count!", first_unread as "first_unread: CommentId",
                  array(select lower(ids) from unnest(comments) as ids order by ids limit $5 + 1) as "from!: Vec<CommentId>",
                  array(select upper(ids) - 1 from unnest(comments) as ids order by ids limit $5 + 1) as "to!: Vec<CommentId>"
           from counted order by id"#,
        member as _,
        &ids,
        COMMIT_HORIZON,
        MAX_RANGES,
        MAX_RANGES_IN_EVENT as i64
    )
    .fetch_all(write)
    .await?;
    let changes = rows.into_iter().map(|row| {
        let fits = row.from.len() <= MAX_RANGES_IN_EVENT;
        Change::ReadStateChanged(ReadStateChange {
            community_id: row.community_id,
            article_id: row.article_id,
            discussion_id: row.id,
            user_id: member,
            state: ReadState {
                is_unread: row.is_unread,
                unread_count: row.unread_count,
                first_unread_comment_id: row.first_unread,
                comment_version: row.comment_version,
            },
            read_comments: fits.then(|| row.from.into_iter().zip(row.to).collect()),
            timestamp: row.timestamp,
        })
    });
    Ok(changes.collect())
}

/// A discussion with something unread.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "record")]
struct UnreadRow {
    id: DiscussionId,
    community_id: CommunityId,
    article_id: ArticleId,
    topic: String,
    is_unread: Option<bool>,
    unread_count: i64,
    first_unread: Option<CommentId>,
    comment_version: i64,
}

/// The sums of an article in a community.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "record")]
struct SumsRow {
    community_id: CommunityId,
    article_id: ArticleId,
    discussions: i64,
    comments: i64,
}

/// Reads what is unread for the viewer in their communities: of `community` and `article` only, if they are given, and
/// only what they follow, if `followed`. The page has up to
/// `limit` discussions, newest first. It is one statement, so the answer and the head are of one snapshot (I4).
pub(super) async fn unread(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    community: Option<CommunityId>,
    article: Option<ArticleId>,
    followed: bool,
    before: Option<DiscussionId>,
    limit: i64,
) -> Result<Unread> {
    let found = sqlx::query!(
        r#"with unread as materialized (
               select d.id, d.community_id, d.article_id, d.comment_version, unread.count, unread.first,
                      is_unread(d.author_id, d.created_at, d.deleted_at, m.user_id, m.created_at) and r.is_read is not true as is_unread
               from memberships m
               join discussions d on d.community_id = m.community_id and d.deleted_at is null
               left join read_states r on r.user_id = m.user_id and r.discussion_id = d.id
               left join discussion_follows f on $7 and f.user_id = m.user_id and f.discussion_id = d.id
               left join article_follows af
                   on $7 and af.user_id = m.user_id and af.community_id = d.community_id and af.article_id = d.article_id
               cross join lateral unread_comments(
                   d.id, d.created_at, d.comment_count, d.comment_version, m.user_id, m.created_at,
                   r.comments, r.comment_version, r.joined_at, r.unread_count, r.first_unread) unread
               where m.user_id = $1 and ($2::bigint[] is null or m.community_id = any($2))
                 and ($3::bigint is null or m.community_id = $3) and ($4::bigint is null or d.article_id = $4)
                 and (unread.count > 0
                      or is_unread(d.author_id, d.created_at, d.deleted_at, m.user_id, m.created_at) and r.is_read is not true)
                 -- As `is_followed` of migration 0021.
                 and (not $7 or case coalesce(f.level, af.level) when 'follow' then true when 'mute' then false
                     else d.author_id = m.user_id or m.role = 'admin'
                         or exists (select from comments where author_id = m.user_id and discussion_id = d.id)
                         or exists (select from articles where id = d.article_id and submitter_id = m.user_id) end)
           ), sums as (
               select community_id, article_id, count(*) as discussions, sum(count)::bigint as comments
               from unread group by community_id, article_id
           )
           select (select last_assigned from event_head) as "head!: EventId", u.is_active,
                  array(select row(community_id, article_id, discussions, comments) from sums order by community_id, article_id)
                      as "sums!: Vec<SumsRow>",
                  array(select row(n.id, n.community_id, n.article_id, d.topic, n.is_unread, n.count, n.first, n.comment_version)
                        from (select id, community_id, article_id, is_unread, count, first, comment_version
                              from unread where id < coalesce($5, 9223372036854775807)
                              order by id desc limit $6::bigint + 1) n
                        join discussions d on d.id = n.id
                        order by n.id desc) as "page!: Vec<UnreadRow>"
           from users u where u.id = $1"#,
        viewer.user_id as _,
        viewer.scope.as_sql() as _,
        community as _,
        article as _,
        before as _,
        limit,
        followed
    )
    .fetch_optional(db)
    .await?
    .filter(|found| found.is_active)
    .ok_or(ErrorCode::TokenInvalid)?;
    let has_more = found.page.len() as i64 > limit;
    let discussions: Vec<_> = found.page.into_iter().take(limit as usize).map(UnreadDiscussion::from).collect();
    let articles: Vec<_> = found.sums.into_iter().map(UnreadArticle::from).collect();
    Ok(Unread {
        communities: by_community(&articles),
        articles,
        last_event_id: found.head,
        next_cursor: discussions.last().filter(|_| has_more).map(|last| last.id.to_string()),
        discussions,
    })
}

/// The sums of communities. `articles` are sorted by community.
fn by_community(articles: &[UnreadArticle]) -> Vec<UnreadCommunity> {
    let groups = articles.chunk_by(|one, next| one.community_id == next.community_id);
    let communities = groups.filter_map(|articles| {
        Some(UnreadCommunity {
            community_id: articles.first()?.community_id,
            discussions: articles.iter().map(|article| article.discussions).sum(),
            comments: articles.iter().map(|article| article.comments).sum(),
        })
    });
    communities.collect()
}

impl From<UnreadRow> for UnreadDiscussion {
    fn from(row: UnreadRow) -> Self {
        Self {
            id: row.id,
            community_id: row.community_id,
            article_id: row.article_id,
            topic: row.topic,
            is_unread: row.is_unread.unwrap_or_default(),
            unread_count: row.unread_count,
            first_unread_comment_id: row.first_unread,
            comment_version: row.comment_version,
        }
    }
}

impl From<SumsRow> for UnreadArticle {
    fn from(row: SumsRow) -> Self {
        Self {
            community_id: row.community_id,
            article_id: row.article_id,
            discussions: row.discussions,
            comments: row.comments,
        }
    }
}
