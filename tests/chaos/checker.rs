//! Says what went wrong, from the order of events as it is in the end and from what each client was told.
//!
//! The outbox is the truth: it says which event came when, and, by its membership events, who was a member at that place.
//! What a client should have been told between two cursors follows from it, exactly.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

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

/// A change that a client asked for, named by [`mark`].
#[derive(Clone, Debug)]
pub struct Write {
    pub mark: String,
    /// Whether the client was told that it is done. One that was not told may or may not find it done.
    pub acknowledged: bool,
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
}

/// The way of a cursor.
#[derive(Clone, Debug, Default)]
pub struct Path {
    pub start: i64,
    pub answers: Vec<Answer>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Some of them, in words.
    pub examples: Vec<String>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    fn note(&mut self, count: impl Fn(&mut Self) -> &mut usize, what: impl FnOnce() -> String) {
        let count = count(self);
        *count += 1;
        if *count <= EXAMPLES {
            self.examples.push(what());
        }
    }
}

/// What names the change that made an event: unique, as the clients of this test write no text twice.
pub fn mark(content: &Value) -> Option<String> {
    let kind = content["type"].as_str()?;
    match kind {
        "deleted_comment" => Some(format!("{kind} {}", content["comment_id"])),
        _ => content["text"].as_str().map(|text| format!("{kind} {text}")),
    }
}

/// Checks everything up to the end of `order`, which ascends by event_id.
pub fn check(order: &[Event], writes: &[Write], histories: &[History]) -> Verdict {
    let mut verdict = Verdict::default();
    check_order(order, &mut verdict);
    check_writes(order, writes, &mut verdict);
    let by_id: HashMap<i64, &Event> = order.iter().map(|event| (event.event_id, event)).collect();
    for history in histories {
        let visible = visible(order, history);
        for (index, path) in history.paths.iter().enumerate() {
            // A client that keeps polling gets to the end; one that was told to catch up ended its path there.
            let end = if index + 1 == history.paths.len() { order.last().map(|event| event.event_id) } else { None };
            check_path(history, path, end, &visible, &by_id, &mut verdict);
        }
    }
    verdict
}

fn check_order(order: &[Event], verdict: &mut Verdict) {
    let (mut discussions, mut comments) = (HashSet::new(), HashSet::new());
    for (place, event) in order.iter().enumerate() {
        if event.event_id != place as i64 + 1 {
            verdict
                .note(|verdict| &mut verdict.order, || format!("event {} is at place {}", event.event_id, place + 1));
        }
        let content = &event.content;
        let (discussion, comment) = (&content["discussion_id"], &content["comment_id"]);
        let in_place = match content["type"].as_str().unwrap_or_default() {
            "new_discussion" => discussions.insert(discussion),
            "updated_discussion" | "deleted_discussion" => discussions.contains(discussion),
            "new_comment" => {
                let parent = &content["parent_id"];
                let follows = parent.is_null() || comments.contains(parent);
                comments.insert(comment) && follows && discussions.contains(discussion)
            }
            "updated_comment" | "deleted_comment" => comments.contains(comment),
            _ => true,
        };
        if !in_place {
            verdict.note(|verdict| &mut verdict.order, || format!("{content} comes before what it depends on"));
        }
    }
}

fn check_writes(order: &[Event], writes: &[Write], verdict: &mut Verdict) {
    let mut found: HashMap<String, usize> = HashMap::new();
    for mark in order.iter().filter_map(|event| mark(&event.content)) {
        *found.entry(mark).or_default() += 1;
    }
    for write in writes {
        let times = found.get(&write.mark).copied().unwrap_or_default();
        if times > 1 || (times == 0 && write.acknowledged) {
            let Write { mark, acknowledged } = write;
            verdict.note(
                |verdict| &mut verdict.writes,
                || format!("{mark} (acknowledged: {acknowledged}) is in the order {times} times"),
            );
        }
    }
}

/// The events that the client may and must be told.
fn visible(order: &[Event], history: &History) -> BTreeSet<i64> {
    let allowed = |community| history.scope.as_ref().is_none_or(|scope| scope.contains(&community));
    let mut communities = HashSet::new();
    let mut visible = BTreeSet::new();
    for event in order {
        let theirs = match event.user {
            Some(user) if user == history.user => {
                if event.content["role"].is_null() {
                    communities.remove(&event.community);
                } else {
                    communities.insert(event.community);
                }
                true
            }
            Some(_) => false,
            None => communities.contains(&event.community),
        };
        if theirs && allowed(event.community) {
            visible.insert(event.event_id);
        }
    }
    visible
}

fn check_path(
    history: &History,
    path: &Path,
    end: Option<i64>,
    visible: &BTreeSet<i64>,
    by_id: &HashMap<i64, &Event>,
    verdict: &mut Verdict,
) {
    let name = &history.name;
    let (mut told, mut newest, mut cursor) = (HashSet::new(), path.start, path.start);
    for Answer { events, to, .. } in &path.answers {
        for event in events {
            let id = event["event_id"].as_i64().unwrap_or_default();
            let Some(committed) = by_id.get(&id).filter(|_| visible.contains(&id)) else {
                verdict.note(|verdict| &mut verdict.leaked, || format!("{name} was told {event}"));
                continue;
            };
            if id <= path.start || !told.insert(id) {
                verdict.note(|verdict| &mut verdict.repeated, || format!("{name} was told {id} again"));
                continue;
            }
            if id < newest || id <= cursor || id > *to {
                let why = || format!("{name} was told {id} after {newest}, on the way from {cursor} to {to}");
                verdict.note(|verdict| &mut verdict.out_of_order, why);
            }
            newest = newest.max(id);
            if !same(event, &committed.content) {
                let why = || format!("{name} was told {event}, and committed is {}", committed.content);
                verdict.note(|verdict| &mut verdict.altered, why);
            }
        }
        if *to < cursor {
            verdict.note(|verdict| &mut verdict.out_of_order, || format!("{name}'s cursor went from {cursor} to {to}"));
        }
        cursor = *to;
    }
    for id in visible.range(path.start + 1..=end.unwrap_or(cursor).max(cursor)) {
        if !told.contains(id) {
            let why = || format!("{name} was not told {id}, from {} to {cursor}", path.start);
            verdict.note(|verdict| &mut verdict.lost, why);
        }
    }
}

/// Whether a client was told what was committed. Times may be written in several ways.
fn same(told: &Value, committed: &Value) -> bool {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
    let (Some(told), Some(committed)) = (told.as_object(), committed.as_object()) else { return false };
    told.len() == committed.len()
        && committed.iter().all(|(name, value)| match told.get(name) {
            Some(other) if name == "timestamp" => time(other).is_some() && time(other) == time(value),
            other => other == Some(value),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn event(event_id: i64, community: i64, user: Option<i64>, mut content: Value) -> Event {
        content["event_id"] = json!(event_id);
        content["community_id"] = json!(community);
        Event { event_id, community, user, content, written_at: NOW }
    }

    fn moved(event_id: i64, community: i64, role: Option<&str>) -> Event {
        event(event_id, community, Some(7), json!({ "type": "membership_changed", "user_id": 7, "role": role }))
    }

    fn comment(event_id: i64, community: i64) -> Event {
        let content = json!({ "type": "new_comment", "discussion_id": community, "comment_id": event_id,
            "parent_id": null, "text": format!("text {event_id}") });
        event(event_id, community, None, content)
    }

    /// User 7 joins 1 and 2, and leaves 2 for a while: not theirs are 7 (while away) and 9 (of a third community).
    fn order() -> Vec<Event> {
        let discussion = |id, place| {
            let content = json!({ "type": "new_discussion", "discussion_id": place, "text": format!("text {id}") });
            event(id, place, None, content)
        };
        vec![
            moved(1, 1, Some("member")),
            moved(2, 2, Some("member")),
            discussion(3, 1),
            discussion(4, 2),
            comment(5, 2),
            moved(6, 2, None),
            comment(7, 2),
            moved(8, 2, Some("member")),
            discussion(9, 3),
            comment(10, 1),
            comment(11, 2),
        ]
    }

    fn answer(order: &[Event], ids: &[i64], to: i64) -> Answer {
        let told = |id: &i64| order[*id as usize - 1].content.clone();
        Answer { events: ids.iter().map(told).collect(), to, at: NOW }
    }

    /// A client that was told these events, each in an answer of its own, and got to the end.
    fn told(ids: &[i64]) -> Verdict {
        let order = order();
        let mut answers: Vec<Answer> = ids.iter().map(|id| answer(&order, &[*id], *id)).collect();
        answers.push(answer(&order, &[], 11));
        judge(&order, answers)
    }

    fn judge(order: &[Event], answers: Vec<Answer>) -> Verdict {
        let paths = vec![Path { start: 2, answers }];
        check(order, &[], &[History { name: "a client".to_owned(), user: 7, scope: None, paths }])
    }

    /// The counts: lost, repeated, out of order, leaked, altered, writes, order.
    fn counts(verdict: &Verdict) -> [usize; 7] {
        let Verdict { lost, repeated, out_of_order, leaked, altered, writes, order, examples } = verdict;
        assert_eq!(examples.is_empty(), verdict.is_clean());
        [*lost, *repeated, *out_of_order, *leaked, *altered, *writes, *order]
    }

    #[test]
    fn what_is_right_is_clean() {
        assert_eq!(counts(&told(&[3, 4, 5, 6, 8, 10, 11])), [0; 7]);
        let order = order();
        let at_once = vec![answer(&order, &[3, 4, 5], 5), answer(&order, &[6, 8, 10, 11], 11)];
        assert_eq!(counts(&judge(&order, at_once)), [0; 7]);
    }

    #[test]
    fn a_lost_event_is_caught() {
        assert_eq!(counts(&told(&[3, 4, 6, 8, 10, 11])), [1, 0, 0, 0, 0, 0, 0]);
        let order = order();
        // A client that never got to the end lost what is there.
        assert_eq!(counts(&judge(&order, vec![answer(&order, &[3, 4, 5, 6, 8], 9)])), [2, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_repeated_event_is_caught() {
        assert_eq!(counts(&told(&[3, 4, 5, 5, 6, 8, 10, 11])), [0, 1, 0, 0, 0, 0, 0]);
        // From before the client's start.
        let order = order();
        let answers = vec![answer(&order, &[2, 3, 4, 5, 6, 8, 10, 11], 11)];
        assert_eq!(counts(&judge(&order, answers)), [0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_event_out_of_order_is_caught() {
        let order = order();
        let swapped = vec![answer(&order, &[4, 3, 5, 6, 8, 10, 11], 11)];
        assert_eq!(counts(&judge(&order, swapped)), [0, 0, 1, 0, 0, 0, 0]);
        let late = vec![answer(&order, &[3, 4, 6], 6), answer(&order, &[5, 8, 10, 11], 11)];
        assert_eq!(counts(&judge(&order, late)), [0, 0, 1, 0, 0, 0, 0]);
        let ahead_of_its_cursor = vec![answer(&order, &[3, 4, 5], 4), answer(&order, &[6, 8, 10, 11], 11)];
        assert_eq!(counts(&judge(&order, ahead_of_its_cursor)), [0, 0, 1, 0, 0, 0, 0]);
        let cursor_back =
            vec![answer(&order, &[3, 4, 5, 6], 7), answer(&order, &[], 6), answer(&order, &[8, 10, 11], 11)];
        assert_eq!(counts(&judge(&order, cursor_back)), [0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_leaked_event_is_caught() {
        // While the user was away; and of a community that the user was never in.
        assert_eq!(counts(&told(&[3, 4, 5, 6, 7, 8, 10, 11])), [0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(counts(&told(&[3, 4, 5, 6, 8, 9, 10, 11])), [0, 0, 0, 1, 0, 0, 0]);
        // Outside of what the token is narrowed to.
        let order = order();
        let paths = vec![Path { start: 2, answers: vec![answer(&order, &[3, 4, 10], 11)] }];
        let narrow = History { name: "a client".to_owned(), user: 7, scope: Some(vec![1]), paths };
        assert_eq!(counts(&check(&order, &[], &[narrow])), [0, 0, 0, 1, 0, 0, 0]);
        // An event that never happened.
        let mut invented = vec![answer(&order, &[3, 4, 5, 6, 8, 10, 11], 11)];
        invented[0].events[1]["event_id"] = json!(99);
        assert_eq!(counts(&judge(&order, invented)), [1, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn an_altered_event_is_caught() {
        let order = order();
        let mut answers = vec![answer(&order, &[3, 4, 5, 6, 8, 10, 11], 11)];
        answers[0].events[2]["text"] = json!("another text");
        assert_eq!(counts(&judge(&order, answers)), [0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn acknowledged_writes_are_in_the_order_once() {
        let write = |mark: &str, acknowledged| Write { mark: mark.to_owned(), acknowledged };
        let mut order = order();
        let writes =
            [write("new_comment text 5", true), write("new_comment no", false), write("new_comment yes", true)];
        assert_eq!(counts(&check(&order, &writes, &[])), [0, 0, 0, 0, 0, 1, 0]);
        order[6].content["text"] = json!("text 5");
        assert_eq!(counts(&check(&order, &writes[..1], &[])), [0, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_fault_of_the_order_is_caught() {
        let mut gap = order();
        gap.remove(8);
        assert_eq!(counts(&check(&gap, &[], &[])), [0, 0, 0, 0, 0, 0, 2]);
        let mut early = order();
        let (discussion, comment) = (early[3].content.clone(), early[4].content.clone());
        (early[3].content, early[4].content) = (comment, discussion);
        assert_eq!(counts(&check(&early, &[], &[])), [0, 0, 0, 0, 0, 0, 1]);
    }
}
