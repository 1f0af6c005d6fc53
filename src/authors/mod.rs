//! Who wrote something, as others may know it.
//!
//! [`Author`] is the only form in which a person leaves the server as an author, made by [`Author::of`]
//! (or [`Author::under`] a pseudonym): where a pseudonym stands, the person's id, name and avatar are not even looked at. The event `author_changed` is written by a
//! trigger (migration 0010), for what was written under the person's own name.

pub mod store;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::UserId;

/// The author of a discussion or comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Author {
    /// The user; null for a pseudonym.
    #[schema(required)]
    id: Option<UserId>,
    /// The user's name or the pseudonym.
    username: String,
    /// A picture; never for a pseudonym.
    #[schema(required)]
    avatar_url: Option<String>,
}

/// A row's author as the database knows it.
pub struct Identity {
    /// The user who wrote it.
    pub user_id: UserId,
    /// That user's name.
    pub username: String,
    /// That user's picture.
    pub avatar_url: Option<String>,
    /// The name it was written under, where that was a pseudonym.
    pub pseudonym: Option<String>,
}

impl Author {
    /// The name that others see.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The picture that others see.
    pub fn avatar_url(&self) -> Option<&str> {
        self.avatar_url.as_deref()
    }

    /// Somebody under a pseudonym, of whom nothing else is known here.
    pub fn under(pseudonym: String) -> Self {
        Self { id: None, username: pseudonym, avatar_url: None }
    }

    /// The author that others see.
    pub fn of(identity: Identity) -> Self {
        match identity.pseudonym {
            Some(name) => Self::under(name),
            None => Self { id: Some(identity.user_id), username: identity.username, avatar_url: identity.avatar_url },
        }
    }
}
