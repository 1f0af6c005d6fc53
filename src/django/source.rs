//! Django's database. It is read in one snapshot, and never written to.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use super::tables::{FLAGS, NEW_FLAGS, TABLES};

/// A snapshot of Django's database.
pub(super) struct Source {
    pub(super) connection: PgConnection,
    /// The name of the table of flags.
    pub(super) flags: &'static str,
}

impl Source {
    /// Connects, takes the snapshot and checks that everything is there that the import reads.
    pub(super) async fn open(options: &PgConnectOptions) -> anyhow::Result<Self> {
        let options = options.clone().application_name("discussions import-django");
        let mut connection =
            PgConnection::connect_with(&options).await.context("cannot reach Django's database (--from)")?;
        sqlx::raw_sql(
            "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set client_encoding = 'UTF8';
             begin transaction isolation level repeatable read, read only",
        )
        .execute(&mut connection)
        .await?;
        let flags = check(&mut connection).await?;
        Ok(Self { connection, flags })
    }

    /// Ends the snapshot.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }
}

/// Checks tables, columns and the rights to read them. Returns the name of the table of flags.
async fn check(connection: &mut PgConnection) -> anyhow::Result<&'static str> {
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "select c.relname::text, a.attname::text,
                has_schema_privilege(c.relnamespace, 'usage') and has_column_privilege(c.oid, a.attnum, 'select')
         from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = to_regnamespace('public') and c.relkind in ('r', 'p', 'v') and a.attnum > 0 and not a.attisdropped",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut found: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for (table, column, is_readable) in rows {
        found.entry(table).or_default().insert(column, is_readable);
    }
    let flags = if found.contains_key(NEW_FLAGS) { NEW_FLAGS } else { FLAGS };
    let (mut missing_tables, mut missing_columns, mut has_any) = (BTreeSet::new(), BTreeSet::new(), false);
    let mut unreadable = BTreeSet::new();
    for (table, source) in TABLES.iter().flat_map(|table| table.sources.iter().map(move |source| (table, source))) {
        for (name, column) in source.needs(table) {
            let name = if name == FLAGS { flags } else { name };
            match found.get(name) {
                None => _ = missing_tables.insert(name.to_owned()),
                Some(columns) => {
                    has_any |= name.starts_with("articles_") || name.starts_with("communities_");
                    match columns.get(column) {
                        None => _ = missing_columns.insert(format!("{name}.{column}")),
                        Some(false) => _ = unreadable.insert(format!("public.\"{name}\"")),
                        Some(true) => {}
                    }
                }
            }
        }
    }
    ensure!(
        has_any,
        "this is no database of SciCommons (--from): the schema public has none of its tables, such as articles_discussion"
    );
    let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
    if missing_tables.is_empty() && missing_columns.is_empty() {
        if unreadable.is_empty() {
            return Ok(flags);
        }
        let role: String = sqlx::query_scalar("select quote_ident(current_user)").fetch_one(connection).await?;
        bail!(
            "the role {role} may not read all of Django's database (--from). Let it: \
             grant usage on schema public to {role}; grant select on {} to {role}",
            list(unreadable)
        );
    }
    let mut problem =
        "Django's database (--from) is not of today's schema: run Django's own migrations first.".to_owned();
    if !missing_tables.is_empty() {
        problem += &format!(" Tables that are missing: {}.", list(missing_tables));
    }
    if !missing_columns.is_empty() {
        problem += &format!(" Columns that are missing: {}.", list(missing_columns));
    }
    bail!(problem)
}
