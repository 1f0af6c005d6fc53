//! Locks on tables that Django uses.
//!
//! Whoever waits for a lock on a table holds up all who come after, and may be part of a deadlock. PostgreSQL ends one of its parties after
//! `deadlock_timeout`, a second as a rule, and that can be Django. So a wait of ours is shorter, and what is to be done begins anew.

use std::time::Duration;

use anyhow::Context;
use sqlx::{Connection, Executor, PgConnection};

/// How long one try waits for one lock.
const WAIT: &str = "set local lock_timeout = '500ms'; set local statement_timeout = 0";
/// How often it is tried.
const TRIES: u32 = 40;
/// How long Django has its tables for itself between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Does something in a transaction, again and again until it has its locks. The transaction is committed if it succeeds. An error if it
/// does not get them at all; then nothing has changed.
pub(super) async fn patiently<T>(
    connection: &mut PgConnection,
    act: impl AsyncFn(&mut PgConnection) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut tries = 1;
    loop {
        let mut transaction = connection.begin().await?;
        transaction.execute(WAIT).await?;
        match act(&mut transaction).await {
            Ok(done) => {
                transaction.commit().await?;
                return Ok(done);
            }
            Err(error) if is_in_the_way(&error) && tries < TRIES => {
                transaction.rollback().await?;
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) if is_in_the_way(&error) => {
                return Err(error)
                    .with_context(|| format!("something holds tables that this needs, at each of {TRIES} tries"));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether it is for a lock of somebody else's.
fn is_in_the_way(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<sqlx::Error>())
        .filter_map(|error| error.as_database_error()?.code())
        .any(|code| ["55P03", "40P01"].contains(&code.as_ref()))
}
