//! The SQL of people and communities.

use serde::Serialize;
use sqlx::PgExecutor;
use utoipa::ToSchema;

use super::{Role, Scope, Visibility};
use crate::{
    error::{ErrorCode, Result},
    ids::{CommunityId, UserId},
};

/// The user of a session or token.
#[derive(Serialize, ToSchema)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their name.
    pub username: String,
    /// Their picture.
    #[schema(required)]
    pub avatar_url: Option<String>,
}

/// A community of the user.
#[derive(Serialize, ToSchema)]
pub struct Membership {
    /// The community.
    pub id: CommunityId,
    /// Its name.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// How open it is.
    pub kind: Visibility,
    /// The user's role in it.
    pub role: Role,
}

/// That the account of `user` is in use, for calls that find nothing else to ask the database. `token_invalid` otherwise.
pub async fn check_active(db: impl PgExecutor<'_>, user: UserId) -> Result<()> {
    let is_active = sqlx::query_scalar!("select is_active from users where id = $1", user as _);
    match is_active.fetch_optional(db).await? {
        Some(true) => Ok(()),
        _ => Err(ErrorCode::TokenInvalid.into()),
    }
}

/// Who `user` is, and their memberships as far as `scope` goes. `token_invalid` where the account is not in use.
pub async fn who_is(db: impl PgExecutor<'_>, user: UserId, scope: &Scope) -> Result<(User, Vec<Membership>)> {
    let rows = sqlx::query!(
        r#"select u.id as "id: UserId", u.username, u.avatar_url, c.id as "community_id?: CommunityId", c.name as "name?", c.slug as "slug?",
                  c.kind as "kind?: Visibility", m.role as "role?: Role"
           from users u
           left join memberships m on m.user_id = u.id and ($2::bigint[] is null or m.community_id = any($2))
           left join communities c on c.id = m.community_id
           where u.id = $1 and u.is_active
           order by c.id"#,
        user as _,
        scope.as_sql() as _
    )
    .fetch_all(db)
    .await?;
    let mut found = None;
    let mut memberships = Vec::new();
    for row in rows {
        found.get_or_insert(User { id: row.id, username: row.username, avatar_url: row.avatar_url });
        if let (Some(id), Some(name), Some(slug), Some(kind), Some(role)) =
            (row.community_id, row.name, row.slug, row.kind, row.role)
        {
            memberships.push(Membership { id, name, slug, kind, role });
        }
    }
    Ok((found.ok_or(ErrorCode::TokenInvalid)?, memberships))
}
