//! The fan-out by Redis: a stream of relayed rows, each under the entry id `<event_id>-0`.
//!
//! Redis refuses an entry id that is not above the last, so that writing a row again is harmless and the stream can skip but
//! never reorder. It may lose everything: readers fill gaps from Postgres, and the relay refills the stream.
//!
//! A second, small stream tells the nodes of queues that were closed.

use std::time::Duration;

use chrono::DateTime;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};

use crate::{
    events::Row,
    ids::{EventId, QueueId},
};

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

/// The streams of one installation.
#[derive(Clone, Debug)]
pub struct Fanout {
    client: Client,
    events: String,
    closed: String,
}

/// What a read brought.
#[derive(Debug, Default)]
pub struct News {
    /// Rows in the stream's order, which may leave some out.
    pub rows: Vec<Row>,
    /// Queues that were closed at another node.
    pub closed: Vec<QueueId>,
}

/// A connection that reads on, and where it is.
pub struct Reader {
    connection: MultiplexedConnection,
    fanout: Fanout,
    closed: String,
}

impl Fanout {
    /// The streams at `client` under keys that start with `prefix`.
    pub fn new(client: Client, prefix: &str) -> Self {
        Self { client, events: format!("{prefix}events"), closed: format!("{prefix}closed") }
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

    /// A connection to read with. Of closed queues it tells those that are closed from now on.
    pub async fn reader(&self) -> RedisResult<Reader> {
        let mut connection = self.connect_with(BLOCK + RESPONSE_TIMEOUT).await?;
        let closed = newest(&mut connection, &self.closed).await?.map_or("0-0".to_owned(), |entry| entry.id);
        Ok(Reader { connection, fanout: self.clone(), closed })
    }

    /// The newest event in the stream; 0 where it is empty.
    pub async fn last(&self, connection: &mut MultiplexedConnection) -> RedisResult<EventId> {
        newest(connection, &self.events).await?.map_or(Ok(0), |entry| event_id(&entry.id))
    }

    /// Adds rows, ascending, in one round trip. Those that the stream has, or has gone past, are refused by it, and that is
    /// no error.
    pub async fn add(&self, connection: &mut MultiplexedConnection, rows: &[Row]) -> RedisResult<()> {
        let mut pipe = redis::pipe();
        for row in rows {
            let add = pipe.cmd("XADD").arg(&self.events).arg("MAXLEN").arg("~").arg(STREAM_EVENTS);
            add.arg(format!("{}-0", row.event_id))
                .arg("c")
                .arg(row.community_id)
                .arg("t")
                .arg(row.created_at.timestamp_micros());
            if let Some(user) = row.user_id {
                add.arg("u").arg(user);
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

    /// Empties the stream: it was ahead of the database, so it is not of this database.
    pub async fn clear(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        redis::cmd("DEL").arg(&self.events).query_async(connection).await
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

impl Reader {
    /// What comes after `last`, at once or within half a second; nothing where nothing comes.
    pub async fn read(&mut self, last: EventId) -> RedisResult<News> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(BATCH).arg("BLOCK").arg(BLOCK.as_millis() as u64).arg("STREAMS");
        read.arg(&self.fanout.events).arg(&self.fanout.closed).arg(format!("{last}-0")).arg(&self.closed);
        let reply: Option<StreamReadReply> = read.query_async(&mut self.connection).await?;
        let mut news = News::default();
        for stream in reply.map(|reply| reply.keys).unwrap_or_default() {
            if stream.key == self.fanout.events {
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

fn row(entry: StreamId) -> RedisResult<Row> {
    let missing = || unexpected("an entry of the events stream lacks a field");
    let created_at = field::<i64>(&entry, "t").and_then(DateTime::from_timestamp_micros);
    Ok(Row {
        event_id: event_id(&entry.id)?,
        community_id: field(&entry, "c").ok_or_else(missing)?,
        user_id: field(&entry, "u"),
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
