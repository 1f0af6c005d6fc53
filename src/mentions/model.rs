//! The handles of a community as clients receive them.

use serde::Serialize;
use utoipa::ToSchema;

use super::parser::{self, MAX_HANDLE};
use crate::{
    authors::Author,
    error::{ApiError, Result},
};

/// Somebody who can be mentioned.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Mentionable {
    /// How they are shown.
    pub author: Author,
    /// What one writes after `@`.
    pub handle: String,
}

/// The people who can be mentioned whose handles begin as asked for, by handle.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "members": [{ "author": { "id": 9, "username": "ada", "avatar_url": null }, "handle": "ada" }]
}))]
pub(super) struct Mentionables {
    /// 20 people at most.
    pub members: Vec<Mentionable>,
}

/// Checks the beginning of a handle, and gives it the form that handles in texts have.
pub(super) fn prefix(prefix: String) -> Result<String> {
    let prefix = parser::composed(&prefix);
    if prefix.contains('\0') || prefix.chars().count() > MAX_HANDLE {
        return Err(ApiError::invalid_parameter("prefix", format!("is not up to {MAX_HANDLE} characters of a handle")));
    }
    Ok(prefix)
}
