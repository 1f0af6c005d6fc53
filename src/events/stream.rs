//! The stream in Redis, which brings numbered rows to all nodes. Each row has the entry id `<event_id>-0`.
//!
//! The stream's key names the history of its events, so no node reads or writes the stream of another history or database. The
//! key expires an hour after the last node used it.
//!
//! Redis refuses an entry id that is not above the last. So writing a row again is harmless, and the stream may skip events but
//! never reorders them. It may lose everything: readers fill gaps from Postgres, and the publisher refills the stream.
//!
//! A second, small stream tells the nodes which queues were closed.

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

/// About how many events the stream keeps. A node that is further behind reads Postgres.
pub(crate) const STREAM_EVENTS: usize = 10_000;
/// The bytes of payloads that are sent in one round trip. One payload may be larger.
const REQUEST_BYTES: usize = 1 << 20;
/// About how many closed queues are kept.
const CLOSED_QUEUES: usize = 1_000;
/// A read waits this long for a new entry before it is repeated. So a dead Redis is noticed even if no events come.
const BLOCK: Duration = Duration::from_millis(500);
/// Redis has this long to answer. A read has this on top of [`BLOCK`].
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(700);
/// Redis has this long to accept a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// How many entries are read at a time.
const BATCH: usize = 500;
/// A stream that no node uses expires after this.
const STREAM_TTL: Duration = Duration::from_secs(3_600);
/// A reader makes sure this often that it reads from the primary.
const PRIMARY_CHECK: Duration = Duration::from_secs(1);

/// Whether to connect anew: the connection is broken, or its other end is not a primary that serves. The address may lead to the
/// primary by now.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    use ServerErrorKind as Server;
    let lost = [Server::ReadOnly, Server::BusyLoading, Server::MasterDown].map(ErrorKind::Server);
    error.is_io_error() || error.is_unrecoverable_error() || lost.contains(&error.kind())
}

/// Adds a command that changes nothing and that only a primary accepts. Without it, a replica would answer reads with old data,
/// and nobody would notice.
fn require_primary(pipe: &mut Pipeline, prefix: &str) {
    pipe.cmd("PERSIST").arg(format!("{prefix}primary")).ignore();
}

/// A connection that is made when it is needed, and again when it is lost.
pub(crate) struct ReconnectingClient {
    client: Client,
    prefix: String,
    timeout: Duration,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    /// How many connections there were so far.
    number: u64,
    connection: Option<MultiplexedConnection>,
    /// When the last attempt to connect failed, and why.
    failed: Option<(Instant, RedisError)>,
}

impl ReconnectingClient {
    /// Redis has `timeout` to accept a connection, and as long to answer. Keys start with `prefix`.
    pub(crate) fn new(client: Client, prefix: &str, timeout: Duration) -> Self {
        Self { client, prefix: prefix.to_owned(), timeout, current: Mutex::default() }
    }

    /// The primary's answer. If the connection is lost (it may have been closed while nobody used it), the commands are sent once
    /// more on a new one. So it must be harmless to repeat them.
    pub(crate) async fn query<T: FromRedisValue>(&self, mut pipe: Pipeline) -> RedisResult<T> {
        require_primary(&mut pipe, &self.prefix);
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

    /// The connection and its number. Connects anew if the present connection has the number `lost`.
    async fn connection(&self, lost: Option<u64>) -> RedisResult<(u64, MultiplexedConnection)> {
        let since = Instant::now();
        let mut current = self.current.lock().await;
        if let Some(connection) = current.connection.as_ref().filter(|_| lost != Some(current.number)) {
            return Ok((current.number, connection.clone()));
        }
        // Another task tried in vain while this one waited for the lock. Do not wait for the same error again.
        if let Some((_, error)) = current.failed.as_ref().filter(|(at, _)| *at > since) {
            return Err(error.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
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

/// The streams of one installation, which all its nodes share.
#[derive(Clone, Debug)]
pub(crate) struct EventStream {
    client: Client,
    prefix: String,
    closed: String,
}

/// What a read returns.
#[derive(Debug, Default)]
pub(crate) struct StreamBatch {
    /// Rows in order. Some may be missing in between.
    pub(crate) rows: Vec<OutboxRow>,
    /// Queues that were closed at another node.
    pub(crate) closed: Vec<QueueId>,
}

/// A connection that reads the streams.
pub(crate) struct StreamReader {
    connection: MultiplexedConnection,
    stream: EventStream,
    /// The history whose events are read.
    history: HistoryId,
    events: String,
    /// The newest entry that was read of closed queues.
    closed: String,
    /// When the connection was last known to be the primary's.
    checked: Option<Instant>,
}

impl EventStream {
    /// The streams at `client` under keys that start with `prefix`.
    pub(crate) fn new(client: Client, prefix: &str) -> Self {
        Self { client, prefix: prefix.to_owned(), closed: format!("{prefix}closed") }
    }

    /// The key of a history's stream.
    fn events(&self, history: &HistoryId) -> String {
        format!("{}events:{}", self.prefix, history.name())
    }

    /// A connection to write with.
    pub(crate) async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        self.connect_with(RESPONSE_TIMEOUT).await
    }

    async fn connect_with(&self, response_timeout: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(response_timeout));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// A reader of the events of `history` and of the queues that are closed from now on.
    pub(crate) async fn reader(&self, history: HistoryId) -> RedisResult<StreamReader> {
        let mut connection = self.connect_with(BLOCK + RESPONSE_TIMEOUT).await?;
        let closed = newest(&mut connection, &self.closed).await?.map_or("0-0".to_owned(), |entry| entry.id);
        let events = self.events(&history);
        Ok(StreamReader { connection, stream: self.clone(), history, events, closed, checked: None })
    }

    /// The newest event in the stream of `history`, 0 where it is empty.
    pub(crate) async fn last(
        &self,
        connection: &mut MultiplexedConnection,
        history: &HistoryId,
    ) -> RedisResult<EventId> {
        newest(connection, &self.events(history)).await?.map_or(Ok(EventId::START), |entry| event_id(&entry.id))
    }

    /// Restarts the time to live of the stream of `history`.
    pub(crate) async fn renew(&self, connection: &mut MultiplexedConnection, history: &HistoryId) -> RedisResult<()> {
        let mut pipe = redis::pipe();
        require_primary(&mut pipe, &self.prefix);
        pipe.cmd("EXPIRE").arg(self.events(history)).arg(STREAM_TTL.as_secs()).ignore();
        pipe.query_async(connection).await
    }

    /// Lets the stream of older releases expire, whose key names no history. Nodes of these releases may still run for an hour.
    pub(crate) async fn expire_unnamed(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let key = format!("{}events", self.prefix);
        redis::cmd("EXPIRE").arg(key).arg(STREAM_TTL.as_secs()).query_async(connection).await
    }

    /// Adds rows of `history`, in ascending order, and deletes all entries before `first`. Rows before `first` are not added. It is
    /// no error if the stream refuses a row because it has this or a newer one.
    pub(crate) async fn add(
        &self,
        connection: &mut MultiplexedConnection,
        history: &HistoryId,
        rows: &[OutboxRow],
        first: EventId,
    ) -> RedisResult<()> {
        let mut rest = &rows[rows.partition_point(|row| row.event_id < first)..];
        while !rest.is_empty() {
            // One round trip for many small rows, or a few large ones: Redis must answer each in time.
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|row| {
                bytes += row.payload.len();
                bytes <= REQUEST_BYTES
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            self.add_at_once(connection, history, now, first).await?;
            rest = later;
        }
        Ok(())
    }

    async fn add_at_once(
        &self,
        connection: &mut MultiplexedConnection,
        history: &HistoryId,
        rows: &[OutboxRow],
        first: EventId,
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
        pipe.cmd("XTRIM").arg(&events).arg("MINID").arg(format!("{first}-0"));
        pipe.ignore_errors();
        let answers: Vec<Value> = pipe.query_async(connection).await?;
        let is_old = |error: &RedisError| error.to_string().contains("equal or smaller");
        for answer in answers {
            if let Err(error) = answer.extract_error()
                && !is_old(&error)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes these events of `history`. Readers that have not read them yet read them from Postgres.
    pub(crate) async fn remove(
        &self,
        connection: &mut MultiplexedConnection,
        history: &HistoryId,
        events: &[EventId],
    ) -> RedisResult<()> {
        let mut remove = redis::cmd("XDEL");
        remove.arg(self.events(history));
        for event_id in events {
            remove.arg(format!("{event_id}-0"));
        }
        remove.query_async(connection).await
    }

    /// Adds the command that tells all nodes that a queue is closed.
    pub(crate) fn publish_closed(&self, pipe: &mut redis::Pipeline, queue: QueueId) {
        let add = pipe.cmd("XADD").arg(&self.closed).arg("MAXLEN").arg("~").arg(CLOSED_QUEUES).arg("*");
        add.arg("q").arg(queue.to_string()).ignore();
    }
}

impl StreamReader {
    /// The newest event in the stream, 0 where it is empty.
    pub(crate) async fn last(&mut self) -> RedisResult<EventId> {
        newest(&mut self.connection, &self.events).await?.map_or(Ok(EventId::START), |entry| event_id(&entry.id))
    }

    /// The history whose events are read.
    pub(crate) fn history(&self) -> &HistoryId {
        &self.history
    }

    /// From now on, reads the events of another history.
    pub(crate) fn switch_to(&mut self, history: HistoryId) {
        self.events = self.stream.events(&history);
        self.history = history;
    }

    /// What comes after `last`, at once or within half a second. The batch is empty if nothing comes.
    pub(crate) async fn read(&mut self, last: EventId) -> RedisResult<StreamBatch> {
        if self.checked.is_none_or(|at| at.elapsed() > PRIMARY_CHECK) {
            let mut pipe = redis::pipe();
            require_primary(&mut pipe, &self.stream.prefix);
            pipe.query_async::<()>(&mut self.connection).await?;
            self.checked = Some(Instant::now());
        }
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(BATCH).arg("BLOCK").arg(BLOCK.as_millis() as u64).arg("STREAMS");
        read.arg(&self.events).arg(&self.stream.closed).arg(format!("{last}-0")).arg(&self.closed);
        let reply: Option<StreamReadReply> = read.query_async(&mut self.connection).await?;
        let mut batch = StreamBatch::default();
        for stream in reply.map(|reply| reply.keys).unwrap_or_default() {
            if stream.key == self.events {
                batch.rows = stream.ids.into_iter().map(row).collect::<RedisResult<_>>()?;
            } else {
                let queues = stream.ids.iter().filter_map(|entry| entry.get::<String>("q")?.parse().ok());
                batch.closed = queues.collect();
                if let Some(entry) = stream.ids.last() {
                    self.closed.clone_from(&entry.id);
                }
            }
        }
        Ok(batch)
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
