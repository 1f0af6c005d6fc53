//! docs/proxies/: nginx and HAProxy split the paths of one host between Django, its old real-time process and this server.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::app::{Client, PATIENCE, TestApp};

/// What old pages call, as all three examples have it.
const OLD_PATHS: [&str; 4] = ["^/api/articles/([0-9]+/)?discussions/", "api/flags/", "api/realtime/", "realtime/poll"];

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proxies").join(name)).unwrap()
}

/// A server that answers each request with its own name.
async fn named(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let body = json!({ "name": name }).to_string();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            });
        }
    });
    addr
}

struct Proxy {
    child: Child,
    folder: PathBuf,
    addr: SocketAddr,
}

impl Proxy {
    /// Starts the program with its example, whose addresses are replaced. `None` where it is not installed.
    async fn start(program: &str, app: &TestApp) -> Option<Self> {
        let program = ["/usr/sbin", "/usr/bin"].iter().map(|folder| Path::new(folder).join(program));
        let program = program.clone().find(|path| path.exists())?;
        let is_nginx = program.ends_with("nginx");
        let folder = std::env::temp_dir().join(format!("proxy-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut settings = example(if is_nginx { "nginx.conf" } else { "haproxy.cfg" });
        for (example, real) in [
            ("127.0.0.1:8001", named("django").await),
            ("127.0.0.1:8888", named("tornado").await),
            ("127.0.0.1:8000", app.addr),
            ("127.0.0.1:8080", addr),
        ] {
            assert_eq!(settings.matches(example).count(), 1, "{example}");
            settings = settings.replace(example, &real.to_string());
        }
        let mut command = Command::new(&program);
        if is_nginx {
            // Its usual folders belong to root.
            let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let paths = paths.map(|of| format!("{of}_temp_path {}/{of};", folder.display())).join("\n");
            settings = settings.replace("http {", &format!("http {{\naccess_log off;\n{paths}"));
            command.arg("-p").arg(&folder).arg("-e").arg(folder.join("log")).arg("-g");
            command.arg(format!("daemon off; master_process off; pid {}/pid;", folder.display()));
        } else {
            command.arg("-db");
        }
        let file = folder.join("settings");
        fs::write(&file, settings).unwrap();
        command.arg(if is_nginx { "-c" } else { "-f" }).arg(file);
        let log = fs::File::create(folder.join("out")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let proxy = Self { child, folder, addr };
        let answering = async {
            while tokio::net::TcpStream::connect(addr).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answering).await.expect("the proxy starts");
        Some(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn splits(program: &str) {
    let app = TestApp::start().await;
    let Some(proxy) = Proxy::start(program, &app).await else {
        eprintln!("no {program} here: not checked");
        return;
    };
    let community = app.community("private").await;
    let article = app.article(&[community]).await;
    let ada = app.member("ada", community).await;
    app.settled().await;
    let mut old = Client::at(proxy.addr, ada.user);
    old.token = None;
    for path in
        ["/api/articles/9/", "/api/articles/9/reviews/", "/api/users/me", "/api/users/reactions", "/", "/discussions"]
    {
        assert_eq!(old.get(path).await.expect(200)["name"], "django", "{path}");
    }
    assert_eq!(old.get("/realtime/status").await.expect(200)["name"], "tornado");
    for path in [
        "/api/articles/9/discussions/?community_id=1",
        "/api/articles/discussions/5/comments/",
        "/api/articles/discussions/my-subscriptions/",
        "/api/flags/",
        "/api/realtime/register",
        "/realtime/poll?queue_id=1",
    ] {
        for answer in [old.get(path).await, old.post(path, json!({ "content": "old" })).await] {
            let message = answer.expect(410)["message"].take();
            assert!(message.as_str().is_some_and(|message| message.contains("out of date")), "{path}: {message}");
        }
    }

    // Everything of this server comes through: a long text, an error, and a poll that waits.
    let live = Client::below(proxy.addr, "/live", ada.user);
    let text = "é".repeat(50_000);
    let discussion = live.discussion(article, community, "Sample size").await;
    let path = format!("/discussions/{}", discussion["id"]);
    assert_eq!(live.patch(&path, json!({ "text": text })).await.expect(200)["text"], text);
    live.post(&format!("{path}/comments"), json!({ "text": "" })).await.refused(422, "invalid_fields");
    app.settled().await;
    let queue = live.register().await;
    let parked = queue.park(&app).await;
    live.comment(&discussion, "Nice").await;
    assert_eq!(parked.await.unwrap().expect(200)["events"][0]["text"], "Nice");
}

#[tokio::test]
async fn nginx_splits_the_paths() {
    splits("nginx").await;
}

#[tokio::test]
async fn haproxy_splits_the_paths() {
    splits("haproxy").await;
}

#[test]
fn all_examples_name_the_same_old_paths() {
    for name in ["nginx.conf", "haproxy.cfg", "traefik.yml"] {
        for path in OLD_PATHS {
            assert!(example(name).contains(path), "{name}: {path}");
        }
    }
}
