//! The SQL of the demo: its people, and what they have written so far.

use serde::Serialize;
use sqlx::{PgPool, types::Json};

use crate::{
    db::{Db, Write},
    directory::{Role, Visibility},
    error::Result,
    ids::{ArticleId, CommunityId, UserId},
};

/// What the demo's page begins with.
#[derive(Serialize)]
pub struct Directory {
    users: Vec<User>,
    articles: Vec<Article>,
}

#[derive(Serialize)]
struct User {
    id: UserId,
    username: String,
    avatar_url: Option<String>,
}

#[derive(Serialize)]
struct Article {
    id: ArticleId,
    title: String,
    slug: String,
    communities: Json<Vec<Community>>,
}

#[derive(Serialize, serde::Deserialize)]
struct Community {
    id: CommunityId,
    name: String,
    slug: String,
    kind: Visibility,
}

/// The first people and articles.
pub async fn directory(db: &Db) -> Result<Directory> {
    let users = sqlx::query_as!(
        User,
        r#"select id as "id: UserId", username, avatar_url from users where is_active order by id limit 12"#
    )
    .fetch_all(db)
    .await?;
    let articles = sqlx::query_as!(
        Article,
        r#"select a.id as "id: ArticleId", a.title, a.slug, json_agg(json_build_object('id', c.id, 'name', c.name, 'slug', c.slug, 'kind', c.kind)
               order by c.id) as "communities!: Json<Vec<Community>>"
           from articles a
           join community_articles ca on ca.article_id = a.id
           join communities c on c.id = ca.community_id
           group by a.id order by a.id limit 12"#
    )
    .fetch_all(db)
    .await?;
    Ok(Directory { users, articles })
}

/// Whether there is such a user.
pub async fn user_exists(db: &Db, user: UserId) -> Result<bool> {
    let found =
        sqlx::query_scalar!(r#"select exists (select from users where id = $1 and is_active) as "found!""#, user as _);
    Ok(found.fetch_one(db).await?)
}

/// Sets or, with no role, ends a membership.
pub async fn set_membership(mut write: Write, user: UserId, community: CommunityId, role: Option<Role>) -> Result<()> {
    match role {
        Some(role) => {
            sqlx::query!(
                "insert into memberships (user_id, community_id, role)
                 select u.id, c.id, $3 from users u, communities c where u.id = $1 and c.id = $2
                 on conflict (user_id, community_id) do update set role = excluded.role",
                user as _,
                community as _,
                role as Role
            )
            .execute(&mut write)
            .await?
        }
        None => {
            sqlx::query!("delete from memberships where user_id = $1 and community_id = $2", user as _, community as _)
                .execute(&mut write)
                .await?
        }
    };
    Ok(write.commit().await?)
}

/// Fills an empty database with people, communities, an article and a few words on it. Does nothing where there are users.
pub async fn seed(pool: &PgPool) -> anyhow::Result<()> {
    let mut transaction = pool.begin().await?;
    // Two seeds at once would both find nothing.
    sqlx::query!("lock table users in share row exclusive mode").execute(&mut *transaction).await?;
    let empty = sqlx::query_scalar!(r#"select not exists (select from users) as "empty!""#)
        .fetch_one(&mut *transaction)
        .await?;
    if !empty {
        tracing::info!("the database has users already: nothing seeded");
        return Ok(());
    }
    sqlx::raw_sql(include_str!("seed.sql")).execute(&mut *transaction).await?;
    transaction.commit().await?;
    tracing::info!("seeded the demo");
    Ok(())
}
