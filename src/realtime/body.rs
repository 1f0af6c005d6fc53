//! The bodies of polls' answers, put together from events that are already serialised.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    compression::{self, Coding, EncodedBody, MIN_BYTES},
    ids::EventId,
};

/// A body that many polls get. It is compressed at most once, for all of them.
#[derive(Clone, Debug)]
pub enum SharedBody {
    /// Too small to be compressed.
    Small(Bytes),
    /// Compressed when the first poll needs that.
    Large(Arc<LargeBody>),
}

/// See [`SharedBody::Large`].
#[derive(Debug)]
pub struct LargeBody {
    json: Bytes,
    gzip: OnceLock<Bytes>,
}

impl From<Bytes> for SharedBody {
    fn from(json: Bytes) -> Self {
        match json.len() < MIN_BYTES {
            true => Self::Small(json),
            false => Self::Large(Arc::new(LargeBody { json, gzip: OnceLock::new() })),
        }
    }
}

impl SharedBody {
    /// The body, not compressed.
    pub fn json(&self) -> &Bytes {
        match self {
            Self::Small(json) => json,
            Self::Large(body) => &body.json,
        }
    }

    /// The body in this coding.
    pub(super) fn encode(&self, coding: Coding) -> EncodedBody {
        match self {
            Self::Large(body) if coding == Coding::Gzip => {
                EncodedBody::gzipped(body.gzip.get_or_init(|| compression::gzip(&body.json)).clone())
            }
            _ => EncodedBody::plain(self.json().clone()),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_body_is_compressed_once() {
        let body = SharedBody::from(Bytes::from("x".repeat(2 * MIN_BYTES)));
        let [one, other] = [body.clone().encode(Coding::Gzip), body.encode(Coding::Gzip)];
        assert!(one.bytes.len() < MIN_BYTES);
        assert_eq!(one.bytes.as_ptr(), other.bytes.as_ptr(), "both are the same bytes");
        assert_eq!(body.encode(Coding::Identity).bytes.as_ptr(), body.json().as_ptr());
        assert_eq!(size_of::<SharedBody>(), size_of::<Bytes>(), "a parked poll has room for one");
    }
}
