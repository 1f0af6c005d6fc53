//! Reads a user's memberships as of the database's head. A queue starts from these.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgExecutor, types::Json};

use crate::{
    error::{ErrorCode, Result},
    events::{Change, MembershipChange, history::HistoryId},
    ids::{CommunityId, EventId, UserId},
};

/// How many changes of a user's memberships are kept, the newest. Older ones are gone, as old events of a community are.
pub(super) const MAX_CHANGES: usize = 64;

/// A user's memberships at `head`, and how they came about.
#[derive(Clone, Debug, Default)]
pub struct MembershipHistory {
    /// The history of events that `head` is in.
    pub id: HistoryId,
    /// The event after which this holds.
    pub head: EventId,
    /// The communities that the user is a member of at `head`.
    pub communities: BTreeSet<CommunityId>,
    /// The newest numbered changes, in ascending order.
    pub changes: Vec<(EventId, MembershipChange)>,
    /// The newest change that is no longer in `changes`, 0 for none.
    pub forgotten_through: EventId,
    /// Whether changes are committed that have no event_id yet.
    pub has_unnumbered: bool,
}

/// Reads a user's memberships in one statement, and so in one snapshot. `token_invalid` where the account is not in use.
///
/// The table of memberships may be ahead of the head: it has a change from its commit on, and the change's event gets its
/// number a moment later. This undoes such waiting changes, so that the result holds exactly at `head`.
pub(crate) async fn read(db: impl PgExecutor<'_>, user: UserId) -> Result<MembershipHistory> {
    let rows = sqlx::query!(
        r#"select h.last_assigned as "head!: EventId", h.base as "base!: EventId", coalesce(h.fingerprint, '') as "fingerprint!",
                  (select is_active from users where id = $1) as is_active, r.event_id as "event_id: EventId",
                  r.payload as "payload: Json<Change>", r.community_id as "community_id: CommunityId"
           from event_head h
           left join lateral (
               select m.community_id, null::bigint as event_id, null::json as payload, 0 as part, 0::bigint as ordinal
               from memberships m where m.user_id = $1
               union all
               select o.community_id, null, o.payload, 1, o.id
               from outbox o where o.user_id = $1 and o.event_id is null and o.type = 'membership_changed'
               union all
               (select o.community_id, o.event_id, o.payload, 2, o.event_id
                from outbox o where o.user_id = $1 and o.event_id is not null and o.type = 'membership_changed'
                order by o.event_id desc limit $2::bigint + 1)
           ) r on true
           order by r.part, r.ordinal"#,
        user as _,
        MAX_CHANGES as i64
    )
    .fetch_all(db)
    .await?;

    let mut history = MembershipHistory::default();
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
            // The first of several waiting changes says how it was before them.
            (None, Some(Json(Change::MembershipChanged(change)))) => {
                waiting.entry(community).or_insert(change.previous_role.is_some());
            }
            (None, None) => {
                history.communities.insert(community);
            }
            // Another program wrote this row. It makes nobody a member.
            _ => {}
        }
    }
    history.has_unnumbered = !waiting.is_empty();
    for (community, was_member) in waiting {
        if was_member {
            history.communities.insert(community);
        } else {
            history.communities.remove(&community);
        }
    }
    if history.changes.len() > MAX_CHANGES {
        history.forgotten_through = history.changes.remove(0).0;
    }
    Ok(history)
}
