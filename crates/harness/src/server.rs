//! Starts the server under test, and sends it small requests.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, bail};

use crate::process::{self, Process, wait_until};

/// A server that is ready.
pub struct Server {
    /// The running program.
    pub process: Process,
    /// Where it accepts requests, as `http://127.0.0.1:PORT`.
    pub url: String,
    metrics_port: u16,
}

impl Server {
    /// Starts `program serve` on free ports with `environment` added to this process's own, and waits until it is ready. Its
    /// log is appended to the file `log`.
    pub fn start(program: &Path, log: &Path, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let (port, metrics_port) = (free_port()?, free_port()?);
        let mut command = process::command(program);
        command.arg("serve").envs(environment.iter().copied()).env("RUST_LOG", "warn");
        command.env("BIND_ADDR", format!("127.0.0.1:{port}")).env("METRICS_ADDR", format!("127.0.0.1:{metrics_port}"));
        let mut process = Process::start(command.stderr(process::append(log)?))?;
        let ready = wait_until("the server is ready", Duration::from_secs(30), || {
            if !process.is_running()? {
                bail!("the server has ended");
            }
            let answer = get(port, "/health/ready").unwrap_or_default();
            Ok(answer.split(' ').nth(1).is_some_and(|status| status.starts_with('2')))
        });
        ready.with_context(|| format!("see {}", log.display()))?;
        Ok(Self { process, url: format!("http://127.0.0.1:{port}"), metrics_port })
    }

    /// The value of a gauge in the server's metrics.
    pub fn gauge(&self, name: &str) -> anyhow::Result<f64> {
        let metrics = get(self.metrics_port, "/metrics")?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no gauge {name}"))?.trim().parse()?)
    }
}

/// The complete answer to a GET on the loopback address.
fn get(port: u16, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A free port. It is below the range of outgoing connections, so that none of them takes it first.
pub fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..100 {
        // The process id spreads programs that run at the same time.
        let step = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Relaxed));
        let port = 20_000 + (step % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between 20000 and 32000 on 127.0.0.1")
}

/// Waits until a program listens on the port.
pub fn wait_for_port(port: u16) -> anyhow::Result<()> {
    wait_until(&format!("port {port} is open"), Duration::from_secs(10), || {
        Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
    })
}
