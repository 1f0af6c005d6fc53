//! A reader: registers, polls, and checks that it gets what it should.

use std::{rc::Rc, time::Duration};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::time::sleep;

use super::{
    http::{self, Answer, Connection, Target},
    marker::Marker,
    seen::Seen,
    tally::Tally,
    worker::Worker,
};
use crate::ids::{CommunityId, EventId, UserId};

/// After this many failures without an answer between them a run that has not begun is given up.
const FAILURES: u32 = 20;

/// One user with one queue.
pub struct Reader {
    index: u32,
    user: UserId,
    target: Target,
    head: String,
    /// The communities it is in, and what it has seen of each.
    seen: Vec<(u32, Seen)>,
    queue: Option<String>,
    cursor: EventId,
    newest: EventId,
    is_parked: bool,
    was_parked: bool,
    was_told_to_catch_up: bool,
}

#[derive(Deserialize)]
struct Registered {
    queue_id: String,
    last_event_id: EventId,
}

#[derive(Deserialize)]
struct Polled<'a> {
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
    /// Reader `index`, who has not registered yet.
    pub fn new(worker: &Worker, index: u32) -> anyhow::Result<Self> {
        let plan = &worker.plan;
        let (user, target) = (plan.reader(index), plan.target(index).clone());
        Ok(Self {
            index,
            user,
            head: http::head(&target, &plan.token(user)?, plan.args.browser_headers),
            target,
            seen: plan.communities_of(index).map(|community| (community, Seen::default())).collect(),
            queue: None,
            cursor: 0,
            newest: 0,
            is_parked: false,
            was_parked: false,
            was_told_to_catch_up: false,
        })
    }

    /// Polls until the run stops.
    pub async fn run(mut self, worker: Rc<Worker>) -> Self {
        let stopped = worker.board.stopped.clone();
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
            self.park(worker, false);
            let Err(error) = ended else { continue };
            failures += 1;
            worker.fail(&format!("reader: {error:#}"));
            if failures > FAILURES && !self.was_parked {
                worker.board.fail(format!("a reader cannot begin: {error:#}"));
                return;
            }
            sleep(Duration::from_millis(50 * u64::from(failures.min(20)))).await;
        }
    }

    async fn on_one_connection(&mut self, worker: &Worker, failures: &mut u32) -> anyhow::Result<()> {
        // Not all at once: a listener's backlog and the database's connections are bounded.
        let mut turn = Some(worker.turns.acquire().await?);
        let mut connection = Connection::open(&self.target, worker.plan.source(self.index)).await.context("connect")?;
        while !connection.is_over {
            if self.queue.is_none() {
                self.register(worker, &mut connection).await?;
            }
            let queue = self.queue.as_deref().unwrap_or_default();
            let request =
                format!("GET /poll?queue_id={queue}&last_event_id={}{}\r\n", self.cursor, self.head).into_bytes();
            self.park(worker, true);
            turn.take();
            connection.ask(&worker.buffer, &request, |answer| self.take(worker, answer)).await??;
            *failures = 0;
        }
        Ok(())
    }

    fn park(&mut self, worker: &Worker, parked: bool) {
        if self.is_parked != parked {
            worker.board.park(if parked { 1 } else { -1 });
        }
        self.is_parked = parked;
        self.was_parked |= parked;
    }

    async fn register(&mut self, worker: &Worker, connection: &mut Connection) -> anyhow::Result<()> {
        let request = http::post("/register", &self.head, "{}");
        let registered = connection.ask(&worker.buffer, &request, |answer| match answer.status {
            200 => serde_json::from_slice::<Registered>(answer.body).context("register's answer"),
            status => Err(anyhow::anyhow!("register answered {status}")),
        });
        let registered = registered.await??;
        if !self.was_parked || self.was_told_to_catch_up {
            self.cursor = registered.last_event_id;
        } else {
            // An expired queue's cursor goes on: what came in between is there, or the server says that it is not.
            worker.tally.borrow_mut().registered_again += 1;
        }
        worker.queues.borrow_mut().insert(self.index, (self.head.clone(), registered.queue_id.clone()));
        self.queue = Some(registered.queue_id);
        Ok(())
    }

    fn take(&mut self, worker: &Worker, answer: &Answer) -> anyhow::Result<()> {
        let now = worker.plan.now();
        self.park(worker, false);
        match answer.status {
            200 => {}
            404 => {
                self.queue = None;
                return Ok(());
            }
            status => bail!("poll answered {status}"),
        }
        let polled: Polled = serde_json::from_slice(answer.body).context("poll's answer")?;
        let mut tally = worker.tally.borrow_mut();
        if polled.catchup_required {
            tally.catchups += 1;
            self.was_told_to_catch_up = true;
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
        let plan = &worker.plan;
        let place = self.seen.iter_mut().find(|(community, _)| plan.community(*community) == event.community_id);
        let (Some((community, seen)), None) = (place, event.user_id.filter(|user| *user != self.user)) else {
            tally.leaked += 1;
            return;
        };
        let Some(marker) = event.text.as_deref().and_then(Marker::read).filter(|marker| marker.run == plan.run) else {
            return;
        };
        if marker.community != *community {
            tally.leaked += 1;
        } else if !seen.insert(marker.number) {
            tally.repeated += 1;
        } else {
            tally.disordered += u64::from(!in_order);
            tally.delivery.saturating_record(now.saturating_sub(marker.began) / 1_000);
            worker.board.delivered();
        }
    }

    /// How many comments never came, of those that the server did not say are gone.
    pub fn missed(&self, written: &[Seen]) -> u64 {
        if self.was_told_to_catch_up {
            return 0;
        }
        self.seen.iter().map(|(community, seen)| seen.lacks(&written[*community as usize])).sum()
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
