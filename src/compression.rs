//! Which answers are compressed, and how.
//!
//! Answers of 1 KiB and more are compressed if the client accepts that. Each coding runs at its quickest level (gzip 1, zstd 1):
//! on JSON the slower levels save few bytes more and cost several times the CPU. The router's layer compresses whole answers of
//! the router. Polls are compressed by [`crate::realtime`], by gzip only, so that one compressed body serves all readers of an
//! event.
//!
//! Compression tells an eavesdropper how much of an attacker's text repeats in the rest of the answer. That matters where a
//! secret is in the answer, so answers that are marked with [`HoldsSecret`] are not compressed.

use std::io::{self, Write};

use axum::{
    extract::Request,
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{Predicate, SizeAbove},
    },
};

/// An answer with fewer bytes is not compressed: it fits into one packet anyway.
pub(crate) const MIN_BYTES: usize = 1_024;
/// How many bytes are compressed without a pause. It takes about 0.1 ms.
const PIECE_BYTES: usize = 16 * 1024;

/// Marks an answer whose body holds a secret, such as a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HoldsSecret;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// The bytes as they are.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// Which codings a request accepts (RFC 9110, section 12.5.3): their weights in thousandths. 0 is "not acceptable", or not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    gzip: u16,
    zstd: u16,
    identity: u16,
}

impl Accepted {
    /// Reads the values of `Accept-Encoding`. What is malformed is as if absent.
    pub fn read<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut gzip, mut zstd, mut identity, mut others) = (None, None, None, 0);
        for value in values {
            for (coding, weight) in value.split(|byte| *byte == b',').filter_map(coding_and_weight) {
                let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
                if is("gzip") || is("x-gzip") {
                    gzip = Some(weight);
                } else if is("zstd") {
                    zstd = Some(weight);
                } else if is("identity") {
                    identity = Some(weight);
                } else if is("*") {
                    others = weight;
                }
            }
        }
        Self {
            gzip: gzip.unwrap_or(others),
            zstd: zstd.unwrap_or(others),
            // A client that does not name it takes any coding that it names before it.
            identity: identity.unwrap_or(0),
        }
    }

    /// The coding of an answer that the router compresses.
    ///
    /// A client that accepts none of ours, not even `identity`, gets an answer without a coding. The alternative, 406, would hide
    /// the outcome of a write.
    fn preferred(self) -> Coding {
        let codings = [(self.gzip, Coding::Gzip), (self.zstd, Coding::Zstd)];
        let best = codings.into_iter().filter(|(weight, _)| *weight > 0 && *weight >= self.identity);
        best.max_by_key(|(weight, _)| *weight).map_or(Coding::Identity, |(_, coding)| coding)
    }

    /// The coding of the answer to a poll: gzip or none.
    pub fn of_poll(self) -> Coding {
        if self.gzip > 0 && self.gzip >= self.identity { Coding::Gzip } else { Coding::Identity }
    }
}

impl From<&HeaderMap> for Accepted {
    fn from(headers: &HeaderMap) -> Self {
        Self::read(headers.get_all(header::ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes))
    }
}

/// One item of `Accept-Encoding`. None if it is malformed.
fn coding_and_weight(item: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let coding = parts.next().filter(|coding| !coding.is_empty())?;
    match parts.next() {
        None => Some((coding, 1_000)),
        Some(parameter) => {
            let weight = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
            parts.next().is_none().then_some((coding, thousandths(weight)?))
        }
    }
}

/// A weight such as `0.25`: 0 to 1 with at most three decimals.
fn thousandths(weight: &[u8]) -> Option<u16> {
    let (whole, decimals) = weight.split_first()?;
    let decimals = match decimals {
        [] => decimals,
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| decimals.get(at).map_or(0, |digit| u16::from(digit - b'0'));
    let part = 100 * digit(0) + 10 * digit(1) + digit(2);
    match whole {
        b'0' => Some(part),
        b'1' if part == 0 => Some(1_000),
        _ => None,
    }
}

/// Compresses the router's answers, with [`choose_coding`] around it.
pub(crate) fn layer() -> CompressionLayer<impl Predicate> {
    let is_allowed = |_: StatusCode, _: Version, headers: &HeaderMap, extensions: &Extensions| {
        extensions.get::<HoldsSecret>().is_none() && is_text(headers)
    };
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(MIN_BYTES as u64).and(is_allowed))
}

/// Puts the one coding that suits the client best into `Accept-Encoding`, so that both ways in read this header alike.
pub(crate) async fn choose_coding(mut request: Request, next: Next) -> Response {
    let coding = Accepted::from(request.headers()).preferred();
    let headers = request.headers_mut();
    match coding {
        Coding::Identity => _ = headers.remove(header::ACCEPT_ENCODING),
        Coding::Gzip => _ = headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
        Coding::Zstd => _ = headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("zstd")),
    }
    next.run(request).await
}

/// Whether the body is of a type that compression makes smaller. Pictures and fonts are compressed already.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim_end();
    kind.starts_with("text/")
        || ["json", "javascript", "xml", "wasm"].iter().any(|end| kind.ends_with(end))
        || kind == "image/svg+xml"
}

/// A body as it is sent.
#[derive(Debug)]
pub(crate) struct EncodedBody {
    pub(crate) bytes: Bytes,
    variant: Variant,
}

#[derive(Clone, Copy, Debug)]
enum Variant {
    /// Too small to be compressed for anybody.
    Small,
    Plain,
    Gzip,
}

static PLAIN: [(HeaderName, HeaderValue); 1] = [(header::VARY, HeaderValue::from_static("accept-encoding"))];
static GZIP: [(HeaderName, HeaderValue); 2] = [
    (header::VARY, HeaderValue::from_static("accept-encoding")),
    (header::CONTENT_ENCODING, HeaderValue::from_static("gzip")),
];

impl EncodedBody {
    /// A body without a coding.
    pub(crate) fn plain(bytes: Bytes) -> Self {
        let variant = if bytes.len() < MIN_BYTES { Variant::Small } else { Variant::Plain };
        Self { bytes, variant }
    }

    /// A body that is compressed already.
    pub(crate) fn gzipped(bytes: Bytes) -> Self {
        Self { bytes, variant: Variant::Gzip }
    }

    /// The headers that say which coding this is.
    pub(crate) fn headers(&self) -> &'static [(HeaderName, HeaderValue)] {
        match self.variant {
            Variant::Small => &[],
            Variant::Plain => &PLAIN,
            Variant::Gzip => &GZIP,
        }
    }
}

/// Compresses a body at once.
pub(crate) fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = encoder(body.len());
    finish(encoder.write_all(body).and_then(|()| encoder.finish()))
}

/// Compresses a large body and lets other tasks run in between.
pub(crate) async fn gzip_in_pieces(body: &[u8]) -> Bytes {
    let mut encoder = encoder(body.len());
    for piece in body.chunks(PIECE_BYTES) {
        finish(encoder.write_all(piece).map(|()| Vec::new()));
        tokio::task::yield_now().await;
    }
    finish(encoder.finish())
}

/// Whether [`gzip`] takes so long that others would wait.
pub(crate) fn is_large(body: &[u8]) -> bool {
    body.len() > PIECE_BYTES
}

fn encoder(length: usize) -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::with_capacity(length / 4), Compression::fast())
}

fn finish(written: io::Result<Vec<u8>>) -> Bytes {
    Bytes::from(written.expect("writing to memory does not fail"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_as_rfc_9110_says() {
        use Coding::{Gzip, Identity, Zstd};
        for (values, router, poll) in [
            (&[][..], Identity, Identity),
            (&[""], Identity, Identity),
            (&["gzip"], Gzip, Gzip),
            (&["GZip"], Gzip, Gzip),
            (&["x-gzip"], Gzip, Gzip),
            (&["gzip, deflate, br, zstd"], Zstd, Gzip),
            (&["gzip, zstd;q=0.5"], Gzip, Gzip),
            (&["gzip;q=0"], Identity, Identity),
            (&["gzip;q=0.000, zstd"], Zstd, Identity),
            (&["br", "gzip"], Gzip, Gzip),
            (&["br"], Identity, Identity),
            (&["*"], Zstd, Gzip),
            (&["*;q=0"], Identity, Identity),
            (&["gzip;q=0, *"], Zstd, Identity),
            (&["zstd;q=0, *;q=0.1"], Gzip, Gzip),
            (&["identity"], Identity, Identity),
            (&["identity;q=0"], Identity, Identity),
            (&["identity;q=0, gzip"], Gzip, Gzip),
            (&["identity, gzip;q=0.5"], Identity, Identity),
            (&["identity;q=0.5, gzip;q=0.5"], Gzip, Gzip),
            (&[" gzip ; q=1.000 "], Gzip, Gzip),
            (&["gzip;q=0.001"], Gzip, Gzip),
            (&["gzip;q=1.001"], Identity, Identity),
            (&["gzip;q=0.0001"], Identity, Identity),
            (&["gzip;q=-1", ",,;,"], Identity, Identity),
            (&["gzip;level=9"], Identity, Identity),
            (&["gzip;q=1;q=0"], Identity, Identity),
            (&["gzippy"], Identity, Identity),
        ] {
            let accepted = Accepted::read(values.iter().map(|value| value.as_bytes()));
            assert_eq!((accepted.preferred(), accepted.of_poll()), (router, poll), "{values:?}");
        }
    }

    #[tokio::test]
    async fn pieces_make_the_same_body() {
        use std::io::Read;
        for length in [0, 1, PIECE_BYTES, 5 * PIECE_BYTES + 1] {
            let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            for compressed in [gzip(&body), gzip_in_pieces(&body).await] {
                let mut read = Vec::new();
                flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut read).unwrap();
                assert!(read == body, "{length} bytes");
            }
        }
    }
}
