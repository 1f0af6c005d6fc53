//! Tests that a reader notices each kind of fault.

use std::sync::Arc;

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::{LoadArgs, run_state::RunState, scenario::Scenario};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: LoadArgs,
}

/// A reader in communities 0 and 1 of three, and its worker.
fn reader() -> (Reader, Worker) {
    let arguments = "load --communities 3 --memberships 2 --jwt-secret a-secret-of-this-test-of-enough-bytes --database-url postgres://nowhere";
    let scenario = Arc::new(Scenario::new(Cli::parse_from(arguments.split(' ')).args).unwrap());
    let worker = Worker::new(&scenario, &Arc::new(RunState::new(&scenario)));
    (Reader::new(&worker, 0).unwrap(), worker)
}

fn comment(worker: &Worker, event_id: i64, community: u32, number: u32) -> Value {
    let tag = MessageTag { run: worker.scenario.run, community, number, began: 0 };
    json!({ "event_id": event_id, "type": "new_comment", "community_id": worker.scenario.community(community),
        "text": tag.to_string() })
}

impl Reader {
    fn answered(&mut self, worker: &Worker, events: &[Value], last_event_id: i64) {
        let body = json!({ "events": events, "last_event_id": last_event_id }).to_string();
        self.handle_poll(worker, &Answer { status: 200, body: body.as_bytes(), closes: false }).unwrap();
    }
}

/// The counts of missed, repeated, out of order and leaked comments.
fn faults(reader: &Reader, worker: &Worker, written: &[(u32, u32)]) -> [u64; 4] {
    for (community, number) in written {
        worker.state.record_written(*community, *number);
    }
    let tally = worker.tally.borrow();
    [reader.missed(&worker.state.written()), tally.repeated, tally.disordered, tally.leaked]
}

#[test]
fn comments_in_order_are_no_fault() {
    let (mut reader, worker) = reader();
    let first = comment(&worker, 5, 0, 0);
    reader.answered(&worker, &[first], 5);
    reader.answered(&worker, &[], 6);
    let (second, third) = (comment(&worker, 8, 1, 0), comment(&worker, 9, 0, 1));
    reader.answered(&worker, &[second, third], 9);
    // The comment in community 2 is not for this reader.
    assert_eq!(faults(&reader, &worker, &[(0, 0), (1, 0), (0, 1), (2, 0)]), [0; 4]);
    assert_eq!(worker.tally.borrow().delivery.len(), 3);
    assert_eq!(worker.state.deliveries().0, 3);
}

#[test]
fn a_comment_that_never_came_is_missed() {
    let (mut reader, worker) = reader();
    let second = comment(&worker, 6, 0, 1);
    reader.answered(&worker, &[second], 6);
    assert_eq!(faults(&reader, &worker, &[(0, 0), (0, 1), (1, 0)]), [2, 0, 0, 0]);
}

#[test]
fn the_numbers_of_comments_need_not_be_in_order() {
    let (mut reader, worker) = reader();
    let (far, near) = (comment(&worker, 5, 0, 1_000), comment(&worker, 6, 0, 63));
    reader.answered(&worker, &[far, near], 6);
    assert_eq!(faults(&reader, &worker, &[(0, 63), (0, 1_000)]), [0; 4]);
    assert_eq!(faults(&reader, &worker, &[(0, 64), (0, 2_000)]), [2, 0, 0, 0]);
}

#[test]
fn a_comment_that_came_twice_is_repeated() {
    let (mut reader, worker) = reader();
    let first = comment(&worker, 5, 0, 0);
    reader.answered(&worker, &[first.clone(), first.clone()], 5);
    reader.answered(&worker, &[first], 5);
    assert_eq!(faults(&reader, &worker, &[(0, 0)]), [0, 2, 0, 0]);
}

#[test]
fn an_older_event_after_a_newer_one_is_out_of_order() {
    let (mut reader, worker) = reader();
    let (first, second) = (comment(&worker, 5, 0, 0), comment(&worker, 6, 0, 1));
    reader.answered(&worker, &[second, first], 6);
    assert_eq!(faults(&reader, &worker, &[(0, 0), (0, 1)]), [0, 0, 1, 0]);
    // A cursor that goes back counts as well.
    reader.answered(&worker, &[], 4);
    assert_eq!(faults(&reader, &worker, &[]), [0, 0, 2, 0]);
}

#[test]
fn an_event_for_other_users_is_leaked() {
    let (mut reader, worker) = reader();
    let foreign = comment(&worker, 5, 2, 0);
    let mut hidden = comment(&worker, 6, 2, 1);
    hidden["community_id"] = json!(worker.scenario.community(0));
    let other = json!({ "event_id": 7, "type": "membership_changed", "community_id": worker.scenario.community(0),
        "user_id": worker.scenario.reader(1) });
    let own = json!({ "event_id": 8, "type": "membership_changed", "community_id": worker.scenario.community(0),
        "user_id": worker.scenario.reader(0) });
    reader.answered(&worker, &[foreign, hidden, other, own], 8);
    assert_eq!(faults(&reader, &worker, &[(2, 0), (2, 1)]), [0, 0, 0, 3]);
}

#[test]
fn after_catchup_required_no_comment_is_missed() {
    let (mut reader, worker) = reader();
    let answer = Answer { status: 200, body: br#"{"catchup_required":true}"#, closes: false };
    reader.handle_poll(&worker, &answer).unwrap();
    assert_eq!(faults(&reader, &worker, &[(0, 0)]), [0; 4]);
    assert_eq!(worker.tally.borrow().catchups, 1);
}
