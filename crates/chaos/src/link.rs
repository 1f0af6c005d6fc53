//! Links between processes, which can be cut, silenced and redirected to another server.

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

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Open,
    /// Connections are closed. New ones are closed at once.
    Cut,
    /// No data passes, and neither side notices, as with an unplugged cable.
    Silent,
}

/// What happens to the old connections when a link is redirected to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    Closed,
    /// They stay open but no more data passes, as when an address moves to another machine.
    Abandoned,
}

#[derive(Clone, Copy, Debug)]
struct Course {
    server: SocketAddr,
    flow: Flow,
    /// Counts redirections. Connections of an earlier epoch are closed or abandoned.
    epoch: u64,
    old: Old,
}

/// A link from one process to a server.
pub(crate) struct Link {
    pub addr: SocketAddr,
    course: watch::Sender<Course>,
    /// The local ports of the link's connections to the server.
    ports: Arc<Mutex<HashSet<u16>>>,
    serving: JoinHandle<()>,
}

impl Link {
    pub(crate) async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let course = watch::Sender::new(Course { server, flow: Flow::Open, epoch: 0, old: Old::Closed });
        let ports = Arc::<Mutex<HashSet<u16>>>::default();
        let (follow, known) = (course.subscribe(), Arc::clone(&ports));
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // An error means that one side ended the connection.
                drop(tokio::spawn(carry(client, follow.clone(), Arc::clone(&known))));
            }
        });
        Ok(Self { addr, course, ports, serving })
    }

    pub(crate) fn set(&self, flow: Flow) {
        self.course.send_modify(|course| course.flow = flow);
    }

    /// Redirects the link: from now on its connections go to `server`.
    pub(crate) fn redirect(&self, server: SocketAddr, old: Old) {
        self.course.send_modify(|course| *course = Course { server, flow: Flow::Open, epoch: course.epoch + 1, old });
    }

    pub(crate) fn is_open(&self) -> bool {
        self.course.borrow().flow == Flow::Open
    }

    /// Whether the connection that the server sees from this port is one of this link.
    pub(crate) fn owns(&self, port: u16) -> bool {
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
    // A connection that begins during silence goes to the server of the time afterwards.
    let start = *course.wait_for(|course| course.flow != Flow::Silent).await.map_err(io::Error::other)?;
    let mut cut = course.clone();
    let is_cut =
        |course: &Course| course.flow == Flow::Cut || (course.epoch != start.epoch && course.old == Old::Closed);
    let forwarding = async {
        let server = TcpStream::connect(start.server).await?;
        let _port = KnownPort::new(ports, server.local_addr()?.port());
        forward(client, server, course, start.epoch).await
    };
    tokio::select! {
        ended = forwarding => ended,
        _ = cut.wait_for(is_cut) => Ok(()),
    }
}

/// A port that belongs to the link while its connection lasts.
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

async fn forward(client: TcpStream, server: TcpStream, course: watch::Receiver<Course>, epoch: u64) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((client_reads, client_writes), (server_reads, server_writes)) = (client.into_split(), server.into_split());
    tokio::select! {
        ended = copy(client_reads, server_writes, course.clone(), epoch) => ended,
        ended = copy(server_reads, client_writes, course, epoch) => ended,
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut course: watch::Receiver<Course>,
    epoch: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        // Hold a reset back as well, because the other side must not notice it.
        let read = from.read(&mut buffer).await;
        let through = |course: &Course| course.flow == Flow::Open && course.epoch == epoch;
        course.wait_for(through).await.map_err(io::Error::other)?;
        let length = read?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length]).await?;
    }
}
