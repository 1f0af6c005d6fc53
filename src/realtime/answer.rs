//! The bodies that a poll is answered with, put together from events that are serialised already.

use bytes::{BufMut, Bytes, BytesMut};

use crate::ids::EventId;

/// `{"events":[..],"last_event_id":N}`
pub fn events(events: &[Bytes], last_event_id: EventId) -> Bytes {
    let size: usize = events.iter().map(|event| event.len() + 1).sum();
    let mut body = BytesMut::with_capacity(size + 48);
    body.put_slice(b"{\"events\":[");
    for (number, event) in events.iter().enumerate() {
        if number > 0 {
            body.put_u8(b',');
        }
        body.put_slice(event);
    }
    body.put_slice(b"],\"last_event_id\":");
    body.put_slice(last_event_id.to_string().as_bytes());
    body.put_u8(b'}');
    body.freeze()
}

/// `{"catchup_required":true}`
pub fn catchup() -> Bytes {
    Bytes::from_static(b"{\"catchup_required\":true}")
}
