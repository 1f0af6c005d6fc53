//! A database for each test, copied from a template.
//!
//! The template has all migrations. Its name is made of their checksums, so that checkouts with different migrations can share
//! a server. It stays there for the next run. Whoever makes one for new migrations drops those that are no longer used.

use std::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::sync::Mutex;

const TEMPLATE_PREFIX: &str = "it_template_";

/// A database of this test's own, dropped with it.
pub struct TestDatabase {
    server: String,
    name: String,
    /// Where it is.
    pub url: String,
}

impl TestDatabase {
    /// A new database with all migrations.
    pub async fn create() -> Self {
        let mut server = Server::connect().await;
        let name = unique("it_");
        let url = server.url_of(&name);
        server.copy_template(&name).await;
        // A copy is another database than the one that gave the last number. Here none was given: no leap.
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection.execute("update event_head set fingerprint = event_history_fingerprint()").await.unwrap();
        connection.close().await.unwrap();
        Self { server: server.url, name, url }
    }

    /// A new database with nothing in it.
    pub async fn create_empty() -> Self {
        let mut server = Server::connect().await;
        let name = unique("it_");
        server.execute(&format!("create database {name}")).await.unwrap();
        Self { url: server.url_of(&name), server: server.url, name }
    }

    /// One that is there already, and stays.
    pub fn at(url: &str) -> Self {
        Self { server: String::new(), name: String::new(), url: url.to_owned() }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.server.is_empty() {
            return;
        }
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime of its own: the test's is busy dropping this.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await?;
                connection.execute(format!("drop database {name} with (force)").as_str()).await
            })
        });
        let _ = dropping.join();
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

    /// Makes the template where it is missing. Another process may drop it at any time, and then it is made once more.
    async fn copy_template(&mut self, name: &str) {
        let template = template_name();
        while let Err(error) = self.execute(&format!("create database {name} template {template}")).await {
            assert!(has_code(&error, "3D000"), "copying {template}: {error}");
            self.make_template(&template).await;
        }
    }

    /// Makes it under another name: under its own it is there as a whole or not at all.
    async fn make_template(&mut self, template: &str) {
        static MAKING: Mutex<()> = Mutex::const_new(());
        static HAS_DROPPED_OLD: AtomicBool = AtomicBool::new(false);
        let _one_of_this_process = MAKING.lock().await;
        if self.templates().await.iter().any(|name| name == template) {
            return;
        }
        // Once, or two checkouts would drop each other's for every test.
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
            // Another process was faster, before the server looked or while it did.
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
    // Other tests copy it at this moment, and do not notice.
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
