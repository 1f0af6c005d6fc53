//! The functions that hash passwords, all by crates of others.

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256};

/// A kind of Argon2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argon2Kind {
    Argon2id,
    Argon2i,
    Argon2d,
}

/// What a hash by Argon2 costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Argon2Cost {
    pub kind: Argon2Kind,
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Argon2Cost {
    /// The cost of the hashes that this program makes: OWASP's minimum for Argon2id (Password Storage Cheat Sheet), 19 MiB and two
    /// passes in one lane.
    pub(super) const OWN: Self = Self { kind: Argon2Kind::Argon2id, memory_kib: 19 * 1024, passes: 2, lanes: 1 };

    pub(super) fn is_at_least(self, other: Self) -> bool {
        self.kind == other.kind && self.memory_kib >= other.memory_kib && self.passes >= other.passes
    }
}

fn derive<const N: usize>(algorithm: pbkdf2::Algorithm, password: &[u8], salt: &[u8], rounds: u32) -> [u8; N] {
    let mut hash = [0; N];
    let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(algorithm, rounds, salt, password, &mut hash);
    hash
}

/// The functions. A test counts how often each is called.
pub(super) trait Functions {
    fn pbkdf2_sha256(&self, password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
        derive(PBKDF2_HMAC_SHA256, password, salt, rounds)
    }

    fn pbkdf2_sha1(&self, password: &[u8], salt: &[u8], rounds: u32) -> [u8; 20] {
        derive(PBKDF2_HMAC_SHA1, password, salt, rounds)
    }

    /// None if Argon2 does not take these parameters.
    fn argon2(&self, cost: Argon2Cost, password: &[u8], salt: &[u8], length: usize) -> Option<Vec<u8>> {
        let algorithm = match cost.kind {
            Argon2Kind::Argon2id => Algorithm::Argon2id,
            Argon2Kind::Argon2i => Algorithm::Argon2i,
            Argon2Kind::Argon2d => Algorithm::Argon2d,
        };
        let parameters = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(length)).ok()?;
        let mut hash = vec![0; length];
        Argon2::new(algorithm, Version::V0x13, parameters).hash_password_into(password, salt, &mut hash).ok()?;
        Some(hash)
    }

    /// None if scrypt does not take these parameters: the binary logarithm of N, the block size and the lanes.
    fn scrypt(&self, cost: (u8, u32, u32), password: &[u8], salt: &[u8], length: usize) -> Option<Vec<u8>> {
        let parameters = scrypt::Params::new(cost.0, cost.1, cost.2, length).ok()?;
        let mut hash = vec![0; length];
        scrypt::scrypt(password, salt, &parameters, &mut hash).ok()?;
        Some(hash)
    }

    fn bcrypt(&self, password: &[u8], hash: &str) -> bool {
        bcrypt::verify(password, hash).unwrap_or(false)
    }
}

/// The functions as they are.
pub(super) struct Real;

impl Functions for Real {}
