//! A buffer to come, as a future.
//!
//! Owns: the polling of a waiter. Uses: `wait`. Used by: callers.

use super::wait::{Begun, Waiter};
use super::{Class, Handle, Pool};
use crate::buffer::Buffer;
use crate::error::AllocError;
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
    Waiting(Waiter),
    Done,
}

impl fmt::Debug for Allocate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::New(..) => "new",
            State::Waiting(_) => "waiting",
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
            let (size, alignment) = (*size, *alignment);
            if let Some(taken) = handle.shared().catalog.take_cached(size, alignment) {
                return Ok(Some(Buffer::new(taken, size)));
            }
            match handle.begin_wait(size, alignment, true)? {
                Begun::Buffer(buffer) => return Ok(Some(buffer)),
                Begun::Waiter(waiter) => self.state = State::Waiting(waiter),
            }
        }
        let State::Waiting(waiter) = &mut self.state else {
            return Ok(None);
        };
        waiter.poll(cx)
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
    /// a future for any executor. It stands in one line with threads that wait
    /// ([`allocate_timeout`](Self::allocate_timeout)), where turns go round: when it is
    /// next, the buffer that comes back is handed to it. It may be dropped at any time; neither a buffer nor anybody's turn is lost. One that
    /// is forgotten, or never polled again, keeps its place, and a buffer if one
    /// has come. Lock-free: its waker is run by whoever gives it a buffer, on that
    /// thread, and may use the pool, or drop the future (wakers that do that to each
    /// other's futures are nested); it must not wait for a buffer, which may be that of
    /// a task that is woken after it. Only where the kernel
    /// refuses `membarrier(2)` to a pool that was built with it does the future
    /// wake itself to look again. Needs the feature `async`.
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
    /// Takes a buffer as [`allocate`](Self::allocate) does, once one is free: see
    /// [`Pool::allocate_async`].
    ///
    /// # Errors
    ///
    /// As [`Pool::allocate_async`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// use std::future::Future;
    /// use std::pin::pin;
    /// use std::task::{Context, Waker};
    ///
    /// let class = pool.class(4096, 4096)?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(pin!(class.allocate_async()).poll(&mut context).is_ready());
    /// # Ok(()) }
    /// ```
    pub fn allocate_async(&self) -> Allocate {
        Allocate::new(self.handle.clone(), self.size, self.alignment)
    }
}
