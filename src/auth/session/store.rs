//! The SQL of sessions.
//!
//! A trigger tells all nodes which sessions a statement has deleted (migration 0013).

use sqlx::PgExecutor;

use super::{SessionHash, SessionProof};
use crate::{
    auth::{Viewer, jwt::Verified},
    db::Db,
    directory::Scope,
    error::{ErrorCode, Result},
    ids::{CommunityId, EventId, UserId},
};

/// The most sessions of one user. The oldest one ends for a new one.
pub(super) const USER_SESSIONS: i64 = 100;

/// Begins the session `hash` of the user of `token`. `replaced` is the session that the browser had until now. `token_invalid` if the
/// account is not active, or if the log-in that the token is of has ended.
pub(super) async fn insert(
    db: impl PgExecutor<'_>,
    hash: SessionHash,
    token: &Verified<'_>,
    ttl_seconds: i64,
    replaced: Option<SessionHash>,
) -> Result<()> {
    // The lock on the user waits for an end of the account that is under way. An end that comes later deletes this session.
    let inserted = sqlx::query!(
        "with person as (
             select id from users where id = $2 and is_active for share
         ), replaced as (
             delete from sessions where id = $6
         ), surplus as (
             delete from sessions where id in (
                 select id from sessions where user_id = $2 and id is distinct from $6 order by expires_at desc offset $7)
         )
         insert into sessions (id, user_id, key, communities, expires_at, login_id)
         select $1, person.id, $3, $4, now() + make_interval(secs => $5::bigint), $8 from person",
        hash.to_string(),
        token.viewer.user_id as _,
        token.key,
        token.viewer.scope.as_sql() as _,
        ttl_seconds,
        replaced.map(|hash| hash.to_string()),
        USER_SESSIONS - 1,
        token.login_id as _
    )
    .execute(db)
    .await?;
    if inserted.rows_affected() == 0 { Err(ErrorCode::TokenInvalid.into()) } else { Ok(()) }
}

/// The viewer of a session. None if it has ended, or if none of `keys` has vouched for it.
pub(super) async fn find(db: impl PgExecutor<'_>, hash: SessionHash, keys: &[String]) -> Result<Option<Viewer>> {
    // One statement, and so one snapshot: the end of a session that this does not see comes after the head that it sees.
    let row = sqlx::query!(
        r#"select s.user_id as "user_id!: UserId", s.communities as "communities: Vec<CommunityId>",
                  extract(epoch from s.expires_at)::bigint as "expires_at!", h.last_assigned as "head: EventId"
           from sessions s cross join event_head h
           where s.id = $1 and s.user_id is not null and s.key = any($2) and s.expires_at > now()"#,
        hash.to_string(),
        keys
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Viewer {
        user_id: row.user_id,
        scope: Scope::new(row.communities),
        expires_at: Some(row.expires_at),
        session: Some(SessionProof { hash, read_at: row.head }),
    }))
}

/// Ends a session.
pub(super) async fn delete(db: impl PgExecutor<'_>, hash: SessionHash) -> Result<()> {
    sqlx::query!("delete from sessions where id = $1", hash.to_string()).execute(db).await?;
    Ok(())
}

/// Ends all sessions and log-ins of a user.
pub(super) async fn delete_all(db: &Db, user: UserId) -> Result<()> {
    sqlx::query!("delete from logins where user_id = $1", user as _).execute(db).await?;
    sqlx::query!("delete from sessions where user_id = $1", user as _).execute(db).await?;
    Ok(())
}

/// Deletes the sessions that have ended, and those of older releases, whose ids are not hashed.
pub(super) async fn purge(db: &Db) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from sessions where expires_at < now() or user_id is null").execute(db).await?;
    Ok(())
}
