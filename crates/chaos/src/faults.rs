//! Makes faults according to a seeded plan, and heals each after a while.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    clients::Clients,
    cluster::{Cluster, NODES},
    kind::Kind,
    link::{Flow, Old},
};

/// A transaction that is open for this long counts as left open.
const TRANSACTION_PATIENCE: Duration = Duration::from_secs(2);
/// In a run of single faults: how long to wait until a fault can be made, and until every client has got an answer after it.
const PATIENCE: Duration = Duration::from_secs(40);
/// In a run of single faults: the additional time after each fault in which silences are measured.
const REST: Duration = Duration::from_secs(3);

/// A fault that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub kind: Kind,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

/// All faults that were made, and their effects that are visible at once.
#[derive(Default)]
pub(crate) struct Outcome {
    pub made: Vec<Made>,
    /// The number of nodes that ended by themselves. They were started again, as a supervisor does.
    pub ended: usize,
    /// Transactions that were left open while or after clients hung up, by process and start.
    pub left_open: HashSet<(i32, DateTime<Utc>)>,
}

enum Heal {
    StartNode(usize),
    OpenRedis(usize),
    OpenDatabase(usize),
    StartRedis,
    StartPostgres,
    FailOver(Old),
    /// Look for open transactions. Those of the clients that hung up should have ended by then.
    LookForTransactions,
    /// The fault ends by itself.
    Nothing,
}

/// Which faults to make, and for how long.
pub(crate) struct FaultPlan {
    pub seed: u64,
    pub lasting: Duration,
    pub kinds: Vec<Kind>,
    /// The least number of faults of each kind.
    pub each: usize,
    /// The least number of faults in all.
    pub total: usize,
    /// Make one fault after the other, each only when everything works again.
    pub alone: bool,
}

/// Makes and heals faults.
pub(crate) struct Faults<'a> {
    cluster: &'a mut Cluster,
    clients: &'a mut Clients,
    random: StdRng,
    healing: Vec<(Instant, Heal)>,
    outcome: Outcome,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(cluster: &'a mut Cluster, clients: &'a mut Clients, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { cluster, clients, random, healing: Vec::new(), outcome: Outcome::default() }
    }

    /// Makes the planned faults, and heals all of them at the end.
    pub(crate) async fn run(mut self, plan: &FaultPlan) -> Result<Outcome> {
        if plan.alone {
            self.run_alone(plan).await?;
        } else {
            self.run_together(plan).await?;
        }
        let rest = self.healing.iter().map(|(at, _)| *at).max().unwrap_or_else(Instant::now);
        self.heal(rest).await?;
        self.cluster.reachable().await?;
        self.supervise().await?;
        Ok(self.outcome)
    }

    /// Makes a fault every few seconds, up to two at a time.
    async fn run_together(&mut self, plan: &FaultPlan) -> Result<()> {
        let begin = Instant::now();
        let mut deck: Vec<Kind> = Vec::new();
        let mut next = begin;
        while begin.elapsed() < plan.lasting || !self.enough(plan) {
            ensure!(
                begin.elapsed() < plan.lasting * 2 + Duration::from_secs(60),
                "not all kinds of faults could be made in time"
            );
            let healed = self.healing.iter().map(|(at, _)| *at).min().unwrap_or(next);
            sleep_until(next.min(healed).min(Instant::now() + Duration::from_millis(200))).await;
            self.heal(Instant::now()).await?;
            self.supervise().await?;
            if Instant::now() < next {
                continue;
            }
            if deck.is_empty() {
                deck.clone_from(&plan.kinds);
                deck.shuffle(&mut self.random);
            }
            // A fault that cannot be made now is made later.
            let mut done = None;
            for (index, kind) in deck.iter().enumerate().rev() {
                if self.make(*kind).await? {
                    done = Some(index);
                    break;
                }
            }
            let pause = match done {
                Some(index) => {
                    deck.remove(index);
                    self.random.random_range(1_500..4_500)
                }
                None => 200,
            };
            next = Instant::now() + Duration::from_millis(pause);
        }
        Ok(())
    }

    /// Makes single faults. The next one comes when everything works again and every client has got an answer.
    async fn run_alone(&mut self, plan: &FaultPlan) -> Result<()> {
        for kind in plan.kinds.repeat(plan.each) {
            let made = async {
                while !self.make(kind).await? {
                    sleep(Duration::from_millis(200)).await;
                    self.supervise().await?;
                }
                Ok::<_, anyhow::Error>(())
            };
            timeout(PATIENCE, made).await.with_context(|| format!("alone, no: {}", kind.description()))??;
            let over = self.healing.iter().map(|(at, _)| *at).max().unwrap_or_else(Instant::now);
            while Instant::now() < over {
                sleep_until(over.min(Instant::now() + Duration::from_millis(200))).await;
                self.supervise().await?;
            }
            self.heal(over).await?;
            if kind.ends_with_postgres() {
                self.cluster.reachable().await?;
            }
            let over = Instant::now();
            if let Some(made) = self.outcome.made.last_mut() {
                made.to = Utc::now();
            }
            // If a client gets no answer within this time, the report complains about its silence.
            while !self.clients.all_heard(over) && over.elapsed() < PATIENCE {
                sleep(Duration::from_millis(50)).await;
                self.supervise().await?;
            }
            for node in &self.cluster.nodes {
                node.ready(&self.cluster.http, PATIENCE).await?;
            }
            // Clients that must catch up load their lists now and poll again.
            sleep(REST).await;
        }
        Ok(())
    }

    fn enough(&self, plan: &FaultPlan) -> bool {
        let made = &self.outcome.made;
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for made in made {
            *counts.entry(made.kind).or_default() += 1;
        }
        made.len() >= plan.total && plan.kinds.iter().all(|kind| counts.get(kind).is_some_and(|n| *n >= plan.each))
    }

    /// Makes a fault. Returns false if it cannot be made now.
    async fn make(&mut self, kind: Kind) -> Result<bool> {
        if self.healing.len() >= 2 {
            return Ok(false);
        }
        let (from, to) = kind.lasts();
        let lasting = Duration::from_millis(self.random.random_range(from..=to));
        let Some(heal) = self.break_it(kind, lasting).await? else { return Ok(false) };
        let now = Utc::now();
        println!("{}  {} for {:.1} s", now.format("%T%.3f"), kind.description(), lasting.as_secs_f64());
        self.outcome.made.push(Made { kind, from: now, to: now + lasting });
        let patience = if kind == Kind::HungUp { TRANSACTION_PATIENCE } else { Duration::ZERO };
        self.healing.push((Instant::now() + lasting + patience, heal));
        Ok(true)
    }

    /// Makes a fault and returns how to heal it. None if it cannot be made now.
    async fn break_it(&mut self, kind: Kind, lasting: Duration) -> Result<Option<Heal>> {
        Ok(Some(match kind {
            Kind::NodeKilled | Kind::NodePaused | Kind::RedisCut | Kind::RedisSilent | Kind::PostgresSilent => {
                let node = self.random.random_range(0..NODES);
                if !self.cluster.nodes[node].is_whole() {
                    return Ok(None);
                }
                self.break_node(kind, node, lasting).await?
            }
            Kind::LeaderKilled | Kind::LeaderPaused => match self.cluster.leader().await {
                Some(node) if self.cluster.nodes[node].is_whole() => self.break_node(kind, node, lasting).await?,
                _ => return Ok(None),
            },
            Kind::RedisKilled | Kind::RedisFlushed | Kind::RedisPaused => {
                if !self.cluster.redis.is_whole()? {
                    return Ok(None);
                }
                // An error means that Redis is still starting.
                return Ok(self.break_redis(kind, lasting).await.ok());
            }
            Kind::PostgresKilled | Kind::PostgresRestarted | Kind::PostgresPaused => {
                let fails_over = self.healing.iter().any(|(_, heal)| matches!(heal, Heal::FailOver(_)));
                let primary = &mut self.cluster.database.primary;
                if fails_over || !primary.is_whole()? {
                    return Ok(None);
                }
                match kind {
                    Kind::PostgresKilled => primary.end("KILL").await?,
                    Kind::PostgresRestarted => primary.end("INT").await?,
                    _ => primary.pause(lasting)?,
                }
                if kind == Kind::PostgresPaused { Heal::Nothing } else { Heal::StartPostgres }
            }
            Kind::FailedOver => {
                let nodes_reach_it = self.cluster.nodes.iter().all(|node| node.database.is_open());
                if !nodes_reach_it || !self.cluster.database.can_fail_over().await? {
                    return Ok(None);
                }
                self.cluster.database.cut_replication();
                Heal::FailOver(if self.random.random_bool(0.5) { Old::Closed } else { Old::Abandoned })
            }
            Kind::HungUp => {
                self.clients.hang_up(lasting)?;
                Heal::LookForTransactions
            }
        }))
    }

    async fn break_node(&mut self, kind: Kind, index: usize, lasting: Duration) -> Result<Heal> {
        let node = &mut self.cluster.nodes[index];
        match kind {
            Kind::NodeKilled | Kind::LeaderKilled => {
                node.end("KILL").await?;
                return Ok(Heal::StartNode(index));
            }
            Kind::NodePaused | Kind::LeaderPaused => node.pause(lasting)?,
            Kind::PostgresSilent => {
                node.database.set(Flow::Silent);
                return Ok(Heal::OpenDatabase(index));
            }
            _ => {
                node.redis.set(if kind == Kind::RedisCut { Flow::Cut } else { Flow::Silent });
                return Ok(Heal::OpenRedis(index));
            }
        }
        Ok(Heal::Nothing)
    }

    async fn break_redis(&mut self, kind: Kind, lasting: Duration) -> Result<Heal> {
        let redis = &mut self.cluster.redis;
        match kind {
            Kind::RedisKilled => {
                redis.end("KILL").await?;
                return Ok(Heal::StartRedis);
            }
            Kind::RedisPaused => redis.pause(lasting)?,
            _ => {
                let client = redis::Client::open(redis.url.as_str())?;
                let mut connection = client.get_multiplexed_async_connection().await?;
                redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await?;
            }
        }
        Ok(Heal::Nothing)
    }

    /// Heals the faults that end by `now`.
    async fn heal(&mut self, now: Instant) -> Result<()> {
        let due = |(at, _): &mut (Instant, Heal)| *at <= now;
        for (at, heal) in self.healing.extract_if(.., due).collect::<Vec<_>>() {
            sleep_until(at).await;
            match heal {
                Heal::StartNode(node) => self.cluster.nodes[node].start()?,
                Heal::OpenRedis(node) => self.cluster.nodes[node].redis.set(Flow::Open),
                Heal::OpenDatabase(node) => self.cluster.nodes[node].database.set(Flow::Open),
                Heal::StartRedis => self.cluster.redis.start()?,
                Heal::StartPostgres => self.cluster.database.primary.start()?,
                Heal::FailOver(old) => self.fail_over(old).await?,
                Heal::LookForTransactions => self.look_for_transactions().await?,
                Heal::Nothing => {}
            }
        }
        Ok(())
    }

    async fn fail_over(&mut self, old: Old) -> Result<()> {
        self.cluster.fail_over(old).await?;
        self.clients.failed_over();
        let now = Utc::now();
        println!("{}  the replica has taken over; the old connections are {old:?}", now.format("%T%.3f"));
        if let Some(made) = self.outcome.made.iter_mut().rfind(|made| made.kind == Kind::FailedOver) {
            made.to = now;
        }
        Ok(())
    }

    /// Records transactions that are open for too long. A node that is paused or cut off also leaves transactions open, until the
    /// time limit of idle transactions ends them. So it does not look during other faults.
    async fn look_for_transactions(&mut self) -> Result<()> {
        let now = Utc::now();
        let is_other = |made: &Made| made.kind != Kind::HungUp && made.to + Duration::from_secs(11) > now;
        if !self.outcome.made.iter().any(is_other) {
            self.outcome.left_open.extend(self.cluster.open_transactions(now - TRANSACTION_PATIENCE).await?);
        }
        Ok(())
    }

    /// Starts processes that ended by themselves. A node that did so is recorded. PostgreSQL may do so if processes of the killed
    /// server were still running, which is normal.
    async fn supervise(&mut self) -> Result<()> {
        for (index, node) in self.cluster.nodes.iter_mut().enumerate() {
            if node.ended_by_itself()? {
                println!("{}  node {index} ended by itself; starting it again", Utc::now().format("%T%.3f"));
                self.outcome.ended += 1;
                node.start()?;
            }
        }
        let is_down = self.healing.iter().any(|(_, heal)| matches!(heal, Heal::StartPostgres));
        if !is_down && !self.cluster.database.primary.runs()? {
            self.cluster.database.primary.start()?;
        }
        let is_down = self.healing.iter().any(|(_, heal)| matches!(heal, Heal::StartRedis));
        if !is_down && !self.cluster.redis.runs()? {
            self.cluster.redis.start()?;
        }
        if self.healing.iter().any(|(_, heal)| matches!(heal, Heal::LookForTransactions)) {
            self.look_for_transactions().await?;
        }
        self.cluster.database.supervise().await
    }
}
