//! PgBouncer in front of PostgreSQL, in session mode.

use std::process::{Child, Command, Stdio};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::app::{PATIENCE, TestApp, TestDatabase};

/// A PgBouncer for one test.
struct PgBouncer {
    child: Child,
    folder: std::path::PathBuf,
    url: String,
}

impl PgBouncer {
    async fn start(database: &TestDatabase) -> Self {
        let behind: PgConnectOptions = database.url.parse().unwrap();
        let (credentials, _) = database.url.split_once("://").unwrap().1.rsplit_once('@').unwrap();
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("pgbouncer-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        let settings = folder.join("pgbouncer.ini");
        std::fs::write(
            &settings,
            format!(
                "[databases]\nbehind = host={} port={} dbname={} user={user} password={password}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
                 pool_mode = session\nmax_client_conn = 100\ndefault_pool_size = 40\n",
                behind.get_host(),
                behind.get_port(),
                behind.get_database().unwrap(),
            ),
        )
        .unwrap();
        let mut command = Command::new("/usr/sbin/pgbouncer");
        command.arg("-q").arg(&settings);
        // It refuses to run as root.
        let is_root = std::fs::metadata("/proc/self").map(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0).unwrap();
        if is_root {
            command.args(["-u", "nobody"]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("pgbouncer is installed: scripts/setup.sh test-rust");
        let url = format!("postgres://{user}@127.0.0.1:{port}/behind");
        let options: PgConnectOptions = url.parse().unwrap();
        let options = options.extra_float_digits(None);
        let answering = async {
            while PgConnection::connect_with(&options).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answering).await.expect("pgbouncer starts");
        Self { child, folder, url }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn everything_works_through_pgbouncer_with_the_same_time_limits() {
    let database = std::sync::Arc::new(TestDatabase::create().await);
    let bouncer = PgBouncer::start(&database).await;
    let app = TestApp::on(database, |config| config.database_url = bouncer.url.as_str().into()).await;
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let (ada, grace) = (app.member("ada", community).await, app.member("grace", community).await);
    let mut queue = grace.register().await;
    let discussion = ada.discussion(article, community, "Sample size").await;
    let comment = ada.comment(&discussion, "Enough?").await;
    assert_eq!(queue.events(2).await[1]["comment_id"], comment["id"]);
    for (name, limit) in [("statement_timeout", "10s"), ("idle_in_transaction_session_timeout", "10s")] {
        let shown: String = sqlx::query_scalar(&format!("show {name}")).fetch_one(&app.state.db).await.unwrap();
        assert_eq!(shown, limit, "{name}");
    }
    // The connections of the background tasks have these limits too.
    let sessions: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'discussions'",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert!(sessions >= 2, "{sessions}");
}
