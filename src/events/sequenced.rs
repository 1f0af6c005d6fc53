//! Events as the feed hands them to the hub: who gets them, and their JSON, ready to be sent.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    Change, Content, KindChange, MembershipChange, OutboxRow,
    subject::{Outline, Subject, Writer},
};
use crate::ids::{ArticleId, CommunityId, EventId, QueueId, SessionTag, UserId};

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
    /// What it is about.
    pub subject: Subject,
    /// Who wrote the discussion or comment that it shows, if that is new.
    pub writer: Option<Writer>,
    /// What it means for the events that a node keeps.
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
    /// No client. It tells the nodes what a user follows by.
    Nodes(NodeMessage),
    /// No client. It tells the nodes which communities this queue watches from now on, and no others.
    Watch(QueueId, Arc<[CommunityId]>),
    /// No client. It tells the nodes of which kind a new community is, or that one is gone.
    CommunityKind(CommunityId, KindChange),
    /// Nobody. It only has a number in the order.
    Nobody,
}

/// What nodes must know of a user, to know what they follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeMessage {
    /// They submitted an article.
    Submitted(UserId, ArticleId),
    /// They write on an article of a community by this pseudonym from now on.
    Pseudonym(UserId, CommunityId, ArticleId, String),
}

/// What a row of no community says (migrations 0009, 0013, 0021 and 0032, and [`Write::announce_watch`](crate::db::Write)).
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ForNodes {
    AccountChanged { user_id: UserId },
    SessionsEnded { user_id: UserId, sessions: Vec<SessionTag> },
    ArticleSubmitted { user_id: UserId, article_id: ArticleId },
    CommunityKind { community_id: CommunityId, kind: Option<String> },
    PseudonymGiven { user_id: UserId, community_id: CommunityId, article_id: ArticleId, name: String },
    QueueWatches { queue_id: QueueId, community_ids: Arc<[CommunityId]> },
}

impl OutboxRow {
    /// The event for the hub.
    pub fn into_event(self) -> SequencedEvent {
        let audience = match self.user_id {
            None if self.community_id == CommunityId::NONE => match serde_json::from_str(&self.payload) {
                Ok(ForNodes::AccountChanged { user_id }) => Audience::Account(user_id),
                Ok(ForNodes::SessionsEnded { user_id, sessions }) => Audience::Sessions { user_id, ended: sessions },
                Ok(ForNodes::ArticleSubmitted { user_id, article_id }) => {
                    Audience::Nodes(NodeMessage::Submitted(user_id, article_id))
                }
                Ok(ForNodes::PseudonymGiven { user_id, community_id, article_id, name }) => {
                    Audience::Nodes(NodeMessage::Pseudonym(user_id, community_id, article_id, name))
                }
                Ok(ForNodes::CommunityKind { community_id, kind }) => {
                    Audience::CommunityKind(community_id, KindChange::to(kind.as_deref()))
                }
                Ok(ForNodes::QueueWatches { queue_id, community_ids }) => Audience::Watch(queue_id, community_ids),
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
        let outline = Outline::of(&json);
        let is_shared = audience == Audience::Community;
        SequencedEvent {
            event_id: self.event_id,
            community_id: self.community_id,
            subject: outline.as_ref().map(Outline::subject).unwrap_or_default(),
            writer: outline.as_ref().filter(|_| is_shared).and_then(Outline::writer),
            content: outline
                .filter(|_| is_shared)
                .and_then(|outline| Content::read(&json, &outline))
                .unwrap_or_default(),
            audience,
            json,
            written_at: self.created_at,
        }
    }
}
