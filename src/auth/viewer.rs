//! The extractors of the user who sends a request. [`Viewer`] refuses a request without one; [`MaybeViewer`] accepts it.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, Method, header, request::Parts},
};

use super::{AuthState, session::SessionProof};
use crate::{
    directory::Scope,
    error::{ApiError, ErrorCode, Result},
    ids::UserId,
};

/// The user who sends the request.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The user's id.
    pub user_id: UserId,
    /// The communities that the token or session is valid for.
    pub scope: Scope,
    /// When the token or session expires, in seconds since 1970.
    pub expires_at: Option<i64>,
    /// The session that the request came by. None for a token.
    pub session: Option<SessionProof>,
}

/// The user who sends the request, if anyone is signed in.
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

/// Finds the user by the bearer token, if the request has one, or else by the session of the cookie.
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

/// The user who sends a request, found by a layer around the handlers. The layer leaves it in the request's extensions, so that
/// the extractors need not authenticate again.
#[derive(Clone, Debug)]
pub enum Authenticated {
    /// The result of authentication, which the extractors take over.
    Checked(Result<Option<Viewer>, ErrorCode>),
    /// The user of a session that was read a moment ago. It may have ended since, so the extractors read it again.
    Remembered(UserId),
}

impl Authenticated {
    /// Authenticates a request.
    pub async fn of(state: &AuthState, parts: &Parts) -> Self {
        let has_token = matches!(bearer(&parts.headers), Ok(Some(_)) | Err(_));
        match state.sessions.remembered(&parts.headers).filter(|_| !has_token) {
            Some(user) => Self::Remembered(user),
            None => Self::Checked(authenticate(state, parts).await.map_err(|error| error.code())),
        }
    }

    /// The user's id, or None if nobody is signed in. The error is the refusal of the extractors.
    pub fn user_id(&self) -> Result<Option<UserId>, ErrorCode> {
        match self {
            Self::Checked(outcome) => {
                outcome.as_ref().map(|viewer| viewer.as_ref().map(|viewer| viewer.user_id)).map_err(|code| *code)
            }
            Self::Remembered(user) => Ok(Some(*user)),
        }
    }
}

/// The bearer token of the Authorization headers. `token_invalid` if it is not UTF-8.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let values = headers.get_all(header::AUTHORIZATION).iter().map(|value| value.as_bytes());
    bearer_credentials(values).map(token_of).transpose()
}

/// The credentials of the first Authorization header with the scheme `Bearer`; they may be empty. Headers with other schemes are
/// ignored, because a proxy in front may ask for a password, which browsers then send with every request.
pub fn bearer_credentials<'a>(authorization: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    authorization.into_iter().find_map(|value| {
        let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
        let (scheme, credentials) = value.split_at(end);
        scheme.eq_ignore_ascii_case(b"bearer").then(|| credentials.trim_ascii())
    })
}

/// The credentials as a token. `token_invalid` if they are not UTF-8.
pub fn token_of(credentials: &[u8]) -> Result<&str> {
    std::str::from_utf8(credentials).map_err(|_| ErrorCode::TokenInvalid.into())
}

/// Checks that a request by cookie that may write comes from an allowed origin. Browsers send the cookie whichever page makes the
/// request, so without this check any page could write for the user.
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
