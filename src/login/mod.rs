//! Log-in by password, for the time when Django issues no tokens any more: `POST /auth/login`, `/auth/refresh` and `/auth/logout`.
//!
//! A log-in has two tokens. `access` is like simplejwt's and is checked like every other bearer token. `refresh` is a row of `logins`,
//! and each refresh replaces it (see [`refresh_token`]). A log-in ends by a log-out, with the account, with a change of the password,
//! by the second use of a refresh token, and after `REFRESH_TOKEN_SECONDS` without a refresh. The browser sessions that began with its
//! tokens end with it (migration 0037). A log-in and a cookie are no way to each other: these routes take no cookie and set none, so
//! they need no check of the origin.

mod handlers;
mod model;
mod password;
mod refresh_token;
mod store;

use std::sync::Arc;

use anyhow::ensure;
use axum::{Router, routing::any};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::password::Workers;
use crate::{
    config::{Config, JwtAlgorithm, JwtConfig, LoginConfig},
    db::Db,
    error::{ApiError, ErrorCode},
    limits::NameLimit,
};

/// So many times as often as from one address, somebody may log in by one name: so one address cannot keep a user out.
const NAME_FACTOR: u32 = 5;

/// What the handlers of log-ins share. It is cheap to clone.
#[derive(Clone)]
pub(crate) struct LoginState(Arc<Shared>);

/// What [`LoginState`] points to.
pub(crate) struct Shared {
    db: Db,
    config: LoginConfig,
    /// How tokens are signed.
    signing: JwtConfig,
    workers: Workers,
    limit: NameLimit,
}

impl LoginState {
    pub(crate) fn new(db: Db, config: &Config) -> Self {
        Self(Arc::new(Shared {
            db,
            config: config.login.clone(),
            signing: config.jwt.clone(),
            workers: Workers::new(config.login.django_password_rounds),
            limit: NameLimit::new(config.limits.logins_per_minute.saturating_mul(NAME_FACTOR)),
        }))
    }
}

impl std::ops::Deref for LoginState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The routes of log-ins.
pub(crate) fn routes() -> OpenApiRouter<LoginState> {
    OpenApiRouter::new()
        .routes(routes!(handlers::log_in))
        .routes(routes!(handlers::refresh))
        .routes(routes!(handlers::log_out))
}

/// The same paths where the setting is off.
pub(crate) fn no_routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let absent = || any(async || ApiError::from(ErrorCode::NotFound));
    Router::new().route("/auth/login", absent()).route("/auth/refresh", absent()).route("/auth/logout", absent())
}

/// Checks that this program can sign the tokens that it is to issue.
pub(crate) fn check_settings(config: &Config) -> anyhow::Result<()> {
    let has_secret = config.jwt.jwt_algorithm == JwtAlgorithm::Hs256;
    ensure!(
        !config.login.password_login || has_secret,
        "PASSWORD_LOGIN=true needs JWT_ALGORITHM=HS256 and JWT_SECRET: this server has only a public key, which checks tokens and cannot \
         sign them. Log in where the private key is, or unset PASSWORD_LOGIN"
    );
    Ok(())
}

/// Deletes the log-ins that have expired.
pub(crate) async fn purge(db: &Db) -> Result<(), sqlx::Error> {
    store::purge(db).await
}
