//! The sessions that have ended lately.
//!
//! A poll by cookie looks its session up before it comes to the hub, and the session may end in between. So the poll says at which
//! head it read the session, and the hub knows which sessions have ended since. The database ends a session and writes the event
//! of it in one transaction. So a reader who still saw the session also saw a head before that event.

use std::collections::VecDeque;

use crate::{
    auth::session::SessionProof,
    ids::{EventId, SessionTag},
};

/// How many are kept. Polls ask only for those of the last seconds.
const KEPT: usize = 10_000;

/// The newest ends of sessions, in the order of their events.
#[derive(Debug, Default)]
pub(super) struct EndedSessions {
    ended: VecDeque<(EventId, SessionTag)>,
    /// Sessions that ended up to this event may be forgotten.
    forgotten_through: EventId,
}

/// Whether a session is still valid at the hub's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    Valid,
    Ended,
    /// It was read too long ago to tell. It must be read again.
    Unknown,
}

impl EndedSessions {
    /// None are known to have ended after `head`, and all that ended before are forgotten.
    pub(super) fn starting_at(head: EventId) -> Self {
        Self { ended: VecDeque::new(), forgotten_through: head }
    }

    /// Adds sessions that the event has ended.
    pub(super) fn add(&mut self, event_id: EventId, sessions: &[SessionTag]) {
        self.ended.extend(sessions.iter().map(|session| (event_id, *session)));
        while self.ended.len() > KEPT {
            if let Some((event_id, _)) = self.ended.pop_front() {
                self.forgotten_through = event_id;
            }
        }
    }

    /// What has become of a session that was valid when it was read.
    pub(super) fn state(&self, session: &SessionProof) -> SessionState {
        if session.read_at < self.forgotten_through {
            return SessionState::Unknown;
        }
        let tag = session.hash.tag();
        let mut since = self.ended.iter().rev().take_while(|(event_id, _)| *event_id > session.read_at);
        if since.any(|(_, ended)| *ended == tag) { SessionState::Ended } else { SessionState::Valid }
    }
}
