//! Reads a user's memberships and own events as of the database's head. A queue starts from these.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgExecutor;

use crate::{
    db::Db,
    error::{ErrorCode, Result},
    events::{Audience, Change, OutboxRow, history::HistoryId},
    ids::{CommunityId, EventId, UserId},
    realtime::{
        follows::{self, FollowHistory},
        hub::{OWN_EVENTS, OwnEvent},
        terms::QueueTerms,
    },
};

/// A user's memberships at `head`, and how they came about.
#[derive(Clone, Debug, Default)]
pub struct MembershipHistory {
    /// The history of events that `head` is in.
    pub id: HistoryId,
    /// The event after which this holds.
    pub head: EventId,
    /// The communities that the user is a member of at `head`.
    pub communities: BTreeSet<CommunityId>,
    /// The user's newest numbered own events, in ascending order: one more than a log keeps, so that it knows which is gone.
    /// Changes of memberships are among them.
    pub own_events: Vec<OwnEvent>,
    /// The newest own event that the database has no more, 0 for none.
    pub forgotten_through: EventId,
    /// What the user follows, if that was asked for.
    pub follows: Option<FollowHistory>,
    /// Whether changes are committed that have no event_id yet.
    pub has_unnumbered: bool,
}

/// Reads what a queue of these terms starts from. `token_invalid` where the account is not in use.
pub(crate) async fn read_for(db: &Db, user: UserId, terms: &QueueTerms) -> Result<MembershipHistory> {
    let mut history = read(db, user).await?;
    if terms.needs_follows() {
        history.follows = Some(follows::read(db, user, history.head).await?);
    }
    Ok(history)
}

/// Reads a user's memberships and newest own events in one statement, and so in one snapshot. `token_invalid` where the account is
/// not in use.
///
/// The table of memberships may be ahead of the head: it has a change from its commit on, and the change's event gets its
/// number a moment later. This undoes such waiting changes, so that the result holds exactly at `head`.
pub(crate) async fn read(db: impl PgExecutor<'_>, user: UserId) -> Result<MembershipHistory> {
    let rows = sqlx::query!(
        r#"select h.last_assigned as "head!: EventId", h.base as "base!: EventId", coalesce(h.fingerprint, '') as "fingerprint!",
                  (select is_active from users where id = $1) as is_active,
                  (select last_event_id from outbox_pruned_users where user_id = $1) as "pruned_through: EventId",
                  r.event_id as "event_id: EventId", coalesce(r.community_id, 0) as "community_id!: CommunityId",
                  r.payload, r.created_at
           from event_head h
           left join lateral (
               select m.community_id, null::bigint as event_id, null::text as payload, null::timestamptz as created_at,
                      0 as part, 0::bigint as ordinal
               from memberships m where m.user_id = $1
               union all
               select o.community_id, null, o.payload::text, o.created_at, 1, o.id
               from outbox o where o.user_id = $1 and o.event_id is null and o.type = 'membership_changed'
               union all
               (select o.community_id, o.event_id, o.payload::text, o.created_at, 2, o.event_id
                from outbox o where o.user_id = $1 and o.event_id is not null
                order by o.event_id desc limit $2::bigint + 1)
           ) r on true
           order by r.part, r.ordinal"#,
        user as _,
        OWN_EVENTS as i64
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
        history.forgotten_through = row.pruned_through.unwrap_or(EventId::START);
        let community_id = row.community_id;
        match (row.event_id, row.payload, row.created_at) {
            (Some(event_id), Some(payload), Some(created_at)) => {
                let row = OutboxRow { event_id, community_id, user_id: Some(user), payload, created_at };
                history.own_events.extend(own_event(row));
            }
            (None, Some(payload), _) => {
                // Another program may have written the row. Then it makes nobody a member.
                if let Ok(Change::MembershipChanged(change)) = serde_json::from_str(&payload) {
                    // The first of several waiting changes says how it was before them.
                    waiting.entry(community_id).or_insert(change.previous_role.is_some());
                }
            }
            (None, None, _) if community_id != CommunityId::NONE => {
                history.communities.insert(community_id);
            }
            // The user has neither memberships nor own events.
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
    Ok(history)
}

/// An outbox row for one user, as their log takes it.
fn own_event(row: OutboxRow) -> Option<OwnEvent> {
    let event = row.into_event();
    match event.audience {
        Audience::Member(change) => Some(OwnEvent::membership(event.event_id, change)),
        Audience::User(_) => Some(OwnEvent::other(&event)),
        Audience::Community
        | Audience::Account(_)
        | Audience::Sessions { .. }
        | Audience::Nodes(_)
        | Audience::Watch(..)
        | Audience::CommunityKind(..)
        | Audience::Nobody => None,
    }
}
