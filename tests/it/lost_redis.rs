//! Connections to Redis that have become useless, because they were closed while idle or their primary was demoted. And TLS.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;

use crate::{
    app::{Client, PATIENCE, Queue, TestApp, TestDatabase, types},
    forwarder::Forwarder,
    redis::TestRedis,
};

/// Waits until the list of Redis's clients satisfies the condition.
async fn clients(redis: &TestRedis, are: impl Fn(&str) -> bool) {
    let waiting = async {
        while !are(&redis.command::<String>(&["CLIENT", "LIST"]).await) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the clients of Redis are so in time");
}

/// Two nodes that reach Redis by this address, and two members of a community.
async fn nodes(url: &str, prefix: &str) -> (TestApp, TestApp, Client) {
    let set = |config: &mut discussions::config::Config| {
        (config.redis_url, config.redis_prefix) = (Some(url.into()), prefix.to_owned());
    };
    let a = TestApp::start_with(set).await;
    let b = TestApp::on(a.database.clone(), set).await;
    let community = a.community("private").await;
    let ada = a.member("ada", community).await;
    a.settled().await;
    b.settled().await;
    (a, b, ada)
}

fn at(app: &TestApp, queue: &Queue) -> Queue {
    Queue { client: app.client(queue.client.user), ..queue.clone() }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_made_anew_before_anyone_notices() {
    let redis = TestRedis::start().await;
    redis.command::<()>(&["CONFIG", "SET", "timeout", "1"]).await;
    let (a, b, ada) = nodes(&redis.url(), &redis.prefix).await;
    let first = ada.register().await;
    at(&b, &first).poll_raw(0.0).await.expect(200);
    for _ in 0..3 {
        // `persist` is the last command of a registry's connection. Readers and publishers have other last commands.
        clients(&redis, |list| !list.contains("cmd=persist")).await;
        let queue = ada.register().await;
        assert!(
            redis.command::<bool>(&["EXISTS", &format!("{}queue:{}", redis.prefix, queue.id)]).await,
            "it is saved"
        );
        clients(&redis, |list| !list.contains("cmd=persist")).await;
        at(&b, &queue).poll_raw(0.0).await.expect(200);
    }
    drop(a);
}

/// The address leads to a promoted replica, but the connections to the old primary stay open.
async fn failover(serves_stale_data: &str) {
    let (old, new) = (TestRedis::start().await, TestRedis::start().await);
    new.command::<()>(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]).await;
    let forwarder = Forwarder::to(old.port).await;
    let (a, b, ada) = nodes(&format!("redis://{}/0", forwarder.addr), &old.prefix).await;
    let mut queue = ada.register().await;
    let mut at_b = at(&b, &queue);
    at_b.poll_raw(0.0).await.expect(200);
    clients(&old, |list| list.matches("cmd=xread").count() == 2).await;

    new.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    forwarder.lead_newcomers_to(new.port);
    old.command::<()>(&["CONFIG", "SET", "replica-serve-stale-data", serves_stale_data]).await;
    // Its primary does not exist, so it gets no new data.
    old.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;

    // From the first request on a queue that was registered at one node is served at the other.
    for _ in 0..3 {
        let queue = ada.register().await;
        assert!(new.command::<bool>(&["EXISTS", &format!("{}queue:{}", old.prefix, queue.id)]).await, "it is saved");
        at(&b, &queue).poll_raw(0.0).await.expect(200);
        at(&b, &queue).heartbeat().await.expect(204);
    }
    // Feeds and publishers also leave the old primary, and events continue.
    clients(&new, |list| list.matches("cmd=xread").count() == 2).await;
    clients(&old, |list| !list.contains("cmd=x")).await;
    let community = a.community("private").await;
    a.join(ada.user, community, "member").await;
    assert_eq!(types(&at_b.events(1).await), ["membership_changed"]);
    assert_eq!(types(&queue.events(1).await), ["membership_changed"]);
    let head = a.settled().await;
    let filled = async {
        let key = old.events_key(&a);
        loop {
            let reply: redis::streams::StreamRangeReply =
                new.command(&["XREVRANGE", &key, "+", "-", "COUNT", "1"]).await;
            if reply.ids.first().is_some_and(|entry| entry.id == format!("{head}-0")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, filled).await.expect("the new primary's stream goes on");
}

#[tokio::test]
async fn nodes_leave_a_demoted_primary_for_the_new_one_behind_the_address() {
    failover("yes").await;
}

#[tokio::test]
async fn nodes_leave_a_demoted_primary_that_answers_nothing() {
    failover("no").await;
}

/// A process that drop ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn redis_by_tls_is_reached_with_the_authorities_that_are_set() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/keys");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (authority, certificate, key) =
        (format!("{keys}/redis_ca.pem"), format!("{keys}/redis_cert.pem"), format!("{keys}/redis_key.pem"));
    let _redis = Process(
        Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"])
            .args(["--tls-cert-file", &certificate, "--tls-key-file", &key, "--save", "", "--dir", "/tmp"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let database = TestDatabase::create().await;
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (address, metrics) = (free(), free());
    let _server = Process(
        Command::new(env!("CARGO_BIN_EXE_discussions"))
            .arg("serve")
            .env_clear()
            .env("DATABASE_URL", &database.url)
            .env("REDIS_URL", format!("rediss://127.0.0.1:{port}/0"))
            .env("SSL_CERT_FILE", &authority)
            .env("JWT_SECRET", crate::app::SECRET)
            .env("BIND_ADDR", address.to_string())
            .env("METRICS_ADDR", metrics.to_string())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let on_redis = async {
        loop {
            if let Ok(answer) = reqwest::get(format!("http://{metrics}/metrics")).await
                && answer.text().await.unwrap().contains("discussions_feed_on_redis 1")
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, on_redis).await.expect("the feed reads Redis");
    // The registry works too: it answers that the queue does not exist, and not that it is unavailable.
    let pool = sqlx::PgPool::connect(&database.url).await.unwrap();
    sqlx::query("insert into users (id, username) values (1, 'ada')").execute(&pool).await.unwrap();
    pool.close().await;
    let nobody = Client::at(address, 1);
    let unknown = format!("/poll?queue_id={}&last_event_id=0", uuid::Uuid::new_v4());
    nobody.get(&unknown).await.refused(404, "queue_not_found");
    nobody.post("/heartbeat", json!({ "queue_id": uuid::Uuid::new_v4() })).await.refused(404, "queue_not_found");
}
