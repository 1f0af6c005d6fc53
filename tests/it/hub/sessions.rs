//! Polls by cookie, whose sessions end in order with the other events.

use discussions::{
    auth::session::{SessionProof, session_of},
    ids::SessionTag,
};

use super::*;

/// A session of user 1, read at this head.
fn session(letter: char, read_at: EventId) -> SessionProof {
    let cookie = format!("discussions_session={}", letter.to_string().repeat(43));
    SessionProof { hash: session_of([cookie.as_str()].into_iter()).unwrap(), read_at: read_at.into() }
}

fn poll(
    hub: &TestHub,
    queue: QueueId,
    session: SessionProof,
    cursor: EventId,
    park: bool,
    now: Instant,
) -> PollOutcome {
    let viewer = Viewer { user_id: 1.into(), scope: Scope::default(), expires_at: None, session: Some(session) };
    hub.0.poll(queue, &viewer, cursor.into(), park, now)
}

#[track_caller]
fn parked_by(hub: &TestHub, queue: QueueId, session: SessionProof, cursor: EventId, now: Instant) -> ParkHandle {
    match poll(hub, queue, session, cursor, true, now) {
        PollOutcome::Parked(parked) => parked,
        other => panic!("not parked but {other:?}"),
    }
}

fn ends(event_id: EventId, user: UserId, ended: &[SessionProof]) -> SequencedEvent {
    let ended: Vec<SessionTag> = ended.iter().map(|session| session.hash.tag()).collect();
    SequencedEvent { audience: Audience::Sessions { user_id: user.into(), ended }, ..event(event_id, 0, 0) }
}

#[test]
fn the_end_of_a_session_answers_its_parked_polls_and_no_others() {
    let (hub, now) = (hub(), Instant::now());
    let queues: Vec<QueueId> = (0..4).map(|_| register(&hub, 1, &member_of(&[7]), now)).collect();
    let (ended, other) = (session('A', 0), session('B', 0));
    let mut first = parked_by(&hub, queues[0], ended, 0, now);
    let mut second = parked_by(&hub, queues[1], ended, 0, now);
    let mut of_other = parked_by(&hub, queues[2], other, 0, now);
    let mut by_token = parked(&hub, queues[3], 1, 0, now);
    assert_eq!(hub.append(&ends(1, 1, &[ended])), Some(0), "it is delivered to nobody");
    for poll in [&mut first, &mut second] {
        assert!(matches!(outcome(poll), Some(ParkedOutcome::SessionEnded)));
    }
    for queue in &queues {
        assert!(matches!(poll(&hub, *queue, ended, 0, false, now), PollOutcome::SessionEnded));
    }
    assert_eq!(hub.stats().parked, 2);
    // The queues live on: whoever comes by another session or a token has missed nothing.
    hub.append(&event(2, 7, 0));
    assert_eq!((event_of(&mut of_other), event_of(&mut by_token)), ((vec![2], 2), (vec![2], 2)));
    assert_eq!(answered(&hub, queues[0], 1, 0, now), (vec![2], 2));
}

#[test]
fn a_poll_whose_session_ends_after_it_was_read_is_not_parked() {
    let (hub, now) = (hub(), Instant::now());
    let queue = register(&hub, 1, &member_of(&[7]), now);
    // The session was read at 1. Its end comes to the hub before the poll does.
    let read = session('A', 1);
    hub.append(&event(1, 7, 0));
    hub.append(&event(2, 7, 0));
    hub.append(&ends(3, 1, &[session('B', 0), read]));
    for park in [true, false] {
        assert!(matches!(poll(&hub, queue, read, 3, park, now), PollOutcome::SessionEnded));
    }
    // A session whose end was there when it was read is another one with the same tag. It is valid.
    assert!(matches!(poll(&hub, queue, session('A', 3), 0, false, now), PollOutcome::Answer(_)));
    // A node that is behind has the end still before it.
    let mut early = parked_by(&hub, queue, session('C', 9), 3, now);
    assert_eq!(hub.append(&ends(4, 1, &[session('C', 9)])), Some(0));
    assert!(matches!(outcome(&mut early), Some(ParkedOutcome::SessionEnded)));
}

#[test]
fn a_session_that_was_read_before_all_that_the_hub_knows_is_read_again() {
    let (hub, now) = (TestHub::new(LIMITS, 50, []), Instant::now());
    let queue = register(&hub, 1, &changed(50, &[], &[7]), now);
    assert!(matches!(poll(&hub, queue, session('A', 49), 50, true, now), PollOutcome::SessionUnknown));
    parked_by(&hub, queue, session('A', 50), 50, now);
    // So many other sessions end that the first of them are forgotten.
    let others: Vec<SessionProof> = "BCDEFGHIJ".chars().map(|letter| session(letter, 50)).collect();
    let mut event_id = 50;
    while event_id < 1_300 {
        event_id += 1;
        hub.append(&ends(event_id, 2, &others));
    }
    assert!(matches!(poll(&hub, queue, session('A', 50), event_id, true, now), PollOutcome::SessionUnknown));
    assert!(matches!(poll(&hub, queue, session('B', 1_299), event_id, true, now), PollOutcome::SessionEnded));
    parked_by(&hub, queue, session('A', 1_299), event_id, now);
    // In another history, all that was read before counts as read too early.
    let start = Start { head: 5_000.into(), ..Start::default() };
    hub.leap(start);
    assert!(matches!(poll(&hub, queue, session('A', 1_300), 5_000, true, now), PollOutcome::SessionUnknown));
}
