//! Of which kinds communities are along the order of events. Nodes must know it, because anyone may watch a public or open community.

use serde::Deserialize;
use sqlx::PgExecutor;

use crate::{
    directory::Visibility,
    ids::{CommunityId, EventId},
};

/// The kind of a community after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindAt {
    /// The community.
    pub community_id: CommunityId,
    /// Its kind. None for a kind that only a later release knows: nobody may watch such a community.
    pub visibility: Option<Visibility>,
    /// The event since which this is its kind, 0 if it always was.
    pub since: EventId,
    /// The newest event after which not everybody could read it any more, 0 for none.
    pub closed_at: EventId,
}

/// A change of a community's kind. None stands for a community that is not there, and for a kind that only a later release knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindChange {
    /// The kind before.
    pub previous: Option<Visibility>,
    /// The kind now.
    pub visibility: Option<Visibility>,
}

/// The kind of this name.
fn visibility(name: Option<&str>) -> Option<Visibility> {
    serde_json::from_value(name?.into()).ok()
}

impl KindChange {
    /// Reads it from the JSON of the event [`super::Change::CommunityChanged`].
    pub(super) fn of(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Names<'a> {
            kind: &'a str,
            previous_kind: &'a str,
        }
        let Names { kind, previous_kind } = serde_json::from_slice(json).ok()?;
        Some(Self { previous: visibility(Some(previous_kind)), visibility: visibility(Some(kind)) })
    }

    /// A community that is new, or gone.
    pub(super) fn to(name: Option<&str>) -> Self {
        Self { previous: None, visibility: visibility(name) }
    }
}

/// The kinds after the event `at` of all communities that anyone may read then, or might have read before.
///
/// The table of communities may be ahead of that event. The events after it, and the changes that have no number yet, say how it was before
/// them.
pub(crate) async fn at(db: impl PgExecutor<'_>, at: EventId) -> Result<Vec<KindAt>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select c.id as "community_id: CommunityId", coalesce(next.kind, c.kind) as "kind!",
                  coalesce(last.event_id, 0) as "since!: EventId", coalesce(last.closed_at, 0) as "closed_at!: EventId"
           from communities c
           left join lateral (
               select payload ->> 'previous_kind' as kind from outbox
               where community_id = c.id and type = 'community_changed' and (event_id > $1 or event_id is null)
               order by event_id nulls last, id limit 1
           ) next on true
           cross join lateral (
               select max(event_id) as event_id,
                      max(event_id) filter (where may_read(payload ->> 'previous_kind', null, null, null)
                                              and not may_read(payload ->> 'kind', null, null, null)) as closed_at
               from outbox
               where community_id = c.id and type = 'community_changed' and event_id <= $1
           ) last
           where may_read(coalesce(next.kind, c.kind), null, null, null) or last.closed_at is not null"#,
        at as _
    )
    .fetch_all(db)
    .await?;
    let kinds = rows.into_iter().map(|row| KindAt {
        community_id: row.community_id,
        visibility: visibility(Some(&row.kind)),
        since: row.since,
        closed_at: row.closed_at,
    });
    Ok(kinds.collect())
}

/// Those of `communities` that anyone may read, as of the newest event. A change that has no number yet does not count.
pub(crate) async fn readable_by_anyone(
    db: impl PgExecutor<'_>,
    communities: &[CommunityId],
) -> Result<Vec<CommunityId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select c.id as "id: CommunityId"
           from communities c
           left join lateral (
               select payload ->> 'previous_kind' as kind from outbox
               where community_id = c.id and type = 'community_changed' and event_id is null order by id limit 1
           ) waiting on true
           where c.id = any($1) and may_read(coalesce(waiting.kind, c.kind), null, null, null)
           order by c.id"#,
        communities as _
    )
    .fetch_all(db)
    .await
}
