//! The part of HTTP/1.1 that the load test needs. A request costs little here, so that the server's work is measured.

use std::{
    cell::RefCell,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    str::FromStr,
};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};

/// The largest accepted answer. 500 events of 50,000 characters would be larger, but this program's comments are short.
const LARGEST: usize = 16 << 20;

/// The headers that a browser sends and the server does not need.
const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: application/json, text/plain, */*\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.org/community/example/articles/an-example-article\r\n\
    Origin: https://www.example.org\r\n\
    DNT: 1\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Site: same-site\r\n\
    Priority: u=4\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n";

/// Where a server is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    host: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let host = url.strip_prefix("http://").ok_or("is not http://HOST:PORT (https is not supported)")?;
        let host = host.trim_end_matches('/');
        let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let address = with_port.to_socket_addrs().map_err(|error| error.to_string())?.find(SocketAddr::is_ipv4);
        Ok(Self { address: address.ok_or("has no IPv4 address")?, host: host.to_owned() })
    }
}

/// The part of a request's head that is the same in all requests of a connection.
pub(crate) fn head(target: &Target, token: &str, browser: bool) -> String {
    let browser = if browser { BROWSER } else { "" };
    format!(" HTTP/1.1\r\nHost: {}\r\n{browser}Authorization: Bearer {token}\r\n", target.host)
}

/// A request with a JSON body.
pub(crate) fn post(path: &str, head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path}{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// An answer, in the buffer that it was read into.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
    /// Whether the server ends the connection after this answer.
    pub(crate) closes: bool,
}

/// A buffer that the connections of a thread share, so that a parked poll needs none.
pub(crate) struct Buffer(RefCell<Vec<u8>>);

impl Default for Buffer {
    fn default() -> Self {
        Self(RefCell::new(vec![0; 64 * 1024]))
    }
}

/// An unwelcome status, for the report.
pub(crate) fn refusal(status: u16) -> String {
    match status {
        429 => "429: the server limits its users. Start it with WRITES_PER_MINUTE=0 REGISTERS_PER_MINUTE=0".to_owned(),
        _ => status.to_string(),
    }
}

/// A connection that is used for many requests.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Whether the server ends it after the last answer.
    pub(crate) is_over: bool,
}

impl Connection {
    /// Connects to `target`, from the address `source` if the target is this machine.
    pub(crate) async fn open(target: &Target, source: Ipv4Addr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if target.address.ip().is_loopback() {
            socket.bind((source, 0).into())?;
        }
        let stream = socket.connect(target.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, is_over: false })
    }

    /// Sends `request` and hands the answer to `take`.
    pub(crate) async fn ask<T>(
        &mut self,
        buffer: &Buffer,
        request: &[u8],
        take: impl FnOnce(&Answer) -> T,
    ) -> anyhow::Result<T> {
        self.stream.write_all(request).await?;
        self.answer(buffer, take).await
    }

    async fn answer<T>(&mut self, buffer: &Buffer, take: impl FnOnce(&Answer) -> T) -> anyhow::Result<T> {
        // Used only if an answer comes in pieces.
        let mut pieces = Vec::new();
        loop {
            self.stream.readable().await?;
            let mut shared = buffer.0.borrow_mut();
            let length = match self.stream.try_read(&mut shared) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            if !pieces.is_empty() {
                pieces.extend_from_slice(&shared[..length]);
            }
            let bytes = if pieces.is_empty() { &shared[..length] } else { &pieces };
            if let Some(answer) = parse(bytes)? {
                self.is_over = answer.closes;
                return Ok(take(&answer));
            }
            ensure!(bytes.len() < LARGEST, "an answer of more than {LARGEST} bytes");
            if pieces.is_empty() {
                pieces = bytes.to_vec();
            }
        }
    }
}

/// The answer in `bytes`, or None if it is not complete yet.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<Answer<'_>>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(bytes).context("not an HTTP answer")? else {
        return Ok(None);
    };
    let (mut length, mut closes) = (0, head.version == Some(0));
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value)?.parse().context("its Content-Length")?;
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes = header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the answer is chunked, which this program does not read");
        }
    }
    let end = start + length;
    ensure!(bytes.len() <= end, "more bytes than the answer has");
    let status = head.code.context("no status")?;
    Ok((bytes.len() == end).then(|| Answer { status, body: &bytes[start..], closes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let answer = parse(whole).unwrap().unwrap();
        assert_eq!((answer.status, answer.body, answer.closes), (200, b"{}".as_slice(), false));
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).unwrap().is_none(), "{end} bytes");
        }
        let closing = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        assert!(parse(closing).unwrap().unwrap().closes);
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nmore").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn targets() {
        let target: Target = "http://127.0.0.1:8000/".parse().unwrap();
        assert_eq!((target.address.port(), target.host.as_str()), (8000, "127.0.0.1:8000"));
        assert!("https://127.0.0.1".parse::<Target>().is_err());
        assert!("127.0.0.1:8000".parse::<Target>().is_err());
    }
}
