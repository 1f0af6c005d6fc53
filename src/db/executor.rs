//! How the ways to the database become executors of sqlx.

use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use sqlx::{
    Either, Execute, Postgres,
    postgres::{PgQueryResult, PgRow},
};

use super::Db;

/// What a statement returns: rows, and how many were affected.
pub(super) type Step = Either<PgQueryResult, PgRow>;

/// Something that statements can be run on. [`executor!`] makes a [`sqlx::Executor`] of it.
pub(super) trait RunStatement: Sized + Send {
    /// Runs a statement to its end and returns all that it gives.
    fn run<'q, E: 'q + Execute<'q, Postgres>>(
        self,
        query: E,
    ) -> impl Future<Output = Result<Vec<Step>, sqlx::Error>> + Send;
}

/// The steps of a statement that has ended.
pub(super) fn steps<'e>(
    running: impl Future<Output = Result<Vec<Step>, sqlx::Error>> + Send + 'e,
) -> BoxStream<'e, Result<Step, sqlx::Error>> {
    stream::once(running).map_ok(|steps| stream::iter(steps).map(Ok)).try_flatten().boxed()
}

/// Implements [`sqlx::Executor`] for a type by its [`RunStatement`]. A blanket implementation is not possible for a trait of
/// another crate.
macro_rules! executor {
    ($type:ty) => {
        impl<'c> sqlx::Executor<'c> for $type {
            type Database = sqlx::Postgres;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> futures_util::stream::BoxStream<'e, Result<$crate::db::executor::Step, sqlx::Error>>
            where
                'c: 'e,
                E: 'q + sqlx::Execute<'q, sqlx::Postgres>,
            {
                $crate::db::executor::steps($crate::db::executor::RunStatement::run(self, query))
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> futures_util::future::BoxFuture<'e, Result<Option<sqlx::postgres::PgRow>, sqlx::Error>>
            where
                'c: 'e,
                E: 'q + sqlx::Execute<'q, sqlx::Postgres>,
            {
                Box::pin(async move {
                    let steps = $crate::db::executor::RunStatement::run(self, query).await?;
                    Ok(steps.into_iter().find_map(sqlx::Either::right))
                })
            }

            // `query!` needs neither of these two: it prepares a statement as it runs it.

            fn prepare_with<'e, 'q: 'e>(
                self,
                _: &'q str,
                _: &'e [sqlx::postgres::PgTypeInfo],
            ) -> futures_util::future::BoxFuture<'e, Result<sqlx::postgres::PgStatement<'q>, sqlx::Error>>
            where
                'c: 'e,
            {
                Box::pin(async { Err($crate::db::executor::not_offered()) })
            }

            fn describe<'e, 'q: 'e>(
                self,
                _: &'q str,
            ) -> futures_util::future::BoxFuture<'e, Result<sqlx::Describe<sqlx::Postgres>, sqlx::Error>>
            where
                'c: 'e,
            {
                Box::pin(async { Err($crate::db::executor::not_offered()) })
            }
        }
    };
}
pub(super) use executor;

pub(super) fn not_offered() -> sqlx::Error {
    sqlx::Error::Configuration("this executor runs statements and does not prepare or describe them".into())
}

/// Each statement is a transaction by itself.
impl RunStatement for &Db {
    async fn run<'q, E: 'q + Execute<'q, Postgres>>(self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        let mut lease = self.lease().await?;
        let result = lease.run(query).await;
        lease.end(result.as_ref().err());
        result
    }
}

executor!(&'c Db);
