//! Following Django's own tables, where Django and this server share one database.
//!
//! Triggers on Django's tables put a changed row into the mirror and merge it, in Django's transaction. They run with the rights of
//! whoever began the following, whatever role Django has. Django's statement succeeds even if ours fails: the row stays pending then,
//! and `django.failures` has the reason (sql/follow.sql).

use anyhow::{Context, ensure};
use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection};

/// How far one of Django's tables is followed.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct FollowedTable {
    /// Its name at Django.
    pub source: String,
    /// Whether its triggers are there and at work.
    pub is_followed: bool,
    /// Rows that have changed and are not merged yet.
    pub pending: i64,
    /// Rows that the mirror does not have as Django has them.
    pub behind: i64,
    /// Rows whose merge has failed.
    pub failures: i64,
    /// Whether it is one that is followed only while Django writes the discussions.
    pub is_content: bool,
}

/// A row whose merge has failed.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct Failure {
    /// The kind of row.
    pub kind: String,
    /// Its id at Django. 0 stands for all rows.
    pub id: i64,
    /// Why it failed.
    pub reason: String,
    /// When it failed last.
    pub at: chrono::DateTime<chrono::Utc>,
}

/// What is followed, and what is behind.
#[derive(Debug, Serialize)]
pub struct Following {
    /// Whether anything is followed.
    pub is_following: bool,
    /// Whether Django writes the discussions, and this server tells of it.
    pub with_discussions: bool,
    /// Whether all that is followed is as Django has it.
    pub is_in_step: bool,
    /// Django's tables.
    pub tables: Vec<FollowedTable>,
    /// What failed, newest first; 100 at most.
    pub failures: Vec<Failure>,
}

/// Begins to follow, and brings everything up to date first, in one transaction. Beginning again is harmless. Without
/// `with_discussions` Django writes the directory alone; if it wrote the discussions until now, the server does from now on.
///
/// Django's writes wait until the end of it. An error if they cannot be held up soon, or if this database does not have Django's tables.
pub async fn begin(connection: &mut PgConnection, with_discussions: bool) -> anyhow::Result<()> {
    let mut transaction = connection.begin().await?;
    has_django(&mut transaction).await?;
    // Waiting for a lock holds up all who come after. So this gives up where something long is running.
    transaction.execute("set local lock_timeout = '10s'").await?;
    install(&mut transaction).await?;
    ensure!(
        sqlx::query_scalar::<_, bool>("select django.open_community() is not null")
            .fetch_one(&mut *transaction)
            .await?,
        "nothing was imported yet: run discussions import-django first"
    );
    let begun =
        sqlx::query("select django.begin_following($1)").bind(with_discussions).execute(&mut *transaction).await;
    begun.context("cannot follow Django's tables; nothing has changed")?;
    transaction.commit().await?;
    Ok(())
}

/// Stops following, and removes the triggers. The mirror stays, for the next run of the import. Returns the tables that were followed.
pub async fn end(connection: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let mut transaction = connection.begin().await?;
    transaction.execute("set local lock_timeout = '10s'").await?;
    if !is_installed(&mut transaction).await? {
        return Ok(Vec::new());
    }
    let tables = sqlx::query_scalar("select django.unfollow()").fetch_one(&mut *transaction).await;
    let tables = tables.context("cannot remove the triggers; nothing has changed")?;
    transaction.commit().await?;
    Ok(tables)
}

/// Says what is followed, and what is behind.
pub async fn status(connection: &mut PgConnection) -> anyhow::Result<Following> {
    let mut transaction = connection.begin().await?;
    // All counts are of one moment.
    transaction.execute("set transaction isolation level repeatable read, read only").await?;
    let mut following = Following {
        is_following: false,
        with_discussions: false,
        is_in_step: false,
        tables: Vec::new(),
        failures: Vec::new(),
    };
    if !is_installed(&mut transaction).await? {
        return Ok(following);
    }
    has_django(&mut transaction).await?;
    following.tables = sqlx::query_as(
        "select f.*, s.is_content from django.following() f join django.sources() s on s.source = f.source",
    )
    .fetch_all(&mut *transaction)
    .await?;
    following.failures = sqlx::query_as("select kind, id, reason, at from django.failures order by at desc limit 100")
        .fetch_all(&mut *transaction)
        .await?;
    following.with_discussions = sqlx::query_scalar("select django.setting('writer') is not distinct from 'django'")
        .fetch_one(&mut *transaction)
        .await?;
    following.is_following = following.tables.iter().any(|table| table.is_followed);
    let expected = |table: &&FollowedTable| !table.is_content || following.with_discussions;
    following.is_in_step = following.failures.is_empty()
        && following
            .tables
            .iter()
            .filter(expected)
            .all(|table| table.is_followed && table.pending == 0 && table.behind == 0);
    Ok(following)
}

async fn has_django(connection: &mut PgConnection) -> anyhow::Result<()> {
    let missing: Option<String> = sqlx::query_scalar(
        "select string_agg(name, ', ') from unnest(array['user', 'communities_community', 'communities_membership',
             'articles_article', 'communities_communityarticle', 'articles_discussion', 'articles_discussioncomment']) name
         where to_regclass(format('public.%I', name)) is null",
    )
    .fetch_one(connection)
    .await?;
    ensure!(
        missing.is_none(),
        "the database at DATABASE_URL has no table {} in its schema public. Following needs Django's tables and ours in one database: \
         where they are in two, run discussions import-django again whenever ours is to catch up",
        missing.unwrap_or_default()
    );
    Ok(())
}

async fn is_installed(connection: &mut PgConnection) -> anyhow::Result<bool> {
    let installed = sqlx::query_scalar("select to_regprocedure('django.unfollow(boolean)') is not null");
    Ok(installed.fetch_one(connection).await?)
}

/// Makes the mirror and the functions, or brings them up to date.
pub async fn install(connection: &mut PgConnection) -> anyhow::Result<()> {
    // Much of it is there already, and PostgreSQL would say so.
    connection.execute("set local client_min_messages = 'warning'").await?;
    for part in [
        include_str!("sql/mirror.sql"),
        include_str!("sql/texts.sql"),
        include_str!("sql/directory.sql"),
        include_str!("sql/content.sql"),
        include_str!("sql/reactions.sql"),
        include_str!("sql/reads.sql"),
        include_str!("sql/follow.sql"),
        include_str!("sql/tell.sql"),
        include_str!("sql/security.sql"),
    ] {
        connection.execute(sqlx::raw_sql(part)).await.context("cannot make the mirror of Django's tables")?;
    }
    Ok(())
}
