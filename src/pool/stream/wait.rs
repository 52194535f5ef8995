//! Requests of a stream that wait.
//!
//! Owns: what is tried before one stands in line. Uses: `pool::wait`, which sleeps. Used
//! by: callers.

use super::{Inner, Share, Stream};
use crate::buffer::{Buffer, Memory, Owned};
use crate::error::AllocError;
use crate::pool::CancelToken;
use crate::pool::wait::{Begun, Limit, Sleeper};
use crate::track::Taker;
use crate::wait::Cancel;
use std::time::{Duration, Instant};

impl Inner {
    /// Takes a buffer, or stands in line for one as `sleeper`.
    fn begin_wait(
        &self,
        share: &Share,
        (size, alignment): (usize, usize),
        sleeper: Sleeper,
        by: Option<Taker>,
    ) -> Result<Begun, AllocError> {
        let catalog = &self.handle.shared().catalog;
        let lists = catalog.lists();
        if let Some(found) = lists.try_take_of(share.number) {
            return Ok(Begun::Buffer(self.owned(share, found, size, by)));
        }
        if lists.line().is_aborted() {
            return Err(AllocError::Aborted);
        }
        if !sleeper.is_task()
            && let Some(found) = lists.watch_of(share.number)
        {
            return Ok(Begun::Buffer(self.owned(share, found, size, by)));
        }
        let wanted = (size, alignment, 1);
        let wait = catalog.begin_wait_of(share.number, wanted, sleeper.is_task())?;
        let stream = share.number;
        let by = by.map(|by| Taker { stream, ..by });
        Ok(Begun::Waiter(self.handle.waiter(wait, size, sleeper, by)))
    }

    /// As `Handle::allocate_deadline`.
    fn allocate_deadline(
        &self,
        (size, alignment): (usize, usize),
        limit: Limit,
        cancel: Option<&Cancel>,
        by: Option<Taker>,
    ) -> Result<Owned, AllocError> {
        let share = self.share(size, alignment)?;
        let lists = self.handle.shared().catalog.lists();
        if let Some(found) = lists.take_of_cached(share.number) {
            return Ok(self.owned(share, found, size, by));
        }
        let term = limit.begin();
        let timed_out = term.timed_out(size, alignment);
        if term.is_over(cancel) {
            let taken = self.allocate_slow(share, (size, alignment), by);
            return taken.map_err(|error| match error {
                AllocError::Exhausted { .. } | AllocError::AtMaximum { .. } => {
                    self.handle.ended(cancel).unwrap_or(timed_out)
                }
                other => other,
            });
        }
        match self.begin_wait(share, (size, alignment), term.thread(), by)? {
            Begun::Buffer(buffer) => Ok(buffer),
            Begun::Waiter(waiter) => waiter.block(term.deadline, cancel)?.ok_or(timed_out),
        }
    }
}

#[cfg(feature = "async")]
impl Inner {
    /// Takes a buffer, or stands in line for one, as a task that is polled.
    pub(in crate::pool) fn begin_task(
        &self,
        size: usize,
        alignment: usize,
        by: Option<Taker>,
    ) -> Result<Begun, AllocError> {
        let share = self.share(size, alignment)?;
        self.begin_wait(share, (size, alignment), Sleeper::Task, by)
    }
}

impl<M: Memory> Stream<M> {
    /// Takes a buffer as [`allocate`](Self::allocate) does, and waits up to `limit` for one
    /// to come back, to the stream or, while it is below its maximum, to the pool. A limit
    /// too long for the clock is for ever. It stands in line as
    /// [`Pool::allocate_timeout`](crate::Pool::allocate_timeout) does, and those of one
    /// stream who wait for what it gives back have their turns as well: every half
    /// millisecond what comes back next, a buffer of its own or the right to one more of
    /// the pool's, is given to the next of them.
    ///
    /// # Errors
    ///
    /// Those of `allocate` that waiting cannot cure, at once;
    /// [`AllocError::TimedOut`], if `limit` is zero as soon as `allocate` would refuse;
    /// [`AllocError::Aborted`] after [`Pool::abort`](crate::Pool::abort);
    /// [`AllocError::TooManyWaiters`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 8).prefault(false).build()?;
    /// use std::time::Duration;
    ///
    /// let stream = pool.stream("disk 7").maximum(4096, 4096, 1).build()?;
    /// let buffer = stream.allocate_timeout(4096, 4096, Duration::from_secs(1))?;
    /// let other = stream.clone();
    /// let waiter =
    ///     std::thread::spawn(move || other.allocate_timeout(4096, 4096, Duration::MAX).is_ok());
    /// drop(buffer); // goes to the pool, and the right to another one to the waiter
    /// assert!(waiter.join().unwrap());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_timeout(
        &self,
        size: usize,
        alignment: usize,
        limit: Duration,
    ) -> Result<Buffer<M>, AllocError> {
        let taken = (self.inner).wait((size, alignment), Limit::Within(limit), None);
        taken.map(Buffer::of)
    }

    /// As [`allocate_timeout`](Self::allocate_timeout), waiting until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`allocate_timeout`](Self::allocate_timeout).
    #[track_caller]
    pub fn allocate_deadline(
        &self,
        size: usize,
        alignment: usize,
        deadline: Instant,
    ) -> Result<Buffer<M>, AllocError> {
        let taken = (self.inner).wait((size, alignment), Limit::Until(deadline), None);
        taken.map(Buffer::of)
    }

    /// As [`allocate_timeout`](Self::allocate_timeout), waiting up to `limit` or until
    /// `token`, one of the stream's pool, is cancelled: see
    /// [`Pool::allocate_cancellable`](crate::Pool::allocate_cancellable).
    ///
    /// # Errors
    ///
    /// As [`allocate_timeout`](Self::allocate_timeout); [`AllocError::Cancelled`];
    /// [`AllocError::ForeignToken`].
    #[track_caller]
    pub fn allocate_cancellable(
        &self,
        size: usize,
        alignment: usize,
        limit: Duration,
        token: &CancelToken,
    ) -> Result<Buffer<M>, AllocError> {
        let cancel = token.of(&self.inner.handle);
        let cancel = cancel.inspect_err(|error| self.inner.note_refusal(error))?;
        let limit = Limit::Within(limit);
        let taken = (self.inner).wait((size, alignment), limit, Some(cancel));
        taken.map(Buffer::of)
    }
}

impl Inner {
    #[track_caller]
    fn wait(
        &self,
        shape: (usize, usize),
        limit: Limit,
        cancel: Option<&Cancel>,
    ) -> Result<Owned, AllocError> {
        let by = self.taker();
        let taken = self.allocate_deadline(shape, limit, cancel, by);
        taken.inspect_err(|error| self.note_refusal(error))
    }
}
