//! Writes responses: small ones in one piece, and none of them copied for a client that reads slowly.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::scratch;

/// A body of up to this many bytes is copied behind its head. That costs less than to write two pieces.
const COPIED_BYTES: usize = 16 * 1024;
/// The headers that belong to the connection. They are written here and taken from no response.
const OWN_HEADERS: [HeaderName; 4] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::DATE, header::TRANSFER_ENCODING];

thread_local! {
    /// Where responses are put together. A connection has no buffer of its own.
    static OUTPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The date of responses, and its second since 1970.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// The status line and the headers that many responses have in common, as bytes.
#[derive(Clone, Debug)]
pub struct HeadTemplate(Vec<u8>);

impl HeadTemplate {
    /// The head of a response with this status and these headers. `Connection`, `Content-Length`, `Date` and
    /// `Transfer-Encoding` are left out: the connection writes its own.
    pub fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let mut head = Vec::new();
        write_status(&mut head, status);
        write_headers(&mut head, headers);
        Self(head)
    }
}

/// Takes the headers that differ from one response to the next.
pub struct HeaderWriter<'a>(&'a mut Vec<u8>);

impl HeaderWriter<'_> {
    /// Adds a header. A byte that must not stand in a header is written as a question mark.
    pub fn write(&mut self, name: &HeaderName, value: &[u8]) {
        self.0.extend_from_slice(b"\r\n");
        self.0.extend_from_slice(name.as_str().as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend(value.iter().map(|byte| if byte.is_ascii_control() && *byte != b'\t' { b'?' } else { *byte }));
    }
}

/// The bytes of a response that are still to be sent.
#[derive(Debug)]
pub(crate) struct Unsent {
    head: Vec<u8>,
    body: Bytes,
}

impl Unsent {
    /// All of `response`.
    pub(crate) fn new(response: Response<Bytes>, is_last: bool) -> Self {
        let (parts, mut body) = response.into_parts();
        let has_body = !parts.status.is_informational()
            && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&parts.status);
        if !has_body {
            body.clear();
        }
        let HeadTemplate(mut head) = HeadTemplate::new(parts.status, &parts.headers);
        end_head(&mut head, has_body.then_some(body.len()), is_last);
        Self { head, body }
    }
}

/// Sends as much of a response as the socket takes at once, and returns the rest. The rest is boxed, because there is hardly
/// ever one.
pub(crate) fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    context: &mut Context<'_>,
    template: &HeadTemplate,
    add_headers: impl FnOnce(&mut HeaderWriter<'_>),
    mut body: Bytes,
    is_last: bool,
) -> io::Result<Option<Box<Unsent>>> {
    scratch::lend(&OUTPUT, |output| {
        output.clear();
        output.extend_from_slice(&template.0);
        add_headers(&mut HeaderWriter(output));
        end_head(output, Some(body.len()), is_last);
        if body.len() <= COPIED_BYTES {
            output.extend_from_slice(&body);
            body.clear();
        }
        let stream = Pin::new(stream);
        let sent = match &body[..] {
            [] => stream.poll_write(context, output),
            body => stream.poll_write_vectored(context, &[IoSlice::new(output), IoSlice::new(body)]),
        };
        let sent = match sent {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        let (_, head) = output.split_at(sent.min(output.len()));
        body.advance(sent.saturating_sub(output.len()));
        let is_all = head.is_empty() && body.is_empty();
        Ok((!is_all).then(|| Box::new(Unsent { head: head.to_vec(), body })))
    })
}

/// Sends the rest of a response.
pub(crate) async fn send_rest(stream: &mut (impl AsyncWrite + Unpin), rest: Unsent) -> io::Result<()> {
    stream.write_all_buf(&mut rest.head.chain(rest.body)).await?;
    stream.flush().await
}

fn write_status(head: &mut Vec<u8>, status: StatusCode) {
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
}

fn write_headers(head: &mut Vec<u8>, headers: &HeaderMap) {
    let mut writer = HeaderWriter(head);
    for (name, value) in headers.iter().filter(|(name, _)| !OWN_HEADERS.contains(name)) {
        writer.write(name, value.as_bytes());
    }
}

/// Adds the headers of the connection, and the empty line.
fn end_head(head: &mut Vec<u8>, length: Option<usize>, is_last: bool) {
    if is_last {
        head.extend_from_slice(b"\r\nconnection: close");
    }
    if let Some(length) = length {
        // Writing to memory does not fail.
        let _ = write!(head, "\r\ncontent-length: {length}");
    }
    DATE.with_borrow_mut(|(second, date)| {
        let now = SystemTime::now();
        let now_second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if date.is_empty() || *second != now_second {
            (*second, *date) = (now_second, httpdate::fmt_http_date(now));
        }
        head.extend_from_slice(b"\r\ndate: ");
        head.extend_from_slice(date.as_bytes());
    });
    head.extend_from_slice(b"\r\n\r\n");
}
