//! Requests for several buffers at once.
//!
//! Owns: their calls, those that wait and the one that does not, and what they took until it
//! has owners. Uses: the pool's shared part, `wait`. Used by: callers, `task_many`, `stream`.

use super::wait::{Begun, Goods, Limit, Sleeper};
use super::{CancelToken, Class, Handle, Pool};
use crate::buffer::{Buffer, Memory, Owned};
use crate::catalog::Taken;
use crate::error::AllocError;
use crate::lists::{Several, Wait};
use crate::track::Taker;
use crate::wait::Cancel;
use std::fmt;
use std::time::{Duration, Instant};

/// Several buffers that a request took, each of which gets its owner when it is asked for.
/// The others go back when this is dropped. Allocates nothing.
#[doc(hidden)]
#[must_use = "buffers whose lot is dropped go back to their pool"]
pub struct Lot {
    handle: Handle,
    several: Several,
    size: usize,
    by: Option<Taker>,
}

impl Lot {
    pub(super) fn into_vec<M: Memory>(mut self) -> Vec<Buffer<M>> {
        let mut all = Vec::with_capacity(self.several.len());
        all.extend(std::iter::from_fn(|| self.next_buffer()));
        all
    }

    /// The next of them.
    pub fn next_buffer<M: Memory>(&mut self) -> Option<Buffer<M>> {
        self.next_owned().map(Buffer::of)
    }

    fn next_owned(&mut self) -> Option<Owned> {
        let lists = self.handle.shared().catalog.lists();
        let (line, index) = lists.next_of(&mut self.several)?;
        Some(self.handle.owned(Taken { line, index }, self.size, self.by))
    }
}

impl Drop for Lot {
    fn drop(&mut self) {
        while let Some(owned) = self.next_owned() {
            drop(owned);
        }
    }
}

impl fmt::Debug for Lot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.several.len();
        f.debug_struct("Lot").field("len", &len).finish()
    }
}

impl Goods for Lot {
    fn receive(handle: &Handle, wait: Wait, size: usize, by: Option<Taker>) -> Option<Self> {
        let lists = handle.shared().catalog.lists();
        let several = lists.end_wait_for_several(wait)?;
        Some(handle.lot(several, size, by))
    }
}

/// How long a request for several waits. For callers in other languages.
#[doc(hidden)]
pub enum Until<'a> {
    /// Not at all.
    Now,
    /// So long.
    Within(Duration),
    /// Until then.
    Deadline(Instant),
    /// So long, or until it is cancelled.
    Cancelled(Duration, &'a CancelToken),
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) size: usize,
    pub(super) alignment: usize,
    pub(super) count: usize,
    /// Who asks, if somebody wants to know.
    pub(super) by: Option<Taker>,
}

impl Handle {
    /// What is asked for by the caller.
    #[track_caller]
    pub(super) fn order(&self, size: usize, alignment: usize, count: usize) -> Order {
        let by = self.shared().taker();
        Order {
            size,
            alignment,
            count,
            by,
        }
    }

    /// What was taken `by` somebody, for `size` bytes each.
    pub(super) fn lot(&self, several: Several, size: usize, by: Option<Taker>) -> Lot {
        Lot {
            handle: self.clone(),
            several,
            size,
            by,
        }
    }

    fn allocate_many(&self, order: Order) -> Result<Lot, AllocError> {
        let Order {
            size,
            alignment,
            count,
            ..
        } = order;
        let taken = self.shared().catalog.take_many(size, alignment, count)?;
        Ok(self.lot(taken, size, order.by))
    }

    /// Takes what is asked for, or stands in line for it as `sleeper`.
    pub(super) fn begin_wait_for_many(
        &self,
        order: Order,
        sleeper: Sleeper,
    ) -> Result<Begun<Lot>, AllocError> {
        let Order {
            size,
            alignment,
            count,
            by,
        } = order;
        let catalog = &self.shared().catalog;
        if let Some(taken) = catalog.try_take_many(size, alignment, count)? {
            return Ok(Begun::Buffer(self.lot(taken, size, by)));
        }
        if self.line().is_aborted() {
            return Err(AllocError::Aborted);
        }
        Ok(Begun::Waiter(self.stand(
            (size, alignment, count),
            sleeper,
            by,
        )?))
    }

    /// As `allocate_limit`, for several.
    fn allocate_many_limit(
        &self,
        order: Order,
        limit: Limit,
        cancel: Option<&Cancel>,
    ) -> Result<Lot, AllocError> {
        let (size, alignment) = (order.size, order.alignment);
        let term = limit.begin();
        let timed_out = term.timed_out(size, alignment);
        if term.is_over(cancel) {
            return match self.allocate_many(order) {
                Err(AllocError::Exhausted { .. }) => Err(self.ended(cancel).unwrap_or(timed_out)),
                other => other,
            };
        }
        match self.begin_wait_for_many(order, term.thread())? {
            Begun::Buffer(buffers) => Ok(buffers),
            Begun::Waiter(waiter) => waiter.block(term.deadline, cancel)?.ok_or(timed_out),
        }
    }

    /// Takes what is asked for at once, and counts it if it is refused.
    fn allocate_many_now(&self, order: Order) -> Result<Lot, AllocError> {
        let taken = self.allocate_many(order);
        taken.inspect_err(|error| self.note_refusal(error))
    }

    /// Waits up to `limit`, and counts it if it is refused.
    fn allocate_many_waiting(&self, order: Order, limit: Limit) -> Result<Lot, AllocError> {
        let taken = self.allocate_many_limit(order, limit, None);
        taken.inspect_err(|error| self.note_refusal(error))
    }

    /// As above, or until `token` is cancelled.
    fn allocate_many_cancellable(
        &self,
        order: Order,
        limit: Duration,
        token: &CancelToken,
    ) -> Result<Lot, AllocError> {
        let cancel = token.of(self);
        let taken = cancel
            .and_then(|cancel| self.allocate_many_limit(order, Limit::Within(limit), Some(cancel)));
        taken.inspect_err(|error| self.note_refusal(error))
    }

    fn take_lot(&self, order: Order, until: Until<'_>) -> Result<Lot, AllocError> {
        match until {
            Until::Now => self.allocate_many_now(order),
            Until::Within(limit) => self.allocate_many_waiting(order, Limit::Within(limit)),
            Until::Deadline(deadline) => self.allocate_many_waiting(order, Limit::Until(deadline)),
            Until::Cancelled(limit, token) => self.allocate_many_cancellable(order, limit, token),
        }
    }
}

impl<M: Memory> Pool<M> {
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
        (size, alignment, count): (usize, usize, usize),
        until: Until<'_>,
    ) -> Result<Lot, AllocError> {
        let order = self.handle.order(size, alignment, count);
        self.handle.take_lot(order, until)
    }

    /// Takes `count` buffers, or none. As [`allocate`](Self::allocate), except
    /// that the list of them is allocated.
    ///
    /// Two callers that compete for the same buffers cannot each keep half of
    /// what both need: one of them gives back what it has. No buffers are asked
    /// for with a `count` of 0, and none are given. Never waits:
    /// [`allocate_many_timeout`](Self::allocate_many_timeout) does.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate), and [`AllocError::NeverEnough`] if
    /// `count` is more than there are.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let buffers = pool.allocate_many(4096, 4096, 3)?;
    /// assert_eq!(buffers.len(), 3);
    /// assert!(pool.allocate_many(4096, 4096, 2).is_err());
    /// assert_eq!(pool.available(4096, 4096), 1);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
    ) -> Result<Vec<Buffer<M>>, AllocError> {
        let order = self.handle.order(size, alignment, count);
        self.handle.allocate_many_now(order).map(Lot::into_vec)
    }

    /// Takes `count` buffers, or none, as [`allocate_many`](Self::allocate_many) does, and
    /// waits up to `limit` for them if there are too few. A limit too long for the clock is
    /// for ever.
    ///
    /// The call stands in the same line as those who wait for one buffer
    /// ([`allocate_timeout`](Self::allocate_timeout)), in one place, and sleeps (`futex`).
    /// When it is its turn, it collects: each buffer that fits and comes back is kept for it
    /// until it has `count`, and then it is woken. Others wait behind it meanwhile. With n
    /// others in the line it begins to collect at the (n + 1)th turn at the latest, and has
    /// its buffers when `count` that fit have come back, or lain free, after that. (That
    /// is so among requests that one class serves. If its turn goes by because buffers of
    /// another class are being collected, the oldest of those who missed theirs collects next.)
    /// One at a time collects in a pool, so two callers never each sit on half of what
    /// both need. What is kept for it counts as taken; if it gives up, all goes back.
    ///
    /// A caller that holds buffers while it waits for others may never be served, and nor may
    /// another one: if each holds what the other waits for. Ask for all at once, or set a
    /// limit.
    ///
    /// # Errors
    ///
    /// Those of [`allocate_many`](Self::allocate_many) that waiting cannot cure, at once
    /// ([`AllocError::NeverEnough`] also as soon as a trim makes it so);
    /// [`AllocError::TimedOut`], if `limit` is zero as soon as `allocate_many` would refuse;
    /// [`AllocError::Aborted`] after [`abort`](Self::abort);
    /// [`AllocError::TooManyWaiters`] as for [`allocate_timeout`](Self::allocate_timeout).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::AllocError;
    /// use std::time::Duration;
    ///
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 8).prefault(false).build()?;
    /// let five = pool.allocate_many(4096, 4096, 5)?;
    /// let refused = pool.allocate_many_timeout(4096, 4096, 5, Duration::from_millis(1));
    /// assert!(matches!(refused, Err(AllocError::TimedOut { .. })));
    /// assert_eq!(pool.available(4096, 4096), 3);
    /// let waiter = {
    ///     let pool = pool.clone();
    ///     std::thread::spawn(move || pool.allocate_many_timeout(4096, 4096, 5, Duration::MAX))
    /// };
    /// drop(five); // two of them go to the waiter, who has the other three
    /// assert_eq!(waiter.join().unwrap()?.len(), 5);
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
        let order = self.handle.order(size, alignment, count);
        (self
            .handle
            .allocate_many_waiting(order, Limit::Within(limit)))
        .map(Lot::into_vec)
    }

    /// As [`allocate_many_timeout`](Self::allocate_many_timeout), waiting until `deadline`.
    /// One in the past: buffers that are free are taken, otherwise the call fails as soon as
    /// [`allocate_many`](Self::allocate_many) would.
    ///
    /// # Errors
    ///
    /// As [`allocate_many_timeout`](Self::allocate_many_timeout).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// use std::time::{Duration, Instant};
    ///
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// let buffers = pool.allocate_many_deadline(4096, 4096, 3, deadline)?;
    /// assert!(pool.allocate_many_deadline(4096, 4096, 3, deadline).is_err());
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
        let order = self.handle.order(size, alignment, count);
        (self
            .handle
            .allocate_many_waiting(order, Limit::Until(deadline)))
        .map(Lot::into_vec)
    }

    /// As [`allocate_many_timeout`](Self::allocate_many_timeout), waiting up to `limit` or
    /// until [`token`](Self::cancel_token) is cancelled, whichever comes first. With one that
    /// is cancelled already, buffers that are free are taken, otherwise the call fails as
    /// soon as [`allocate_many`](Self::allocate_many) would.
    ///
    /// # Errors
    ///
    /// As [`allocate_many_timeout`](Self::allocate_many_timeout), and
    /// [`AllocError::Cancelled`] and [`AllocError::ForeignToken`] as for
    /// [`allocate_cancellable`](Self::allocate_cancellable).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::AllocError;
    /// use std::time::Duration;
    ///
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let token = pool.cancel_token();
    /// token.cancel();
    /// let limit = Duration::MAX;
    /// let buffers = pool.allocate_many_cancellable(4096, 4096, 3, limit, &token)?;
    /// let refused = pool.allocate_many_cancellable(4096, 4096, 3, limit, &token);
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
        let order = self.handle.order(size, alignment, count);
        let taken = self.handle.allocate_many_cancellable(order, limit, token);
        taken.map(Lot::into_vec)
    }
}

impl<M: Memory> Class<M> {
    #[track_caller]
    pub(super) fn order(&self, count: usize) -> Order {
        self.handle.order(self.size, self.alignment, count)
    }

    /// Takes `count` buffers of [`size`](Self::size) bytes, or none: see
    /// [`Pool::allocate_many`].
    ///
    /// # Errors
    ///
    /// As [`Pool::allocate_many`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let class = pool.class(4096, 4096)?;
    /// let buffers = class.allocate_many(3)?;
    /// assert!(class.allocate_many(2).is_err());
    /// assert_eq!(class.available(), 1);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many(&self, count: usize) -> Result<Vec<Buffer<M>>, AllocError> {
        (self.handle.allocate_many_now(self.order(count))).map(Lot::into_vec)
    }

    /// Takes `count` buffers of [`size`](Self::size) bytes, or none, and waits up to `limit`
    /// for them: see [`Pool::allocate_many_timeout`].
    ///
    /// # Errors
    ///
    /// As [`Pool::allocate_many_timeout`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// use std::time::Duration;
    ///
    /// let class = pool.class(4096, 4096)?;
    /// let buffers = class.allocate_many_timeout(3, Duration::from_secs(1))?;
    /// assert!(class.allocate_many_timeout(3, Duration::from_millis(1)).is_err());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many_timeout(
        &self,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<Buffer<M>>, AllocError> {
        let limit = Limit::Within(limit);
        let taken = (self.handle).allocate_many_waiting(self.order(count), limit);
        taken.map(Lot::into_vec)
    }

    /// As [`allocate_many_timeout`](Self::allocate_many_timeout), waiting until `deadline`:
    /// see [`Pool::allocate_many_deadline`].
    ///
    /// # Errors
    ///
    /// As [`Pool::allocate_many_timeout`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// use std::time::{Duration, Instant};
    ///
    /// let class = pool.class(4096, 4096)?;
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// assert_eq!(class.allocate_many_deadline(3, deadline)?.len(), 3);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many_deadline(
        &self,
        count: usize,
        deadline: Instant,
    ) -> Result<Vec<Buffer<M>>, AllocError> {
        let limit = Limit::Until(deadline);
        let taken = (self.handle).allocate_many_waiting(self.order(count), limit);
        taken.map(Lot::into_vec)
    }

    /// As [`allocate_many_timeout`](Self::allocate_many_timeout), waiting up to `limit` or
    /// until `token`, one of this pool, is cancelled: see [`Pool::allocate_many_cancellable`].
    ///
    /// # Errors
    ///
    /// As [`Pool::allocate_many_cancellable`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// use std::time::Duration;
    ///
    /// let class = pool.class(4096, 4096)?;
    /// let token = class.pool().cancel_token();
    /// let buffers = class.allocate_many_cancellable(3, Duration::from_secs(1), &token)?;
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_many_cancellable(
        &self,
        count: usize,
        limit: Duration,
        token: &CancelToken,
    ) -> Result<Vec<Buffer<M>>, AllocError> {
        let order = self.order(count);
        let taken = self.handle.allocate_many_cancellable(order, limit, token);
        taken.map(Lot::into_vec)
    }
}
