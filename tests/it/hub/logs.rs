//! The bounds of the logs, and how communities share them.

use super::*;

#[test]
fn the_logs_stay_within_their_bounds() {
    let limits = Limits { community_events: 10, total_events: 40, total_bytes: 6_000, queue_ttl: TTL };
    let hub = TestHub::new(limits, 0, []);
    let mut most = 0;
    for event_id in 1..=500 {
        hub.append(&event(event_id, event_id % 13, (event_id as usize * 37) % 900));
        let stats = hub.stats();
        // The newest event stays until the next one comes.
        assert!(stats.events <= 40 && stats.bytes <= 7_000, "{stats:?}");
        most = most.max(stats.events);
    }
    assert!(most > 10);
    for event_id in 501..=600 {
        hub.append(&event(event_id, 1, 0));
    }
    let queue = register(&hub, 1, &member_of(&[1]), Instant::now());
    let (ids, _) = answered(&hub, queue, 1, 590, Instant::now());
    assert_eq!(ids, (591..=600).collect::<Vec<_>>());
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 589, false, Instant::now()), PollOutcome::Catchup));
}

/// An event that is larger than all the room is there until the next one comes, and nobody else loses anything for it.
#[test]
fn an_event_larger_than_the_bound_costs_the_others_nothing() {
    let limits = Limits { community_events: 10, total_events: 40, total_bytes: 1_000, queue_ttl: TTL };
    let (hub, now) = (TestHub::new(limits, 0, []), Instant::now());
    let (small, large) = (register(&hub, 1, &member_of(&[7]), now), register(&hub, 2, &member_of(&[8]), now));
    hub.append(&event(1, 7, 10));
    hub.append(&event(2, 8, 5_000));
    assert_eq!(answered(&hub, small, 1, 0, now), (vec![1], 2));
    assert_eq!(answered(&hub, large, 2, 0, now), (vec![2], 2));
    hub.append(&event(3, 7, 10));
    assert_eq!(answered(&hub, small, 1, 0, now), (vec![1, 3], 3));
    assert!(matches!(hub.poll(large, 2, &Scope::default(), 1, false, now), PollOutcome::Catchup));
    assert!(hub.stats().bytes <= 1_000);
}

/// Floods of one or more communities push out no event of a community that is within its even share.
fn flood(limits: Limits, floods: &[(CommunityId, usize)], rounds: usize) {
    let (hub, now) = (TestHub::new(limits, 0, []), Instant::now());
    let quiet = register(&hub, 1, &member_of(&[100]), now);
    let mut head = 0;
    let mut append = |community, size| {
        head += 1;
        hub.append(&event(head, community, size)).unwrap();
        head
    };
    let written: Vec<EventId> = (0..5).map(|_| append(100, 20)).collect();
    for _ in 0..rounds {
        for (community, size) in floods {
            append(*community, *size);
        }
    }
    let head = append(100, 20);
    let expected: Vec<EventId> = written.into_iter().chain([head]).collect();
    assert_eq!(answered(&hub, quiet, 1, 0, now), (expected, head));
    let stats = hub.stats();
    assert!(stats.events <= limits.total_events && stats.bytes <= limits.total_bytes, "{stats:?}");
    // What the quiet community leaves is used.
    assert!(stats.events * 2 > limits.total_events || stats.bytes * 2 > limits.total_bytes, "{stats:?}");
}

#[test]
fn no_community_pushes_out_the_recent_events_of_another() {
    let limits = Limits { community_events: 1_000, total_events: 100_000, total_bytes: 1 << 28, queue_ttl: TTL };
    let few_events = Limits { total_events: 40, ..limits };
    let few_bytes = Limits { total_bytes: 20_000, ..limits };
    for limits in [few_events, few_bytes] {
        flood(limits, &[(1, 10)], 3_000);
        flood(limits, &[(1, 1_000)], 3_000);
        flood(limits, &[(1, 1_000), (2, 10), (3, 300)], 1_000);
    }
}

/// Events are dropped where there are most of them, so busy communities share what is left evenly.
#[test]
fn busy_communities_share_the_room_evenly() {
    let limits = Limits { community_events: 1_000, total_events: 60, total_bytes: 1 << 28, queue_ttl: TTL };
    let (hub, now) = (TestHub::new(limits, 0, []), Instant::now());
    let queues: Vec<QueueId> = (1..=3).map(|user| register(&hub, user, &member_of(&[user]), now)).collect();
    // The first one writes ten times as much as the second, and the third one little.
    for event_id in 1..=1_100 {
        hub.append(&event(event_id, if event_id % 11 == 0 { 2 } else { 1 }, 0));
    }
    for event_id in 1_101..=1_110 {
        hub.append(&event(event_id, 3, 0));
    }
    let kept = |user: UserId| {
        let all = |cursor: &EventId| {
            let polled = hub.poll(queues[user as usize - 1], user, &Scope::default(), *cursor, false, now);
            matches!(polled, PollOutcome::Answer(_))
        };
        let cursor = (0..=1_110).find(all).unwrap();
        answered(&hub, queues[user as usize - 1], user, cursor, now).0.len()
    };
    assert_eq!([kept(1), kept(2), kept(3)], [25, 25, 10]);
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
