//! The limit on log-ins by the name of the user. The body has the name, so no layer can check it.

use std::hash::{BuildHasher, RandomState};

use super::{LOGINS, REFUSAL_DELAY, limiter::Limiter, refused};
use crate::error::Result;

/// How often somebody may log in by a name, whether or not a user has it.
pub(crate) struct NameLimit {
    limiter: Limiter<u64>,
    /// Nobody outside can choose names that count as one.
    hasher: RandomState,
}

impl NameLimit {
    /// `per_minute` 0 is no limit.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { limiter: Limiter::new(per_minute), hasher: RandomState::new() }
    }

    /// Counts a log-in. A refusal comes after [`REFUSAL_DELAY`]. The case of the name makes no difference, as that of an e-mail
    /// address makes none.
    pub(crate) async fn check(&self, name: &str) -> Result<()> {
        let Err(wait) = self.limiter.check(&self.hasher.hash_one(name.to_lowercase())) else { return Ok(()) };
        tokio::time::sleep(REFUSAL_DELAY).await;
        Err(refused(LOGINS, wait, format!("a user may log in {} times a minute", self.limiter.per_minute())))
    }
}
