//! The leap: the nodes notice that the database has lost its newest part (it was restored, failed over or brought back), and use
//! nothing of the lost part.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    app::{ArticleId, CommunityId, EventId, PATIENCE, Queue, TestApp, TestDatabase, UserId, types},
    forwarder::Forwarder,
    postgres::{Cluster, run},
    redis::TestRedis,
};

/// The numbers of a history begin at a multiple of this.
const REGION: EventId = 1 << 32;

/// A node, and a community with a discussion. A test replaces the node, but users and queues stay.
struct Story {
    app: TestApp,
    redis: Option<TestRedis>,
    community: CommunityId,
    article: ArticleId,
    ada: UserId,
    grace: UserId,
    discussion: Value,
}

impl Story {
    async fn begin(database: Arc<TestDatabase>, redis: Option<TestRedis>) -> Self {
        let app = node(&database, redis.as_ref()).await;
        let community = app.community("private").await;
        let article = app.article(&[community]).await;
        let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
        let discussion = ada.discussion(article, community, "Sample size").await;
        app.settled().await;
        Self { redis, community, article, ada: ada.user, grace: grace.user, discussion, app }
    }

    /// Writes comments and returns their ids when the hub has them.
    async fn comments(&self, count: usize) -> Vec<i64> {
        let ada = self.app.client(self.ada);
        let mut ids = Vec::new();
        for number in 0..count {
            ids.push(ada.comment(&self.discussion, &format!("number {number}")).await["id"].as_i64().unwrap());
        }
        self.app.settled().await;
        ids
    }

    /// Grace's queue at the present node.
    fn here(&self, queue: &Queue) -> Queue {
        Queue { client: self.app.client(self.grace), ..queue.clone() }
    }

    async fn is_ready(&self) {
        let ready = async {
            while self.app.anonymous().get("/health/ready").await.status != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the node is ready in time");
    }

    /// Checks the state after the leap: every older cursor gets `catchup_required`, and after a catch-up the same queue gets all
    /// new events.
    async fn goes_on(&self, queue: &Queue, cursors: impl IntoIterator<Item = EventId>) {
        self.is_ready().await;
        let written = self.comments(8).await;
        let head = self.app.settled().await;
        assert!(head > REGION, "{head}");
        let mut queue = self.here(queue);
        for cursor in cursors {
            queue.cursor = cursor;
            let answer = queue.poll_raw(0.0).await.expect(200);
            assert_eq!(answer, json!({ "catchup_required": true }), "a cursor of {cursor}, the head being {head}");
        }
        let page = queue.client.get(&format!("/discussions/{}/comments", self.discussion["id"])).await.expect(200);
        assert_eq!(page["last_event_id"], head);
        let shown: Vec<i64> =
            page["comments"].as_array().unwrap().iter().map(|comment| comment["id"].as_i64().unwrap()).collect();
        assert!(shown.ends_with(&written), "{shown:?} {written:?}");

        queue.cursor = head - 8;
        assert_eq!(comment_ids(&queue.now().await), written);
        queue.heartbeat().await.expect(204);
        let parked = queue.park(&self.app).await;
        let more = self.comments(1).await;
        let answer = parked.await.unwrap().expect(200);
        assert_eq!(comment_ids(answer["events"].as_array().unwrap()), more);
        assert_eq!(answer["last_event_id"], head + 1);
        if let Some(redis) = &self.redis {
            let filled = async {
                while redis.stream(&self.app).await.last() != Some(&(head + 1)) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, filled).await.expect("the stream goes on in this history");
            assert!(redis.stream(&self.app).await.iter().all(|event_id| *event_id > REGION));
        }
        // Memberships are those of the database, and they can change.
        self.app.leave(self.grace, self.community).await;
        queue.cursor = head + 1;
        assert_eq!(types(&queue.events(1).await), ["membership_changed"]);
        self.comments(1).await;
        assert!(queue.now().await.is_empty());
    }
}

fn comment_ids(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["comment_id"].as_i64().unwrap()).collect()
}

async fn node(database: &Arc<TestDatabase>, redis: Option<&TestRedis>) -> TestApp {
    let shared = redis.map(|redis| (redis.url(), redis.prefix.clone()));
    TestApp::on(database.clone(), |config| {
        if let Some((url, prefix)) = shared {
            (config.redis_url, config.redis_prefix) = (Some(url.into()), prefix);
        }
    })
    .await
}

/// A queue that has got all events that will be lost.
async fn away(story: &Story) -> Queue {
    let mut queue = story.app.client(story.grace).register().await;
    let lost = story.comments(5).await;
    assert_eq!(comment_ids(&queue.now().await), lost);
    queue
}

/// The same queue after a restart. Without Redis it is a new queue with the old cursor.
async fn back(story: &Story, queue: &Queue) -> Queue {
    let mut queue = story.here(queue);
    if story.redis.is_none() {
        queue = Queue { cursor: queue.cursor, ..story.app.client(story.grace).register().await };
    }
    queue
}

async fn redis(is_there: bool) -> Option<TestRedis> {
    if is_there { Some(TestRedis::start().await) } else { None }
}

// A failover to a standby that had not received everything.

async fn failover(with_redis: bool, restarted: bool) {
    let mut primary = Cluster::create().await;
    let standby = primary.standby().await;
    let forwarder = Forwarder::to(primary.port).await;
    let database = Arc::new(TestDatabase::at(&format!("postgres://discussions@{}/discussions", forwarder.addr)));
    let mut story = Story::begin(database.clone(), redis(with_redis).await).await;
    story.comments(3).await;
    standby.has_all_of(&primary).await;
    let common = story.app.settled().await;
    standby.cut_off().await;
    let mut queue = away(&story).await;

    if restarted {
        story.app.stop().await;
        primary.crash();
        standby.promote().await;
        forwarder.lead_to(standby.port);
        story.app = node(&database, story.redis.as_ref()).await;
        queue = back(&story, &queue).await;
    } else {
        let parked = queue.park(&story.app).await;
        primary.crash();
        standby.promote().await;
        forwarder.lead_to(standby.port);
        let since = Instant::now();
        assert_eq!(parked.await.unwrap().expect(200), json!({ "catchup_required": true }));
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    }
    story.goes_on(&queue, common..=queue.cursor).await;
}

#[tokio::test]
async fn a_failover_that_lost_commits_is_noticed() {
    failover(false, false).await;
}

#[tokio::test]
async fn a_failover_that_lost_commits_is_noticed_with_redis() {
    failover(true, false).await;
}

#[tokio::test]
async fn a_failover_that_lost_commits_is_noticed_at_the_start() {
    failover(false, true).await;
}

#[tokio::test]
async fn a_failover_that_lost_commits_is_noticed_at_the_start_with_redis() {
    failover(true, true).await;
}

// Backups.

/// Polls until `catchup_required` comes, however long the restore takes. No event may come before.
async fn until_catch_up_required(queue: Queue) {
    loop {
        let answer = queue.poll_raw(30.0).await.expect(200);
        if answer == json!({ "catchup_required": true }) {
            return;
        }
        assert_eq!(answer, json!({ "events": [], "last_event_id": queue.cursor }));
    }
}

/// A dump of a database. Drop deletes the file.
struct Backup(std::path::PathBuf);

impl Backup {
    fn take(database: &TestDatabase) -> Self {
        let file = std::env::temp_dir().join(format!("it_{}.dump", uuid::Uuid::new_v4().simple()));
        run("pg_dump", &["-Fc", "-d", &database.url, "-f", file.to_str().unwrap()]);
        Self(file)
    }

    fn restore(&self, url: &str, arguments: &[&str]) {
        run("pg_restore", &[arguments, &["--exit-on-error", "-d", url, self.0.to_str().unwrap()]].concat());
    }

    /// Restores it into a new database, which then replaces the old one.
    async fn restore_as_new(&self, database: &TestDatabase) {
        let new = TestDatabase::create_empty().await;
        self.restore(&new.url, &[]);
        let name = |url: &str| url.rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned();
        let (old_name, new_name) = (name(&database.url), name(&new.url));
        let server = std::env::var("DATABASE_URL").unwrap();
        let mut connection = PgConnection::connect(&server).await.unwrap();
        for step in [
            format!("alter database {old_name} allow_connections false"),
            format!(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname in ('{old_name}', '{new_name}')"
            ),
            format!("drop database {old_name} with (force)"),
            format!("alter database {new_name} rename to {old_name}"),
        ] {
            connection.execute(step.as_str()).await.unwrap();
        }
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn restore(with_redis: bool, restarted: bool, clean: bool) {
    let database = Arc::new(TestDatabase::create().await);
    let mut story = Story::begin(database.clone(), redis(with_redis).await).await;
    story.comments(3).await;
    let backup = Backup::take(&database);
    let common = story.app.settled().await;
    let mut queue = away(&story).await;
    let bring_back = async || {
        if clean {
            // The restore runs in several steps and not in one transaction. A half restored database must not count as complete.
            backup.restore(&database.url, &["--clean", "--if-exists"]);
        } else {
            backup.restore_as_new(&database).await;
        }
    };
    if restarted {
        story.app.stop().await;
        bring_back().await;
        story.app = node(&database, story.redis.as_ref()).await;
        queue = back(&story, &queue).await;
    } else {
        let polling = tokio::spawn(until_catch_up_required(queue.clone()));
        bring_back().await;
        tokio::time::timeout(PATIENCE, polling).await.expect("it is noticed in time").unwrap();
    }
    story.goes_on(&queue, common..=queue.cursor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_a_new_database_is_noticed() {
    restore(false, false, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_a_new_database_is_noticed_with_redis() {
    restore(true, false, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_a_new_database_is_noticed_at_the_start() {
    restore(false, true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_a_new_database_is_noticed_at_the_start_with_redis() {
    restore(true, true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_the_same_database_is_noticed() {
    restore(false, false, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_the_same_database_is_noticed_with_redis() {
    restore(true, false, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_the_same_database_is_noticed_at_the_start() {
    restore(false, true, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_the_same_database_is_noticed_at_the_start_with_redis() {
    restore(true, true, true).await;
}

#[tokio::test]
async fn a_restore_that_is_under_way_does_not_count_as_complete() {
    let database = Arc::new(TestDatabase::create().await);
    let story = Story::begin(database.clone(), None).await;
    let backup = Backup::take(&database);
    let half = TestDatabase::create_empty().await;
    backup.restore(&half.url, &["--section=pre-data", "--section=data"]);
    let mut connection = PgConnection::connect(&half.url).await.unwrap();
    connection
        .execute("insert into outbox (community_id, type, payload) values (1, 'new_comment', '{}')")
        .await
        .unwrap();
    for call in ["select leap_if_new_history()", "select assign_event_ids(1)", "select leap_now()"] {
        let error = connection.execute(call).await.unwrap_err();
        assert!(error.to_string().contains("this database is not complete"), "{error}");
    }
    backup.restore(&half.url, &["--section=post-data"]);
    let given: EventId =
        sqlx::query_scalar("select event_id from assign_event_ids(1)").fetch_one(&mut connection).await.unwrap();
    assert_eq!(given % REGION, 1);
    drop(story);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_restored_twice_gives_no_number_twice() {
    let database = Arc::new(TestDatabase::create().await);
    let mut story = Story::begin(database.clone(), None).await;
    let backup = Backup::take(&database);
    let mut heads = Vec::new();
    let second = || chrono::Utc::now().timestamp();
    for _ in 0..2 {
        story.app.stop().await;
        backup.restore_as_new(&database).await;
        let at = second();
        story.app = node(&database, story.redis.as_ref()).await;
        story.comments(5).await;
        heads.push(story.app.settled().await);
        // The clock decides how far it leaps.
        while second() == at {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_ne!(heads[0] / REGION, heads[1] / REGION);
    let mut queue = story.app.client(story.grace).register().await;
    queue.cursor = heads[0];
    assert_eq!(queue.poll_raw(0.0).await.expect(200), json!({ "catchup_required": true }));
}

// A snapshot of the disk, which has the fingerprint of the same database.

async fn snapshot(with_redis: bool, restarted: bool) -> (Story, Queue, EventId, Cluster) {
    let mut cluster = Cluster::create().await;
    let database = Arc::new(TestDatabase::at(&cluster.url("discussions")));
    let mut story = Story::begin(database.clone(), redis(with_redis).await).await;
    story.comments(3).await;
    let common = story.app.settled().await;
    story.app.stop().await;
    cluster.stop();
    cluster.take_snapshot();
    cluster.start().await;
    story.app = node(&database, story.redis.as_ref()).await;
    let mut queue = away(&story).await;
    if restarted {
        story.app.stop().await;
        cluster.crash();
        cluster.bring_snapshot_back();
        cluster.start().await;
        if story.redis.is_some() {
            story.app = node(&database, story.redis.as_ref()).await;
            queue = back(&story, &queue).await;
        } else {
            let leap =
                Command::new(env!("CARGO_BIN_EXE_discussions")).arg("leap").env("DATABASE_URL", &database.url).output();
            let leap = leap.unwrap();
            let said = String::from_utf8(leap.stdout).unwrap();
            assert!(leap.status.success(), "{}", String::from_utf8_lossy(&leap.stderr));
            assert!(said.starts_with(&format!("old head {common}, new head ")), "{said}");
            story.app = node(&database, None).await;
            assert_eq!(
                said,
                format!("old head {common}, new head {0}, new base {0}\n", story.app.state.realtime.hub.head())
            );
            queue = back(&story, &queue).await;
        }
    } else {
        let parked = queue.park(&story.app).await;
        cluster.crash();
        cluster.bring_snapshot_back();
        cluster.start().await;
        assert_eq!(parked.await.unwrap().expect(200), json!({ "catchup_required": true }));
    }
    (story, queue, common, cluster)
}

#[tokio::test]
async fn a_node_with_newer_numbers_makes_a_restored_disk_leap() {
    let (story, queue, common, _cluster) = snapshot(false, false).await;
    story.goes_on(&queue, common..=queue.cursor).await;
}

#[tokio::test]
async fn a_stream_with_newer_numbers_makes_a_restored_disk_leap() {
    let (story, queue, common, _cluster) = snapshot(true, true).await;
    story.goes_on(&queue, common..=queue.cursor).await;
}

#[tokio::test]
async fn discussions_leap_handles_a_disk_that_was_brought_back() {
    let (story, queue, common, _cluster) = snapshot(false, true).await;
    story.goes_on(&queue, common..=queue.cursor).await;
}

#[tokio::test]
async fn a_crash_loses_no_number_even_without_synchronous_commits() {
    // PostgreSQL writes only what a commit waits for. The WAL writer and the background writer are idle.
    let idle = ["wal_writer_delay=10s", "bgwriter_lru_maxpages=0", "shared_buffers=128MB"];
    let mut cluster = Cluster::create_with(&[&["synchronous_commit=off"], &idle[..]].concat()).await;
    let database = Arc::new(TestDatabase::at(&cluster.url("discussions")));
    let story = Story::begin(database.clone(), None).await;
    let mut queue = story.app.client(story.grace).register().await;
    story.app.client(story.ada).comment(&story.discussion, "Delivered").await;
    let delivered = comment_ids(&queue.events(1).await);
    cluster.crash();
    cluster.start().await;
    story.is_ready().await;
    assert_eq!(
        story.app.state.realtime.hub.head().get(),
        queue.cursor,
        "nothing that was numbered is lost, so there is no leap"
    );
    story.app.client(story.grace).get(&format!("/comments/{}", delivered[0])).await.expect(200);
}

// Streams of other histories in Redis.

/// Writes events after `head` to a stream that is not of this database's history.
async fn plant(redis: &TestRedis, community: CommunityId, key: &str, head: EventId) {
    let stale = json!({ "type": "new_comment", "community_id": community, "stale": true }).to_string();
    let community = community.to_string();
    for event_id in head + 1..=head + 5 {
        let id = format!("{event_id}-0");
        redis.command::<String>(&["XADD", key, &id, "c", &community, "t", "0", "p", &stale]).await;
    }
}

#[tokio::test]
async fn the_stream_of_another_history_is_never_read() {
    let database = Arc::new(TestDatabase::create().await);
    let mut story = Story::begin(database.clone(), redis(true).await).await;
    let mut queue = story.app.client(story.grace).register().await;
    let nameless = format!("{}events", story.redis.as_ref().unwrap().prefix);
    for _ in 0..5 {
        let head = story.app.settled().await;
        story.app.stop().await;
        // The stream's name in an earlier release, and the name for another database.
        for key in [nameless.clone(), format!("{nameless}:0123456789abcdef:0")] {
            story.redis.as_ref().unwrap().command::<i64>(&["DEL", &key]).await;
            plant(story.redis.as_ref().unwrap(), story.community, &key, head).await;
        }
        story.app = node(&database, story.redis.as_ref()).await;
        queue = story.here(&queue);
        let written = story.comments(6).await;
        assert_eq!(comment_ids(&queue.events(6).await), written);
        assert_eq!(queue.cursor, head + 6);
    }
    assert!(story.redis.as_ref().unwrap().command::<i64>(&["TTL", &nameless]).await > 0, "it goes by itself");
}

#[tokio::test]
async fn a_stream_that_is_ahead_of_its_database_is_not_used() {
    let database = Arc::new(TestDatabase::create().await);
    let mut story = Story::begin(database.clone(), redis(true).await).await;
    let queue = story.app.client(story.grace).register().await;
    let head = story.app.settled().await;
    let key = story.redis.as_ref().unwrap().events_key(&story.app);
    story.app.stop().await;
    plant(story.redis.as_ref().unwrap(), story.community, &key, head).await;
    story.app = node(&database, story.redis.as_ref()).await;
    // A client that has seen these events has seen lost ones.
    story.goes_on(&queue, head..=head + 5).await;
}

// The same history, but without the next event.

#[tokio::test]
async fn events_that_are_gone_from_the_outbox_delay_no_others() {
    let database = Arc::new(TestDatabase::create().await);
    let story = Story::begin(database, None).await;
    let mut queue = story.app.client(story.grace).register().await;
    let parked = queue.park(&story.app).await;
    // Of five numbers only the last one still has a row. A node that was cut off until the others were pruned finds this.
    story
        .app
        .sql(&format!(
            "begin;
             insert into outbox (community_id, type, payload, event_id)
             select {}, 'new_comment', '{{\"type\":\"new_comment\"}}', last_assigned + 5 from event_head;
             update event_head set last_assigned = last_assigned + 5;
             commit",
            story.community
        ))
        .await;
    assert_eq!(parked.await.unwrap().expect(200), json!({ "catchup_required": true }));
    let head = story.app.settled().await;
    assert_eq!(head, queue.cursor + 5);
    assert_eq!(queue.poll_raw(0.0).await.expect(200), json!({ "catchup_required": true }));
    queue.cursor = head;
    let written = story.comments(3).await;
    assert_eq!(comment_ids(&queue.events(3).await), written);
}

// Several nodes.

/// `discussions leap` with two running nodes. A client that has caught up at one node is served by the other, even if that one
/// learns of the leap later. No client has to catch up twice.
async fn leap_of_two(redis: Option<TestRedis>) {
    let database = Arc::new(TestDatabase::create().await);
    let story = Story::begin(database.clone(), redis).await;
    let other = node(&database, story.redis.as_ref()).await;
    let client = other.client(story.grace);
    let queue = client.register().await;
    for _ in 0..5 {
        story.comments(1).await;
        other.settled().await;
        let parked = client.register().await.park(&other).await;
        story.app.sql("select leap_now()").await;
        // The page is of the new history at once. The node that gets the poll may not be yet.
        let page = client.get(&format!("/discussions/{}/comments", story.discussion["id"])).await.expect(200);
        let mut queue = Queue { cursor: page["last_event_id"].as_i64().unwrap(), ..queue.clone() };
        let ada = story.app.client(story.ada);
        let written = ada.comment(&story.discussion, "After the leap").await["id"].as_i64().unwrap();
        assert_eq!(comment_ids(&queue.events(1).await), [written]);
        assert_eq!(parked.await.unwrap().expect(200), json!({ "catchup_required": true }));
    }
    assert_eq!(story.app.settled().await, other.settled().await);
    assert_eq!(story.app.state.realtime.hub.history(), other.state.realtime.hub.history());
}

#[tokio::test]
async fn a_client_that_has_caught_up_need_not_catch_up_at_another_node() {
    leap_of_two(None).await;
}

#[tokio::test]
async fn a_client_that_has_caught_up_need_not_catch_up_at_another_node_with_redis() {
    leap_of_two(redis(true).await).await;
}

// Changes that are no loss.

#[tokio::test]
async fn a_new_file_of_event_head_costs_one_catch_up_and_nothing_else() {
    let database = Arc::new(TestDatabase::create().await);
    let story = Story::begin(database, None).await;
    let mut queue = story.app.client(story.grace).register().await;
    let head = queue.cursor;
    let parked = queue.park(&story.app).await;
    story.app.sql("vacuum full event_head").await;
    assert_eq!(parked.await.unwrap().expect(200), json!({ "catchup_required": true }));
    queue.cursor = story.app.settled().await;
    story.goes_on(&queue, 0..=head).await;
}

#[tokio::test]
async fn a_restart_is_no_other_history() {
    let mut cluster = Cluster::create().await;
    let database = Arc::new(TestDatabase::at(&cluster.url("discussions")));
    let mut story = Story::begin(database.clone(), None).await;
    let head = story.app.settled().await;
    cluster.crash();
    cluster.start().await;
    story.is_ready().await;
    story.app.stop().await;
    cluster.stop();
    cluster.start().await;
    story.app = node(&database, None).await;
    assert_eq!(story.app.settled().await, head);
    assert_eq!(story.article, 1);
}

#[tokio::test]
async fn a_node_is_not_ready_while_it_is_in_another_history() {
    let database = Arc::new(TestDatabase::create().await);
    let story = Story::begin(database, None).await;
    story.is_ready().await;
    // The lock keeps the relay and the feed away meanwhile.
    let mut holding = story.app.pool.begin().await.unwrap();
    holding.execute("lock table event_head in share row exclusive mode").await.unwrap();
    holding.execute("update event_head set fingerprint = 'of another database'").await.unwrap();
    // A trigger and no rule: PostgreSQL would keep the plan of an update that a rule has made nothing, also after the rule is gone.
    holding
        .execute(
            "create function change_nothing() returns trigger language plpgsql as 'begin return null; end';
             create trigger no_leap before update on event_head for each row execute function change_nothing()",
        )
        .await
        .unwrap();
    holding.commit().await.unwrap();
    story.app.anonymous().get("/health/ready").await.refused(503, "unavailable");
    story.app.sql("drop trigger no_leap on event_head").await;
    story.is_ready().await;
    assert!(story.app.state.realtime.hub.head().get() > REGION);
}

#[tokio::test]
async fn an_older_schema_gives_a_clear_error() {
    let database = TestDatabase::create_empty().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for migration in discussions::db::migrator().iter().filter(|migration| migration.version < 7) {
        connection.execute(sqlx::raw_sql(&migration.sql)).await.unwrap();
    }
    let mut config = crate::app::config(&database.url);
    config.skip_migrations = true;
    let Err(error) = discussions::app::start(config, tokio::runtime::Handle::current()).await else {
        panic!("it starts");
    };
    assert!(error.to_string().contains("the schema is older than this program"), "{error:?}");
}
