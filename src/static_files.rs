//! The files of `STATIC_DIR`, and what browsers are told about pages.
//!
//! Only what lies in the folder is served: no file or folder whose name begins with a dot, and nothing that a link leads to
//! outside the folder. For a browser, a page may run the scripts of this server and the scripts that stand in the page itself.
//!
//! Browsers keep the files of the page's build whose names have a hash, and ask about every other file before they use it again.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::error::{ApiError, ErrorCode};

/// Where the build of a Next.js page puts the files whose names change with their contents.
const HASHED_FILES: &str = "_next/static/";
/// For these: a cache never asks again.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For all others: a cache asks whether they have changed.
pub(crate) const REVALIDATED: &str = "no-cache";

/// A folder of files.
#[derive(Clone)]
pub(crate) struct StaticFiles {
    folder: Arc<Path>,
    files: ServeDir,
}

impl StaticFiles {
    /// The files of `folder`, which may itself be a link that leads to another folder later.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { files: ServeDir::new(folder), folder: folder.into() }
    }

    /// Answers a request for a file. What is not a file of the folder is answered 404.
    pub(crate) async fn serve(&self, request: Request) -> Response {
        let Some(file) = self.find(request.uri().path()).await.filter(|_| request.method().is_safe()) else {
            return ApiError::from(ErrorCode::NotFound).into_response();
        };
        let page = match file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("html")) {
            true => tokio::fs::read(&file).await.unwrap_or_default(),
            false => Vec::new(),
        };
        let is_hashed = request.uri().path().trim_start_matches('/').starts_with(HASHED_FILES);
        match self.files.clone().oneshot(request).await {
            Ok(response) => match response.status() {
                // These have a meaning for who asks for a part of a file, or for a certain version.
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED => response.map(Body::new),
                status if status.is_client_error() => ApiError::from(ErrorCode::NotFound).into_response(),
                status => {
                    let is_file = status.is_success() || status == StatusCode::NOT_MODIFIED;
                    let cache_control = if is_hashed && is_file { IMMUTABLE } else { REVALIDATED };
                    weaken_tag(with_page_headers(response.map(Body::new), &page, cache_control))
                }
            },
            Err(never) => match never {},
        }
    }

    /// The file or folder that a path of the address names.
    async fn find(&self, path: &str) -> Option<PathBuf> {
        let decoded = percent_decode_str(path).decode_utf8().ok()?;
        let inside = Path::new(decoded.trim_start_matches('/'));
        if !is_public(inside) {
            return None;
        }
        let root = tokio::fs::canonicalize(&self.folder).await.ok()?;
        let found = resolve(&root, inside).await?;
        // A folder is answered with its page, which may be a link again.
        match tokio::fs::metadata(&found).await.ok()?.is_dir() {
            true => resolve(&root, &found.join("index.html")).await,
            false => Some(found),
        }
    }
}

/// Where `path` leads from `root`, with all links followed, if that is below `root` and public.
async fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let real = tokio::fs::canonicalize(root.join(path)).await.ok()?;
    real.strip_prefix(root).is_ok_and(is_public).then_some(real)
}

/// Whether no part of a path begins with a dot or leads elsewhere.
fn is_public(path: &Path) -> bool {
    path.components().all(|part| match part {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
        _ => false,
    })
}

/// Makes the file's tag a weak one: it is the same for the compressed file, which has other bytes.
fn weaken_tag(mut response: Response) -> Response {
    let strong = response.headers().get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    if let Some(weak) = strong.and_then(|tag| HeaderValue::try_from([b"W/", tag.as_bytes()].concat()).ok()) {
        response.headers_mut().insert(header::ETAG, weak);
    }
    response
}

/// Adds the headers that a page of this server has. `page` is its HTML, or empty for what has no scripts inside.
///
/// The page may load nothing from elsewhere but pictures, may not be put into a frame of another page, and does not tell other
/// servers its address, which has the numbers of what somebody reads.
pub(crate) fn with_page_headers(mut response: Response, page: &[u8], cache_control: &'static str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    let policy = HeaderValue::try_from(content_security_policy(page));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.expect("hashes in base 64 are text"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn content_security_policy(page: &[u8]) -> String {
    let hashes: String = inline_scripts(&String::from_utf8_lossy(page))
        .map(|script| format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script.replace("\r\n", "\n")))))
        .collect();
    // Formulas and other libraries set styles in attributes.
    format!(
        "default-src 'self'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: https:; \
         font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// The contents of a page's script elements that have no address.
fn inline_scripts(page: &str) -> impl Iterator<Item = &str> {
    // Lower-casing ASCII moves no byte.
    let lower = page.to_ascii_lowercase();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let tag = at + lower[at..].find("<script")?;
            let start = tag + tag_length(&lower[tag..])?;
            let end = start + lower[start..].find("</script")?;
            at = end;
            if !lower[tag..start].contains(" src=") {
                return Some(&page[start..end]);
            }
        }
    })
}

/// The length of the tag that `text` begins with. A quoted attribute may have a `>` in it.
fn tag_length(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_in_a_page_are_found() {
        let page = "<SCRIPT>one()</SCRIPT><script src=\"a.js\" async></script><script data-x=\"a>b\" id='x'>two()</script>\
                    <p>three()</p><script>";
        assert_eq!(inline_scripts(page).collect::<Vec<_>>(), ["one()", "two()"]);
        assert_eq!(inline_scripts("").count(), 0);
    }

    #[test]
    fn a_page_may_run_its_own_scripts_and_no_others() {
        let policy = content_security_policy(b"<script>alert('hello')</script>");
        // As `printf "alert('hello')" | openssl dgst -sha256 -binary | base64` prints it.
        assert!(
            policy.contains("script-src 'self' 'sha256-vIsp2avtxDy0157AryO+jEJVpLdmka7PI7o7C4q5ABE=';"),
            "{policy}"
        );
        assert_eq!(policy, content_security_policy(b"<script>alert('hello')</script>\r\n"));
        assert!(content_security_policy(b"").contains("script-src 'self';"));
    }

    #[test]
    fn names_that_begin_with_a_dot_are_not_public() {
        for public in ["", "index.html", "a/b.c/d", "a./b"] {
            assert!(is_public(Path::new(public)), "{public}");
        }
        for other in [".env", ".git/config", "a/.b", "..", "a/../b", "/etc/passwd", "..."] {
            assert!(!is_public(Path::new(other)), "{other}");
        }
    }
}
