//! A transaction: begun by its first statement, ended by [`Write::commit`] or [`Write::last`].

use std::time::Duration;

use futures_util::{TryStreamExt, future::BoxFuture, stream::BoxStream};
use sqlx::{
    Execute, Executor, Postgres,
    postgres::{PgRow, PgStatement, PgTypeInfo},
};

use super::{
    Db, Lease,
    background::answered,
    executor::{Step, steps},
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
        match answered(STATEMENT_LIMIT, lease.connection().execute(how)).await {
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
            let begin = lease.connection().execute("begin isolation level read committed");
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

impl<'c> Executor<'c> for &'c mut Write {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        steps(async move {
            let running = self.open().await?.connection().fetch_many(query).try_collect();
            let result = answered(STATEMENT_LIMIT, running).await;
            self.note(result)
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let running = self.open().await?.connection().fetch_optional(query);
            let result = answered(STATEMENT_LIMIT, running).await;
            self.note(result)
        })
    }

    fn prepare_with<'e, 'q: 'e>(
        self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement<'q>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let result = self.open().await?.connection().prepare_with(sql, parameters).await;
            self.note(result)
        })
    }

    fn describe<'e, 'q: 'e>(self, sql: &'q str) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let result = self.open().await?.connection().describe(sql).await;
            self.note(result)
        })
    }
}

impl ReadBefore<'_> {
    fn is_open(&self) -> bool {
        !matches!(self.0.state, State::New)
    }
}

impl<'c, 'w: 'c> Executor<'c> for ReadBefore<'w> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.is_open() { self.0.fetch_many(query) } else { (&self.0.db).fetch_many(query) }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.is_open() { self.0.fetch_optional(query) } else { (&self.0.db).fetch_optional(query) }
    }

    fn prepare_with<'e, 'q: 'e>(
        self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement<'q>, sqlx::Error>>
    where
        'c: 'e,
    {
        if self.is_open() { self.0.prepare_with(sql, parameters) } else { (&self.0.db).prepare_with(sql, parameters) }
    }

    fn describe<'e, 'q: 'e>(self, sql: &'q str) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        if self.is_open() { self.0.describe(sql) } else { (&self.0.db).describe(sql) }
    }
}

impl LastStatement {
    async fn run<'q, E: 'q + Execute<'q, Postgres>>(mut self, query: E) -> Result<Option<PgRow>, sqlx::Error> {
        let write = &mut self.0;
        match std::mem::replace(&mut write.state, State::Failed) {
            State::New => {
                let found = answered(STATEMENT_LIMIT, (&write.db).fetch_optional(query)).await?;
                write.db.relay().notify();
                Ok(found)
            }
            State::Open(lease) => {
                write.state = State::Open(lease);
                let found = write.fetch_optional(query).await?;
                if let State::Open(lease) = std::mem::replace(&mut write.state, State::Failed) {
                    write.end(lease, if found.is_some() { "commit" } else { "rollback" }).await?;
                }
                Ok(found)
            }
            State::Failed => Err(failed()),
        }
    }
}

impl<'c> Executor<'c> for LastStatement {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        steps(async move { Ok(self.run(query).await?.map(Step::Right).into_iter().collect()) })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(self.run(query))
    }

    fn prepare_with<'e, 'q: 'e>(
        mut self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement<'q>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move { (&mut self.0).prepare_with(sql, parameters).await })
    }

    fn describe<'e, 'q: 'e>(mut self, sql: &'q str) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move { (&mut self.0).describe(sql).await })
    }
}
