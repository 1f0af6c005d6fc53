//! Browser sessions: `POST /session` exchanges a bearer token for an HttpOnly cookie.
//!
//! A session lives for `SESSION_TTL_SECONDS` from its sign-in, although the token may expire sooner. It ends earlier
//!
//! * by a log-out, of this browser or of all browsers of its user,
//! * with the account of its user,
//! * with the log-in by password that it began with,
//! * when the key that vouched for it is no longer in the settings.
//!
//! All but the last delete the session, and a trigger writes an event for the nodes (migration 0013). This is how a node with a parked
//! poll or a cached session learns of it. All requests but polls read the session from the database each time.
//!
//! tower-sessions is not in use. Its layer would be around three routes only, because polls on the fast path pass no layer. It saves
//! a session after the handler, so a failed save is a 500 without our body. Its stores know sessions by the cookie's value and keep
//! the user in a binary value, where no statement finds it. What is left are an id and a cookie.

mod id;
mod store;

use axum::http::{HeaderMap, header};
use quick_cache::sync::Cache;
use tokio::time::{Instant, timeout};

use self::id::SessionSecret;
pub use self::id::{SessionHash, SessionProof, session_of};
use super::{
    jwt::{Verified, Verifier},
    viewer::Viewer,
};
use crate::{
    config::Config,
    db::Db,
    error::{ErrorCode, Result},
    ids::UserId,
};

/// How long the database may take. A poll has no other time limit, because it waits on purpose.
const READ_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(4);
/// How long a session that was read is valid for polls without being read again. A node that its feed does not tell of the session's
/// end accepts polls for that long.
const FRESH: std::time::Duration = std::time::Duration::from_secs(2);
/// The most sessions that are cached for that long.
const CACHED: usize = 20_000;

/// The sessions of all users.
pub struct Sessions {
    db: Db,
    /// The fingerprints of the keys of the settings.
    keys: Vec<String>,
    ttl_seconds: i64,
    is_secure: bool,
    /// The sessions that were read, and when.
    cache: Cache<SessionHash, (Viewer, Instant)>,
}

impl Sessions {
    /// The sessions that the database holds, as far as one of the verifier's keys has vouched for them.
    pub fn new(db: Db, verifier: &Verifier, config: &Config) -> Self {
        Self {
            db,
            keys: verifier.fingerprints(),
            ttl_seconds: config.session_ttl_seconds,
            is_secure: config.session_cookie_is_secure(),
            cache: Cache::new(CACHED),
        }
    }

    /// The viewer of the session that the request's cookie names. None without a cookie, and if the session has ended.
    pub async fn viewer(&self, headers: &HeaderMap) -> Result<Option<Viewer>> {
        match session_in(headers) {
            Some(session) => self.read(session).await,
            None => Ok(None),
        }
    }

    /// The viewer of a poll's session. None if the session has ended. A session that was read a moment ago is not read again,
    /// because a browser polls again after each event. The hub knows if it has ended since.
    pub async fn poller(&self, session: SessionHash) -> Result<Option<Viewer>> {
        match self.cached(session) {
            Some(viewer) => Ok(Some(viewer)),
            None => self.read(session).await,
        }
    }

    /// Reads the session of `viewer` again. `token_missing` if it has ended.
    pub async fn read_again(&self, viewer: &Viewer) -> Result<Viewer> {
        let session = viewer.session.ok_or(ErrorCode::TokenMissing)?;
        Ok(self.read(session.hash).await?.ok_or(ErrorCode::TokenMissing)?)
    }

    /// The user of the session that the request's cookie names, if it was read a moment ago.
    pub fn remembered(&self, headers: &HeaderMap) -> Option<UserId> {
        self.cached(session_in(headers)?).map(|viewer| viewer.user_id)
    }

    fn cached(&self, session: SessionHash) -> Option<Viewer> {
        let (viewer, read_at) = self.cache.get(&session)?;
        let is_over = viewer.expires_at.is_some_and(|end| end <= chrono::Utc::now().timestamp());
        (read_at.elapsed() < FRESH && !is_over).then_some(viewer)
    }

    async fn read(&self, session: SessionHash) -> Result<Option<Viewer>> {
        let found = timeout(READ_TIMEOUT, store::find(&self.db, session, &self.keys)).await;
        let found = found.map_err(|_| ErrorCode::Unavailable)??;
        match &found {
            Some(viewer) => self.cache.insert(session, (viewer.clone(), Instant::now())),
            None => _ = self.cache.remove(&session),
        }
        Ok(found)
    }

    /// Begins a session for the user of a token. Returns the value of `Set-Cookie`. The session that the request's
    /// cookie names ends. A session always has a new id, so that nobody can make a user sign in to an id that they know.
    pub(super) async fn begin(&self, token: &Verified<'_>, headers: &HeaderMap) -> Result<String> {
        let (secret, replaced) = (SessionSecret::random(), session_in(headers));
        store::insert(&self.db, secret.hash(), token, self.ttl_seconds, replaced).await?;
        Ok(secret.cookie(self.ttl_seconds, self.is_secure))
    }

    /// Ends a session. Returns the value of `Set-Cookie` that removes the cookie.
    pub async fn end(&self, session: SessionHash) -> Result<String> {
        store::delete(&self.db, session).await?;
        self.cache.remove(&session);
        Ok(id::removal_cookie(self.is_secure))
    }

    /// Ends all sessions and log-ins of a user.
    pub async fn end_all(&self, user: UserId) -> Result<()> {
        store::delete_all(&self.db, user).await
    }

    /// Deletes the sessions that have ended.
    pub async fn purge(&self) -> Result<(), sqlx::Error> {
        store::purge(&self.db).await
    }
}

/// The session that the request's cookie names.
pub(super) fn session_in(headers: &HeaderMap) -> Option<SessionHash> {
    session_of(headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()))
}
