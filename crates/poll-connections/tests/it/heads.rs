//! Which bytes are a poll, and which are not.

use poll_connections::{HEAD_BYTES, HeaderSlots, ParsedHead, parse_head};
use proptest::prelude::*;

use crate::differential::{self, PIECES, PLAIN, PLAIN_POST, ROUTES};

/// The kind of request, without its parts.
#[derive(Debug, PartialEq)]
enum Kind {
    Poll,
    Post,
    Incomplete,
    Other,
}

fn kind(bytes: &[u8]) -> Kind {
    match parse_head(bytes, &ROUTES, &mut HeaderSlots::default()) {
        ParsedHead::Poll(_) => Kind::Poll,
        ParsedHead::Post(_) => Kind::Post,
        ParsedHead::Incomplete => Kind::Incomplete,
        ParsedHead::Other => Kind::Other,
    }
}

/// `whole` with `piece` at `position`.
fn with(whole: &[u8], position: usize, piece: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    bytes.splice(position..position, piece.iter().copied());
    bytes
}

#[test]
fn every_part_of_a_request_is_incomplete_until_it_is_whole() {
    for (whole, expected) in [(PLAIN, Kind::Poll), (PLAIN_POST, Kind::Post)] {
        for length in 0..whole.len() {
            assert_eq!(kind(&whole[..length]), Kind::Incomplete, "{length} bytes");
        }
        assert_eq!(kind(whole), expected);
        assert_eq!(kind(&[whole, b"G"].concat()), Kind::Other, "a second request follows");
    }
}

#[test]
fn the_parts_of_a_poll_are_found() {
    let bytes = b"GET /poll?a=b?c HTTP/1.1\r\nhost: x\r\nX-One:  first \r\nx-one: \xe9\r\nX-ONE: third\r\n\r\n";
    let mut slots = HeaderSlots::default();
    let ParsedHead::Poll(head) = parse_head(bytes, &ROUTES, &mut slots) else { panic!("a poll") };
    assert_eq!(head.query(), "a=b?c");
    assert_eq!(head.values("x-one").collect::<Vec<_>>(), [&b"first"[..], b"\xe9", b"third"]);
    assert_eq!(head.text_values("x-one").collect::<Vec<_>>(), ["first", "third"]);
    assert_eq!(head.values("x-two").count(), 0);
}

#[test]
fn unusual_requests_are_for_the_fallback() {
    for other in [
        "POST /poll HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "GET /pollution?a=b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /poll HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /poll?a#b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /poll?a=\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /poll?a HTTP/1.0\r\nHost: x\r\n\r\n",
        "GET /poll?a HTTP/1.1\r\n\r\n",
        "GET /poll?a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /poll?a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na",
        "GET /poll?a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /poll?a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /poll?a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
        "GET /poll?a HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n",
        "GET /poll?a HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n",
        "GET /poll?a HTTP/1.1\r\nbroken\r\n\r\n",
        "POST /register/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
        "POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        "\r\n",
        "nonsense",
    ] {
        assert_eq!(kind(other.as_bytes()), Kind::Other, "{other:?}");
    }
    let many: String = (0..60).map(|number| format!("X-{number}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(HEAD_BYTES));
    for more in [many, long] {
        assert_eq!(kind(&with(PLAIN, PLAIN.len() - 2, more.as_bytes())), Kind::Other);
    }
    let body = format!(
        "POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: {0}\r\n\r\n{1}",
        HEAD_BYTES,
        "y".repeat(HEAD_BYTES)
    );
    assert_eq!(kind(body.as_bytes()), Kind::Other);
}

proptest! {
    #[test]
    fn a_request_that_is_read_here_is_the_same_for_hyper(
        pieces in proptest::collection::vec(0..PIECES.len(), 0..9),
        bytes in proptest::collection::vec(any::<u8>(), 0..4),
        position in 0usize..400,
        is_poll: bool,
    ) {
        let extra: Vec<u8> = pieces.iter().flat_map(|piece| PIECES[*piece].bytes()).collect();
        let whole = if is_poll { PLAIN } else { PLAIN_POST };
        let first_header = whole.windows(2).position(|end| end == b"\r\n").unwrap() + 2;
        let head = with(whole, first_header, &extra);
        differential::check(&head);
        differential::check(&with(&head, position % head.len(), &bytes));
    }

    /// Any single byte anywhere: finds every byte that only one of the two lets pass at that place.
    #[test]
    fn a_byte_that_is_put_in_or_changed_does_not_part_the_two(byte: u8, position in 0..PLAIN.len()) {
        differential::check(&with(PLAIN, position, &[byte]));
        let mut changed = PLAIN.to_vec();
        changed[position] = byte;
        differential::check(&changed);
    }

    #[test]
    fn only_whole_polls_are_polls(bytes in proptest::collection::vec(any::<u8>(), 1..200), cut in 0..PLAIN.len()) {
        kind(&bytes);
        prop_assert_ne!(kind(&PLAIN[..cut]), Kind::Poll);
        prop_assert_ne!(kind(&[PLAIN, &bytes].concat()), Kind::Poll);
    }
}
