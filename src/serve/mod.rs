//! Connections: polls by [`poll_connections`], all other requests by hyper.
//!
//! Hyper's own builder for HTTP/1.1 is used, because `axum::serve` and hyper's automatic builder take 5 to 8 kB more for each
//! parked connection.

mod connections;
mod fast_path;
mod guarded_body;
mod limits;
mod poll_head;
mod response_headers;

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, Request, header},
    response::{IntoResponse, Response},
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
    time::{sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{ServiceExt, service_fn};

use self::{
    connections::{Connections, Place, Tracked},
    guarded_body::GuardedBody,
};
pub use self::{fast_path::FastPath, limits::ConnectionLimits, poll_head::PollHead};
use crate::{
    error::{ApiError, ErrorCode},
    limits::Peer,
    metrics,
};

/// The path of polls.
const POLL_PATH: &str = "/poll";
/// A client that reads an answer more slowly is closed after a while. It is the speed of the slowest mobile networks.
const READ_BYTES_PER_SECOND: u32 = 2 * 1024;
/// How long a connection without a request stays open after the shutdown is announced. A load balancer may have sent a
/// request on it already, and that request would be lost.
const LINGER: Duration = Duration::from_millis(300);
/// How long connections have to finish their requests after that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// What `accept` fails with where the system, and where this process, has too many open files. All systems use these numbers.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
/// How many connections the kernel may hold until they are accepted.
pub const BACKLOG: u32 = 4096;

/// Serves connections until the process shuts down. A shutdown has two steps. First it is announced: each answer is now the
/// last one of its connection. A moment later, connections without a request end.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    builder: http1::Builder,
    router: Router,
    polls: Option<PollConnections<FastPath>>,
    write_limits: Arc<WriteLimits>,
    first_request_timeout: Duration,
    open: Arc<Connections>,
    /// Whether strangers connect here. Then new connections wait where `open` is full, and idle ones are closed for room.
    is_public: bool,
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
        limits: ConnectionLimits,
    ) -> Self {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.request).max_buf_size(64 * 1024);
        let (close_idle, connections) = (CancellationToken::new(), TaskTracker::new());
        let settings = Settings {
            first_request_timeout: limits.first_request,
            request_timeout: limits.request,
            shutdown: shutdown.clone(),
            close_idle: close_idle.clone(),
        };
        let polls = fast_path.map(|handler| PollConnections::new(handler, settings));
        let write_limits = Arc::new(WriteLimits {
            timeout: limits.write,
            bytes_per_second: READ_BYTES_PER_SECOND,
            on_timeout: || metrics::SLOW_READERS.increment(1),
        });
        let (first_request_timeout, open) = (limits.first_request, Connections::new(limits.connections));
        let inner = Inner {
            builder,
            router,
            polls,
            write_limits,
            first_request_timeout,
            open,
            is_public: true,
            requests,
            shutdown,
            close_idle,
            connections,
        };
        Self(Arc::new(inner))
    }

    /// A server of another router, for another listener, which only operators reach. It accepts connections even where this server is
    /// full, and where the limit of open files is reached, it closes idle connections of this server and none of its own.
    pub(crate) fn beside(&self, router: Router) -> Self {
        let inner = &*self.0;
        Self(Arc::new(Inner {
            builder: inner.builder.clone(),
            router,
            polls: None,
            write_limits: Arc::clone(&inner.write_limits),
            first_request_timeout: inner.first_request_timeout,
            open: Arc::clone(&inner.open),
            is_public: false,
            requests: inner.requests.clone(),
            shutdown: inner.shutdown.clone(),
            close_idle: CancellationToken::new(),
            connections: TaskTracker::new(),
        }))
    }

    /// Accepts connections until the shutdown is announced, and then lets the requests under way finish.
    pub async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                // First, because a connection that waits for room is served although the shutdown is announced.
                biased;
                accepted = self.next(&listener) => accepted,
                () = self.0.shutdown.cancelled() => break,
            };
            match accepted {
                Ok(stream) => self.accept(stream),
                Err(error) => self.handle_accept_error(&error).await,
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

    /// The next connection, once there is room for it. Room is made only when the connection is there.
    async fn next(&self, listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _) = listener.accept().await?;
        if self.0.is_public {
            tokio::select! {
                () = self.0.open.make_room() => {}
                () = self.0.shutdown.cancelled() => {}
            }
        }
        Ok(stream)
    }

    async fn handle_accept_error(&self, error: &io::Error) {
        use io::ErrorKind as Kind;
        if matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionRefused | Kind::ConnectionReset) {
            return;
        }
        if error.raw_os_error().is_some_and(|code| [ENFILE, EMFILE].contains(&code)) {
            return self.0.open.evict_some("the limit of open files is reached").await;
        }
        // The system lacks memory. To try again at once would only burn CPU.
        tracing::error!(cause = %error, "cannot accept connections");
        sleep(Duration::from_millis(100)).await;
    }

    fn accept(&self, stream: TcpStream) {
        // An error here is a connection that is gone already.
        let _ = stream.set_nodelay(true);
        self.serve(stream);
    }

    /// Serves one connection on a task of its own.
    pub fn serve<S: Connection>(&self, stream: S) {
        let inner = Arc::clone(&self.0);
        let stream = Tracked::new(stream, inner.open.open(inner.is_public));
        let place = Arc::clone(stream.place());
        let task = self.0.connections.spawn(async move {
            let stream = WriteTimeout::new(stream, Arc::clone(&inner.write_limits));
            let (stream, read) = match &inner.polls {
                None => (stream, Vec::new()),
                Some(polls) => match polls.serve(stream).await {
                    Served::HandedOver { stream, read } => (stream, read),
                    Served::Closed => return,
                },
            };
            // On another task: one task for both would have the size of the larger one.
            let (server, place) = (Arc::clone(&inner), Arc::clone(stream.get_ref().place()));
            let served = async move {
                let stream = stream.into_inner();
                let peer = stream.peer();
                if let Ok(stream) = stream.into_current_runtime() {
                    let place = Arc::clone(stream.place());
                    let stream = WriteTimeout::new(stream, Arc::clone(&server.write_limits));
                    server.serve_by_hyper(Rewind::new(read, stream), Peer(peer), place).await;
                }
            };
            let task = inner.connections.spawn_on(served, &inner.requests);
            place.set_task(task.abort_handle());
        });
        place.set_first_task(task.abort_handle());
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
        peer: Peer,
        place: Arc<Place>,
    ) {
        let service = service_fn(|mut request: Request<Incoming>| {
            let (router, guard) = (self.router.clone(), place.request());
            async move {
                // The connection is being closed, and nobody will get this.
                let Some(guard) = guard else { return Ok(ApiError::from(ErrorCode::Unavailable).into_response()) };
                request.extensions_mut().insert(peer);
                let mut response: Response = router.oneshot(request).await?;
                // An open connection could get its next request at the moment when it is closed.
                if self.shutdown.is_cancelled() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| GuardedBody { body, _guard: guard }.into()))
            }
        });
        let service = TowerToHyperService::new(service);
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.first_request_is_late(&place) => return,
            () = self.close_idle.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(cause = %error, "a connection ended early");
        }
    }

    /// Returns when the first request should have come and has not. Hyper has one time limit for all requests.
    async fn first_request_is_late(&self, place: &Place) {
        if !place.had_request() {
            sleep_until(place.opened() + self.first_request_timeout).await;
        }
        if place.had_request() {
            std::future::pending::<()>().await;
        }
    }
}
