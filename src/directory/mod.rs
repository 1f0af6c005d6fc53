//! People and communities: who may read a community, which role a member has, and which communities a token is valid for.
//!
//! Other programs write these tables (Django during the migration). This program only reads them.

pub mod store;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::CommunityId;

/// Who may read a community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = Kind)] // its name on the wire
pub enum Visibility {
    /// Anyone reads; members write.
    Public,
    /// Members read and write. Others may know that it exists.
    Private,
    /// Members read and write. Others must not learn that it exists.
    Hidden,
    /// Anyone reads; anyone signed in writes.
    Open,
}

impl Visibility {
    /// Whether anyone may read, and so watch, the community.
    pub fn is_readable_by_anyone(self) -> bool {
        matches!(self, Self::Public | Self::Open)
    }
}

/// The role of a member. Members and reviewers may do the same here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Reads and writes.
    Reviewer,
    /// Also deletes and resolves what other users wrote.
    Moderator,
    /// As a moderator, and writes the summaries of articles.
    Admin,
}

impl Role {
    /// Whether the role may delete and resolve what other users wrote.
    pub fn moderates(self) -> bool {
        matches!(self, Self::Moderator | Self::Admin)
    }
}

/// The communities that a token is valid for: all of its user's communities, or only these. A scope never makes anyone a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Option<Arc<[CommunityId]>>);

impl Scope {
    /// A scope of these communities, or of all if there is no list.
    pub fn new(communities: Option<Vec<CommunityId>>) -> Self {
        Self(communities.map(|mut ids| {
            ids.sort_unstable();
            ids.dedup();
            ids.into()
        }))
    }

    /// Whether `community` is in the scope. What is of no community is in every scope.
    pub fn allows(&self, community: CommunityId) -> bool {
        community == CommunityId::NONE || self.0.as_ref().is_none_or(|ids| ids.binary_search(&community).is_ok())
    }

    /// Whether `community` is in this scope, which is a queue's, and in the scope of the token that polls the queue.
    pub fn allows_both(&self, token: &Self, community: CommunityId) -> bool {
        self.allows(community) && token.allows(community)
    }

    /// The scope as a parameter of a statement: null if it has all communities.
    pub fn as_sql(&self) -> Option<&[CommunityId]> {
        self.0.as_deref()
    }
}
