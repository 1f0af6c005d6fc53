//! A parked poll: a place for one outcome and the task that waits for it.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::ids::EventId;

/// Why a parked poll is answered.
#[derive(Clone, Debug)]
pub enum ParkedOutcome {
    /// An event came: this is the whole answer, shared with all who get the same.
    Event(Bytes),
    /// A newer poll took the place, or this process ends: the empty answer, with the cursor that holds for what this one
    /// has seen.
    Released(EventId),
    /// The order went on elsewhere: everything up to now counts as gone.
    Leapt,
    /// The queue is gone.
    Gone,
}

/// The shared half of a parked poll. A std mutex: it is held for a few instructions and never across an await.
#[derive(Debug, Default)]
pub struct Waiter(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    New,
    Waiting(Waker),
    Fired(ParkedOutcome),
    Taken,
}

impl Waiter {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics with the lock held; if it did, the state would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no outcome has come yet.
    pub fn is_waiting(&self) -> bool {
        matches!(*self.state(), State::New | State::Waiting(_))
    }

    /// Answers the poll, unless it was answered before.
    pub fn fire(&self, outcome: ParkedOutcome) {
        let waker = {
            let mut state = self.state();
            match &*state {
                State::New | State::Waiting(_) => match std::mem::replace(&mut *state, State::Fired(outcome)) {
                    State::Waiting(waker) => Some(waker),
                    _ => None,
                },
                State::Fired(_) | State::Taken => None,
            }
        };
        // Unlocked before waking: the woken task takes the lock at once.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The waiting half.
pub struct Fired(pub Arc<Waiter>);

impl Future for Fired {
    type Output = ParkedOutcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ParkedOutcome> {
        let mut state = self.0.state();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Fired(outcome) => Poll::Ready(outcome),
            _ => {
                *state = State::Waiting(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
