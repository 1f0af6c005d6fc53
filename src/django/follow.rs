//! Following Django's own tables, where Django and this server share one database.
//!
//! Triggers on Django's tables put a changed row into the mirror and merge it, in Django's transaction. They run with the rights of
//! whoever began the following, whatever role Django has. Django's statement succeeds even if ours fails: the row stays pending then,
//! and `django.failures` has the reason (sql/follow.sql).

use std::io::Write;

use anyhow::{Context, ensure};
use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};

use super::{locks, mirror, views};
use crate::db;

/// What to do about following.
#[derive(Debug, Default, clap::Args)]
pub struct FollowOptions {
    /// Follow Django's own tables after the import, by triggers. For where Django and this server share a database
    #[arg(long, conflicts_with_all = ["unfollow", "status"])]
    pub follow: bool,
    /// Follow the discussions too: Django writes them, and this server reads them and tells of them
    #[arg(long, requires = "follow")]
    pub with_discussions: bool,
    /// Stop following, and import nothing
    #[arg(long, conflicts_with = "status")]
    pub unfollow: bool,
    /// Say what is followed and what is behind, and import nothing. Exit status 0 if all is in step, 1 if not, 2 if nothing is followed
    #[arg(long)]
    pub status: bool,
    /// Say it as JSON
    #[arg(long, requires = "status")]
    pub json: bool,
}

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
    /// Roles that can act with the rights of the one that follows, because they own Django's tables or may create functions in our schema.
    /// Superusers, and whoever may act for that role anyway, are left out.
    pub trusted_roles: Vec<String>,
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
    has_django(connection).await?;
    ensure!(
        !with_discussions || !views::exist(connection).await?,
        "Django reads the discussions in views, and cannot write there: run discussions django-views --drop first"
    );
    mirror::install(connection).await?;
    locks::patiently(connection, async |transaction| {
        ensure!(
            sqlx::query_scalar::<_, bool>("select django.open_community() is not null")
                .fetch_one(&mut *transaction)
                .await?,
            "nothing was imported yet: run discussions import-django first"
        );
        let begin = sqlx::query("select django.begin_following($1)").bind(with_discussions);
        begin.execute(&mut *transaction).await.context("cannot follow Django's tables; nothing has changed")?;
        if with_discussions {
            let switched = sqlx::query("delete from django.settings where name = $1").bind(views::SWITCHED);
            switched.execute(transaction).await?;
        }
        Ok(())
    })
    .await
}

/// Stops following, and removes the triggers. The mirror stays, for the next run of the import. Returns the tables that were followed.
pub async fn end(connection: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    locks::patiently(connection, async |transaction| {
        if !is_installed(transaction).await? {
            return Ok(Vec::new());
        }
        let tables = sqlx::query_scalar("select django.unfollow()").fetch_one(transaction).await;
        tables.context("cannot remove the triggers; nothing has changed")
    })
    .await
}

/// Says what is followed, and what is behind.
pub async fn status(connection: &mut PgConnection) -> anyhow::Result<Following> {
    let mut transaction = connection.begin().await?;
    // All counts are of one moment.
    transaction
        .execute("set transaction isolation level repeatable read, read only; set local statement_timeout = 0")
        .await?;
    let mut following = Following {
        is_following: false,
        with_discussions: false,
        is_in_step: false,
        trusted_roles: Vec::new(),
        tables: Vec::new(),
        failures: Vec::new(),
    };
    if !is_installed(&mut transaction).await? {
        return Ok(following);
    }
    has_django(&mut transaction).await?;
    following.tables = sqlx::query_as(
        "select f.source, f.is_followed, f.pending, f.behind, f.failures, s.is_content from django.following() f join django.sources() s on s.source = f.source",
    )
    .fetch_all(&mut *transaction)
    .await?;
    following.trusted_roles = trusted_roles(&mut transaction).await?;
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
    // Else the connection holds its locks until it is used again.
    transaction.rollback().await?;
    Ok(following)
}

/// Stops following if the options say so, or prints the status. Returns the exit status, if it is another one than that of success.
pub(super) async fn report_or_end(
    connection: &mut PgConnection,
    options: &FollowOptions,
) -> anyhow::Result<Option<i32>> {
    let mut out = std::io::stdout();
    if options.unfollow {
        let tables = end(connection).await?;
        match tables.as_slice() {
            [] => writeln!(out, "Nothing was followed.")?,
            tables => writeln!(out, "Not followed any more: {}", tables.join(", "))?,
        }
        return Ok(None);
    }
    let following = status(connection).await?;
    if options.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&following)?)?;
    } else {
        print(&following, &mut out)?;
    }
    Ok(match (following.is_following, following.is_in_step) {
        (false, _) => Some(2),
        (true, false) => Some(1),
        (true, true) => None,
    })
}

fn print(following: &Following, out: &mut impl Write) -> std::io::Result<()> {
    if !following.is_following {
        return writeln!(out, "Nothing is followed.");
    }
    writeln!(out, "{:<34} {:>8} {:>8} {:>8} {:>8}", "", "followed", "pending", "behind", "failed")?;
    for table in
        following.tables.iter().filter(|table| table.is_followed || !table.is_content || following.with_discussions)
    {
        let followed = if table.is_followed { "yes" } else { "no" };
        writeln!(
            out,
            "{:<34} {followed:>8} {:>8} {:>8} {:>8}",
            table.source, table.pending, table.behind, table.failures
        )?;
    }
    for failure in &following.failures {
        writeln!(out, "failed at {}: {} {}: {}", failure.at.to_rfc3339(), failure.kind, failure.id, failure.reason)?;
    }
    if !following.trusted_roles.is_empty() {
        writeln!(
            out,
            "WARNING: {} can read and write all that this server's role can: they own Django's tables, or may create functions in the \
             schema of this server's tables, and the triggers call functions. See \"Whom this trusts\" in docs/migration.md.",
            following.trusted_roles.join(", ")
        )?;
    }
    let writer = if following.with_discussions { "Django" } else { "this server" };
    writeln!(out, "Discussions are written by {writer}.")?;
    let state = if following.is_in_step {
        "All is in step."
    } else {
        "Not in step: run it again with --follow, or look at the failures."
    };
    writeln!(out, "{state}")
}

/// An error if `source`, which is Django's database, is not the one at `target`.
pub(super) async fn check_same_database(source: &mut PgConnection, target: &PgConnectOptions) -> anyhow::Result<()> {
    const IDENTITY: &str = "select system_identifier::text || ' ' || d.oid::text from pg_control_system(), pg_database d where d.datname = current_database()";
    let mut target = db::connect(target).await.context("cannot reach PostgreSQL at DATABASE_URL")?;
    let ours: String = sqlx::query_scalar(IDENTITY).fetch_one(&mut target).await?;
    let djangos: String = sqlx::query_scalar(IDENTITY).fetch_one(source).await?;
    ensure!(ours == djangos, "{NEEDS_ONE_DATABASE}");
    Ok(())
}

const NEEDS_ONE_DATABASE: &str = "Following needs Django's tables and ours in one database: where they are in two, run \
    discussions import-django again whenever ours is to catch up";

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
        "the database at DATABASE_URL has no table {} in its schema public. {NEEDS_ONE_DATABASE}",
        missing.unwrap_or_default()
    );
    Ok(())
}

/// The roles to whom following gives our rights. The triggers run with these. A function in our schema whose arguments fit better than those
/// of PostgreSQL's own function of that name is called in its place, and the owner of a table may give its columns types with operators of
/// their own. It is no error: where both programs have one database, Django's role owns its tables as a rule.
async fn trusted_roles(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select r.rolname::text from pg_roles r
         where not r.rolsuper and r.rolname !~ '^pg_'
           and not pg_has_role(r.oid, (select p.proowner from pg_proc p where p.oid = 'django.follow()'::regprocedure), 'member')
           and (has_schema_privilege(r.oid, current_schema()::text, 'create')
                or exists (select from django.sources() s join pg_class c on c.oid = to_regclass(format('public.%I', s.source))
                           where pg_has_role(r.oid, c.relowner, 'member')))
         order by 1",
    )
    .fetch_all(connection)
    .await
}

async fn is_installed(connection: &mut PgConnection) -> anyhow::Result<bool> {
    let installed = sqlx::query_scalar("select to_regprocedure('django.unfollow(boolean)') is not null");
    Ok(installed.fetch_one(connection).await?)
}
