//! The SQL of log-ins.
//!
//! Triggers end log-ins with their user's account and password (migration 0037).

use sqlx::{PgExecutor, types::Json};

use super::refresh_token::{Chain, RefreshToken, UsedToken};
use crate::{
    db::{Db, Write},
    directory::store::User,
    error::Result,
    ids::{LoginId, UserId},
};

/// The most log-ins of one user. The one that was refreshed least recently ends for a new one.
const USER_LOGINS: i64 = 100;

/// A user who may have a password here.
pub(super) struct Account {
    pub user: User,
    pub is_active: bool,
    /// In Django's form. None without a row of credentials.
    pub password: Option<String>,
}

/// The account of this name or e-mail address. None if there is none, or more than one.
pub(super) async fn find_account(db: impl PgExecutor<'_>, name: &str) -> Result<Option<Account>> {
    // The comparison in lower case finds names by their index.
    let mut found = sqlx::query!(
        r#"select u.id as "id!: UserId", u.username as "username!", u.avatar_url, u.is_active as "is_active!",
                  c.password as "password?"
           from (
               select n.id from users n where lower(n.username) = lower($1) and n.username = $1
               union
               select e.user_id from credentials e where lower(e.email) = lower($1)
               limit 2
           ) named
           join users u on u.id = named.id
           left join credentials c on c.user_id = u.id"#,
        name
    )
    .fetch_all(db)
    .await?;
    let is_one = found.len() == 1;
    Ok(found.pop().filter(|_| is_one).map(|row| Account {
        user: User { id: row.id, username: row.username, avatar_url: row.avatar_url },
        is_active: row.is_active,
        password: row.password,
    }))
}

/// Locks the account and its password until the commit. False if the account is not active, or has another password than
/// `password`.
pub(super) async fn lock_unchanged(write: &mut Write, user: UserId, password: &str) -> Result<bool> {
    // The user comes first, as for whoever deletes the user.
    let is_active = sqlx::query_scalar!("select u.is_active from users u where u.id = $1 for share", user as _);
    if is_active.fetch_optional(&mut *write).await? != Some(true) {
        return Ok(false);
    }
    let unchanged = sqlx::query_scalar!(
        r#"select true as "is_unchanged!" from credentials c where c.user_id = $1 and c.password = $2 for no key update"#,
        user as _,
        password
    );
    Ok(unchanged.fetch_optional(write).await?.is_some())
}

/// Stores another hash of the same password.
pub(super) async fn rehash(write: &mut Write, user: UserId, password: &str) -> Result<()> {
    let rehashed = sqlx::query!(
        "update credentials set password = $2, rehashed_at = clock_timestamp() where user_id = $1",
        user as _,
        password
    );
    rehashed.execute(write).await?;
    Ok(())
}

/// Begins a log-in.
pub(super) async fn insert(write: &mut Write, user: UserId, token: &RefreshToken, ttl_seconds: i64) -> Result<LoginId> {
    let (handle_hash, token_hash) = (token.handle_hash(), token.hash());
    let inserted = sqlx::query_scalar!(
        r#"with surplus as (
             delete from logins where id in (
                 select l.id from logins l where l.user_id = $1 order by l.expires_at desc offset $5)
         )
         insert into logins (user_id, handle_hash, token_hash, expires_at)
         values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4::bigint))
         returning id as "id: LoginId""#,
        user as _,
        handle_hash.as_slice(),
        token_hash.as_slice(),
        ttl_seconds,
        USER_LOGINS - 1
    );
    Ok(inserted.fetch_one(write).await?)
}

/// A log-in.
pub(super) struct Login {
    pub id: LoginId,
    pub user: User,
    pub chain: Chain,
    /// The time of the database, in milliseconds since 1970.
    pub now: i64,
}

/// Locks the log-in that `token` is of. None if it has ended.
pub(super) async fn lock(write: &mut Write, token: &RefreshToken) -> Result<Option<Login>> {
    let handle_hash = token.handle_hash();
    let row = sqlx::query!(
        r#"select l.id as "id: LoginId", l.token_hash, l.used as "used: Json<Vec<UsedToken>>", u.id as "user_id: UserId", u.username, u.avatar_url,
                  (extract(epoch from clock_timestamp()) * 1000)::bigint as "now!"
           from logins l join users u on u.id = l.user_id
           where l.handle_hash = $1 and u.is_active and l.expires_at > clock_timestamp()
           for no key update of l"#,
        handle_hash.as_slice()
    )
    .fetch_optional(write)
    .await?;
    Ok(row.map(|row| Login {
        id: row.id,
        user: User { id: row.user_id, username: row.username, avatar_url: row.avatar_url },
        chain: Chain { newest: row.token_hash, used: row.used.0 },
        now: row.now,
    }))
}

/// Stores what came of a refresh.
pub(super) async fn store_chain(write: &mut Write, id: LoginId, chain: &Chain, ttl_seconds: i64) -> Result<()> {
    let updated = sqlx::query!(
        "update logins
         set token_hash = $2, used = $3, refreshed_at = clock_timestamp(),
             expires_at = clock_timestamp() + make_interval(secs => $4::bigint)
         where id = $1",
        id as _,
        chain.newest.as_slice(),
        Json(&chain.used) as _,
        ttl_seconds
    );
    updated.execute(write).await?;
    Ok(())
}

/// Ends the log-in that `token` is of, and the browser sessions that began with it.
pub(super) async fn delete(db: impl PgExecutor<'_>, token: &RefreshToken) -> Result<()> {
    let handle_hash = token.handle_hash();
    sqlx::query!("delete from logins where handle_hash = $1", handle_hash.as_slice()).execute(db).await?;
    Ok(())
}

/// Deletes the log-ins that have expired, and forgets what leads from used tokens to their successors.
pub(super) async fn purge(db: &Db) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from logins where expires_at < now()").execute(db).await?;
    let forgotten = "update logins set used = '[]' where used <> '[]' and refreshed_at < now() - interval '5 minutes'";
    sqlx::query(forgotten).execute(db).await?;
    Ok(())
}
