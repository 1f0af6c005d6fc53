//! The users, communities and articles of a run.

use anyhow::Result;
use sqlx::PgPool;

/// This client is in no community at times and gets no events then, so its silences are not measured.
pub(crate) const NOMAD: &str = "nomad";

/// The users of a run and their communities.
pub(crate) struct Directory {
    pub communities: Vec<(i64, i64)>,
    pub residents: Vec<(i64, Vec<(i64, i64)>)>,
    /// Users with the communities that they join and leave. The last one is the nomad.
    pub wanderers: Vec<(i64, Vec<i64>)>,
}

impl Directory {
    /// Creates four communities with an article each, and three kinds of users. Residents are permanently in two communities and
    /// write there, and administer the first of the two. Wanderers are permanently in one and sometimes in the others. The nomad is sometimes in one, and otherwise in
    /// none.
    pub(crate) async fn create(pool: &PgPool) -> Result<Self> {
        let mut communities = Vec::new();
        for kind in ["public", "private", "hidden", "private"] {
            let sql = "insert into communities (name, slug, kind) values ($1, $1, $1) returning id";
            let community: i64 = sqlx::query_scalar(sql).bind(kind).fetch_one(pool).await?;
            let sql = "insert into articles (title, slug) values ('An article', 'an-article') returning id";
            let article: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
            let sql = "insert into community_articles (community_id, article_id) values ($1, $2)";
            sqlx::query(sql).bind(community).bind(article).execute(pool).await?;
            communities.push((community, article));
        }
        let mut directory = Self { communities: communities.clone(), residents: Vec::new(), wanderers: Vec::new() };
        for index in 0..6 {
            let home = vec![communities[index % 4], communities[(index + 1 + index / 4) % 4]];
            let user = user(pool, &format!("resident {index}")).await?;
            for ((community, _), role) in home.iter().zip(["admin", "member"]) {
                join(pool, user, *community, role).await?;
            }
            directory.residents.push((user, home));
        }
        for index in 0..4 {
            let user = user(pool, &format!("wanderer {index}")).await?;
            join(pool, user, communities[index].0, "member").await?;
            let others = communities.iter().map(|(community, _)| *community).filter(|id| *id != communities[index].0);
            directory.wanderers.push((user, others.collect()));
        }
        directory.wanderers.push((user(pool, NOMAD).await?, vec![communities[2].0]));
        Ok(directory)
    }
}

async fn user(pool: &PgPool, name: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar("insert into users (username) values ($1) returning id").bind(name).fetch_one(pool).await
}

/// Makes `user` a member in this role, or changes the role.
pub(super) async fn join(pool: &PgPool, user: i64, community: i64, role: &str) -> sqlx::Result<()> {
    let sql = "insert into memberships (user_id, community_id, role) values ($1, $2, $3)
               on conflict (user_id, community_id) do update set role = excluded.role";
    sqlx::query(sql).bind(user).bind(community).bind(role).execute(pool).await.map(drop)
}
