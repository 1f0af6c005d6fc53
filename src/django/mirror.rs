//! The mirror of Django's rows in our database, and the SQL functions that merge them into our tables.

use anyhow::Context;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::locks;

/// The SQL of the mirror. The order matters: functions use those before them, and the last file is about all of them.
const SQL: [&str; 9] = [
    include_str!("sql/mirror.sql"),
    include_str!("sql/texts.sql"),
    include_str!("sql/directory.sql"),
    include_str!("sql/content.sql"),
    include_str!("sql/reactions.sql"),
    include_str!("sql/reads.sql"),
    include_str!("sql/follow.sql"),
    include_str!("sql/tell.sql"),
    include_str!("sql/security.sql"),
];

/// Makes the mirror and its functions in the schema `django`, or brings them up to date. It locks nothing if they are as this program
/// has them.
pub async fn install(connection: &mut PgConnection) -> anyhow::Result<()> {
    let version: String = Sha256::digest(SQL.concat()).iter().map(|byte| format!("{byte:02x}")).collect();
    if setting(connection, "version").await?.as_deref() == Some(&version) {
        return Ok(());
    }
    locks::patiently(connection, async |transaction| {
        // The files say "if not exists" of what is there, and PostgreSQL says so too.
        sqlx::raw_sql("set local client_min_messages = warning").execute(&mut *transaction).await?;
        for sql in SQL {
            sqlx::raw_sql(sql).execute(&mut *transaction).await.context("cannot make the mirror of Django's rows")?;
        }
        Ok(set(transaction, "version", &version).await?)
    })
    .await
}

/// A setting of the mirror; none if there is no mirror.
pub async fn setting(connection: &mut PgConnection, name: &str) -> Result<Option<String>, sqlx::Error> {
    let is_there = sqlx::query_scalar::<_, bool>("select to_regclass('django.settings') is not null");
    if !is_there.fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    sqlx::query_scalar("select value from django.settings where name = $1").bind(name).fetch_optional(connection).await
}

/// Writes a setting of the mirror.
pub async fn set(connection: &mut PgConnection, name: &str, value: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into django.settings (name, value) values ($1, $2)
         on conflict (name) do update set value = excluded.value where settings.value <> excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(connection)
    .await?;
    Ok(())
}
