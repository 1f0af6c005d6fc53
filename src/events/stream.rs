//! The fan-out by Redis: a stream of relayed rows, each under the entry id `<event_id>-0`.
//!
//! A stream's key names the history that its events are of, so that one of another history, or of another database, is never
//! read or written. It is gone an hour after the last node has used it.
//!
//! Redis refuses an entry id that is not above the last, so that writing a row again is harmless and the stream can skip but
//! never reorder. It may lose everything: readers fill gaps from Postgres, and the relay refills the stream.
//!
//! A second, small stream tells the nodes of queues that were closed.

use std::time::Duration;

use chrono::DateTime;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind,
    Value,
    aio::MultiplexedConnection,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};
use tokio::{sync::Mutex, time::Instant};

use super::{OutboxRow, history::HistoryId};
use crate::ids::{EventId, QueueId, UserId};

/// Events that the stream keeps, about: what a node is behind further it reads from Postgres.
pub const STREAM_EVENTS: usize = 10_000;
/// Closed queues that are kept.
const CLOSED_QUEUES: usize = 1_000;
/// A read waits this long for something new before it is sent again: so a dead Redis is noticed although nothing happens.
const BLOCK: Duration = Duration::from_millis(500);
/// Redis has this long to answer (a read: on top of [`BLOCK`]).
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(700);
/// Redis has this long to accept a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// Entries read at a time.
const BATCH: usize = 500;
/// A stream that no node uses is gone after this.
const STREAM_TTL: Duration = Duration::from_secs(3_600);
/// A reader makes sure this often that it reads from the primary.
const PRIMARY_CHECK: Duration = Duration::from_secs(1);

/// Whether the connection is of no use any more: it is broken, or what is at its other end is no primary that serves. The
/// address may lead to the right one by now, so it is worth connecting anew.
pub fn is_lost(error: &RedisError) -> bool {
    use ServerErrorKind as Server;
    let lost = [Server::ReadOnly, Server::BusyLoading, Server::MasterDown].map(ErrorKind::Server);
    error.is_io_error() || error.is_unrecoverable_error() || lost.contains(&error.kind())
}

/// Adds a command that changes nothing and that only a primary accepts: a replica would answer a read with what it has, and
/// nobody would notice that it is one.
fn only_at_primary(pipe: &mut Pipeline, prefix: &str) {
    pipe.cmd("PERSIST").arg(format!("{prefix}primary")).ignore();
}

/// A connection that is made when it is needed, and anew when it is lost.
pub struct Link {
    client: Client,
    prefix: String,
    patience: Duration,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    /// Counts the connections.
    number: u64,
    connection: Option<MultiplexedConnection>,
    /// When the last attempt failed, and why.
    failed: Option<(Instant, RedisError)>,
}

impl Link {
    /// To `client`, which has `patience` to accept a connection and to answer; keys start with `prefix`.
    pub fn new(client: Client, prefix: &str, patience: Duration) -> Self {
        Self { client, prefix: prefix.to_owned(), patience, current: Mutex::default() }
    }

    /// The answer of the primary. Where the connection turns out to be lost (it may have been closed while nobody used it), the
    /// commands are sent once more on a new one: they must be such that this does no harm.
    pub async fn query<T: FromRedisValue>(&self, mut pipe: Pipeline) -> RedisResult<T> {
        only_at_primary(&mut pipe, &self.prefix);
        let (number, mut connection) = self.connection(None).await?;
        match pipe.query_async(&mut connection).await {
            Err(error) if is_lost(&error) => {
                let (number, mut connection) = self.connection(Some(number)).await?;
                let answer = pipe.query_async(&mut connection).await;
                if answer.as_ref().is_err_and(is_lost) {
                    self.drop_connection(number).await;
                }
                answer
            }
            answer => answer,
        }
    }

    async fn drop_connection(&self, number: u64) {
        let mut current = self.current.lock().await;
        if current.number == number {
            current.connection = None;
        }
    }

    /// The connection and its number; a new one where the present one is `lost`.
    async fn connection(&self, lost: Option<u64>) -> RedisResult<(u64, MultiplexedConnection)> {
        let since = Instant::now();
        let mut current = self.current.lock().await;
        if let Some(connection) = current.connection.as_ref().filter(|_| lost != Some(current.number)) {
            return Ok((current.number, connection.clone()));
        }
        // Who has waited while somebody else tried in vain does not try in turn, each for so long.
        if let Some((_, error)) = current.failed.as_ref().filter(|(at, _)| *at > since) {
            return Err(error.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience))
            .set_response_timeout(Some(self.patience));
        current.connection = None;
        match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                current.number += 1;
                (current.connection, current.failed) = (Some(connection.clone()), None);
                Ok((current.number, connection))
            }
            Err(error) => {
                current.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

/// The streams of one installation.
#[derive(Clone, Debug)]
pub struct EventStream {
    client: Client,
    prefix: String,
    closed: String,
}

/// What a read brought.
#[derive(Debug, Default)]
pub struct StreamBatch {
    /// Rows in the stream's order, which may leave some out.
    pub rows: Vec<OutboxRow>,
    /// Queues that were closed at another node.
    pub closed: Vec<QueueId>,
}

/// A connection that reads on, and where it is.
pub struct StreamReader {
    connection: MultiplexedConnection,
    stream: EventStream,
    /// Whose events are read.
    history: HistoryId,
    events: String,
    closed: String,
    checked: Option<Instant>,
}

impl EventStream {
    /// The streams at `client` under keys that start with `prefix`.
    pub fn new(client: Client, prefix: &str) -> Self {
        Self { client, prefix: prefix.to_owned(), closed: format!("{prefix}closed") }
    }

    /// The key of a history's stream.
    fn events(&self, history: &HistoryId) -> String {
        format!("{}events:{}", self.prefix, history.name())
    }

    /// A connection to write with.
    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        self.connect_with(RESPONSE_TIMEOUT).await
    }

    async fn connect_with(&self, response_timeout: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(response_timeout));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// A connection to read the events of `history` with. Of closed queues it tells those that are closed from now on.
    pub async fn reader(&self, history: HistoryId) -> RedisResult<StreamReader> {
        let mut connection = self.connect_with(BLOCK + RESPONSE_TIMEOUT).await?;
        let closed = newest(&mut connection, &self.closed).await?.map_or("0-0".to_owned(), |entry| entry.id);
        let events = self.events(&history);
        Ok(StreamReader { connection, stream: self.clone(), history, events, closed, checked: None })
    }

    /// The newest event in the stream of `history`; 0 where it is empty.
    pub async fn last(&self, connection: &mut MultiplexedConnection, history: &HistoryId) -> RedisResult<EventId> {
        newest(connection, &self.events(history)).await?.map_or(Ok(EventId::START), |entry| event_id(&entry.id))
    }

    /// Keeps the stream of `history` for another while.
    pub async fn keep(&self, connection: &mut MultiplexedConnection, history: &HistoryId) -> RedisResult<()> {
        let mut pipe = redis::pipe();
        only_at_primary(&mut pipe, &self.prefix);
        pipe.cmd("EXPIRE").arg(self.events(history)).arg(STREAM_TTL.as_secs()).ignore();
        pipe.query_async(connection).await
    }

    /// Lets the stream go that older nodes use, whose key names no history: in an hour, as they may still run.
    pub async fn let_go_of_nameless(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let key = format!("{}events", self.prefix);
        redis::cmd("EXPIRE").arg(key).arg(STREAM_TTL.as_secs()).query_async(connection).await
    }

    /// Adds rows of `history`, ascending, in one round trip. Those that the stream has, or has gone past, are refused by it, and that is
    /// no error.
    pub async fn add(
        &self,
        connection: &mut MultiplexedConnection,
        history: &HistoryId,
        rows: &[OutboxRow],
    ) -> RedisResult<()> {
        let (mut pipe, events) = (redis::pipe(), self.events(history));
        for row in rows {
            let add = pipe.cmd("XADD").arg(&events).arg("MAXLEN").arg("~").arg(STREAM_EVENTS);
            add.arg(format!("{}-0", row.event_id))
                .arg("c")
                .arg(row.community_id.get())
                .arg("t")
                .arg(row.created_at.timestamp_micros());
            if let Some(user) = row.user_id {
                add.arg("u").arg(user.get());
            }
            add.arg("p").arg(&row.payload);
        }
        pipe.ignore_errors();
        let answers: Vec<Value> = pipe.query_async(connection).await?;
        let refused = |error: &RedisError| error.to_string().contains("equal or smaller");
        for answer in answers {
            if let Err(error) = answer.extract_error()
                && !refused(&error)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The commands that tell all nodes that a queue is closed.
    pub fn tell_closed(&self, pipe: &mut redis::Pipeline, queue: QueueId) {
        pipe.cmd("XADD")
            .arg(&self.closed)
            .arg("MAXLEN")
            .arg("~")
            .arg(CLOSED_QUEUES)
            .arg("*")
            .arg("q")
            .arg(queue.to_string())
            .ignore();
    }
}

impl StreamReader {
    /// The newest event in the stream that is read; 0 where it is empty.
    pub async fn last(&mut self) -> RedisResult<EventId> {
        newest(&mut self.connection, &self.events).await?.map_or(Ok(EventId::START), |entry| event_id(&entry.id))
    }

    /// Whose events are read.
    pub fn history(&self) -> &HistoryId {
        &self.history
    }

    /// Reads the events of another history from now on.
    pub fn switch_to(&mut self, history: HistoryId) {
        self.events = self.stream.events(&history);
        self.history = history;
    }

    /// What comes after `last`, at once or within half a second; nothing where nothing comes.
    pub async fn read(&mut self, last: EventId) -> RedisResult<StreamBatch> {
        if self.checked.is_none_or(|at| at.elapsed() > PRIMARY_CHECK) {
            let mut pipe = redis::pipe();
            only_at_primary(&mut pipe, &self.stream.prefix);
            pipe.query_async::<()>(&mut self.connection).await?;
            self.checked = Some(Instant::now());
        }
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(BATCH).arg("BLOCK").arg(BLOCK.as_millis() as u64).arg("STREAMS");
        read.arg(&self.events).arg(&self.stream.closed).arg(format!("{last}-0")).arg(&self.closed);
        let reply: Option<StreamReadReply> = read.query_async(&mut self.connection).await?;
        let mut news = StreamBatch::default();
        for stream in reply.map(|reply| reply.keys).unwrap_or_default() {
            if stream.key == self.events {
                news.rows = stream.ids.into_iter().map(row).collect::<RedisResult<_>>()?;
            } else {
                let queues = stream.ids.iter().filter_map(|entry| entry.get::<String>("q")?.parse().ok());
                news.closed = queues.collect();
                if let Some(entry) = stream.ids.last() {
                    self.closed.clone_from(&entry.id);
                }
            }
        }
        Ok(news)
    }
}

async fn newest(connection: &mut MultiplexedConnection, key: &str) -> RedisResult<Option<StreamId>> {
    let reply: StreamRangeReply =
        redis::cmd("XREVRANGE").arg(key).arg("+").arg("-").arg("COUNT").arg(1).query_async(connection).await?;
    Ok(reply.ids.into_iter().next())
}

fn event_id(entry: &str) -> RedisResult<EventId> {
    let number = entry.split('-').next().and_then(|number| number.parse().ok());
    number.ok_or_else(|| unexpected("an entry id of the events stream is no event_id"))
}

fn row(entry: StreamId) -> RedisResult<OutboxRow> {
    let missing = || unexpected("an entry of the events stream lacks a field");
    let created_at = field::<i64>(&entry, "t").and_then(DateTime::from_timestamp_micros);
    Ok(OutboxRow {
        event_id: event_id(&entry.id)?,
        community_id: field::<i64>(&entry, "c").ok_or_else(missing)?.into(),
        user_id: field::<i64>(&entry, "u").map(UserId::new),
        payload: field(&entry, "p").ok_or_else(missing)?,
        created_at: created_at.ok_or_else(missing)?,
    })
}

fn field<T: FromRedisValue>(entry: &StreamId, name: &str) -> Option<T> {
    entry.get(name)
}

fn unexpected(what: &'static str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, what).into()
}
