//! Checks the parser of polls with arbitrary bytes. It must not panic, and what it parses as a poll must be the same poll to
//! hyper.
#![no_main]

#[path = "../../tests/it/differential.rs"]
#[allow(dead_code, reason = "the property test uses the rest")]
mod differential;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    differential::check(bytes);
    // Most inputs are no poll at all, so also put the bytes into the parts of a poll.
    if let Some((at, piece)) = bytes.split_first() {
        let mut head = differential::PLAIN.to_vec();
        let at = usize::from(*at) % head.len();
        head.splice(at..at, piece.iter().copied());
        differential::check(&head);
    }
});
