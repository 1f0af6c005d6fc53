//! A Redis that a test may kill, empty and start again.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::app::{PATIENCE, TestApp};

pub(crate) struct TestRedis {
    pub port: u16,
    child: Option<Child>,
    client: redis::Client,
    /// The prefix of this test's keys.
    pub prefix: String,
}

impl TestRedis {
    pub(crate) async fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/0")).unwrap();
        let mut redis = Self { port, child: None, client, prefix: format!("{}:", uuid::Uuid::new_v4().simple()) };
        redis.start_again().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Kills it (SIGKILL).
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it, empty.
    pub(crate) async fn start_again(&mut self) {
        let port = self.port.to_string();
        let arguments = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--dir", "/tmp"];
        let child = Command::new("redis-server").args(arguments).stdout(Stdio::null()).spawn();
        self.child = Some(child.expect("redis-server is installed: scripts/setup.sh test"));
        let answering = async {
            while self.client.get_multiplexed_async_connection().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answering).await.expect("redis-server starts");
    }

    pub(crate) async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        command.query_async(&mut connection).await.unwrap()
    }

    /// The key of the stream that `app` uses.
    pub(crate) fn events_key(&self, app: &TestApp) -> String {
        format!("{}events:{}", self.prefix, app.state.realtime.hub.history().name())
    }

    /// The event_ids in that stream.
    pub(crate) async fn stream(&self, app: &TestApp) -> Vec<i64> {
        let reply: redis::streams::StreamRangeReply = self.command(&["XRANGE", &self.events_key(app), "-", "+"]).await;
        reply.ids.iter().map(|entry| entry.id.split('-').next().unwrap().parse().unwrap()).collect()
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        self.kill();
    }
}
