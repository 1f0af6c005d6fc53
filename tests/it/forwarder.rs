//! An address that follows the primary, as a balancer or a service's name does.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Forwards connections to a port of this machine.
pub(crate) struct Forwarder {
    pub addr: SocketAddr,
    port: Arc<AtomicU16>,
    cut: watch::Sender<()>,
    serving: JoinHandle<()>,
}

impl Forwarder {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let port = Arc::new(AtomicU16::new(port));
        let cut = watch::Sender::new(());
        let (target, is_cut) = (Arc::clone(&port), cut.subscribe());
        let serving = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (port, mut is_cut) = (target.load(Ordering::SeqCst), is_cut.clone());
                is_cut.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = is_cut.changed() => {}
                    }
                });
            }
        });
        Self { addr, port, cut, serving }
    }

    /// Forwards to another port from now on, and closes the existing connections.
    pub(crate) fn lead_to(&self, port: u16) {
        self.lead_newcomers_to(port);
        self.cut.send_replace(());
    }

    /// Forwards new connections to another port. Existing connections stay.
    pub(crate) fn lead_newcomers_to(&self, port: u16) {
        self.port.store(port, Ordering::SeqCst);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
