//! One timer for one deadline after another.
//!
//! To register a timer with tokio and to take it out again costs a lock each time, and a connection that polls would do both
//! twice for each event, for deadlines that hardly ever come. So a connection has one timer for its life, which is armed for
//! a deadline *or earlier*: a later deadline leaves it as it is, and when it goes off too soon it is armed anew. That is at
//! most one needless wake-up in the shortest time that anything waits.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep};

/// Ready when `deadline` has come. The task is woken for it by `timer`, which need not be armed for it.
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
    async fn deadlines_come_when_they_are_due_in_whatever_order() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timer = pin!(sleep_until(at(10)));
        for due in [5, 9, 9, 30, 31, 100] {
            // Looked at before, as a connection does whose event comes first.
            let ahead = poll_fn(|context| Poll::Ready(poll_deadline(timer.as_mut(), at(due + 50), context))).await;
            assert!(ahead.is_pending());
            poll_fn(|context| poll_deadline(timer.as_mut(), at(due), context)).await;
            assert_eq!(Instant::now(), at(due));
        }
        // One that has passed already.
        poll_fn(|context| poll_deadline(timer.as_mut(), at(1), context)).await;
        assert_eq!(Instant::now(), at(100));
    }
}
