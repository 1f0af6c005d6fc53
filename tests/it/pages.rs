//! The files of `STATIC_DIR` and the pages: which files are served, and what browsers are told about pages.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::app::TestApp;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[&str]) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("pages-{}", uuid::Uuid::new_v4().simple())));
        for file in files {
            let path = folder.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("<script>run()</script>the file {file}")).unwrap();
        }
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A request with exactly this path, which a client's library would tidy up.
async fn get(app: &TestApp, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[tokio::test]
async fn only_what_lies_in_the_folder_is_served_and_nothing_that_begins_with_a_dot() {
    let outside = Folder::new(&["secret.txt", "index.html"]);
    let inside = Folder::new(&[
        "index.html",
        "a page.html",
        "sub/index.html",
        "sub/plain.txt",
        ".env",
        ".git/config",
        "sub/.hidden/deep.txt",
        "sub/.htpasswd",
    ]);
    let root = &inside.0;
    symlink(outside.0.join("secret.txt"), root.join("link.txt")).unwrap();
    symlink(&outside.0, root.join("folder")).unwrap();
    symlink("../sub/plain.txt", root.join("sub/inner.txt")).unwrap();
    symlink(".git/config", root.join("config.txt")).unwrap();
    symlink("nowhere", root.join("dangling.txt")).unwrap();
    fs::create_dir(root.join("linked")).unwrap();
    symlink(outside.0.join("index.html"), root.join("linked/index.html")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    let app = TestApp::start_with(|config| config.static_dir = Some(root.clone())).await;

    for path in ["/", "/index.html", "/a%20page.html", "/sub/", "/sub/plain.txt", "/sub/inner.txt", "/%73ub/plain.txt"]
    {
        let (status, answer) = get(&app, path).await;
        assert_eq!((status, answer.contains("the file ")), (200, true), "{path}: {answer}");
    }
    assert_eq!(get(&app, "/sub").await.0, 307, "to the folder's own address");
    for path in [
        "/.env",
        "/%2eenv",
        "/%2Eenv",
        "//.env",
        "/./.env",
        "/.git/config",
        "/%2egit/config",
        "/%2egit%2fconfig",
        "/.git/",
        "/.git",
        "/sub/.htpasswd",
        "/sub/%2ehidden/deep.txt",
        "/sub/..%2f.env",
        "/sub/../.env",
        "/sub/%2e%2e/.env",
        "/sub/%2e%2e/index.html",
        "/%252eenv",
        "/link.txt",
        "/folder",
        "/folder/",
        "/folder/secret.txt",
        "/linked/",
        "/config.txt",
        "/dangling.txt",
        "/empty/",
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2f..%2fetc/passwd",
        "/%2fetc/passwd",
        "/sub/plain.txt/",
        "/sub/plain.txt%00",
        "/%ff",
        "/nothing",
    ] {
        let (status, answer) = get(&app, path).await;
        assert_eq!((status, answer.contains("\"not_found\"")), (404, true), "{path}: {answer}");
        assert!(!answer.contains("the file") && !answer.contains("root:"), "{path}: {answer}");
    }
    app.anonymous().post("/index.html", json!({})).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_page_runs_its_own_scripts_in_no_frame_and_tells_nobody_its_address() {
    let folder = Folder::new(&["index.html", "style.css"]);
    let app = TestApp::start_with(|config| config.static_dir = Some(folder.0.clone())).await;
    let headers = async |path: &str| {
        let answer = reqwest::get(format!("http://{}{path}", app.addr)).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.headers().clone()
    };
    for path in ["/", "/index.html", "/style.css", "/docs/", "/docs/swagger-ui.css"] {
        let headers = headers(path).await;
        assert_eq!(
            (&headers["x-frame-options"], &headers["referrer-policy"]),
            (&"DENY".parse().unwrap(), &"same-origin".parse().unwrap())
        );
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("default-src 'self';") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        let scripts = policy.split("script-src ").nth(1).unwrap().split(';').next().unwrap();
        // `printf 'run()' | openssl dgst -sha256 -binary | base64`
        let expected = if path.ends_with(".css") || path.starts_with("/docs") {
            "'self'"
        } else {
            "'self' 'sha256-AvyuiL0SD1mVY3NNxR+V2uo+lhk6RMFrytWmRt6CrJQ='"
        };
        assert_eq!(scripts, expected, "{path}");
    }
    // What programs read has no need of it.
    assert_eq!(headers("/openapi.json").await.get("content-security-policy"), None);
}

#[tokio::test]
async fn browsers_keep_hashed_files_and_ask_about_all_others() {
    let folder = Folder::new(&["index.html", "_next/static/chunks/main-1a2b3c.js", "_next/other.js", "icon.svg"]);
    fs::write(folder.0.join("_next/static/chunks/large-4d5e6f.js"), "let a = 1;".repeat(1_000)).unwrap();
    fs::write(folder.0.join("picture.png"), "x".repeat(10_000)).unwrap();
    let app = TestApp::start_with(|config| config.static_dir = Some(folder.0.clone())).await;
    let send = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = reqwest::Client::new().get(format!("http://{}{path}", app.addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let found = ["cache-control", "etag", "content-encoding", "content-range"].map(header);
        (answer.status().as_u16(), found, answer.bytes().await.unwrap())
    };
    let immutable = Some("public, max-age=31536000, immutable");
    for (path, expected) in [
        ("/", Some("no-cache")),
        ("/index.html", Some("no-cache")),
        ("/icon.svg", Some("no-cache")),
        ("/_next/other.js", Some("no-cache")),
        ("/_next/static/chunks/main-1a2b3c.js", immutable),
        ("/_next/static/chunks/large-4d5e6f.js", immutable),
        ("/_next/static/chunks/gone-7a8b9c.js", Some("no-store")),
        ("/_next", Some("no-store")),
    ] {
        let (status, [cache_control, tag, ..], _) = send(path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(cache_control.as_deref(), expected, "{path} {status}");
        // The tag is the same for the compressed file, so it is a weak one.
        assert_eq!(tag.is_some_and(|tag| tag.starts_with("W/\"")), status == 200, "{path}");
    }
    let large = "/_next/static/chunks/large-4d5e6f.js";
    let (_, [_, tag, coding, _], body) = send(large, &[("accept-encoding", "gzip")]).await;
    assert_eq!((coding.as_deref(), body.len() < 1_000), (Some("gzip"), true));
    let tag = tag.unwrap();
    for accept in ["gzip", "zstd", "identity"] {
        let (status, [cache_control, same, ..], body) =
            send(large, &[("accept-encoding", accept), ("if-none-match", &tag)]).await;
        assert_eq!((status, cache_control.as_deref(), same, body.len()), (304, immutable, Some(tag.clone()), 0));
    }
    // A part of a file is a part of the bytes as they are, and a picture is compressed already.
    let (status, [_, _, coding, range], body) =
        send(large, &[("accept-encoding", "gzip"), ("range", "bytes=0-9")]).await;
    assert_eq!((status, coding, range.as_deref()), (206, None, Some("bytes 0-9/10000")));
    assert_eq!(&body[..], b"let a = 1;");
    assert_eq!(send(large, &[("range", "bytes=99999-")]).await.0, 416);
    let (status, [_, _, coding, _], body) = send("/picture.png", &[("accept-encoding", "gzip")]).await;
    assert_eq!((status, coding, body.len()), (200, None, 10_000));
}
