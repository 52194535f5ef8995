//! A buffer to come, as a future.
//!
//! Owns: the polling of a waiter. Uses: `wait`, event-listener. Used by: callers.

use super::wait::{Next, Waiter};
use super::{Class, Handle, Pool};
use crate::buffer::Buffer;
use crate::error::AllocError;
use event_listener::EventListener;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A buffer to come: [`Pool::allocate_async`]. Counts as a handle of the pool.
/// Dropped before it is ready, it leaves the line; a buffer that was already
/// on its way goes to the next.
#[must_use = "nothing is asked for until it is polled"]
pub struct Allocate {
    state: State,
}

enum State {
    New(Handle, usize, usize),
    /// With the place at whose event it listens.
    Waiting(Box<Waiter>, Option<(u32, EventListener)>),
    Done,
}

impl fmt::Debug for Allocate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::New(..) => "new",
            State::Waiting(..) => "waiting",
            State::Done => "done",
        };
        f.debug_struct("Allocate").field("state", &state).finish()
    }
}

impl Allocate {
    pub(super) fn new(handle: Handle, size: usize, alignment: usize) -> Self {
        Self {
            state: State::New(handle, size, alignment),
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<Option<Buffer>, AllocError> {
        if let State::New(handle, size, alignment) = &self.state {
            if let Some(taken) = handle.shared().catalog.take_cached(*size, *alignment) {
                return Ok(Some(Buffer::new(taken, *size)));
            }
            let waiter = Waiter::new(handle.clone(), *size, *alignment, true);
            self.state = State::Waiting(Box::new(waiter), None);
        }
        let State::Waiting(waiter, listener) = &mut self.state else {
            return Ok(None);
        };
        loop {
            match waiter.advance()? {
                Next::Buffer(buffer) => return Ok(Some(buffer)),
                Next::Sleep => {}
            }
            let at = waiter.place();
            match listener {
                Some((place, ready)) if Some(*place) == at => {
                    if Pin::new(ready).poll(cx).is_pending() {
                        break;
                    }
                    *listener = None;
                }
                _ => {
                    // Listens first; then `advance` looks once more.
                    *listener = at.zip(waiter.listen());
                    if listener.is_none() {
                        break;
                    }
                }
            }
        }
        if !waiter.is_sure() || listener.is_none() {
            // It cannot sleep: it is polled again and again.
            waiter.look();
            cx.waker().wake_by_ref();
        }
        Ok(None)
    }
}

impl Future for Allocate {
    type Output = Result<Buffer, AllocError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.step(cx) {
            Ok(None) => Poll::Pending,
            Ok(Some(buffer)) => {
                self.state = State::Done;
                Poll::Ready(Ok(buffer))
            }
            Err(error) => {
                self.state = State::Done;
                Poll::Ready(Err(error))
            }
        }
    }
}

impl Pool {
    /// Takes a buffer as [`allocate`](Self::allocate) does, once one is free:
    /// a future for any executor. Fair with
    /// [`allocate_timeout`](Self::allocate_timeout), in one line. It may be
    /// dropped at any time; neither a buffer nor anybody's turn is lost.
    /// Needs the feature `event-listener`.
    ///
    /// # Errors
    ///
    /// As [`allocate_timeout`](Self::allocate_timeout), except that it never
    /// times out.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// use std::future::Future;
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let mut context = Context::from_waker(Waker::noop());
    /// let buffer = pool.allocate(4096, 4096)?;
    /// let mut next = pin!(pool.allocate_async(4096, 4096));
    /// assert!(next.as_mut().poll(&mut context).is_pending());
    /// drop(buffer);
    /// assert!(matches!(next.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
    /// # Ok(()) }
    /// ```
    pub fn allocate_async(&self, size: usize, alignment: usize) -> Allocate {
        Allocate::new(self.handle.clone(), size, alignment)
    }
}

impl Class {
    /// As [`Pool::allocate_async`].
    pub fn allocate_async(&self) -> Allocate {
        Allocate::new(self.handle.clone(), self.size, self.alignment)
    }
}
