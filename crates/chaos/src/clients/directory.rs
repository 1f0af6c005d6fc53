//! The users, communities and articles of a run.

use anyhow::{Context, Result};
use sqlx::PgPool;

/// This client is in no community at times and gets no events then, so its silences are not measured.
pub(crate) const NOMAD: &str = "nomad";

/// How many residents there are.
pub(super) const RESIDENTS: usize = 6;

/// The users of a run and their communities.
pub(crate) struct Directory {
    pub communities: Vec<(i64, i64)>,
    pub residents: Vec<(i64, Vec<(i64, i64)>)>,
    /// Users with the communities that they join and leave. The last one is the nomad.
    pub wanderers: Vec<(i64, Vec<i64>)>,
    /// A community that anyone may read at times, and only members at others.
    pub turning: i64,
    /// Users without a membership, who watch the public community and the turning one.
    pub watchers: Vec<i64>,
}

impl Directory {
    /// Creates five communities with an article each, and four kinds of users. Residents are permanently in two communities and
    /// write there, and administer the first of the two; two of them also write in the turning one. Watchers are in none. Wanderers are permanently in one and sometimes in the others. The nomad is sometimes in one, and otherwise in
    /// none.
    pub(crate) async fn create(pool: &PgPool) -> Result<Self> {
        let mut communities = Vec::new();
        for kind in ["public", "private", "hidden", "private", "open"] {
            let sql = "insert into communities (name, slug, kind) values ($1, $1, $1) returning id";
            let community: i64 = sqlx::query_scalar(sql).bind(kind).fetch_one(pool).await?;
            let sql = "insert into articles (title, slug) values ('An article', 'an-article') returning id";
            let article: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
            let sql = "insert into community_articles (community_id, article_id) values ($1, $2)";
            sqlx::query(sql).bind(community).bind(article).execute(pool).await?;
            communities.push((community, article));
        }
        let turning = communities.pop().context("the last community is the turning one")?;
        let mut directory = Self {
            communities: communities.clone(),
            residents: Vec::new(),
            wanderers: Vec::new(),
            turning: turning.0,
            watchers: Vec::new(),
        };
        for index in 0..RESIDENTS {
            let mut home = vec![communities[index % 4], communities[(index + 1 + index / 4) % 4]];
            home.extend((index < 2).then_some(turning));
            let user = user(pool, &resident(index)).await?;
            for ((community, _), role) in home.iter().zip(["admin", "member", "member"]) {
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
        for index in 0..2 {
            directory.watchers.push(user(pool, &format!("watcher {index}")).await?);
        }
        Ok(directory)
    }
}

/// The name of a resident. A text mentions them by it.
pub(super) fn resident(index: usize) -> String {
    format!("resident-{index}")
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
