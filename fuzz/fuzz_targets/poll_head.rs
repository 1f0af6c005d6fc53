//! For any bytes: the parser of polls does not panic, hyper reads the same request, and the router reads the same poll.
#![no_main]

#[path = "../../tests/it/differential.rs"]
#[allow(dead_code, reason = "the property test uses the rest")]
mod application;
#[path = "../../crates/poll-connections/tests/it/differential.rs"]
#[allow(dead_code, reason = "the property test uses the rest")]
mod connection;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Most bytes are no request at all, so they are also tried inside of one.
    if let Some((position, piece)) = bytes.split_first() {
        for whole in [connection::PLAIN, connection::PLAIN_POST] {
            let mut head = whole.to_vec();
            let position = usize::from(*position) % head.len();
            head.splice(position..position, piece.iter().copied());
            check(&head);
        }
    }
});

fn check(bytes: &[u8]) {
    connection::check(bytes);
    application::check(bytes);
}
