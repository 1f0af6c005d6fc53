//! What the fast path reads from the head of a poll.

use proptest::prelude::*;

use crate::differential;

#[test]
fn plain_polls_are_for_the_fast_path() {
    assert!(differential::check(differential::PLAIN));
    for other in
        ["queue_id=x", "queue_id=8f14e45f-ceea-467f-a0e6-0c2c5a1b7d3e", "last_event_id=7", "more=1&last_event_id=7"]
    {
        let head = format!("GET /poll?{other} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(!differential::check(head.as_bytes()), "{other}");
    }
}

proptest! {
    /// See also `fuzz/`.
    #[test]
    fn the_fast_path_reads_what_the_router_reads(
        pieces in proptest::collection::vec(0..differential::PIECES.len(), 0..9),
        bytes in proptest::collection::vec(any::<u8>(), 0..4),
        position in 0usize..400,
    ) {
        let mut head = differential::PLAIN.to_vec();
        let extra: Vec<u8> = pieces.iter().flat_map(|piece| differential::PIECES[*piece].bytes()).collect();
        head.splice(head.len() - 2..head.len() - 2, extra);
        prop_assert!(differential::check(&head));
        let position = position % head.len();
        head.splice(position..position, bytes);
        differential::check(&head);
    }

    /// Any query out of the pieces that queries are made of.
    #[test]
    fn the_fast_path_reads_the_query_that_the_router_reads(
        query in "(queue_id=(8f14e45f-ceea-467f-a0e6-0c2c5a1b7d3e|[0-9a-f-]{36}|x)|last_event_id=[-+0-9]{0,20}|timeout=[0-9.e]{0,5}|x=1|&|=|%31){0,6}",
    ) {
        let head = format!("GET /poll?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        differential::check(head.as_bytes());
    }
}
