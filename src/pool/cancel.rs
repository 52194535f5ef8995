//! Waits that another thread may end, one or several at a time.
//!
//! Owns: the token. Uses: `wait`, the pool's shared part. Used by: callers.

use super::wait::Limit;
use super::{Class, Handle, Pool};
use crate::buffer::{Buffer, Memory, Owned};
use crate::error::AllocError;
use crate::sync::Arc;
use crate::wait::Cancel;
use std::fmt;
use std::time::Duration;

/// Ends waits of a [`Pool`] from another thread, while other waits go on:
/// [`Pool::cancel_token`]. Clones are the same token. It counts as a handle of the pool.
///
/// Any number of waits may have one token, one after another or at once, on any number
/// of threads: `cancel` ends them all. A token that was cancelled stays cancelled.
/// Whoever wants to wait again makes another.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use hugepool::AllocError;
/// use std::time::Duration;
///
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
/// let buffer = pool.allocate(4096, 4096)?;
/// let token = pool.cancel_token();
/// let waiter = {
///     let (pool, token) = (pool.clone(), token.clone());
///     std::thread::spawn(move || pool.allocate_cancellable(4096, 4096, Duration::MAX, &token))
/// };
/// token.cancel();
/// assert_eq!(waiter.join().unwrap().unwrap_err(), AllocError::Cancelled);
/// // Waits without the token, or with another one, go on.
/// drop(buffer);
/// assert!(pool.allocate_timeout(4096, 4096, Duration::MAX).is_ok());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct CancelToken {
    inner: Arc<Inner>,
}

struct Inner {
    handle: Handle,
    /// Its address is what the waits are marked with.
    cancel: Cancel,
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("shared", &self.inner.handle)
            .field("is_cancelled", &self.is_cancelled())
            .finish()
    }
}

impl CancelToken {
    /// Ends every wait that has this token, and every one that will, with
    /// [`AllocError::Cancelled`], whenever it comes:
    ///
    /// - before the wait: that takes a buffer if one is free, and ends at once otherwise;
    /// - while somebody waits, asleep or not: he is woken;
    /// - when a buffer was given to who waits: he has it, and the wait succeeds.
    ///
    /// A second call changes nothing. Lock-free: allocates nothing, and never waits; looks
    /// at the place of everybody who waits for a buffer of the pool, and enters the kernel
    /// (`futex`) for each wait that it ends.
    pub fn cancel(&self) {
        self.inner.handle.line().cancel(&self.inner.cancel);
    }

    /// What ends the waits of it, if it is one of the pool of `handle`.
    pub(super) fn of(&self, handle: &Handle) -> Result<&Cancel, AllocError> {
        if self.inner.handle.0 != handle.0 {
            return Err(AllocError::ForeignToken);
        }
        Ok(&self.inner.cancel)
    }

    /// Whether [`cancel`](Self::cancel) was called. One load; never blocks.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// let token = pool.cancel_token();
    /// assert!(!token.is_cancelled());
    /// token.clone().cancel();
    /// assert!(token.is_cancelled());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancel.is_cancelled()
    }
}

impl Handle {
    #[track_caller]
    fn allocate_cancellable(
        &self,
        size: usize,
        alignment: usize,
        limit: Duration,
        token: &CancelToken,
    ) -> Result<Owned, AllocError> {
        let cancel = token
            .of(self)
            .inspect_err(|error| self.note_refusal(error))?;
        self.allocate_limit(size, alignment, Limit::Within(limit), Some(cancel))
    }
}

impl<M: Memory> Pool<M> {
    /// Makes a token that ends those waits of this pool that are given it. Allocates a few
    /// bytes; never blocks.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// assert!(!pool.cancel_token().is_cancelled());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        let inner = Inner {
            handle: self.handle.clone(),
            cancel: Cancel::default(),
        };
        CancelToken {
            inner: Arc::new(inner),
        }
    }

    /// As [`allocate_timeout`](Self::allocate_timeout), waiting up to `limit` or until
    /// [`token`](Self::cancel_token) is cancelled, whichever comes first. With one that is
    /// cancelled already, a buffer that is free is taken, otherwise the call fails as soon
    /// as `allocate` would.
    ///
    /// # Errors
    ///
    /// As [`allocate_timeout`](Self::allocate_timeout); [`AllocError::Cancelled`] once the
    /// token is cancelled, also if time is up, but not if the pool is
    /// [aborted](Self::abort), too; [`AllocError::ForeignToken`], at once, if the token is
    /// that of another pool.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::AllocError;
    /// use std::time::Duration;
    ///
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// let token = pool.cancel_token();
    /// token.cancel();
    /// let buffer = pool.allocate_cancellable(4096, 4096, Duration::MAX, &token)?;
    /// let refused = pool.allocate_cancellable(4096, 4096, Duration::MAX, &token);
    /// assert_eq!(refused.unwrap_err(), AllocError::Cancelled);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_cancellable(
        &self,
        size: usize,
        alignment: usize,
        limit: Duration,
        token: &CancelToken,
    ) -> Result<Buffer<M>, AllocError> {
        let taken = (self.handle).allocate_cancellable(size, alignment, limit, token);
        taken.map(Buffer::of)
    }
}

impl<M: Memory> Class<M> {
    /// As [`allocate_timeout`](Self::allocate_timeout), waiting up to `limit` or until
    /// `token`, one of this pool, is cancelled: see [`Pool::allocate_cancellable`].
    ///
    /// # Errors
    ///
    /// As [`Pool::allocate_cancellable`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// use std::time::Duration;
    ///
    /// let class = pool.class(4096, 4096)?;
    /// let token = class.pool().cancel_token();
    /// let buffer = class.allocate_cancellable(Duration::from_secs(1), &token)?;
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_cancellable(
        &self,
        limit: Duration,
        token: &CancelToken,
    ) -> Result<Buffer<M>, AllocError> {
        let shape = (self.size, self.alignment);
        let taken = (self.handle).allocate_cancellable(shape.0, shape.1, limit, token);
        taken.map(Buffer::of)
    }
}
