//! A transaction: begun by its first statement, ended by [`Write::commit`] or [`Write::last`].

use std::time::Duration;

use sqlx::{Execute, Postgres};

use super::{
    Db, Lease,
    background::answered,
    executor::{RunStatement, Step, executor},
    lease::leaves_usable,
};

/// Longer than the server lets a statement run: then the server is gone without a word. A write has no other limit on this
/// side, as it goes on when its request is given up.
const STATEMENT_LIMIT: Duration = Duration::from_secs(12);

/// A transaction, and an executor for its statements. Dropped before its end, it is rolled back.
///
/// BEGIN is sent before the first statement, so a transaction of one statement ([`Write::last`] alone) costs one round trip.
/// After a statement has failed, every later statement and the commit fail too: PostgreSQL would answer such a COMMIT with a
/// rollback that looks like success.
#[derive(Debug)]
pub struct Write {
    db: Db,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing has been asked of the database.
    New,
    /// A transaction is open on this connection.
    Open(Lease),
    /// It has failed, and its connection is gone.
    Failed,
}

/// The last statement of a transaction. Once it has run, the transaction is committed, or, where the statement failed or
/// returned no row, rolled back.
#[derive(Debug)]
pub struct LastStatement(Write);

/// One statement that reads before the transaction's first write. It begins no transaction where none is open, and takes no
/// second connection where one is.
#[derive(Debug)]
pub struct ReadBefore<'w>(&'w mut Write);

impl Write {
    pub(super) fn new(db: Db) -> Self {
        Self { db, state: State::New }
    }

    /// The executor for a statement that only reads, such as a check.
    pub fn read_before(&mut self) -> ReadBefore<'_> {
        ReadBefore(self)
    }

    /// The executor for one more statement, which ends the transaction.
    pub fn last(self) -> LastStatement {
        LastStatement(self)
    }

    /// Commits, and wakes the relay. An error leaves open whether the transaction is committed.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::New => Ok(()),
            State::Open(lease) => self.end(lease, "commit").await,
            State::Failed => Err(failed()),
        }
    }

    async fn end(&self, mut lease: Lease, how: &'static str) -> Result<(), sqlx::Error> {
        match answered(STATEMENT_LIMIT, lease.run(how)).await {
            Ok(_) => {
                lease.finish();
                self.db.relay().notify();
                Ok(())
            }
            Err(error) => {
                lease.close(&error);
                Err(error)
            }
        }
    }

    /// The connection, with a transaction open on it.
    async fn open(&mut self) -> Result<&mut Lease, sqlx::Error> {
        if matches!(self.state, State::New) {
            let mut lease = self.db.lease().await?;
            // The level is ours to say: a database or a role may have another default.
            let begin = lease.run("begin isolation level read committed");
            if let Err(error) = answered(STATEMENT_LIMIT, begin).await {
                lease.close(&error);
                return Err(error);
            }
            self.state = State::Open(lease);
        }
        match &mut self.state {
            State::Open(lease) => Ok(lease),
            State::New | State::Failed => Err(failed()),
        }
    }

    /// Gives the connection up where a statement has failed. It is rolled back, or closed after an error that may have left
    /// it in any state.
    fn note<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let Err(error) = &result
            && let State::Open(lease) = std::mem::replace(&mut self.state, State::Failed)
            && !leaves_usable(error)
        {
            lease.close(error);
        }
        result
    }
}

fn failed() -> sqlx::Error {
    sqlx::Error::Protocol("the transaction has failed before".to_owned())
}

impl RunStatement for &mut Write {
    async fn run<'q, E: 'q + Execute<'q, Postgres>>(self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        let running = self.open().await?.run(query);
        let result = answered(STATEMENT_LIMIT, running).await;
        self.note(result)
    }
}

impl RunStatement for ReadBefore<'_> {
    async fn run<'q, E: 'q + Execute<'q, Postgres>>(self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        match self.0.state {
            State::New => self.0.db.run(query).await,
            State::Open(_) | State::Failed => self.0.run(query).await,
        }
    }
}

impl RunStatement for LastStatement {
    async fn run<'q, E: 'q + Execute<'q, Postgres>>(self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        let mut write = self.0;
        if matches!(write.state, State::New) {
            let steps = answered(STATEMENT_LIMIT, write.db.run(query)).await?;
            write.db.relay().notify();
            return Ok(steps);
        }
        let steps = write.run(query).await?;
        if let State::Open(lease) = std::mem::replace(&mut write.state, State::Failed) {
            let has_row = steps.iter().any(Step::is_right);
            write.end(lease, if has_row { "commit" } else { "rollback" }).await?;
        }
        Ok(steps)
    }
}

executor!(&'c mut Write);
executor!(ReadBefore<'c>);
executor!(LastStatement);
