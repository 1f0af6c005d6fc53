//! Browser sessions: an HttpOnly cookie in exchange for a bearer token, by tower-sessions.
//!
//! tower-sessions makes the ids, sets and removes the cookie, and defines what a session is. Its layer is only around the three
//! routes of `/session`, and the store is our own, for these reasons:
//!
//! * The ready-made store for PostgreSQL (tower-sessions-sqlx-store 0.15) switches sqlx to the `time` crate: the statements of
//!   this crate then fail with 25 type errors. It brings its own table, migration and connection pool, so it has neither the time limits nor
//!   the rollbacks of `src/db`, and a session's user is inside a binary value, where no statement finds it.
//! * The one for Redis (tower-sessions-redis-store 0.16) adds 15 crates, a second Redis client among them. Redis is optional
//!   here and may lose everything, which would sign everybody out.
//! * All other requests only read a session. [`Sessions::viewer`] does so by one statement of the same store, and the layer would
//!   run the same one. But the connections of polls pass no layer, so with it there would be two ways to read.

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
/// For this long a poll needs no second look at a session that was read. A session that another node ended can poll here for
/// as long.
const FRESH: std::time::Duration = std::time::Duration::from_secs(2);
/// How many sessions are remembered for that long.
const REMEMBERED: usize = 20_000;

/// What a session remembers.
#[derive(Serialize, Deserialize)]
struct Remembered {
    user_id: UserId,
    scope: Scope,
}

/// The sessions of this service.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
}

impl Sessions {
    /// Sessions in this database.
    pub fn new(db: Db) -> Self {
        Self { store: Store { db, read: Arc::new(Cache::new(REMEMBERED)) } }
    }

    /// The layer for the routes that begin and end sessions. All others only look, by [`Sessions::viewer`], so that
    /// nothing of a session is held or written by a parked poll.
    pub fn layer(&self, config: &Config) -> SessionManagerLayer<Store> {
        SessionManagerLayer::new(self.store.clone())
            .with_name(COOKIE)
            .with_http_only(true)
            .with_same_site(SameSite::Lax)
            .with_secure(config.session_cookie_secure)
            .with_path("/")
            .with_expiry(Expiry::OnInactivity(Duration::seconds(config.session_ttl_seconds)))
    }

    /// Who the session of the request's cookie is for. None without a cookie, and for a session that has ended.
    pub async fn viewer(&self, headers: &HeaderMap) -> Result<Option<Viewer>> {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        match session_of(values) {
            Some(id) => self.read(id).await,
            None => Ok(None),
        }
    }

    /// Who the session of a poll is for; None where it has ended. What was read a moment ago need not be read again: a
    /// browser polls anew after each event.
    pub async fn poller(&self, id: Id) -> Result<Option<Viewer>> {
        match self.store.read.get(&id).filter(|(_, read)| read.elapsed() < FRESH) {
            Some((viewer, _)) => Ok(Some(viewer)),
            None => self.read(id).await,
        }
    }

    /// The user of the session of the request's cookie, if it was read a moment ago.
    pub fn remembered(&self, headers: &HeaderMap) -> Option<UserId> {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let (viewer, read) = self.store.read.get(&session_of(values)?)?;
        (read.elapsed() < FRESH).then_some(viewer.user_id)
    }

    async fn read(&self, id: Id) -> Result<Option<Viewer>> {
        let record = timeout(LOAD_TIMEOUT, self.store.load(&id)).await.map_err(unavailable)?.map_err(unavailable)?;
        let remembered = record
            .and_then(|mut record| record.data.remove(KEY))
            .and_then(|value| serde_json::from_value::<Remembered>(value).ok());
        let viewer = remembered.map(|it| Viewer { user_id: it.user_id, scope: it.scope, expires_at: None });
        if let Some(viewer) = &viewer {
            self.store.read.insert(id, (viewer.clone(), Instant::now()));
        }
        Ok(viewer)
    }

    /// Deletes the sessions that have ended.
    pub async fn purge(&self) -> anyhow::Result<()> {
        sqlx::query!("delete from sessions where expires_at < now()").execute(&self.store.db).await?;
        Ok(())
    }
}

/// Begins a session for `viewer`, with a new id whatever the browser had before.
pub async fn begin(session: &Session, viewer: &Viewer) -> Result<()> {
    session.cycle_id().await.map_err(unavailable)?;
    let remembered = Remembered { user_id: viewer.user_id, scope: viewer.scope.clone() };
    session.insert(KEY, remembered).await.map_err(unavailable)?;
    Ok(())
}

/// Ends the session.
pub async fn end(session: &Session) -> Result<()> {
    session.flush().await.map_err(unavailable)
}

/// Sessions in the table of that name.
#[derive(Clone, Debug)]
pub struct Store {
    db: Db,
    /// What was read lately, and when.
    read: Arc<Cache<Id, (Viewer, Instant)>>,
}

fn backend(error: impl std::fmt::Display) -> session_store::Error {
    session_store::Error::Backend(error.to_string())
}

#[async_trait]
impl SessionStore for Store {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        // An id is 128 random bits; one that is taken is a fault of the generator and fails on the primary key.
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
        self.read.remove(&record.id);
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
        self.read.remove(id);
        Ok(())
    }
}

/// The session that the values of Cookie headers name.
pub fn session_of<'a>(cookies: impl Iterator<Item = &'a str>) -> Option<Id> {
    let mut pairs = cookies.flat_map(|value| value.split(';'));
    let value = pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
    Id::from_str(value).ok()
}

fn unavailable(cause: impl std::fmt::Display) -> ApiError {
    tracing::warn!(%cause, "the session store is not available");
    ErrorCode::Unavailable.into()
}
