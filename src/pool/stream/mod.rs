//! Streams: handles that allocate within a share of a pool.
//!
//! Owns: the shares of a stream, and its calls. Uses: the pool's shared part, `lists`,
//! which has the protocol (`lists::streams`). Used by: callers.

mod builder;
mod error;
mod many;
mod wait;

pub use builder::StreamBuilder;
pub use error::StreamError;

use super::Handle;
use crate::buffer::{Buffer, Memory, Owned, Plain};
use crate::catalog::Taken;
use crate::class::ClassId;
use crate::error::AllocError;
use crate::lists::{Denied, Found};
use crate::sync::Arc;
use crate::track::Taker;
use std::fmt;
use std::marker::PhantomData;

/// A stream of a [`Pool`](crate::Pool): what one backup, or one part of an engine, takes
/// its buffers by. Made by [`Pool::stream`](crate::Pool::stream). Clones are the same
/// stream. It counts as a handle of the pool.
///
/// Of each class that it has a share of
///
/// - its *minimum* is set aside for it when it is made: nobody else can take these
///   buffers, however dry the pool runs, and they count as in use;
/// - it has no more than its *maximum* at once.
///
/// A request is served by the smallest class of these that fits, and by no other: a stream
/// does not climb. It takes one of the stream's own buffers, or else one of the pool's, if
/// the maximum allows. What it takes counts until it is dropped, wherever that is, or comes
/// back as a raw pointer. One of the stream's own comes back to the stream, and any other to
/// the pool.
///
/// Who waits inside a stream is woken by what the stream gives back, and, while the stream
/// is below its maximum, by what comes back to the pool, where it stands in line as
/// everybody does. Who waits for several collects at its turn
/// ([`allocate_many_timeout`](Self::allocate_many_timeout)): what the stream has of its own,
/// and may have besides, is that call's then.
///
/// A take costs a compare-and-swap, which replaces or goes before what the pool does; so
/// does a drop. When the last clone is dropped, the stream ends: its own buffers go back to
/// the pool, those that are out as soon as they come home.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 8).prefault(false).build()?;
/// use hugepool::AllocError;
///
/// let stream = pool.stream("disk 7").maximum(4096, 4096, 2).build()?;
/// let first = stream.allocate(4096, 4096)?;
/// let second = stream.allocate(4096, 4096)?;
/// let refused = stream.allocate(4096, 4096).unwrap_err();
/// assert_eq!(refused, AllocError::AtMaximum { count: 1, maximum: 2 });
/// drop(first);
/// assert!(stream.allocate(4096, 4096).is_ok());
/// # Ok(()) }
/// ```
#[must_use = "a stream that is dropped ends, and what was set aside for it goes back"]
pub struct Stream<M: Memory = Plain> {
    pub(super) inner: Arc<Inner>,
    memory: PhantomData<fn() -> M>,
}

impl<M: Memory> Clone for Stream<M> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            memory: PhantomData,
        }
    }
}

/// A stream, whoever may write the buffers.
pub(super) struct Inner {
    /// By size, then alignment.
    shares: Vec<Share>,
    name: Box<str>,
    pub(super) handle: Handle,
}

/// What a stream may have of a class.
struct Share {
    /// That of the quota.
    number: u32,
    size: usize,
    alignment: usize,
    class: ClassId,
    minimum: usize,
    maximum: Option<usize>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let lists = self.handle.shared().catalog.lists();
        for share in &self.shares {
            lists.note_aside(share.class, share.minimum as u64, false);
            lists.close_quota(share.number);
            lists.unpromise(share.class, share.minimum as u64);
        }
    }
}

impl<M: Memory> fmt::Debug for Stream<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("name", &self.name())
            .field("shared", &self.inner.handle)
            .finish()
    }
}

impl Inner {
    /// The share that serves a request.
    #[inline]
    fn share(&self, size: usize, alignment: usize) -> Result<&Share, AllocError> {
        let serves = |share: &&Share| share.size >= size && share.alignment >= alignment;
        match self.shares.iter().find(serves) {
            Some(share) if size > 0 && alignment.is_power_of_two() => Ok(share),
            _ => Err(self.unserved(size, alignment)),
        }
    }

    #[cold]
    fn unserved(&self, size: usize, alignment: usize) -> AllocError {
        if size == 0 {
            return AllocError::ZeroSize;
        }
        if !alignment.is_power_of_two() {
            return AllocError::BadAlignment { alignment };
        }
        let lists = self.handle.shared().catalog.lists();
        let serves =
            |share: &&Share| share.alignment >= alignment && lists.capacity(share.class) > 0;
        let aligned = self.shares.iter().filter(serves);
        AllocError::NoShare {
            size,
            alignment,
            largest: aligned.map(|share| share.size).max().unwrap_or(0),
        }
    }

    /// What a caller is told who asked `share` for `count` buffers.
    fn denied(
        &self,
        share: &Share,
        (size, alignment, count): (usize, usize, usize),
        denied: Denied,
    ) -> AllocError {
        let catalog = &self.handle.shared().catalog;
        let exhausted = match denied {
            Denied::Exhausted(exhausted) => exhausted,
            Denied::AtMaximum => {
                let maximum = self.maximum(share);
                return AllocError::AtMaximum { count, maximum };
            }
        };
        match catalog.lists().capacity(share.class) {
            // The class was trimmed away.
            0 => self.unserved(size, alignment),
            _ => catalog.exhausted_of(share.class, (size, alignment), exhausted),
        }
    }

    /// A caller is told `error`. For statistics.
    #[cold]
    pub(super) fn note_refusal(&self, error: &AllocError) {
        self.handle.note_refusal(error);
    }

    /// Who takes a buffer in the caller's name; `None`: nobody asks.
    #[track_caller]
    pub(super) fn taker(&self) -> Option<Taker> {
        self.handle.shared().taker()
    }

    /// The owner of what the stream took for `size` bytes, `by` somebody.
    fn owned(
        &self,
        share: &Share,
        (line, index): Found<'_>,
        size: usize,
        by: Option<Taker>,
    ) -> Owned {
        let stream = share.number;
        let by = by.map(|by| Taker { stream, ..by });
        self.handle.owned(Taken { line, index }, size, by)
    }

    /// Buffers that `share` allows.
    fn maximum(&self, share: &Share) -> usize {
        let capacity = self.handle.shared().catalog.lists().capacity(share.class);
        share.maximum.unwrap_or(capacity as usize)
    }

    #[inline]
    #[track_caller]
    fn allocate(&self, size: usize, alignment: usize) -> Result<Owned, AllocError> {
        let share = self.share(size, alignment)?;
        let lists = self.handle.shared().catalog.lists();
        let by = self.taker();
        match lists.take_of_cached(share.number) {
            Some(found) => Ok(self.owned(share, found, size, by)),
            None => self.allocate_slow(share, (size, alignment), by),
        }
    }

    #[cold]
    fn allocate_slow(
        &self,
        share: &Share,
        (size, alignment): (usize, usize),
        by: Option<Taker>,
    ) -> Result<Owned, AllocError> {
        let lists = self.handle.shared().catalog.lists();
        match lists.take_of(share.number) {
            Ok(found) => Ok(self.owned(share, found, size, by)),
            Err(denied) => Err(self.denied(share, (size, alignment, 1), denied)),
        }
    }
}

impl<M: Memory> Stream<M> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Takes a buffer of `size` bytes whose address is a multiple of `alignment` (bytes, a
    /// power of two), within the stream's share. Lock-free; never blocks.
    ///
    /// # Errors
    ///
    /// [`AllocError::ZeroSize`], [`AllocError::BadAlignment`]; [`AllocError::NoShare`] if
    /// the stream has no share of a class that fits; [`AllocError::AtMaximum`] if at one
    /// moment within the call it had as many as it may, those included that other calls
    /// were about to take, or one that waits for several was to have;
    /// [`AllocError::Exhausted`] if at one moment none of its own was
    /// free, nor any of the pool's: see [`Pool::allocate`](crate::Pool::allocate).
    #[inline]
    #[track_caller]
    pub fn allocate(&self, size: usize, alignment: usize) -> Result<Buffer<M>, AllocError> {
        match self.inner.allocate(size, alignment) {
            Ok(taken) => Ok(Buffer::of(taken)),
            Err(error) => {
                self.inner.note_refusal(&error);
                Err(error)
            }
        }
    }

    /// How many buffers the stream has of the class that serves `size` bytes at
    /// `alignment`, those included that its calls are about to take, or have a right to and
    /// wait for. (A call that collects several may keep others from more.) 0 if it
    /// has no share of one. Exact while nobody of the stream takes or gives. Lock-free.
    #[must_use]
    pub fn in_use(&self, size: usize, alignment: usize) -> usize {
        let lists = self.inner.handle.shared().catalog.lists();
        let share = self.inner.share(size, alignment);
        share.map_or(0, |share| lists.held(share.number) as usize)
    }
}
