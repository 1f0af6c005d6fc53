//! The load balancer in front of the nodes, as docker/haproxy.cfg describes it.

use std::{
    fs::File,
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

const BUFFER: usize = 16 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// `inter`: the pause between two checks, and the time limit of a check.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// `fall`: a node is down after this many failed checks in a row. `rise` is 1.
const FALL: u32 = 2;
const CHECK: &[u8] = b"GET /health/ready HTTP/1.1\r\nhost: balancer\r\nconnection: close\r\n\r\n";
const BAD_GATEWAY: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const NO_NODE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A round-robin balancer with health checks. Each connection goes to the next node that is up. If a node refuses the
/// connection, the balancer tries another one. It sends no request twice: if a node fails later, the client gets a 502.
pub(crate) struct Balancer {
    pub addr: SocketAddr,
    _tasks: JoinSet<()>,
}

struct Backends {
    nodes: Vec<Backend>,
    next: AtomicUsize,
    log: Mutex<File>,
}

struct Backend {
    addr: SocketAddr,
    is_up: AtomicBool,
}

impl Balancer {
    /// `log` gets a line for each connection: the request, the node, the status, and the time until the answer.
    pub(crate) async fn start(nodes: Vec<SocketAddr>, log: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let nodes = nodes.into_iter().map(|addr| Backend { addr, is_up: AtomicBool::new(true) }).collect();
        let backends = Arc::new(Backends { nodes, next: AtomicUsize::new(0), log: Mutex::new(File::create(log)?) });
        let mut tasks = JoinSet::new();
        for index in 0..backends.nodes.len() {
            tasks.spawn(check(Arc::clone(&backends), index));
        }
        tasks.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let backends = Arc::clone(&backends);
                // An error means that the client has gone.
                drop(tokio::spawn(async move { backends.balance(client).await }));
            }
        });
        Ok(Self { addr, _tasks: tasks })
    }
}

/// Checks one node, without end.
async fn check(backends: Arc<Backends>, index: usize) {
    let backend = &backends.nodes[index];
    let mut failed = 0;
    loop {
        let next = Instant::now() + CHECK_INTERVAL;
        let is_ready = matches!(timeout(CHECK_INTERVAL, is_ready(backend.addr)).await, Ok(Ok(true)));
        failed = if is_ready { 0 } else { failed + 1 };
        let is_up = if is_ready { true } else { backend.is_up.load(Ordering::Relaxed) && failed < FALL };
        if backend.is_up.swap(is_up, Ordering::Relaxed) != is_up {
            backends.log(format_args!("node {index} is {}", if is_up { "up" } else { "down" }));
        }
        tokio::time::sleep_until(next).await;
    }
}

async fn is_ready(node: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(node).await?;
    stream.write_all(CHECK).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

impl Backends {
    fn log(&self, line: std::fmt::Arguments<'_>) {
        let mut file = self.log.lock().expect("no task panics with it held");
        // An error of the log does not end the run.
        let _ = writeln!(file, "{} {line}", Utc::now().format("%T%.3f"));
    }

    async fn balance(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut request = vec![0; BUFFER];
        let length = client.read(&mut request).await?;
        let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
        let began = Instant::now();
        let (index, mut node) = match self.connect().await {
            Ok(connected) => connected,
            Err(refusal) => {
                self.log(format_args!("{line} -> no node"));
                return client.write_all(refusal).await;
            }
        };
        node.set_nodelay(true)?;
        let status = exchange(&mut client, &mut node, request, length).await;
        let status = status.as_deref().unwrap_or("the client is gone");
        self.log(format_args!("{line} -> node {index}: {status} after {:.3} s", began.elapsed().as_secs_f64()));
        Ok(())
    }

    /// A connection to the next node that is up and accepts it.
    async fn connect(&self) -> Result<(usize, TcpStream), &'static [u8]> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut refusal = NO_NODE;
        for offset in 0..self.nodes.len() {
            let index = (first + offset) % self.nodes.len();
            let node = &self.nodes[index];
            if !node.is_up.load(Ordering::Relaxed) {
                continue;
            }
            if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(node.addr)).await {
                return Ok((index, stream));
            }
            refusal = BAD_GATEWAY;
            // Try the next node now. The health check will mark this one as down.
            sleep(Duration::ZERO).await;
        }
        Err(refusal)
    }
}

/// Carries bytes both ways until either side ends. Returns the status line of the first answer.
async fn exchange(
    client: &mut TcpStream,
    node: &mut TcpStream,
    mut request: Vec<u8>,
    mut length: usize,
) -> io::Result<String> {
    let mut answer = vec![0; BUFFER];
    let mut status = None;
    loop {
        if length > 0 && node.write_all(&request[..length]).await.is_err() && status.is_none() {
            client.write_all(BAD_GATEWAY).await?;
            return Ok("502, it ended".to_owned());
        }
        length = tokio::select! {
            read = client.read(&mut request) => match read? {
                0 => return Ok(status.unwrap_or_else(|| "the client hung up".to_owned())),
                length => length,
            },
            read = node.read(&mut answer) => {
                match (read, &status) {
                    (Ok(length), _) if length > 0 => client.write_all(&answer[..length]).await?,
                    (_, Some(status)) => return Ok(status.clone()),
                    (_, None) => {
                        client.write_all(BAD_GATEWAY).await?;
                        return Ok("502, it ended".to_owned());
                    }
                }
                status.get_or_insert_with(|| String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).into_owned());
                0
            }
        };
    }
}
