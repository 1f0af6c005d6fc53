//! Views over our tables with the names and columns of Django's, for Django's pages that count and list discussions.
//!
//! The views are in a schema of their own, which Django's role puts first in its search_path. So Django's tables stay what they are,
//! with their foreign keys and their names in Django's migrations, and the way back is the old search_path. Renaming the tables would
//! stop Django while it waits for their locks, and would have to be undone table by table.

use anyhow::{Context, bail, ensure};
use sqlx::{Connection, PgConnection};

use super::{locks, mirror};

/// Makes the views in a new schema, in one transaction. Views that are there are made again. Returns their names. From now on imports
/// leave alone what people write, because they write it here.
///
/// An error if Django's tables are not in this database, or if the schema is of somebody else.
pub async fn make(connection: &mut PgConnection, schema: &str) -> anyhow::Result<Vec<String>> {
    ensure!(
        sqlx::query_scalar::<_, bool>("select to_regclass('public.articles_discussion') is not null")
            .fetch_one(&mut *connection)
            .await?,
        "this database has no table public.articles_discussion: the views need Django's tables beside ours"
    );
    let writer = mirror::setting(connection, "writer").await?;
    ensure!(
        writer.as_deref() != Some("django"),
        "Django writes the discussions, which it cannot do in views: run discussions import-django --follow first"
    );
    // Where there were views before, Django's tables say nothing new: people and places that it deletes have taken their rows with them.
    if mirror::setting(connection, SWITCHED).await?.is_none() {
        nothing_is_left(connection).await?;
    }
    locks::patiently(connection, async |transaction| {
        drop_schema(transaction, schema).await?;
        let ours: String = sqlx::query_scalar("select current_schema()").fetch_one(&mut *transaction).await?;
        sqlx::raw_sql(&format!(
            "create schema {schema}; comment on schema {schema} is '{MARK}'; set local search_path = {schema}, {ours}, pg_temp;",
            schema = quoted(schema),
            ours = quoted(&ours)
        ))
        .execute(&mut *transaction)
        .await?;
        let made = sqlx::raw_sql(include_str!("sql/views.sql")).execute(&mut *transaction).await;
        made.context("cannot make the views")?;
        let views = sqlx::query_scalar("select viewname::text from pg_views where schemaname = $1 order by 1")
            .bind(schema)
            .fetch_all(&mut *transaction)
            .await?;
        if has_mirror(transaction).await? {
            mirror::set(transaction, "writer", "server").await?;
            mirror::set(transaction, SWITCHED, "true").await?;
        }
        Ok(views)
    })
    .await
}

/// An error if Django has discussions, or what belongs to them, other than the import has brought: later imports leave them alone, so they
/// would be lost.
async fn nothing_is_left(connection: &mut PgConnection) -> anyhow::Result<()> {
    let is_there = sqlx::query_scalar::<_, bool>("select to_regprocedure('django.following()') is not null");
    if !is_there.fetch_one(&mut *connection).await? {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("set local statement_timeout = 0").execute(&mut *transaction).await?;
    let left: Option<String> = sqlx::query_scalar(
        "select string_agg(format('%s of %s', f.behind, f.source), ', ')
         from django.following() f join django.sources() s on s.source = f.source where s.is_content and f.behind > 0",
    )
    .fetch_one(&mut *transaction)
    .await?;
    ensure!(
        left.is_none(),
        "Django has rows that are not here as it has them, and they would be lost: {}. Close its old paths at the proxy, and run \
         discussions import-django --follow first",
        left.unwrap_or_default()
    );
    Ok(transaction.rollback().await?)
}

/// Drops the views with their schema, and their triggers on Django's tables. Returns whether there were any.
pub async fn drop(connection: &mut PgConnection, schema: &str) -> anyhow::Result<bool> {
    locks::patiently(connection, async |transaction| {
        let has_dropped = drop_schema(transaction, schema).await?;
        if has_dropped && has_mirror(transaction).await? {
            let writer = "delete from django.settings where name = 'writer' and value = 'server'";
            sqlx::query(writer).execute(&mut *transaction).await?;
        }
        Ok(has_dropped)
    })
    .await
}

async fn has_mirror(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select to_regclass('django.settings') is not null").fetch_one(connection).await
}

/// Whether there are views, in whatever schema.
pub(super) async fn exist(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from pg_namespace where obj_description(oid, 'pg_namespace') = $1)")
        .bind(MARK)
        .fetch_one(connection)
        .await
}

/// The setting that says that there were views, until Django writes again.
pub(super) const SWITCHED: &str = "switched";

/// What the schema's comment says, so that no schema of others is dropped.
const MARK: &str = "Made by discussions django-views";

async fn drop_schema(connection: &mut PgConnection, schema: &str) -> anyhow::Result<bool> {
    let found: Option<Option<String>> =
        sqlx::query_scalar("select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = $1")
            .bind(schema)
            .fetch_optional(&mut *connection)
            .await?;
    match found {
        None => Ok(false),
        Some(comment) if comment.as_deref() == Some(MARK) => {
            let drop = format!("drop schema {} cascade", quoted(schema));
            sqlx::raw_sql(&drop).execute(connection).await.context("cannot drop the views")?;
            Ok(true)
        }
        Some(_) => bail!("there is a schema {schema} that this command has not made: choose another one by --schema"),
    }
}

/// An identifier for SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
