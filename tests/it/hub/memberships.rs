//! Memberships along the order of events (I5).

use super::*;

#[test]
fn events_of_a_member_are_those_between_joining_and_leaving() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7]), now);
    let (member, admin) = (Some(Role::Member), Some(Role::Admin));
    hub.append(&event(1, 8, 0)); // before joining
    hub.append(&membership(2, change(1, 8, None, member)));
    hub.append(&event(3, 8, 0));
    hub.append(&membership(4, change(1, 8, member, admin)));
    hub.append(&event(5, 8, 0));
    hub.append(&membership(6, change(1, 8, admin, None)));
    hub.append(&event(7, 8, 0)); // after leaving
    hub.append(&event(8, 7, 0));
    hub.append(&membership(9, change(1, 8, None, member)));
    hub.append(&event(10, 8, 0));
    hub.append(&membership(11, change(2, 8, None, member))); // another user's
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![2, 3, 4, 5, 6, 8, 9, 10], 11));
    assert_eq!(answered(&hub, queue, 1, 5, now), (vec![6, 8, 9, 10], 11));
    assert_eq!(answered(&hub, queue, 1, 10, now), (vec![], 11));
}

#[test]
fn a_parked_poll_gets_its_users_memberships_and_waits_in_new_communities() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7]), now);
    let mut poll = parked(&hub, queue, 1, 0, now);
    assert_eq!(hub.append(&event(1, 8, 0)), Some(0), "an event of another community notifies nobody");
    assert!(outcome(&mut poll).is_none());
    assert_eq!(hub.append(&membership(2, change(1, 8, None, Some(Role::Member)))), Some(1));
    assert_eq!(event_of(&mut poll), (vec![2], 2));
    let mut poll = parked(&hub, queue, 1, 2, now);
    assert_eq!(hub.append(&event(3, 8, 0)), Some(1));
    assert_eq!(event_of(&mut poll), (vec![3], 3));
    let mut poll = parked(&hub, queue, 1, 3, now);
    assert_eq!(hub.append(&membership(4, change(1, 8, Some(Role::Member), None))), Some(1));
    assert_eq!(event_of(&mut poll), (vec![4], 4));
    let mut poll = parked(&hub, queue, 1, 4, now);
    assert_eq!(hub.append(&event(5, 8, 0)), Some(0), "nor for one that they have left");
    assert!(outcome(&mut poll).is_none());
}

#[test]
fn stale_entries_in_a_list_answer_no_poll() {
    let (hub, now) = (hub(), Instant::now());
    // With this many others in the list of community 7, the hub does not compact it for single stale entries.
    let others: Vec<_> = (100..110).map(|user| (user, register(&hub, user, &member_of(&[7]), now))).collect();
    let _parked: Vec<_> = others.iter().map(|(user, queue)| parked(&hub, *queue, *user, 0, now)).collect();
    let leaver = register(&hub, 1, &member_of(&[7, 8]), now);
    let closer = register(&hub, 2, &member_of(&[7]), now);
    let _leaves = parked(&hub, leaver, 1, 0, now);
    let _closes = parked(&hub, closer, 2, 0, now);

    hub.append(&membership(1, change(1, 7, Some(Role::Member), None)));
    let mut left = parked(&hub, leaver, 1, 1, now);
    assert!(hub.close(closer, 2));
    // The next queue gets the slot of the closed one.
    let newcomer = register(&hub, 3, &changed(1, &[], &[8]), now);
    let mut new = parked(&hub, newcomer, 3, 1, now);

    assert_eq!(hub.append(&event(2, 7, 0)), Some(others.len()));
    assert!(outcome(&mut left).is_none(), "they have left");
    assert!(outcome(&mut new).is_none(), "they never were there");
    assert_eq!(hub.append(&event(3, 8, 0)), Some(2));
    assert_eq!((event_of(&mut left), event_of(&mut new)), ((vec![3], 3), (vec![3], 3)));
}

#[test]
fn a_registration_meets_a_snapshot_older_than_the_hub() {
    let (hub, now) = (hub(), Instant::now());
    hub.append(&event(1, 7, 0));
    let registration = hub.begin_registration(1);
    let history = changed(1, &[], &[7]);
    hub.append(&membership(2, change(1, 7, Some(Role::Member), None)));
    hub.append(&event(3, 7, 0));
    hub.append(&membership(4, change(1, 8, None, Some(Role::Member))));
    hub.append(&event(5, 8, 0));
    let queue = QueueId::random();
    registration.create_queue(queue, Scope::default(), &history, TTL, now);
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![2, 4, 5], 5));
}

#[test]
fn a_registration_meets_a_snapshot_newer_than_the_hub() {
    let (hub, now) = (hub(), Instant::now());
    let (joined, left) = (change(1, 8, None, Some(Role::Member)), change(1, 7, Some(Role::Member), None));
    let history = changed(4, &[(2, joined), (4, left)], &[8]);
    let queue = register(&hub, 1, &history, now);
    // The hub's head is before these changes, so the polls do not see them yet.
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![], 0));
    let mut poll = parked(&hub, queue, 1, 0, now);
    assert_eq!(hub.append(&event(1, 8, 0)), Some(0), "not a member there yet");
    assert!(outcome(&mut poll).is_none());
    assert_eq!(hub.append(&membership(2, joined)), Some(1));
    assert_eq!(event_of(&mut poll), (vec![2], 2));
    let mut poll = parked(&hub, queue, 1, 2, now);
    assert_eq!(
        hub.append(&event(3, 7, 0)),
        Some(0),
        "they were a member there, and it is known that they are none now"
    );
    assert!(outcome(&mut poll).is_none());
    assert_eq!(hub.append(&membership(4, left)), Some(1));
    assert_eq!(event_of(&mut poll), (vec![4], 4));
    hub.append(&event(5, 7, 0));
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![2, 4], 5));
}

#[test]
fn a_former_member_gets_no_older_events() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7, 8]), now);
    let member = Some(Role::Member);
    hub.append(&event(1, 8, 0));
    hub.append(&event(2, 7, 0));
    hub.append(&membership(3, change(1, 8, member, None)));
    hub.append(&event(4, 8, 0));
    // The old and a new queue get, with every cursor, only the end of the membership of community 8.
    let changes = [(3, change(1, 8, member, None))];
    let new = register(&hub, 1, &changed(4, &changes, &[7]), now);
    for queue in [queue, new] {
        for (cursor, events) in [(0, vec![2, 3]), (1, vec![2, 3]), (2, vec![3]), (3, vec![]), (4, vec![])] {
            assert_eq!(answered(&hub, queue, 1, cursor, now), (events, 4), "from {cursor}");
        }
    }
    // After the user joins again they get the events of both memberships.
    hub.append(&membership(5, change(1, 8, None, member)));
    hub.append(&event(6, 8, 0));
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![1, 2, 3, 5, 6], 6));
    assert_eq!(answered(&hub, queue, 1, 3, now), (vec![5, 6], 6));
}

#[test]
fn another_registration_that_knows_more_ends_the_first_ones_events() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7, 8]), now);
    hub.append(&event(1, 8, 0));
    let mut poll = parked(&hub, queue, 1, 1, now);
    // This node's feed is behind. The second tab's registration reads the removal at 3 from the database.
    let left = change(1, 8, Some(Role::Member), None);
    register(&hub, 1, &changed(3, &[(3, left)], &[7]), now);
    assert_eq!(hub.append(&event(2, 8, 0)), Some(0));
    assert!(outcome(&mut poll).is_none());
    assert_eq!(hub.append(&membership(3, left)), Some(1));
    assert_eq!(event_of(&mut poll), (vec![3], 3));
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![3], 3));
}

#[test]
fn lost_events_of_a_former_community_require_no_catch_up() {
    let limits = Limits { community_events: 2, ..LIMITS };
    let (hub, now) = (TestHub::new(limits, 0, []), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7, 8]), now);
    for event_id in 1..=5 {
        hub.append(&event(event_id, 8, 0));
    }
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 0, false, now), PollOutcome::Catchup));
    hub.append(&membership(6, change(1, 8, Some(Role::Member), None)));
    assert_eq!(answered(&hub, queue, 1, 0, now), (vec![6], 6));
    hub.append(&membership(7, change(1, 8, None, Some(Role::Member))));
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 0, false, now), PollOutcome::Catchup), "it is theirs again");
    assert_eq!(answered(&hub, queue, 1, 3, now), (vec![4, 5, 6, 7], 7));
}

#[test]
fn more_changes_of_membership_than_are_kept_require_a_catch_up() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7]), now);
    for round in 0..75 {
        hub.append(&membership(2 * round + 1, change(1, 8, None, Some(Role::Member))));
        hub.append(&membership(2 * round + 2, change(1, 8, Some(Role::Member), None)));
    }
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 49, false, now), PollOutcome::Catchup));
    assert_eq!(answered(&hub, queue, 1, 50, now), ((51..=150).collect(), 150));
}

/// The database keeps changes of memberships for longer than other own events. The oldest of those that are kept may be older than
/// some that are gone.
#[test]
fn what_the_database_has_lost_of_the_own_events_stays_lost() {
    let (hub, now) = (hub(), Instant::now());
    let joined = change(1, 7, None, Some(Role::Member));
    let history = History { forgotten_through: 50.into(), ..changed(60, &[(10, joined)], &[7]) };
    for event_id in 1..=60 {
        hub.append(&event(event_id, 8, 0));
    }
    let queue = register(&hub, 1, &history, now);
    for event_id in 61..=160 {
        hub.append(&own(event_id, 1, 7, 0));
    }
    // The change of the membership has made room.
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 49, false, now), PollOutcome::Catchup));
    assert_eq!(answered(&hub, queue, 1, 60, now), ((61..=160).collect(), 160));
}

#[test]
fn a_registration_that_is_given_up_leaves_nothing() {
    let (hub, now) = (hub(), Instant::now());
    let first = hub.begin_registration(1);
    let second = hub.begin_registration(1);
    assert_eq!(hub.stats().users, 1);
    drop(first);
    second.create_queue(QueueId::random(), Scope::default(), &member_of(&[7]), TTL, now);
    assert_eq!(hub.stats().users, 1);
    drop(hub.begin_registration(2));
    assert_eq!(hub.stats().users, 1);
}

#[test]
fn an_event_that_is_not_the_next_one_is_refused() {
    let hub = hub();
    assert_eq!(hub.append(&event(2, 7, 0)), None);
    assert_eq!(hub.append(&event(1, 7, 0)), Some(0));
    assert_eq!(hub.append(&event(1, 7, 0)), None);
    assert_eq!(hub.head(), 1);
}

#[test]
fn the_end_of_an_account_ends_its_queues_and_registrations_under_way() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7]), now);
    let other = register(&hub, 2, &member_of(&[7]), now);
    let mut poll = parked(&hub, queue, 1, 0, now);
    let mut others = parked(&hub, other, 2, 0, now);
    let (early, late) = (hub.begin_registration(1), hub.begin_registration(1));
    let ends = SequencedEvent { audience: Audience::Account(1.into()), ..event(1, 0, 0) };
    assert_eq!(hub.append(&ends), Some(0), "it is delivered to nobody");
    assert!(matches!(outcome(&mut poll), Some(ParkedOutcome::Gone)));
    assert!(outcome(&mut others).is_none());
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 0, true, now), PollOutcome::NotFound));
    // A registration that read the database before the end creates no queue. One that read it afterwards does.
    let (before, after) = (QueueId::random(), QueueId::random());
    early.create_queue(before, Scope::default(), &member_of(&[7]), TTL, now);
    assert!(!hub.has_queue(before, 1, now));
    late.create_queue(after, Scope::default(), &changed(1, &[], &[7]), TTL, now);
    assert!(hub.has_queue(after, 1, now));
    assert_eq!((hub.stats().queues, hub.stats().events), (2, 0));
}
