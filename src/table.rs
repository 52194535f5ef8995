//! Flat arrays of shared words, by index, over zeroed memory.
//!
//! Owns: the mapping behind each array. Uses: `sys::map`. Used by: everything
//! that keeps bookkeeping: records, list heads, classes, granules.
//!
//! The whole array is mapped at once and costs memory only where it is touched.
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
    use crate::sys::map::{Advice, Mapping};
    use std::cell::UnsafeCell;
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::ptr::NonNull;

    /// Bytes before the first element. Buffers begin at multiples of 4096, so
    /// their first lines compete for one and the same set of a processor's cache;
    /// the first elements of tables, which are the ones in use, stay out of it.
    const LEAD: usize = 9 * 64;

    /// A fixed-length array of `T` in a zeroed mapping of its own.
    pub struct Table<T> {
        memory: Mapping,
        first: NonNull<T>,
        len: usize,
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

        /// An array of `len` zeroed elements. Takes address space now and
        /// memory page by page when touched. Fails as `mmap` does.
        pub fn new(len: usize) -> io::Result<Self> {
            Self::behind(Self::LEAD, len)
        }

        /// As `new`, from the start of a page on.
        pub fn paged(len: usize) -> io::Result<Self> {
            Self::behind(0, len)
        }

        fn behind(lead: usize, len: usize) -> io::Result<Self> {
            assert!(!std::mem::needs_drop::<T>());
            let bytes = len
                .checked_mul(size_of::<T>())
                .and_then(|bytes| bytes.checked_add(lead))
                .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
            let memory = Mapping::metadata(bytes)?;
            // SAFETY: the mapping is longer than that.
            let first = unsafe { memory.base().add(lead) }.cast();
            Ok(Self {
                memory,
                first,
                len,
                _shared: UnsafeCell::new(()),
            })
        }

        /// Puts `bytes` of what is behind `fd`, from byte `from` on, in the place of the
        /// elements from `at` on of a table that is `paged`. Children of a fork do not
        /// have them.
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
        /// from element `at` on.
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
            let lead = self.first.addr().get() - self.memory.base().addr().get();
            self.memory
                .resident(lead + len.min(self.len) * size_of::<T>())
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
