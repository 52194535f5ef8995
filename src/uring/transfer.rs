//! An operation of a service, as a future.
//!
//! Owns: [`Transfer`], and how its result comes to it. Uses: `buffer`, `sync`. Used by:
//! `service`, callers.
#![allow(
    clippy::disallowed_types,
    reason = "see `service`: this is not on the data path"
)]

use crate::buffer::{Buffer, Memory, Plain};
use crate::sync::{Arc, shield};
use crate::sys::fork::Mark;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a transfer comes to.
pub type Outcome<M> = (io::Result<usize>, Buffer<M>);

/// How an operation stands.
enum State<M: Memory> {
    /// It is under way. Who is woken when it is not.
    Waiting(Option<Waker>),
    Over(Outcome<M>),
    Taken,
}

/// Where the service puts an operation's result, and the future looks for it.
pub struct Reply<M: Memory>(Mutex<State<M>>);

impl<M: Memory> Reply<M> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Waiting(None))))
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        // Nothing that is done under it panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operation is over.
    pub fn put(&self, result: io::Result<usize>, buffer: Buffer<M>) {
        let over = State::Over((result, buffer));
        let before = std::mem::replace(&mut *self.state(), over);
        if let State::Waiting(Some(waker)) = before {
            // Somebody else's code, with no lock held.
            shield(move || waker.wake());
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<Outcome<M>> {
        // Somebody else's code.
        let mut next = Some(waker.clone());
        let polled = {
            let mut state = self.state();
            match &mut *state {
                State::Waiting(known) => {
                    std::mem::swap(known, &mut next);
                    None
                }
                State::Over(_) => match std::mem::replace(&mut *state, State::Taken) {
                    State::Over(outcome) => Some(outcome),
                    State::Waiting(_) | State::Taken => None,
                },
                State::Taken => None,
            }
        };
        drop(next);
        polled.map_or(Poll::Pending, Poll::Ready)
    }
}

/// A read or write that a [`Service`](super::Service) does: what became of it, as
/// [`Completion::result`](super::Completion::result) says, and the buffer.
///
/// It is under way from the beginning, whether it is polled or not. Dropped before it is
/// ready, it runs to its end all the same, and the buffer goes home then. Like any future it
/// must not be polled again when it was ready; if it is, it is never ready again. Nor is it in
/// a child of a fork.
#[must_use = "the buffer is in it"]
pub struct Transfer<M: Memory = Plain> {
    reply: Arc<Reply<M>>,
    mark: Mark,
}

impl<M: Memory> Transfer<M> {
    pub(super) fn new(reply: Arc<Reply<M>>) -> Self {
        let mark = Mark::here();
        Self { reply, mark }
    }
}

impl<M: Memory> Future for Transfer<M> {
    type Output = Outcome<M>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Another thread of the parent may have had the lock when this process was made.
        if self.mark.is_forked() {
            return Poll::Pending;
        }
        self.reply.poll(cx.waker())
    }
}

impl<M: Memory> fmt::Debug for Transfer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").finish_non_exhaustive()
    }
}
