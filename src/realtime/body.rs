//! The bodies of polls' answers, put together from events that are already serialised.

use bytes::{BufMut, Bytes, BytesMut};

use crate::ids::EventId;

/// `{"events":[..],"last_event_id":N}`
pub(super) fn events<'a>(events: impl Iterator<Item = &'a Bytes> + Clone, last_event_id: EventId) -> Bytes {
    let size: usize = events.clone().map(|event| event.len() + 1).sum();
    let mut body = BytesMut::with_capacity(size + 48);
    body.put_slice(b"{\"events\":[");
    for (number, event) in events.enumerate() {
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

/// `{"events":[],"last_event_id":N}`
pub(super) fn empty(last_event_id: EventId) -> Bytes {
    events(std::iter::empty(), last_event_id)
}

/// `{"catchup_required":true}`
pub(super) fn catchup() -> Bytes {
    Bytes::from_static(b"{\"catchup_required\":true}")
}
