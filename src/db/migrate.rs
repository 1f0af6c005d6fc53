//! The migrations.

use anyhow::bail;
use sqlx::{Connection, Executor, PgConnection, migrate::Migrator, postgres::PgConnectOptions};

use super::connect;

/// The migrations, which are built into the binary.
pub fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    // `check_newer` looks at newer ones.
    migrator.set_ignore_missing(true);
    migrator
}

/// Brings the schema up to date. A schema that is newer than this binary stays as it is, so that a node can restart during a
/// rolling update and a release can be rolled back.
pub async fn migrate(options: &PgConnectOptions) -> anyhow::Result<()> {
    let mut connection = connect(options).await?;
    // A migration may take its time on a large table.
    connection.execute("set statement_timeout = 0").await?;
    let migrator = migrator();
    migrator.run(&mut connection).await?;
    check_newer(&migrator, &mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Warns about migrations that this binary does not know. It is an error if one of them is not newer than all known ones: then
/// it comes from another program or another branch.
async fn check_newer(migrator: &Migrator, connection: &mut PgConnection) -> anyhow::Result<()> {
    let applied: Vec<i64> = sqlx::query_scalar("select version from _sqlx_migrations").fetch_all(connection).await?;
    let newest_known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    let unknown = applied.iter().filter(|version| !migrator.version_exists(**version));
    if let Some(foreign) = unknown.clone().find(|version| **version < newest_known) {
        bail!(
            "migration {foreign} was applied to this database and is not known to this program: is it the right database?"
        );
    }
    if let Some(newest) = unknown.max() {
        tracing::warn!(
            schema = newest,
            binary = newest_known,
            "the schema is newer than this program; going on, as releases only add to it"
        );
    }
    Ok(())
}
