//! A reader registers, polls, and checks that it gets every event that it should.

use std::{rc::Rc, time::Duration};

use anyhow::{Context, bail};
use discussions::ids::{CommunityId, EventId, UserId};
use fixedbitset::FixedBitSet;
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    http::{self, Answer, Connection, Target},
    message_tag::MessageTag,
    tally::Tally,
    worker::Worker,
};

/// If a reader has never parked a poll and fails this many times in a row, the run ends.
const FAILURES: u32 = 20;

/// One user with one queue.
pub(crate) struct Reader {
    index: u32,
    user: UserId,
    target: Target,
    head: String,
    /// The reader's communities, each with the numbers of the comments that it has got.
    seen: Vec<(u32, FixedBitSet)>,
    queue: Option<String>,
    cursor: EventId,
    newest: EventId,
    is_parked: bool,
    was_parked: bool,
    /// A server has said that events are gone, so missing comments are no fault.
    catchup_required: bool,
}

#[derive(Deserialize)]
struct Registered {
    queue_id: String,
    last_event_id: EventId,
}

#[derive(Deserialize)]
struct PollAnswer<'a> {
    #[serde(borrow, default)]
    events: Vec<Event<'a>>,
    last_event_id: Option<EventId>,
    #[serde(default)]
    catchup_required: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    event_id: EventId,
    community_id: CommunityId,
    user_id: Option<UserId>,
    #[serde(borrow)]
    text: Option<std::borrow::Cow<'a, str>>,
}

impl Reader {
    /// Reader `index`, before it registers.
    pub(crate) fn new(worker: &Worker, index: u32) -> anyhow::Result<Self> {
        let scenario = &worker.scenario;
        let (user, target) = (scenario.reader(index), scenario.target(index).clone());
        Ok(Self {
            index,
            user,
            head: http::head(&target, &scenario.token(user)?, scenario.args.browser_headers),
            target,
            seen: scenario.communities_of(index).map(|community| (community, FixedBitSet::new())).collect(),
            queue: None,
            cursor: EventId::START,
            newest: EventId::START,
            is_parked: false,
            was_parked: false,
            catchup_required: false,
        })
    }

    /// Polls until the run stops.
    pub(crate) async fn run(mut self, worker: Rc<Worker>) -> Self {
        let stopped = worker.state.stopped.clone();
        tokio::select! {
            () = self.keep_polling(&worker) => {}
            () = stopped.cancelled() => {}
        }
        self
    }

    async fn keep_polling(&mut self, worker: &Worker) {
        let mut failures = 0;
        loop {
            let ended = self.on_one_connection(worker, &mut failures).await;
            self.set_parked(worker, false);
            let Err(error) = ended else { continue };
            failures += 1;
            worker.fail(&format!("reader: {error:#}"));
            if failures > FAILURES && !self.was_parked {
                worker.state.give_up(format!("a reader cannot begin: {error:#}"));
                return;
            }
            sleep(Duration::from_millis(50 * u64::from(failures.min(20)))).await;
        }
    }

    async fn on_one_connection(&mut self, worker: &Worker, failures: &mut u32) -> anyhow::Result<()> {
        // Only a few readers connect at a time, because a listener's backlog and the database's connections are limited.
        let mut permit = Some(worker.permits.acquire().await?);
        let mut connection =
            Connection::open(&self.target, worker.scenario.source(self.index)).await.context("connect")?;
        while !connection.is_over {
            if self.queue.is_none() {
                self.register(worker, &mut connection).await?;
            }
            let queue = self.queue.as_deref().unwrap_or_default();
            let request =
                format!("GET /poll?queue_id={queue}&last_event_id={}{}\r\n", self.cursor, self.head).into_bytes();
            self.set_parked(worker, true);
            permit.take(); // the next reader may connect
            connection.ask(&worker.buffer, &request, |answer| self.handle_poll(worker, answer)).await??;
            *failures = 0;
        }
        Ok(())
    }

    fn set_parked(&mut self, worker: &Worker, parked: bool) {
        if self.is_parked != parked {
            worker.state.count_parked(if parked { 1 } else { -1 });
        }
        self.is_parked = parked;
        self.was_parked |= parked;
    }

    async fn register(&mut self, worker: &Worker, connection: &mut Connection) -> anyhow::Result<()> {
        let request = http::post("/register", &self.head, "{}");
        let registered = connection.ask(&worker.buffer, &request, |answer| match answer.status {
            200 => serde_json::from_slice::<Registered>(answer.body).context("register's answer"),
            status => Err(anyhow::anyhow!("register answered {}", http::refusal(status))),
        });
        let registered = registered.await??;
        if !self.was_parked || self.catchup_required {
            self.cursor = registered.last_event_id;
        } else {
            // The new queue continues from the expired one's cursor. It gets the events in between, or catchup_required.
            worker.tally.borrow_mut().registered_again += 1;
        }
        worker.queues.borrow_mut().insert(self.index, (self.head.clone(), registered.queue_id.clone()));
        self.queue = Some(registered.queue_id);
        Ok(())
    }

    fn handle_poll(&mut self, worker: &Worker, answer: &Answer) -> anyhow::Result<()> {
        let now = worker.scenario.now();
        self.set_parked(worker, false);
        match answer.status {
            200 => {}
            404 => {
                self.queue = None;
                return Ok(());
            }
            status => bail!("poll answered {status}"),
        }
        let polled: PollAnswer = serde_json::from_slice(answer.body).context("poll's answer")?;
        let mut tally = worker.tally.borrow_mut();
        if polled.catchup_required {
            tally.catchups += 1;
            self.catchup_required = true;
            self.queue = None;
            return Ok(());
        }
        let last = polled.last_event_id.context("poll's answer has no last_event_id")?;
        if polled.events.is_empty() {
            tally.empty += 1;
        }
        for event in &polled.events {
            self.check(worker, &mut tally, event, now);
        }
        if last < self.cursor || polled.events.last().is_some_and(|event| event.event_id > last) {
            tally.disordered += 1;
        }
        self.cursor = last;
        Ok(())
    }

    fn check(&mut self, worker: &Worker, tally: &mut Tally, event: &Event, now: u64) {
        let in_order = event.event_id > self.newest;
        self.newest = self.newest.max(event.event_id);
        let scenario = &worker.scenario;
        let own = self.seen.iter_mut().find(|(community, _)| scenario.community(*community) == event.community_id);
        let (Some((community, seen)), None) = (own, event.user_id.filter(|user| *user != self.user)) else {
            tally.leaked += 1;
            return;
        };
        let Some(tag) = event.text.as_deref().and_then(MessageTag::parse).filter(|tag| tag.run == scenario.run) else {
            return;
        };
        if tag.community != *community {
            tally.leaked += 1;
        } else if !insert(seen, tag.number) {
            tally.repeated += 1;
        } else {
            tally.disordered += u64::from(!in_order);
            tally.delivery.saturating_record(now.saturating_sub(tag.began) / 1_000);
            worker.state.record_delivered();
        }
    }

    /// How many of the comments in `written` never came; none if a server said that events are gone.
    pub(crate) fn missed(&self, written: &[FixedBitSet]) -> u64 {
        if self.catchup_required {
            return 0;
        }
        self.seen.iter().map(|(community, seen)| written[*community as usize].difference_count(seen) as u64).sum()
    }
}

/// Adds `number` to `seen`. Returns false if it was already there.
fn insert(seen: &mut FixedBitSet, number: u32) -> bool {
    seen.grow(number as usize + 1);
    !seen.put(number as usize)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
