//! The faults: one every few seconds, by a seeded plan, each healed after a while.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::time::{Instant, sleep_until};

use crate::{
    cluster::{Cluster, NODES},
    network::Flow,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    NodeKilled,
    LeaderKilled,
    NodePaused,
    LeaderPaused,
    RedisKilled,
    RedisFlushed,
    RedisPaused,
    RedisCut,
    RedisSilent,
    PostgresKilled,
    PostgresRestarted,
    PostgresPaused,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::NodeKilled,
        Self::LeaderKilled,
        Self::NodePaused,
        Self::LeaderPaused,
        Self::RedisKilled,
        Self::RedisFlushed,
        Self::RedisPaused,
        Self::RedisCut,
        Self::RedisSilent,
        Self::PostgresKilled,
        Self::PostgresRestarted,
        Self::PostgresPaused,
    ];

    pub fn words(self) -> &'static str {
        match self {
            Self::NodeKilled => "a node, kill -9",
            Self::LeaderKilled => "the relay's leader, kill -9",
            Self::NodePaused => "a node paused (SIGSTOP)",
            Self::LeaderPaused => "the relay's leader paused (SIGSTOP)",
            Self::RedisKilled => "Redis, kill -9 (comes back empty)",
            Self::RedisFlushed => "Redis, FLUSHALL",
            Self::RedisPaused => "Redis paused (SIGSTOP)",
            Self::RedisCut => "a node cut off from Redis, connections closed",
            Self::RedisSilent => "a node cut off from Redis, packets lost",
            Self::PostgresKilled => "PostgreSQL, kill -9 of the postmaster",
            Self::PostgresRestarted => "PostgreSQL, restarted (fast shutdown)",
            Self::PostgresPaused => "PostgreSQL paused (SIGSTOP, all processes)",
        }
    }

    /// How long it lasts, in milliseconds, from and to.
    fn lasts(self) -> (u64, u64) {
        match self {
            Self::RedisFlushed => (0, 1),
            Self::NodeKilled | Self::LeaderKilled => (200, 3_000),
            Self::NodePaused | Self::LeaderPaused => (1_000, 6_000),
            Self::RedisKilled | Self::RedisPaused | Self::RedisCut | Self::RedisSilent => (200, 5_000),
            Self::PostgresKilled | Self::PostgresRestarted => (0, 2_000),
            Self::PostgresPaused => (500, 4_000),
        }
    }
}

/// A fault that was made.
#[derive(Clone, Debug)]
pub struct Made {
    pub kind: Kind,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

enum Heal {
    StartNode(usize),
    OpenLink(usize),
    StartRedis,
    StartPostgres,
    /// Time alone heals it.
    Nothing,
}

/// What to break, and for how long.
pub struct Plan {
    pub seed: u64,
    pub lasting: Duration,
    /// Each kind at least so often.
    pub each: usize,
    /// At least so many in all.
    pub total: usize,
}

/// Makes faults, and heals them.
pub struct Faults<'a> {
    cluster: &'a mut Cluster,
    random: StdRng,
    healing: Vec<(Instant, Heal)>,
    made: Vec<Made>,
    /// Nodes that ended though nobody ended them, with the faults that were on.
    ended: usize,
}

impl<'a> Faults<'a> {
    pub fn new(cluster: &'a mut Cluster, seed: u64) -> Self {
        Self { cluster, random: StdRng::seed_from_u64(seed), healing: Vec::new(), made: Vec::new(), ended: 0 }
    }

    /// Breaks things as planned, and heals them all in the end. Returns what was broken, and how many nodes ended by
    /// themselves (and were started again, as a supervisor does).
    pub async fn run(mut self, plan: &Plan) -> Result<(Vec<Made>, usize)> {
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
            self.supervise()?;
            if Instant::now() < next {
                continue;
            }
            if deck.is_empty() {
                deck = Kind::ALL.to_vec();
                deck.shuffle(&mut self.random);
            }
            // One that cannot be made now comes later.
            let mut done = None;
            for (place, kind) in deck.iter().enumerate().rev() {
                if self.make(*kind).await? {
                    done = Some(place);
                    break;
                }
            }
            let pause = match done {
                Some(place) => {
                    deck.remove(place);
                    self.random.random_range(1_500..4_500)
                }
                None => 200,
            };
            next = Instant::now() + Duration::from_millis(pause);
        }
        let rest = self.healing.iter().map(|(at, _)| *at).max().unwrap_or(begin);
        self.heal(rest).await?;
        self.cluster.reachable().await?;
        self.supervise()?;
        Ok((self.made, self.ended))
    }

    fn enough(&self, plan: &Plan) -> bool {
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for made in &self.made {
            *counts.entry(made.kind).or_default() += 1;
        }
        self.made.len() >= plan.total && Kind::ALL.iter().all(|kind| counts.get(kind).is_some_and(|n| *n >= plan.each))
    }

    /// Makes a fault; false where it cannot be made now.
    async fn make(&mut self, kind: Kind) -> Result<bool> {
        if self.healing.len() >= 2 {
            return Ok(false);
        }
        let (from, to) = kind.lasts();
        let lasting = Duration::from_millis(self.random.random_range(from..=to));
        let heal = match kind {
            Kind::NodeKilled | Kind::NodePaused | Kind::RedisCut | Kind::RedisSilent => {
                let node = self.random.random_range(0..NODES);
                if !self.cluster.nodes[node].is_whole() {
                    return Ok(false);
                }
                self.break_node(kind, node, lasting).await?
            }
            Kind::LeaderKilled | Kind::LeaderPaused => match self.cluster.leader().await {
                Some(node) if self.cluster.nodes[node].is_whole() => self.break_node(kind, node, lasting).await?,
                _ => return Ok(false),
            },
            Kind::RedisKilled | Kind::RedisFlushed | Kind::RedisPaused => {
                if !self.cluster.redis.is_whole()? {
                    return Ok(false);
                }
                match self.break_redis(kind, lasting).await {
                    Ok(heal) => heal,
                    // It is only starting.
                    Err(_) => return Ok(false),
                }
            }
            Kind::PostgresKilled | Kind::PostgresRestarted | Kind::PostgresPaused => {
                if !self.cluster.postgres.is_whole()? {
                    return Ok(false);
                }
                match kind {
                    Kind::PostgresKilled => self.cluster.postgres.end("KILL").await?,
                    Kind::PostgresRestarted => self.cluster.postgres.end("INT").await?,
                    _ => self.cluster.postgres.pause(lasting)?,
                }
                if kind == Kind::PostgresPaused { Heal::Nothing } else { Heal::StartPostgres }
            }
        };
        let now = Utc::now();
        println!("{}  {} for {:.1} s", now.format("%T%.3f"), kind.words(), lasting.as_secs_f64());
        self.made.push(Made { kind, from: now, to: now + lasting });
        self.healing.push((Instant::now() + lasting, heal));
        Ok(true)
    }

    async fn break_node(&mut self, kind: Kind, index: usize, lasting: Duration) -> Result<Heal> {
        let node = &mut self.cluster.nodes[index];
        match kind {
            Kind::NodeKilled | Kind::LeaderKilled => {
                node.end("KILL").await?;
                return Ok(Heal::StartNode(index));
            }
            Kind::NodePaused | Kind::LeaderPaused => node.pause(lasting)?,
            _ => {
                node.link.set(if kind == Kind::RedisCut { Flow::Cut } else { Flow::Silent });
                return Ok(Heal::OpenLink(index));
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

    /// Heals what is due at `now`.
    async fn heal(&mut self, now: Instant) -> Result<()> {
        let due = |(at, _): &mut (Instant, Heal)| *at <= now;
        for (at, heal) in self.healing.extract_if(.., due).collect::<Vec<_>>() {
            sleep_until(at).await;
            match heal {
                Heal::StartNode(node) => self.cluster.nodes[node].start()?,
                Heal::OpenLink(node) => self.cluster.nodes[node].link.set(Flow::Open),
                Heal::StartRedis => self.cluster.redis.start()?,
                Heal::StartPostgres => self.cluster.postgres.start()?,
                Heal::Nothing => {}
            }
        }
        Ok(())
    }

    /// Starts again what ended by itself: a node, which is noted, and a PostgreSQL that met the last processes of the one
    /// that was killed, which is nothing special.
    fn supervise(&mut self) -> Result<()> {
        for (index, node) in self.cluster.nodes.iter_mut().enumerate() {
            if node.ended_by_itself()? {
                println!("{}  node {index} ended by itself; starting it again", Utc::now().format("%T%.3f"));
                self.ended += 1;
                node.start()?;
            }
        }
        let is_down = self.healing.iter().any(|(_, heal)| matches!(heal, Heal::StartPostgres));
        if !is_down && !self.cluster.postgres.runs()? {
            self.cluster.postgres.start()?;
        }
        let is_down = self.healing.iter().any(|(_, heal)| matches!(heal, Heal::StartRedis));
        if !is_down && !self.cluster.redis.runs()? {
            self.cluster.redis.start()?;
        }
        Ok(())
    }
}
