//! The database as the relay, the feed and the publisher use it. Each statement has a time limit on this side.
//!
//! A database can vanish without closing its connections: its machine loses power, or its address moves to another machine.
//! Then no answer comes, and TCP gives up after a quarter of an hour. The server's own time limits vanish with it. So these
//! tasks have their own limits, and no way to the database without one.

use std::{fmt, io, time::Duration};

use futures_util::{TryStreamExt, stream::BoxStream};
use sqlx::{
    Execute, Executor, PgConnection, Postgres,
    postgres::{PgConnectOptions, PgListener, PgPool},
};
use tokio::time::timeout;

use super::{
    connect,
    executor::{RunStatement, Step, executor},
    lease::leaves_usable,
    pool_options,
};

/// The database has this long to answer, and then again for each row.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// The limit of statements that are known to take longer. It is a little more than the server allows.
const PATIENT_LIMIT: Duration = Duration::from_secs(12);
/// How long a task waits for a connection.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);
/// Enough for the feed, the publisher and the start of a node.
const CONNECTIONS: u32 = 6;

/// The result of `question`, or an error if it does not come within `limit`.
pub(super) async fn answered<T>(
    limit: Duration,
    question: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, question).await.unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database does not answer"))
}

/// Connections of the background tasks. They are separate from the requests' pool, which may be used up.
#[derive(Clone)]
pub struct BackgroundDb {
    pool: PgPool,
    options: PgConnectOptions,
    limit: Duration,
}

/// As an executor needs it. The options hold the password.
impl fmt::Debug for BackgroundDb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BackgroundDb").finish_non_exhaustive()
    }
}

/// A connection for one task alone.
#[derive(Debug)]
pub struct BackgroundConnection(PgConnection);

impl BackgroundDb {
    /// Makes no connection yet: each is made when it is first needed.
    pub fn new(options: PgConnectOptions) -> Self {
        let pool = pool_options().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE_LIMIT);
        Self { pool: pool.connect_lazy_with(options.clone()), options, limit: ANSWER_LIMIT }
    }

    /// The same connections, with a longer limit for each statement.
    pub fn patient(&self) -> Self {
        Self { limit: PATIENT_LIMIT, ..self.clone() }
    }

    /// A connection for one task alone.
    pub async fn connect(&self) -> Result<BackgroundConnection, sqlx::Error> {
        answered(ANSWER_LIMIT, connect(&self.options)).await.map(BackgroundConnection)
    }

    /// A connection that receives the notifications of `channel`. They are only hints: none comes from a database that is gone.
    pub async fn listen(&self, channel: &str) -> Result<PgListener, sqlx::Error> {
        // It needs its own pool: a dropped listener waits for an answer before it returns its connection.
        let pool = pool_options().max_connections(1).acquire_timeout(ACQUIRE_LIMIT);
        let pool = pool.connect_lazy_with(self.options.clone());
        answered(ANSWER_LIMIT, async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(channel).await?;
            Ok(listener)
        })
        .await
    }
}

/// All rows of a statement. The limit applies to each row, so a long answer may take longer.
async fn collect(
    limit: Duration,
    mut answer: BoxStream<'_, Result<Step, sqlx::Error>>,
) -> Result<Vec<Step>, sqlx::Error> {
    let mut all = Vec::new();
    while let Some(step) = answered(limit, answer.try_next()).await? {
        all.push(step);
    }
    Ok(all)
}

impl RunStatement for &BackgroundDb {
    async fn run<'q, E: 'q + Execute<'q, Postgres>>(self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let result = collect(self.limit, connection.fetch_many(query)).await;
        // The error may have left the connection in any state, or its prepared statements invalid.
        if result.as_ref().is_err_and(|error| !leaves_usable(error)) {
            connection.close_on_drop();
        }
        result
    }
}

impl RunStatement for &mut BackgroundConnection {
    async fn run<'q, E: 'q + Execute<'q, Postgres>>(self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        collect(ANSWER_LIMIT, self.0.fetch_many(query)).await
    }
}

executor!(&'c BackgroundDb);
executor!(&'c mut BackgroundConnection);
