//! The SQL of follows.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::model::{Follow, FollowCursor, Follows};
use crate::{
    auth::Viewer,
    db::Write,
    error::{ErrorCode, Result},
    events::FollowLevel,
    ids::{ArticleId, CommunityId, DiscussionId, EventId, UserId},
};

/// A thing that a member says something about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// An article in a community.
    Article(CommunityId, ArticleId),
    /// A discussion.
    Discussion(DiscussionId),
}

/// Locks a membership until the commit. False if there is none.
pub(super) async fn lock_membership(write: &mut Write, member: UserId, community: CommunityId) -> Result<bool> {
    let found = sqlx::query!(
        "select from memberships where user_id = $1 and community_id = $2 for no key update",
        member as _,
        community as _
    );
    Ok(found.fetch_optional(write).await?.is_some())
}

/// What the member said about the target.
pub(super) async fn said(write: &mut Write, member: UserId, target: Target) -> Result<FollowLevel> {
    let said = match target {
        Target::Article(community, article) => {
            let said = sqlx::query_scalar!(
                r#"select level as "level: FollowLevel" from article_follows
                   where user_id = $1 and community_id = $2 and article_id = $3"#,
                member as _,
                community as _,
                article as _
            );
            said.fetch_optional(write).await?
        }
        Target::Discussion(discussion) => {
            let said = sqlx::query_scalar!(
                r#"select level as "level: FollowLevel" from discussion_follows where user_id = $1 and discussion_id = $2"#,
                member as _,
                discussion as _
            );
            said.fetch_optional(write).await?
        }
    };
    Ok(said.unwrap_or_default())
}

/// Writes what the member says about the target.
pub(super) async fn say(write: &mut Write, member: UserId, target: Target, level: FollowLevel) -> Result<()> {
    match (target, level) {
        (Target::Article(community, article), FollowLevel::Default) => {
            sqlx::query!(
                "delete from article_follows where user_id = $1 and community_id = $2 and article_id = $3",
                member as _,
                community as _,
                article as _
            )
            .execute(write)
            .await?;
        }
        (Target::Article(community, article), level) => {
            sqlx::query!(
                "insert into article_follows (user_id, community_id, article_id, level) values ($1, $2, $3, $4)
                 on conflict (user_id, community_id, article_id) do update set level = excluded.level",
                member as _,
                community as _,
                article as _,
                level as _
            )
            .execute(write)
            .await?;
        }
        (Target::Discussion(discussion), FollowLevel::Default) => {
            sqlx::query!(
                "delete from discussion_follows where user_id = $1 and discussion_id = $2",
                member as _,
                discussion as _
            )
            .execute(write)
            .await?;
        }
        (Target::Discussion(discussion), level) => {
            sqlx::query!(
                "insert into discussion_follows (user_id, discussion_id, level) values ($1, $2, $3)
                 on conflict (user_id, discussion_id) do update set level = excluded.level",
                member as _,
                discussion as _,
                level as _
            )
            .execute(write)
            .await?;
        }
    }
    Ok(())
}

/// What holds for the target now, and the time.
pub(super) async fn get(write: &mut Write, member: UserId, target: Target) -> Result<(Follow, DateTime<Utc>)> {
    match target {
        Target::Article(community, article) => {
            let row = sqlx::query!(
                r#"select f.level as "said?: FollowLevel", clock_timestamp() as "now!",
                          (m.role = 'admin' or a.submitter_id is not distinct from m.user_id) as "is_implied!"
                   from memberships m
                   join articles a on a.id = $3
                   left join article_follows f on f.user_id = m.user_id and f.community_id = m.community_id and f.article_id = a.id
                   where m.user_id = $1 and m.community_id = $2"#,
                member as _,
                community as _,
                article as _
            )
            .fetch_optional(write)
            .await?
            .ok_or(ErrorCode::ArticleNotFound)?;
            Ok((follow(community, article, None, row.said, row.is_implied, row.is_implied), row.now))
        }
        Target::Discussion(discussion) => {
            let row = sqlx::query!(
                r#"select d.community_id as "community_id: CommunityId", d.article_id as "article_id: ArticleId",
                          f.level as "said?: FollowLevel", clock_timestamp() as "now!",
                          (d.author_id = m.user_id or exists (select from comments where author_id = m.user_id and discussion_id = d.id))
                              and not is_muted(m.user_id, d.id, d.community_id, d.article_id) as "is_implied!",
                          is_followed(m.user_id, m.role, d.id, d.community_id, d.article_id, d.author_id) as "is_followed!"
                   from discussions d
                   join memberships m on m.community_id = d.community_id and m.user_id = $1
                   left join discussion_follows f on f.user_id = m.user_id and f.discussion_id = d.id
                   where d.id = $2"#,
                member as _,
                discussion as _
            )
            .fetch_optional(write)
            .await?
            .ok_or(ErrorCode::DiscussionNotFound)?;
            let follow =
                follow(row.community_id, row.article_id, Some(discussion), row.said, row.is_implied, row.is_followed);
            Ok((follow, row.now))
        }
    }
}

/// A follow, from what was said. If nothing was said, it is as implied, and `is_followed` comes from all rules.
fn follow(
    community_id: CommunityId,
    article_id: ArticleId,
    discussion_id: Option<DiscussionId>,
    said: Option<FollowLevel>,
    is_implied: bool,
    is_followed: bool,
) -> Follow {
    let implied = if is_implied { FollowLevel::Follow } else { FollowLevel::Default };
    Follow {
        community_id,
        article_id,
        discussion_id,
        level: said.unwrap_or(implied),
        is_default: said.is_none(),
        is_followed: said.map_or(is_followed, |said| said == FollowLevel::Follow),
    }
}

/// An item of the list. The discussion is 0 for an article.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "record")]
struct FollowRow {
    community_id: CommunityId,
    article_id: ArticleId,
    discussion_id: DiscussionId,
    said: Option<FollowLevel>,
}

/// Reads what the viewer follows or muted in their communities: in `community` and on `article` only, if they are given. It is one
/// statement, so the page and the head are of one snapshot (I4). `token_invalid` if the account is not in use.
pub(super) async fn list(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    community: Option<CommunityId>,
    article: Option<ArticleId>,
    after: Option<FollowCursor>,
    limit: i64,
) -> Result<Follows> {
    let found = sqlx::query!(
        r#"with member as (
               select community_id, role from memberships
               where user_id = $1 and ($2::bigint[] is null or community_id = any($2)) and ($3::bigint is null or community_id = $3)
           ), articles_of_member as (
               -- Each part has what the page may need of it: an admin's community may have very many articles.
               (select f.community_id, f.article_id
                from article_follows f join member using (community_id)
                where f.user_id = $1 and ($4::bigint is null or f.article_id = $4)
                  and (f.community_id, f.article_id) >= ($5::bigint, $6::bigint)
                order by f.community_id, f.article_id limit $8::bigint + 2)
               union
               (select ca.community_id, ca.article_id
                from articles a join community_articles ca on ca.article_id = a.id join member using (community_id)
                where a.submitter_id = $1 and ($4::bigint is null or ca.article_id = $4)
                  and (ca.community_id, ca.article_id) >= ($5, $6)
                order by ca.community_id, ca.article_id limit $8 + 2)
               union
               select member.community_id, ca.article_id
               from member
               cross join lateral (
                   select article_id from community_articles
                   where community_id = member.community_id and ($4::bigint is null or article_id = $4)
                     and (community_id, article_id) >= ($5, $6)
                   order by community_id, article_id limit $8 + 2
               ) ca
               where member.role = 'admin'
           ), discussions_of_member as (
               select discussion_id as id from discussion_follows where user_id = $1
               union
               select discussion_id from comments where author_id = $1
               union
               select id from discussions where author_id = $1
           ), follows as (
               select k.community_id, k.article_id, 0::bigint as discussion_id, f.level as said
               from articles_of_member k
               join member using (community_id)
               left join article_follows f on f.user_id = $1 and f.community_id = k.community_id and f.article_id = k.article_id
               union all
               select d.community_id, d.article_id, d.id, f.level
               from discussions_of_member k
               join discussions d on d.id = k.id
               join member on member.community_id = d.community_id
               left join discussion_follows f on f.user_id = $1 and f.discussion_id = d.id
               left join article_follows a on a.user_id = $1 and a.community_id = d.community_id and a.article_id = d.article_id
               where f.level is not null or a.level is distinct from 'mute'
           )
           select (select last_assigned from event_head) as "head!: EventId", u.is_active,
                  array(select row(community_id, article_id, discussion_id, said)
                        from follows
                        where ($4::bigint is null or article_id = $4)
                          and (community_id, article_id, discussion_id) > ($5::bigint, $6::bigint, $7::bigint)
                        order by community_id, article_id, discussion_id
                        limit $8::bigint + 1) as "follows!: Vec<FollowRow>"
           from users u where u.id = $1"#,
        viewer.user_id as _,
        viewer.scope.as_sql() as _,
        community as _,
        article as _,
        after.map_or(0, |after| after.community),
        after.map_or(0, |after| after.article),
        after.map_or(0, |after| after.discussion),
        limit
    )
    .fetch_optional(db)
    .await?
    .filter(|found| found.is_active)
    .ok_or(ErrorCode::TokenInvalid)?;
    let has_more = found.follows.len() as i64 > limit;
    let item = |row: FollowRow| {
        let discussion = Some(row.discussion_id).filter(|id| id.get() != 0);
        follow(row.community_id, row.article_id, discussion, row.said, true, true)
    };
    let follows: Vec<Follow> = found.follows.into_iter().take(limit as usize).map(item).collect();
    Ok(Follows {
        last_event_id: found.head,
        next_cursor: follows.last().filter(|_| has_more).map(|last| FollowCursor::from(last).to_string()),
        follows,
    })
}
