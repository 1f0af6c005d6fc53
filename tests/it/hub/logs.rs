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
