use std::cell::Cell;

use super::{functions::Real, *};

/// The password of all hashes here. Django 5.2 has made them, those of other costs with its own classes.
const PASSWORD: &[u8] = "correct horse ü 7".as_bytes();
const PBKDF2: &str = "pbkdf2_sha256$1000$seasalt1$7aPWpb0tGc7yEzsdqCdxNJgz6BSjPyxxAIJ2hagDrMQ=";
const OTHERS: [&str; 6] = [
    "pbkdf2_sha1$1000$seasalt2$Y9e9YSthBaA1hMVyUTxpu0Hiun8=",
    "argon2$argon2id$v=19$m=256,t=2,p=2$c2Vhc2FsdDNzZWFzYWx0Mw$tW6ARvDc/zuGH4UtA4V2lFa8RmeN0QliVRToBRNVO5M",
    "argon2$argon2i$v=19$m=64,t=2,p=1$c2Vhc2FsdDY$/OXz1sU98/0E0/eP/K85gQ",
    "bcrypt_sha256$$2b$04$8x/j9qWLvgGMTAe37Z.MterKcBH7U1gFO.xVQEh0UJrYEm7.LfoCu",
    "bcrypt$$2b$04$1sUFZWalBAps/8X3FSrtOuD7czORFSQdxfXxdrGQJ7WGzfsNKruiG",
    "scrypt$256$seasalt5$8$1$w3rkm54rOsa+cx/Kksex45XjIVENUkEEwQSqnG5/TVPD+4lQFfOFmLxMLs/j/X18LmfAr2Jm3mdvvirYnu1+SA==",
];
/// Those that Django makes by default. The first is the one of all accounts but a few.
const DEFAULTS: [&str; 3] = [
    "pbkdf2_sha256$1000000$seasalt1$7xHJM1QvwVvEqOglw2xi3edOPtfMKkMMIEZiAD+48T8=",
    "argon2$argon2id$v=19$m=102400,t=2,p=8$c2Vhc2FsdDNzZWFzYWx0Mw$VZ3JoB2oUlFAnsbW+KloBWjf9OL3Mh0CFDlmQeZGzJA",
    "scrypt$16384$seasalt5$8$5$uvcpQVDaPa27vTBzWbIZZbRsRjdoB9jZ2cPNpD9tRcuOKIR/UWsswuGwvu3tUPwtR9GDq+v1yT25Qn21BJxv0A==",
];
const UNUSABLE: &str = "!aPRkQtiQX2CZ8YM1lhnaDDuBPCaPUIG1G0qoNjHU";

/// Counts the work, and does it.
#[derive(Default)]
struct Counting {
    rounds: Cell<u32>,
    argon2: Cell<u32>,
    others: Cell<u32>,
}

impl Counting {
    fn add(count: &Cell<u32>, by: u32) {
        count.set(count.get() + by);
    }
}

impl Functions for Counting {
    fn pbkdf2_sha256(&self, password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
        Self::add(&self.rounds, rounds);
        Real.pbkdf2_sha256(password, salt, rounds)
    }

    fn argon2(&self, cost: Argon2Cost, password: &[u8], salt: &[u8], length: usize) -> Option<Vec<u8>> {
        Self::add(if cost == Argon2Cost::OWN { &self.argon2 } else { &self.others }, 1);
        Real.argon2(cost, password, salt, length)
    }

    fn bcrypt(&self, password: &[u8], hash: &str) -> bool {
        Self::add(&self.others, 1);
        Real.bcrypt(password, hash)
    }
}

fn is_right(password: &[u8], stored: &str) -> bool {
    check(&Real, 1, password, Some(stored), true).is_some()
}

#[test]
fn all_hashes_of_django_are_checked() {
    let wrong = ["correct horse ü", "", "Correct horse ü 7", "correct horse ü 7 "];
    for stored in OTHERS.iter().chain([&PBKDF2]) {
        assert!(is_right(PASSWORD, stored), "{stored}");
        assert!(!wrong.iter().any(|wrong| is_right(wrong.as_bytes(), stored)), "{stored}");
    }
    for stored in DEFAULTS {
        assert!(is_right(PASSWORD, stored) && !is_right(wrong[0].as_bytes(), stored), "{stored}");
    }
}

#[test]
fn a_password_is_hashed_anew_unless_its_hash_is_strong() {
    for stored in OTHERS.iter().chain([&PBKDF2, &DEFAULTS[2]]) {
        let rehashed = check(&Real, 1, PASSWORD, Some(stored), true).unwrap().rehashed.unwrap();
        assert!(rehashed.starts_with("argon2$argon2id$v=19$m=19456,t=2,p=1$"), "{rehashed}");
        assert!(rehashed.len() <= 128, "Django has room for so many characters");
        let again = check(&Real, 1, PASSWORD, Some(&rehashed), true).unwrap();
        assert_eq!(again.rehashed, None);
        assert_ne!(hash(&Real, PASSWORD).unwrap(), rehashed, "each has its own salt");
    }
    let stronger = check(&Real, 1, PASSWORD, Some(DEFAULTS[1]), true).unwrap();
    assert_eq!(stronger.rehashed, None);
}

#[test]
fn nothing_matches_what_is_no_hash() {
    let cut = PBKDF2.trim_end_matches('=');
    let no_hash = "pbkdf2_sha256$1000$seasalt1$";
    let short = "argon2$argon2id$v=19$m=64,t=2,p=1$c2Vhc2FsdDY$/OXz1sU98w";
    let absurd = PBKDF2.replace("1000", "4000000000");
    let huge = OTHERS[1].replace("m=256", "m=4000000000");
    let costly = OTHERS[3].replace("$04$", "$31$");
    let scrypt = OTHERS[5].replace("$256$", "$1073741824$");
    let of_no_function = "md5$salt$0123456789abcdef0123456789abcdef";
    let version = OTHERS[1].replace("v=19", "v=16");
    for stored in [
        "",
        "!",
        "$",
        "$$$$$",
        UNUSABLE,
        cut,
        no_hash,
        short,
        &absurd,
        &huge,
        &costly,
        &scrypt,
        of_no_function,
        &version,
    ] {
        for password in [PASSWORD, b"", b"!", stored.as_bytes()] {
            assert!(!is_right(password, stored), "{stored}");
        }
    }
}

#[test]
fn every_refusal_costs_the_same() {
    let rounds = 5_000;
    let own = hash(&Real, PASSWORD).unwrap();
    let refusals = [
        ("an unknown user", None, PASSWORD, false),
        ("a wrong password", Some(PBKDF2), b"wrong".as_slice(), true),
        ("a wrong password of a strong hash", Some(&*own), b"wrong", true),
        ("an account that is not active", Some(PBKDF2), PASSWORD, false),
        ("an account that is not active, with a strong hash", Some(&own), PASSWORD, false),
        ("an unusable password", Some(UNUSABLE), PASSWORD, true),
        ("a hash that is not known", Some("md5$salt$0123456789abcdef0123456789abcdef"), PASSWORD, true),
    ];
    for (of, stored, password, may_log_in) in refusals {
        let counting = Counting::default();
        assert_eq!(check(&counting, rounds, password, stored, may_log_in), None, "{of}");
        let work = (counting.rounds.get(), counting.argon2.get(), counting.others.get());
        assert_eq!(work, (rounds, 1, 0), "{of}");
    }
    // More rounds than usual cannot be taken back.
    let counting = Counting::default();
    assert_eq!(check(&counting, 10, b"wrong", Some(PBKDF2), true), None);
    assert_eq!((counting.rounds.get(), counting.argon2.get()), (1_000, 1));
    // Another function stands for some of the rounds.
    let counting = Counting::default();
    assert_eq!(check(&counting, 1_000_000, b"wrong", Some(OTHERS[3]), true), None);
    assert_eq!((counting.argon2.get(), counting.others.get()), (1, 1));
    assert!((MEASURED_ROUNDS..1_000_000).contains(&counting.rounds.get()), "{}", counting.rounds.get());
}
