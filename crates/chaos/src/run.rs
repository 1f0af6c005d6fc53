//! One run: starts everything, makes faults under load, and then compares every client's history with the order of events.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use sqlx::Row;
use tokio::time::{sleep, timeout};

use crate::{
    checker::{self, Ballot, Comment, Contents, Discussion, Truth, Votes},
    clients::{Clients, Directory},
    cluster::Cluster,
    database,
    faults::{FaultPlan, Faults},
    kind::Kind,
    report::{Report, Rolling},
};

/// After the last fault everything must work again within this time.
const HEALING: Duration = Duration::from_secs(30);

/// Runs `plan` against the program `server`. The logs are removed unless the report complains or `keep_logs` is set.
pub(crate) async fn run(plan: FaultPlan, server: &Path, keep_logs: bool) -> Result<Report> {
    let fails_over = plan.kinds.contains(&Kind::FailedOver);
    let mut cluster = Cluster::start(server, fails_over).await?;
    let directory = Directory::create(&cluster.pool).await?;
    let mut clients = Clients::start(&cluster, &directory, plan.seed)?;
    until_busy(&clients).await?;

    let rolling = rolling_restart(&mut cluster, &clients).await?;
    let began = Instant::now();
    let mut outcome = Faults::new(&mut cluster, &mut clients, plan.seed).run(&plan).await?;
    let lasted = began.elapsed();

    clients.quiet().await?;
    for node in &cluster.nodes {
        node.ready(&cluster.http, HEALING).await?;
    }
    let head = settled(&cluster).await?;
    outcome.left_open.extend(cluster.open_transactions(Utc::now() - Duration::from_secs(1)).await?);
    let seen = clients.finish(head, HEALING).await?;
    whole_again(&cluster, head).await?;
    let truth = truth(&mut cluster).await?;
    let verdict = checker::check(&truth, &seen.writes, &seen.histories);
    let report = Report { plan, lasted, rolling, outcome, truth, seen, verdict };
    if report.complaints().is_empty() && !keep_logs {
        cluster.remove().await?;
    } else {
        println!("what the processes logged is in {:?}", cluster.dir);
    }
    Ok(report)
}

async fn until_busy(clients: &Clients) -> Result<()> {
    let busy = async {
        while clients.writes() < 20 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(HEALING, busy).await.context("the clients did not start in time")
}

/// Restarts the nodes one after the other, twice. Each restart begins when the node before is ready again.
async fn rolling_restart(cluster: &mut Cluster, clients: &Clients) -> Result<Rolling> {
    let (mut restarts, mut slowest) = (0, Duration::ZERO);
    for _ in 0..2 {
        for node in &mut cluster.nodes {
            let began = Instant::now();
            node.end("TERM").await?;
            slowest = slowest.max(began.elapsed());
            node.start()?;
            node.ready(&cluster.http, HEALING).await?;
            restarts += 1;
        }
    }
    // Wait for requests that are still under way.
    let writes = clients.writes();
    let more = async {
        while clients.writes() < writes + 20 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(HEALING, more).await.context("the clients did not continue in time")?;
    let mut errors = clients.errors();
    // A client without a community cannot register.
    errors.retain(|error, _| !error.contains("no_communities"));
    Ok(Rolling { restarts, slowest, writes, errors })
}

/// Waits until all committed events have numbers and no new ones come. Returns the head.
async fn settled(cluster: &Cluster) -> Result<i64> {
    let sql = "select last_assigned, (select count(*) from outbox where event_id is null) from event_head";
    let (mut last, mut since) = (-1, Instant::now());
    for _ in 0..600 {
        if let Ok((head, waiting)) = sqlx::query_as::<_, (i64, i64)>(sql).fetch_one(&cluster.pool).await {
            if head != last || waiting > 0 {
                (last, since) = (head, Instant::now());
            } else if since.elapsed() > Duration::from_millis(1_500) {
                return Ok(head);
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the outbox does not become empty")
}

/// Waits until Redis has the newest event again, and every node reads it there.
async fn whole_again(cluster: &Cluster, head: i64) -> Result<()> {
    let expected = format!("{head}-0");
    let whole = async {
        loop {
            let newest = newest_entry(cluster).await.unwrap_or_default();
            let mut following = 0;
            for node in &cluster.nodes {
                let metrics =
                    async { cluster.http.get(format!("http://{}/metrics", node.metrics)).send().await?.text().await };
                let metrics = metrics.await.unwrap_or_default();
                let has = |line: &str| metrics.lines().any(|other| other == line);
                if has("discussions_feed_on_redis 1") && has(&format!("discussions_head {head}")) {
                    following += 1;
                }
            }
            if newest == expected && following == cluster.nodes.len() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(HEALING, whole).await.context("Redis was not filled again in time, or a node did not return to it")
}

async fn newest_entry(cluster: &Cluster) -> redis::RedisResult<String> {
    let mut connection = redis::Client::open(cluster.redis.url.as_str())?.get_multiplexed_async_connection().await?;
    // Each history of events has its own stream; the newest history has the highest numbers.
    let streams: Vec<String> = redis::cmd("KEYS").arg("discussions:events:*").query_async(&mut connection).await?;
    let mut newest = (0, String::new());
    for stream in streams {
        let mut read = redis::cmd("XREVRANGE");
        read.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        let entries: redis::streams::StreamRangeReply = read.query_async(&mut connection).await?;
        for entry in entries.ids {
            let number = entry.id.split('-').next().and_then(|number| number.parse::<i64>().ok()).unwrap_or_default();
            newest = newest.max((number, entry.id));
        }
    }
    Ok(newest.1)
}

async fn truth(cluster: &mut Cluster) -> Result<Truth> {
    let failovers = cluster.database.failovers().await?;
    let mut connection = cluster.pool.acquire().await?;
    let order = database::events(&mut connection, 0).await?;
    ensure!(!order.is_empty(), "nothing was written");
    let mut tables = Contents::default();
    // The sums come from the votes themselves, and not from the columns that every answer shows.
    let sql = "select id, community_id, topic, text, is_resolved, comment_count, deleted_at is null as live,
                      coalesce(mentioned_users, '{}') as mentions,
                      (select count(*) from discussion_votes v where v.discussion_id = d.id and v.value = 1) as up,
                      (select count(*) from discussion_votes v where v.discussion_id = d.id and v.value = -1) as down
               from discussions d";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let live: bool = row.try_get("live")?;
        let discussion = Discussion {
            community: row.try_get("community_id")?,
            topic: live.then_some(row.try_get("topic")?),
            text: live.then_some(row.try_get("text")?),
            mentions: row.try_get::<Vec<i64>, _>("mentions")?.into_iter().collect(),
            is_resolved: row.try_get("is_resolved")?,
            comment_count: row.try_get("comment_count")?,
            votes: Votes { up: row.try_get("up")?, down: row.try_get("down")? },
        };
        tables.discussions.insert(row.try_get("id")?, discussion);
    }
    let sql = "select id, discussion_id, text, deleted_at is null as live, coalesce(mentioned_users, '{}') as mentions,
                      (select count(*) from comment_votes v where v.comment_id = k.id and v.value = 1) as up,
                      (select count(*) from comment_votes v where v.comment_id = k.id and v.value = -1) as down
               from comments k";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let live: bool = row.try_get("live")?;
        let comment = Comment {
            discussion: row.try_get("discussion_id")?,
            text: live.then_some(row.try_get("text")?),
            mentions: row.try_get::<Vec<i64>, _>("mentions")?.into_iter().collect(),
            votes: Votes { up: row.try_get("up")?, down: row.try_get("down")? },
        };
        tables.comments.insert(row.try_get("id")?, comment);
    }
    let sql = "select user_id, discussion_id, null::bigint as comment_id, value::bigint from discussion_votes
               union all select user_id, null, comment_id, value from comment_votes";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let ballot = Ballot {
            user: row.try_get("user_id")?,
            discussion: row.try_get("discussion_id")?,
            comment: row.try_get("comment_id")?,
        };
        tables.ballots.insert(ballot, row.try_get("value")?);
    }
    let sql = "select user_id, discussion_id,
                      (select coalesce(json_agg(json_build_array(lower(ids), upper(ids) - 1) order by ids), '[]')
                       from unnest(comments) as ids) as read
               from read_states";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        tables.read.insert((row.try_get("user_id")?, row.try_get("discussion_id")?), row.try_get("read")?);
    }
    let sql = "select id, user_id, is_read from notifications where user_id is not null";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        tables.notifications.insert(row.try_get("id")?, (row.try_get("user_id")?, row.try_get("is_read")?));
    }
    let sql = "select user_id, community_id, article_id, null::bigint as discussion_id, level from article_follows
               union all
               select f.user_id, d.community_id, d.article_id, d.id, f.level
               from discussion_follows f join discussions d on d.id = f.discussion_id";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let (user, community) = (row.try_get("user_id")?, row.try_get("community_id")?);
        let key = (user, community, row.try_get("article_id")?, row.try_get("discussion_id")?);
        tables.follows.insert(key, row.try_get("level")?);
    }
    for row in sqlx::query("select community_id, article_id, revision, text from summaries")
        .fetch_all(&mut *connection)
        .await?
    {
        let key = (row.try_get("community_id")?, row.try_get("article_id")?);
        tables.summaries.insert(key, (row.try_get("revision")?, row.try_get("text")?));
    }
    Ok(Truth { order, failovers, tables })
}
