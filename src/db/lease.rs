//! A connection in use, and what becomes of it afterwards.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{Execute, Executor, Postgres, pool::PoolConnection, postgres::PgDatabaseError};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

use super::{Db, executor::Step, meter};

/// How long an interrupted connection has to roll back before it is closed instead.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection for as long as somebody needs it.
///
/// [`Lease::finish`] and [`Lease::end`] pass it on. Dropped without one of them, its work was interrupted: it is rolled back
/// in the background, and closed where that fails. Its permit stays taken until then.
#[derive(Debug)]
pub(super) struct Lease {
    /// None only while it is being dropped.
    in_use: Option<InUse>,
}

#[derive(Debug)]
struct InUse {
    db: Db,
    connection: PoolConnection<Postgres>,
    opened_at: Instant,
    permit: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn new(
        db: Db,
        connection: PoolConnection<Postgres>,
        opened_at: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { in_use: Some(InUse { db, connection, opened_at, permit }) }
    }

    /// Runs a statement to its end and returns all that it gives.
    pub(super) async fn run<'q, E: 'q + Execute<'q, Postgres>>(&mut self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        let in_use = self.in_use.as_mut().expect("a lease has its connection until it is dropped");
        let _running = meter::statement();
        in_use.connection.fetch_many(query).try_collect().await
    }

    /// No transaction is open and nothing is under way: the next request may have the connection.
    pub(super) fn finish(mut self) {
        if let Some(in_use) = self.in_use.take() {
            in_use.hand_on();
        }
    }

    /// One statement outside of a transaction has ended, with this error if there was one.
    pub(super) fn end(mut self, error: Option<&sqlx::Error>) {
        let Some(in_use) = self.in_use.take() else { return };
        match error {
            Some(error) if !leaves_usable(error) => in_use.close(error),
            _ => in_use.hand_on(),
        }
    }

    /// The connection is not to be used again, because of `error`.
    pub(super) fn close(mut self, error: &sqlx::Error) {
        if let Some(in_use) = self.in_use.take() {
            in_use.close(error);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(in_use) = self.in_use.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(in_use.roll_back())),
            // Without a runtime nothing can be asked of it. Detached, it closes its socket.
            Err(_) => drop(in_use.connection.detach()),
        }
    }
}

impl InUse {
    fn hand_on(self) {
        let Self { db, mut connection, opened_at, permit } = self;
        if db.has_valid_plans(opened_at) {
            db.push_recently_used(connection, opened_at);
        } else {
            connection.close_on_drop();
            drop(connection);
        }
        // Only now, so that whoever gets the permit finds the connection.
        drop(permit);
    }

    fn close(mut self, error: &sqlx::Error) {
        if has_stale_plan(error) {
            self.db.invalidate_plans();
        }
        self.connection.close_on_drop();
    }

    /// Brings an interrupted connection into a known state. What was under way when it was interrupted is waited for first,
    /// by sqlx; so a BEGIN that nobody has seen answered is rolled back too.
    async fn roll_back(mut self) {
        match timeout(ROLLBACK_TIMEOUT, self.connection.execute("rollback")).await {
            Ok(Ok(_)) => self.hand_on(),
            _ => self.connection.close_on_drop(),
        }
    }
}

/// Whether a connection can be used again after a statement ended with this error. Only errors that are about the statement's
/// data or its time leave it usable; after all others a new one is safer.
pub(super) fn leaves_usable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // 22: bad data, 23: constraints, 40: serialisation and deadlocks, P0: raised by our functions
            ["22", "23", "40", "P0"].iter().any(|class| code.starts_with(class)) || code == "55P03" || code == "57014"
        }),
        sqlx::Error::RowNotFound => true,
        _ => false,
    }
}

/// "cached plan must not change result type": the schema has changed since the statement was prepared. PostgreSQL has no code
/// of its own for it.
pub(crate) fn has_stale_plan(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    let routine = error.try_downcast_ref::<PgDatabaseError>().and_then(|error| error.routine());
    error.code().as_deref() == Some("0A000") && routine == Some("RevalidateCachedQuery")
}
