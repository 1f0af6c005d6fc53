//! The extractors that say who is asking: [`Viewer`] where that must be known, [`MaybeViewer`] where anyone may ask.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, header, request::Parts},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{ApiError, ErrorCode, Result},
    ids::{CommunityId, UserId},
    state::AppState,
};

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

impl FromRequestParts<AppState> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        MaybeViewer::from_request_parts(parts, state).await?.0.ok_or_else(|| ErrorCode::TokenMissing.into())
    }
}

impl FromRequestParts<AppState> for MaybeViewer {
    type Rejection = ApiError;

    /// A bearer token, if there is an Authorization header at all; else the session of the cookie.
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        if let Some(token) = bearer(&parts.headers)? {
            return Ok(Self(Some(state.verifier.verify(token)?)));
        }
        let Some(viewer) = state.sessions.viewer(&parts.headers).await? else {
            return Ok(Self(None));
        };
        check_origin(&parts.method, &parts.headers, &state.config.allowed_origins)?;
        Ok(Self(Some(viewer)))
    }
}

/// The token of the Authorization header. `token_invalid` for a header that is not a bearer token.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    headers.get(header::AUTHORIZATION).map(|value| token_of(value.as_bytes())).transpose()
}

/// The token of an Authorization header's value. `token_invalid` where that is not a bearer token.
pub fn token_of(authorization: &[u8]) -> Result<&str> {
    let token = std::str::from_utf8(authorization).ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token.ok_or_else(|| ErrorCode::TokenInvalid.into())
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
