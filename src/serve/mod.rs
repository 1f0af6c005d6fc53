//! Connections: HTTP/1.1 by hyper's own builder, polls without hyper.
//!
//! `axum::serve` and hyper's automatic builder hold 5 to 8 kB more for each parked connection.

pub mod direct;

use std::{
    io::{self, Cursor},
    pin::pin,
    sync::Arc,
    time::Duration,
};

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
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::state::AppState;

/// A client has this long to send the head of a request, from its first connection or request on.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(75);
/// After the end has been announced, a connection without a request stays for this long: one that a balancer has just made,
/// or is about to use again, carries a request that is under way already and would be lost.
const LINGER: Duration = Duration::from_millis(300);
/// After the end has been announced, connections have this long to finish their requests.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// Connections that the kernel may hold for us until they are accepted.
pub const BACKLOG: u32 = 4096;

/// Serves `router` on `listener` until `shutdown`; then lets the requests under way finish. With `direct`, connections that
/// only poll are served by [`direct`].
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken, direct: Option<AppState>) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(64 * 1024);
    let (idle, connections) = (CancellationToken::new(), TaskTracker::new());
    let hyper =
        Hyper { builder: Arc::new(builder), router, shutdown: shutdown.clone(), idle: idle.clone(), connections };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => accept(stream, &hyper, direct.as_ref()),
            Err(error) => refused(&error).await,
        }
    }
    // What the kernel has accepted for us is ours to answer.
    for _ in 0..BACKLOG {
        let Ok(Ok((stream, _))) = timeout(Duration::ZERO, listener.accept()).await else { break };
        accept(stream, &hyper, direct.as_ref());
    }
    drop(listener);
    hyper.connections.close();
    let _ = timeout(LINGER, hyper.connections.wait()).await;
    idle.cancel();
    if timeout(DRAIN_TIMEOUT, hyper.connections.wait()).await.is_err() {
        tracing::warn!(left = hyper.connections.len(), "some connections did not finish in time");
    }
}

fn accept(stream: TcpStream, hyper: &Hyper, direct: Option<&AppState>) {
    // An error here is a connection that is gone already.
    let _ = stream.set_nodelay(true);
    let connections = hyper.connections.clone();
    match direct.cloned() {
        None => drop(connections.spawn(hyper.clone().serve(stream))),
        Some(state) => {
            let hyper = hyper.clone();
            connections.spawn(async move {
                if let direct::End::Hyper(stream, read) =
                    direct::serve(stream, &state, &hyper.router, &hyper.idle).await
                {
                    let (reading, writing) = stream.into_split();
                    let stream = tokio::io::join(Cursor::new(read).chain(reading), writing);
                    // A task of its own, and not a part of this one, which would be as large as both.
                    hyper.connections.spawn(hyper.clone().serve(stream));
                }
            });
        }
    }
}

/// What each connection that hyper serves needs.
#[derive(Clone)]
struct Hyper {
    builder: Arc<http1::Builder>,
    router: Router,
    /// The end is announced.
    shutdown: CancellationToken,
    /// Connections without a request are to end.
    idle: CancellationToken,
    connections: TaskTracker,
}

impl Hyper {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
        let shutdown = self.shutdown;
        let service = ServiceExt::<Request<Incoming>>::map_response(self.router, move |mut response: Response| {
            // Kept open, the connection could get its next request in the moment in which it is closed.
            if shutdown.is_cancelled() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        });
        let service = TowerToHyperService::new(service);
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(Box::pin(stream)), service));
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

async fn refused(error: &io::Error) {
    use io::ErrorKind as Kind;
    if matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionRefused | Kind::ConnectionReset) {
        return;
    }
    // Above all: no more files may be opened. Accepting at once again would only burn the CPU.
    tracing::error!(cause = %error, "cannot accept connections; is the limit of open files reached (ulimit -n)?");
    sleep(Duration::from_millis(100)).await;
}
