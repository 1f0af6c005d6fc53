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

#[test]
fn no_migration_has_line_ends_that_change_its_checksum() {
    for migration in discussions::db::migrator().iter() {
        assert!(!migration.sql.contains('\r'), "{}", migration.description);
    }
    let attributes = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.gitattributes")).unwrap();
    assert!(attributes.lines().any(|line| line == "* text=auto eol=lf"));
}
