//! One connection: reads requests and answers them, one after the other.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    deadline::poll_deadline,
    head::{HEAD_BYTES, HeaderSlots, ParsedHead, RequestHead, Routes, parse_head},
    response::{self, HeadTemplate, HeaderWriter, Unsent},
    scratch,
    write_timeout::WriteTimeout,
};

thread_local! {
    /// The buffer that this thread reads into. A connection has no buffer of its own.
    static INPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An application that answers polls.
pub trait PollHandler: Send + Sync {
    /// The requests that the application answers here.
    const ROUTES: Routes;
    /// What the application remembers of a connection from one request to the next, such as a token that was good.
    type Memory: Default + Send;
    /// A poll that is not answered yet. A hundred thousand of these may wait at a time, so this should be small.
    type Pending<'a>: PendingPoll + Send
    where
        Self: 'a;

    /// Begins to answer a poll. `None` gives the request to the fallback, and the connection with it.
    fn begin(&self, head: &RequestHead<'_, '_>, memory: &mut Self::Memory) -> Option<Self::Pending<'_>>;

    /// Answers one of the `POST` requests of the client at the address `peer`. It must end by itself: the client is not watched
    /// meanwhile.
    fn respond(
        &self,
        request: Request<Bytes>,
        peer: Option<SocketAddr>,
    ) -> impl Future<Output = Response<Bytes>> + Send;
}

/// The transport of a connection.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// The address of the client. `None` where the transport has none, or where the client has gone already.
    ///
    /// It is asked for when it is needed, because an address that is kept would make each parked poll larger.
    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    /// Called when a whole request has come. If it returns false, the connection is closed: the application wants to be rid of
    /// it, and has decided so while the connection had no request.
    fn begin_request(&self) -> bool {
        true
    }

    /// Called when the answer has been sent.
    fn end_request(&self) {}
}

impl Transport for TcpStream {
    fn peer(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}

impl Transport for DuplexStream {}

/// A poll that is not answered yet. It is dropped when its client goes away.
pub trait PendingPoll {
    /// Resolves once, with the answer. `timer` is the connection's only timer: use it with
    /// [`poll_deadline`].
    fn poll_answer(&mut self, timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Answer>;

    /// The status line and the common headers of an [`Answer::Body`] or [`Answer::EncodedBody`].
    fn template(&self) -> &HeadTemplate;

    /// Adds the headers of such an answer that are not in its template.
    fn write_headers(&self, _headers: &mut HeaderWriter<'_>) {}
}

/// The answer to a poll.
#[derive(Debug)]
pub enum Answer {
    /// This body behind the head that [`PendingPoll`] describes: the common answer.
    Body(Bytes),
    /// As [`Answer::Body`], with these headers besides: those that say how the body is encoded.
    EncodedBody(&'static [(HeaderName, HeaderValue)], Bytes),
    /// Any other response, whole.
    Response(Box<Response<Bytes>>),
}

/// How long clients may take, and how connections end.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a client may take to send its first request, from the connection's beginning on.
    pub first_request_timeout: Duration,
    /// How long a client may take to send another request, from the last answer on.
    pub request_timeout: Duration,
    /// Once this is cancelled, each answer is the last of its connection.
    pub shutdown: CancellationToken,
    /// Once this is cancelled, connections without a request end.
    pub close_idle: CancellationToken,
}

/// How the service of a connection ended.
#[derive(Debug)]
pub enum Served<S> {
    /// The connection is closed, or is to be closed.
    Closed,
    /// The next request is for the fallback, and all later ones of this connection too.
    HandedOver {
        /// The connection. Its client may be as slow for the fallback.
        stream: WriteTimeout<S>,
        /// What was read of the request. [`Rewind`](crate::Rewind) puts it in front of the stream again.
        read: Vec<u8>,
    },
}

/// Serves connections of clients that poll.
pub struct PollConnections<H> {
    handler: H,
    settings: Settings,
}

/// What a connection does next.
enum Next<P> {
    Poll(P),
    Post(Box<Request<Bytes>>),
    HandOver,
    Close,
}

impl<H: PollHandler> PollConnections<H> {
    /// Serves connections by `handler`.
    pub fn new(handler: H, settings: Settings) -> Self {
        Self { handler, settings }
    }

    /// Serves `stream` until it ends or a request for the fallback comes.
    ///
    /// The future is the memory that a parked poll takes, so everything rare in it is boxed.
    pub async fn serve<S: Transport>(&self, mut stream: WriteTimeout<S>) -> Served<S> {
        let Settings { first_request_timeout, request_timeout, close_idle, .. } = &self.settings;
        // Bytes that were read and do not belong to an answered request.
        let mut unread = Vec::new();
        let mut memory = H::Memory::default();
        let mut request_timeout_now = first_request_timeout;
        let mut timer = pin!(sleep_until(Instant::now() + *request_timeout_now));
        let mut close_idle = pin!(close_idle.cancelled());
        loop {
            if !unread.is_empty() {
                // The client did not wait for the answer before it sent this. The fallback reads pipelined requests.
                return Served::HandedOver { stream, read: unread };
            }
            let deadline = Instant::now() + *request_timeout_now;
            let next = poll_fn(|context| {
                let next = self.poll_request(&mut stream, &mut unread, &mut memory, context);
                let closes = next.is_pending()
                    && (close_idle.as_mut().poll(context).is_ready()
                        || poll_deadline(timer.as_mut(), deadline, context).is_ready());
                if closes { Poll::Ready(Next::Close) } else { next }
            });
            let next = next.await;
            if matches!(next, Next::Poll(_) | Next::Post(_)) && !stream.get_ref().begin_request() {
                return Served::Closed;
            }
            let sent = match next {
                Next::Poll(mut poll) => {
                    let sent = poll_fn(|context| match poll.poll_answer(timer.as_mut(), context) {
                        Poll::Ready(answer) => Poll::Ready(Some(self.send(&mut stream, &poll, answer, context))),
                        Poll::Pending => poll_closed(&mut stream, &mut unread, context).map(|()| None),
                    });
                    match sent.await {
                        Some(sent) => sent,
                        None => return Served::Closed,
                    }
                }
                Next::Post(request) => {
                    let response = Box::pin(self.handler.respond(*request, stream.get_ref().peer())).await;
                    Ok(Some(Box::new(Unsent::new(response, self.is_shutting_down()))))
                }
                Next::HandOver => return Served::HandedOver { stream, read: unread },
                Next::Close => return Served::Closed,
            };
            let is_sent = match sent {
                Ok(None) => true,
                Ok(Some(rest)) => Box::pin(response::send_rest(&mut stream, *rest)).await.is_ok(),
                Err(_) => false,
            };
            if !is_sent || self.is_shutting_down() {
                return Served::Closed;
            }
            stream.get_ref().end_request();
            request_timeout_now = request_timeout;
        }
    }

    fn is_shutting_down(&self) -> bool {
        self.settings.shutdown.is_cancelled()
    }

    /// Reads a request. `unread` has the bytes of it that were read before, and at [`Next::HandOver`] all that were read.
    fn poll_request(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        unread: &mut Vec<u8>,
        memory: &mut H::Memory,
        context: &mut Context<'_>,
    ) -> Poll<Next<H::Pending<'_>>> {
        scratch::lend(&INPUT, |buffer| {
            loop {
                let count = ready!(poll_read(stream, buffer, context));
                if count == 0 {
                    return Poll::Ready(Next::Close);
                }
                let read = &buffer[..count];
                // A request that comes in one piece, as nearly all do, is read where it lies.
                let is_first = unread.is_empty();
                if !is_first {
                    unread.extend_from_slice(read);
                }
                let mut slots = HeaderSlots::default();
                let next = match parse_head(if is_first { read } else { unread }, &H::ROUTES, &mut slots) {
                    ParsedHead::Poll(head) => self.handler.begin(&head, memory).map_or(Next::HandOver, Next::Poll),
                    ParsedHead::Post(request) => Next::Post(request),
                    ParsedHead::Incomplete => {
                        if is_first {
                            unread.extend_from_slice(read);
                        }
                        continue;
                    }
                    ParsedHead::Other => Next::HandOver,
                };
                match next {
                    Next::HandOver if is_first => unread.extend_from_slice(read),
                    Next::HandOver => {}
                    _ => *unread = Vec::new(),
                }
                return Poll::Ready(next);
            }
        })
    }

    /// Sends as much of a poll's answer as the socket takes at once, and returns the rest.
    fn send(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        poll: &H::Pending<'_>,
        answer: Answer,
        context: &mut Context<'_>,
    ) -> io::Result<Option<Box<Unsent>>> {
        let is_last = self.is_shutting_down();
        let (encoding, body) = match answer {
            Answer::Body(body) => (&[][..], body),
            Answer::EncodedBody(headers, body) => (headers, body),
            Answer::Response(response) => return Ok(Some(Box::new(Unsent::new(*response, is_last)))),
        };
        let add_headers = |headers: &mut HeaderWriter<'_>| {
            poll.write_headers(headers);
            encoding.iter().for_each(|(name, value)| headers.write(name, value.as_bytes()));
        };
        response::send(stream, context, poll.template(), add_headers, body, is_last)
    }
}

/// Reads once, and returns how many bytes. That is 0 at the end of the stream, and after an error.
fn poll_read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>, context: &mut Context<'_>) -> Poll<usize> {
    buffer.resize(HEAD_BYTES, 0);
    let mut buffer = ReadBuf::new(buffer);
    let read = ready!(Pin::new(stream).poll_read(context, &mut buffer));
    Poll::Ready(if read.is_ok() { buffer.filled().len() } else { 0 })
}

/// Is ready when the client has gone away. Keeps what the client sends meanwhile in `unread`. From a full head on it reads no
/// more, so that a client cannot fill the memory.
fn poll_closed(stream: &mut (impl AsyncRead + Unpin), unread: &mut Vec<u8>, context: &mut Context<'_>) -> Poll<()> {
    scratch::lend(&INPUT, |buffer| {
        while unread.len() < HEAD_BYTES {
            let count = ready!(poll_read(stream, buffer, context));
            if count == 0 {
                return Poll::Ready(());
            }
            unread.extend_from_slice(&buffer[..count]);
        }
        Poll::Pending
    })
}
