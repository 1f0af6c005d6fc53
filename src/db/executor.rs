//! `&Db` as an executor: one statement, which is a transaction by itself.

use futures_util::{StreamExt, TryStreamExt, future::BoxFuture, stream, stream::BoxStream};
use sqlx::{
    Either, Execute, Executor, Postgres,
    postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};

use super::Db;

/// What a statement returns: rows, and how many were affected.
pub(super) type Step = Either<PgQueryResult, PgRow>;

impl Db {
    /// Runs a statement to its end and returns all that it gives.
    async fn run<'q, E: 'q + Execute<'q, Postgres>>(&self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        let mut lease = self.lease().await?;
        let result = lease.connection().fetch_many(query).try_collect().await;
        lease.end(result.as_ref().err());
        result
    }
}

/// The steps of a statement that has ended.
pub(super) fn steps<'e>(
    running: impl Future<Output = Result<Vec<Step>, sqlx::Error>> + Send + 'e,
) -> BoxStream<'e, Result<Step, sqlx::Error>> {
    stream::once(running).map_ok(|steps| stream::iter(steps).map(Ok)).try_flatten().boxed()
}

impl<'c> Executor<'c> for &'c Db {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        steps(self.run(query))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let mut lease = self.lease().await?;
            let result = lease.connection().fetch_optional(query).await;
            lease.end(result.as_ref().err());
            result
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
            let mut lease = self.lease().await?;
            let result = lease.connection().prepare_with(sql, parameters).await;
            lease.end(result.as_ref().err());
            result
        })
    }

    fn describe<'e, 'q: 'e>(self, sql: &'q str) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let mut lease = self.lease().await?;
            let result = lease.connection().describe(sql).await;
            lease.end(result.as_ref().err());
            result
        })
    }
}
