//! The handlers of log-ins.

use axum::{Json, extract::State, http::StatusCode};
use secrecy::{ExposeSecret, SecretString};

use super::{
    LoginState,
    model::{Credentials, Refresh, Tokens},
    password::RightPassword,
    refresh_token::{Presented, RefreshToken},
    store::{self, Account},
};
use crate::{
    auth::jwt,
    directory::store::User,
    error::{ApiError, ErrorCode, Result},
    extract::JsonBody,
    ids::LoginId,
    openapi::LoginErrors,
};

/// How often a log-in begins again because the password's row has changed meanwhile: by another log-in, or by a change of the password.
const ATTEMPTS: usize = 3;

/// Log in by password
///
/// Wrong passwords, unknown users and accounts that are not active get the same `credentials_invalid`, after the same time. An e-mail
/// address of two accounts logs nobody in. `not_found` unless the server's setting `PASSWORD_LOGIN` is on.
#[utoipa::path(post, path = "/auth/login", tag = "login", operation_id = "logIn", security(()),
    request_body = Credentials,
    responses((status = 200, description = "The tokens of the log-in", body = Tokens), LoginErrors))]
pub(super) async fn log_in(
    State(state): State<LoginState>,
    JsonBody(credentials): JsonBody<Credentials>,
) -> Result<Json<Tokens>> {
    let (name, password) = credentials.validate()?;
    state.limit.check(&name).await?;
    for _ in 0..ATTEMPTS {
        let account = store::find_account(&state.db, &name).await?;
        let stored = account.as_ref().and_then(|account| account.password.clone());
        let may_log_in = account.as_ref().is_some_and(|account| account.is_active);
        let right = state.workers.check(&password, stored, may_log_in).await?;
        let (Some(account), Some(right)) = (account, right) else { break };
        if let Some(tokens) = begin(&state, account, right).await? {
            return Ok(Json(tokens));
        }
    }
    Err(ErrorCode::CredentialsInvalid.into())
}

/// Begins the log-in of whoever has given the right password. None if the password or the account has changed since it was read.
async fn begin(state: &LoginState, account: Account, right: RightPassword) -> Result<Option<Tokens>> {
    let Account { user, password, .. } = account;
    let refresh = RefreshToken::random();
    let mut write = state.db.write();
    if !store::lock_unchanged(&mut write, user.id, &password.unwrap_or_default()).await? {
        return Ok(None);
    }
    if let Some(rehashed) = &right.rehashed {
        store::rehash(&mut write, user.id, rehashed).await?;
    }
    let login_id = store::insert(&mut write, user.id, &refresh, state.config.refresh_token_seconds).await?;
    write.commit().await?;
    tokens(state, user, login_id, &refresh).map(Some)
}

/// Get new tokens
///
/// The refresh token is replaced: the next refresh needs the one of this answer. A token that was used before ends the log-in, because
/// somebody else may have it. Only within 30 s after its use it leads to the same new token again: for tabs that refresh at once, and
/// for answers that are lost.
#[utoipa::path(post, path = "/auth/refresh", tag = "login", operation_id = "refreshTokens", security(()),
    request_body = Refresh,
    responses((status = 200, description = "The new tokens", body = Tokens), LoginErrors))]
pub(super) async fn refresh(
    State(state): State<LoginState>,
    JsonBody(Refresh { refresh }): JsonBody<Refresh>,
) -> Result<Json<Tokens>> {
    let token = parse(&refresh.0).ok_or(ErrorCode::TokenInvalid)?;
    let mut write = state.db.write();
    let login = store::lock(&mut write, &token).await?.ok_or(ErrorCode::TokenInvalid)?;
    let newest = match login.chain.present(&token, login.now) {
        Presented::Newest(successor, chain) => {
            store::store_chain(&mut write, login.id, &chain, state.config.refresh_token_seconds).await?;
            successor
        }
        Presented::JustUsed(newest) => newest,
        Presented::Reused => {
            store::delete(&mut write, &token).await?;
            write.commit().await?;
            tracing::warn!(user = login.user.id.get(), "a refresh token was used twice: its log-in has ended");
            return Err(ErrorCode::TokenInvalid.into());
        }
    };
    write.commit().await?;
    Ok(Json(tokens(&state, login.user, login.id, &newest)?))
}

/// Log out
///
/// Ends the log-in of the refresh token, and the browser sessions that began with its tokens. Its last `access` stays valid until it
/// expires. A token of no log-in is no error.
#[utoipa::path(post, path = "/auth/logout", tag = "login", operation_id = "logOut", security(()),
    request_body = Refresh,
    responses((status = 204, description = "The log-in has ended"), LoginErrors))]
pub(super) async fn log_out(
    State(state): State<LoginState>,
    JsonBody(Refresh { refresh }): JsonBody<Refresh>,
) -> Result<StatusCode> {
    if let Some(token) = parse(&refresh.0) {
        store::delete(&state.db, &token).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn parse(token: &SecretString) -> Option<RefreshToken> {
    token.expose_secret().parse().ok()
}

fn tokens(state: &LoginState, user: User, login_id: LoginId, refresh: &RefreshToken) -> Result<Tokens> {
    let seconds = state.config.access_token_seconds;
    let access = jwt::mint_for_login(&state.signing, user.id, login_id, seconds);
    Ok(Tokens {
        access: access.map_err(ApiError::internal)?,
        refresh: refresh.expose(),
        token_type: "Bearer",
        expires_in: seconds,
        user,
    })
}
