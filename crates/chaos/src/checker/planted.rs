//! Tests that the checker finds planted faults.

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
        "parent_id": null, "comment_count": event_id, "text": format!("text {event_id}") });
    event(event_id, community, None, content)
}

/// User 7 joins communities 1 and 2, and leaves 2 for a while. Event 7 (during the absence) and event 9 (in a third community) are
/// not for this user.
fn order() -> Vec<Event> {
    let discussion = |id, discussion_id| {
        let content = json!({ "type": "new_discussion", "discussion_id": discussion_id, "text": format!("text {id}") });
        event(id, discussion_id, None, content)
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
    let delivered = |id: &i64| order[*id as usize - 1].content.clone();
    Answer { events: ids.iter().map(delivered).collect(), to, at: NOW }
}

/// The verdict on a client that got these events, each in its own answer, and reached the end.
fn delivered(ids: &[i64]) -> Verdict {
    let order = order();
    let mut answers: Vec<Answer> = ids.iter().map(|id| answer(&order, &[*id], *id)).collect();
    answers.push(answer(&order, &[], 11));
    judge(&order, answers)
}

fn judge(order: &[Event], answers: Vec<Answer>) -> Verdict {
    let paths = vec![Path { start: 2, answers, caught_up: None }];
    check(&truth(order), &[], &[client(paths)])
}

fn client(paths: Vec<Path>) -> History {
    History { name: "a client".to_owned(), user: 7, paths, ..History::default() }
}

/// The truth without failovers, with tables that agree with the events.
fn truth(order: &[Event]) -> Truth {
    let mut tables = Contents::default();
    for event in order {
        tables.apply(&event.content);
    }
    Truth { order: order.to_vec(), failovers: Vec::new(), tables }
}

/// The counts of lost, repeated, out of order, leaked, altered, writes and order. All other counts are zero.
fn counts(verdict: &Verdict) -> [usize; 7] {
    assert!(verdict.faults()[7..].iter().all(|(_, count)| *count == 0), "{:?}", verdict.examples);
    first_counts(verdict)
}

fn first_counts(verdict: &Verdict) -> [usize; 7] {
    assert_eq!(verdict.is_clean(), verdict.faults().iter().all(|(_, count)| *count == 0));
    std::array::from_fn(|index| verdict.faults()[index].1)
}

#[test]
fn what_is_right_is_clean() {
    assert_eq!(counts(&delivered(&[3, 4, 5, 6, 8, 10, 11])), [0; 7]);
    let order = order();
    let at_once = vec![answer(&order, &[3, 4, 5], 5), answer(&order, &[6, 8, 10, 11], 11)];
    assert_eq!(counts(&judge(&order, at_once)), [0; 7]);
}

#[test]
fn a_lost_event_is_caught() {
    assert_eq!(counts(&delivered(&[3, 4, 5, 6, 8, 11])), [1, 0, 0, 0, 0, 0, 0]);
    let order = order();
    // A client that never reached the end lost the events there.
    assert_eq!(counts(&judge(&order, vec![answer(&order, &[3, 4, 5, 6, 8], 9)])), [2, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_repeated_event_is_caught() {
    assert_eq!(counts(&delivered(&[3, 4, 5, 5, 6, 8, 10, 11])), [0, 1, 0, 0, 0, 0, 0]);
    // An event from before the client's start.
    let order = order();
    let answers = vec![answer(&order, &[2, 3, 4, 5, 6, 8, 10, 11], 11)];
    assert_eq!(counts(&judge(&order, answers)), [0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn an_event_out_of_order_is_caught() {
    let order = order();
    let swapped = vec![answer(&order, &[4, 3, 5, 6, 8, 10, 11], 11)];
    assert_eq!(counts(&judge(&order, swapped)), [0, 0, 1, 0, 0, 0, 0]);
    let late = vec![answer(&order, &[3, 4], 4), answer(&order, &[6], 6), answer(&order, &[5, 8, 10, 11], 11)];
    assert_eq!(counts(&judge(&order, late)), [0, 0, 1, 0, 0, 0, 0]);
    let ahead_of_its_cursor = vec![answer(&order, &[3, 4, 5], 4), answer(&order, &[6, 8, 10, 11], 11)];
    assert_eq!(counts(&judge(&order, ahead_of_its_cursor)), [0, 0, 1, 0, 0, 0, 0]);
    let cursor_back = vec![
        answer(&order, &[3, 4, 5], 5),
        answer(&order, &[6], 7),
        answer(&order, &[], 6),
        answer(&order, &[8, 10, 11], 11),
    ];
    assert_eq!(counts(&judge(&order, cursor_back)), [0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn a_leaked_event_is_caught() {
    // Event 7 happened while the user was no member, and event 9 in a community that the user was never in.
    assert_eq!(counts(&delivered(&[3, 4, 5, 6, 7, 8, 10, 11])), [0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(counts(&delivered(&[3, 4, 5, 6, 8, 9, 10, 11])), [0, 0, 0, 1, 0, 0, 0]);
    // An event in a community that is not in the token.
    let order = order();
    let answers = vec![answer(&order, &[3, 4, 10], 11)];
    let narrow = History { scope: Some(vec![1]), ..client(vec![Path { start: 2, answers, caught_up: None }]) };
    assert_eq!(counts(&check(&truth(&order), &[], &[narrow])), [0, 0, 0, 1, 0, 0, 0]);
    // An event that never happened.
    let mut invented = vec![answer(&order, &[3, 4, 5, 6, 8, 10, 11], 11)];
    invented[0].events[5]["event_id"] = json!(99);
    assert_eq!(counts(&judge(&order, invented)), [1, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn an_altered_event_is_caught() {
    let order = order();
    let mut answers = vec![answer(&order, &[3, 4, 5, 6, 8, 10, 11], 11)];
    answers[0].events[2]["text"] = json!("another text");
    assert_eq!(counts(&judge(&order, answers)), [0, 0, 0, 0, 1, 0, 0]);
}

/// The order of [`order`], in which event 12 deletes the comment of event 5. Event 5 is redacted if `in_outbox`.
fn with_deletion(in_outbox: bool) -> Vec<Event> {
    let mut order = order();
    let content = json!({ "type": "deleted_comment", "discussion_id": 2, "comment_id": 5, "parent_id": null, "comment_count": 1,
        "timestamp": "2026-01-01T00:00:00Z" });
    order.push(event(12, 2, None, content));
    if in_outbox {
        order[4].content = redaction(&order[4].content);
    }
    order
}

fn redaction(content: &Value) -> Value {
    let mut redacted = content.clone();
    (redacted["text"], redacted["author"]) = (Value::Null, Value::Null);
    redacted["deleted_at"] = json!("2026-01-01T00:00:00.000Z");
    redacted
}

#[test]
fn a_redacted_event_is_no_altered_one_and_a_deleted_text_is_caught() {
    let before = order();
    for in_outbox in [true, false] {
        let order = with_deletion(in_outbox);
        let judge = |answers| {
            let verdict = judge(&order, answers);
            let total: usize = verdict.faults().iter().map(|(_, count)| count).sum();
            assert_eq!(total, verdict.altered + verdict.deleted_texts, "{:?}", verdict.examples);
            (verdict.altered, verdict.deleted_texts)
        };
        let text = answer(&before, &[3, 4, 5, 6, 8, 10, 11], 11);
        let mut tombstone = text.clone();
        tombstone.events[2] = redaction(&text.events[2]);
        let deletion = answer(&order, &[12], 12);
        // The node had the deletion, or did not have it yet.
        assert_eq!(judge(vec![tombstone.clone(), deletion.clone()]), (0, 0));
        assert_eq!(judge(vec![text.clone(), deletion.clone()]), (0, 0));
        // The text comes with its deletion.
        let with = |answer: &Answer| {
            let events = [&answer.events[..], &deletion.events].concat();
            vec![Answer { events, to: 12, at: NOW }]
        };
        assert_eq!(judge(with(&tombstone)), (0, 0));
        assert_eq!(judge(with(&text)), (0, 1));
        // A tombstone of a comment that nobody deleted, or not at that time, or that shows something.
        let mut other = tombstone.clone();
        other.events[5] = redaction(&text.events[5]);
        assert_eq!(judge(vec![other, deletion.clone()]), (1, 0));
        for (name, value) in
            [("deleted_at", json!("2026-01-02T00:00:00Z")), ("text", json!("text 5")), ("comment_count", json!(9))]
        {
            let mut other = tombstone.clone();
            other.events[2][name] = value;
            assert_eq!(judge(vec![other, deletion.clone()]), (1, 0), "{name}");
        }
    }
}

#[test]
fn each_deletion_of_a_summary_explains_the_redactions_before_it() {
    let summary = |event_id, revision: i64, text: Option<&str>| {
        let author = text.map(|_| json!({ "id": 7 }));
        let timestamp = format!("2026-01-01T00:00:0{revision}Z");
        let content = json!({ "type": "updated_summary", "article_id": 3, "revision": revision, "text": text, "author": author,
            "timestamp": timestamp });
        event(event_id, 1, None, content)
    };
    let redacted = |event: &Event, at: &str| {
        let mut content = event.content.clone();
        (content["text"], content["author"], content["deleted_at"]) = (Value::Null, Value::Null, json!(at));
        Event { content, ..event.clone() }
    };
    let (first, again) = (summary(12, 1, Some("first")), summary(14, 3, Some("again")));
    let (gone, gone_again) = (summary(13, 2, None), summary(15, 4, None));
    let mut order = order();
    order.extend([
        redacted(&first, "2026-01-01T00:00:02Z"),
        gone,
        redacted(&again, "2026-01-01T00:00:04Z"),
        gone_again,
    ]);
    let before = answer(&order, &[3, 4, 5, 6, 8, 10, 11], 11);
    let verdict = |events: [&Value; 4], to: [i64; 4]| {
        let later = events.into_iter().zip(to).map(|(event, to)| Answer { events: vec![event.clone()], to, at: NOW });
        let verdict = judge(&order, [before.clone()].into_iter().chain(later).collect());
        let total: usize = verdict.faults().iter().map(|(_, count)| count).sum();
        assert_eq!(total, verdict.altered + verdict.deleted_texts, "{:?}", verdict.examples);
        (verdict.altered, verdict.deleted_texts)
    };
    let [one, two, three, four] = [11, 12, 13, 14].map(|at: usize| &order[at].content);
    assert_eq!(verdict([one, two, three, four], [12, 13, 14, 15]), (0, 0));
    assert_eq!(verdict([&first.content, two, &again.content, four], [12, 13, 14, 15]), (0, 0));
    let late = redacted(&first, "2026-01-01T00:00:04Z").content;
    assert_eq!(verdict([&late, two, three, four], [12, 13, 14, 15]), (1, 0));
    let all = Answer { events: vec![first.content, two.clone(), three.clone(), four.clone()], to: 15, at: NOW };
    assert_eq!(judge(&order, vec![before.clone(), all]).deleted_texts, 1);
}

#[test]
fn a_write_whose_text_was_deleted_is_found_by_its_thing_once() {
    let truth = truth(&with_deletion(true));
    let write = |mark: &str, thing: &str| Write {
        mark: mark.to_owned(),
        thing: Some(thing.to_owned()),
        acknowledged: Some(NOW),
    };
    let writes = [write("new_comment text 5", "new_comment of comment_id 5")];
    assert_eq!(check(&truth, &writes, &[]).writes, 0);
    let twice = [writes[0].clone(), write("new_comment text 99", "new_comment of comment_id 5")];
    assert_eq!(check(&truth, &twice, &[]).writes, 1);
    let edit = [write("updated_comment text 98", "updated_comment of comment_id 5")];
    assert_eq!(check(&truth, &edit, &[]).writes, 1);
}

#[test]
fn acknowledged_writes_are_in_the_order_once() {
    let write =
        |mark: &str, is_done: bool| Write { mark: mark.to_owned(), thing: None, acknowledged: is_done.then_some(NOW) };
    let mut order = order();
    let writes = [write("new_comment text 5", true), write("new_comment no", false), write("new_comment yes", true)];
    assert_eq!(counts(&check(&truth(&order), &writes, &[])), [0, 0, 0, 0, 0, 1, 0]);
    order[6].content["text"] = json!("text 5");
    assert_eq!(counts(&check(&truth(&order), &writes[..1], &[])), [0, 0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_fault_of_the_order_is_caught() {
    let mut gap = order();
    gap.remove(8);
    assert_eq!(counts(&check(&truth(&gap), &[], &[])), [0, 0, 0, 0, 0, 0, 1]);
    let mut early = order();
    let (discussion, comment) = (early[3].content.clone(), early[4].content.clone());
    (early[3].content, early[4].content) = (comment, discussion);
    assert_eq!(counts(&check(&truth(&early), &[], &[])), [0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn who_has_left_need_not_be_told_what_was_before() {
    // 4 and 5 are in the community that the user leaves at 6, and the same answer has event 6.
    let order = order();
    let answers = vec![answer(&order, &[3, 6, 8, 10, 11], 11)];
    assert_eq!(counts(&judge(&order, answers)), [0; 7]);
    // This answer came before the user left.
    let mut before = vec![answer(&order, &[3, 4], 5), answer(&order, &[6, 8, 10, 11], 11)];
    before[0].at = at(-1);
    assert_eq!(counts(&judge(&order, before)), [1, 0, 0, 0, 0, 0, 0]);
    // If they come with the end of the membership, before the user returns at 8, that is a leak.
    let mut order = order;
    order[7].written_at = at(1);
    let with_the_end = vec![answer(&order, &[3, 5, 6], 7), answer(&order, &[8, 10, 11], 11)];
    assert_eq!(counts(&judge(&order, with_the_end)), [0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_row_without_its_event_is_caught_and_an_event_without_its_row() {
    let rows = |truth: &Truth| check(truth, &[], &[]).rows;
    let mut truth = truth(&order());
    assert_eq!(rows(&truth), 0);
    let row = truth.tables.comments.remove(&5).unwrap();
    assert_eq!(rows(&truth), 1);
    truth.tables.comments.insert(5, row.clone());
    truth.tables.comments.insert(99, row);
    assert_eq!(rows(&truth), 1);
    truth.tables.comments.remove(&99);
    // An edit whose event is missing, and a counter that is wrong.
    truth.tables.comments.get_mut(&5).unwrap().text = Some("another text".to_owned());
    truth.tables.discussions.get_mut(&2).unwrap().comment_count += 1;
    assert_eq!(rows(&truth), 2);
}

#[test]
fn a_client_that_shows_something_else_is_caught() {
    let order = order();
    let truth = truth(&order);
    let shown = |ids: &[usize]| {
        let mut page = Page::new(2);
        page.take_discussions(&json!({ "discussions": [], "last_event_id": 2 }));
        ids.iter().for_each(|id| page.apply(&order[*id - 1].content));
        check(&truth, &[], &[History { page: Some(page), ..History::default() }]).pages
    };
    assert_eq!(shown(&[4, 5, 7, 10, 11]), 0);
    // A page without one comment, and an empty page.
    assert_eq!(shown(&[4, 5, 11]), 1);
    assert_eq!(shown(&[]), 1);
}

const LEAP: i64 = 1 << 32;

/// The order of [`order`], of which a failover kept everything up to 8. The dead primary had numbered 9, 10 and 11, and had
/// committed 12. The new one had only the row of 10, which got a number after the leap. Then one more event came.
fn after_a_failover() -> Truth {
    let before = order();
    let mut order = before[..8].to_vec();
    let unnumbered = comment(12, 1);
    for (offset, old) in [(1, &before[9]), (2, &comment(13, 2))] {
        let mut event = old.clone();
        event.event_id = LEAP + offset;
        event.content["event_id"] = json!(event.event_id);
        order.push(event);
    }
    let lost = [&before[8], &before[10], &unnumbered].map(|event| event.content.clone()).to_vec();
    let failover =
        Failover { from: at(10), to: at(11), kept: 8, base: Some(LEAP), numbered: before[8..].to_vec(), lost };
    Truth { failovers: vec![failover], ..truth(&order) }
}

fn at(seconds: i64) -> DateTime<Utc> {
    NOW + chrono::Duration::seconds(seconds)
}

/// A client that got all events of the first era and `catchup_required` at 12 s.
fn path_before(truth: &Truth) -> Path {
    let delivered = |ids: &[i64]| {
        let events = truth.order[..8].iter().chain(&truth.failovers[0].numbered);
        events.filter(|event| ids.contains(&event.event_id)).map(|event| event.content.clone()).collect()
    };
    let answers = vec![
        Answer { events: delivered(&[3, 4, 5, 6, 8]), to: 9, at: NOW },
        Answer { events: delivered(&[10, 11]), to: 11, at: NOW },
    ];
    Path { start: 2, answers, caught_up: Some(at(12)) }
}

fn path_after(truth: &Truth) -> Path {
    let events = truth.order[8..].iter().map(|event| event.content.clone()).collect();
    Path { start: LEAP, answers: vec![Answer { events, to: LEAP + 2, at: at(13) }], caught_up: None }
}

fn judge_failover(truth: &Truth, paths: Vec<Path>) -> Verdict {
    check(truth, &[], &[client(paths)])
}

#[test]
fn a_failover_with_a_loss_is_clean_when_everyone_catches_up() {
    let truth = after_a_failover();
    assert_eq!(counts(&judge_failover(&truth, vec![path_before(&truth), path_after(&truth)])), [0; 7]);
    // It had to catch up twice: at a node that had not leaped yet, and again after the leap.
    let between = Path { start: 8, answers: Vec::new(), caught_up: Some(at(12)) };
    assert_eq!(counts(&judge_failover(&truth, vec![path_before(&truth), between, path_after(&truth)])), [0; 7]);
}

#[test]
fn what_was_told_of_the_lost_future_is_checked_too() {
    let truth = after_a_failover();
    let mut before = path_before(&truth);
    before.answers[1].events.remove(0);
    assert_eq!(counts(&judge_failover(&truth, vec![before, path_after(&truth)])), [1, 0, 0, 0, 0, 0, 0]);
    let mut before = path_before(&truth);
    before.answers[1].events[0]["text"] = json!("another text");
    assert_eq!(counts(&judge_failover(&truth, vec![before, path_after(&truth)])), [0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn a_phantom_after_the_failover_is_caught() {
    // Event 11 of the lost part, delivered after the leap.
    let truth = after_a_failover();
    let mut after = path_after(&truth);
    after.answers[0].events.insert(0, truth.failovers[0].numbered[2].content.clone());
    assert_eq!(counts(&judge_failover(&truth, vec![path_before(&truth), after])), [0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_catch_up_that_no_failover_excuses_is_caught() {
    let truth = after_a_failover();
    // A catch-up before the primary died, and another one after the leap.
    let early = Path { caught_up: Some(at(9)), ..path_before(&truth) };
    assert_eq!(judge_failover(&truth, vec![early, path_after(&truth)]).catch_ups, 1);
    let again = Path { caught_up: Some(at(14)), ..path_after(&truth) };
    let last = Path { start: LEAP + 2, ..Path::default() };
    assert_eq!(judge_failover(&truth, vec![path_before(&truth), again, last]).catch_ups, 1);
}

#[test]
fn a_cursor_that_goes_on_over_a_leap_is_caught() {
    let truth = after_a_failover();
    let mut path = path_before(&truth);
    path.caught_up = None;
    path.answers.extend(path_after(&truth).answers);
    let verdict = judge_failover(&truth, vec![path]);
    // The events after the leap do not belong to its era.
    assert_eq!((verdict.crossed, verdict.leaked), (1, 2));
    // A client that never noticed the leap.
    let silent = Path { caught_up: None, ..path_before(&truth) };
    assert_eq!(judge_failover(&truth, vec![silent]).crossed, 1);
}

#[test]
fn only_the_dead_primary_excuses_a_lost_write() {
    let truth = after_a_failover();
    let judge = |text: &str, seconds| {
        let write = Write { mark: format!("new_comment text {text}"), thing: None, acknowledged: Some(at(seconds)) };
        let verdict = check(&truth, &[write], &[]);
        (verdict.lost_with_primary, verdict.writes)
    };
    // With or without a number, only the dead primary had it.
    assert_eq!((judge("11", 9), judge("12", 9)), ((1, 0), (1, 0)));
    // It was acknowledged by the new primary, or the dead primary never had it, or it was kept.
    assert_eq!((judge("11", 12), judge("99", 9), judge("10", 9)), ((0, 1), (0, 1), (0, 0)));
}

#[test]
fn a_failover_without_a_leap_is_caught_and_so_is_a_jump_that_is_no_leap() {
    let mut truth = after_a_failover();
    truth.failovers[0].base = None;
    let verdict = check(&truth, &[], &[]);
    assert_eq!((verdict.no_leaps, verdict.order), (1, 1));
    // A leap from an event after the kept ones.
    let mut truth = after_a_failover();
    truth.failovers[0].kept = 7;
    truth.failovers[0].numbered.insert(0, order()[7].clone());
    assert_eq!(check(&truth, &[], &[]).order, 1);
}

/// User 7 watches community 1, which anyone may read up to event 3 and from event 5 on.
#[test]
fn a_watcher_gets_what_anyone_may_read() {
    let turn = |id, community, name, kind| event(id, community, None, json!({ "type": name, "kind": kind }));
    let mut new = turn(1, 1, "community_kind", "public");
    new.community = 0;
    let discussion = event(2, 1, None, json!({ "type": "new_discussion", "discussion_id": 1, "text": "text 2" }));
    let order = vec![
        new,
        discussion,
        turn(3, 1, "community_changed", "private"),
        comment(4, 1),
        turn(5, 1, "community_changed", "open"),
        comment(6, 1),
    ];
    let verdict = |ids: &[i64]| {
        let mut answers: Vec<Answer> = ids.iter().map(|id| answer(&order, &[*id], *id)).collect();
        answers.push(answer(&order, &[], 6));
        let paths = vec![Path { start: 1, answers, caught_up: None }];
        check(&truth(&order), &[], &[History { watch: vec![1], ..client(paths) }])
    };
    assert!(verdict(&[2, 3, 5, 6]).is_clean(), "{:?}", verdict(&[2, 3, 5, 6]).examples);
    assert_eq!(verdict(&[2, 3, 4, 5, 6]).leaked, 1);
    for lost in [&[2, 5, 6][..], &[2, 3, 6], &[2, 3, 5]] {
        assert_eq!(verdict(lost).lost, 1, "{lost:?}");
    }
}
