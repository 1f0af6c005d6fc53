//! Clients that hang up in the middle of a write, and others that write as fast as they get answers.
//!
//! A write whose client hung up may be done or not. It must not harm the acknowledged writes of others.

use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, sleep},
};

use super::Client;

/// The numbers of both kinds of clients at a time.
pub(super) const HANG_UPS: usize = 8;
pub(super) const BUSY_WRITERS: usize = 4;
/// The longest time between a request and hanging up.
const LONGEST_MICROSECONDS: u64 = 10_000;

impl Client {
    /// Hangs up on every write until `deadline`.
    pub(super) async fn hang_up(mut self, placement: (i64, i64), deadline: Instant) {
        let Some(discussion) = self.discuss(placement, format!("0 of {}", self.name)).await else { return };
        let mut comments = Vec::new();
        for number in 1.. {
            if Instant::now() >= deadline || self.shared.quiet.is_cancelled() {
                return;
            }
            let text = format!("{number} of {}", self.name);
            let path = format!("/discussions/{discussion}/comments");
            let body = json!({ "text": text });
            match self.random.random_range(0..100) {
                0..40 => {
                    self.send_and_hang_up("POST", &path, &body, None).await;
                    self.wrote(format!("new_comment {text}"), None, false);
                }
                40..65 => {
                    let mark = format!("new_comment {text}");
                    let key = mark.replace(' ', "-");
                    self.send_and_hang_up("POST", &path, &body, Some(&key)).await;
                    // Some clients repeat the request. The key makes both one write.
                    if self.random.random_bool(0.5) {
                        self.post(&path, &body, mark).await;
                    } else {
                        self.wrote(mark, None, false);
                    }
                }
                65..80 if !comments.is_empty() => {
                    let comment: i64 = comments[self.random.random_range(0..comments.len())];
                    self.send_and_hang_up("PATCH", &format!("/comments/{comment}"), &body, None).await;
                    self.wrote(format!("updated_comment {text}"), None, false);
                }
                80..90 if !comments.is_empty() => {
                    let comment = comments.swap_remove(self.random.random_range(0..comments.len()));
                    self.send_and_hang_up("DELETE", &format!("/comments/{comment}"), &Value::Null, None).await;
                    self.wrote(format!("deleted_comment {comment}"), None, false);
                }
                _ => comments.extend(self.comment(discussion, None, text).await),
            }
        }
    }

    /// Writes without an Idempotency-Key, one comment after the other, until `deadline`.
    pub(super) async fn write_fast(mut self, placement: (i64, i64), deadline: Instant) {
        let Some(discussion) = self.discuss(placement, format!("0 of {}", self.name)).await else { return };
        for number in 1.. {
            if Instant::now() >= deadline || self.shared.quiet.is_cancelled() {
                return;
            }
            let text = format!("{number} of {}", self.name);
            self.comment_once(discussion, text).await;
            sleep(Duration::from_millis(self.random.random_range(5..25))).await;
        }
    }

    async fn send_and_hang_up(&mut self, method: &str, path: &str, body: &Value, key: Option<&str>) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: balancer\r\nauthorization: Bearer {}\r\n{key}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let Ok(mut stream) = TcpStream::connect(self.shared.addr).await else { return };
        // Ignore errors, because this client hangs up anyway.
        let _ = stream.write_all(request.as_bytes()).await;
        sleep(Duration::from_micros(self.random.random_range(0..LONGEST_MICROSECONDS))).await;
    }
}
