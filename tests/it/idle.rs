//! Idle connections, and a checkout with other line ends.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::app::{PATIENCE, TestApp};

/// How long a connection stays after `request` is answered on it.
async fn stays(app: &TestApp, request: &str) -> Duration {
    let mut connection = TcpStream::connect(app.addr).await.unwrap();
    connection.write_all(format!("GET {request} HTTP/1.1\r\nhost: node\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let length = connection.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer[..length]));
    let since = Instant::now();
    let closed = timeout(PATIENCE, async { while connection.read(&mut answer).await.unwrap() > 0 {} });
    closed.await.expect("it is closed in time");
    since.elapsed()
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_as_long_as_is_set() {
    let app = TestApp::start_with(|config| config.idle_connection_seconds = 2).await;
    // With direct polls and with hyper.
    let (lists, polls) = tokio::join!(stays(&app, "/health/live"), stays(&app, "/poll"));
    for stayed in [lists, polls] {
        assert!(stayed > Duration::from_millis(1_800) && stayed < Duration::from_secs(4), "{stayed:?}");
    }
}

/// How long a connection stays on which `first` comes at once, and then one byte of `rest` from time to time.
async fn drips(app: &TestApp, first: &str, rest: &str) -> Duration {
    let since = Instant::now();
    let mut connection = TcpStream::connect(app.addr).await.unwrap();
    connection.write_all(first.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let nothing = std::iter::repeat(None);
    for byte in rest.bytes().map(Some).cycle().chain(nothing) {
        match timeout(Duration::from_millis(100), connection.read(&mut answer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(count)) => panic!("answered {}", String::from_utf8_lossy(&answer[..count])),
            Err(_) if since.elapsed() > PATIENCE => panic!("it is still open"),
            Err(_) => {
                if let Some(byte) = byte {
                    let _ = connection.write_all(&[byte]).await;
                }
            }
        }
    }
    since.elapsed()
}

#[tokio::test]
async fn a_new_connection_has_little_time_for_its_first_request_both_ways() {
    for direct_polls in [true, false] {
        let app = TestApp::start_with(|config| {
            config.direct_polls = direct_polls;
            config.first_request_seconds = 2;
            config.idle_connection_seconds = 600;
        })
        .await;
        let stayed = tokio::join!(
            drips(&app, "", ""),
            drips(&app, "GET /poll?queue_id=", "x"),
            drips(&app, "GET /health/live HTTP/1.1\r\nhost: node\r\nx-slow: ", "y"),
            drips(&app, "P", "OST /heartbeat HTTP/1.1\r\nx-slow: ........................................"),
        );
        for stayed in [stayed.0, stayed.1, stayed.2, stayed.3] {
            assert!(stayed > Duration::from_millis(1_800) && stayed < Duration::from_secs(8), "{stayed:?}");
        }
        // A connection that has had a request has more time. Both kinds are open longer than the limit here.
        let open = async |request: &str| {
            let mut connection = TcpStream::connect(app.addr).await.unwrap();
            let request = format!("GET {request} HTTP/1.1\r\nhost: node\r\n\r\n");
            let mut answer = [0; 4096];
            let since = Instant::now();
            loop {
                connection.write_all(request.as_bytes()).await.unwrap();
                assert!(connection.read(&mut answer).await.unwrap() > 0, "it is open");
                let quiet = timeout(Duration::from_millis(2_500), connection.read(&mut answer)).await;
                assert!(quiet.is_err(), "it stays open without a request");
                if since.elapsed() > Duration::from_millis(2_500) {
                    break;
                }
            }
        };
        tokio::join!(open("/health/live"), open("/poll?queue_id=x&last_event_id=0"));
    }
}

#[test]
fn no_migration_has_line_ends_that_change_its_checksum() {
    for migration in discussions::db::migrator().iter() {
        assert!(!migration.sql.contains('\r'), "{}", migration.description);
    }
    let attributes = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.gitattributes")).unwrap();
    assert!(attributes.lines().any(|line| line == "* text=auto eol=lf"));
}
