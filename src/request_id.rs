//! The id of a request, which its log lines and its answer carry.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::{Uuid, fmt::Simple};

/// The header that has it, in requests and in answers.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A client's id that is longer is not used.
const MAX_BYTES: usize = 64;

/// The client's own id for a request, if it can be used.
pub(crate) fn usable(id: &[u8]) -> Option<&str> {
    let is_usable = (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    is_usable.then(|| std::str::from_utf8(id).ok()).flatten()
}

/// An id for a request that has none.
pub(crate) fn new() -> Simple {
    Uuid::new_v4().simple()
}

/// The value of the header: the client's own id, or a new one.
pub(crate) fn header(given: Option<&str>) -> HeaderValue {
    let id = given.map_or_else(|| new().to_string(), str::to_owned);
    HeaderValue::try_from(id).expect("a usable id and hexadecimal digits are valid in a header")
}

/// The id of the request with these headers.
pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    header(headers.get(REQUEST_ID).and_then(|id| usable(id.as_bytes())))
}
