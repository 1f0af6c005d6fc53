//! The network between the processes: a balancer in front of the nodes, and links that can be cut.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

const BUFFER: usize = 16 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const BAD_GATEWAY: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A round-robin balancer, a connection to whichever node is next. As usual ones do, it goes on to another node where one
/// refuses the connection, and sends no request twice: a node that fails later makes a 502. It asks nobody for their health,
/// which is the harder case: a node that hangs keeps getting its share.
pub struct Balancer {
    pub addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Balancer {
    pub async fn start(nodes: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (nodes, next) = (Arc::new(nodes), Arc::new(AtomicUsize::new(0)));
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (nodes, next) = (Arc::clone(&nodes), Arc::clone(&next));
                // An error here is a client that is gone.
                tokio::spawn(async move { balance(client, &nodes, &next).await });
            }
        });
        Ok(Self { addr, serving })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn balance(mut client: TcpStream, nodes: &[SocketAddr], next: &AtomicUsize) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut request = vec![0; BUFFER];
    let mut length = client.read(&mut request).await?;
    let Some(mut node) = connect(nodes, next.fetch_add(1, Ordering::Relaxed)).await else {
        return client.write_all(BAD_GATEWAY).await;
    };
    node.set_nodelay(true)?;
    let mut answer = vec![0; BUFFER];
    let mut answered = false;
    loop {
        if length > 0 && node.write_all(&request[..length]).await.is_err() && !answered {
            return client.write_all(BAD_GATEWAY).await;
        }
        length = tokio::select! {
            read = client.read(&mut request) => match read? {
                0 => return Ok(()),
                length => length,
            },
            read = node.read(&mut answer) => {
                match read {
                    Ok(length) if length > 0 => client.write_all(&answer[..length]).await?,
                    _ if answered => return Ok(()),
                    _ => return client.write_all(BAD_GATEWAY).await,
                }
                answered = true;
                0
            }
        };
    }
}

async fn connect(nodes: &[SocketAddr], first: usize) -> Option<TcpStream> {
    for offset in 0..nodes.len() {
        let node = nodes[(first + offset) % nodes.len()];
        if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(node)).await {
            return Some(stream);
        }
    }
    None
}

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Open,
    /// Connections are closed, and new ones as soon as they are made.
    Cut,
    /// Nothing comes through, and nobody is told: what a lost cable looks like.
    Silent,
}

/// A link from one process to a server.
pub struct Link {
    pub addr: SocketAddr,
    flow: watch::Sender<Flow>,
    serving: JoinHandle<()>,
}

impl Link {
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let flow = watch::Sender::new(Flow::Open);
        let follow = flow.subscribe();
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut cut = follow.clone();
                let follow = follow.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        // Ended by either side: no error of this test.
                        _ = forward(client, server, follow) => {}
                        _ = cut.wait_for(|flow| *flow == Flow::Cut) => {}
                    }
                });
            }
        });
        Ok(Self { addr, flow, serving })
    }

    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    pub fn is_open(&self) -> bool {
        *self.flow.borrow() == Flow::Open
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn forward(client: TcpStream, server: SocketAddr, flow: watch::Receiver<Flow>) -> io::Result<()> {
    flow.clone().wait_for(|flow| *flow == Flow::Open).await.map_err(io::Error::other)?;
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((client_reads, client_writes), (server_reads, server_writes)) = (client.into_split(), server.into_split());
    tokio::select! {
        ended = copy(client_reads, server_writes, flow.clone()) => ended,
        ended = copy(server_reads, client_writes, flow) => ended,
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut flow: watch::Receiver<Flow>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        flow.wait_for(|flow| *flow == Flow::Open).await.map_err(io::Error::other)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length]).await?;
    }
}
