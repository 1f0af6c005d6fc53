//! Authors, as other users may see them.
//!
//! Answers and events show a person as author only in the form of [`Author`], and only this module makes one. An author with a
//! pseudonym never has the person's id, name or picture: a picture that it has is the pseudonym's own. A trigger writes the event `author_changed` (migration 0010), for what a
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
    /// The address of the picture of the user or of the pseudonym; null without one. A pseudonym's may be a `data:` address.
    #[schema(required)]
    avatar_url: Option<String>,
}

/// An author as the database knows them. It must not leave the server. A statement may return it as
/// `row(id, username, avatar_url, pseudonym)`, with the pseudonym as another row or null.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "record")]
pub struct Identity {
    pub user_id: UserId,
    pub username: String,
    pub avatar_url: Option<String>,
    /// The pseudonym, if the discussion or comment was written under one.
    pub pseudonym: Option<Pseudonym>,
}

/// A pseudonym. A statement may return it as `row(name, avatar_url)`.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "record")]
pub struct Pseudonym {
    pub name: String,
    pub avatar_url: Option<String>,
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

    /// The address of the picture of the user or of the pseudonym. None without one.
    pub fn avatar_url(&self) -> Option<&str> {
        self.avatar_url.as_deref()
    }

    /// An author who is known by this pseudonym only.
    pub fn pseudonymous(name: String, avatar_url: Option<String>) -> Self {
        Self { id: None, username: name, avatar_url }
    }
}

impl From<Identity> for Author {
    fn from(identity: Identity) -> Self {
        match identity.pseudonym {
            Some(Pseudonym { name, avatar_url }) => Self::pseudonymous(name, avatar_url),
            None => Self { id: Some(identity.user_id), username: identity.username, avatar_url: identity.avatar_url },
        }
    }
}
