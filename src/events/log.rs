//! Reads events from Postgres, the log of record.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::history::{HistoryId, Position};
use crate::{
    db::composite,
    events::Subject,
    ids::{CommunityId, EventId, UserId},
};

composite! {
    /// A numbered outbox row, as Postgres and Redis hold it.
    #[derive(Clone)]
    pub struct OutboxRow in query_outbox_row! {
        /// Its number in the order.
        pub event_id: EventId = "event_id",
        /// The community in which it happened; [`CommunityId::NONE`] if it is of none.
        pub community_id: CommunityId = "coalesce(community_id, 0)",
        /// The only user who gets it. None where it is for the community.
        pub user_id: Option<UserId> = "user_id",
        /// The change as JSON.
        pub payload: String = "payload::text",
        /// When it was written.
        pub created_at: DateTime<Utc> = "created_at",
    }
}

/// How many rows are read at a time.
pub(crate) const BATCH: i64 = 1_000;

/// Rows and their history. Both are read in one statement, so they belong together.
pub(crate) struct Batch {
    /// The database's history and head.
    pub(crate) position: Position,
    /// Up to [`BATCH`] rows, in order.
    pub(crate) rows: Vec<OutboxRow>,
}

/// Up to [`BATCH`] events after `last`, in order.
pub(crate) async fn after(db: impl PgExecutor<'_>, last: EventId) -> Result<Batch, sqlx::Error> {
    let found = query_outbox_row!(
        r#"select h.base as "base: EventId", coalesce(h.fingerprint, '') as "fingerprint!",
                  h.last_assigned as "last_assigned: EventId", o.event as "event?: OutboxRow"
           from event_head h
           left join lateral (
               select event_id, "#,
        r#" as event
               from outbox where event_id > $1 order by event_id limit $2
           ) o on true
           order by o.event_id"#,
        last as _,
        BATCH
    )
    .fetch_all(db)
    .await?;
    let head = found.first().ok_or(sqlx::Error::RowNotFound)?;
    let history = HistoryId { base: head.base, fingerprint: head.fingerprint.clone() };
    let position = Position { history, head: head.last_assigned };
    Ok(Batch { position, rows: found.into_iter().filter_map(|row| row.event).collect() })
}

/// The sizes of the payloads of up to `limit` events, in bytes, from the event `last` on backwards.
pub(super) async fn sizes(
    db: impl PgExecutor<'_>,
    last: EventId,
    limit: usize,
) -> Result<Vec<(EventId, usize)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select event_id as "event_id!: EventId", octet_length(payload::text) as "bytes!"
           from outbox where event_id <= $1 order by event_id desc limit $2"#,
        last as _,
        limit as i64
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.event_id, row.bytes as usize)).collect())
}

/// Where a node that keeps `total` events starts: the database's history and head, and the event before the first to load.
pub(crate) async fn start(db: impl PgExecutor<'_>, total: i64) -> Result<(Position, EventId), sqlx::Error> {
    let row = sqlx::query!(
        r#"select base as "base: EventId", coalesce(fingerprint, '') as "fingerprint!",
                  last_assigned as "last_assigned: EventId",
                  greatest(base, last_assigned - $1, (select max(last_event_id) from outbox_pruned),
                           (select max(last_event_id) from outbox_pruned_users)) as "start!: EventId"
           from event_head"#,
        total
    )
    .fetch_one(db)
    .await?;
    let history = HistoryId { base: row.base, fingerprint: row.fingerprint };
    Ok((Position { history, head: row.last_assigned }, row.start))
}

/// For each community with events up to `start`, the newest of these.
pub(crate) async fn evicted(
    db: impl PgExecutor<'_>,
    start: EventId,
) -> Result<Vec<(CommunityId, EventId)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select c.id as "id!: CommunityId", greatest(p.last_event_id, o.last_event_id) as "last_event_id!: EventId"
           from communities c
           left join outbox_pruned p on p.community_id = c.id
           left join lateral (
               select max(event_id) as last_event_id from outbox
               where community_id = c.id and user_id is null and event_id <= $1
           ) o on true
           where greatest(p.last_event_id, o.last_event_id) is not null"#,
        start as _
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.last_event_id)).collect())
}

/// What up to [`BATCH`] events after `after` and up to `through` are about: those for all of a community, or the own ones of a user if
/// there is no community. None if the database has lost some of them.
pub(crate) async fn subjects(
    db: impl PgExecutor<'_>,
    community: Option<CommunityId>,
    user: UserId,
    after: EventId,
    through: EventId,
) -> Result<Option<Vec<(EventId, Subject)>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select o.event_id as "event_id?: EventId", o.type as "type?", o.article_id as "article", o.discussion_id as "discussion",
                  case when $1::bigint is null then exists (select from outbox_pruned_users where user_id = $2 and last_event_id > $3)
                       else exists (select from outbox_pruned where community_id = $1 and last_event_id > $3) end as "is_pruned!"
           from (select) one
           left join lateral (
               (select event_id, type, payload->>'article_id' as article_id, payload->>'discussion_id' as discussion_id
                from outbox
                where community_id = $1 and user_id is null and event_id > $3 and event_id <= $4
                order by event_id limit $5)
               union all
               (select event_id, type, payload->>'article_id', payload->>'discussion_id'
                from outbox
                where $1::bigint is null and user_id = $2 and event_id > $3 and event_id <= $4
                order by event_id limit $5)
           ) o on true
           order by o.event_id"#,
        community as _,
        user as _,
        after as _,
        through as _,
        BATCH
    )
    .fetch_all(db)
    .await?;
    if rows.iter().any(|row| row.is_pruned) {
        return Ok(None);
    }
    let subject = |event_type: &str, article: Option<String>, discussion: Option<String>| Subject {
        event_type: event_type.parse().ok(),
        article: article.and_then(|id| id.parse().ok()),
        discussion: discussion.and_then(|id| id.parse().ok()),
    };
    let found =
        rows.into_iter().filter_map(|row| Some((row.event_id?, subject(&row.r#type?, row.article, row.discussion))));
    Ok(Some(found.collect()))
}

/// The events after `oldest` that deletions after `after` and up to `through` have redacted, and the event up to which all
/// deletions have redacted everything.
pub(crate) async fn redacted(
    db: impl PgExecutor<'_>,
    oldest: EventId,
    after: EventId,
    through: EventId,
) -> Result<(Vec<EventId>, EventId), sqlx::Error> {
    let row = sqlx::query!(
        r#"select h.redacted_through as "redacted_through: EventId",
                  array(select o.event_id from outbox o
                        where o.redacted_by > $2 and o.redacted_by <= $3 and o.event_id > $1) as "events!: Vec<EventId>"
           from event_head h"#,
        oldest as _,
        after as _,
        through as _
    )
    .fetch_one(db)
    .await?;
    Ok((row.events, row.redacted_through))
}

/// Deletes up to 10,000 events that are older than `hours`, and records for each community and user the newest one that is gone.
/// Returns how many. Keeps the newest `total` events, which a starting node loads, and the changes of memberships and of communities'
/// kinds, which say who may read what and are few.
pub(crate) async fn prune(db: impl PgExecutor<'_>, hours: i32, total: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with gone as (
               delete from outbox where id in (
                   select id from outbox, event_head
                   where event_id <= last_assigned - $2 and type <> 'community_changed'
                     and (user_id is null or type <> 'membership_changed')
                     and created_at < now() - make_interval(hours => $1)
                   order by event_id limit 10000)
               returning community_id, user_id, event_id
           ), noted as (
               insert into outbox_pruned as p (community_id, last_event_id)
               select community_id, max(event_id) from gone where user_id is null group by community_id
               on conflict (community_id) do update set last_event_id = greatest(p.last_event_id, excluded.last_event_id)
           ), noted_users as (
               insert into outbox_pruned_users as p (user_id, last_event_id)
               select user_id, max(event_id) from gone where user_id is not null group by user_id
               on conflict (user_id) do update set last_event_id = greatest(p.last_event_id, excluded.last_event_id)
           )
           select count(*) as "count!" from gone"#,
        hours,
        total
    )
    .fetch_one(db)
    .await
}
