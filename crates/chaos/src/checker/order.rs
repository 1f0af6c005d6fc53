//! The order itself, what became of writes, and the tables beside it.

use std::collections::{HashMap, HashSet};

use super::{Contents, Event, Failover, Truth, Verdict, Write, mark};

/// Checks the order of an era that began after `failovers`.
pub fn check(order: &[Event], failovers: &[Failover], verdict: &mut Verdict) {
    let (mut discussions, mut comments) = (HashSet::new(), HashSet::new());
    let mut last = 0;
    for event in order {
        // A leap goes from what a failover kept to its base, and nowhere else.
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
            _ => true,
        };
        if !in_place {
            verdict.note(|verdict| &mut verdict.order, || format!("{content} comes before what it depends on"));
        }
    }
}

/// An acknowledged write is in the order once. Only a failover excuses its absence: where its dead primary had it, the new
/// one never got it, and it was acknowledged before the new one was in place.
pub fn check_writes(truth: &Truth, writes: &[Write], verdict: &mut Verdict) {
    let mut found: HashMap<String, usize> = HashMap::new();
    for mark in truth.order.iter().filter_map(|event| mark(&event.content)) {
        *found.entry(mark).or_default() += 1;
    }
    let lost: Vec<HashSet<String>> =
        truth.failovers.iter().map(|failover| failover.lost.iter().filter_map(mark).collect()).collect();
    for Write { mark, acknowledged } in writes {
        let times = found.get(mark).copied().unwrap_or_default();
        let is_lost = |at| {
            let mut failovers = truth.failovers.iter().zip(&lost);
            failovers.any(|(failover, lost)| at <= failover.to && lost.contains(mark))
        };
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

/// All events together say what is in the tables.
pub fn check_rows(truth: &Truth, verdict: &mut Verdict) {
    let mut told = Contents::default();
    for event in &truth.order {
        told.apply(&event.content);
    }
    let tables = &truth.tables;
    let discussions = told.discussions.keys().chain(tables.discussions.keys()).collect::<HashSet<_>>();
    for id in discussions {
        let (told, row) = (told.discussions.get(id), tables.discussions.get(id));
        if told != row {
            let why = || format!("discussion {id}: its events say {told:?}, its row {row:?}");
            verdict.note(|verdict| &mut verdict.rows, why);
        }
    }
    let comments = told.comments.keys().chain(tables.comments.keys()).collect::<HashSet<_>>();
    for id in comments {
        let (told, row) = (told.comments.get(id), tables.comments.get(id));
        if told != row {
            verdict.note(
                |verdict| &mut verdict.rows,
                || format!("comment {id}: its events say {told:?}, its row {row:?}"),
            );
        }
    }
}
