//! The SQL of a page of comments.

use sqlx::PgExecutor;

use super::{
    super::model::{COMMENTS_PER_ROOT, CommentCursor, CommentPage, CommentPosition, CommentTree, CommentWindow},
    CommentRow,
};
use crate::{
    auth::{Viewer, access::CommunityAccess},
    directory::{Role, Visibility},
    discussions::model::{ViewerInfo, ViewerMembership},
    error::{ApiError, ErrorCode, Result},
    events::FollowLevel,
    ids::{CommentId, CommunityId, DiscussionId, EventId},
    page::{self, PAGE_BYTES},
};

impl CommentRow {
    /// The position behind the comment.
    fn position(&self) -> CommentPosition {
        CommentPosition { root: self.root_id, comment: self.id }
    }

    /// What makes the comment long.
    fn texts(&self) -> [&str; 1] {
        [&self.text]
    }

    /// The position behind the last reply to its comment of the first level.
    fn end_of_root(&self) -> CommentPosition {
        CommentPosition { root: self.root_id, comment: CommentId::new(i64::MAX) }
    }
}

/// The position behind comment `id` of the discussion. None if the discussion has no such comment, or if the viewer may not read it.
pub(crate) async fn position(
    db: impl PgExecutor<'_>,
    viewer: Option<&Viewer>,
    discussion: DiscussionId,
    id: CommentId,
) -> Result<Option<CommentPosition>> {
    let root = sqlx::query_scalar!(
        r#"select case when may_read(c.kind, m.role, $3, v.is_active)
                       then (select root_id from comments where discussion_id = $1 and id = $2) end as "root: CommentId"
           from discussions d
           join communities c on c.id = d.community_id
           left join memberships m on m.community_id = c.id and m.user_id = $3 and ($4::bigint[] is null or c.id = any($4))
           left join users v on v.id = $3
           where d.id = $1"#,
        discussion as _,
        id as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _
    );
    let root = root.fetch_optional(db).await?.flatten();
    Ok(root.map(|root| CommentPosition { root, comment: id }))
}

/// Reads a page of the discussion's comments. Their order is that of the comments of the first level, each followed by all
/// replies below it, oldest first. In each direction of `window`, the page ends before the first comment of the first level that
/// is not wanted, at [`COMMENTS_PER_ROOT`] times as many comments, or near its share of [`PAGE_BYTES`].
///
/// It is one statement, so the comments and the head are of one snapshot (I4). The statement goes along the index of the order and
/// reads one comment more than fits into the page, and the comments above those, without their texts.
pub(crate) async fn page(
    db: impl PgExecutor<'_>,
    viewer: Option<&Viewer>,
    discussion: DiscussionId,
    window: CommentWindow,
) -> Result<CommentPage> {
    let CommentWindow { at, before, after } = window;
    let most = |roots: Option<i64>| (COMMENTS_PER_ROOT * roots.unwrap_or_default()) as usize;
    let rows_to_read = |roots: Option<i64>| roots.map_or(0, |_| most(roots) as i64 + 1);
    let bytes = if before.is_some() && after.is_some() { PAGE_BYTES / 2 } else { PAGE_BYTES };
    let found = query_comment!(
        r#"with next_root as (
               -- Written so that PostgreSQL cannot walk the index of all comments instead.
               select id from comments
               where parent_id is null and (discussion_id, id) > ($1, $4) and discussion_id <= $1
               order by discussion_id, id offset $6 limit 1
           ), previous_root as (
               select id from comments
               where parent_id is null and (discussion_id, id) <= ($1, least($4, $5)) and discussion_id >= $1
               order by discussion_id desc, id desc offset $8 limit 1
           ), later as (
               -- The size of a text is known without reading it.
               select id, root_id, parent_id, octet_length(text) as bytes
               from comments
               where discussion_id = $1 and (root_id, id) > ($4, $5)
                 and root_id < coalesce((select id from next_root), 9223372036854775807)
               order by root_id, id
               limit $7
           ), earlier as (
               select id, root_id, parent_id, octet_length(text) as bytes
               from comments
               where discussion_id = $1 and (root_id, id) <= ($4, $5)
                 and root_id > coalesce((select id from previous_root), 0)
               order by root_id desc, id desc
               limit $9
           ), sized as (
               -- Null where a text is null, which may not be: such a row is read too, and is an error.
               select id, root_id, parent_id, sum(bytes) over (order by root_id, id rows unbounded preceding) - bytes as bytes_before from later
               union all
               select id, root_id, parent_id, sum(bytes) over (order by root_id desc, id desc rows unbounded preceding) - bytes from earlier
           ), shown as (
               select id, root_id, parent_id from sized where (bytes_before < $10) is not false
           )
           select (select last_assigned from event_head) as "head!: EventId", d.community_id as "community_id: CommunityId",
                  c.kind as "kind: Visibility", m.role as "role?: Role", p.name as "own_pseudonym?",
                  m.created_at as "joined_at?", article.level as "follow_level: FollowLevel",
                  v.is_active as "viewer_is_active?",
                  case when may_read(c.kind, m.role, $2, v.is_active) and $7 > 0
                       then exists (select from next_root) end as "has_next_root?",
                  case when may_read(c.kind, m.role, $2, v.is_active) and $9 > 0
                       then exists (select from previous_root) end as "has_previous_root?",
                  case when may_read(c.kind, m.role, $2, v.is_active) then array(select id from shown) end as "shown: Vec<CommentId>",
                  case when may_read(c.kind, m.role, $2, v.is_active) then array(select "#,
        r#"
                        from (select id, discussion_id, root_id, parent_id, depth, author_id, pseudonym_id, created_at, updated_at,
                                     mentioned_users, mentioned_pseudonyms, deleted_at, upvotes, downvotes, case when id in (select id from shown) then text else '' end as text
                              from comments
                              where discussion_id = $1
                                and id in (select id from shown union select parent_id from shown union select root_id from shown)
                             ) k
                        join users u on u.id = k.author_id
                        left join comment_votes own on own.comment_id = k.id and own.user_id = $2
                        order by k.root_id, k.id) end as "comments: Vec<CommentRow>"
           from discussions d
           join communities c on c.id = d.community_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           left join pseudonyms p on p.community_id = c.id and p.article_id = d.article_id and p.user_id = m.user_id
           left join read_states r on r.discussion_id = d.id and r.user_id = m.user_id
           left join users v on v.id = $2
           cross join lateral said_about_article(m.user_id, m.role, d.community_id, d.article_id) article
           where d.id = $1"#,
        discussion as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _,
        at.root as _,
        at.comment as _,
        after.unwrap_or_default(),
        rows_to_read(after),
        before.unwrap_or_default(),
        rows_to_read(before),
        bytes as i64
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

    let membership = found.role.zip(found.joined_at).map(|(role, joined_at)| ViewerMembership {
        community_id: found.community_id,
        role,
        pseudonym: found.own_pseudonym,
        joined_at,
        follow_level: found.follow_level.unwrap_or_default(),
    });
    let memberships = membership.into_iter().collect();
    let (Some(rows), Some(shown)) = (found.comments, found.shown) else {
        return Err(ApiError::internal("the statement read no comments for a reader"));
    };
    // What the page only repeats comes first: the comments above those of the page.
    let start = rows.iter().position(|row| shown.contains(&row.id)).unwrap_or(rows.len());
    let split = start + rows[start..].partition_point(|row| row.position() <= at);
    let (earlier, later) = (&rows[start..split], &rows[split..]);
    let first = split - page::fitting(earlier.iter().rev(), most(before), bytes, CommentRow::texts);
    let end = split + page::fitting(later.iter(), most(after), bytes, CommentRow::texts);

    let has_previous = match before {
        Some(_) => first > start || found.has_previous_root == Some(true),
        None => at != CommentPosition::START,
    };
    let next_root = if after.is_some() { rows.get(end).map(|row| row.root_id) } else { Some(window.at.root) };
    let has_next = next_root.is_some() || found.has_next_root == Some(true);
    let page_rows = &rows[first..end];
    let previous = page_rows.first().filter(|_| has_previous).map(|row| CommentCursor::Before(row.position()));
    let last = page_rows.last().filter(|_| has_next);
    let continues = last.is_some_and(|last| next_root == Some(last.root_id));
    let next = last.map(|last| CommentCursor::After(if continues { last.position() } else { last.end_of_root() }));
    let (is_member, is_writer) = (found.role.is_some(), access.is_writer(viewer));
    let mut comments = rows.into_iter().take(end).map(|row| row.shown_to(is_member, is_writer));
    let repeated: Vec<_> = comments.by_ref().take(first).collect();
    Ok(CommentPage {
        comments: CommentTree::build(repeated.into_iter(), comments),
        last_event_id: found.head,
        previous_cursor: previous.map(|cursor| cursor.to_string()),
        next_cursor: next.map(|cursor| cursor.to_string()),
        continues,
        viewer: viewer.map(|viewer| ViewerInfo { user_id: viewer.user_id, memberships }),
    })
}
