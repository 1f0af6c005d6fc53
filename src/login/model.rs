//! What clients send and get.

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    directory::store::User,
    error::{ApiError, Result},
};

/// The longest name, in characters. An address has 254 at most, and a name of Django's 150.
const NAME_CHARACTERS: usize = 254;
/// The longest password, in bytes.
const PASSWORD_BYTES: usize = 4_096;

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "username": "ada", "password": "correct horse battery staple" }))]
pub(super) struct Credentials {
    /// The user's name as it is written, or their e-mail address in any case.
    #[schema(min_length = 1, max_length = 254)]
    pub username: String,
    /// The user's password.
    #[schema(value_type = String, min_length = 1, max_length = 4096)]
    pub password: Secret,
}

/// A text that no log shows.
#[derive(Deserialize)]
#[serde(from = "String")]
pub(super) struct Secret(pub SecretString);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Credentials {
    /// Checks what no account can have. 422 for the field.
    pub(super) fn validate(self) -> Result<(String, SecretString)> {
        use secrecy::ExposeSecret;
        let name = self.username;
        let problem = match name.chars().count() {
            0 => Some("is empty"),
            NAME_CHARACTERS.. if name.chars().count() > NAME_CHARACTERS => Some("has more than 254 characters"),
            // PostgreSQL's type text cannot store it.
            _ if name.contains('\0') => Some("has a NUL character"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(ApiError::invalid_field("username", problem));
        }
        match self.password.0.expose_secret().len() {
            0 => Err(ApiError::invalid_field("password", "is empty")),
            1..=PASSWORD_BYTES => Ok((name, self.password.0)),
            _ => Err(ApiError::invalid_field("password", "has more than 4096 bytes")),
        }
    }
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "refresh": "m1cFv1W0q0jZ8m9tqkq3m0zJ5o8m5q0Yb1rK9s2dT4uV6wX8yZ0aB2cD4eF6gH8i" }))]
pub(super) struct Refresh {
    /// The newest refresh token of the log-in.
    #[schema(value_type = String)]
    pub refresh: Secret,
}

/// The tokens of a log-in.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "access": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjo5fQ.c2lnbmF0dXJl",
    "refresh": "m1cFv1W0q0jZ8m9tqkq3m0zJ5o8m5q0Yb1rK9s2dT4uV6wX8yZ0aB2cD4eF6gH8i",
    "token_type": "Bearer",
    "expires_in": 86400,
    "user": { "id": 9, "username": "ada", "avatar_url": null }
}))]
pub(super) struct Tokens {
    /// The bearer token of other calls.
    pub access: String,
    /// For `POST /auth/refresh`, once. The newest one is valid.
    pub refresh: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// After so many seconds `access` is no longer valid.
    pub expires_in: i64,
    /// The user.
    pub user: User,
}
