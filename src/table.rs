//! Flat arrays of shared words, by index, over zeroed memory.
//!
//! Owns: the mapping behind each array. Uses: `sys::map`. Used by: everything
//! that keeps bookkeeping: records, list heads, classes, granules.
//!
//! The whole array is mapped at once and costs memory only where it is touched. Small
//! arrays may be read and written at once. Of large ones only those elements may that are
//! *open*: the others count against no limit (`sys::map`). An element is opened by the
//! thread that is about to publish its index, before it does:
//!
//! ```text
//!   growing thread                           any other thread
//!   open(elements)     mprotect
//!   publishes an index of theirs, Release ─▶ reads the index, Acquire
//!                                            touches the element: it is open
//! ```
//!
//! So nobody who has an index has to look whether its element is open. What was published
//! stays open as long as the table, for a stale index may always be looked at. Who opens
//! elements of which table:
//!
//! - Records, states and tracks: the thread that grows the pool, those of its new segment.
//!   The depot's head and the granule's chunk publish them.
//! - Batches: the same thread, as many as the classes then need. The stack of spare ones
//!   publishes them.
//! - Granules: the thread that claims some. Any address may be looked up, so all can be read
//!   from the start; the claim is the first write.
//! - Places of the line, and their chains: the first who waits there. The place's bit
//!   publishes them.
//! - Quotas: who makes a stream. The highest number publishes them.
//! - The rows of processors: who comes to one first, or grows the pool while it is there. Its
//!   bit publishes them (`cache::Visited`). The hot path may read any row.
//! - Slots of a shared pool: the thread that grows it. Any handle may be asked for, so what
//!   says which buffer has a slot can be read from the start.
//!
//! All but those of the first line are opened from the front, in steps (`open_to`), so that
//! there are few mappings.
//!
//! Under loom, whose atomics must be built one by one, elements come into being
//! when they are first touched.

/// A type for which all-zero bytes are a valid value.
///
/// # Safety
///
/// The type is made of atomics or integers alone and has no drop glue.
pub unsafe trait Zeroed: Default + Sync {}

// SAFETY: integer atomics.
unsafe impl Zeroed for crate::sync::AtomicU8 {}
// SAFETY: integer atomics.
unsafe impl Zeroed for crate::sync::AtomicU32 {}
// SAFETY: integer atomics.
unsafe impl Zeroed for crate::sync::AtomicU64 {}
// SAFETY: the padding is not part of the value.
unsafe impl<T: Zeroed> Zeroed for crossbeam_utils::CachePadded<T> {}

#[cfg(hugepool_loom)]
pub use model::Table;
#[cfg(not(hugepool_loom))]
pub use native::Table;

#[cfg(not(hugepool_loom))]
mod native {
    use super::Zeroed;
    use crate::sync::{AtomicUsize, Ordering};
    use crate::sys::limits::base_page;
    use crate::sys::map::{Advice, Mapping};
    use std::cell::UnsafeCell;
    use std::io;
    use std::ops::Range;
    use std::os::fd::BorrowedFd;
    use std::ptr::NonNull;

    /// Bytes before the first element. Buffers begin at multiples of 4096, so
    /// their first lines compete for one and the same set of a processor's cache;
    /// the first elements of tables, which are the ones in use, stay out of it.
    const LEAD: usize = 9 * 64;

    /// What `open_to` opens at once, in bytes.
    const STEP: usize = 64 << 10;

    /// A fixed-length array of `T` in a zeroed mapping of its own.
    pub struct Table<T> {
        memory: Mapping,
        first: NonNull<T>,
        len: usize,
        /// How many elements `open_to` has opened. Grown, with Release, when they are open;
        /// read with Acquire, so that who relies on it finds them so.
        ready: AtomicUsize,
        // A thread that gives back its buffer may still be inside a call that
        // was given `&Table` when another thread tears the pool down. A type
        // with an `UnsafeCell` inside is one whose references the compiler does
        // not assume to stay readable until the call returns.
        _shared: UnsafeCell<()>,
    }

    // SAFETY: a table gives out shared references only, and `T` is `Sync`.
    unsafe impl<T: Zeroed> Sync for Table<T> {}
    // SAFETY: the mapping belongs to the process, not to a thread; `T` is made
    // of integers and atomics.
    unsafe impl<T: Zeroed> Send for Table<T> {}

    impl<T: Zeroed> Table<T> {
        /// As `LEAD`, and aligned for `T`.
        const LEAD: usize = LEAD.next_multiple_of(align_of::<T>());

        /// An array of `len` zeroed elements, all open. Takes address space now and
        /// memory page by page when touched. Fails as `mmap` does.
        pub fn new(len: usize) -> io::Result<Self> {
            Self::behind(Self::LEAD, len, len, Mapping::metadata)
        }

        /// As `new`, with none open.
        pub fn closed(len: usize) -> io::Result<Self> {
            Self::behind(Self::LEAD, len, 0, |bytes| Mapping::closed(bytes, false))
        }

        /// As `closed`, from the start of a page on.
        pub fn closed_paged(len: usize) -> io::Result<Self> {
            Self::behind(0, len, 0, |bytes| Mapping::closed(bytes, false))
        }

        /// As `closed`; all may be read.
        pub fn readable(len: usize) -> io::Result<Self> {
            Self::behind(Self::LEAD, len, 0, |bytes| Mapping::closed(bytes, true))
        }

        fn behind(
            lead: usize,
            len: usize,
            ready: usize,
            map: impl FnOnce(usize) -> io::Result<Mapping>,
        ) -> io::Result<Self> {
            assert!(!std::mem::needs_drop::<T>());
            let bytes = len
                .checked_mul(size_of::<T>())
                .and_then(|bytes| bytes.checked_add(lead))
                .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
            let memory = map(bytes)?;
            // SAFETY: the mapping is longer than that.
            let first = unsafe { memory.base().add(lead) }.cast();
            Ok(Self {
                memory,
                first,
                len,
                ready: AtomicUsize::new(ready),
                _shared: UnsafeCell::new(()),
            })
        }

        fn lead(&self) -> usize {
            self.first.addr().get() - self.memory.base().addr().get()
        }

        /// The pages that `elements` touch: first byte, bytes.
        fn pages(&self, elements: &Range<usize>) -> (usize, usize) {
            assert!(elements.start <= elements.end && elements.end <= self.len);
            let page = base_page();
            let end = self.lead() + elements.end * size_of::<T>();
            let start = (self.lead() + elements.start * size_of::<T>()) / page * page;
            (start, end.next_multiple_of(page) - start)
        }

        /// Opens `elements`, and the others of their pages. Fails, with nothing changed, if
        /// the system has no memory for them.
        pub fn open(&self, elements: &Range<usize>) -> io::Result<()> {
            let (offset, bytes) = self.pages(elements);
            self.memory.open(offset, bytes)
        }

        /// Takes back the pages of `elements`, which were opened.
        ///
        /// # Safety
        ///
        /// Nobody has been given an index of an element of these pages.
        pub unsafe fn close(&self, elements: &Range<usize>) {
            let (offset, bytes) = self.pages(elements);
            // What cannot be taken back stays, which does no harm.
            // SAFETY: the caller says so.
            let _ = unsafe { self.memory.close(offset, bytes) };
        }

        /// Opens the first `count` elements, and some more. Enters the kernel only if they
        /// are not yet open; several threads may call it at once. Fails, with nothing
        /// changed, if the system has no memory for them.
        pub fn open_to(&self, count: usize) -> io::Result<()> {
            // Acquire: see `ready`.
            if self.ready.load(Ordering::Acquire) >= count.min(self.len) {
                return Ok(());
            }
            let (_, bytes) = self.pages(&(0..count.min(self.len)));
            let mut bytes = bytes.next_multiple_of(STEP);
            if bytes.saturating_add(STEP) > self.memory.len() {
                // Less than a step would be left.
                bytes = self.memory.len();
            }
            self.memory.open(0, bytes)?;
            let ready = ((bytes - self.lead()) / size_of::<T>()).min(self.len);
            // Release: see `ready`.
            self.ready.fetch_max(ready, Ordering::Release);
            Ok(())
        }

        /// How many elements there are at the front that are open.
        pub fn ready(&self) -> usize {
            // Acquire: see the field.
            self.ready.load(Ordering::Acquire)
        }

        /// Puts `bytes` of what is behind `fd`, from byte `from` on, in the place of the
        /// elements from `at` on of a table that is paged, and opens them. Children of a fork
        /// do not have them.
        ///
        /// # Safety
        ///
        /// Nobody refers to these elements. What is behind `fd` keeps its size, and
        /// nobody but this table writes it. `at` and `bytes` are whole pages.
        pub unsafe fn place(
            &self,
            at: usize,
            bytes: usize,
            fd: BorrowedFd<'_>,
            from: usize,
        ) -> io::Result<()> {
            let offset = at * size_of::<T>();
            // SAFETY: the caller says so.
            unsafe { self.memory.commit_from(offset, bytes, fd, from, true) }?;
            self.memory.advise(offset, bytes, Advice::DontFork)
        }

        /// Puts zeroed memory of the table's own back in the place of what was placed
        /// from element `at` on. It may be read.
        ///
        /// # Safety
        ///
        /// As for `place`.
        pub unsafe fn displace(&self, at: usize, bytes: usize) -> io::Result<()> {
            let offset = at * size_of::<T>();
            // SAFETY: the caller says so.
            unsafe { self.memory.renew_metadata(offset, bytes) }
        }

        /// The element at `at`.
        #[inline]
        pub fn get(&self, at: usize) -> &T {
            // One predictable comparison. The links this guards are the
            // pool's own, so it cannot fail; it is there so that no value of
            // an index can ever reach outside the table.
            assert!(at < self.len);
            // SAFETY: `at` is inside the array, whose memory is mapped,
            // aligned for `T`, zeroed at first (`Zeroed`: a valid `T`) and
            // only ever accessed as `T` through shared references.
            unsafe { self.first.add(at).as_ref() }
        }

        /// The element at `at`, of which only the caller knows that there is one.
        ///
        /// # Safety
        ///
        /// `at` is below `len()`.
        #[inline(always)]
        pub unsafe fn get_unchecked(&self, at: usize) -> &T {
            debug_assert!(at < self.len);
            // SAFETY: as in `get`; the caller says that `at` is inside.
            unsafe { self.first.add(at).as_ref() }
        }

        /// The first element.
        #[inline]
        pub fn base(&self) -> *const T {
            self.first.as_ptr()
        }

        /// How many elements there are.
        pub fn len(&self) -> usize {
            self.len
        }

        /// Bytes of the first `len` elements that occupy memory, read from the
        /// kernel.
        pub fn resident(&self, len: usize) -> io::Result<usize> {
            self.memory
                .resident(self.lead() + len.min(self.len) * size_of::<T>())
        }
    }
}

#[cfg(hugepool_loom)]
mod model {
    use super::Zeroed;
    use crate::sync::Made;
    use std::io;

    /// As the native table, with elements made on first touch.
    pub struct Table<T> {
        len: usize,
        made: Made<T>,
    }

    impl<T: Zeroed> Table<T> {
        pub fn new(len: usize) -> io::Result<Self> {
            let table = Self {
                len,
                made: Made::default(),
            };
            // Small tables at once, so that two threads may be the first to
            // touch an element. Records come into being when they are stocked,
            // before any other thread can know their index.
            if len <= 64 {
                for at in 0..len {
                    let _made = table.get(at);
                }
            }
            Ok(table)
        }

        /// As `new`: whatever is touched comes into being.
        pub fn closed(len: usize) -> io::Result<Self> {
            Self::new(len)
        }

        /// As `new`.
        pub fn readable(len: usize) -> io::Result<Self> {
            Self::new(len)
        }

        pub fn open(&self, _elements: &std::ops::Range<usize>) -> io::Result<()> {
            Ok(())
        }

        pub fn open_to(&self, _count: usize) -> io::Result<()> {
            Ok(())
        }

        pub fn ready(&self) -> usize {
            self.len
        }

        pub fn get(&self, at: usize) -> &T {
            assert!(at < self.len);
            self.made.get(at)
        }

        /// As the native one.
        ///
        /// # Safety
        ///
        /// None here: it looks.
        pub unsafe fn get_unchecked(&self, at: usize) -> &T {
            self.get(at)
        }

        pub fn len(&self) -> usize {
            self.len
        }

        pub fn resident(&self, _len: usize) -> io::Result<usize> {
            Ok(0)
        }
    }
}
