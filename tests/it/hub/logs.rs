//! The bounds of the logs.

use super::*;

#[test]
fn the_logs_stay_within_their_bounds() {
    let limits = Limits { community_events: 10, total_events: 40, total_bytes: 6_000, queue_ttl: TTL };
    let hub = TestHub::new(limits, 0, []);
    let mut most = 0;
    for event_id in 1..=500 {
        hub.append(&event(event_id, event_id % 13, (event_id as usize * 37) % 900));
        let stats = hub.stats();
        assert!(stats.events <= 40 && stats.bytes <= 6_000, "{stats:?}");
        most = most.max(stats.events);
    }
    assert!(most > 10);
    // An event that is larger than the limit is not kept either.
    hub.append(&event(501, 1, 10_000));
    assert_eq!((hub.stats().events, hub.stats().bytes), (0, 0));
    for event_id in 502..=600 {
        hub.append(&event(event_id, 1, 0));
        assert!(hub.stats().events <= 10);
    }
    assert_eq!(hub.stats().events, 10);
}

#[test]
fn a_deletion_redacts_the_older_events_of_its_thing_and_frees_their_bytes() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[1, 2]), now);
    let events = [shows(1, 1, 7, 900), shows(2, 1, 8, 900), shows(3, 2, 7, 900), shows(4, 1, 7, 900), deletes(5, 1, 7)];
    for event in &events {
        hub.append(event);
    }
    // A comment of this number in another community is another one; only a faulty program could write both.
    let PollOutcome::Answer(body) = hub.poll(queue, 1, &Scope::default(), 0, false, now) else { panic!("no answer") };
    let (delivered, _) = read(&body);
    for (event, written) in delivered.iter().zip(&events) {
        let mut expected: Value = serde_json::from_slice(&written.json).unwrap();
        if [1, 4].contains(&written.event_id.get()) {
            (expected["text"], expected["author"]) = (Value::Null, Value::Null);
            expected["deleted_at"] = json!("deletion 5");
        }
        assert_eq!(*event, expected);
    }
    let bytes: usize = delivered.iter().map(|event| event.to_string().len()).sum();
    assert_eq!((hub.stats().events, hub.stats().bytes), (5, bytes));
    // A second deletion finds nothing to redact.
    hub.append(&deletes(6, 1, 7));
    assert_eq!(hub.stats().bytes, bytes + deletes(6, 1, 7).json.len());
}
