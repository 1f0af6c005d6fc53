//! Finds faults by comparing the order of events at the end of the run with the events that each client got.
//!
//! The outbox is the truth. It has the order of events, and its membership events say who was a member at each position. So the
//! events that a client should get between two cursors are known exactly.
//!
//! A failover that loses commits divides the truth into eras. The order of an era consists of the events that were kept from
//! before it and those that were numbered in it, including those that the next failover lost. A path of a client's cursor lies
//! in one era.

mod contents;
mod order;
mod path;
#[cfg(test)]
mod planted;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub(crate) use self::contents::{Ballot, Comment, Contents, Discussion, Page, Votes};

/// This many faults of each kind are described. The others are only counted.
const EXAMPLES: usize = 5;

/// A committed event, as the outbox has it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub event_id: i64,
    pub community: i64,
    /// The only recipient; None if the event is for the whole community.
    pub user: Option<i64>,
    /// The event as clients get it.
    pub content: Value,
    pub written_at: DateTime<Utc>,
}

/// A failover to a replica that had not received everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failover {
    /// When the primary was killed.
    pub from: DateTime<Utc>,
    /// When the new primary accepted connections.
    pub to: DateTime<Utc>,
    /// The newest number that the new primary had.
    pub kept: i64,
    /// The base from which the numbering continued; None if it has not leaped.
    pub base: Option<i64>,
    /// The events that the dead primary had numbered after `kept`, in order. Clients may have got them.
    pub numbered: Vec<Event>,
    /// The changes that the dead primary had committed and the new one lacks, with or without a number.
    pub lost: Vec<Value>,
}

/// The state at the end of the run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    /// Ascends by event_id.
    pub order: Vec<Event>,
    pub failovers: Vec<Failover>,
    /// The tables of discussions and comments.
    pub tables: Contents,
}

/// A change that a client requested, named by [`mark`].
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub mark: String,
    /// What it changed, as in [`redacted`]. None if that is not known, or if its event is never redacted.
    pub thing: Option<String>,
    /// When the client got the acknowledgement. Without one the change may or may not be done.
    pub acknowledged: Option<DateTime<Utc>>,
}

/// The history of one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub name: String,
    pub user: i64,
    /// The communities of its token; None for all.
    pub scope: Option<Vec<i64>>,
    /// The communities that it watches without being a member.
    pub watch: Vec<i64>,
    /// A new path begins after each `catchup_required`.
    pub paths: Vec<Path>,
    /// Its page at the end.
    pub page: Option<Page>,
}

/// The path of a cursor, from registering to a catch-up or the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path {
    pub start: i64,
    pub answers: Vec<Answer>,
    /// When it ended with `catchup_required`; None for the last one.
    pub caught_up: Option<DateTime<Utc>>,
}

/// An answer to a poll, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub events: Vec<Value>,
    /// The new cursor.
    pub to: i64,
    pub at: DateTime<Utc>,
}

/// The faults found. All counts should be zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Events that a client should have got and did not.
    pub lost: usize,
    /// Events that a client got again.
    pub repeated: usize,
    /// Events that came after a later one, or after the cursor had passed them.
    pub out_of_order: usize,
    /// Events that a client got although it was no member at their position and could not watch them, or that never happened.
    pub leaked: usize,
    /// Events that differ from the committed ones. A redaction is no difference.
    pub altered: usize,
    /// Texts that a client got together with their deletion, or after it.
    pub deleted_texts: usize,
    /// Acknowledged changes that are not in the order, or more than once.
    pub writes: usize,
    /// Faults of the order itself: a gap in the numbers, an event before one that it depends on.
    pub order: usize,
    /// Rows that differ from what their events say: a row without its event, or an event without its row.
    pub rows: usize,
    /// Clients whose page, folded from lists and events, differs from the database.
    pub pages: usize,
    /// Answers `catchup_required` although nothing was lost.
    pub catch_ups: usize,
    /// Cursors that continued across a leap without a catch-up.
    pub crossed: usize,
    /// Failovers with a loss after which the numbering did not leap.
    pub no_leaps: usize,
    /// Descriptions of some faults.
    pub examples: Vec<String>,
    /// Acknowledged changes that died with a primary before its replica had them. These are no faults.
    pub lost_with_primary: usize,
}

impl Verdict {
    /// Whether there are no faults.
    #[cfg(test)]
    pub(crate) fn is_clean(&self) -> bool {
        self.examples.is_empty()
    }

    /// The counts of faults, each with its words.
    pub(crate) fn faults(&self) -> [(&'static str, usize); 13] {
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
            ("deleted texts delivered", self.deleted_texts),
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

/// The discussion, comment or summary that an event shows or deletes.
pub(crate) fn thing(content: &Value) -> Option<String> {
    let name = match content["type"].as_str()? {
        "new_comment" | "updated_comment" | "deleted_comment" => "comment_id",
        "new_discussion" | "updated_discussion" | "deleted_discussion" => "discussion_id",
        "updated_summary" => return Some(format!("summary {} {}", content["community_id"], content["article_id"])),
        _ => return None,
    };
    Some(format!("{name} {}", content[name]))
}

/// Whether the event deletes its thing. A summary may be written again, and deleted again.
pub(crate) fn is_deletion(content: &Value) -> bool {
    match content["type"].as_str().unwrap_or_default() {
        "updated_summary" => content["text"].is_null() && !content["deleted_at"].is_string(),
        kind => kind.starts_with("deleted_"),
    }
}

/// The type and the thing of an event that is redacted, because the thing was deleted later. Its text is gone, and so is its
/// [`mark`].
pub(crate) fn redacted(content: &Value) -> Option<String> {
    let kind = content["type"].as_str().filter(|_| content["deleted_at"].is_string())?;
    Some(format!("{kind} of {}", thing(content)?))
}

/// The name of the change that made an event. It is unique, because no client writes a text twice.
pub(crate) fn mark(content: &Value) -> Option<String> {
    let kind = content["type"].as_str()?;
    match kind {
        "deleted_comment" => Some(format!("{kind} {}", content["comment_id"])),
        _ => content["text"].as_str().map(|text| format!("{kind} {text}")),
    }
}

impl Truth {
    /// The era of a number.
    pub(crate) fn era(&self, number: i64) -> usize {
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
pub(crate) fn check(truth: &Truth, writes: &[Write], histories: &[History]) -> Verdict {
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
