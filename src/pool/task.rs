//! A buffer to come, as a future.
//!
//! Owns: the polling of a waiter. Uses: `wait`. Used by: callers.

use super::stream::Inner;
use super::wait::{Begun, Sleeper, Waiter};
use super::{Class, Handle, Pool, Stream};
use crate::buffer::{Buffer, Memory, Owned, Plain};
use crate::error::AllocError;
use crate::sync::Arc;
use crate::track::Taker;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A buffer to come: [`Pool::allocate_async`]. Counts as a handle of the pool.
/// Dropped before it is ready, it leaves the line; a buffer that was already
/// on its way goes to the next.
#[must_use = "nothing is asked for until it is polled"]
pub struct Allocate<M: Memory = Plain> {
    state: State,
    memory: PhantomData<fn() -> M>,
}

enum State {
    New(Request),
    /// Leaves the line before it lets go of its stream.
    Waiting(
        Waiter,
        #[expect(dead_code, reason = "the waiter needs it to be there")] Option<Arc<Inner>>,
    ),
    Done,
}

/// What is asked for, by whom.
struct Request {
    handle: Handle,
    /// In whose share.
    stream: Option<Arc<Inner>>,
    size: usize,
    alignment: usize,
    by: Option<Taker>,
}

impl<M: Memory> fmt::Debug for Allocate<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::New(_) => "new",
            State::Waiting(..) => "waiting",
            State::Done => "done",
        };
        f.debug_struct("Allocate").field("state", &state).finish()
    }
}

impl<M: Memory> Allocate<M> {
    #[track_caller]
    fn new(handle: Handle, size: usize, alignment: usize) -> Self {
        let by = handle.shared().taker();
        Self {
            state: State::New(Request {
                handle,
                stream: None,
                size,
                alignment,
                by,
            }),
            memory: PhantomData,
        }
    }

    /// As `new`, in the share of `stream`.
    #[track_caller]
    fn of(stream: Arc<Inner>, size: usize, alignment: usize) -> Self {
        let (by, handle) = (stream.taker(), stream.handle.clone());
        Self {
            state: State::New(Request {
                handle,
                stream: Some(stream),
                size,
                alignment,
                by,
            }),
            memory: PhantomData,
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<Option<Owned>, AllocError> {
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
        if let Some(taken) = self.handle.shared().front.take(size, alignment) {
            return Ok(Begun::Buffer(Owned::new(taken, size)));
        }
        self.handle
            .begin_wait((size, alignment), Sleeper::Task, self.by)
    }
}

impl<M: Memory> Future for Allocate<M> {
    type Output = Result<Buffer<M>, AllocError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.step(cx) {
            Ok(None) => Poll::Pending,
            Ok(Some(buffer)) => {
                self.state = State::Done;
                Poll::Ready(Ok(Buffer::of(buffer)))
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

impl<M: Memory> Pool<M> {
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
    pub fn allocate_async(&self, size: usize, alignment: usize) -> Allocate<M> {
        Allocate::new(self.handle.clone(), size, alignment)
    }
}

impl<M: Memory> Class<M> {
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
    pub fn allocate_async(&self) -> Allocate<M> {
        Allocate::new(self.handle.clone(), self.size, self.alignment)
    }
}

impl<M: Memory> Stream<M> {
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
    pub fn allocate_async(&self, size: usize, alignment: usize) -> Allocate<M> {
        Allocate::of(Arc::clone(&self.inner), size, alignment)
    }
}
