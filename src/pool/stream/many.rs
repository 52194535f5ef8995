//! Requests of a stream for several buffers at once.
//!
//! Owns: their calls, those that wait and the one that does not. Uses: `pool::wait`, which
//! sleeps; `pool::many`. Used by: callers; `task_many`.

use super::{Inner, Share, Stream};
use crate::buffer::{Buffer, Memory};
use crate::error::AllocError;
use crate::lists::Several;
use crate::pool::CancelToken;
use crate::pool::many::{Lot, Order, Until};
use crate::pool::wait::{Begun, Limit, Sleeper};
use crate::track::Taker;
use crate::wait::Cancel;
use std::time::{Duration, Instant};

impl Inner {
    /// The share that serves `order`, if it ever can.
    fn share_for(&self, order: Order) -> Result<&Share, AllocError> {
        let share = self.share(order.size, order.alignment)?;
        let lists = self.handle.shared().catalog.lists();
        let (count, capacity) = (
            order.count,
            lists.attainable_of(&lists.limits(share.number)),
        );
        match count > capacity {
            true => Err(AllocError::NeverEnough { count, capacity }),
            false => Ok(share),
        }
    }

    /// What the stream took for `order`.
    fn lot(&self, share: &Share, several: Several, order: Order) -> Lot {
        let stream = share.number;
        let by = order.by.map(|by| Taker { stream, ..by });
        self.handle.lot(several, order.size, by)
    }

    fn allocate_many(&self, order: Order) -> Result<Lot, AllocError> {
        let share = self.share_for(order)?;
        let lists = self.handle.shared().catalog.lists();
        // It fits: there are no more buffers than indices.
        match lists.take_many_of(share.number, order.count as u32) {
            Ok(found) => Ok(self.lot(share, found, order)),
            Err(denied) => {
                let shape = (order.size, order.alignment, order.count);
                Err(self.denied(share, shape, denied))
            }
        }
    }

    /// Takes what is asked for, or stands in line for it as `sleeper`.
    fn begin_wait_for_many(
        &self,
        order: Order,
        sleeper: Sleeper,
    ) -> Result<Begun<Lot>, AllocError> {
        let share = self.share_for(order)?;
        let (size, stream) = (order.size, share.number);
        let catalog = &self.handle.shared().catalog;
        let lists = catalog.lists();
        // It fits: as above.
        if let Ok(found) = lists.take_many_of(stream, order.count as u32) {
            return Ok(Begun::Buffer(self.lot(share, found, order)));
        }
        if lists.line().is_aborted() {
            return Err(AllocError::Aborted);
        }
        let wanted = (size, order.alignment, order.count);
        let wait = catalog.begin_wait_of(stream, wanted, sleeper.is_task())?;
        let by = order.by.map(|by| Taker { stream, ..by });
        Ok(Begun::Waiter(self.handle.waiter(wait, size, sleeper, by)))
    }

    /// As `Handle::allocate_many_limit`.
    fn allocate_many_limit(
        &self,
        order: Order,
        limit: Limit,
        cancel: Option<&Cancel>,
    ) -> Result<Lot, AllocError> {
        let term = limit.begin();
        let timed_out = term.timed_out(order.size, order.alignment);
        if term.is_over(cancel) {
            return self.allocate_many(order).map_err(|error| match error {
                AllocError::Exhausted { .. } | AllocError::AtMaximum { .. } => {
                    self.handle.ended(cancel).unwrap_or(timed_out)
                }
                other => other,
            });
        }
        match self.begin_wait_for_many(order, term.thread())? {
            Begun::Buffer(buffers) => Ok(buffers),
            Begun::Waiter(waiter) => waiter.block(term.deadline, cancel)?.ok_or(timed_out),
        }
    }
}

impl Inner {
    /// What is asked for by the caller.
    #[track_caller]
    pub(in crate::pool) fn order(&self, size: usize, alignment: usize, count: usize) -> Order {
        self.handle.order(size, alignment, count)
    }

    #[track_caller]
    fn wait_for_many(
        &self,
        (size, alignment, count): (usize, usize, usize),
        limit: Limit,
        cancel: Option<&Cancel>,
    ) -> Result<Lot, AllocError> {
        let order = self.order(size, alignment, count);
        let taken = self.allocate_many_limit(order, limit, cancel);
        taken.inspect_err(|error| self.note_refusal(error))
    }

    /// Takes what is asked for, or stands in line for it, as a task that is polled.
    #[cfg(feature = "async")]
    pub(in crate::pool) fn begin_task_for_many(
        &self,
        order: Order,
    ) -> Result<Begun<Lot>, AllocError> {
        self.begin_wait_for_many(order, Sleeper::Task)
    }
}

impl<M: Memory> Stream<M> {
    /// Takes `count` buffers, or none: as [`allocate`](Self::allocate), except that the
    /// list of them is allocated. While it looks it holds what it has found, so other
    /// calls of the stream may be refused for its sake. Never waits:
    /// [`allocate_many_timeout`](Self::allocate_many_timeout) does.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate), and [`AllocError::NeverEnough`] if `count` is more
    /// than the stream's maximum, or than there are that it could ever have.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 8).prefault(false).build()?;
    /// let stream = pool.stream("disk 7").minimum(4096, 4096, 1).maximum(4096, 4096, 3).build()?;
    /// let buffers = stream.allocate_many(4096, 4096, 2)?;
    /// assert_eq!(buffers.len(), 2);
    /// assert!(stream.allocate_many(4096, 4096, 2).is_err());
    /// assert_eq!(stream.in_use(4096, 4096), 2);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
    ) -> Result<Vec<Buffer<M>>, AllocError> {
        self.take_lot((size, alignment, count), Until::Now)
            .map(Lot::into_vec)
    }

    /// As [`allocate_many`](Self::allocate_many) and those that wait, without the list. For
    /// callers in other languages.
    ///
    /// # Errors
    ///
    /// As theirs.
    #[doc(hidden)]
    #[track_caller]
    pub fn take_lot(
        &self,
        wanted: (usize, usize, usize),
        until: Until<'_>,
    ) -> Result<Lot, AllocError> {
        match until {
            Until::Now => {
                let taken =
                    (self.inner).allocate_many(self.inner.order(wanted.0, wanted.1, wanted.2));
                taken.inspect_err(|error| self.inner.note_refusal(error))
            }
            Until::Within(limit) => self.inner.wait_for_many(wanted, Limit::Within(limit), None),
            Until::Deadline(deadline) => {
                self.inner
                    .wait_for_many(wanted, Limit::Until(deadline), None)
            }
            Until::Cancelled(limit, token) => {
                let cancel = token.of(&self.inner.handle);
                let cancel = cancel.inspect_err(|error| self.inner.note_refusal(error))?;
                self.inner
                    .wait_for_many(wanted, Limit::Within(limit), Some(cancel))
            }
        }
    }

    /// Takes `count` buffers, or none, as [`allocate_many`](Self::allocate_many) does, and
    /// waits up to `limit` for them if there are too few. A limit too long for the clock is
    /// for ever.
    ///
    /// The call stands in the line of the pool, in one place, and sleeps (`futex`). Its turn
    /// among those who wait for the stream comes as for
    /// [`allocate_timeout`](Self::allocate_timeout). From then on what the stream has of its
    /// own, and what comes back of it, is kept for this call, and so is the right to as many
    /// of the pool's as it needs besides; it counts as taken. With that right it waits for so
    /// many of the pool's as [`Pool::allocate_many_timeout`](crate::Pool::allocate_many_timeout)
    /// does, and for one less whenever one of the stream's own comes back. One call at a time
    /// collects in a stream, so two never each sit on half of what both need; the oldest of
    /// those who missed their turns meanwhile collects next. If it gives up, all goes back.
    ///
    /// # Errors
    ///
    /// Those of [`allocate_many`](Self::allocate_many) that waiting cannot cure, at once
    /// ([`AllocError::NeverEnough`] also as soon as a trim, or the minimum of another stream,
    /// makes it so); [`AllocError::TimedOut`], if `limit` is zero as soon as `allocate_many`
    /// would refuse; [`AllocError::Aborted`] after [`Pool::abort`](crate::Pool::abort);
    /// [`AllocError::TooManyWaiters`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 8).prefault(false).build()?;
    /// use std::time::Duration;
    ///
    /// let stream = pool.stream("disk 7").minimum(4096, 4096, 1).maximum(4096, 4096, 3).build()?;
    /// let two = stream.allocate_many(4096, 4096, 2)?;
    /// let other = stream.clone();
    /// let waiter =
    ///     std::thread::spawn(move || other.allocate_many_timeout(4096, 4096, 3, Duration::MAX));
    /// drop(two);
    /// assert_eq!(waiter.join().unwrap()?.len(), 3);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many_timeout(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<Buffer<M>>, AllocError> {
        let wanted = (size, alignment, count);
        (self.take_lot(wanted, Until::Within(limit))).map(Lot::into_vec)
    }

    /// As [`allocate_many_timeout`](Self::allocate_many_timeout), waiting until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`allocate_many_timeout`](Self::allocate_many_timeout).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 8).prefault(false).build()?;
    /// use std::time::{Duration, Instant};
    ///
    /// let stream = pool.stream("disk 7").maximum(4096, 4096, 3).build()?;
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// assert_eq!(stream.allocate_many_deadline(4096, 4096, 3, deadline)?.len(), 3);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many_deadline(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
        deadline: Instant,
    ) -> Result<Vec<Buffer<M>>, AllocError> {
        let wanted = (size, alignment, count);
        (self.take_lot(wanted, Until::Deadline(deadline))).map(Lot::into_vec)
    }

    /// As [`allocate_many_timeout`](Self::allocate_many_timeout), waiting up to `limit` or
    /// until `token`, one of the stream's pool, is cancelled: see
    /// [`Pool::allocate_cancellable`](crate::Pool::allocate_cancellable).
    ///
    /// # Errors
    ///
    /// As [`allocate_many_timeout`](Self::allocate_many_timeout); [`AllocError::Cancelled`];
    /// [`AllocError::ForeignToken`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 8).prefault(false).build()?;
    /// use hugepool::AllocError;
    /// use std::time::Duration;
    ///
    /// let stream = pool.stream("disk 7").maximum(4096, 4096, 3).build()?;
    /// let (token, limit) = (pool.cancel_token(), Duration::MAX);
    /// token.cancel();
    /// let buffers = stream.allocate_many_cancellable(4096, 4096, 3, limit, &token)?;
    /// let refused = stream.allocate_many_cancellable(4096, 4096, 3, limit, &token);
    /// assert_eq!(refused.unwrap_err(), AllocError::Cancelled);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many_cancellable(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
        limit: Duration,
        token: &CancelToken,
    ) -> Result<Vec<Buffer<M>>, AllocError> {
        let wanted = (size, alignment, count);
        (self.take_lot(wanted, Until::Cancelled(limit, token))).map(Lot::into_vec)
    }
}
