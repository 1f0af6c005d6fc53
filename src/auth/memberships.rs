//! A user's memberships at a place in the order of events: what a queue starts from.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::{PgExecutor, types::Json};
use utoipa::ToSchema;

use super::access::{Kind, Role};
use crate::{
    error::{ErrorCode, Result},
    events::{Change, MembershipChange, history::HistoryId},
    ids::{CommunityId, EventId, UserId},
};

/// The newest changes of a user's memberships that are read; older ones count as gone from the buffer.
const CHANGES: i64 = 64;

/// A user's memberships at `head`, and how they came about.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The history of events that the place is in.
    pub id: HistoryId,
    /// The place in the order at which this holds.
    pub head: EventId,
    /// The communities the user is in at `head`.
    pub communities: BTreeSet<CommunityId>,
    /// The relayed changes, ascending, the newest ones only.
    pub changes: Vec<(EventId, MembershipChange)>,
    /// The newest change that is not in `changes`; 0 where there is none.
    pub forgotten_through: EventId,
    /// Whether changes are committed that have no place in the order yet.
    pub is_behind: bool,
}

/// Reads a user's history in one statement, so in one snapshot.
///
/// The memberships table may be ahead of the order: a change is in it from its commit on, its event gets a place a moment
/// later. Such waiting changes are taken back, so that the result holds exactly at `head`. `token_invalid` where the account is
/// not in use.
pub async fn history(db: impl PgExecutor<'_>, user: UserId) -> Result<History> {
    let rows = sqlx::query!(
        r#"select h.last_assigned as "head!", h.base as "base!", coalesce(h.fingerprint, '') as "fingerprint!",
                  (select is_active from users where id = $1) as is_active, r.event_id,
                  r.payload as "payload: Json<Change>", r.community_id
           from event_head h
           left join lateral (
               select m.community_id, null::bigint as event_id, null::json as payload, 0 as part, 0::bigint as place
               from memberships m where m.user_id = $1
               union all
               select o.community_id, null, o.payload, 1, o.id
               from outbox o where o.user_id = $1 and o.event_id is null and o.type = 'membership_changed'
               union all
               (select o.community_id, o.event_id, o.payload, 2, o.event_id
                from outbox o where o.user_id = $1 and o.event_id is not null and o.type = 'membership_changed'
                order by o.event_id desc limit $2::bigint + 1)
           ) r on true
           order by r.part, r.place"#,
        user,
        CHANGES
    )
    .fetch_all(db)
    .await?;

    let mut history = History::default();
    let mut waiting: BTreeMap<CommunityId, bool> = BTreeMap::new();
    for row in rows {
        if row.is_active != Some(true) {
            return Err(ErrorCode::TokenInvalid.into());
        }
        history.head = row.head;
        history.id = HistoryId { base: row.base, fingerprint: row.fingerprint };
        let Some(community) = row.community_id else { continue };
        match (row.event_id, row.payload) {
            (Some(event_id), Some(Json(Change::MembershipChanged(change)))) => history.changes.push((event_id, change)),
            // Of several waiting changes the first tells how it was before.
            (None, Some(Json(Change::MembershipChanged(change)))) => {
                waiting.entry(community).or_insert(change.previous_role.is_some());
            }
            (None, None) => {
                history.communities.insert(community);
            }
            // Not of this program's making; it makes nobody a member.
            _ => {}
        }
    }
    history.is_behind = !waiting.is_empty();
    for (community, was_member) in waiting {
        if was_member {
            history.communities.insert(community);
        } else {
            history.communities.remove(&community);
        }
    }
    if history.changes.len() > CHANGES as usize {
        history.forgotten_through = history.changes.remove(0).0;
    }
    Ok(history)
}

/// The user of a session or token.
#[derive(Serialize, ToSchema)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their name.
    pub username: String,
    /// Their picture.
    #[schema(required)]
    pub avatar_url: Option<String>,
}

/// A community of the user.
#[derive(Serialize, ToSchema)]
pub struct Membership {
    /// The community.
    pub id: CommunityId,
    /// Its name.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// How open it is.
    pub kind: Kind,
    /// The user's role in it.
    pub role: Role,
}

/// That the account of `viewer` is in use, for calls that find nothing else to ask the database. `token_invalid` otherwise.
pub async fn is_active(db: impl PgExecutor<'_>, viewer: &super::Viewer) -> Result<()> {
    let is_active = sqlx::query_scalar!("select is_active from users where id = $1", viewer.user_id);
    match is_active.fetch_optional(db).await? {
        Some(true) => Ok(()),
        _ => Err(ErrorCode::TokenInvalid.into()),
    }
}

/// Who `viewer` is and where a member. `token_invalid` where the account is not in use.
pub async fn who_is(db: impl PgExecutor<'_>, viewer: &super::Viewer) -> Result<(User, Vec<Membership>)> {
    let rows = sqlx::query!(
        r#"select u.id, u.username, u.avatar_url, c.id as "community_id?", c.name as "name?", c.slug as "slug?",
                  c.kind as "kind?: Kind", m.role as "role?: Role"
           from users u
           left join memberships m on m.user_id = u.id and ($2::bigint[] is null or m.community_id = any($2))
           left join communities c on c.id = m.community_id
           where u.id = $1 and u.is_active
           order by c.id"#,
        viewer.user_id,
        viewer.scope.as_sql()
    )
    .fetch_all(db)
    .await?;
    let mut user = None;
    let mut memberships = Vec::new();
    for row in rows {
        user.get_or_insert(User { id: row.id, username: row.username, avatar_url: row.avatar_url });
        if let (Some(id), Some(name), Some(slug), Some(kind), Some(role)) =
            (row.community_id, row.name, row.slug, row.kind, row.role)
        {
            memberships.push(Membership { id, name, slug, kind, role });
        }
    }
    Ok((user.ok_or(ErrorCode::TokenInvalid)?, memberships))
}
