//! Links between processes, which can be cut, silenced and turned to another server.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

const BUFFER: usize = 16 * 1024;

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Open,
    /// Connections are closed, and new ones as soon as they are made.
    Cut,
    /// Nothing comes through, and nobody is told: what a lost cable looks like.
    Silent,
}

/// What becomes of the connections when a link is turned to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    Closed,
    /// They stay open and nothing comes through any more: what an address that moves to another machine looks like.
    Abandoned,
}

#[derive(Clone, Copy, Debug)]
struct Course {
    server: SocketAddr,
    flow: Flow,
    /// Connections of an earlier turn are closed or abandoned.
    turn: u64,
    old: Old,
}

/// A link from one process to a server.
pub struct Link {
    pub addr: SocketAddr,
    course: watch::Sender<Course>,
    /// The ports from which the link's own connections come.
    ports: Arc<Mutex<HashSet<u16>>>,
    serving: JoinHandle<()>,
}

impl Link {
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let course = watch::Sender::new(Course { server, flow: Flow::Open, turn: 0, old: Old::Closed });
        let ports = Arc::<Mutex<HashSet<u16>>>::default();
        let (follow, known) = (course.subscribe(), Arc::clone(&ports));
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // An error is a connection that either side ended.
                drop(tokio::spawn(carry(client, follow.clone(), Arc::clone(&known))));
            }
        });
        Ok(Self { addr, course, ports, serving })
    }

    pub fn set(&self, flow: Flow) {
        self.course.send_modify(|course| course.flow = flow);
    }

    /// From now on connections go to `server`.
    pub fn turn(&self, server: SocketAddr, old: Old) {
        self.course.send_modify(|course| *course = Course { server, flow: Flow::Open, turn: course.turn + 1, old });
    }

    pub fn is_open(&self) -> bool {
        self.course.borrow().flow == Flow::Open
    }

    /// Whether the connection that the server sees from this port comes through here.
    pub fn owns(&self, port: u16) -> bool {
        self.ports.lock().expect("no task panics with it held").contains(&port)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn carry(
    client: TcpStream,
    mut course: watch::Receiver<Course>,
    ports: Arc<Mutex<HashSet<u16>>>,
) -> io::Result<()> {
    // What is begun in silence goes where the link leads afterwards.
    let start = *course.wait_for(|course| course.flow != Flow::Silent).await.map_err(io::Error::other)?;
    let mut cut = course.clone();
    let is_cut = |course: &Course| course.flow == Flow::Cut || (course.turn != start.turn && course.old == Old::Closed);
    let forwarding = async {
        let server = TcpStream::connect(start.server).await?;
        let _port = KnownPort::new(ports, server.local_addr()?.port());
        forward(client, server, course, start.turn).await
    };
    tokio::select! {
        ended = forwarding => ended,
        _ = cut.wait_for(is_cut) => Ok(()),
    }
}

/// A port that is known as the link's for as long as its connection lasts.
struct KnownPort(Arc<Mutex<HashSet<u16>>>, u16);

impl KnownPort {
    fn new(ports: Arc<Mutex<HashSet<u16>>>, port: u16) -> Self {
        ports.lock().expect("no task panics with it held").insert(port);
        Self(ports, port)
    }
}

impl Drop for KnownPort {
    fn drop(&mut self) {
        self.0.lock().expect("no task panics with it held").remove(&self.1);
    }
}

async fn forward(client: TcpStream, server: TcpStream, course: watch::Receiver<Course>, turn: u64) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((client_reads, client_writes), (server_reads, server_writes)) = (client.into_split(), server.into_split());
    tokio::select! {
        ended = copy(client_reads, server_writes, course.clone(), turn) => ended,
        ended = copy(server_reads, client_writes, course, turn) => ended,
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut course: watch::Receiver<Course>,
    turn: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        // A reset is held back like everything else: whoever is at the other end must not be told.
        let read = from.read(&mut buffer).await;
        let through = |course: &Course| course.flow == Flow::Open && course.turn == turn;
        course.wait_for(through).await.map_err(io::Error::other)?;
        let length = read?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length]).await?;
    }
}
