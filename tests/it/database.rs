//! A database for each test, copied from a template.
//!
//! The template has all migrations. Its name contains their checksums, so that checkouts with different migrations can share a
//! server. It stays for the next run. Creating a template for new migrations drops the unused ones.

use std::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::sync::Mutex;

const TEMPLATE_PREFIX: &str = "it_template_";

/// A database for one test. Drop deletes it.
pub(crate) struct TestDatabase {
    server: String,
    name: String,
    /// Its address.
    pub url: String,
}

impl TestDatabase {
    /// A new database with all migrations.
    pub(crate) async fn create() -> Self {
        let mut server = Server::connect().await;
        let name = unique("it_");
        let url = server.url_of(&name);
        server.copy_template(&name).await;
        // A copy has another fingerprint than its template. Record the new one, or the numbering would leap.
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection.execute("update event_head set fingerprint = event_history_fingerprint()").await.unwrap();
        connection.close().await.unwrap();
        Self { server: server.url, name, url }
    }

    /// A new, empty database without migrations.
    pub(crate) async fn create_empty() -> Self {
        Self::create_with("").await
    }

    /// A new, empty database with options of `create database`.
    pub(crate) async fn create_with(options: &str) -> Self {
        let mut server = Server::connect().await;
        let name = unique("it_");
        server.execute(&format!("create database {name} {options}")).await.unwrap();
        Self { url: server.url_of(&name), server: server.url, name }
    }

    /// An existing database, which drop does not delete.
    pub(crate) fn at(url: &str) -> Self {
        Self { server: String::new(), name: String::new(), url: url.to_owned() }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.server.is_empty() {
            return;
        }
        let (server, name) = (self.server.clone(), self.name.clone());
        let (dropped, is_dropped) = std::sync::mpsc::channel();
        // It needs another runtime, because the test's runtime is running this drop.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let dropping = runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await?;
                connection.execute(format!("drop database {name} with (force)").as_str()).await
            });
            let _ = dropped.send(dropping);
        });
        // PostgreSQL waits until every session has heard of the deletion, one that is signing in too. If a task of the test's runtime
        // is signing in, it goes on only after this drop. The thread then finishes on its own.
        let _ = is_dropped.recv_timeout(Duration::from_secs(1));
    }
}

/// The server of `DATABASE_URL`.
struct Server {
    url: String,
    connection: PgConnection,
}

impl Server {
    async fn connect() -> Self {
        let url =
            std::env::var("DATABASE_URL").expect("DATABASE_URL names a PostgreSQL to make databases on: make test");
        let connection = PgConnection::connect(&url).await.unwrap();
        Self { url, connection }
    }

    async fn execute(&mut self, statement: &str) -> Result<(), sqlx::Error> {
        self.connection.execute(statement).await.map(|_| ())
    }

    fn url_of(&self, database: &str) -> String {
        let (base, query) =
            self.url.split_once('?').map_or((self.url.as_str(), String::new()), |(a, b)| (a, format!("?{b}")));
        format!("{}/{database}{query}", &base[..base.rfind('/').unwrap()])
    }

    /// Creates the template if it is missing. Another process may drop it at any time; then it is created again.
    async fn copy_template(&mut self, name: &str) {
        let template = template_name();
        while let Err(error) = self.execute(&format!("create database {name} template {template}")).await {
            assert!(has_code(&error, "3D000"), "copying {template}: {error}");
            self.make_template(&template).await;
        }
    }

    /// Creates it under another name and renames it, so that a template under its own name is always complete.
    async fn make_template(&mut self, template: &str) {
        static MAKING: Mutex<()> = Mutex::const_new(());
        static HAS_DROPPED_OLD: AtomicBool = AtomicBool::new(false);
        let _one_of_this_process = MAKING.lock().await;
        if self.templates().await.iter().any(|name| name == template) {
            return;
        }
        // Do this only once. Otherwise two checkouts would drop each other's template for every test.
        if !HAS_DROPPED_OLD.swap(true, Ordering::Relaxed) {
            for old in self.templates().await {
                let _ = self.execute(&format!("drop database if exists {old}")).await;
            }
        }
        let unfinished = unique("it_");
        self.execute(&format!("create database {unfinished}")).await.unwrap();
        let options: PgConnectOptions = self.url_of(&unfinished).parse().unwrap();
        discussions::db::migrate(&options).await.unwrap();
        let renamed = self.execute(&format!("alter database {unfinished} rename to {template}")).await;
        if let Err(error) = renamed {
            // Another process was faster, before or during the server's check.
            assert!(has_code(&error, "42P04") || has_code(&error, "23505"), "{error}");
            self.execute(&format!("drop database {unfinished}")).await.unwrap();
        }
    }

    async fn templates(&mut self) -> Vec<String> {
        sqlx::query_scalar("select datname from pg_database where starts_with(datname, $1)")
            .bind(TEMPLATE_PREFIX)
            .fetch_all(&mut self.connection)
            .await
            .unwrap()
    }
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|found| found == code)
}

fn unique(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::new_v4().simple())
}

fn template_name() -> String {
    let mut hash = Sha256::new();
    for migration in discussions::db::migrator().iter() {
        hash.update(&migration.checksum);
    }
    hash.finalize().iter().take(8).fold(TEMPLATE_PREFIX.to_owned(), |mut name, byte| {
        write!(name, "{byte:02x}").unwrap();
        name
    })
}

#[tokio::test]
async fn a_template_that_is_dropped_is_made_once_more() {
    let database = TestDatabase::create().await;
    // Other tests that copy it at this moment do not notice.
    let mut server = Server::connect().await;
    let _ = server.execute(&format!("drop database if exists {}", template_name())).await;
    let another = TestDatabase::create().await;
    for url in [&database.url, &another.url] {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let leap: Option<i64> =
            sqlx::query_scalar("select leap_if_new_history()").fetch_one(&mut connection).await.unwrap();
        assert_eq!(leap, None, "a test's database begins its own history");
    }
}
