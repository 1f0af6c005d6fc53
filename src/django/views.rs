//! Views over our tables with the names and columns of Django's, for Django's pages that count and list discussions.
//!
//! The views are in a schema of their own, which Django's role puts first in its search_path. So Django's tables stay what they are,
//! with their foreign keys and their names in Django's migrations, and the way back is the old search_path. Renaming the tables would
//! stop Django while it waits for their locks, and would have to be undone table by table.

use anyhow::{Context, bail, ensure};
use sqlx::{Connection, PgConnection};

use super::mirror;

/// Makes the views in a new schema, in one transaction. Views that are there are made again. Returns their names. From now on imports
/// leave alone what people write, because they write it here.
///
/// An error if Django's tables are not in this database, or if the schema is of somebody else.
pub async fn make(connection: &mut PgConnection, schema: &str) -> anyhow::Result<Vec<String>> {
    let mut transaction = connection.begin().await?;
    ensure!(
        sqlx::query_scalar::<_, bool>("select to_regclass('public.articles_discussion') is not null")
            .fetch_one(&mut *transaction)
            .await?,
        "this database has no table public.articles_discussion: the views need Django's tables beside ours"
    );
    ensure!(
        mirror::setting(&mut transaction, "writer").await?.as_deref() != Some("django"),
        "Django writes the discussions, which it cannot do in views: run discussions import-django --follow first"
    );
    drop_schema(&mut transaction, schema).await?;
    let ours: String = sqlx::query_scalar("select current_schema()").fetch_one(&mut *transaction).await?;
    sqlx::raw_sql(&format!(
        "create schema {schema}; comment on schema {schema} is '{MARK}'; set local search_path = {schema}, {ours}, pg_temp;",
        schema = quoted(schema),
        ours = quoted(&ours)
    ))
    .execute(&mut *transaction)
    .await?;
    sqlx::raw_sql(include_str!("sql/views.sql")).execute(&mut *transaction).await.context("cannot make the views")?;
    let views = sqlx::query_scalar("select viewname::text from pg_views where schemaname = $1 order by 1")
        .bind(schema)
        .fetch_all(&mut *transaction)
        .await?;
    if has_mirror(&mut transaction).await? {
        mirror::set(&mut transaction, "writer", "server").await?;
    }
    transaction.commit().await?;
    Ok(views)
}

/// Drops the views with their schema, and their triggers on Django's tables. Returns whether there were any.
pub async fn drop(connection: &mut PgConnection, schema: &str) -> anyhow::Result<bool> {
    let mut transaction = connection.begin().await?;
    let has_dropped = drop_schema(&mut transaction, schema).await?;
    if has_dropped && has_mirror(&mut transaction).await? {
        let writer = "delete from django.settings where name = 'writer' and value = 'server'";
        sqlx::query(writer).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(has_dropped)
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
