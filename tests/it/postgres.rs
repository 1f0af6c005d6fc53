//! PostgreSQL servers that a test may kill, copy and promote, and PostgreSQL's programs.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{Connection, Executor, PgConnection};

use crate::app::PATIENCE;

/// PostgreSQL's program of this name, in the newest installed version.
fn program(name: &str) -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin").join(name)))
        })
        .collect();
    versions.sort();
    versions.pop().map_or_else(|| name.into(), |(_, path)| path)
}

/// Runs a PostgreSQL program to its end.
#[track_caller]
pub(crate) fn run(name: &str, arguments: &[&str]) {
    succeed(Command::new(program(name)).args(arguments));
}

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A command under an account other than root, because PostgreSQL refuses to run as root.
fn as_account(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !is_root {
        return Command::new(program);
    }
    let is_there = Command::new("id").arg("postgres").output().unwrap().status.success();
    let account = if is_there { "postgres" } else { "nobody" };
    let group = String::from_utf8(Command::new("id").args(["-g", account]).output().unwrap().stdout).unwrap();
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={account}")).arg(format!("--regid={}", group.trim()));
    command.args(["--init-groups", "--"]).arg(program).current_dir("/");
    command
}

/// A server with its files. It listens only on loopback, without passwords.
pub(crate) struct Cluster {
    directory: PathBuf,
    pub port: u16,
    settings: Vec<String>,
    server: Option<Child>,
}

impl Cluster {
    /// A new server with an empty database `discussions`.
    pub(crate) async fn create() -> Self {
        Self::create_with(&[]).await
    }

    /// A new server with settings, such as `synchronous_commit=off`.
    pub(crate) async fn create_with(settings: &[&str]) -> Self {
        let mut cluster = Self::empty(settings);
        let data = cluster.data();
        let arguments =
            ["--username=discussions", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"];
        succeed(as_account(&program("initdb")).args(arguments).arg(&data));
        cluster.start().await;
        cluster.sql("postgres", "create database discussions").await;
        cluster
    }

    fn empty(settings: &[&str]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = std::env::temp_dir().join(format!("it_{}", uuid::Uuid::new_v4().simple()));
        // The account itself creates the folder, so that it owns the files.
        succeed(as_account(Path::new("mkdir")).args(["-m", "700"]).arg(&directory));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Self { directory, port, settings, server: None }
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Makes an asynchronous standby of this server.
    pub(crate) async fn standby(&self) -> Self {
        let mut standby = Self::empty(&[]);
        let port = self.port.to_string();
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-U", "discussions", "-R", "-c", "fast", "--no-sync", "-D"];
        succeed(as_account(&program("pg_basebackup")).args(arguments).arg(standby.data()));
        standby.start().await;
        standby
    }

    pub(crate) async fn start(&mut self) {
        let mut command = as_account(&program("postgres"));
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        let fixed = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=16MB"];
        for setting in fixed.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        self.server = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let answering = async {
            while PgConnection::connect(&self.url("postgres")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(2 * PATIENCE, answering).await.expect("PostgreSQL starts");
    }

    /// Kills all its processes, as a crash does. Nothing more is written.
    pub(crate) fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = Command::new("kill").args(["-QUIT", &server.id().to_string()]).status();
            server.wait().unwrap();
        }
    }

    /// Shuts the server down.
    pub(crate) fn stop(&mut self) {
        let mut server = self.server.take().unwrap();
        succeed(Command::new("kill").args(["-INT", &server.id().to_string()]));
        server.wait().unwrap();
    }

    /// Copies its files while it does not run.
    pub(crate) fn take_snapshot(&self) {
        assert!(self.server.is_none());
        succeed(Command::new("cp").arg("-a").arg(self.data()).arg(self.directory.join("snapshot")));
    }

    /// Restores the copy.
    pub(crate) fn bring_snapshot_back(&self) {
        assert!(self.server.is_none());
        std::fs::remove_dir_all(self.data()).unwrap();
        std::fs::rename(self.directory.join("snapshot"), self.data()).unwrap();
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://discussions@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) async fn sql(&self, database: &str, sql: &str) {
        let mut connection = PgConnection::connect(&self.url(database)).await.unwrap();
        connection.execute(sqlx::raw_sql(sql)).await.unwrap();
    }

    async fn holds(&self, condition: &str) {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let holding = async {
            while !sqlx::query_scalar::<_, bool>(condition).fetch_one(&mut connection).await.unwrap() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(2 * PATIENCE, holding).await.expect("it comes to hold in time");
    }

    /// Waits until this standby has all data of `primary`.
    pub(crate) async fn has_all_of(&self, primary: &Cluster) {
        let mut connection = PgConnection::connect(&primary.url("postgres")).await.unwrap();
        let lsn: String =
            sqlx::query_scalar("select pg_current_wal_lsn()::text").fetch_one(&mut connection).await.unwrap();
        self.holds(&format!("select pg_last_wal_replay_lsn() >= '{lsn}'")).await;
    }

    /// Stops the replication from its primary.
    pub(crate) async fn cut_off(&self) {
        self.sql("postgres", "alter system set primary_conninfo = ''").await;
        self.sql("postgres", "select pg_reload_conf()").await;
        self.holds("select not exists (select from pg_stat_wal_receiver)").await;
    }

    /// Promotes this standby to a primary.
    pub(crate) async fn promote(&self) {
        self.sql("postgres", "select pg_promote()").await;
        self.holds("select not pg_is_in_recovery()").await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.crash();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
