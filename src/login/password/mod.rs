//! Checks passwords, and hashes them anew.
//!
//! Users come with the hashes that Django made. The first log-in replaces such a hash by Argon2id, in Django's form, so that Django
//! can still check it.
//!
//! Whoever is refused learns nothing from how long it took. A refusal always costs the same: PBKDF2 with Django's number of rounds,
//! and our Argon2id. What checking the stored hash did not do of that is done on a made-up one. Hashes of scrypt, bcrypt and of an
//! Argon2 with another cost are done in place of as many rounds as take the same time.

mod encoded;
mod functions;
mod workers;

use std::{hint::black_box, time::Instant};

pub(super) use self::workers::Workers;
use self::{
    encoded::Encoded,
    functions::{Argon2Cost, Functions},
};

/// The salt of hashes that are made for their cost only.
const NO_SALT: &[u8; 16] = &[0; 16];
/// The bytes of a salt and of a hash that this program makes.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// How many rounds are measured to know how long one takes.
const MEASURED_ROUNDS: u32 = 2_000;

/// A password that was right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RightPassword {
    /// A stronger hash of the same password, in Django's form. None if the stored one is strong.
    pub rehashed: Option<String>,
}

/// Checks `password` against the `stored` one. None if it is wrong, if nothing is stored, and if the user may not log in. Each None
/// costs the same, where accounts have hashes of `rounds` rounds.
fn check(
    functions: &impl Functions,
    rounds: u32,
    password: &[u8],
    stored: Option<&str>,
    may_log_in: bool,
) -> Option<RightPassword> {
    let stored = stored.and_then(Encoded::parse);
    let start = Instant::now();
    let is_right = stored.as_ref().is_some_and(|stored| stored.matches(functions, password));
    let checked_in = start.elapsed();
    if is_right && may_log_in {
        let is_strong = stored.is_some_and(|stored| stored.is_strong());
        let rehashed = if is_strong { None } else { hash(functions, password) };
        return Some(RightPassword { rehashed });
    }
    let (missing_rounds, is_own) = match &stored {
        None => (rounds, false),
        Some(Encoded::Pbkdf2Sha256 { rounds: done, .. }) => (rounds.saturating_sub(*done), false),
        Some(Encoded::Argon2 { cost: Argon2Cost::OWN, .. }) => (rounds, true),
        Some(_) => {
            let measured = rounds.clamp(1, MEASURED_ROUNDS);
            let start = Instant::now();
            black_box(functions.pbkdf2_sha256(password, NO_SALT, measured));
            let worth = checked_in.as_secs_f64() / start.elapsed().as_secs_f64() * f64::from(measured);
            // A float beyond the largest number becomes that number.
            (rounds.saturating_sub(measured).saturating_sub(worth as u32), false)
        }
    };
    if missing_rounds > 0 {
        black_box(functions.pbkdf2_sha256(password, NO_SALT, missing_rounds));
    }
    if !is_own {
        black_box(functions.argon2(Argon2Cost::OWN, password, NO_SALT, HASH_BYTES));
    }
    None
}

/// The hash of a password as this program stores it.
fn hash(functions: &impl Functions, password: &[u8]) -> Option<String> {
    let salt: [u8; SALT_BYTES] = rand::random();
    let hash = functions.argon2(Argon2Cost::OWN, password, &salt, HASH_BYTES)?;
    Some(encoded::encode(Argon2Cost::OWN, &salt, &hash))
}

#[cfg(test)]
mod tests;
