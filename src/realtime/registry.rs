//! Where the registrations of queues are kept.
//!
//! Alone, a node's hub is all there is: a queue that it does not know does not exist. With Redis, registrations are there
//! under their time to live, and any node serves any queue. The loss of Redis costs a new register at most: what a node has
//! in its hub it goes on serving, and the next heartbeat writes the registration again.

use std::time::Duration;

use redis::{Client, RedisResult};
use serde::{Deserialize, Serialize};

use super::hub::USER_QUEUES;
use crate::{
    directory::Scope,
    error::{ErrorCode, Result},
    events::stream::{EventStream, Link},
    ids::{QueueId, UserId},
};

/// Redis has this long for an answer: a request waits for no longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What another node needs to serve a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    /// Whose it is.
    pub user_id: UserId,
    /// What the token that registered it was narrowed to.
    pub scope: Scope,
}

/// The registrations that all nodes share, if they share any.
pub struct Registry(Option<Shared>);

struct Shared {
    redis: Link,
    stream: EventStream,
    prefix: String,
    ttl: Duration,
}

impl Registry {
    /// For a node that is alone.
    pub fn local() -> Self {
        Self(None)
    }

    /// In Redis, under keys that start with `prefix`. Connects when first used, and again when need be.
    pub fn shared(client: Client, stream: EventStream, prefix: &str, ttl: Duration) -> Self {
        let redis = Link::new(client, prefix, PATIENCE);
        Self(Some(Shared { redis, stream, prefix: prefix.to_owned(), ttl }))
    }

    /// Makes a queue known to all nodes, or keeps it known for another time to live. Where Redis does not answer the queue
    /// is known to this node alone until the next heartbeat.
    pub async fn save(&self, queue: QueueId, registered: &QueueRecord) {
        let Some(shared) = &self.0 else { return };
        if let Err(error) = shared.save(queue, registered).await {
            tracing::warn!(cause = %error, "Redis does not answer: a queue is known to this node only");
        }
    }

    /// The queue's registration and how long it has left. `unavailable` where Redis does not answer: not knowing is not the
    /// same as its being gone.
    pub async fn find(&self, queue: QueueId) -> Result<Option<(QueueRecord, Duration)>> {
        let Some(shared) = &self.0 else { return Ok(None) };
        match shared.find(queue).await {
            Ok(found) => Ok(found),
            Err(error) => {
                tracing::warn!(cause = %error, "Redis does not answer: cannot look a queue up");
                Err(ErrorCode::Unavailable.into())
            }
        }
    }

    /// Makes the queue unknown, and has all nodes drop it.
    pub async fn remove(&self, queue: QueueId, user: UserId) {
        let Some(shared) = &self.0 else { return };
        if let Err(error) = shared.remove(queue, user).await {
            tracing::warn!(cause = %error, "Redis does not answer: a closed queue is forgotten when its time is up");
        }
    }

    /// How long each queue has left: None where it is gone, or nobody knows.
    pub async fn time_left(&self, queues: &[QueueId]) -> Vec<Option<Duration>> {
        let nothing = vec![None; queues.len()];
        let Some(shared) = &self.0 else { return nothing };
        shared.left(queues).await.unwrap_or_else(|error| {
            tracing::warn!(cause = %error, "Redis does not answer: queues without a heartbeat at this node are dropped");
            nothing
        })
    }
}

impl Shared {
    fn key(&self, queue: QueueId) -> String {
        format!("{}queue:{queue}", self.prefix)
    }

    /// The queues of a user, scored by their last sign of life.
    fn user_key(&self, user: UserId) -> String {
        format!("{}user:{user}", self.prefix)
    }

    async fn save(&self, queue: QueueId, registered: &QueueRecord) -> RedisResult<()> {
        let json = serde_json::to_string(registered).expect("numbers serialise");
        let (ttl, now) = (self.ttl.as_millis() as i64, chrono::Utc::now().timestamp_millis());
        let user = self.user_key(registered.user_id);
        let mut pipe = redis::pipe();
        pipe.cmd("SET")
            .arg(self.key(queue))
            .arg(json)
            .arg("PX")
            .arg(ttl)
            .ignore()
            .zadd(&user, queue.to_string(), now)
            .ignore()
            .zrembyscore(&user, 0, now - ttl)
            .ignore()
            .pexpire(&user, ttl)
            .ignore()
            .zrange(&user, 0, -(USER_QUEUES as isize) - 1);
        let (surplus,): (Vec<String>,) = self.redis.query(pipe).await?;
        for queue in surplus.iter().filter_map(|queue| queue.parse().ok()) {
            self.remove(queue, registered.user_id).await?;
        }
        Ok(())
    }

    async fn find(&self, queue: QueueId) -> RedisResult<Option<(QueueRecord, Duration)>> {
        let key = self.key(queue);
        let mut pipe = redis::pipe();
        pipe.get(&key).cmd("PTTL").arg(&key);
        let (json, left): (Option<String>, i64) = self.redis.query(pipe).await?;
        let registered = json.and_then(|json| serde_json::from_str(&json).ok());
        Ok(registered.zip(u64::try_from(left).ok().map(Duration::from_millis)))
    }

    async fn remove(&self, queue: QueueId, user: UserId) -> RedisResult<()> {
        let mut pipe = redis::pipe();
        pipe.del(self.key(queue)).ignore().zrem(self.user_key(user), queue.to_string()).ignore();
        self.stream.tell_closed(&mut pipe, queue);
        self.redis.query(pipe).await
    }

    async fn left(&self, queues: &[QueueId]) -> RedisResult<Vec<Option<Duration>>> {
        let mut pipe = redis::pipe();
        for queue in queues {
            pipe.cmd("PTTL").arg(self.key(*queue));
        }
        let left: Vec<i64> = self.redis.query(pipe).await?;
        Ok(left.into_iter().map(|left| u64::try_from(left).ok().map(Duration::from_millis)).collect())
    }
}
