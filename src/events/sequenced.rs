//! Events as the feed hands them to the hub: who gets them, and their JSON, ready to be sent.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Change, Content, MembershipChange, OutboxRow};
use crate::ids::{CommunityId, EventId, SessionTag, UserId};

/// An event on its way from the feed to the hub. The hub does not parse its JSON.
#[derive(Clone, Debug)]
pub struct SequencedEvent {
    /// Its number in the order.
    pub event_id: EventId,
    /// The community in which it happened; [`CommunityId::NONE`] if it is of none.
    pub community_id: CommunityId,
    /// Who gets it.
    pub audience: Audience,
    /// The event as clients get it.
    pub json: Bytes,
    /// What it has to do with redaction.
    pub content: Content,
    /// When its outbox row was written.
    pub written_at: DateTime<Utc>,
}

/// Who gets an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The community's members, as of this event.
    Community,
    /// The user whose membership it changes.
    Member(MembershipChange),
    /// This user: it is about something of their own.
    User(UserId),
    /// No client. It tells the nodes that this user's account has ended, and so their queues end.
    Account(UserId),
    /// No client. It tells the nodes that these sessions of the user have ended, and so their parked polls end.
    Sessions {
        /// The user.
        user_id: UserId,
        /// The sessions that have ended. The user may have others.
        ended: Vec<SessionTag>,
    },
    /// Nobody. It only has a number in the order.
    Nobody,
}

/// What a row of no community says (migrations 0009 and 0013).
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ForNodes {
    AccountChanged { user_id: UserId },
    SessionsEnded { user_id: UserId, sessions: Vec<SessionTag> },
}

impl OutboxRow {
    /// The event for the hub.
    pub(crate) fn into_event(self) -> SequencedEvent {
        let audience = match self.user_id {
            None if self.community_id == CommunityId::NONE => match serde_json::from_str(&self.payload) {
                Ok(ForNodes::AccountChanged { user_id }) => Audience::Account(user_id),
                Ok(ForNodes::SessionsEnded { user_id, sessions }) => Audience::Sessions { user_id, ended: sessions },
                // A later release wrote it. This one does not know what it means.
                Err(_) => Audience::Nobody,
            },
            None => Audience::Community,
            Some(user_id) => match serde_json::from_str(&self.payload) {
                Ok(Change::MembershipChanged(change)) => Audience::Member(change),
                // A type that this release does not know is of a later one. Clients ignore what they do not know.
                _ => Audience::User(user_id),
            },
        };
        // The event_id goes in front of the change's fields. A change always has fields.
        let fields = self.payload.trim_start().trim_start_matches('{');
        let json = Bytes::from(format!("{{\"event_id\":{},{}", self.event_id, fields.trim_start()));
        SequencedEvent {
            event_id: self.event_id,
            community_id: self.community_id,
            content: if audience == Audience::Community { Content::of(&json) } else { Content::Other },
            audience,
            json,
            written_at: self.created_at,
        }
    }
}
