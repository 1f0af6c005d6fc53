//! The migrations.

use anyhow::bail;
use sqlx::{Connection, Executor, PgConnection, migrate::Migrator, postgres::PgConnectOptions};

use super::connect;

/// The schema, built into the binary: what brings a database up to it.
pub fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    // Newer ones are looked at below.
    migrator.set_ignore_missing(true);
    migrator
}

/// Brings the schema up to date. A schema that is newer than this binary is left as it is: so a node can restart in the middle
/// of a rolling update, and a release can be rolled back.
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

/// Warns of migrations that this binary does not know. They must be newer than all that it knows: an unknown one in between is
/// of another program or another branch.
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
