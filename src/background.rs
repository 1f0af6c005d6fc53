//! Tasks that run as long as the process does, and how soon they try again after a failure.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The first pause after a failure.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// The longest pause. An attempt that lasts longer counts as a success: the next failure starts with the first pause again.
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// A duration between half of `base` and `base`, so that many clients do not come back at the same moment.
pub(crate) fn jittered(base: Duration) -> Duration {
    base.mul_f64(rand::random_range(0.5..=1.0))
}

/// Pauses that double from [`FIRST_DELAY`] to [`LONGEST_DELAY`], with jitter.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_DELAY)
    }
}

impl Backoff {
    /// Returns the next pause and doubles the one after it.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = self.0;
        self.0 = (2 * delay).min(LONGEST_DELAY);
        jittered(delay)
    }

    /// Starts again with the first pause, after a success.
    pub(crate) fn reset(&mut self) {
        self.0 = FIRST_DELAY;
    }
}

/// Work that runs until it fails, and is then started again.
pub(crate) trait BackgroundTask {
    /// The log message of a failure.
    const FAILURE: &'static str;

    /// Works until something fails. It can be called again, also after it was dropped at any await.
    fn attempt(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Runs `task` until `shutdown`, and pauses after each failure.
pub(crate) async fn supervise<T: BackgroundTask>(mut task: T, shutdown: CancellationToken) {
    let mut backoff = Backoff::default();
    loop {
        let start = Instant::now();
        let ended = tokio::select! {
            ended = task.attempt() => ended,
            () = shutdown.cancelled() => return,
        };
        if start.elapsed() > LONGEST_DELAY {
            backoff.reset();
        }
        let Err(error) = ended else { continue };
        tracing::warn!(cause = %error, "{}", T::FAILURE);
        tokio::select! {
            () = sleep(backoff.next_delay()) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        let most: Vec<_> = [200, 400, 800, 1_600, 2_000, 2_000].map(Duration::from_millis).into();
        for most in most {
            let delay = backoff.next_delay();
            assert!((most / 2..=most).contains(&delay), "{delay:?} of {most:?}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= FIRST_DELAY);
    }

    struct Failing {
        attempts: tokio::sync::mpsc::UnboundedSender<Instant>,
    }

    impl BackgroundTask for Failing {
        const FAILURE: &'static str = "as it should";

        async fn attempt(&mut self) -> anyhow::Result<()> {
            let _ = self.attempts.send(Instant::now());
            anyhow::bail!("always")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_is_tried_again_until_the_end() {
        let (attempts, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(supervise(Failing { attempts }, shutdown.clone()));
        let mut last = seen.recv().await.unwrap();
        for _ in 0..8 {
            let next = seen.recv().await.unwrap();
            assert!(next - last <= LONGEST_DELAY && next > last);
            last = next;
        }
        shutdown.cancel();
        running.await.unwrap();
    }
}
