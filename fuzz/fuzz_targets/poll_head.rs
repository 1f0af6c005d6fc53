//! Whatever the bytes: the parser of polls does not panic, and what it takes for a poll is to hyper the same poll.
#![no_main]

#[path = "../../tests/it/differential.rs"]
#[allow(dead_code, reason = "what it offers to the property test")]
mod differential;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    differential::check(bytes);
    // Most bytes are no poll at all: so also as what stands somewhere in one.
    if let Some((at, piece)) = bytes.split_first() {
        let mut head = differential::PLAIN.to_vec();
        let at = usize::from(*at) % head.len();
        head.splice(at..at, piece.iter().copied());
        differential::check(&head);
    }
});
