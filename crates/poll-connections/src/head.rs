//! Reads the first bytes of a request: a whole poll, a whole `POST` of a polling client, or something for the fallback.

use bytes::Bytes;
use http::{Method, Request};

/// A request whose head (with its body, for a `POST`) has this many bytes or more goes to the fallback.
pub const HEAD_BYTES: usize = 8 * 1024;
/// A request with more headers goes to the fallback.
const MAX_HEADERS: usize = 48;

/// The requests that are read here. Everything else goes to the fallback.
#[derive(Clone, Copy, Debug)]
pub struct Routes {
    /// The path of polls, which are `GET` requests with a query.
    pub poll: &'static str,
    /// The paths of the `POST` requests that a polling client sends on the same connection.
    pub posts: &'static [&'static str],
}

/// What the bytes from the beginning of a request on are.
#[derive(Debug)]
pub enum ParsedHead<'slots, 'bytes> {
    /// A whole poll, and nothing behind it.
    Poll(RequestHead<'slots, 'bytes>),
    /// One of the `POST` requests, with its whole body, and nothing behind it.
    Post(Box<Request<Bytes>>),
    /// Perhaps one of these. More bytes decide.
    Incomplete,
    /// A request for the fallback.
    Other,
}

/// The head of a request, where it lies in the buffer.
#[derive(Debug)]
pub struct RequestHead<'slots, 'bytes> {
    target: &'bytes str,
    headers: &'slots [httparse::Header<'bytes>],
}

/// Room for the headers of one request.
pub struct HeaderSlots<'bytes>([httparse::Header<'bytes>; MAX_HEADERS]);

impl Default for HeaderSlots<'_> {
    fn default() -> Self {
        Self([httparse::EMPTY_HEADER; MAX_HEADERS])
    }
}

impl<'bytes> RequestHead<'_, 'bytes> {
    /// The query, without its question mark.
    pub fn query(&self) -> &'bytes str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The values of all headers of this name, in their order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'bytes [u8]> {
        self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// As [`Self::values`], without the values for which `HeaderValue::to_str` gives an error.
    pub fn text_values(&self, name: &str) -> impl Iterator<Item = &'bytes str> {
        let is_visible = |byte: &u8| (32..127).contains(byte) || *byte == b'\t';
        self.values(name)
            .filter(move |value| value.iter().all(is_visible))
            .filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The same as an owned request. `None` if its target or a header is not valid in one.
    pub fn to_request<B>(&self, method: Method, body: B) -> Option<Request<B>> {
        let mut request = Request::builder().method(method).uri(self.target);
        for header in self.headers {
            request = request.header(header.name, header.value);
        }
        request.body(body).ok()
    }
}

/// Reads the bytes of a connection from the beginning of a request on.
pub fn parse_head<'slots, 'bytes>(
    bytes: &'bytes [u8],
    routes: &Routes,
    slots: &'slots mut HeaderSlots<'bytes>,
) -> ParsedHead<'slots, 'bytes> {
    let is_poll = begins_like(bytes, ["GET ", routes.poll, "?"]);
    let is_ours = is_poll || routes.posts.iter().any(|path| begins_like(bytes, ["POST ", path, " "]));
    if bytes.len() >= HEAD_BYTES || !is_ours {
        return ParsedHead::Other;
    }
    let mut request = httparse::Request::new(&mut slots.0);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return ParsedHead::Incomplete,
        Err(_) => return ParsedHead::Other,
    };
    let target = request.path.filter(|target| is_ordinary(target));
    let Some((body_length, target)) = ordinary_body_length(&request).zip(target) else {
        return ParsedHead::Other;
    };
    let body = &bytes[length..];
    if body.len() < body_length {
        return ParsedHead::Incomplete;
    }
    if body.len() > body_length || (is_poll && body_length > 0) {
        return ParsedHead::Other;
    }
    let head = RequestHead { target, headers: request.headers };
    if is_poll {
        return ParsedHead::Poll(head);
    }
    let request = head.to_request(Method::POST, Bytes::copy_from_slice(body));
    request.map_or(ParsedHead::Other, |request| ParsedHead::Post(Box::new(request)))
}

/// Whether `bytes` begin with these words, or may do so once more bytes are there.
fn begins_like(bytes: &[u8], words: [&str; 3]) -> bool {
    let mut left = bytes;
    words.iter().all(|word| {
        let (word, shared) = (word.as_bytes(), word.len().min(left.len()));
        let (start, rest) = left.split_at(shared);
        left = rest;
        start == &word[..shared]
    })
}

/// The bytes that every reader of URIs reads in the same way, as a table: each byte of each poll is looked up.
const ORDINARY: [bool; 256] = {
    let (mut table, mut index) = ([false; 256], 0);
    let ordinary = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~%&=+,;:@/?!$'()*";
    while index < ordinary.len() {
        table[ordinary[index] as usize] = true;
        index += 1;
    }
    table
};

fn is_ordinary(target: &str) -> bool {
    target.bytes().all(|byte| ORDINARY[usize::from(byte)])
}

/// The length of the body, in bytes. `None` if the request has anything unusual about it, so that the fallback should read it.
fn ordinary_body_length(request: &httparse::Request<'_, '_>) -> Option<usize> {
    let (mut hosts, mut length) = (0, None);
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            4 if is("host") => hosts += 1,
            2 | 6 | 7 | 17 if is("te") || is("expect") || is("upgrade") || is("transfer-encoding") => return None,
            10 if is("connection") && !header.value.eq_ignore_ascii_case(b"keep-alive") => return None,
            14 if is("content-length") => {
                let text = std::str::from_utf8(header.value).ok()?;
                let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)?;
                if length.replace(digits.parse().ok()?).is_some() {
                    return None;
                }
            }
            _ => {}
        }
    }
    (request.version == Some(1) && hosts == 1).then_some(length.unwrap_or(0))
}
