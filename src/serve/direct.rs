//! A connection that polls, without hyper: hyper keeps two buffers of 8 kB for each connection that is parked, this keeps none.
//!
//! A well-formed `GET /poll` is read into a buffer of the thread, answered by the same [`poll::wait`] as axum's handler calls,
//! and written in one piece. So that a client may register and poll on one connection, plain `POST`s to `/register` and
//! `/heartbeat` are read here too, for the router. Anything else, be it another request or only an unusual one (pipelined, of
//! another HTTP version, with many headers), hands the connection with the bytes read to hyper, for good. So this file
//! understands three requests and refuses none.

use std::{
    cell::RefCell,
    io,
    pin::{Pin, pin},
    task::{Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::FromRequestParts,
    http::{Request, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::HEADER_READ_TIMEOUT;
use crate::{
    auth::Viewer,
    error::Result,
    extract::Query,
    realtime::{model::PollQuery, poll},
    router::{self, Dressing},
    state::AppState,
};

/// A head that is longer is hyper's to read.
const HEAD_BYTES: usize = 8 * 1024;
/// More headers are hyper's to count.
const HEADERS: usize = 48;
/// A client has this long to take an answer that does not fit into its socket's buffer at once.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

thread_local! {
    /// What is read lands here; a connection has no buffer of its own.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; HEAD_BYTES]);
}

/// How a connection ends here.
pub enum End {
    /// It is closed, or should be.
    Closed,
    /// It goes on with hyper, which begins with these bytes.
    Hyper(TcpStream, Vec<u8>),
}

/// Serves polls on `stream` for as long as nothing else comes. `idle` ends it between requests.
pub async fn serve(mut stream: TcpStream, state: &AppState, router: &Router, idle: &CancellationToken) -> End {
    // What came with or after a request: what hyper would find in its buffer.
    let mut pending = Vec::new();
    loop {
        let response = match timeout(HEADER_READ_TIMEOUT, head(&mut stream, &mut pending, idle)).await {
            Ok(Read::Poll(parts)) => answered(&mut stream, &mut pending, state, parts).await,
            // Boxed, as its future is large and gone before a poll is parked.
            Ok(Read::Post(request)) => Box::pin(router.clone().oneshot(*request)).await.ok(),
            Ok(Read::Other) => return End::Hyper(stream, pending),
            Ok(Read::Closed) | Err(_) => return End::Closed,
        };
        let Some(response) = response else { return End::Closed };
        let close = state.shutdown.is_cancelled();
        if write(&mut stream, response, close).await.is_err() || close {
            return End::Closed;
        }
    }
}

/// What a head turns out to be.
enum Read {
    Poll(Box<Parts>),
    Post(Box<Request<Body>>),
    Other,
    Closed,
}

/// Reads one head. `pending` is what was read of it already, and at [`Read::Other`] all of it.
async fn head(stream: &mut TcpStream, pending: &mut Vec<u8>, idle: &CancellationToken) -> Read {
    if !pending.is_empty() {
        // Sent before the answer to the last: whatever it is, hyper reads such things.
        return Read::Other;
    }
    let mut idle = pin!(idle.cancelled());
    std::future::poll_fn(|context| {
        BUFFER.with_borrow_mut(|buffer| {
            loop {
                let mut buffer = ReadBuf::new(buffer);
                match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Read::Closed),
                    Poll::Pending => {
                        // Between requests, the end of the process ends the connection.
                        ready!(idle.as_mut().poll(context));
                        return Poll::Ready(Read::Closed);
                    }
                }
                let read = buffer.filled();
                if read.is_empty() {
                    return Poll::Ready(Read::Closed);
                }
                let understood = if pending.is_empty() {
                    understand(read)
                } else {
                    pending.extend_from_slice(read);
                    understand(pending)
                };
                match understood {
                    Understood::Poll(parts) => {
                        *pending = Vec::new();
                        return Poll::Ready(Read::Poll(parts));
                    }
                    Understood::Post(request) => {
                        *pending = Vec::new();
                        return Poll::Ready(Read::Post(request));
                    }
                    Understood::Partial | Understood::Other => {}
                }
                if pending.is_empty() {
                    pending.extend_from_slice(read);
                }
                if matches!(understood, Understood::Other) {
                    return Poll::Ready(Read::Other);
                }
            }
        })
    })
    .await
}

/// What the bytes read so far are.
#[derive(Debug)]
pub enum Understood {
    /// A poll, whole.
    Poll(Box<Parts>),
    /// Another request of a polling client, whole, for the router.
    Post(Box<Request<Body>>),
    /// Perhaps one of these, not whole yet.
    Partial,
    /// For hyper.
    Other,
}

/// The requests that are read here begin like this.
const STARTS: [&[u8]; 3] = [b"GET /poll", b"POST /register ", b"POST /heartbeat "];

/// Looks at the bytes of a connection from the beginning of a request on.
pub fn understand(bytes: &[u8]) -> Understood {
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
        poll_parts(&request).map(|parts| Understood::Poll(Box::new(parts)))
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

/// The parts of a plain `GET /poll` that [`answered`] looks at.
fn poll_parts(request: &httparse::Request<'_, '_>) -> Option<Parts> {
    const LOOKED_AT: [&str; 4] = ["authorization", "cookie", "origin", "x-request-id"];
    let path = request.path?;
    if !path.strip_prefix("/poll").is_some_and(|rest| rest.is_empty() || rest.starts_with('?')) {
        return None;
    }
    let mut parts = Request::get(path);
    for one in request.headers.iter() {
        if LOOKED_AT.iter().any(|name| one.name.eq_ignore_ascii_case(name)) {
            parts = parts.header(one.name, one.value);
        }
    }
    Some(parts.body(()).ok()?.into_parts().0)
}

fn post(request: &httparse::Request<'_, '_>, body: &[u8]) -> Option<Request<Body>> {
    let mut post = Request::post(request.path?);
    for one in request.headers.iter() {
        post = post.header(one.name, one.value);
    }
    post.body(Body::from(body.to_vec())).ok()
}

/// The answer to a poll; None where the client has gone away.
async fn answered(
    stream: &mut TcpStream,
    pending: &mut Vec<u8>,
    state: &AppState,
    parts: Box<Parts>,
) -> Option<Response> {
    let dressing = Dressing::of(&parts.headers);
    let mut answer = pin!(body(state, parts));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        () = gone(stream, pending) => return None,
    };
    let mut response = answer.map_or_else(IntoResponse::into_response, poll::respond);
    router::dress_poll(state, response.headers_mut(), dressing);
    Some(response)
}

async fn body(state: &AppState, mut parts: Box<Parts>) -> Result<Bytes> {
    // Boxed: a session is looked up in the database, and that future is large.
    let viewer = Box::pin(Viewer::from_request_parts(&mut parts, state)).await?;
    let Query(query) = Query::<PollQuery>::from_request_parts(&mut parts, state).await?;
    drop(parts);
    poll::wait(state, viewer, query).await
}

/// Resolves when the client goes away. What it sends meanwhile is kept, up to a bound at which it is read no further.
async fn gone(stream: &mut TcpStream, pending: &mut Vec<u8>) {
    std::future::poll_fn(|context| {
        BUFFER.with_borrow_mut(|buffer| {
            while pending.len() < HEAD_BYTES {
                let mut buffer = ReadBuf::new(buffer);
                if ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)).is_err() || buffer.filled().is_empty()
                {
                    return Poll::Ready(());
                }
                pending.extend_from_slice(buffer.filled());
            }
            Poll::Pending
        })
    })
    .await;
}

thread_local! {
    /// What is written is put together here.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The date of answers and the second that it is of.
    static DATE: RefCell<(i64, String)> = const { RefCell::new((0, String::new())) };
}

/// Writes the response, most often in one piece.
async fn write(stream: &mut TcpStream, response: Response, close: bool) -> io::Result<()> {
    let (parts, mut body) = response.into_parts();
    // The answers of these requests are in memory as one piece.
    let body = frame(&mut body).await?;
    let rest = OUTPUT.with_borrow_mut(|output| {
        output.clear();
        output.extend_from_slice(b"HTTP/1.1 ");
        output.extend_from_slice(parts.status.as_str().as_bytes());
        output.push(b' ');
        output.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
        let mut line = |name: &[u8], value: &[u8]| {
            output.extend_from_slice(b"\r\n");
            output.extend_from_slice(name);
            output.extend_from_slice(b": ");
            output.extend_from_slice(value);
        };
        for (name, value) in &parts.headers {
            line(name.as_str().as_bytes(), value.as_bytes());
        }
        if close {
            line(b"connection", b"close");
        }
        if !parts.headers.contains_key(header::CONTENT_LENGTH) && parts.status != StatusCode::NO_CONTENT {
            line(b"content-length", body.len().to_string().as_bytes());
        }
        DATE.with_borrow_mut(|(second, date)| {
            let now = chrono::Utc::now();
            if *second != now.timestamp() {
                *second = now.timestamp();
                *date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            }
            line(b"date", date.as_bytes());
        });
        output.extend_from_slice(b"\r\n\r\n");
        output.extend_from_slice(&body);
        let written = match stream.try_write(output) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        Ok(output[written..].to_vec())
    })?;
    if !rest.is_empty() {
        timeout(WRITE_TIMEOUT, stream.write_all(&rest)).await??;
    }
    Ok(())
}

async fn frame(body: &mut Body) -> io::Result<Bytes> {
    let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
    match frame {
        None => Ok(Bytes::new()),
        Some(frame) => {
            frame.map_err(io::Error::other)?.into_data().map_err(|_| io::Error::other("trailers in an answer"))
        }
    }
}
