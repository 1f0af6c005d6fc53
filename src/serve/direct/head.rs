//! What the first bytes of a request are: a plain poll, another plain request of a polling client, or hyper's to read.

use axum::{body::Body, http::Request};
use tower_sessions::session::Id;

use crate::{
    auth::{session, viewer},
    realtime::model::PollRequest,
};

/// A head that is longer is hyper's to read.
pub const HEAD_BYTES: usize = 8 * 1024;
/// More headers are hyper's to count.
const HEADERS: usize = 48;
/// The requests that are read here begin like this.
const STARTS: [&[u8]; 3] = [b"GET /poll?", b"POST /register ", b"POST /heartbeat "];

/// What the bytes read so far are.
#[derive(Debug)]
pub enum Understood<'a> {
    /// A poll, whole.
    Poll(PollHead<'a>),
    /// Another request of a polling client, whole, for the router.
    Post(Box<Request<Body>>),
    /// Perhaps one of these, not whole yet.
    Partial,
    /// For hyper.
    Other,
}

/// What is looked at of a poll's head. Of a header that comes twice the first counts, as everywhere;
/// of Authorization the first that is of the Bearer scheme.
#[derive(Debug, PartialEq)]
pub struct PollHead<'a> {
    /// What it asks for.
    pub asked: PollRequest,
    /// What stands behind `Bearer` in Authorization.
    pub credentials: Option<&'a [u8]>,
    /// The session that the cookies name.
    pub session: Option<Id>,
    /// The value of Origin.
    pub origin: Option<&'a [u8]>,
    /// The value of X-Request-Id.
    pub request_id: Option<&'a [u8]>,
}

/// Looks at the bytes of a connection from the beginning of a request on.
pub fn understand(bytes: &[u8]) -> Understood<'_> {
    let begins = |start: &&[u8]| {
        let shared = start.len().min(bytes.len());
        bytes[..shared] == start[..shared]
    };
    if bytes.len() >= HEAD_BYTES || !STARTS.iter().any(begins) {
        return Understood::Other;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Understood::Partial,
        Err(_) => return Understood::Other,
    };
    let Some(body_length) = plain(&request) else { return Understood::Other };
    let body = &bytes[length..];
    if body.len() < body_length {
        return Understood::Partial;
    }
    let is_poll = bytes.starts_with(b"GET");
    if body.len() > body_length || (is_poll && body_length > 0) {
        return Understood::Other;
    }
    let understood = if is_poll {
        poll(&request).map(Understood::Poll)
    } else {
        post(&request, body).map(|request| Understood::Post(Box::new(request)))
    };
    understood.unwrap_or(Understood::Other)
}

/// How long the body of a request is that has nothing unusual about it; None where it has.
fn plain(request: &httparse::Request<'_, '_>) -> Option<usize> {
    let (mut hosts, mut length) = (0, None);
    for one in request.headers.iter() {
        let is = |name: &str| one.name.eq_ignore_ascii_case(name);
        match one.name.len() {
            4 if is("host") => hosts += 1,
            2 | 6 | 7 | 17 if is("te") || is("expect") || is("upgrade") || is("transfer-encoding") => return None,
            10 if is("connection") && !one.value.eq_ignore_ascii_case(b"keep-alive") => return None,
            14 if is("content-length") => {
                let digits =
                    std::str::from_utf8(one.value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                if length.replace(digits?.parse().ok()?).is_some() {
                    return None;
                }
            }
            _ => {}
        }
    }
    (request.version == Some(1) && hosts == 1).then_some(length.unwrap_or(0))
}

fn poll<'a>(request: &httparse::Request<'_, 'a>) -> Option<PollHead<'a>> {
    let asked = PollRequest::plain(request.path?.strip_prefix("/poll?")?)?;
    let values = |name: &'static str| {
        let named = request.headers.iter().filter(move |one| one.name.eq_ignore_ascii_case(name));
        named.map(|one| one.value)
    };
    Some(PollHead {
        asked,
        credentials: viewer::bearer_credentials(values("authorization")),
        session: session::session_of(values("cookie").filter_map(visible)),
        origin: values("origin").next(),
        request_id: values("x-request-id").next(),
    })
}

/// The text of a header's value, as `HeaderValue::to_str` gives it.
fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| (32..127).contains(byte) || *byte == b'\t';
    value.iter().all(is_visible).then(|| std::str::from_utf8(value).ok()).flatten()
}

fn post(request: &httparse::Request<'_, '_>, body: &[u8]) -> Option<Request<Body>> {
    let mut post = Request::post(request.path?);
    for one in request.headers.iter() {
        post = post.header(one.name, one.value);
    }
    post.body(Body::from(body.to_vec())).ok()
}
