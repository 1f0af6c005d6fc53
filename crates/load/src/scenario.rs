//! The scenario of a run: who takes part, with which ids, memberships and tokens.

use std::{net::Ipv4Addr, time::Instant};

use discussions::{
    auth::jwt,
    ids::{ArticleId, CommunityId, DiscussionId, UserId},
};

use crate::{LoadArgs, Requests, http::Target};

/// A run's rows have ids from here on, in a range for each slot. People's rows never get ids as high.
const FIRST_ID: i64 = 1_000_000_000_000;
/// Ids of one slot.
const SLOT_IDS: i64 = 1_000_000_000;
/// Connections from one source address: loopback has some 28,000 ports for one destination.
const SOURCE_CONNECTIONS: u32 = 10_000;

/// What is decided before the run begins.
pub(crate) struct Scenario {
    /// What was asked for.
    pub(crate) args: LoadArgs,
    /// A random number that distinguishes this run from others.
    pub(crate) run: u32,
    /// When it began.
    pub(crate) start: Instant,
}

impl Scenario {
    /// The scenario that `args` describe.
    pub(crate) fn new(mut args: LoadArgs) -> anyhow::Result<Self> {
        if args.requests.is_some() {
            (args.communities, args.memberships, args.queues) = (1, 1, 1);
            args.writers = args.connections;
        }
        args.memberships = args.memberships.min(args.communities);
        Ok(Self { args, run: rand::random(), start: Instant::now() })
    }

    /// The ids that the run's rows have.
    pub(crate) fn ids(&self) -> std::ops::Range<i64> {
        let first = FIRST_ID + i64::from(self.args.slot) * SLOT_IDS;
        first..first + SLOT_IDS
    }

    /// Discussions in each community.
    pub(crate) fn discussions(&self) -> u32 {
        if self.args.requests.is_some() { 200 } else { 4 }
    }

    /// The id that is so far into the range.
    fn id<T: From<i64>>(&self, index: u32) -> T {
        T::from(self.ids().start + i64::from(index))
    }

    /// Reader `index`.
    pub(crate) fn reader(&self, index: u32) -> UserId {
        self.id(index)
    }

    /// Writer `index`, who is in every community.
    pub(crate) fn writer(&self, index: u32) -> UserId {
        self.id(self.args.queues + index)
    }

    /// Community `index`.
    pub(crate) fn community(&self, index: u32) -> CommunityId {
        self.id(index)
    }

    /// The communities that reader `index` is in.
    pub(crate) fn communities_of(&self, index: u32) -> impl Iterator<Item = u32> + use<> {
        let (all, some) = (self.args.communities, self.args.memberships);
        (0..some).map(move |step| (index + step) % all)
    }

    /// The one article, which every discussion is about.
    pub(crate) fn article(&self) -> ArticleId {
        self.id(0)
    }

    /// Discussion `index` of a community.
    pub(crate) fn discussion(&self, community: u32, index: u32) -> DiscussionId {
        self.id(community * self.discussions() + index)
    }

    /// A token that outlives the run.
    pub(crate) fn token(&self, user: UserId) -> anyhow::Result<String> {
        jwt::mint(&self.args.signing, user, None, self.args.seconds as i64 + 3_600)
    }

    /// Where connection `index` goes.
    pub(crate) fn target(&self, index: u32) -> &Target {
        &self.args.urls[index as usize % self.args.urls.len()]
    }

    /// Where writer `index` writes.
    pub(crate) fn write_target(&self, index: u32) -> &Target {
        let urls = if self.args.write_urls.is_empty() { &self.args.urls } else { &self.args.write_urls };
        &urls[index as usize % urls.len()]
    }

    /// The address that connection `index` comes from, where the target is this machine.
    pub(crate) fn source(&self, index: u32) -> Ipv4Addr {
        let [.., high, low] = (index / SOURCE_CONNECTIONS + 1).to_be_bytes();
        Ipv4Addr::new(127, 100 + self.args.slot, high, low)
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// What `--requests` asks for, in words.
    pub(crate) fn words(what: Requests) -> &'static str {
        match what {
            Requests::List => "lists of 20 of 200 discussions",
            Requests::Comment => "comments written",
        }
    }
}
