//! PostgreSQL: a primary, and an asynchronous streaming replica that takes over when the primary dies.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use chrono::Utc;
use serde_json::Value;
use sqlx::{Connection, PgConnection, Row, postgres::PgRow};
use tokio::{
    process::Command,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    checker::{Event, Failover},
    link::{Flow, Link, Old},
    process::{Service, repository},
};

/// How long a process may take to start, or a replica to be built.
const PATIENCE: Duration = Duration::from_secs(40);
/// A jump of the numbers by at least this much is a leap, and a smaller one a gap.
pub(crate) const LEAST_LEAP: i64 = 1 << 31;

/// The database of the run.
pub(crate) struct Database {
    pub primary: Service,
    replica: Replica,
    /// The link from the replica to the primary.
    replication: Link,
    failovers: Vec<Failover>,
}

enum Replica {
    /// The run has no replica.
    None,
    Streaming(Box<Service>),
    /// The dead primary is being read and made a replica of the new one. The result says what was lost.
    Building(JoinHandle<Result<(Service, Dead)>>),
}

/// The data of a dead primary that the new one lacks.
struct Dead {
    numbered: Vec<Event>,
    lost: Vec<Value>,
}

/// The data of a promoted replica, before anyone writes to it.
struct Kept {
    head: i64,
    waiting: HashSet<i64>,
}

impl Database {
    /// Starts the primary.
    pub(crate) async fn start(dir: &Path) -> Result<Self> {
        let mut primary = Service::prepare("postgres", dir).await?;
        primary.start()?;
        let replication = Link::start(primary.addr).await?;
        Ok(Self { primary, replica: Replica::None, replication, failovers: Vec::new() })
    }

    /// Builds the replica.
    pub(crate) async fn with_replica(&mut self, dir: &Path) -> Result<()> {
        wait_for(&self.primary.url).await?;
        let replica = build(dir.join("postgres-2"), self.replication_url()).await?;
        self.replica = Replica::Streaming(Box::new(replica));
        Ok(())
    }

    fn replication_url(&self) -> String {
        self.primary.url.replace(&self.primary.addr.to_string(), &self.replication.addr.to_string())
    }

    /// Whether the replica has everything that the primary has, except for what is still being sent.
    pub(crate) async fn can_fail_over(&mut self) -> Result<bool> {
        let Replica::Streaming(replica) = &mut self.replica else { return Ok(false) };
        let has_leaped = self.failovers.last().is_none_or(|last| last.base.is_some());
        if !has_leaped || !replica.runs()? || !self.primary.is_whole()? {
            return Ok(false);
        }
        let asked = timeout(Duration::from_secs(1), async {
            let mut connection = PgConnection::connect(&self.primary.url).await?;
            let sql = "select count(*) from pg_stat_replication where state = 'streaming'";
            sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await
        });
        Ok(asked.await.is_ok_and(|count| count.is_ok_and(|count| count > 0)))
    }

    /// From now on no commit reaches the replica.
    pub(crate) fn cut_replication(&self) {
        self.replication.set(Flow::Cut);
    }

    /// Kills the primary, promotes the replica, and redirects `links` to it. The links are the address that clients use.
    pub(crate) async fn fail_over(&mut self, links: &[&Link], old: Old) -> Result<()> {
        let from = Utc::now();
        if old == Old::Abandoned {
            // The clients must not notice the primary's end.
            links.iter().for_each(|link| link.set(Flow::Silent));
        }
        self.primary.end("KILL").await?;
        let Replica::Streaming(replica) = std::mem::replace(&mut self.replica, Replica::None) else {
            bail!("there is no replica");
        };
        let dead = std::mem::replace(&mut self.primary, *replica);
        let mut connection = PgConnection::connect(&self.primary.url).await?;
        let promoted: bool = sqlx::query_scalar("select pg_promote(true, 20)").fetch_one(&mut connection).await?;
        ensure!(promoted, "the replica was not promoted");
        let kept = Kept::read(&mut connection).await?;
        self.failovers.push(Failover { from, to: Utc::now(), kept: kept.head, ..Failover::default() });
        for link in links {
            link.redirect(self.primary.addr, old);
        }
        self.replication.redirect(self.primary.addr, Old::Closed);
        let url = self.replication_url();
        self.replica = Replica::Building(tokio::spawn(async move {
            let mut dead = dead;
            let lost = Dead::read(&mut dead, &kept).await?;
            Ok((build(dead.dir.clone(), url).await?, lost))
        }));
        Ok(())
    }

    /// Starts to use the new replica when it is built, and records where the numbering continued. Call it regularly.
    pub(crate) async fn supervise(&mut self) -> Result<()> {
        if let Some(failover) = self.failovers.last_mut()
            && failover.base.is_none()
        {
            // The new primary may be paused or killed at this moment.
            let base = timeout(Duration::from_millis(500), base(&self.primary.url, failover.kept)).await;
            failover.base = base.ok().and_then(Result::ok).flatten();
        }
        match &mut self.replica {
            Replica::Building(building) if building.is_finished() => {
                let (replica, dead) = building.await??;
                if let Some(failover) = self.failovers.last_mut() {
                    (failover.numbered, failover.lost) = (dead.numbered, dead.lost);
                }
                self.replica = Replica::Streaming(Box::new(replica));
            }
            Replica::Streaming(replica) => {
                if !replica.runs()? {
                    replica.start()?;
                }
            }
            Replica::Building(_) | Replica::None => {}
        }
        Ok(())
    }

    /// What the failovers lost. Waits until the last dead primary has been read.
    pub(crate) async fn failovers(&mut self) -> Result<Vec<Failover>> {
        self.supervise().await?;
        timeout(PATIENCE, async {
            while matches!(self.replica, Replica::Building(_)) {
                self.supervise().await?;
                sleep(Duration::from_millis(50)).await;
            }
            Ok::<_, anyhow::Error>(())
        })
        .await
        .context("the new replica was not built in time")??;
        Ok(self.failovers.clone())
    }

    pub(crate) async fn end(&mut self) -> Result<()> {
        if let Replica::Streaming(replica) = &mut self.replica {
            replica.end("KILL").await?;
        }
        self.primary.end("INT").await
    }
}

impl Kept {
    async fn read(promoted: &mut PgConnection) -> Result<Self> {
        let head = sqlx::query_scalar("select last_assigned from event_head").fetch_one(&mut *promoted).await?;
        let sql = "select id from outbox where event_id is null";
        let waiting: Vec<i64> = sqlx::query_scalar(sql).fetch_all(promoted).await?;
        Ok(Self { head, waiting: waiting.into_iter().collect() })
    }
}

impl Dead {
    /// Starts the dead primary once more, at an address that nobody else knows, and reads what it did not replicate.
    async fn read(primary: &mut Service, kept: &Kept) -> Result<Self> {
        // It does not start while processes of the killed server still run, so try again.
        let connecting = async {
            loop {
                if !primary.runs()? {
                    primary.start()?;
                }
                if let Ok(connection) = PgConnection::connect(&primary.url).await {
                    return Ok::<_, anyhow::Error>(connection);
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        let mut connection = timeout(PATIENCE, connecting).await.context("the dead primary cannot be read")??;
        let numbered = events(&mut connection, kept.head).await?;
        let sql = "select id, payload from outbox where event_id > $1 or event_id is null";
        let rows = sqlx::query(sql).bind(kept.head).fetch_all(&mut connection).await?;
        let mut lost = Vec::new();
        for row in rows {
            if !kept.waiting.contains(&row.try_get("id")?) {
                lost.push(row.try_get("payload")?);
            }
        }
        connection.close().await?;
        primary.end("KILL").await?;
        Ok(Self { numbered, lost })
    }
}

/// The numbered events after `last`, in order.
pub(crate) async fn events(connection: &mut PgConnection, last: i64) -> Result<Vec<Event>> {
    let sql = "select event_id, community_id, user_id, payload, created_at from outbox
               where event_id > $1 order by event_id";
    let rows = sqlx::query(sql).bind(last).fetch_all(connection).await?;
    let event = |row: PgRow| -> sqlx::Result<Event> {
        let event_id = row.try_get("event_id")?;
        let mut content: Value = row.try_get("payload")?;
        content["event_id"] = Value::from(event_id);
        let (community, user) = (row.try_get("community_id")?, row.try_get("user_id")?);
        Ok(Event { event_id, community, user, content, written_at: row.try_get("created_at")? })
    };
    Ok(rows.into_iter().map(event).collect::<sqlx::Result<Vec<Event>>>()?)
}

/// The number from which the numbering continued after a failover that kept everything up to `kept`. None if it has not leaped yet.
async fn base(url: &str, kept: i64) -> Result<Option<i64>> {
    let mut connection = PgConnection::connect(url).await?;
    let sql = "select last_assigned, (select min(event_id) from outbox where event_id > $1) from event_head";
    let (head, first): (i64, Option<i64>) = sqlx::query_as(sql).bind(kept).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(Some(first.map_or(head, |first| first - 1)).filter(|base| base - kept >= LEAST_LEAP))
}

/// Waits until the PostgreSQL at `url` answers.
async fn wait_for(url: &str) -> Result<()> {
    let answering = async {
        while PgConnection::connect(url).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, answering).await.context("PostgreSQL does not start")
}

/// Makes a replica of the primary at `url` in `dir`, and starts it.
async fn build(dir: PathBuf, url: String) -> Result<Service> {
    let script = repository().join("scripts/postgres-replica.sh");
    let building = async {
        // The primary may be killed meanwhile. The copy is then useless, so try again.
        while !Command::new(&script).arg(&dir).arg(&url).kill_on_drop(true).status().await?.success() {
            sleep(Duration::from_millis(500)).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    timeout(PATIENCE, building).await.context("no replica could be built")??;
    let mut replica = Service::at("postgres", dir)?;
    replica.start()?;
    wait_for(&replica.url).await?;
    Ok(replica)
}
