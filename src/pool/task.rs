//! A buffer to come, as a future.
//!
//! Owns: the polling of a waiter. Uses: `wait`. Used by: callers.

use super::wait::{Begun, Sleeper, Waiter};
use super::{Class, Handle, Pool, Stream};
use crate::buffer::Buffer;
use crate::error::AllocError;
use crate::track::Taker;
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
    New(Request),
    /// Leaves the line before it lets go of its stream.
    Waiting(
        Waiter,
        #[expect(dead_code, reason = "the waiter needs it to be there")] Option<Stream>,
    ),
    Done,
}

/// What is asked for, by whom.
struct Request {
    handle: Handle,
    /// In whose share.
    stream: Option<Stream>,
    size: usize,
    alignment: usize,
    by: Option<Taker>,
}

impl fmt::Debug for Allocate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::New(_) => "new",
            State::Waiting(..) => "waiting",
            State::Done => "done",
        };
        f.debug_struct("Allocate").field("state", &state).finish()
    }
}

impl Allocate {
    #[track_caller]
    pub(super) fn new(handle: Handle, size: usize, alignment: usize) -> Self {
        let by = handle.shared().taker();
        Self {
            state: State::New(Request {
                handle,
                stream: None,
                size,
                alignment,
                by,
            }),
        }
    }

    /// As `new`, in the share of `stream`, whose pool has `handle`.
    #[track_caller]
    pub(super) fn of(stream: Stream, handle: Handle, size: usize, alignment: usize) -> Self {
        let by = handle.shared().taker();
        Self {
            state: State::New(Request {
                handle,
                stream: Some(stream),
                size,
                alignment,
                by,
            }),
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<Option<Buffer>, AllocError> {
        if let State::New(request) = &self.state {
            match request.begin()? {
                Begun::Buffer(buffer) => return Ok(Some(buffer)),
                Begun::Waiter(waiter) => {
                    self.state = State::Waiting(waiter, request.stream.clone());
                }
            }
        }
        let State::Waiting(waiter, _) = &mut self.state else {
            return Ok(None);
        };
        waiter.poll(cx)
    }
}

impl Request {
    fn begin(&self) -> Result<Begun, AllocError> {
        let (size, alignment) = (self.size, self.alignment);
        if let Some(stream) = &self.stream {
            return stream.begin_task(size, alignment, self.by);
        }
        if let Some(taken) = self.handle.shared().catalog.take_cached(size, alignment) {
            return Ok(Begun::Buffer(Buffer::new(taken, size)));
        }
        self.handle
            .begin_wait((size, alignment), Sleeper::Task, self.by)
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
                match &self.state {
                    State::New(request) => request.handle.note_refusal(&error),
                    State::Waiting(waiter, _) => waiter.note_refusal(&error),
                    State::Done => {}
                }
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
    /// next, the buffer that comes back is handed to it. It may be dropped at any time;
    /// neither a buffer nor anybody's turn is lost. One that is forgotten, or never polled
    /// again, keeps its place, and a buffer if one has come. Lock-free: its waker is run by whoever gives it a buffer, on that
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
    #[track_caller]
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
    #[track_caller]
    pub fn allocate_async(&self) -> Allocate {
        Allocate::new(self.handle.clone(), self.size, self.alignment)
    }
}

impl Stream {
    /// Takes a buffer as [`allocate`](Self::allocate) does, once the stream may have one: a
    /// future, as [`Pool::allocate_async`], which stands in line as
    /// [`allocate_timeout`](Self::allocate_timeout) does. It counts as a clone of the
    /// stream.
    ///
    /// # Errors
    ///
    /// As [`allocate_timeout`](Self::allocate_timeout), except that it never times out.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// use std::future::Future;
    /// use std::pin::pin;
    /// use std::task::{Context, Waker};
    ///
    /// let stream = pool.stream("disk 7").minimum(4096, 4096, 1).build()?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(pin!(stream.allocate_async(4096, 4096)).poll(&mut context).is_ready());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_async(&self, size: usize, alignment: usize) -> Allocate {
        Allocate::of(self.clone(), self.pool_handle(), size, alignment)
    }
}
