//! A connection in use, and what happens to it afterwards.

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

/// A connection that one request uses.
///
/// [`Lease::finish`] and [`Lease::end`] give it to the next request. A lease that is dropped without one of them was
/// interrupted. Then the connection is rolled back in the background, or closed if that fails, and its permit stays taken
/// until then.
#[derive(Debug)]
pub(super) struct Lease {
    /// None only while the lease is being dropped.
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

    /// Gives the connection to the next request. No transaction may be open.
    pub(super) fn finish(mut self) {
        if let Some(in_use) = self.in_use.take() {
            in_use.recycle();
        }
    }

    /// Call this when a statement outside of a transaction has ended, with its error if there was one.
    pub(super) fn end(mut self, error: Option<&sqlx::Error>) {
        let Some(in_use) = self.in_use.take() else { return };
        match error {
            Some(error) if !leaves_usable(error) => in_use.close(error),
            _ => in_use.recycle(),
        }
    }

    /// Closes the connection because of `error`.
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
            // There is no runtime to roll it back on. A detached connection closes its socket.
            Err(_) => drop(in_use.connection.detach()),
        }
    }
}

impl InUse {
    fn recycle(self) {
        let Self { db, mut connection, opened_at, permit } = self;
        if db.has_valid_plans(opened_at) {
            db.push_recently_used(connection, opened_at);
        } else {
            connection.close_on_drop();
            drop(connection);
        }
        // This comes last, so that the next holder of the permit finds the connection.
        drop(permit);
    }

    fn close(mut self, error: &sqlx::Error) {
        if has_stale_plan(error) {
            self.db.invalidate_plans();
        }
        self.connection.close_on_drop();
    }

    /// Brings an interrupted connection into a known state. sqlx first waits for the statement that was interrupted, so even a
    /// BEGIN whose answer nobody read is rolled back.
    async fn roll_back(mut self) {
        match timeout(ROLLBACK_TIMEOUT, self.connection.execute("rollback")).await {
            Ok(Ok(_)) => self.recycle(),
            _ => self.connection.close_on_drop(),
        }
    }
}

/// Whether a connection can be used again after this error. It can after an error about the data or the time of a statement.
/// After any other error a new connection is safer.
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

/// Whether this is "cached plan must not change result type": the schema has changed since the statement was prepared. The
/// error has no code of its own.
pub(crate) fn has_stale_plan(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    let routine = error.try_downcast_ref::<PgDatabaseError>().and_then(|error| error.routine());
    error.code().as_deref() == Some("0A000") && routine == Some("RevalidateCachedQuery")
}
