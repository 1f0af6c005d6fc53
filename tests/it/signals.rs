//! SIGTERM while the program starts, and a second SIGTERM while it ends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::app::{PATIENCE, SECRET, TestDatabase};

/// The time within which a signal that ends the program at once must do so.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The program and its log lines.
pub(crate) struct Program {
    process: Child,
    lines: mpsc::Receiver<Value>,
}

impl Program {
    pub(crate) fn start(database_url: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_discussions"))
            .arg("serve")
            .env_clear()
            .env("DATABASE_URL", database_url)
            .env("JWT_SECRET", SECRET)
            .env("BIND_ADDR", "127.0.0.1:0")
            .env("METRICS_ADDR", "127.0.0.1:0")
            .env("WRITES_PER_MINUTE", "0")
            .env("LOG_FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (says, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = says.send(serde_json::from_str(&line).unwrap_or_default());
            }
        });
        Self { process, lines: said }
    }

    /// Waits for a line that begins with `start`.
    pub(crate) fn says(&self, message: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("it does not say {message:?} in time"));
            if line["message"].as_str().is_some_and(|said| said.starts_with(message)) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let arguments = [name, &self.process.id().to_string()];
        assert!(Command::new("kill").args(arguments).status().unwrap().success());
    }

    /// Waits until it has ended. Fails if that takes too long.
    fn ends_at_once(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < AT_ONCE, "still there after {:?}", since.elapsed());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn sigterm_ends_a_start_that_waits_for_postgresql() {
    for (signal, name) in [("-TERM", "SIGTERM"), ("-INT", "SIGINT")] {
        // No program listens on port 1.
        let mut program = Program::start("postgres://nobody@127.0.0.1:1/nothing");
        program.says("waiting for PostgreSQL");
        program.signal(signal);
        assert_eq!(program.ends_at_once().code(), Some(0));
        assert_eq!(program.says("asked to end before the start was over")["signal"], name);
    }
}

#[tokio::test]
async fn sigterm_ends_a_start_whose_migration_waits_for_a_lock() {
    let database = TestDatabase::create().await;
    let mut holder = PgConnection::connect(&database.url).await.unwrap();
    discussions::db::migrator().run(&mut holder).await.unwrap();
    holder.execute("begin; lock table _sqlx_migrations in access exclusive mode").await.unwrap();
    let mut program = Program::start(&database.url);
    // Use another connection, because within a transaction pg_stat_activity is read only once.
    let mut observer = PgConnection::connect(&database.url).await.unwrap();
    let waits = "select exists (select from pg_stat_activity
                 where datname = current_database() and application_name = 'discussions' and wait_event_type = 'Lock')";
    let waiting = async {
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut observer).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the migration waits");
    program.signal("-TERM");
    assert_eq!(program.ends_at_once().code(), Some(0));
    program.says("asked to end before the start was over");
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once() {
    let database = TestDatabase::create().await;
    let mut program = Program::start(&database.url);
    let addr: SocketAddr = program.says("serving")["addr"].as_str().unwrap().parse().unwrap();
    // A request whose body has not come yet delays the end.
    let mut connection = TcpStream::connect(addr).unwrap();
    let token = discussions::auth::jwt::mint(SECRET, 1.into(), None, 60).unwrap();
    let head = format!(
        "POST /discussions/1/comments HTTP/1.1\r\nhost: node\r\nauthorization: Bearer {token}\r\nexpect: 100-continue\r\n\
         content-type: application/json\r\ncontent-length: 9\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut interim = [0; 12];
    connection.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100", "the handler waits for the body");
    program.signal("-TERM");
    program.says("asked to end: answering the parked polls");
    assert!(program.process.try_wait().unwrap().is_none(), "it waits for the request");
    program.signal("-TERM");
    assert_eq!(program.ends_at_once().code(), Some(1));
    program.says("asked to end again");
}
