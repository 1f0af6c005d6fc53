//! The database as the relay, the feed and the publisher use it: each question has a time limit.
//!
//! A database can be gone without a word: its machine has lost its power, or its address has moved to another one. Then
//! nothing is answered and no connection is closed, and TCP gives up after a quarter of an hour. The time limits that are set
//! in the server end with the server, so these tasks have their own. They have no other way to ask.

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
/// For a question of which one knows that it may take longer: as long as the server lets it.
const PATIENT_LIMIT: Duration = Duration::from_secs(12);
/// A connection is waited for this long.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);
/// The feed, the publisher, and what starts a node.
const CONNECTIONS: u32 = 6;

/// What `question` comes to, or an error where that is not known within `limit`.
pub async fn answered<T>(
    limit: Duration,
    question: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, question).await.unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database does not answer"))
}

/// Connections of the background tasks, apart from the requests' pool, which may be used up.
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
    /// Connections with these options. They are made when they are first used.
    pub fn new(options: PgConnectOptions) -> Self {
        let pool = pool_options().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE_LIMIT);
        Self { pool: pool.connect_lazy_with(options.clone()), options, limit: ANSWER_LIMIT }
    }

    /// The same connections, for questions that may take their time.
    pub fn patient(&self) -> Self {
        Self { limit: PATIENT_LIMIT, ..self.clone() }
    }

    /// A connection for one task alone.
    pub async fn connect(&self) -> Result<BackgroundConnection, sqlx::Error> {
        answered(ANSWER_LIMIT, connect(&self.options)).await.map(BackgroundConnection)
    }

    /// A connection that hears what is told to `channel`. It is a hint only: of a database that is gone it hears nothing.
    pub async fn listen(&self, channel: &str) -> Result<PgListener, sqlx::Error> {
        // A pool of its own: a listener that is dropped waits for an answer before it gives its connection back.
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

/// All that a statement gives. A long answer may take its time as long as it goes on.
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
