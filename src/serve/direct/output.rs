//! Writing answers, most often in one piece.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Bytes, HttpBody},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{realtime::poll, router::Dressing, state::AppState};

/// A client has this long to take an answer that does not fit into its socket's buffer at once.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

thread_local! {
    /// What is written is put together here.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The date of answers and the second that it is of.
    static DATE: RefCell<(i64, String)> = const { RefCell::new((0, String::new())) };
}

/// The beginning of the head of a poll's good answer, the same in each.
pub fn template(state: &AppState) -> Vec<u8> {
    let mut response = poll::respond(Bytes::new());
    Dressing::default().dress(state, response.headers_mut());
    let mut output = Vec::new();
    begin(&mut output, response.status());
    for name in ["x-request-id", "content-length"] {
        response.headers_mut().remove(name);
    }
    lines(&mut output, response.headers());
    output
}

/// Puts the good answer to a poll together.
pub fn answer(output: &mut Vec<u8>, template: &[u8], dressing: &Dressing, state: &AppState, body: &[u8], close: bool) {
    output.extend_from_slice(template);
    dressing.write(state, |name, value| line(output, name.as_bytes(), value));
    end(output, Some(body.len()), close);
    output.extend_from_slice(body);
}

/// Puts any response together whose body is in memory as one piece, as those of polls and their like are, and writes it.
pub fn poll_response(
    stream: &mut (impl AsyncWrite + Unpin),
    response: Response,
    close: bool,
    context: &mut Context<'_>,
) -> Poll<io::Result<Vec<u8>>> {
    let (parts, mut body) = response.into_parts();
    let body = match ready!(Pin::new(&mut body).poll_frame(context)) {
        None => Bytes::new(),
        Some(frame) => match frame.map_err(io::Error::other)?.into_data() {
            Ok(data) => data,
            Err(_) => return Poll::Ready(Err(io::Error::other("trailers in an answer"))),
        },
    };
    poll_write(stream, context, |output| {
        begin(output, parts.status);
        lines(output, &parts.headers);
        let is_said = parts.headers.contains_key(header::CONTENT_LENGTH) || parts.status == StatusCode::NO_CONTENT;
        end(output, (!is_said).then_some(body.len()), close);
        output.extend_from_slice(&body);
    })
}

/// Writes any such response.
pub async fn write_response(
    stream: &mut (impl AsyncWrite + Unpin),
    response: Response,
    close: bool,
) -> io::Result<Vec<u8>> {
    let mut response = Some(response);
    poll_fn(|context| match response.take() {
        Some(response) => poll_response(stream, response, close, context),
        None => Poll::Ready(Err(io::Error::other("the body of an answer is not there at once"))),
    })
    .await
}

fn begin(output: &mut Vec<u8>, status: StatusCode) {
    output.extend_from_slice(b"HTTP/1.1 ");
    output.extend_from_slice(status.as_str().as_bytes());
    output.push(b' ');
    output.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
}

fn line(output: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(name);
    output.extend_from_slice(b": ");
    output.extend_from_slice(value);
}

fn lines(output: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        line(output, name.as_str().as_bytes(), value.as_bytes());
    }
}

fn end(output: &mut Vec<u8>, length: Option<usize>, close: bool) {
    use io::Write;
    if close {
        line(output, b"connection", b"close");
    }
    if let Some(length) = length {
        // Writing to memory does not fail.
        let _ = write!(output, "\r\ncontent-length: {length}");
    }
    DATE.with_borrow_mut(|(second, date)| {
        let now = chrono::Utc::now();
        if *second != now.timestamp() {
            *second = now.timestamp();
            *date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        }
        line(output, b"date", date.as_bytes());
    });
    output.extend_from_slice(b"\r\n\r\n");
}

/// Writes what `fill` puts together, and returns what the socket does not take at once. Always ready.
pub fn poll_write(
    stream: &mut (impl AsyncWrite + Unpin),
    context: &mut Context<'_>,
    fill: impl FnOnce(&mut Vec<u8>),
) -> Poll<io::Result<Vec<u8>>> {
    OUTPUT.with_borrow_mut(|output| {
        output.clear();
        fill(output);
        let written = match Pin::new(stream).poll_write(context, output) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(output[written..].to_vec()))
    })
}

/// Writes what the socket did not take at once.
pub async fn write_rest(stream: &mut (impl AsyncWrite + Unpin), rest: Vec<u8>) -> io::Result<()> {
    timeout(WRITE_TIMEOUT, stream.write_all(&rest)).await?
}
