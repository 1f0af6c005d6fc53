//! Passwords in Django's encoded form, such as `pbkdf2_sha256$1000000$<salt>$<hash>`.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::functions::{Argon2Cost, Argon2Kind, Functions};

/// The most memory of one hash, in KiB. Django's own forms need 100 MiB at most.
const MEMORY_KIB: u32 = 256 * 1024;
/// The most rounds of PBKDF2, ten times Django's number.
const ROUNDS: u32 = 10_000_000;
/// The highest cost of bcrypt. Django's is 12, and each step doubles the work.
const BCRYPT_COST: u32 = 16;
/// The most passes or lanes.
const REPETITIONS: u32 = 16;

/// A stored password, by the function that made it.
pub(super) enum Encoded {
    Pbkdf2Sha256 {
        rounds: u32,
        salt: String,
        hash: [u8; 32],
    },
    Pbkdf2Sha1 {
        rounds: u32,
        salt: String,
        hash: [u8; 20],
    },
    Argon2 {
        cost: Argon2Cost,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Scrypt {
        log_n: u8,
        block_size: u32,
        lanes: u32,
        salt: String,
        hash: Vec<u8>,
    },
    /// bcrypt's own form. Django gives bcrypt the hexadecimal SHA-256 of the password.
    BcryptSha256(String),
    /// bcrypt's own form.
    Bcrypt(String),
}

impl Encoded {
    /// None for what no password can match: Django's mark of an unusable password (`!`), a form that is not known here, and one
    /// whose cost is absurd.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (algorithm, rest) = text.split_once('$')?;
        let parts: Vec<&str> = rest.split('$').collect();
        let rounds = |text: &str| text.parse().ok().filter(|rounds| (1..=ROUNDS).contains(rounds));
        match (algorithm, parts.as_slice()) {
            ("pbkdf2_sha256", [number, salt, hash]) => Some(Self::Pbkdf2Sha256 {
                rounds: rounds(number)?,
                salt: (*salt).to_owned(),
                hash: STANDARD.decode(hash).ok()?.try_into().ok()?,
            }),
            ("pbkdf2_sha1", [number, salt, hash]) => Some(Self::Pbkdf2Sha1 {
                rounds: rounds(number)?,
                salt: (*salt).to_owned(),
                hash: STANDARD.decode(hash).ok()?.try_into().ok()?,
            }),
            ("argon2", [kind, version, cost, salt, hash]) => Some(Self::Argon2 {
                cost: argon2_cost(kind, version, cost)?,
                salt: STANDARD_NO_PAD.decode(salt).ok().filter(|salt| salt.len() >= 8)?,
                hash: long_enough(STANDARD_NO_PAD.decode(hash).ok()?)?,
            }),
            ("scrypt", [n, salt, block_size, lanes, hash]) => {
                let (n, block_size, lanes): (u32, u32, u32) =
                    (n.parse().ok()?, block_size.parse().ok()?, lanes.parse().ok()?);
                let blocks = n.checked_mul(block_size)?;
                let is_sane = n.is_power_of_two() && n > 1 && blocks / 8 <= MEMORY_KIB && lanes <= REPETITIONS;
                is_sane.then_some(())?;
                Some(Self::Scrypt {
                    log_n: n.ilog2() as u8,
                    block_size,
                    lanes,
                    salt: (*salt).to_owned(),
                    hash: long_enough(STANDARD.decode(hash).ok()?)?,
                })
            }
            ("bcrypt_sha256", ["", _, cost, _]) if is_bcrypt_cost(cost) => Some(Self::BcryptSha256(rest.to_owned())),
            ("bcrypt", ["", _, cost, _]) if is_bcrypt_cost(cost) => Some(Self::Bcrypt(rest.to_owned())),
            _ => None,
        }
    }

    /// Whether it is the hash of `password`.
    pub(super) fn matches(&self, functions: &impl Functions, password: &[u8]) -> bool {
        let is_equal = |derived: &[u8], hash: &[u8]| bool::from(derived.ct_eq(hash));
        match self {
            Self::Pbkdf2Sha256 { rounds, salt, hash } => {
                is_equal(&functions.pbkdf2_sha256(password, salt.as_bytes(), *rounds), hash)
            }
            Self::Pbkdf2Sha1 { rounds, salt, hash } => {
                is_equal(&functions.pbkdf2_sha1(password, salt.as_bytes(), *rounds), hash)
            }
            Self::Argon2 { cost, salt, hash } => {
                functions.argon2(*cost, password, salt, hash.len()).is_some_and(|derived| is_equal(&derived, hash))
            }
            Self::Scrypt { log_n, block_size, lanes, salt, hash } => {
                let derived = functions.scrypt((*log_n, *block_size, *lanes), password, salt.as_bytes(), hash.len());
                derived.is_some_and(|derived| is_equal(&derived, hash))
            }
            Self::BcryptSha256(hash) => {
                let digest: String = Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect();
                functions.bcrypt(digest.as_bytes(), hash)
            }
            Self::Bcrypt(hash) => functions.bcrypt(password, hash),
        }
    }

    /// Whether it is as strong as what this program makes, or stronger.
    pub(super) fn is_strong(&self) -> bool {
        match self {
            Self::Argon2 { cost, .. } => cost.is_at_least(Argon2Cost::OWN),
            _ => false,
        }
    }
}

/// The form in which this program stores a new hash. Django reads it too.
pub(super) fn encode(cost: Argon2Cost, salt: &[u8], hash: &[u8]) -> String {
    let Argon2Cost { memory_kib, passes, lanes, .. } = cost;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    format!("argon2$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
}

/// A short hash would be easy to match.
fn long_enough(hash: Vec<u8>) -> Option<Vec<u8>> {
    (16..=64).contains(&hash.len()).then_some(hash)
}

fn is_bcrypt_cost(text: &str) -> bool {
    text.parse().is_ok_and(|cost: u32| cost <= BCRYPT_COST)
}

fn argon2_cost(kind: &str, version: &str, cost: &str) -> Option<Argon2Cost> {
    let kind = match kind {
        "argon2id" => Argon2Kind::Argon2id,
        "argon2i" => Argon2Kind::Argon2i,
        "argon2d" => Argon2Kind::Argon2d,
        _ => return None,
    };
    let numbers: Vec<(&str, u32)> = cost
        .split(',')
        .map(|part| part.split_once('=').and_then(|(name, number)| Some((name, number.parse().ok()?))))
        .collect::<Option<_>>()?;
    match numbers.as_slice() {
        [("m", memory_kib), ("t", passes), ("p", lanes)] if version == "v=19" => {
            let is_sane = *memory_kib <= MEMORY_KIB && *passes <= REPETITIONS && *lanes <= REPETITIONS;
            is_sane.then_some(Argon2Cost { kind, memory_kib: *memory_kib, passes: *passes, lanes: *lanes })
        }
        _ => None,
    }
}
