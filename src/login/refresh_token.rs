//! Refresh tokens: random, and replaced at each use.
//!
//! A token has a handle, which all tokens of a log-in have in common, and a secret of 256 bits. The database knows hashes of both.
//! The handle tells that a token is of a log-in, however long ago it was used.
//!
//! The successor of a token is made of the token's secret and of a random salt. So a token that is sent twice within [`GRACE_MILLISECONDS`] has
//! the same successor both times: two tabs that refresh at once, or a phone that repeats a request whose answer was lost, go on with
//! one token, although no token is stored. The log-in never has two valid tokens. So whoever has stolen a token and uses it within
//! the grace gains nothing: they hold the same token as its owner, and the one who uses it later is noticed. The salts are forgotten
//! after the grace.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const HANDLE_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
/// How long a used token still leads to its successor. A client that misses an answer gives it up after some seconds, and then
/// tries again. 30 s is what other issuers allow too.
const GRACE_MILLISECONDS: i64 = 30_000;
/// The most used tokens that are remembered for the grace.
const REMEMBERED: usize = 16;

/// A refresh token. It has no `Debug`, so that no log shows it.
#[derive(Clone)]
pub(super) struct RefreshToken {
    handle: [u8; HANDLE_BYTES],
    secret: [u8; SECRET_BYTES],
}

impl RefreshToken {
    /// The first token of a log-in.
    pub(super) fn random() -> Self {
        Self { handle: rand::random(), secret: rand::random() }
    }

    /// The text for the client.
    pub(super) fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode([self.handle.as_slice(), &self.secret].concat())
    }

    /// The hash of what all tokens of the log-in have in common.
    pub(super) fn handle_hash(&self) -> [u8; 32] {
        Sha256::digest(self.handle).into()
    }

    /// The hash of the token.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::new().chain_update(self.handle).chain_update(self.secret).finalize().into()
    }

    fn successor(&self, salt: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let tag = hmac::sign(&key, format!("the next refresh token {salt}").as_bytes());
        let mut secret = [0; SECRET_BYTES];
        secret.copy_from_slice(tag.as_ref());
        Self { handle: self.handle, secret }
    }
}

impl FromStr for RefreshToken {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ())?;
        let (handle, secret) = bytes.split_at_checked(HANDLE_BYTES).ok_or(())?;
        Ok(Self { handle: handle.try_into().map_err(|_| ())?, secret: secret.try_into().map_err(|_| ())? })
    }
}

/// A token that was used a moment ago, as the database keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct UsedToken {
    /// In base64, as the salt.
    hash: String,
    /// Leads from the token to its successor.
    salt: String,
    /// In milliseconds since 1970, by the clock of the database.
    used_at: i64,
}

/// The tokens of a log-in, as the database knows them.
pub(super) struct Chain {
    /// The hash of the token that was not used yet.
    pub newest: Vec<u8>,
    /// Tokens before it, in their order.
    pub used: Vec<UsedToken>,
}

/// What a token is that somebody sends.
pub(super) enum Presented {
    /// The newest one: it is replaced by this one, and the chain is to be stored.
    Newest(RefreshToken, Chain),
    /// One that was replaced a moment ago. This is the newest one.
    JustUsed(RefreshToken),
    /// One that was used before. Somebody has a token that is not theirs.
    Reused,
}

impl Chain {
    /// Looks what `token` is, at the moment `now` in milliseconds.
    pub(super) fn present(&self, token: &RefreshToken, now: i64) -> Presented {
        let is_within_grace = |used: &&UsedToken| now - used.used_at <= GRACE_MILLISECONDS;
        let hash = token.hash();
        if is_equal(&hash, &self.newest) {
            let salt = URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>());
            let successor = token.successor(&salt);
            let mut used: Vec<_> = self.used.iter().filter(is_within_grace).cloned().collect();
            used.push(UsedToken { hash: URL_SAFE_NO_PAD.encode(hash), salt, used_at: now });
            used.drain(..used.len().saturating_sub(REMEMBERED));
            let newest = successor.hash().to_vec();
            return Presented::Newest(successor, Self { newest, used });
        }
        let hash = URL_SAFE_NO_PAD.encode(hash);
        let at = self.used.iter().position(|used| used.hash == hash && is_within_grace(&used));
        let newest = at.map(|at| self.used[at..].iter().fold(token.clone(), |token, used| token.successor(&used.salt)));
        match newest {
            Some(newest) if is_equal(&newest.hash(), &self.newest) => Presented::JustUsed(newest),
            _ => Presented::Reused,
        }
    }
}

fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_750_000_000_000;

    fn parse(text: &str) -> RefreshToken {
        text.parse().unwrap_or_else(|()| panic!("{text} is a token"))
    }

    /// The successor's text, and the chain after it.
    fn refresh(chain: &Chain, token: &str, now: i64) -> (String, Chain) {
        match chain.present(&parse(token), now) {
            Presented::Newest(successor, chain) => (successor.expose(), chain),
            _ => panic!("it is the newest"),
        }
    }

    fn just_used(chain: &Chain, token: &str, now: i64) -> Option<String> {
        match chain.present(&parse(token), now) {
            Presented::JustUsed(newest) => Some(newest.expose()),
            Presented::Reused => None,
            Presented::Newest(..) => panic!("it is not the newest"),
        }
    }

    fn begin() -> (String, Chain) {
        let first = RefreshToken::random();
        let chain = Chain { newest: first.hash().to_vec(), used: Vec::new() };
        (first.expose(), chain)
    }

    #[test]
    fn each_use_gives_another_token_and_only_the_newest_counts() {
        let (first, chain) = begin();
        let (second, chain) = refresh(&chain, &first, NOW);
        let (third, chain) = refresh(&chain, &second, NOW + 60_000);
        assert!(first != second && second != third);
        assert_eq!(first.len(), 64);
        assert_eq!(parse(&first).handle_hash(), parse(&third).handle_hash());
        for used in [&first, &second] {
            assert_eq!(just_used(&chain, used, NOW + 120_000), None);
        }
        // Nobody stores what would tell the next token.
        let (_, chain) = refresh(&chain, &third, NOW + 120_000);
        assert_eq!(chain.used.len(), 1, "the tokens before the grace are forgotten");
    }

    #[test]
    fn a_token_that_is_sent_twice_within_the_grace_leads_to_the_newest_both_times() {
        let (first, chain) = begin();
        let (second, chain) = refresh(&chain, &first, NOW);
        assert_eq!(just_used(&chain, &first, NOW), Some(second.clone()));
        assert_eq!(just_used(&chain, &first, NOW + GRACE_MILLISECONDS), Some(second.clone()));
        assert_eq!(just_used(&chain, &first, NOW + GRACE_MILLISECONDS + 1), None);
        // A third tab was quicker still.
        let (third, chain) = refresh(&chain, &second, NOW + 5);
        for used in [&first, &second] {
            assert_eq!(just_used(&chain, used, NOW + 10), Some(third.clone()));
        }
        // The clock of the database may be set back.
        assert_eq!(just_used(&chain, &first, NOW - 1_000), Some(third));
    }

    #[test]
    fn a_token_that_never_was_is_taken_for_a_used_one() {
        let (first, chain) = begin();
        let guess = RefreshToken { handle: parse(&first).handle, secret: [7; SECRET_BYTES] };
        assert_eq!(just_used(&chain, &guess.expose(), NOW), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut token, mut chain) = begin();
        let first = token.clone();
        for step in 0..100 {
            (token, chain) = refresh(&chain, &token, NOW + step);
        }
        assert_eq!(chain.used.len(), REMEMBERED);
        assert_eq!(just_used(&chain, &first, NOW + 100), None);
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let (token, _) = begin();
        for text in
            ["", "nonsense", &token[1..], &format!("{token}A"), &format!("{token}=="), &token.replace(&token[..1], "*")]
        {
            assert!(text.parse::<RefreshToken>().is_err(), "{text}");
        }
    }
}
