//! The routes of browser sessions.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{AuthState, Viewer, session, viewer};
use crate::{
    directory::store::{self as directory, Membership, User},
    error::{ApiError, ErrorCode, Result},
    extract::Query,
    openapi::{ReadErrors, WriteErrors},
};

/// The signed-in user and their communities.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "user": { "id": 9, "username": "ada", "avatar_url": null },
    "communities": [{ "id": 42, "name": "Methods", "slug": "methods", "kind": "public", "role": "member" }]
}))]
pub(crate) struct SessionInfo {
    user: User,
    /// The user's communities; if the token is narrowed, only those in it.
    communities: Vec<Membership>,
}

/// Which sessions a log-out ends.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EndQuery {
    /// `true` ends all sessions and log-ins of the signed-in user, in all browsers, and the polls that wait in the sessions.
    #[serde(default)]
    #[param(required = false)]
    everywhere: bool,
}

/// The routes of sessions.
pub(crate) fn routes() -> OpenApiRouter<AuthState> {
    OpenApiRouter::new().routes(routes!(begin, read, end))
}

async fn session_info(state: &AuthState, viewer: &Viewer) -> Result<Response> {
    let (user, communities) = directory::user_and_memberships(&state.db, viewer.user_id, &viewer.scope).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(SessionInfo { user, communities })).into_response())
}

fn cookie_header(cookie: String) -> Result<HeaderValue> {
    HeaderValue::try_from(cookie).map_err(ApiError::internal)
}

/// Exchange a bearer token for a session cookie
///
/// The session lives for `SESSION_TTL_SECONDS` (12 hours), however soon the token expires. It ends with a log-out, with the user's
/// account, and when the server no longer accepts the key that signed the token. If the token comes from `POST /auth/login`, the session
/// ends with that log-in too.
#[utoipa::path(post, path = "/session", tag = "session", operation_id = "beginSession",
    security(("bearer" = [])),
    responses((status = 200, description = "The signed-in user. The cookie is in `Set-Cookie`", body = SessionInfo), WriteErrors))]
async fn begin(State(state): State<AuthState>, headers: HeaderMap) -> Result<Response> {
    let token = viewer::bearer(&headers)?.ok_or(ErrorCode::TokenMissing)?;
    let verified = state.verifier.verify_with_origin(token)?;
    let mut answer = session_info(&state, &verified.viewer).await?;
    let cookie = state.sessions.begin(&verified, &headers).await?;
    answer.headers_mut().insert(header::SET_COOKIE, cookie_header(cookie)?);
    Ok(answer)
}

/// Get the signed-in user
#[utoipa::path(get, path = "/session", tag = "session", operation_id = "getSession",
    security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "The signed-in user", body = SessionInfo), ReadErrors))]
async fn read(State(state): State<AuthState>, viewer: Viewer) -> Result<Response> {
    session_info(&state, &viewer).await
}

/// Log out
///
/// Ends the session of the cookie, and the polls that wait in it. A request without a session is no error, unless it is to end the
/// sessions `everywhere`: that needs a signed-in user.
#[utoipa::path(delete, path = "/session", tag = "session", operation_id = "endSession",
    params(EndQuery), security((), ("bearer" = []), ("session" = [])),
    responses((status = 204, description = "The session has ended"), WriteErrors))]
async fn end(
    State(state): State<AuthState>,
    Query(query): Query<EndQuery>,
    viewer: Result<Viewer>,
    headers: HeaderMap,
) -> Result<Response> {
    let session = session::session_in(&headers);
    if session.is_some() {
        viewer::check_origin(&Method::DELETE, &headers, &state.allowed_origins)?;
    }
    if query.everywhere {
        state.sessions.end_all(viewer?.user_id).await?;
    }
    let mut answer = StatusCode::NO_CONTENT.into_response();
    if let Some(session) = session {
        let cookie = state.sessions.end(session).await?;
        answer.headers_mut().insert(header::SET_COOKIE, cookie_header(cookie)?);
    }
    Ok(answer)
}
