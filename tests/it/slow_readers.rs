//! Clients that ask for a large answer and do not read it.

use std::{fs, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};

use crate::app::{PATIENCE, TestApp};

/// More than the kernel takes for a client on the same machine.
const FILE_BYTES: usize = 32 * 1024 * 1024;

/// Sends a request and reads nothing. The kernel takes a small part of the answer: the client's window is small, and
/// segments are, after which the kernel sizes the sender's buffer.
async fn ask(app: &TestApp, target: &str, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    SockRef::from(&socket).set_tcp_mss(536).unwrap();
    let mut stream = socket.connect(app.addr).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads to the end. Returns how many bytes of the body came, and how many were promised.
async fn read_rest(mut stream: TcpStream) -> (usize, usize) {
    let mut read = Vec::new();
    // The end may come as a reset.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the connection ends");
    let head_length = read.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&read[..head_length]).to_ascii_lowercase();
    let promised = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    (read.len() - head_length, promised)
}

async fn cut_off(app: &TestApp) -> u64 {
    let metrics = reqwest::get(format!("http://{}/metrics", app.metrics_addr)).await.unwrap().text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("discussions_slow_readers_total "));
    line.expect("the counter").parse().unwrap()
}

#[tokio::test]
async fn a_connection_whose_client_does_not_read_ends_both_ways() {
    let files = std::env::temp_dir().join(format!("slow-readers-{}", uuid::Uuid::new_v4().simple()));
    fs::create_dir(&files).unwrap();
    fs::write(files.join("large.bin"), vec![b'x'; FILE_BYTES]).unwrap();
    let app = TestApp::start_with(|config| {
        config.write_timeout_seconds = 1;
        config.static_dir = Some(files.clone());
    })
    .await;
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let queue = ada.register().await;
    let discussion = ada.discussion(article, community, "Long").await;
    for _ in 0..15 {
        ada.comment(&discussion, &"x".repeat(50_000)).await;
    }
    app.settled().await;

    let before = cut_off(&app).await;
    let token = ada.token.as_deref().unwrap();
    let poll = format!("/poll?queue_id={}&last_event_id={}&timeout=0", queue.id, queue.cursor);
    let (fast, hyper) = (ask(&app, &poll, token).await, ask(&app, "/large.bin", token).await);
    let since = Instant::now();
    while cut_off(&app).await < before + 2 {
        assert!(since.elapsed() < PATIENCE, "the connections end");
        sleep(Duration::from_millis(20)).await;
    }
    for stream in [fast, hyper] {
        let (read, promised) = read_rest(stream).await;
        assert!(read < promised && promised > 500_000, "{read} of {promised} bytes");
    }
    // One that reads gets everything.
    let file = reqwest::get(format!("http://{}/large.bin", app.addr)).await.unwrap();
    assert_eq!(file.bytes().await.unwrap().len(), FILE_BYTES);
    fs::remove_dir_all(&files).unwrap();
}
