//! Connections: HTTP/1.1 by hyper's own builder.
//!
//! `axum::serve` and hyper's automatic builder hold 5 to 8 kB more for each parked connection.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A client has this long to send the head of a request, from its first connection or request on.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(75);
/// After the end has been announced, connections have this long to finish their requests.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Serves `router` on `listener` until `shutdown`; then lets the requests under way finish.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(64 * 1024);
    let builder = Arc::new(builder);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, Arc::clone(&builder), router.clone(), shutdown.clone());
                connections.spawn(connection);
            }
            Err(error) => refused(&error).await,
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "some connections did not finish in time");
    }
}

async fn connection(stream: TcpStream, builder: Arc<http1::Builder>, router: Router, shutdown: CancellationToken) {
    // An error here is a connection that is gone already.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(cause = %error, "a connection ended early");
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
