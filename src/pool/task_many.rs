//! Several buffers to come, as a future.
//!
//! Owns: the polling of a waiter for several. Uses: `many`, `wait`. Used by: callers.

use super::many::{Lot, Order};
use super::stream::Inner;
use super::wait::{Begun, Sleeper, Waiter};
use super::{Class, Handle, Pool, Stream};
use crate::buffer::{Buffer, Memory, Plain};
use crate::error::AllocError;
use crate::sync::Arc;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Buffers to come, all or none: [`Pool::allocate_many_async`]. Counts as a handle of the
/// pool. Dropped before it is ready, it leaves the line, and what was kept for it goes back,
/// to those who wait.
#[must_use = "nothing is asked for until it is polled"]
pub struct AllocateMany<M: Memory = Plain> {
    state: State,
    memory: PhantomData<fn() -> M>,
}

enum State {
    New(Source, Order),
    /// Leaves the line before it lets go of its stream.
    Waiting(
        Waiter<Lot>,
        #[expect(dead_code, reason = "the waiter needs it to be there")] Source,
    ),
    Done,
}

/// Whose buffers they are to be.
#[derive(Clone)]
enum Source {
    Pool(Handle),
    Stream(Arc<Inner>),
}

impl Source {
    fn begin(&self, order: Order) -> Result<Begun<Lot>, AllocError> {
        match self {
            Self::Pool(handle) => handle.begin_wait_for_many(order, Sleeper::Task),
            Self::Stream(stream) => stream.begin_task_for_many(order),
        }
    }

    fn note_refusal(&self, error: &AllocError) {
        match self {
            Self::Pool(handle) => handle.note_refusal(error),
            Self::Stream(stream) => stream.note_refusal(error),
        }
    }
}

impl<M: Memory> fmt::Debug for AllocateMany<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::New(..) => "new",
            State::Waiting(..) => "waiting",
            State::Done => "done",
        };
        (f.debug_struct("AllocateMany"))
            .field("state", &state)
            .finish()
    }
}

impl<M: Memory> AllocateMany<M> {
    fn new(source: Source, order: Order) -> Self {
        Self {
            state: State::New(source, order),
            memory: PhantomData,
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<Option<Lot>, AllocError> {
        if let State::New(source, order) = &self.state {
            match source.begin(*order)? {
                Begun::Buffer(buffers) => return Ok(Some(buffers)),
                Begun::Waiter(waiter) => self.state = State::Waiting(waiter, source.clone()),
            }
        }
        let State::Waiting(waiter, _) = &mut self.state else {
            return Ok(None);
        };
        waiter.poll(cx)
    }
}

impl<M: Memory> Future for AllocateMany<M> {
    type Output = Result<Vec<Buffer<M>>, AllocError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let done = match self.step(cx) {
            Ok(None) => return Poll::Pending,
            Ok(Some(buffers)) => Ok(buffers.into_vec()),
            Err(error) => {
                match &self.state {
                    State::New(source, _) => source.note_refusal(&error),
                    State::Waiting(waiter, _) => waiter.note_refusal(&error),
                    State::Done => {}
                }
                Err(error)
            }
        };
        self.state = State::Done;
        Poll::Ready(done)
    }
}

impl<M: Memory> Pool<M> {
    /// Takes `count` buffers, or none, as [`allocate_many`](Self::allocate_many) does, once
    /// there are as many: a future for any executor. It stands in line as
    /// [`allocate_many_timeout`](Self::allocate_many_timeout) does, with the same bound, and
    /// is woken once, when it has all. It may be dropped at any time; neither a buffer nor
    /// anybody's turn is lost. One that is forgotten, or never polled again, keeps its place;
    /// when its turn comes it gets its buffers, and keeps them. Lock-free; wakers as for
    /// [`allocate_async`](Self::allocate_async). Needs the feature `async`.
    ///
    /// # Errors
    ///
    /// As [`allocate_many_timeout`](Self::allocate_many_timeout), except that it never
    /// times out.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 2).prefault(false).build()?;
    /// use std::future::Future;
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let mut context = Context::from_waker(Waker::noop());
    /// let buffer = pool.allocate(4096, 4096)?;
    /// let mut both = pin!(pool.allocate_many_async(4096, 4096, 2));
    /// assert!(both.as_mut().poll(&mut context).is_pending());
    /// drop(buffer);
    /// let Poll::Ready(Ok(buffers)) = both.as_mut().poll(&mut context) else {
    ///     panic!("both are free")
    /// };
    /// assert_eq!(buffers.len(), 2);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many_async(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
    ) -> AllocateMany<M> {
        let order = self.handle.order(size, alignment, count);
        AllocateMany::new(Source::Pool(self.handle.clone()), order)
    }
}

impl<M: Memory> Class<M> {
    /// Takes `count` buffers of [`size`](Self::size) bytes, or none, once there are as many:
    /// see [`Pool::allocate_many_async`].
    ///
    /// # Errors
    ///
    /// As [`Pool::allocate_many_async`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 2).prefault(false).build()?;
    /// use std::future::Future;
    /// use std::pin::pin;
    /// use std::task::{Context, Waker};
    ///
    /// let class = pool.class(4096, 4096)?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(pin!(class.allocate_many_async(2)).poll(&mut context).is_ready());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many_async(&self, count: usize) -> AllocateMany<M> {
        AllocateMany::new(Source::Pool(self.handle.clone()), self.order(count))
    }
}

impl<M: Memory> Stream<M> {
    /// Takes `count` buffers, or none, as [`allocate_many`](Self::allocate_many) does, once
    /// the stream may have as many: a future for any executor. It stands in line as
    /// [`allocate_many_timeout`](Self::allocate_many_timeout) does, and is woken for each part
    /// of them that comes. One that is forgotten, or never polled again, keeps its place, and
    /// when its turn has come what the stream has is its, and no other call's; so drop it.
    /// Otherwise as [`Pool::allocate_many_async`]. Needs the feature `async`.
    ///
    /// # Errors
    ///
    /// As [`allocate_many_timeout`](Self::allocate_many_timeout), except that it never
    /// times out.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 2).prefault(false).build()?;
    /// use std::future::Future;
    /// use std::pin::pin;
    /// use std::task::{Context, Waker};
    ///
    /// let stream = pool.stream("disk 7").minimum(4096, 4096, 2).build()?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// let mut both = pin!(stream.allocate_many_async(4096, 4096, 2));
    /// assert!(both.as_mut().poll(&mut context).is_ready());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many_async(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
    ) -> AllocateMany<M> {
        let order = self.inner.order(size, alignment, count);
        AllocateMany::new(Source::Stream(Arc::clone(&self.inner)), order)
    }
}
