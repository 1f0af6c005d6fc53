//! A queue: a user, a scope and an expiry. It holds no events.

use std::sync::Arc;

use tokio::time::Instant;

use super::waiter::Waiter;
use crate::{
    auth::Scope,
    ids::{CommunityId, EventId, UserId},
};

/// A user's registration for events on this node.
#[derive(Debug)]
pub struct Queue {
    /// Whose it is.
    pub user: UserId,
    /// What the token that registered it was narrowed to.
    pub scope: Scope,
    /// When it is deleted, unless a heartbeat comes.
    pub expires_at: Instant,
    /// Its parked poll, and what that had seen when it was parked.
    pub parked: Option<(Arc<Waiter>, EventId)>,
    /// The scope of the token of the parked poll.
    token: Scope,
}

impl Queue {
    /// A queue with nothing parked.
    pub fn new(user: UserId, scope: Scope, expires_at: Instant) -> Self {
        Self { user, scope, expires_at, parked: None, token: Scope::default() }
    }

    /// Parks a poll, in the place of an older one.
    pub fn park(&mut self, waiter: Arc<Waiter>, seen: EventId, token: Scope) {
        self.parked = Some((waiter, seen));
        self.token = token;
    }

    /// Whether a poll waits: an answered one stays recorded until the next comes.
    pub fn is_waiting(&self) -> bool {
        self.parked.as_ref().is_some_and(|(waiter, _)| waiter.is_waiting())
    }

    /// Forgets the poll if it is the parked one.
    pub fn unpark(&mut self, waiter: &Arc<Waiter>) -> bool {
        let is_parked = self.parked.as_ref().is_some_and(|(parked, _)| Arc::ptr_eq(parked, waiter));
        if is_parked {
            self.parked = None;
        }
        is_parked
    }

    /// The parked poll, if it may be told of something in `community`.
    pub fn wake_for(&mut self, community: CommunityId) -> Option<Arc<Waiter>> {
        if !super::member::narrowed(&self.scope, &self.token, community) {
            return None;
        }
        self.parked.take().map(|(waiter, _)| waiter)
    }
}
