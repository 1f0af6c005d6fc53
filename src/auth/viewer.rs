//! The extractors that say who is asking: [`Viewer`] where that must be known, [`MaybeViewer`] where anyone may ask.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, Method, header, request::Parts},
};

use super::AuthState;
use crate::{
    directory::Scope,
    error::{ApiError, ErrorCode, Result},
    ids::UserId,
};

/// The user who is asking.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// Who it is.
    pub user_id: UserId,
    /// What the token is narrowed to.
    pub scope: Scope,
    /// When the token ends, in seconds since 1970; a session's end is the session store's affair.
    pub expires_at: Option<i64>,
}

/// The user who is asking, if any: for what the public may read.
pub struct MaybeViewer(pub Option<Viewer>);

impl<S: Send + Sync> FromRequestParts<S> for Viewer
where
    AuthState: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        MaybeViewer::from_request_parts(parts, state).await?.0.ok_or_else(|| ErrorCode::TokenMissing.into())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MaybeViewer
where
    AuthState: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        if let Some(Authenticated::Checked(outcome)) = parts.extensions.get() {
            return outcome.clone().map(Self).map_err(ApiError::from);
        }
        authenticate(&AuthState::from_ref(state), parts).await.map(Self)
    }
}

/// A bearer token, if there is an Authorization header of that scheme; else the session of the cookie.
async fn authenticate(state: &AuthState, parts: &Parts) -> Result<Option<Viewer>> {
    if let Some(token) = bearer(&parts.headers)? {
        return state.verifier.verify(token).map(Some);
    }
    let Some(viewer) = state.sessions.viewer(&parts.headers).await? else {
        return Ok(None);
    };
    check_origin(&parts.method, &parts.headers, &state.allowed_origins)?;
    Ok(Some(viewer))
}

/// Who sends a request, as a layer around the handlers has to know it. As an extension of the request it saves the extractors
/// the same work.
#[derive(Clone, Debug)]
pub enum Authenticated {
    /// What an extractor finds.
    Checked(Result<Option<Viewer>, ErrorCode>),
    /// The user of a session that was read a moment ago. It may have ended since: the extractors look again.
    Remembered(UserId),
}

impl Authenticated {
    /// Finds out who sends a request.
    pub async fn of(state: &AuthState, parts: &Parts) -> Self {
        let has_token = matches!(bearer(&parts.headers), Ok(Some(_)) | Err(_));
        match state.sessions.remembered(&parts.headers).filter(|_| !has_token) {
            Some(user) => Self::Remembered(user),
            None => Self::Checked(authenticate(state, parts).await.map_err(|error| error.code())),
        }
    }

    /// Who it is, nobody, or why that is not known.
    pub fn user_id(&self) -> Result<Option<UserId>, ErrorCode> {
        match self {
            Self::Checked(outcome) => {
                outcome.as_ref().map(|viewer| viewer.as_ref().map(|viewer| viewer.user_id)).map_err(|code| *code)
            }
            Self::Remembered(user) => Ok(Some(*user)),
        }
    }
}

/// The bearer token of the Authorization headers. `token_invalid` where it cannot be one.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let values = headers.get_all(header::AUTHORIZATION).iter().map(|value| value.as_bytes());
    bearer_credentials(values).map(token_of).transpose()
}

/// What stands behind `Bearer` in the first Authorization header of that scheme, perhaps nothing. A header of another scheme
/// counts as absent: a proxy in front may ask for a password of its own, and browsers send that along.
pub fn bearer_credentials<'a>(authorization: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    authorization.into_iter().find_map(|value| {
        let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
        let (scheme, credentials) = value.split_at(end);
        scheme.eq_ignore_ascii_case(b"bearer").then(|| credentials.trim_ascii())
    })
}

/// The token that bearer credentials are. `token_invalid` where they cannot be one.
pub fn token_of(credentials: &[u8]) -> Result<&str> {
    std::str::from_utf8(credentials).map_err(|_| ErrorCode::TokenInvalid.into())
}

/// A browser sends cookies along whichever page makes it ask, so what changes something must come from a page we know.
pub fn check_origin(method: &Method, headers: &HeaderMap, allowed: &[String]) -> Result<()> {
    if method.is_safe() {
        return Ok(());
    }
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    match origin {
        Some(origin) if !origin.is_empty() && allowed.iter().any(|one| one == origin) => Ok(()),
        _ => Err(ErrorCode::OriginNotAllowed.into()),
    }
}
