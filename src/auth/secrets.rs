//! The secrets of `JWT_SECRET`.

use super::jwt::entries;

/// The fewest bytes of a secret. HS256 is as hard to break as its secret is to guess, and RFC 7518 asks for 32 bytes.
const SECRET_BYTES: usize = 32;

/// The secrets that the setting lists. The first one signs.
///
/// The setting as a whole is valid too: it may be one secret that contains commas, and only somebody who knows all of it can
/// sign with it. It is surely one secret if no part between its commas is long enough to be one.
pub(super) fn secrets(setting: &str) -> anyhow::Result<Vec<&str>> {
    let parts = entries(setting.split(','));
    let is_long = |secret: &&str| secret.len() >= SECRET_BYTES;
    if !parts.iter().any(is_long) {
        anyhow::ensure!(
            is_long(&setting) && !parts.is_empty(),
            "JWT_SECRET has {} bytes, but needs {SECRET_BYTES} or more: a shorter secret can be guessed. `openssl rand -hex 32` \
             prints a good one",
            setting.len()
        );
        return Ok(vec![setting]);
    }
    anyhow::ensure!(
        parts.iter().all(is_long),
        "JWT_SECRET lists several secrets, separated by commas, and each needs {SECRET_BYTES} bytes or more: a shorter secret can \
         be guessed"
    );
    let is_list = setting.contains(',');
    Ok(parts.into_iter().chain(is_list.then_some(setting)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "exactly-thirty-two-bytes-of-text";

    #[test]
    fn each_secret_is_long_enough() {
        assert_eq!(LONG.len(), SECRET_BYTES);
        assert_eq!(secrets(LONG).unwrap(), [LONG]);
        let list = format!(" {LONG}, {LONG}2,");
        assert_eq!(secrets(&list).unwrap(), [LONG, &format!("{LONG}2"), &list]);
        // No part of a passphrase signs, and a list has no short secret.
        let passphrase = "one secret, with commas, which is long as a whole";
        assert_eq!(secrets(passphrase).unwrap(), [passphrase]);
        let commas = ",".repeat(40);
        for short in
            ["", "x", &LONG[1..], &format!("{LONG},short"), &format!("short,{LONG}"), ",", ", ,", &commas, "a,b"]
        {
            let said = secrets(short).unwrap_err().to_string();
            assert!(said.contains("JWT_SECRET") && said.contains("32"), "{said}");
            assert!(short.len() < 4 || !said.contains(short), "a message has no secret in it: {said}");
        }
    }
}
