//! Says what went wrong, from the order of events as it is in the end and from what each client was told.
//!
//! The outbox is the truth: it says which event came when, and, by its membership events, who was a member at that place.
//! What a client should have been told between two cursors follows from it, exactly.
//!
//! A failover that loses commits divides the truth into eras. Each era has its own order: what was kept before it, and what
//! was numbered in it, even where the next failover lost that. A path of a client's cursor lies in one era.

mod contents;
mod order;
mod path;
#[cfg(test)]
mod planted;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use self::contents::{Comment, Contents, Discussion, Page};

/// Of each kind of fault so many are described, the rest counted.
const EXAMPLES: usize = 5;

/// A committed event, as the outbox has it.
#[derive(Clone, Debug)]
pub struct Event {
    pub event_id: i64,
    pub community: i64,
    /// The one user it is for; None where it is for the whole community.
    pub user: Option<i64>,
    /// What clients get.
    pub content: Value,
    pub written_at: DateTime<Utc>,
}

/// A failover to a replica that had not got everything.
#[derive(Clone, Debug, Default)]
pub struct Failover {
    /// When the primary was killed.
    pub from: DateTime<Utc>,
    /// When the new primary took its place.
    pub to: DateTime<Utc>,
    /// The newest number that the new primary had.
    pub kept: i64,
    /// The numbering went on after this number; None where it has not leaped.
    pub base: Option<i64>,
    /// The events that the dead primary had numbered after `kept`, in order. Clients may have been told of them.
    pub numbered: Vec<Event>,
    /// The changes that the dead primary had committed and the new one never got, numbered or not.
    pub lost: Vec<Value>,
}

/// How things are in the end.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Ascends by event_id.
    pub order: Vec<Event>,
    pub failovers: Vec<Failover>,
    /// The tables of discussions and comments.
    pub tables: Contents,
}

/// A change that a client asked for, named by [`mark`].
#[derive(Clone, Debug)]
pub struct Write {
    pub mark: String,
    /// When the client was told that it is done. One that was not told may or may not find it done.
    pub acknowledged: Option<DateTime<Utc>>,
}

/// What one client was told.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub name: String,
    pub user: i64,
    /// What its token is narrowed to.
    pub scope: Option<Vec<i64>>,
    /// A new one begins where the client was told to catch up.
    pub paths: Vec<Path>,
    /// What it shows in the end.
    pub page: Option<Page>,
}

/// The way of a cursor.
#[derive(Clone, Debug, Default)]
pub struct Path {
    pub start: i64,
    pub answers: Vec<Answer>,
    /// When it ended with `catchup_required`; None for the last one.
    pub caught_up: Option<DateTime<Utc>>,
}

/// An answer to a poll, as it arrived.
#[derive(Clone, Debug)]
pub struct Answer {
    pub events: Vec<Value>,
    /// The cursor from here on.
    pub to: i64,
    pub at: DateTime<Utc>,
}

/// What a client's histories and the order say together. All zeros is how it should be.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Events that a client should have been told, and was not.
    pub lost: usize,
    /// Events that a client was told again.
    pub repeated: usize,
    /// Events that came after a later one, or after the cursor had passed them.
    pub out_of_order: usize,
    /// Events that a client was told although not a member at their place, or that never happened.
    pub leaked: usize,
    /// Events that read differently from what was committed.
    pub altered: usize,
    /// Changes that were acknowledged and are not in the order, or not once.
    pub writes: usize,
    /// Faults of the order itself: a gap in the numbers, an event before one that it depends on.
    pub order: usize,
    /// Rows that differ from what their events say: a row without its event, or an event without its row.
    pub rows: usize,
    /// Clients whose lists and events come to something else than what is there.
    pub pages: usize,
    /// `catchup_required` although nothing was lost.
    pub catch_ups: usize,
    /// Cursors that went on over a leap as if nothing had happened.
    pub crossed: usize,
    /// Failovers with a loss after which the numbering did not leap.
    pub no_leaps: usize,
    /// Some of them, in words.
    pub examples: Vec<String>,
    /// No fault: changes that were acknowledged by a primary that died before its replica had them.
    pub lost_with_primary: usize,
}

impl Verdict {
    /// Whether nothing was found.
    #[cfg(test)]
    pub fn is_clean(&self) -> bool {
        self.examples.is_empty()
    }

    /// The counts of faults, with what they count.
    pub fn faults(&self) -> [(&'static str, usize); 12] {
        [
            ("events lost", self.lost),
            ("events repeated", self.repeated),
            ("events out of order", self.out_of_order),
            ("events leaked", self.leaked),
            ("events altered", self.altered),
            ("acknowledged writes missing from the order, or in it twice", self.writes),
            ("gaps or misplaced events in the order", self.order),
            ("rows without an event, or events without a row", self.rows),
            ("clients whose page differs from the database", self.pages),
            ("`catchup_required` without a failover", self.catch_ups),
            ("cursors that continued across a leap", self.crossed),
            ("failovers without a leap", self.no_leaps),
        ]
    }

    fn note(&mut self, count: impl Fn(&mut Self) -> &mut usize, what: impl FnOnce() -> String) {
        let count = count(self);
        *count += 1;
        if *count <= EXAMPLES {
            self.examples.push(what());
        }
    }
}

/// What names the change that made an event: unique, as no client writes a text twice.
pub fn mark(content: &Value) -> Option<String> {
    let kind = content["type"].as_str()?;
    match kind {
        "deleted_comment" => Some(format!("{kind} {}", content["comment_id"])),
        _ => content["text"].as_str().map(|text| format!("{kind} {text}")),
    }
}

impl Truth {
    /// The era that a number belongs to.
    pub fn era(&self, number: i64) -> usize {
        let is_before = |failover: &&Failover| failover.base.is_some_and(|base| base <= number);
        self.failovers.iter().filter(is_before).count()
    }

    /// The order as it was at the end of an era.
    fn order_of(&self, era: usize) -> Vec<Event> {
        let Some(failover) = self.failovers.get(era) else { return self.order.clone() };
        let kept = self.order.iter().filter(|event| event.event_id <= failover.kept);
        kept.chain(&failover.numbered).cloned().collect()
    }
}

/// Checks everything up to the end of the order.
pub fn check(truth: &Truth, writes: &[Write], histories: &[History]) -> Verdict {
    let mut verdict = Verdict::default();
    for (number, failover) in truth.failovers.iter().enumerate() {
        if failover.base.is_none() {
            verdict.note(|verdict| &mut verdict.no_leaps, || format!("after failover {} nothing leaped", number + 1));
        }
    }
    let orders: Vec<Vec<Event>> = (0..=truth.failovers.len()).map(|era| truth.order_of(era)).collect();
    for (era, order) in orders.iter().enumerate() {
        order::check(order, &truth.failovers[..era], &mut verdict);
    }
    order::check_writes(truth, writes, &mut verdict);
    order::check_rows(truth, &mut verdict);
    for history in histories {
        path::check(truth, &orders, history, &mut verdict);
        if let Some(difference) = history.page.as_ref().and_then(|page| page.difference(&truth.tables)) {
            verdict.note(|verdict| &mut verdict.pages, || format!("{}: {difference}", history.name));
        }
    }
    verdict
}
