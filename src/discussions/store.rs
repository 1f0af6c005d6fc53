//! The SQL of discussions.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::{PgExecutor, types::Json};

use super::model::{Discussion, DiscussionPage, DiscussionPatch, NewDiscussion, ViewerInfo, ViewerMembership};
use crate::{
    auth::{Viewer, access::Standing},
    authors::{Author, Identity, store::Signature},
    db::Write,
    directory::{Role, Visibility},
    error::{ErrorCode, Result},
    ids::{ArticleId, CommunityId, DiscussionId, EventId, UserId},
    page,
};

/// A discussion's row with its author.
struct Row {
    id: DiscussionId,
    community_id: CommunityId,
    article_id: ArticleId,
    topic: String,
    text: String,
    is_resolved: bool,
    comment_count: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    author_id: UserId,
    username: String,
    avatar_url: Option<String>,
    pseudonym: Option<String>,
}

impl From<Row> for Discussion {
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
            community_id: row.community_id,
            article_id: row.article_id,
            topic: live.then_some(row.topic),
            text: live.then_some(row.text),
            author: live.then_some(author),
            is_resolved: row.is_resolved,
            comment_count: row.comment_count,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        }
    }
}

/// One of the article's communities, as the list's statement returns it.
#[derive(Debug, Deserialize)]
struct Place {
    community_id: CommunityId,
    kind: Visibility,
    role: Option<Role>,
    pseudonym: Option<String>,
}

/// A page of the article's discussions, newest first, in one statement and so in one snapshot with its head (I4): of
/// `community`, or of all the communities that the viewer may read. What holds for the whole page comes in a row of its own,
/// and not again in each.
pub async fn page(
    db: impl PgExecutor<'_>,
    viewer: Option<&Viewer>,
    article: ArticleId,
    community: Option<CommunityId>,
    before: Option<DiscussionId>,
    limit: i64,
) -> Result<DiscussionPage> {
    let rows = sqlx::query!(
        r#"with places as (
               select c.id as community_id, c.kind, m.role, p.name as pseudonym
               from community_articles ca
               join communities c on c.id = ca.community_id
               left join memberships m on m.community_id = c.id and m.user_id = $3 and ($4::bigint[] is null or c.id = any($4))
               left join pseudonyms p on p.community_id = c.id and p.article_id = ca.article_id and p.user_id = m.user_id
               where ca.article_id = $1 and ($2::bigint is null or c.id = $2)
           ), found as (
               select d.id, d.community_id, d.topic, d.text, d.is_resolved, d.comment_count, d.created_at, d.updated_at,
                      d.deleted_at, d.author_id, d.pseudonym_id
               from places
               cross join lateral (
                   select id, community_id, topic, text, is_resolved, comment_count, created_at, updated_at, deleted_at,
                          author_id, pseudonym_id
                   from discussions
                   where community_id = places.community_id and article_id = $1
                     and id < coalesce($5, 9223372036854775807)
                   order by id desc limit $6::bigint + 1
               ) d
               where places.kind = 'public' or places.role is not null
               order by d.id desc limit $6::bigint + 1
           )
           select d.id as "id?: DiscussionId", d.community_id as "community_id?: CommunityId", d.topic as "topic?", d.text as "text?",
                  d.is_resolved as "is_resolved?", d.comment_count as "comment_count?", d.created_at as "created_at?",
                  d.updated_at as "updated_at?", d.deleted_at as "deleted_at?", d.author_id as "author_id?: UserId",
                  u.username as "username?", u.avatar_url as "avatar_url?", p.name as "pseudonym?",
                  null::bigint as "head?: EventId", null::text as "asked?: Visibility", null::json as "places?: Json<Vec<Place>>",
                  null::boolean as "viewer_is_active?"
           from found d
           join users u on u.id = d.author_id
           left join pseudonyms p on p.id = d.pseudonym_id
           union all
           select null, null, null, null, null, null, null, null, null, null, null, null, null,
                  (select last_assigned from event_head),
                  (select kind from communities where id = $2),
                  (select json_agg(places) from places),
                  (select is_active from users where id = $3)
           order by 1 desc nulls last"#,
        article as _,
        community as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _,
        before as _,
        limit
    )
    .fetch_all(db)
    .await?;

    let mut head = EventId::START;
    let mut asked = None;
    let mut viewer_is_active = None;
    let mut places = Vec::new();
    let mut discussions = Vec::with_capacity(rows.len());
    for row in rows {
        head = row.head.unwrap_or(head);
        asked = asked.or(row.asked);
        viewer_is_active = viewer_is_active.or(row.viewer_is_active);
        if let Some(Json(found)) = row.places {
            places = found;
        }
        if let (Some(id), Some(community_id), Some(topic), Some(text), Some(is_resolved), Some(comment_count)) =
            (row.id, row.community_id, row.topic, row.text, row.is_resolved, row.comment_count)
            && let (Some(created_at), Some(updated_at), Some(author_id), Some(username)) =
                (row.created_at, row.updated_at, row.author_id, row.username)
        {
            discussions.push(Discussion::from(Row {
                id,
                community_id,
                article_id: article,
                topic,
                text,
                is_resolved,
                comment_count,
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
    may_read(viewer, viewer_is_active, community, asked, &places)?;
    let next_cursor = page::next_cursor(discussions.iter().map(|discussion| discussion.id), limit);
    discussions.truncate(limit as usize);
    Ok(DiscussionPage { discussions, last_event_id: head, next_cursor, viewer: viewer_info(viewer, places) })
}

/// That at least one of the places is readable; a named refusal otherwise.
fn may_read(
    viewer: Option<&Viewer>,
    viewer_is_active: Option<bool>,
    community: Option<CommunityId>,
    asked: Option<Visibility>,
    places: &[Place],
) -> Result<()> {
    let standing = |place: &Place| Standing { kind: place.kind, role: place.role, viewer_is_active };
    if community.is_some() {
        let Some(place) = places.first() else {
            // Whether the article is in a hidden community is that community's secret too.
            return Err(match asked {
                None | Some(Visibility::Hidden) => ErrorCode::CommunityNotFound,
                Some(_) => ErrorCode::ArticleNotFound,
            }
            .into());
        };
        return standing(place).may_read(viewer, ErrorCode::CommunityNotFound);
    }
    let mut refusal = ErrorCode::ArticleNotFound.into();
    for place in places {
        match standing(place).may_read(viewer, ErrorCode::ArticleNotFound) {
            Ok(()) => return Ok(()),
            Err(error) if error.code() != ErrorCode::ArticleNotFound => refusal = error,
            Err(_) => {}
        }
    }
    Err(refusal)
}

fn viewer_info(viewer: Option<&Viewer>, places: Vec<Place>) -> Option<ViewerInfo> {
    let memberships = places.into_iter().filter_map(|place| {
        let role = place.role?;
        Some(ViewerMembership { community_id: place.community_id, role, pseudonym: place.pseudonym })
    });
    Some(ViewerInfo { user_id: viewer?.user_id, memberships: memberships.collect() })
}

/// Discussion `id` for `viewer` to read.
pub async fn get(db: impl PgExecutor<'_>, viewer: Option<&Viewer>, id: DiscussionId) -> Result<Discussion> {
    let row = sqlx::query!(
        r#"select c.kind as "kind: Visibility", m.role as "role?: Role", d.id as "id: DiscussionId",
                  d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId", d.topic, d.text,
                  d.is_resolved, d.comment_count, d.created_at, d.updated_at, d.deleted_at, d.author_id as "author_id: UserId",
                  u.username, u.avatar_url, p.name as "pseudonym?", (select is_active from users where id = $2) as viewer_is_active
           from discussions d
           join communities c on c.id = d.community_id
           join users u on u.id = d.author_id
           left join pseudonyms p on p.id = d.pseudonym_id
           left join memberships m on m.community_id = c.id and m.user_id = $2 and ($3::bigint[] is null or c.id = any($3))
           where d.id = $1"#,
        id as _,
        viewer.map(|viewer| viewer.user_id) as _,
        viewer.and_then(|viewer| viewer.scope.as_sql()) as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::DiscussionNotFound)?;
    Standing { kind: row.kind, role: row.role, viewer_is_active: row.viewer_is_active }
        .may_read(viewer, ErrorCode::DiscussionNotFound)?;
    Ok(Row {
        id: row.id,
        community_id: row.community_id,
        article_id: row.article_id,
        topic: row.topic,
        text: row.text,
        is_resolved: row.is_resolved,
        comment_count: row.comment_count,
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

/// Begins a discussion by `user`, signed as `signature` says.
pub async fn insert(
    write: &mut Write,
    user: UserId,
    article: ArticleId,
    new: &NewDiscussion,
    signature: Signature,
) -> Result<Discussion> {
    let row = sqlx::query!(
        r#"insert into discussions (community_id, article_id, author_id, pseudonym_id, topic, text)
         values ($1, $2, $3, $4, $5, $6)
         returning id as "id: DiscussionId", created_at, updated_at"#,
        new.community_id as _,
        article as _,
        user as _,
        signature.pseudonym_id as _,
        new.topic,
        new.text
    )
    .fetch_one(write)
    .await?;
    Ok(Discussion {
        id: row.id,
        community_id: new.community_id,
        article_id: article,
        topic: Some(new.topic.clone()),
        text: Some(new.text.clone()),
        author: Some(signature.author),
        is_resolved: false,
        comment_count: 0,
        created_at: row.created_at,
        updated_at: row.updated_at,
        deleted_at: None,
    })
}

/// Changes a live discussion. None where it is deleted by now. A rename of the author waits for the event that carries the name.
pub async fn update(write: &mut Write, id: DiscussionId, patch: &DiscussionPatch) -> Result<Option<Discussion>> {
    let row = sqlx::query_as!(
        Row,
        r#"with changed as (
               update discussions
               set topic = coalesce($2, topic), text = coalesce($3, text), is_resolved = coalesce($4, is_resolved),
                   updated_at = clock_timestamp()
               where id = $1 and deleted_at is null
               returning id, community_id, article_id, topic, text, is_resolved, comment_count, created_at, updated_at,
                         deleted_at, author_id, pseudonym_id
           )
           select d.id as "id: DiscussionId", d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId",
                  d.topic, d.text, d.is_resolved, d.comment_count, d.created_at, d.updated_at, d.deleted_at,
                  d.author_id as "author_id: UserId", u.username, u.avatar_url, p.name as "pseudonym?"
           from changed d
           join users u on u.id = d.author_id
           left join pseudonyms p on p.id = d.pseudonym_id
           for share of u"#,
        id as _,
        patch.topic,
        patch.text,
        patch.is_resolved
    )
    .fetch_optional(write)
    .await?;
    Ok(row.map(Discussion::from))
}

/// Makes a live discussion a tombstone and returns when. None where it was one already.
pub async fn delete(write: &mut Write, id: DiscussionId) -> Result<Option<DateTime<Utc>>> {
    let row = sqlx::query!(
        r#"update discussions set topic = '', text = '', deleted_at = clock_timestamp()
           where id = $1 and deleted_at is null
           returning deleted_at as "deleted_at!""#,
        id as _
    )
    .fetch_optional(write)
    .await?;
    Ok(row.map(|row| row.deleted_at))
}
