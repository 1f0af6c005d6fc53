//! The registry of queues that all nodes share.
//!
//! Without Redis there is one node, and a queue that its hub does not know does not exist. With Redis, each queue has a record
//! there with a time to live, and any node can serve any queue. If Redis loses its data, a node still serves the queues in its
//! hub, and their next heartbeats write the records again. Other queues must register anew.

use std::time::Duration;

use redis::{Client, RedisResult};
use serde::{Deserialize, Serialize};

use super::{hub::USER_QUEUES, terms::QueueTerms};
use crate::{
    error::{ErrorCode, Result},
    events::stream::{EventStream, ReconnectingClient},
    ids::{QueueId, UserId},
};

/// Redis has this long to accept a connection, and as long to answer a request.
const REDIS_TIMEOUT: Duration = Duration::from_secs(1);

/// What a node needs to serve a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueRecord {
    /// The user.
    pub(crate) user_id: UserId,
    /// What it gets.
    #[serde(flatten)]
    pub(crate) terms: QueueTerms,
}

/// The records of queues, if nodes share any.
pub struct Registry(Option<Shared>);

struct Shared {
    redis: ReconnectingClient,
    stream: EventStream,
    prefix: String,
    ttl: Duration,
}

impl Registry {
    /// For a node without others.
    pub fn local() -> Self {
        Self(None)
    }

    /// In Redis, under keys that start with `prefix`. Connects when it is first used.
    pub(crate) fn shared(client: Client, stream: EventStream, prefix: &str, ttl: Duration) -> Self {
        let redis = ReconnectingClient::new(client, prefix, REDIS_TIMEOUT);
        Self(Some(Shared { redis, stream, prefix: prefix.to_owned(), ttl }))
    }

    /// Makes a queue known to all nodes, or restarts its time to live there. Returns the record that all nodes know, which may be a newer
    /// one. If Redis does not answer, only this node knows the queue until the next heartbeat.
    pub(crate) async fn save(&self, queue: QueueId, record: &QueueRecord) -> Option<QueueRecord> {
        let saved = self.0.as_ref()?.save(queue, record).await;
        saved.unwrap_or_else(|error| {
            tracing::warn!(cause = %error, "Redis does not answer: a queue is known to this node only");
            None
        })
    }

    /// Replaces the queue's record, if there is one. `unavailable` where Redis does not answer: it may have changed.
    pub(crate) async fn replace(&self, queue: QueueId, record: &QueueRecord) -> Result<()> {
        let Some(shared) = &self.0 else { return Ok(()) };
        shared.replace(queue, record).await.map_err(|error| {
            tracing::warn!(cause = %error, "Redis does not answer: cannot change what a queue watches");
            ErrorCode::Unavailable.into()
        })
    }

    /// The queue's record and how long it has left. `unavailable` where Redis does not answer: the queue may exist.
    pub(crate) async fn find(&self, queue: QueueId) -> Result<Option<(QueueRecord, Duration)>> {
        let Some(shared) = &self.0 else { return Ok(None) };
        match shared.find(queue).await {
            Ok(found) => Ok(found),
            Err(error) => {
                tracing::warn!(cause = %error, "Redis does not answer: cannot look a queue up");
                Err(ErrorCode::Unavailable.into())
            }
        }
    }

    /// Deletes the queue's record and makes all nodes drop the queue.
    pub(crate) async fn remove(&self, queue: QueueId, user: UserId) {
        let Some(shared) = &self.0 else { return };
        if let Err(error) = shared.remove(queue, user).await {
            tracing::warn!(cause = %error, "Redis does not answer: a closed queue is forgotten when its time is up");
        }
    }

    /// How long each queue has left. None where it is gone, or Redis does not answer.
    pub(crate) async fn time_left(&self, queues: &[QueueId]) -> Vec<Option<Duration>> {
        let unknown = vec![None; queues.len()];
        let Some(shared) = &self.0 else { return unknown };
        shared.time_left(queues).await.unwrap_or_else(|error| {
            tracing::warn!(cause = %error, "Redis does not answer: queues without a heartbeat at this node are dropped");
            unknown
        })
    }
}

impl Shared {
    fn key(&self, queue: QueueId) -> String {
        format!("{}queue:{queue}", self.prefix)
    }

    /// The queues of a user, scored by the time of their last heartbeat.
    fn user_key(&self, user: UserId) -> String {
        format!("{}user:{user}", self.prefix)
    }

    async fn save(&self, queue: QueueId, record: &QueueRecord) -> RedisResult<Option<QueueRecord>> {
        let json = serde_json::to_string(record).expect("numbers and names serialise");
        let (ttl, now) = (self.ttl.as_millis() as i64, chrono::Utc::now().timestamp_millis());
        let user = self.user_key(record.user_id);
        let mut pipe = redis::pipe();
        // A record that is there stays: this node may not know yet what the queue watches by a call to another node.
        pipe.cmd("SET")
            .arg(self.key(queue))
            .arg(json)
            .arg("PX")
            .arg(ttl)
            .arg("NX")
            .ignore()
            .pexpire(self.key(queue), ttl)
            .ignore()
            .get(self.key(queue))
            .zadd(&user, queue.to_string(), now)
            .ignore()
            .zrembyscore(&user, 0, now - ttl)
            .ignore()
            .pexpire(&user, ttl)
            .ignore()
            .zrange(&user, 0, -(USER_QUEUES as isize) - 1);
        let (saved, surplus): (Option<String>, Vec<String>) = self.redis.query(pipe).await?;
        for queue in surplus.iter().filter_map(|queue| queue.parse().ok()) {
            self.remove(queue, record.user_id).await?;
        }
        Ok(saved.and_then(|json| serde_json::from_str(&json).ok()))
    }

    async fn replace(&self, queue: QueueId, record: &QueueRecord) -> RedisResult<()> {
        let json = serde_json::to_string(record).expect("numbers and names serialise");
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(self.key(queue)).arg(json).arg("XX").arg("KEEPTTL").ignore();
        self.redis.query(pipe).await
    }

    async fn find(&self, queue: QueueId) -> RedisResult<Option<(QueueRecord, Duration)>> {
        let key = self.key(queue);
        let mut pipe = redis::pipe();
        pipe.get(&key).cmd("PTTL").arg(&key);
        let (json, left): (Option<String>, i64) = self.redis.query(pipe).await?;
        let record = json.and_then(|json| serde_json::from_str(&json).ok());
        Ok(record.zip(u64::try_from(left).ok().map(Duration::from_millis)))
    }

    async fn remove(&self, queue: QueueId, user: UserId) -> RedisResult<()> {
        let mut pipe = redis::pipe();
        pipe.del(self.key(queue)).ignore().zrem(self.user_key(user), queue.to_string()).ignore();
        self.stream.publish_closed(&mut pipe, queue);
        self.redis.query(pipe).await
    }

    async fn time_left(&self, queues: &[QueueId]) -> RedisResult<Vec<Option<Duration>>> {
        let mut pipe = redis::pipe();
        for queue in queues {
            pipe.cmd("PTTL").arg(self.key(*queue));
        }
        let left: Vec<i64> = self.redis.query(pipe).await?;
        Ok(left.into_iter().map(|left| u64::try_from(left).ok().map(Duration::from_millis)).collect())
    }
}
