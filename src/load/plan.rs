//! Who is who in a run: ids, memberships, tokens.

use std::{net::Ipv4Addr, time::Instant};

use super::{LoadArgs, Requests, http::Target};
use crate::{
    auth::jwt,
    ids::{ArticleId, CommunityId, DiscussionId, UserId},
};

/// Everything that a run makes has ids from here on, a range for each slot: far above what people's rows get.
const FIRST_ID: i64 = 1_000_000_000_000;
/// Ids of one slot.
const SLOT_IDS: i64 = 1_000_000_000;
/// Connections from one source address: loopback has some 28,000 ports for one destination.
const SOURCE_CONNECTIONS: u32 = 10_000;

/// What is decided before a run begins.
pub struct Plan {
    /// What was asked for.
    pub args: LoadArgs,
    /// Told from other runs by this.
    pub run: u32,
    /// When it began.
    pub start: Instant,
}

impl Plan {
    /// A plan for `args`.
    pub fn new(mut args: LoadArgs) -> anyhow::Result<Self> {
        if args.requests.is_some() {
            (args.communities, args.memberships, args.queues) = (1, 1, 1);
            args.writers = args.connections;
        }
        args.memberships = args.memberships.min(args.communities);
        Ok(Self { args, run: rand::random(), start: Instant::now() })
    }

    /// The ids that the run's rows have.
    pub fn ids(&self) -> std::ops::Range<i64> {
        let first = FIRST_ID + i64::from(self.args.slot) * SLOT_IDS;
        first..first + SLOT_IDS
    }

    /// Discussions in each community.
    pub fn discussions(&self) -> u32 {
        if self.args.requests.is_some() { 200 } else { 4 }
    }

    /// Reader `index`.
    pub fn reader(&self, index: u32) -> UserId {
        self.ids().start + i64::from(index)
    }

    /// Writer `index`, who is in every community.
    pub fn writer(&self, index: u32) -> UserId {
        self.ids().start + i64::from(self.args.queues + index)
    }

    /// Community `index`.
    pub fn community(&self, index: u32) -> CommunityId {
        self.ids().start + i64::from(index)
    }

    /// The communities that reader `index` is in.
    pub fn communities_of(&self, index: u32) -> impl Iterator<Item = u32> + use<> {
        let (all, some) = (self.args.communities, self.args.memberships);
        (0..some).map(move |step| (index + step) % all)
    }

    /// The one article that all talk about.
    pub fn article(&self) -> ArticleId {
        self.ids().start
    }

    /// Discussion `index` of a community.
    pub fn discussion(&self, community: u32, index: u32) -> DiscussionId {
        self.ids().start + i64::from(community * self.discussions() + index)
    }

    /// A token that outlives the run.
    pub fn token(&self, user: UserId) -> anyhow::Result<String> {
        jwt::mint(&self.args.signing, user, None, self.args.seconds as i64 + 3_600)
    }

    /// Where connection `index` goes.
    pub fn target(&self, index: u32) -> &Target {
        &self.args.urls[index as usize % self.args.urls.len()]
    }

    /// Where writer `index` writes.
    pub fn write_target(&self, index: u32) -> &Target {
        let urls = if self.args.write_urls.is_empty() { &self.args.urls } else { &self.args.write_urls };
        &urls[index as usize % urls.len()]
    }

    /// The address that connection `index` comes from, where the target is this machine.
    pub fn source(&self, index: u32) -> Ipv4Addr {
        let [.., high, low] = (index / SOURCE_CONNECTIONS + 1).to_be_bytes();
        Ipv4Addr::new(127, 100 + self.args.slot, high, low)
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// What `--requests` is to ask for, as a word.
    pub fn words(what: Requests) -> &'static str {
        match what {
            Requests::List => "lists of 20 of 200 discussions",
            Requests::Comment => "comments written",
        }
    }
}
