//! Who people and communities are: how open a community is, which role a member has, and what a token is narrowed to.
//!
//! Other programs write these tables (Django during the migration), so everything here only reads.

pub mod store;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::CommunityId;

/// How open a community is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = Kind)] // its name on the wire
pub enum Visibility {
    /// Anyone reads, members write.
    Public,
    /// Members only; others know of it.
    Private,
    /// Members only; others do not know of it.
    Hidden,
}

/// What a member may do: members and reviewers the same here, moderators and admins also delete, admins also resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Reads and writes.
    Reviewer,
    /// Also deletes what others wrote.
    Moderator,
    /// Also deletes and resolves what others wrote.
    Admin,
}

impl Role {
    /// Whether the role may delete what others wrote.
    pub fn moderates(self) -> bool {
        matches!(self, Self::Moderator | Self::Admin)
    }
}

/// The communities that a token is good for: all of its user's, or only some. It narrows and never widens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Option<Arc<[CommunityId]>>);

impl Scope {
    /// `None` for all.
    pub fn new(communities: Option<Vec<CommunityId>>) -> Self {
        Self(communities.map(|mut ids| {
            ids.sort_unstable();
            ids.dedup();
            ids.into()
        }))
    }

    /// Whether `community` is in it.
    pub fn allows(&self, community: CommunityId) -> bool {
        self.0.as_ref().is_none_or(|ids| ids.binary_search(&community).is_ok())
    }

    /// Whether `community` is both in this scope, a queue's, and in that of the token that the queue is polled with.
    pub fn allows_both(&self, token: &Self, community: CommunityId) -> bool {
        self.allows(community) && token.allows(community)
    }

    /// For SQL: null for all.
    pub fn as_sql(&self) -> Option<&[CommunityId]> {
        self.0.as_deref()
    }
}
