//! Checks the order itself, the writes in it, and the tables.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Debug,
};

use super::{Contents, Event, Failover, Truth, Verdict, Write, mark, redacted};

/// Checks the order of an era that began after `failovers`.
pub(super) fn check(order: &[Event], failovers: &[Failover], verdict: &mut Verdict) {
    let (mut discussions, mut comments) = (HashSet::new(), HashSet::new());
    let mut last = 0;
    for event in order {
        // Only a failover may leap, from what it kept to its base.
        let leaps = |failover: &Failover| failover.base == Some(event.event_id - 1) && failover.kept >= last;
        if event.event_id != last + 1 && !failovers.iter().any(leaps) {
            verdict.note(|verdict| &mut verdict.order, || format!("event {} comes after {last}", event.event_id));
        }
        last = event.event_id;
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
            "votes_changed" | "own_vote_changed" | "read_state_changed" if comment.is_null() => {
                discussions.contains(discussion)
            }
            "votes_changed" | "own_vote_changed" => comments.contains(comment),
            "follow_changed" => discussion.is_null() || discussions.contains(discussion),
            _ => true,
        };
        if !in_place {
            verdict.note(|verdict| &mut verdict.order, || format!("{content} comes before what it depends on"));
        }
    }
}

/// Checks that an acknowledged write is in the order once. A redacted event stands for one write of its type to its thing. A write
/// may be missing only after a failover, if the dead primary had it, the new one does not, and it was acknowledged before the new
/// primary accepted connections.
pub(super) fn check_writes(truth: &Truth, writes: &[Write], verdict: &mut Verdict) {
    let mut found: HashMap<String, usize> = HashMap::new();
    for mark in truth.order.iter().filter_map(|event| mark(&event.content)) {
        *found.entry(mark).or_default() += 1;
    }
    let mut without_text: HashMap<String, usize> = HashMap::new();
    for event in truth.order.iter().filter_map(|event| redacted(&event.content)) {
        *without_text.entry(event).or_default() += 1;
    }
    let name = |content| mark(content).or_else(|| redacted(content));
    let lost: Vec<HashSet<String>> =
        truth.failovers.iter().map(|failover| failover.lost.iter().filter_map(name).collect()).collect();
    for Write { mark, thing, acknowledged } in writes {
        let times = found.get(mark).copied().unwrap_or_default();
        let is_lost = |at| {
            let is_it =
                |lost: &HashSet<String>| lost.contains(mark) || thing.as_ref().is_some_and(|it| lost.contains(it));
            let mut failovers = truth.failovers.iter().zip(&lost);
            failovers.any(|(failover, lost)| at <= failover.to && is_it(lost))
        };
        if acknowledged.is_some()
            && times == 0
            && let Some(left) = thing.as_ref().and_then(|thing| without_text.get_mut(thing)).filter(|left| **left > 0)
        {
            *left -= 1;
            continue;
        }
        match acknowledged {
            Some(at) if times == 0 && is_lost(*at) => verdict.lost_with_primary += 1,
            Some(_) if times == 1 => {}
            None if times <= 1 => {}
            _ => verdict.note(
                |verdict| &mut verdict.writes,
                || format!("{mark} (acknowledged: {acknowledged:?}) is in the order {times} times"),
            ),
        }
    }
}

/// Checks that all events together result in the contents of the tables.
pub(super) fn check_rows(truth: &Truth, verdict: &mut Verdict) {
    let mut folded = Contents::default();
    for event in &truth.order {
        folded.apply(&event.content);
    }
    let tables = &truth.tables;
    compare("discussion", &folded.discussions, &tables.discussions, verdict);
    compare("comment", &folded.comments, &tables.comments, verdict);
    compare("vote", &folded.ballots, &tables.ballots, verdict);
    compare("notification", &folded.notifications, &tables.notifications, verdict);
    compare("what was said about following, by user and place:", &folded.follows, &tables.follows, verdict);
    compare("the summary, by community and article:", &folded.summaries, &tables.summaries, verdict);
    compare("what was read, by user and discussion:", &folded.read, &tables.read, verdict);
}

fn compare<K: Debug + Ord, V: Debug + PartialEq>(
    what: &str,
    folded: &BTreeMap<K, V>,
    rows: &BTreeMap<K, V>,
    verdict: &mut Verdict,
) {
    for key in folded.keys().chain(rows.keys().filter(|key| !folded.contains_key(key))) {
        let (folded, row) = (folded.get(key), rows.get(key));
        if folded != row {
            let why = || format!("{what} {key:?}: its events say {folded:?}, its row {row:?}");
            verdict.note(|verdict| &mut verdict.rows, why);
        }
    }
}
