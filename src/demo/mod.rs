//! The demo's sign-in: anyone may be anyone. Mounted in demo mode only, and in no document.

pub mod store;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use crate::{
    auth::jwt,
    directory::Role,
    error::{ApiError, ErrorCode, Result},
    extract::JsonBody,
    ids::{CommunityId, UserId},
    state::AppState,
};

/// How long a demo's token is good, in seconds.
const TOKEN_TTL_SECONDS: i64 = 12 * 3600;

/// The routes of the demo.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/demo", get(directory))
        .route("/demo/token", post(token))
        .route("/demo/membership", post(membership))
}

async fn directory(State(state): State<AppState>) -> Result<Json<store::Directory>> {
    store::directory(&state.db).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    user_id: UserId,
}

#[derive(Serialize)]
struct Token {
    token: String,
}

async fn token(State(state): State<AppState>, JsonBody(sign_in): JsonBody<SignIn>) -> Result<Json<Token>> {
    if !store::user_exists(&state.db, sign_in.user_id).await? {
        return Err(ErrorCode::UserNotFound.into());
    }
    let token = jwt::mint(&state.config.jwt, sign_in.user_id, None, TOKEN_TTL_SECONDS).map_err(ApiError::internal)?;
    Ok(Json(Token { token }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Membership {
    user_id: UserId,
    community_id: CommunityId,
    role: Option<Role>,
}

async fn membership(State(state): State<AppState>, JsonBody(new): JsonBody<Membership>) -> Result<StatusCode> {
    store::set_membership(state.db.write(), new.user_id, new.community_id, new.role).await?;
    Ok(StatusCode::NO_CONTENT)
}
