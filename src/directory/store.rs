//! The SQL of people and communities.

use serde::Serialize;
use sqlx::PgExecutor;
use utoipa::ToSchema;

use super::{Role, Scope, Visibility};
use crate::{
    db::composite,
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

composite! {
    /// A community of the user.
    #[derive(Serialize, ToSchema)]
    pub struct Membership in query_membership! {
        /// The community.
        pub id: CommunityId = "c.id",
        /// Its name.
        pub name: String = "c.name",
        /// Its name in addresses.
        pub slug: String = "c.slug",
        /// How open it is.
        pub kind: Visibility = "c.kind",
        /// The user's role in it.
        pub role: Role = "m.role",
    }
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
    let found = query_membership!(
        r#"select u.id as "id: UserId", u.username, u.avatar_url, array(select "#,
        r#" from memberships m
                         join communities c on c.id = m.community_id
                         where m.user_id = u.id and ($2::bigint[] is null or c.id = any($2))
                         order by c.id) as "memberships!: Vec<Membership>"
           from users u
           where u.id = $1 and u.is_active"#,
        user as _,
        scope.as_sql() as _
    )
    .fetch_optional(db)
    .await?
    .ok_or(ErrorCode::TokenInvalid)?;
    Ok((User { id: found.id, username: found.username, avatar_url: found.avatar_url }, found.memberships))
}
