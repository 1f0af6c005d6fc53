//! The scenario of a run: its users, communities and discussions, with their ids, memberships and tokens.

use std::{net::Ipv4Addr, time::Instant};

use discussions::{
    auth::jwt,
    ids::{ArticleId, CommunityId, DiscussionId, UserId},
};

use crate::{LoadArgs, Requests, http::Target};

/// The rows of runs have ids from here on, in one range for each slot. No other rows get ids this high.
const FIRST_ID: i64 = 1_000_000_000_000;
/// The number of ids of a slot.
const SLOT_IDS: i64 = 1_000_000_000;
/// Connections from one source address. For one destination an address has about 28,000 ports.
const SOURCE_CONNECTIONS: u32 = 10_000;

/// The decisions that are made before the run begins.
pub(crate) struct Scenario {
    /// The arguments, limited to possible values.
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

    /// The range of ids of the run's rows.
    pub(crate) fn ids(&self) -> std::ops::Range<i64> {
        let first = FIRST_ID + i64::from(self.args.slot) * SLOT_IDS;
        first..first + SLOT_IDS
    }

    /// Discussions in each community.
    pub(crate) fn discussions(&self) -> u32 {
        if self.args.requests.is_some() { 200 } else { 4 }
    }

    /// The id at `index` of the run's range.
    fn id<T: From<i64>>(&self, index: u32) -> T {
        T::from(self.ids().start + i64::from(index))
    }

    /// The user id of reader `index`.
    pub(crate) fn reader(&self, index: u32) -> UserId {
        self.id(index)
    }

    /// The user id of writer `index`, who is in every community.
    pub(crate) fn writer(&self, index: u32) -> UserId {
        self.id(self.args.queues + index)
    }

    /// The id of community `index`.
    pub(crate) fn community(&self, index: u32) -> CommunityId {
        self.id(index)
    }

    /// The communities of reader `index`.
    pub(crate) fn communities_of(&self, index: u32) -> impl Iterator<Item = u32> + use<> {
        let (all, some) = (self.args.communities, self.args.memberships);
        (0..some).map(move |step| (index + step) % all)
    }

    /// The article of every discussion.
    pub(crate) fn article(&self) -> ArticleId {
        self.id(0)
    }

    /// The id of discussion `index` of a community.
    pub(crate) fn discussion(&self, community: u32, index: u32) -> DiscussionId {
        self.id(community * self.discussions() + index)
    }

    /// A token that outlives the run.
    pub(crate) fn token(&self, user: UserId) -> anyhow::Result<String> {
        jwt::mint(jwt::Signing::try_from(&self.args.signing)?, user, None, self.args.seconds as i64 + 3_600)
    }

    /// The server of connection `index`.
    pub(crate) fn target(&self, index: u32) -> &Target {
        &self.args.urls[index as usize % self.args.urls.len()]
    }

    /// The server that writer `index` writes to.
    pub(crate) fn write_target(&self, index: u32) -> &Target {
        let urls = if self.args.write_urls.is_empty() { &self.args.urls } else { &self.args.write_urls };
        &urls[index as usize % urls.len()]
    }

    /// The source address of connection `index`, if the target is this machine.
    pub(crate) fn source(&self, index: u32) -> Ipv4Addr {
        let [.., high, low] = (index / SOURCE_CONNECTIONS + 1).to_be_bytes();
        Ipv4Addr::new(127, 100 + self.args.slot, high, low)
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// The requests of `--requests`, in words.
    pub(crate) fn words(what: Requests) -> &'static str {
        match what {
            Requests::List => "lists of 20 of 200 discussions",
            Requests::Comment => "comments written",
        }
    }
}
