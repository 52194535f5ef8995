//! A buffer that its owner holds by value.
//!
//! Owns: the taking and giving back of one buffer in safe Rust, the two ways to its
//! bytes: by reference (here), and by copies (`copies`), and how much of it is filled
//! (`length`). Uses: `pool`'s shared part, `volatile`. Used by: callers.

#[cfg(feature = "compio")]
mod compio;
mod copies;
#[cfg(feature = "bytes")]
mod frozen;
mod length;
mod memory;
mod owned;
#[cfg(feature = "tokio-uring")]
mod tokio_uring;

#[cfg(feature = "bytes")]
pub use frozen::Frozen;
pub use memory::{Memory, Plain, Volatile};
pub(crate) use owned::Owned;

use std::borrow::{Borrow, BorrowMut};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// An aligned buffer of a [`Pool`](crate::Pool), given back when dropped.
///
/// It dereferences to `[u8]`, at first of the size that was asked for. (If another process may
/// write it, it does not: see below.) Its contents are
/// what its last owner left there (zero at first, and always if the pool
/// [wipes](crate::Builder::wipe)). It may move between threads,
/// be dropped on any of them, and outlive every handle of its pool: the memory
/// stays until the last buffer is home.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
/// let mut buffer = pool.allocate(1000, 4096)?;
/// assert_eq!(buffer.len(), 1000);
/// assert!(buffer.as_ptr().addr() % 4096 == 0);
/// buffer.fill(7);
/// std::thread::spawn(move || assert_eq!(buffer[999], 7)).join().unwrap();
/// # Ok(()) }
/// ```
///
/// # Its length
///
/// How many bytes are filled is the buffer's own affair: [`len`](Self::len) is what was asked
/// for at first, and any number up to the [`capacity`](Self::capacity) once
/// [`set_len`](Self::set_len), [`truncate`](Self::truncate) or [`clear`](Self::clear) say so.
/// [`spare_mut`](Self::spare_mut) is the part beyond it, and [`io::Write`](std::io::Write)
/// appends to it. It is given back whole, whatever its length.
///
/// # Its address
///
/// The bytes stay where they are until the buffer is dropped, however it is moved, sent to
/// another thread or put into another value: what moves is the buffer's number, and not a
/// byte of it. So a system call that is under way, or a device, may have the address as long
/// as somebody keeps the `Buffer`. (The crate `stable_deref_trait` has a name for that. A
/// `Buffer` is two words and holds no reference to the bytes, so that to move one is no access
/// to them, either.)
///
/// # Dropping it
///
/// Dropping never blocks, enters the kernel or allocates, except that
///
/// - the last buffer of a pool whose handles are gone unmaps the pool;
/// - one that somebody waits for wakes that one: a thread by `futex(2)`, which is
///   fine in a signal handler, a task by its waker, which may do anything (a panic
///   in it is reported and ends there). If all handles go meanwhile, this drop is
///   the one that closes the pool;
/// - a thread registers itself at its first use of a pool where the C library does
///   not (glibc does from 2.35 on);
/// - one of a pool that [wipes](crate::Builder::wipe) is zeroed, which faults in what nobody
///   had touched of it.
///
/// What was written with non-temporal stores must be fenced (`sfence`) before the
/// buffer is dropped, as before any hand-over to another thread.
///
/// # Buffers that another process may write
///
/// A buffer of a pool that is shared for writing
/// ([`Access::Write`](crate::share::Access::Write)) is a `Buffer<Volatile>`: its bytes may
/// change at any time, also between a check of them and their use. It gives no reference to
/// them. [`read_at`](Self::read_at) and [`write_at`](Self::write_at) copy them, and
/// [`as_ptr`](Self::as_ptr) gives the address, for system calls. A program that knows that
/// nobody else writes them for a while says so by
/// [`assume_plain`](Self::assume_plain), which is unsafe.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use hugepool::share::Access;
///
/// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false);
/// let pool = builder.shared(Access::Write).build_volatile()?;
/// let mut buffer = pool.allocate(1000, 4096)?;
/// buffer.write_at(0, b"header")?;
/// let mut copy = [0; 6]; // checked and used; the buffer may be another by now
/// buffer.read_at(0, &mut copy)?;
/// assert_eq!(&copy, b"header");
/// # Ok(()) }
/// ```
///
/// What would be a reference does not compile:
///
/// ```compile_fail,E0614
/// # use hugepool::{Buffer, Volatile};
/// fn deref(buffer: &Buffer<Volatile>) -> &[u8] { &**buffer }
/// ```
/// ```compile_fail,E0308
/// # use hugepool::{Buffer, Volatile};
/// fn coerced(buffer: &Buffer<Volatile>) -> &[u8] { buffer }
/// ```
/// ```compile_fail,E0308
/// # use hugepool::{Buffer, Volatile};
/// fn coerced_mut(buffer: &mut Buffer<Volatile>) -> &mut [u8] { buffer }
/// ```
/// ```compile_fail,E0608
/// # use hugepool::{Buffer, Volatile};
/// fn index(buffer: &Buffer<Volatile>) -> u8 { buffer[0] }
/// ```
/// ```compile_fail,E0608
/// # use hugepool::{Buffer, Volatile};
/// fn slice(buffer: &mut Buffer<Volatile>) -> &mut [u8] { &mut buffer[..4] }
/// ```
/// ```compile_fail,E0599
/// # use hugepool::{Buffer, Volatile};
/// fn as_ref(buffer: &Buffer<Volatile>) -> &[u8] { buffer.as_ref() }
/// ```
/// ```compile_fail,E0599
/// # use hugepool::{Buffer, Volatile};
/// fn as_mut(buffer: &mut Buffer<Volatile>) -> &mut [u8] { buffer.as_mut() }
/// ```
/// ```compile_fail,E0599
/// # use hugepool::{Buffer, Volatile};
/// fn prefix(buffer: &Buffer<Volatile>) -> &[u8] { buffer.prefix() }
/// ```
/// ```compile_fail,E0599
/// # use hugepool::{Buffer, Volatile};
/// fn prefix_mut(buffer: &mut Buffer<Volatile>) -> &mut [u8] { buffer.prefix_mut() }
/// ```
/// ```compile_fail,E0599
/// # use hugepool::{Buffer, Volatile};
/// fn with_prefix(buffer: &Buffer<Volatile>) -> &[u8] { buffer.with_prefix() }
/// ```
/// ```compile_fail,E0599
/// # use hugepool::{Buffer, Volatile};
/// fn with_prefix_mut(buffer: &mut Buffer<Volatile>) -> &mut [u8] { buffer.with_prefix_mut() }
/// ```
/// ```compile_fail,E0599
/// # use hugepool::{Buffer, Volatile};
/// fn spare(buffer: &Buffer<Volatile>) -> &[u8] { buffer.spare() }
/// ```
/// ```compile_fail,E0599
/// # use hugepool::{Buffer, Volatile};
/// fn spare_mut(buffer: &mut Buffer<Volatile>) -> &mut [u8] { buffer.spare_mut() }
/// ```
/// ```compile_fail,E0277
/// # use hugepool::{Buffer, Volatile};
/// # use std::borrow::Borrow;
/// fn borrow(buffer: &Buffer<Volatile>) -> &[u8] { buffer.borrow() }
/// ```
/// ```compile_fail,E0133
/// # use hugepool::{Buffer, Volatile};
/// fn promise(buffer: Buffer<Volatile>) -> Buffer { buffer.assume_plain() }
/// ```
#[must_use = "a buffer that is dropped goes back to its pool"]
pub struct Buffer<M: Memory = Plain> {
    owned: Owned,
    memory: PhantomData<fn() -> M>,
}

impl<M: Memory> Buffer<M> {
    /// What was taken of a pool of such memory.
    #[inline(always)]
    pub(crate) fn of(owned: Owned) -> Self {
        Self {
            owned,
            memory: PhantomData,
        }
    }

    /// The buffer, whoever may write it.
    pub(crate) fn into_owned(self) -> Owned {
        self.owned
    }

    /// The same, lent.
    #[cfg(feature = "io-uring")]
    pub(crate) fn owned(&self) -> &Owned {
        &self.owned
    }

    /// Where its first byte lies: in which of the pool's [`regions`](crate::Pool::regions),
    /// and how far from its start. What an interface needs to which the memory is registered.
    /// Wait-free, also for buffers that [`request`](crate::Pool::request) added.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
    /// let buffer = pool.allocate(4096, 4096)?;
    /// let at = buffer.location();
    /// assert_eq!(pool.regions()[0].id(), at.region);
    /// assert!(at.offset < pool.regions()[0].bytes());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn location(&self) -> crate::Location {
        self.owned.location()
    }
}

impl Buffer {
    /// The prefix zone: the bytes right before the data, as many as the
    /// [`Builder`](crate::Builder::prefix_zone) was asked to keep.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        let (start, len) = self.owned.prefix();
        // SAFETY: the zone lies in the buffer's own cell, is mapped, and is
        // borrowed as long as `self`. The memory is plain: nobody else writes it.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// The prefix zone, writable.
    #[must_use]
    pub fn prefix_mut(&mut self) -> &mut [u8] {
        let (start, len) = self.owned.prefix();
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// The prefix zone and the data, [`len`](Self::len) bytes of that, as one slice: a header
    /// and its block for one write. The data, not the header, begins at a multiple of the
    /// alignment; both do if the zone is as large as a multiple of that.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let builder = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false);
    /// use std::io::Write;
    ///
    /// let pool = builder.prefix_zone(8).build()?;
    /// let mut buffer = pool.allocate(4096, 4096)?;
    /// buffer.clear();
    /// buffer.write_all(b"block")?;
    /// let len = buffer.len() as u64;
    /// buffer.prefix_mut().copy_from_slice(&len.to_le_bytes());
    ///
    /// let mut file = Vec::new();
    /// file.write_all(buffer.with_prefix())?;
    /// assert_eq!(file, b"\x05\0\0\0\0\0\0\0block");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_prefix(&self) -> &[u8] {
        let (start, len) = self.owned.with_prefix();
        // SAFETY: one range of the buffer's cell, of which each part is as those of `prefix`
        // and `deref` are. The pointer may be used for all of it: it was made of the arena's
        // base and not of a slice of either part (`Owned::prefix`).
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// The same, writable.
    #[must_use]
    pub fn with_prefix_mut(&mut self) -> &mut [u8] {
        let (start, len) = self.owned.with_prefix();
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// The same buffer, as one that another process may write: for code that is made for
    /// those.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// let mut buffer = pool.allocate(4096, 4096)?.into_volatile();
    /// buffer.write_at(0, b"header")?;
    /// # Ok(()) }
    /// ```
    pub fn into_volatile(self) -> Buffer<Volatile> {
        Buffer::of(self.owned)
    }

    #[inline(always)]
    fn data(&self) -> NonNull<u8> {
        self.owned.data()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `data` are mapped, were zeroed by the kernel
        // when they were, and belong to this value while it lives. The memory is plain:
        // nobody else writes it.
        unsafe { std::slice::from_raw_parts(self.data().as_ptr(), self.len()) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data().as_ptr(), self.len()) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Borrow<[u8]> for Buffer {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl BorrowMut<[u8]> for Buffer {
    fn borrow_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl<M: Memory> fmt::Debug for Buffer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("data", &self.owned.data())
            .field("len", &self.len())
            .finish()
    }
}
