//! The routes of browser sessions.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tower_sessions::Session;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{AuthState, Viewer, session, viewer};
use crate::{
    directory::store::{self as directory, Membership, User},
    error::{ErrorCode, Result},
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

/// The routes of sessions. Only these need the layer of [`session::Sessions`] around them.
pub(crate) fn routes() -> OpenApiRouter<AuthState> {
    OpenApiRouter::new().routes(routes!(begin, read, end))
}

async fn session_info(state: &AuthState, viewer: &Viewer) -> Result<Response> {
    let (user, communities) = directory::user_and_memberships(&state.db, viewer.user_id, &viewer.scope).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(SessionInfo { user, communities })).into_response())
}

/// Exchange a bearer token for a session cookie
#[utoipa::path(post, path = "/session", tag = "session", operation_id = "beginSession",
    security(("bearer" = [])),
    responses((status = 200, description = "The signed-in user. The cookie is in `Set-Cookie`", body = SessionInfo), WriteErrors))]
async fn begin(State(state): State<AuthState>, session: Session, headers: HeaderMap) -> Result<Response> {
    let token = viewer::bearer(&headers)?.ok_or(ErrorCode::TokenMissing)?;
    let viewer = state.verifier.verify(token)?;
    let answer = session_info(&state, &viewer).await?;
    session::begin(&session, &viewer).await?;
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
/// Ends the session of the cookie. A request without a session is no error.
#[utoipa::path(delete, path = "/session", tag = "session", operation_id = "endSession",
    security((), ("bearer" = []), ("session" = [])),
    responses((status = 204, description = "The session has ended"), WriteErrors))]
async fn end(State(state): State<AuthState>, session: Session, headers: HeaderMap) -> Result<StatusCode> {
    if session.id().is_some() {
        viewer::check_origin(&Method::DELETE, &headers, &state.allowed_origins)?;
        session::end(&session).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
