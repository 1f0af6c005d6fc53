//! A node that ends still answers the requests that a balancer sends at that moment.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::app::TestApp;

/// Sends `request` and reads the connection to its end.
async fn answer(connection: &mut TcpStream, request: &str) -> String {
    connection.write_all(format!("GET {request} HTTP/1.1\r\nhost: node\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_request_that_meets_the_end_is_answered_and_is_the_last_on_its_connection() {
    let app = TestApp::start().await;
    let mut made_before = [TcpStream::connect(app.addr).await.unwrap(), TcpStream::connect(app.addr).await.unwrap()];
    // The server has accepted one of them. The other may still be in the kernel's backlog.
    made_before[0].write_all(b"GET /health/live HTTP/1.1\r\nhost: node\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    made_before[0].read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");

    let shutdown = app.state.shutdown.clone();
    let ended = tokio::spawn(app.stop());
    shutdown.cancelled().await;
    let [mut used, mut fresh] = made_before;
    let of_used = answer(&mut used, "/health/live").await;
    assert!(of_used.contains("HTTP/1.1 200") && of_used.contains("connection: close"), "{of_used}");
    let of_fresh = answer(&mut fresh, "/poll").await;
    assert!(of_fresh.starts_with("HTTP/1.1 401") && of_fresh.contains("connection: close"), "{of_fresh}");
    ended.await.unwrap();
}
