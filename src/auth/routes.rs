//! The session of a browser: begin, ask, end.

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

/// Who is signed in.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "user": { "id": 9, "username": "ada", "avatar_url": null },
    "communities": [{ "id": 42, "name": "Methods", "slug": "methods", "kind": "public", "role": "member" }]
}))]
pub struct SessionInfo {
    user: User,
    /// The communities of the user, and of the token where that is narrower.
    communities: Vec<Membership>,
}

/// The routes of sessions. They want the layer of [`session::Sessions`] around them, and no others do.
pub fn routes() -> OpenApiRouter<AuthState> {
    OpenApiRouter::new().routes(routes!(begin, who, end))
}

async fn info(state: &AuthState, viewer: &Viewer) -> Result<Response> {
    let (user, communities) = directory::who_is(&state.db, viewer.user_id, &viewer.scope).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(SessionInfo { user, communities })).into_response())
}

/// Exchange a bearer token for a session cookie
#[utoipa::path(post, path = "/session", tag = "session", operation_id = "beginSession",
    security(("bearer" = [])),
    responses((status = 200, description = "Who you are; the cookie comes in `Set-Cookie`", body = SessionInfo), WriteErrors))]
async fn begin(State(state): State<AuthState>, session: Session, headers: HeaderMap) -> Result<Response> {
    let token = viewer::bearer(&headers)?.ok_or(ErrorCode::TokenMissing)?;
    let viewer = state.verifier.verify(token)?;
    let answer = info(&state, &viewer).await?;
    session::begin(&session, &viewer).await?;
    Ok(answer)
}

/// Who am I
#[utoipa::path(get, path = "/session", tag = "session", operation_id = "getSession",
    security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "Who you are", body = SessionInfo), ReadErrors))]
async fn who(State(state): State<AuthState>, viewer: Viewer) -> Result<Response> {
    info(&state, &viewer).await
}

/// Log out
///
/// Ends the session of the cookie. Without one there is nothing to end, and that is no error.
#[utoipa::path(delete, path = "/session", tag = "session", operation_id = "endSession",
    security((), ("bearer" = []), ("session" = [])),
    responses((status = 204, description = "There is no session any more"), WriteErrors))]
async fn end(State(state): State<AuthState>, session: Session, headers: HeaderMap) -> Result<StatusCode> {
    if session.id().is_some() {
        viewer::check_origin(&Method::DELETE, &headers, &state.allowed_origins)?;
        session::end(&session).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
