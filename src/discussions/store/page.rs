//! The SQL of an article's discussions, page by page.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::{
    super::model::{Discussion, DiscussionPage, ViewerInfo, ViewerMembership},
    DiscussionRow,
};
use crate::{
    auth::{Viewer, access::CommunityAccess},
    directory::{Role, Visibility},
    error::{ErrorCode, Result},
    events::FollowLevel,
    ids::{ArticleId, CommunityId, DiscussionId, EventId},
    page::{self, PAGE_BYTES},
};

/// What holds for a whole page. In the list's statement it is `row(head, requested, placements)`.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "record")]
struct PageRow {
    head: EventId,
    /// The visibility of the community that the viewer asked for.
    requested: Option<Visibility>,
    placements: Vec<Placement>,
}

/// A community that the article is in. In the list's statement it is
/// `row(community_id, kind, role, viewer_is_active, pseudonym, created_at, article_level)`.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "record")]
struct Placement {
    community_id: CommunityId,
    visibility: Visibility,
    role: Option<Role>,
    viewer_is_active: Option<bool>,
    pseudonym: Option<String>,
    /// When the viewer joined.
    joined_at: Option<DateTime<Utc>>,
    article_level: Option<FollowLevel>,
}

impl Placement {
    fn access(&self) -> CommunityAccess {
        CommunityAccess {
            community_id: self.community_id,
            visibility: self.visibility,
            role: self.role,
            viewer_is_active: self.viewer_is_active,
        }
    }
}

/// Reads a page of the article's discussions, newest first: those of `community`, or of all communities that the viewer may read.
/// It has up to `limit` discussions and ends near [`PAGE_BYTES`].
///
/// It is one statement, so the discussions and the head are of one snapshot (I4). Each row has either a discussion or what holds
/// for the page. An array of all discussions in one row costs PostgreSQL half as much again, for its large buffers. `ctid` says
/// where a row is stored, which stays so within a statement: it saves a second search of the index. `article_id` is compared as a
/// range, so that only the index of the page gives the order (migration 0014). With `article_id = $1` the primary key gives it too.
pub(crate) async fn page(
    db: impl PgExecutor<'_>,
    viewer: Option<&Viewer>,
    article: ArticleId,
    community: Option<CommunityId>,
    before: Option<DiscussionId>,
    limit: i64,
) -> Result<DiscussionPage> {
    let rows = query_discussion!(
        r#"with placements as (
               select c.id as community_id, c.kind, m.user_id, m.role, m.created_at, v.is_active as viewer_is_active,
                      p.name as pseudonym, article.level as article_level
               from community_articles ca
               join communities c on c.id = ca.community_id
               left join memberships m on m.community_id = c.id and m.user_id = $3 and ($4::bigint[] is null or c.id = any($4))
               left join pseudonyms p on p.community_id = c.id and p.article_id = ca.article_id and p.user_id = m.user_id
               left join users v on v.id = $3
               cross join lateral said_about_article(m.user_id, m.role, c.id, ca.article_id) article
               where ca.article_id = $1 and ($2::bigint is null or c.id = $2)
           ), newest as (
               select found.id, found.ctid, found.bytes
               from placements
               cross join lateral (
                   -- The size of a text is known without reading it.
                   select id, ctid, octet_length(topic) + octet_length(text) as bytes from discussions
                   where community_id = placements.community_id
                     and (article_id, id) < ($1, coalesce($5, 9223372036854775807)) and article_id >= $1
                   order by article_id desc, id desc limit $6::bigint + 1
               ) found
               where may_read(placements.kind, placements.role, $3, placements.viewer_is_active)
               order by found.id desc limit $6::bigint + 1
           ), sized as (
               -- Null where a text is null, which may not be: such a row is read too, and is an error.
               select ctid, sum(bytes) over (order by id desc rows unbounded preceding) - bytes as bytes_before from newest
           )
           select row((select last_assigned from event_head),
                      (select kind from communities where id = $2),
                      array(select row(community_id, kind, role, viewer_is_active, pseudonym, created_at, article_level) from placements)) as "page?: PageRow",
                  null::record as "discussion?: DiscussionRow"
           union all
           select null, "#,
        r#" from sized join discussions d on d.ctid = sized.ctid join users u on u.id = d.author_id
           left join discussion_votes own on own.discussion_id = d.id and own.user_id = $3
           left join placements m on m.community_id = d.community_id
           left join read_states r on r.user_id = $3 and r.discussion_id = d.id
           left join discussion_follows f on f.user_id = $3 and f.discussion_id = d.id
           cross join lateral (select m.article_level as level) article
           cross join lateral unread_comments(
               d.id, d.created_at, d.comment_count, d.comment_version, m.user_id, m.created_at,
               r.comments, r.comment_version, r.joined_at, r.unread_count, r.first_unread) unread
           where (sized.bytes_before < $7) is not false"#,
        article as _,
        community as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _,
        before as _,
        limit,
        PAGE_BYTES as i64
    )
    .fetch_all(db)
    .await?;
    let (mut page, mut found) = (None, Vec::with_capacity(rows.len()));
    for row in rows {
        page = page.or(row.page);
        found.extend(row.discussion);
    }
    let page = page.ok_or(sqlx::Error::RowNotFound)?;
    may_read(viewer, community, page.requested, &page.placements)?;

    let shown = |row: DiscussionRow| {
        let access = page.placements.iter().map(Placement::access).find(|one| one.community_id == row.community_id);
        let is_member = access.is_some_and(|access| access.role.is_some());
        row.shown_to(is_member, access.is_some_and(|access| access.is_writer(viewer)))
    };
    let mut discussions: Vec<Discussion> = found.into_iter().map(shown).collect();
    discussions.sort_unstable_by_key(|discussion| Reverse(discussion.id));
    let fitting = page::fitting(discussions.iter(), limit as usize, PAGE_BYTES, |one| {
        one.topic.iter().chain(&one.text).map(String::as_str)
    });
    let has_more = discussions.len() > fitting;
    discussions.truncate(fitting);
    let next_cursor = discussions.last().filter(|_| has_more).map(|last| last.id.to_string());
    let viewer = viewer_info(viewer, page.placements);
    Ok(DiscussionPage { discussions, last_event_id: page.head, next_cursor, viewer })
}

/// Checks that the viewer may read at least one of the placements.
fn may_read(
    viewer: Option<&Viewer>,
    community: Option<CommunityId>,
    requested: Option<Visibility>,
    placements: &[Placement],
) -> Result<()> {
    if community.is_some() {
        let Some(placement) = placements.first() else {
            // The answer must not tell whether the article is in a hidden community.
            return Err(match requested {
                None | Some(Visibility::Hidden) => ErrorCode::CommunityNotFound,
                Some(_) => ErrorCode::ArticleNotFound,
            }
            .into());
        };
        return placement.access().may_read(viewer, ErrorCode::CommunityNotFound);
    }
    let mut refusal = ErrorCode::ArticleNotFound.into();
    for placement in placements {
        match placement.access().may_read(viewer, ErrorCode::ArticleNotFound) {
            Ok(()) => return Ok(()),
            Err(error) if error.code() != ErrorCode::ArticleNotFound => refusal = error,
            Err(_) => {}
        }
    }
    Err(refusal)
}

fn viewer_info(viewer: Option<&Viewer>, placements: Vec<Placement>) -> Option<ViewerInfo> {
    let memberships = placements.into_iter().filter_map(|placement| {
        let Placement { community_id, role, pseudonym, joined_at, article_level, .. } = placement;
        let follow_level = article_level.unwrap_or_default();
        Some(ViewerMembership { community_id, role: role?, pseudonym, joined_at: joined_at?, follow_level })
    });
    Some(ViewerInfo { user_id: viewer?.user_id, memberships: memberships.collect() })
}
