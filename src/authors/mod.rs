//! Authors, as other users may see them.
//!
//! Answers and events show a person as author only in the form of [`Author`], and only this module makes one. An author with a
//! pseudonym never has the person's id, name or picture. A trigger writes the event `author_changed` (migration 0010), for what a
//! person wrote under their own name.

pub(crate) mod store;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::UserId;

/// The author of a discussion or comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Author {
    /// The user's id; null for a pseudonym.
    #[schema(required)]
    id: Option<UserId>,
    /// The user's name or the pseudonym.
    username: String,
    /// The address of the user's picture; null without one and for a pseudonym.
    #[schema(required)]
    avatar_url: Option<String>,
}

/// An author as the database knows them. It must not leave the server. A statement may return it as
/// `row(id, username, avatar_url, pseudonym)`.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "record")]
pub struct Identity {
    pub user_id: UserId,
    pub username: String,
    pub avatar_url: Option<String>,
    /// The pseudonym, if the discussion or comment was written under one.
    pub pseudonym: Option<String>,
}

impl Author {
    /// The user's id. None for a pseudonym.
    pub fn user_id(&self) -> Option<UserId> {
        self.id
    }

    /// The user's name or the pseudonym.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The address of the user's picture. None without one and for a pseudonym.
    pub fn avatar_url(&self) -> Option<&str> {
        self.avatar_url.as_deref()
    }

    /// An author who is known by this pseudonym only.
    pub fn pseudonymous(pseudonym: String) -> Self {
        Self { id: None, username: pseudonym, avatar_url: None }
    }
}

impl From<Identity> for Author {
    fn from(identity: Identity) -> Self {
        match identity.pseudonym {
            Some(pseudonym) => Self::pseudonymous(pseudonym),
            None => Self { id: Some(identity.user_id), username: identity.username, avatar_url: identity.avatar_url },
        }
    }
}
