//! Compares the events that one client got with those that it should have got.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Answer, Event, History, Path, Truth, Verdict, is_deletion, redacted, thing};

/// Checks all paths of a client. `orders` has the order of each era.
pub(super) fn check(truth: &Truth, orders: &[Vec<Event>], history: &History, verdict: &mut Verdict) {
    let name = &history.name;
    let mut eras: HashMap<usize, Era> = HashMap::new();
    for (index, path) in history.paths.iter().enumerate() {
        let number = truth.era(path.start);
        let era = eras.entry(number).or_insert_with(|| Era::new(&orders[number], &truth.order, history));
        let is_last = index + 1 == history.paths.len();
        // A path ends at the end of the run or with a `catchup_required`.
        let end = if is_last { orders[number].last().map(|event| event.event_id) } else { None };
        check_path(name, path, end, era, verdict);
        if path.answers.iter().any(|answer| truth.era(answer.to) != number) || (is_last && number + 1 < orders.len()) {
            let why = || format!("{name} went on from {} over the end of its era", path.start);
            verdict.note(|verdict| &mut verdict.crossed, why);
        }
        if let Some(at) = path.caught_up
            && truth.failovers.get(number).is_none_or(|failover| failover.from > at)
        {
            let why = || format!("{name} had to catch up from {} at {at}", path.start);
            verdict.note(|verdict| &mut verdict.catch_ups, why);
        }
    }
}

/// An era as one client sees it.
struct Era<'a> {
    by_id: HashMap<i64, &'a Event>,
    /// By thing: the events of this era that delete it, in order.
    deletions: HashMap<String, Vec<&'a Event>>,
    /// Likewise, the events of the order that is left at the end. A summary of this era may be deleted in a later one.
    final_deletions: HashMap<String, Vec<&'a Event>>,
    /// The events that the client may get, each with the end of the stay in which it happened.
    visible: BTreeMap<i64, Option<Leave>>,
}

/// The end of a stay: of a membership, or of a time in which anyone could read a community that the client watches.
#[derive(Clone, Copy)]
struct Leave {
    event_id: i64,
    at: DateTime<Utc>,
    /// When the client's next stay began; None if there was none.
    back: Option<DateTime<Utc>>,
}

impl<'a> Era<'a> {
    fn new(order: &'a [Event], final_order: &'a [Event], history: &History) -> Self {
        let by_id: HashMap<i64, &Event> = order.iter().map(|event| (event.event_id, event)).collect();
        let allowed = |community| history.scope.as_ref().is_none_or(|scope| scope.contains(&community));
        let mut stays = Stays::default();
        for event in order {
            let (id, community) = (event.event_id, event.community);
            match event.user {
                Some(user) if user == history.user && event.content["type"] == "membership_changed" => {
                    if event.content["role"].is_null() {
                        stays.end(community, event);
                    } else {
                        stays.begin(community, event);
                    }
                }
                Some(user) if user != history.user => continue,
                Some(_) | None => {
                    let watched = turned(event).filter(|(community, _)| history.watch.contains(community));
                    if let Some((community, true)) = watched {
                        stays.begin(community, event);
                    }
                    // The client's own events of a community come as the events of all its members do.
                    match stays.events.get_mut(&community) {
                        Some(stay) => stay.push(id),
                        None => continue,
                    }
                    if let Some((community, false)) = watched {
                        stays.end(community, event);
                    }
                }
            }
            if allowed(community) {
                // Also the event that ends a stay: it comes to who was there until then.
                stays.visible.insert(id, None);
            }
        }
        let mut visible = stays.visible;
        visible.retain(|id, _| by_id.get(id).is_some_and(|event| allowed(event.community)));
        Self { by_id, deletions: deletions(order), final_deletions: deletions(final_order), visible }
    }

    /// The deletion of what the event shows, if it was deleted later: in this era, and in the order that is left at the end.
    fn deletions(&self, event: &Value, id: i64) -> [Option<&'a Event>; 2] {
        let thing = thing(event).filter(|_| !is_deletion(event)).unwrap_or_default();
        let first = |deletions: &HashMap<String, Vec<&'a Event>>| {
            deletions.get(&thing)?.iter().copied().find(|deletion| deletion.event_id > id)
        };
        [first(&self.deletions), first(&self.final_deletions)]
    }

    /// The event, if the client may get it in this answer: it was a member at the event's position and is one now. (A node may
    /// know from the database that the client is a member again, before it has that event.)
    fn get(&self, id: i64, Answer { to, at, .. }: &Answer) -> Option<&'a Event> {
        let leave = self.visible.get(&id)?;
        let is_away = leave.is_some_and(|leave| leave.event_id <= *to && leave.back.is_none_or(|back| back > *at));
        self.by_id.get(&id).copied().filter(|_| !is_away)
    }
}

/// The deletions of an order, by their thing.
fn deletions(order: &[Event]) -> HashMap<String, Vec<&Event>> {
    let mut deletions: HashMap<String, Vec<&Event>> = HashMap::new();
    for event in order.iter().filter(|event| is_deletion(&event.content)) {
        if let Some(thing) = thing(&event.content) {
            deletions.entry(thing).or_default().push(event);
        }
    }
    deletions
}

/// The stays of a client along the order.
#[derive(Default)]
struct Stays {
    /// By community: the events since the stay began.
    events: HashMap<i64, Vec<i64>>,
    /// By community: the events of the last stay, which has ended.
    ended: HashMap<i64, Vec<i64>>,
    visible: BTreeMap<i64, Option<Leave>>,
}

impl Stays {
    fn begin(&mut self, community: i64, event: &Event) {
        for earlier in self.ended.remove(&community).unwrap_or_default() {
            if let Some(leave) = self.visible.get_mut(&earlier).and_then(Option::as_mut) {
                leave.back = Some(event.written_at);
            }
        }
        self.events.entry(community).or_default();
    }

    fn end(&mut self, community: i64, event: &Event) {
        let stay = self.events.remove(&community).unwrap_or_default();
        let leave = Leave { event_id: event.event_id, at: event.written_at, back: None };
        self.visible.extend(stay.iter().map(|earlier| (*earlier, Some(leave))));
        self.ended.insert(community, stay);
    }
}

/// The community whose kind the event says, and whether anyone may read it from then on.
fn turned(event: &Event) -> Option<(i64, bool)> {
    let content = &event.content;
    if !matches!(content["type"].as_str()?, "community_kind" | "community_changed") {
        return None;
    }
    let is_readable = content["kind"].as_str().is_some_and(|kind| matches!(kind, "public" | "open"));
    Some((content["community_id"].as_i64()?, is_readable))
}

fn check_path(name: &str, path: &Path, end: Option<i64>, era: &Era<'_>, verdict: &mut Verdict) {
    let (mut delivered, mut newest, mut cursor) = (HashSet::new(), path.start, path.start);
    // The cursor and the time of each answer.
    let mut passed = Vec::new();
    for answer in &path.answers {
        let Answer { events, to, at } = answer;
        for event in events {
            let id = event["event_id"].as_i64().unwrap_or_default();
            let Some(committed) = era.get(id, answer) else {
                verdict.note(|verdict| &mut verdict.leaked, || format!("{name} got {event}"));
                continue;
            };
            if id <= path.start || !delivered.insert(id) {
                verdict.note(|verdict| &mut verdict.repeated, || format!("{name} got {id} again"));
                continue;
            }
            if id < newest || id <= cursor || id > *to {
                let why = || format!("{name} got {id} after {newest}, on the way from {cursor} to {to}");
                verdict.note(|verdict| &mut verdict.out_of_order, why);
            }
            newest = newest.max(id);
            let deletions = era.deletions(event, id);
            if !same(event, &committed.content, deletions) {
                let why = || format!("{name} got {event}, and committed is {}", committed.content);
                verdict.note(|verdict| &mut verdict.altered, why);
            }
            // The node had the deletion when it answered.
            if deletions[0].is_some_and(|deletion| deletion.event_id <= *to) && redacted(event).is_none() {
                let why = || format!("{name} got {event} in an answer up to {to}, which has its deletion");
                verdict.note(|verdict| &mut verdict.deleted_texts, why);
            }
        }
        if *to < cursor {
            verdict.note(|verdict| &mut verdict.out_of_order, || format!("{name}'s cursor went from {cursor} to {to}"));
        }
        cursor = *to;
        passed.push((cursor, *at));
    }
    let end = end.unwrap_or(cursor).max(cursor);
    for (id, left) in era.visible.range(path.start + 1..).take_while(|(id, _)| **id <= end) {
        // A client that has left by the time of the answer does not get the events before either. The node may know that from
        // the database, before it has the event.
        let answer = passed.iter().find(|(to, _)| to >= id);
        let has_left = left.zip(answer).is_some_and(|(left, (_, at))| left.at <= *at);
        if !delivered.contains(id) && !has_left {
            let why = || format!("{name} did not get {id}, from {} to {cursor}", path.start);
            verdict.note(|verdict| &mut verdict.lost, why);
        }
    }
}

/// Whether a client's event is the committed one. Times may be written in different ways. If the thing was deleted later, either may
/// be redacted: the client's, if its node had the deletion, and the committed one.
fn same(delivered: &Value, committed: &Value, deletions: [Option<&Event>; 2]) -> bool {
    let (Some(delivered_fields), Some(committed_fields)) = (delivered.as_object(), committed.as_object()) else {
        return false;
    };
    let is_redacted = redacted(delivered).is_some() || redacted(committed).is_some();
    if is_redacted && (!is_tombstone(delivered, deletions) || !is_tombstone(committed, deletions)) {
        return false;
    }
    let counts = |name: &String| !(is_redacted && HIDDEN.contains(&name.as_str()));
    let differs = |name: &String| {
        let (one, other) = (delivered_fields.get(name), committed_fields.get(name));
        one != other && !(name == "timestamp" && is_same_time(one, other))
    };
    !delivered_fields.keys().chain(committed_fields.keys()).any(|name| counts(name) && differs(name))
}

/// The fields that a redaction changes.
const HIDDEN: [&str; 5] = ["topic", "text", "author", "mentions", "deleted_at"];

/// Whether the event, if it is redacted, says no more than when the thing was deleted.
fn is_tombstone(event: &Value, deletions: [Option<&Event>; 2]) -> bool {
    let is_then = |deletion: &Event| is_same_time(event.get("deleted_at"), deletion.content.get("timestamp"));
    redacted(event).is_none()
        || (HIDDEN[..3].iter().all(|name| event[*name].is_null()) && deletions.into_iter().flatten().any(is_then))
}

fn is_same_time(one: Option<&Value>, other: Option<&Value>) -> bool {
    let time =
        |value: Option<&Value>| value.and_then(Value::as_str).and_then(|text| text.parse::<DateTime<Utc>>().ok());
    time(one).is_some() && time(one) == time(other)
}
