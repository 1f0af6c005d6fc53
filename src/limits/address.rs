//! Finds the address of the client that sends a request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

use crate::config::TrustedProxies;

/// The header in which a proxy writes the address of its client.
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Stands for the address of a connection that is closed already or is not a socket.
pub(super) const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The key of the limit: an IPv4 address, or an IPv6 network of 64 bits. Each customer of a provider has at least one such
/// network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Network {
    /// An address.
    V4(Ipv4Addr),
    /// The first 64 bits of an address.
    V6([u16; 4]),
}

impl Network {
    /// The key of an address.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// The entries of the X-Forwarded-For headers, the last one first. `None` stands for a header that is not text.
pub(super) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    values.into_iter().rev().flat_map(|value| {
        let text = value.to_str().ok();
        text.into_iter().flat_map(|text| text.rsplit(',').map(Some)).chain(text.is_none().then_some(None))
    })
}

/// The client of a request, and whether its peer is a trusted proxy.
///
/// Each proxy appends the address of its own client. So the client is the last entry that is not a trusted proxy's address, and
/// every entry before it may be forged. If an entry up to there cannot be read, the header is ignored and the peer is the client.
pub(super) fn client<'a>(
    peer: IpAddr,
    forwarded: impl Iterator<Item = Option<&'a str>>,
    trusted: &TrustedProxies,
) -> (IpAddr, bool) {
    let peer = peer.to_canonical();
    if !trusted.contains(peer) {
        return (peer, false);
    }
    let mut client = peer;
    for entry in forwarded {
        let Some(address) = entry.and_then(parse) else { return (peer, true) };
        client = address;
        if !trusted.contains(address) {
            break;
        }
    }
    (client, true)
}

/// An address, perhaps with a port behind it.
fn parse(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().or_else(|_| entry.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client_of(peer: &str, headers: &[&[u8]], trusted: &str) -> String {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(FORWARDED_FOR, HeaderValue::from_bytes(value).unwrap());
        }
        client(address(peer), forwarded(&map), &trusted.parse().unwrap()).0.to_string()
    }

    #[test]
    fn a_header_from_an_untrusted_peer_says_nothing() {
        for header in ["198.51.100.7", "10.0.0.1", "nonsense", ""] {
            assert_eq!(client_of("203.0.113.1", &[header.as_bytes()], ""), "203.0.113.1");
            assert_eq!(client_of("203.0.113.1", &[header.as_bytes()], "10.0.0.0/8"), "203.0.113.1");
        }
    }

    #[test]
    fn the_last_untrusted_entry_is_the_client() {
        let trusted = "10.0.0.0/8, fd00::/8,";
        let cases: [(&[&[u8]], &str); 9] = [
            (&[b"198.51.100.7"], "198.51.100.7"),
            // A client's own entries come before those of the proxies.
            (&[b"192.0.2.1, 198.51.100.7"], "198.51.100.7"),
            (&[b"192.0.2.1, 198.51.100.7, 10.1.2.3,fd00::1"], "198.51.100.7"),
            (&[b"192.0.2.1", b"198.51.100.7", b"10.1.2.3"], "198.51.100.7"),
            (&[b"198.51.100.7:4711"], "198.51.100.7"),
            (&[b"[2001:db8::7]:4711"], "2001:db8::7"),
            (&[b"[2001:db8::7]"], "2001:db8::7"),
            (&[b"::ffff:198.51.100.7"], "198.51.100.7"),
            (&[b"10.1.2.3, 10.1.2.4"], "10.1.2.3"),
        ];
        for (headers, expected) in cases {
            assert_eq!(client_of("10.0.0.1", headers, trusted), expected);
            assert_eq!(client_of("::ffff:10.0.0.1", headers, trusted), expected, "over a socket for both families");
        }
    }

    #[test]
    fn what_cannot_be_read_leaves_the_peer() {
        let cases: [&[&[u8]]; 7] = [
            &[],
            &[b""],
            &[b"unknown"],
            &[b"198.51.100.7, _hidden"],
            &[b"198.51.100.7,"],
            &[b"198.51.100.7", b"\xff"],
            &[b"198.51.100.7, \xff, 10.0.0.2"],
        ];
        for headers in cases {
            assert_eq!(client_of("10.0.0.1", headers, "10.0.0.0/8"), "10.0.0.1", "{headers:?}");
        }
    }

    #[test]
    fn one_customers_ipv6_addresses_count_as_one() {
        let network = |text| Network::of(address(text));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
