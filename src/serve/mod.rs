//! Connections: polls by [`poll_connections`], all other requests by hyper.
//!
//! Hyper's own builder for HTTP/1.1 is used, because `axum::serve` and hyper's automatic builder take 5 to 8 kB more for each
//! parked connection.

mod fast_path;
mod poll_head;
mod response_headers;

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, Request, header},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use poll_connections::{PollConnections, Rewind, Served, Settings, Transport, WriteLimits, WriteTimeout};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

pub use self::{fast_path::FastPath, poll_head::PollHead};
use crate::{config::Config, limits::Peer, metrics};

/// The path of polls.
const POLL_PATH: &str = "/poll";
/// A client that reads an answer more slowly is closed after a while. It is the speed of the slowest mobile networks.
const READ_BYTES_PER_SECOND: u32 = 2 * 1024;
/// How long a connection without a request stays open after the shutdown is announced. A load balancer may have sent a
/// request on it already, and that request would be lost.
const LINGER: Duration = Duration::from_millis(300);
/// How long connections have to finish their requests after that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// How many connections the kernel may hold until they are accepted.
pub const BACKLOG: u32 = 4096;

/// Serves connections until the process shuts down. A shutdown has two steps. First it is announced: each answer is now the
/// last one of its connection. A moment later, connections without a request end.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// From the beginning of a connection, or the last answer, to a whole request.
    pub request: Duration,
    /// Without reading anything of an answer.
    pub write: Duration,
}

impl From<&Config> for TimeLimits {
    fn from(config: &Config) -> Self {
        Self {
            request: Duration::from_secs(config.idle_connection_seconds),
            write: Duration::from_secs(config.write_timeout_seconds),
        }
    }
}

struct Inner {
    builder: http1::Builder,
    router: Router,
    polls: Option<PollConnections<FastPath>>,
    write_limits: Arc<WriteLimits>,
    /// The runtime of hyper's connections. Polls are served on the runtime that calls [`Server::serve`].
    requests: Handle,
    /// The shutdown is announced.
    shutdown: CancellationToken,
    /// Connections without a request are to end.
    close_idle: CancellationToken,
    connections: TaskTracker,
}

impl Server {
    /// A server of `router`. `fast_path` serves the connections that only poll. All other connections are served on the
    /// runtime `requests`.
    pub fn new(
        router: Router,
        shutdown: CancellationToken,
        fast_path: Option<FastPath>,
        requests: Handle,
        limits: TimeLimits,
    ) -> Self {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.request).max_buf_size(64 * 1024);
        let (close_idle, connections) = (CancellationToken::new(), TaskTracker::new());
        let settings =
            Settings { request_timeout: limits.request, shutdown: shutdown.clone(), close_idle: close_idle.clone() };
        let polls = fast_path.map(|handler| PollConnections::new(handler, settings));
        let write_limits = Arc::new(WriteLimits {
            timeout: limits.write,
            bytes_per_second: READ_BYTES_PER_SECOND,
            on_timeout: || metrics::SLOW_READERS.increment(1),
        });
        let inner = Inner { builder, router, polls, write_limits, requests, shutdown, close_idle, connections };
        Self(Arc::new(inner))
    }

    /// Accepts connections until the shutdown is announced, and then lets the requests under way finish.
    pub async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.0.shutdown.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => self.accept(stream),
                Err(error) => handle_accept_error(&error).await,
            }
        }
        // Connections in the kernel's backlog are already accepted from the client's view, so serve them before closing. Ask
        // the kernel for them: tokio may not know of the newest ones yet.
        if let Ok(listener) = listener.into_std() {
            for _ in 0..BACKLOG {
                let Ok((stream, _)) = listener.accept() else { break };
                // An error here is a connection that is gone already.
                if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                    self.accept(stream);
                }
            }
        }
        let connections = &self.0.connections;
        connections.close();
        let _ = timeout(LINGER, connections.wait()).await;
        self.0.close_idle.cancel();
        if timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
            tracing::warn!(left = connections.len(), "some connections did not finish in time");
        }
    }

    fn accept(&self, stream: TcpStream) {
        // An error here is a connection that is gone already.
        let _ = stream.set_nodelay(true);
        self.serve(stream);
    }

    /// Serves one connection on a task of its own.
    pub fn serve<S: Connection>(&self, stream: S) {
        let inner = Arc::clone(&self.0);
        self.0.connections.spawn(async move {
            let stream = WriteTimeout::new(stream, Arc::clone(&inner.write_limits));
            let (stream, read) = match &inner.polls {
                None => (stream, Vec::new()),
                Some(polls) => match polls.serve(stream).await {
                    Served::HandedOver { stream, read } => (stream, read),
                    Served::Closed => return,
                },
            };
            // On another task: one task for both would have the size of the larger one.
            let server = Arc::clone(&inner);
            let served = async move {
                let stream = stream.into_inner();
                let peer = stream.peer();
                if let Ok(stream) = stream.into_current_runtime() {
                    let stream = WriteTimeout::new(stream, Arc::clone(&server.write_limits));
                    server.serve_by_hyper(Rewind::new(read, stream), peer).await;
                }
            };
            inner.connections.spawn_on(served, &inner.requests);
        });
    }
}

/// The transport of a connection: a socket, or memory.
pub trait Connection: Transport + Sized + 'static {
    /// Registers the connection with the runtime that calls this, and not with the one that made it.
    fn into_current_runtime(self) -> io::Result<Self> {
        Ok(self)
    }
}

impl Connection for TcpStream {
    fn into_current_runtime(self) -> io::Result<Self> {
        Self::from_std(self.into_std()?)
    }
}

impl Connection for DuplexStream {}

impl Inner {
    async fn serve_by_hyper(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Option<SocketAddr>,
    ) {
        let shutdown = self.shutdown.clone();
        let service =
            ServiceExt::<Request<Incoming>>::map_response(self.router.clone(), move |mut response: Response| {
                // An open connection could get its next request at the moment when it is closed.
                if shutdown.is_cancelled() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            });
        let service = ServiceExt::<Request<Incoming>>::map_request(service, move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            request
        });
        let service = TowerToHyperService::new(service);
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.close_idle.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(cause = %error, "a connection ended early");
        }
    }
}

async fn handle_accept_error(error: &io::Error) {
    use io::ErrorKind as Kind;
    if matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionRefused | Kind::ConnectionReset) {
        return;
    }
    // Most often the limit of open files is reached. To try again at once would only burn CPU.
    tracing::error!(cause = %error, "cannot accept connections; is the limit of open files reached (ulimit -n)?");
    sleep(Duration::from_millis(100)).await;
}
