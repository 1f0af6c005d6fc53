//! Browser sessions, with tower-sessions: a client exchanges a bearer token for an HttpOnly cookie.
//!
//! tower-sessions makes the ids, sets and removes the cookie, and defines what a session is. Its layer is only around the three
//! routes of `/session`, and the store is our own. The reasons:
//!
//! * The ready-made store for PostgreSQL (tower-sessions-sqlx-store 0.15) switches sqlx to the `time` crate, and the statements of
//!   this crate then fail with 25 type errors. It brings its own table, migration and connection pool, so it has neither the time
//!   limits nor the rollbacks of `src/db`. It keeps a session's user inside a binary value, where no statement finds it.
//! * The store for Redis (tower-sessions-redis-store 0.16) adds 15 crates, among them a second Redis client. Redis is optional here
//!   and may lose everything, which would sign everybody out.
//! * All other requests only read a session. [`Sessions::viewer`] reads it with one statement of the same store, and the layer
//!   would run the same statement. But polls on the fast path pass no layer, so there would be two ways to read.

use std::{str::FromStr, sync::Arc};

use async_trait::async_trait;
use axum::http::{HeaderMap, header};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use tower_sessions::{
    Expiry, Session, SessionManagerLayer, SessionStore,
    cookie::{
        SameSite,
        time::{Duration, OffsetDateTime},
    },
    session::{Id, Record},
    session_store,
};

use super::viewer::Viewer;
use crate::{
    config::Config,
    db::Db,
    directory::Scope,
    error::{ApiError, ErrorCode, Result},
    ids::UserId,
};

const COOKIE: &str = "discussions_session";
const KEY: &str = "viewer";
/// How long the store may take. A poll has no other time limit, because it waits on purpose.
const LOAD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(4);
/// How long a session that was read is valid for polls without being read again. If another node ends it, it can poll here for
/// up to as long.
const FRESH: std::time::Duration = std::time::Duration::from_secs(2);
/// The most sessions that are cached for that long.
const CACHED: usize = 20_000;

/// The data of a session.
#[derive(Serialize, Deserialize)]
struct SessionData {
    user_id: UserId,
    scope: Scope,
}

/// The sessions of all users.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
}

impl Sessions {
    /// The sessions that the database holds.
    pub fn new(db: Db) -> Self {
        Self { store: Store { db, cache: Arc::new(Cache::new(CACHED)) } }
    }

    /// The layer for the routes that begin and end sessions. All other routes read the session by [`Sessions::viewer`], so that a
    /// parked poll neither holds nor writes a session.
    pub fn layer(&self, config: &Config) -> SessionManagerLayer<Store> {
        SessionManagerLayer::new(self.store.clone())
            .with_name(COOKIE)
            .with_http_only(true)
            .with_same_site(SameSite::Lax)
            .with_secure(config.session_cookie_secure)
            .with_path("/")
            .with_expiry(Expiry::OnInactivity(Duration::seconds(config.session_ttl_seconds)))
    }

    /// The viewer of the session that the request's cookie names. None without a cookie, and if the session has ended.
    pub async fn viewer(&self, headers: &HeaderMap) -> Result<Option<Viewer>> {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        match session_of(values) {
            Some(id) => self.read(id).await,
            None => Ok(None),
        }
    }

    /// The viewer of a poll's session. None if the session has ended. A session that was read a moment ago is not read again,
    /// because a browser polls again after each event.
    pub async fn poller(&self, id: Id) -> Result<Option<Viewer>> {
        match self.store.cache.get(&id).filter(|(_, read_at)| read_at.elapsed() < FRESH) {
            Some((viewer, _)) => Ok(Some(viewer)),
            None => self.read(id).await,
        }
    }

    /// The user of the session that the request's cookie names, if it was read a moment ago.
    pub fn remembered(&self, headers: &HeaderMap) -> Option<UserId> {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let (viewer, read_at) = self.store.cache.get(&session_of(values)?)?;
        (read_at.elapsed() < FRESH).then_some(viewer.user_id)
    }

    async fn read(&self, id: Id) -> Result<Option<Viewer>> {
        let record = timeout(LOAD_TIMEOUT, self.store.load(&id)).await.map_err(unavailable)?.map_err(unavailable)?;
        let data = record
            .and_then(|mut record| record.data.remove(KEY))
            .and_then(|value| serde_json::from_value::<SessionData>(value).ok());
        let viewer = data.map(|data| Viewer { user_id: data.user_id, scope: data.scope, expires_at: None });
        if let Some(viewer) = &viewer {
            self.store.cache.insert(id, (viewer.clone(), Instant::now()));
        }
        Ok(viewer)
    }

    /// Deletes the sessions that have ended.
    pub async fn purge(&self) -> anyhow::Result<()> {
        sqlx::query!("delete from sessions where expires_at < now()").execute(&self.store.db).await?;
        Ok(())
    }
}

/// Begins a session for `viewer`. It always has a new id, so that nobody can make a user sign in to an id that they know.
pub async fn begin(session: &Session, viewer: &Viewer) -> Result<()> {
    session.cycle_id().await.map_err(unavailable)?;
    let data = SessionData { user_id: viewer.user_id, scope: viewer.scope.clone() };
    session.insert(KEY, data).await.map_err(unavailable)?;
    Ok(())
}

/// Ends a session.
pub async fn end(session: &Session) -> Result<()> {
    session.flush().await.map_err(unavailable)
}

/// The table of sessions, for tower-sessions.
#[derive(Clone, Debug)]
pub struct Store {
    db: Db,
    /// The sessions that were read, and when.
    cache: Arc<Cache<Id, (Viewer, Instant)>>,
}

fn backend(error: impl std::fmt::Display) -> session_store::Error {
    session_store::Error::Backend(error.to_string())
}

#[async_trait]
impl SessionStore for Store {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        // An id has 128 random bits. If it is taken, the random number generator is broken, and the insert fails.
        let (data, expires_at) =
            (serde_json::to_value(&record.data).map_err(backend)?, record.expiry_date.unix_timestamp());
        sqlx::query!(
            "insert into sessions (id, data, expires_at) values ($1, $2, to_timestamp($3::bigint))",
            record.id.to_string(),
            data,
            expires_at
        )
        .execute(&self.db)
        .await
        .map_err(backend)?;
        Ok(())
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        self.cache.remove(&record.id);
        let (data, expires_at) =
            (serde_json::to_value(&record.data).map_err(backend)?, record.expiry_date.unix_timestamp());
        sqlx::query!(
            "insert into sessions (id, data, expires_at) values ($1, $2, to_timestamp($3::bigint))
             on conflict (id) do update set data = excluded.data, expires_at = excluded.expires_at",
            record.id.to_string(),
            data,
            expires_at
        )
        .execute(&self.db)
        .await
        .map_err(backend)?;
        Ok(())
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let row = sqlx::query!(
            r#"select data, extract(epoch from expires_at)::bigint as "expires_at!" from sessions
               where id = $1 and expires_at > now()"#,
            id.to_string()
        )
        .fetch_optional(&self.db)
        .await
        .map_err(backend)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Record {
            id: *id,
            data: serde_json::from_value(row.data).map_err(backend)?,
            expiry_date: OffsetDateTime::from_unix_timestamp(row.expires_at).map_err(backend)?,
        }))
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        sqlx::query!("delete from sessions where id = $1", id.to_string()).execute(&self.db).await.map_err(backend)?;
        self.cache.remove(id);
        Ok(())
    }
}

/// The id of the session in the values of Cookie headers.
pub fn session_of<'a>(cookies: impl Iterator<Item = &'a str>) -> Option<Id> {
    let mut pairs = cookies.flat_map(|value| value.split(';'));
    let value = pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
    Id::from_str(value).ok()
}

fn unavailable(cause: impl std::fmt::Display) -> ApiError {
    tracing::warn!(%cause, "the session store is not available");
    ErrorCode::Unavailable.into()
}
