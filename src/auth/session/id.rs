//! The id of a session: the secret in the cookie, and its hash, which is all that this program remembers.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::ids::{EventId, SessionTag};

/// The name of the cookie.
const COOKIE: &str = "discussions_session";
/// The random bytes of a session's secret.
const SECRET_BYTES: usize = 32;
/// The length of a secret in base64.
const SECRET_LENGTH: usize = (SECRET_BYTES * 4).div_ceil(3);

/// The secret that a browser keeps in its cookie. Only the answer to a sign-in has one.
pub(super) struct SessionSecret(String);

impl SessionSecret {
    /// A new secret, which nobody can guess.
    pub(super) fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>()))
    }

    pub(super) fn hash(&self) -> SessionHash {
        SessionHash::of(&self.0)
    }

    /// The value of `Set-Cookie` that gives the secret to a browser for `seconds`.
    pub(super) fn cookie(&self, seconds: i64, is_secure: bool) -> String {
        cookie(&self.0, seconds, is_secure)
    }
}

/// The value of `Set-Cookie` that makes a browser forget its session.
pub(super) fn removal_cookie(is_secure: bool) -> String {
    cookie("", 0, is_secure)
}

fn cookie(value: &str, seconds: i64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; HttpOnly; SameSite=Lax{secure}; Path=/; Max-Age={seconds}")
}

/// The SHA-256 of a session's secret. The table of sessions has it as the session's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionHash([u8; 32]);

impl SessionHash {
    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// The short name of the session.
    pub fn tag(&self) -> SessionTag {
        SessionTag::of_hash(&self.0)
    }
}

/// In hexadecimal, as the table has it.
impl fmt::Display for SessionHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SessionHash({self})")
    }
}

/// A session as it was read: it was valid at this head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionProof {
    /// The session.
    pub hash: SessionHash,
    /// The head of the database that was read.
    pub read_at: EventId,
}

/// The session that the values of Cookie headers name. None for a value that this program gives to nobody.
pub fn session_of<'a>(cookies: impl Iterator<Item = &'a str>) -> Option<SessionHash> {
    let mut pairs = cookies.flat_map(|value| value.split(';'));
    let secret = pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (secret.len() == SECRET_LENGTH && secret.bytes().all(is_base64)).then(|| SessionHash::of(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_leads_to_the_hash_of_its_secret() {
        let secret = SessionSecret::random();
        assert_eq!(secret.0.len(), SECRET_LENGTH);
        let set = secret.cookie(60, true);
        let sent = set.split(';').next().unwrap_or_default();
        let other = format!("{COOKIE}={}", SessionSecret::random().0);
        for cookies in [vec![sent], vec!["a=b", sent, &other], vec![&format!("a=b;{sent} ; c")]] {
            assert_eq!(session_of(cookies.into_iter()), Some(secret.hash()));
        }
        assert!(!secret.hash().to_string().contains(&secret.0));
        let long = format!("{sent}A");
        for none in ["", "a=b", COOKIE, &long, "discussions_session=nonsense", &removal_cookie(true), &other[1..]] {
            assert_eq!(session_of([none].into_iter()), None, "{none}");
        }
    }
}
