//! One timer that serves many deadlines.
//!
//! Tokio takes a lock to register a timer and another lock to remove it. A connection that polls would pay for both twice an
//! event, although its deadlines hardly ever come. So a connection has one timer for its whole life. The timer is armed for
//! the deadline *or an earlier time*: a later deadline leaves it as it is. When it fires too early, it is armed again. That
//! costs at most one useless wake-up per shortest wait.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep};

/// Is ready when `deadline` has passed, and has the task woken then. `timer` may be armed for any time.
pub fn poll_deadline(mut timer: Pin<&mut Sleep>, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
    if timer.deadline() > deadline {
        timer.as_mut().reset(deadline);
    }
    loop {
        ready!(timer.as_mut().poll(context));
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        timer.as_mut().reset(deadline);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, time::Duration};

    use tokio::time::sleep_until;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_timer_serves_deadlines_in_any_order() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timer = pin!(sleep_until(at(10)));
        for due in [5, 9, 9, 30, 31, 100] {
            // A later deadline is asked about first, as by a connection whose event comes before its deadline.
            let later = poll_fn(|context| Poll::Ready(poll_deadline(timer.as_mut(), at(due + 50), context))).await;
            assert!(later.is_pending());
            poll_fn(|context| poll_deadline(timer.as_mut(), at(due), context)).await;
            assert_eq!(Instant::now(), at(due));
        }
        // This one has passed already.
        poll_fn(|context| poll_deadline(timer.as_mut(), at(1), context)).await;
        assert_eq!(Instant::now(), at(100));
    }
}
