//! The threads that check passwords.

use std::{sync::Arc, thread, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{RightPassword, check, functions::Real};
use crate::error::{ApiError, ErrorCode, Result};

/// How long a log-in waits for a thread. It leaves time for the check, because a 503 is promised within 5 s.
const PATIENCE: Duration = Duration::from_secs(2);

/// Checks passwords on threads of their own: on half of the cores at most, so that log-ins leave the server its time.
pub(in crate::login) struct Workers {
    free: Arc<Semaphore>,
    rounds: u32,
}

impl Workers {
    /// Refusals take as long as so many rounds of PBKDF2.
    pub(in crate::login) fn new(rounds: u32) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { free: Arc::new(Semaphore::new((cores / 2).max(1))), rounds }
    }

    /// Checks `password` against the `stored` one. None if it is wrong, if nothing is stored, and if the user may not log in.
    /// `unavailable` if no thread is free in time.
    pub(in crate::login) async fn check(
        &self,
        password: &SecretString,
        stored: Option<String>,
        may_log_in: bool,
    ) -> Result<Option<RightPassword>> {
        let permit = timeout(PATIENCE, Arc::clone(&self.free).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(ApiError::from(ErrorCode::Unavailable).message("too many log-ins at once: try again soon"));
        };
        let (rounds, password) = (self.rounds, password.clone());
        let checking = spawn_blocking(move || {
            // The thread is busy until the end of the check, whether or not anybody still waits for it.
            let _permit = permit;
            check(&Real, rounds, password.expose_secret().as_bytes(), stored.as_deref(), may_log_in)
        });
        checking.await.map_err(ApiError::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_log_in_that_finds_no_thread_in_time_is_told_to_come_again() {
        let workers = Workers::new(1);
        let busy = Arc::clone(&workers.free);
        let all = u32::try_from(busy.available_permits()).unwrap();
        assert!((1..=64).contains(&all), "{all}");
        let busy = busy.acquire_many_owned(all).await.unwrap();
        let refused = workers.check(&"a password".into(), None, false).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unavailable);
        drop(busy);
        assert_eq!(workers.check(&"a password".into(), None, false).await.unwrap(), None);
        assert_eq!(workers.free.available_permits(), all as usize, "the threads are free again");
    }
}
