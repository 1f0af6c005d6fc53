//! A transaction: begun by its first statement, ended by [`Write::commit`] or [`Write::last`].

use std::time::Duration;

use sqlx::{Execute, Postgres};

use super::{
    Db, Lease,
    background::answered,
    executor::{RunStatement, Step, executor},
    lease::leaves_usable,
};

/// The server stops a statement after 10 s, so a statement that takes longer means that the server is gone. A write has no
/// other limit on this side, because it goes on after the time limit of its request.
const STATEMENT_LIMIT: Duration = Duration::from_secs(12);

/// A transaction, and the executor of its statements. If it is dropped before its end, it is rolled back.
///
/// BEGIN is sent before the first statement. A transaction of one statement ([`Write::last`] alone) needs no BEGIN and costs
/// one round trip. After a failed statement every later statement and the commit fail too, because PostgreSQL answers such a
/// COMMIT with a rollback that looks like success.
#[derive(Debug)]
pub struct Write {
    db: Db,
    state: State,
}

#[derive(Debug)]
enum State {
    /// No statement was sent yet.
    New,
    /// A transaction is open on this connection.
    Open(Lease),
    /// A statement has failed, or the transaction has ended. The connection is gone.
    Failed,
}

/// The executor of a transaction's last statement. After it the transaction is committed. It is rolled back if the statement
/// fails or, in an open transaction, returns no row.
#[derive(Debug)]
pub struct LastStatement(Write);

/// The executor of one statement that reads before the transaction's first write. It begins no transaction if none is open,
/// and takes no second connection if one is.
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

    /// Commits, and wakes the relay. After an error it is unknown whether the transaction is committed.
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

    /// Returns the connection, and begins the transaction if that has not happened yet.
    async fn open(&mut self) -> Result<&mut Lease, sqlx::Error> {
        if matches!(self.state, State::New) {
            let mut lease = self.db.lease().await?;
            // A database or a role may have another default level.
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

    /// Gives the connection up if the statement has failed. It is rolled back, or closed if the error may have left it in any
    /// state.
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
