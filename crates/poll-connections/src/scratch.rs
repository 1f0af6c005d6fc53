//! Buffers that the connections of a thread share, so that a parked connection has none.

use std::{cell::Cell, thread::LocalKey};

/// A buffer that grew beyond this many bytes is freed after its use.
const KEPT_BYTES: usize = 64 * 1024;

/// Lends the buffer of this thread to `work`. Its place is empty meanwhile: nested calls get a buffer of their own.
pub(crate) fn lend<R>(place: &'static LocalKey<Cell<Vec<u8>>>, work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = place.take();
    let result = work(&mut buffer);
    if buffer.capacity() <= KEPT_BYTES {
        place.set(buffer);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static PLACE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }

    #[test]
    fn a_buffer_is_used_again_unless_it_is_large_or_in_use() {
        lend(&PLACE, |buffer| buffer.extend_from_slice(b"outer"));
        lend(&PLACE, |buffer| {
            assert_eq!(buffer, b"outer");
            lend(&PLACE, |nested| assert!(nested.is_empty()));
        });
        lend(&PLACE, |buffer| assert_eq!(buffer, b"outer"));
        lend(&PLACE, |buffer| buffer.resize(KEPT_BYTES + 1, 0));
        lend(&PLACE, |buffer| assert_eq!(buffer.capacity(), 0));
    }
}
