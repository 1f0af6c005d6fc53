//! Connections: HTTP/1.1 by hyper's own builder, polls without hyper.
//!
//! `axum::serve` and hyper's automatic builder hold 5 to 8 kB more for each parked connection.

pub mod direct;
mod rewound;

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::ConnectInfo,
    http::{HeaderValue, Request, header},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use self::{direct::Direct, rewound::Rewound};
use crate::state::AppState;

/// After the end has been announced, a connection without a request stays for this long: one that a balancer has just made,
/// or is about to use again, carries a request that is under way already and would be lost.
const LINGER: Duration = Duration::from_millis(300);
/// After the end has been announced, connections have this long to finish their requests.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// Connections that the kernel may hold for us until they are accepted.
pub const BACKLOG: u32 = 4096;

/// Serves connections until the end of the process, which comes in two steps: it is announced, so that answers are the last
/// of their connections, and a moment later connections without a request end.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    builder: http1::Builder,
    router: Router,
    direct: Option<Direct>,
    /// Where hyper's connections are served: polls are served where this server runs.
    requests: Handle,
    /// The end is announced.
    shutdown: CancellationToken,
    /// Connections without a request are to end.
    idle: CancellationToken,
    connections: TaskTracker,
}

impl Server {
    /// A server of `router`. With `direct`, connections that only poll are served by [`direct`], and all others on the runtime
    /// `requests`. A client has `patience` to send the head of a request, from its first connection or last request on.
    pub fn new(
        router: Router,
        shutdown: CancellationToken,
        direct: Option<AppState>,
        requests: Handle,
        patience: Duration,
    ) -> Self {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(64 * 1024);
        let direct = direct.map(|state| Direct::new(state, router.clone()));
        let (idle, connections) = (CancellationToken::new(), TaskTracker::new());
        Self(Arc::new(Inner { builder, router, direct, requests, shutdown, idle, connections }))
    }

    /// Accepts connections until the end is announced, then lets the requests under way finish.
    pub async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.0.shutdown.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => self.accept(stream),
                Err(error) => refused(&error).await,
            }
        }
        // Connections in the kernel's backlog are already accepted from the client's view, so serve them before closing. The
        // kernel is asked for them, and not tokio: that may not have heard of the newest yet.
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
        self.0.idle.cancel();
        if timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
            tracing::warn!(left = connections.len(), "some connections did not finish in time");
        }
    }

    fn accept(&self, stream: TcpStream) {
        // An error here is a connection that is gone already.
        let _ = stream.set_nodelay(true);
        self.serve(stream);
    }

    /// Serves one connection, on a task of its own.
    pub fn serve<S: Connection>(&self, stream: S) {
        let inner = Arc::clone(&self.0);
        self.0.connections.spawn(async move {
            let (stream, read) = match &inner.direct {
                None => (stream, Vec::new()),
                Some(direct) => match direct.serve(stream, &inner.idle).await {
                    direct::End::Hyper(stream, read) => (stream, read),
                    direct::End::Closed => return,
                },
            };
            // A task of its own, and not a part of this one, which would be as large as both.
            let hyper = Arc::clone(&inner);
            let served = async move {
                let peer = stream.peer();
                if let Ok(stream) = stream.moved() {
                    hyper.hyper(Rewound::new(read, stream), peer).await;
                }
            };
            inner.connections.spawn_on(served, &inner.requests);
        });
    }
}

/// What a connection is served over: a socket, or memory.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send + Sized + 'static {
    /// The address of the client. None where the connection is gone already, or has none.
    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    /// The same in the hands of the runtime that this is called on.
    fn moved(self) -> io::Result<Self> {
        Ok(self)
    }
}

impl Connection for TcpStream {
    fn peer(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }

    fn moved(self) -> io::Result<Self> {
        Self::from_std(self.into_std()?)
    }
}

impl Connection for DuplexStream {}

impl Inner {
    async fn hyper(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Option<SocketAddr>) {
        let shutdown = self.shutdown.clone();
        let service =
            ServiceExt::<Request<Incoming>>::map_response(self.router.clone(), move |mut response: Response| {
                // Kept open, the connection could get its next request in the moment in which it is closed.
                if shutdown.is_cancelled() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            });
        let service = ServiceExt::<Request<Incoming>>::map_request(service, move |request| with_peer(request, peer));
        let service = TowerToHyperService::new(service);
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.idle.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(cause = %error, "a connection ended early");
        }
    }
}

/// The request with the address of the client, for [`crate::limits`].
fn with_peer<B>(mut request: Request<B>, peer: Option<SocketAddr>) -> Request<B> {
    if let Some(peer) = peer {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    request
}

async fn refused(error: &io::Error) {
    use io::ErrorKind as Kind;
    if matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionRefused | Kind::ConnectionReset) {
        return;
    }
    // Above all: no more files may be opened. Accepting at once again would only burn the CPU.
    tracing::error!(cause = %error, "cannot accept connections; is the limit of open files reached (ulimit -n)?");
    sleep(Duration::from_millis(100)).await;
}
