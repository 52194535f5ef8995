//! General allocators, called as plain objects.
//!
//! Owns [`General`], which measures anything that implements `GlobalAlloc`, and the C library's allocator in that
//! form. None of them is this program's own allocator. The arenas make them.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use super::block::Block;
use super::examine::examine;
use super::{Hand, Rival, Seat, Shape, Waits};

/// A general allocator asked for one layout over and over.
pub struct General<A> {
    allocator: Arc<A>,
    layout: Layout,
    /// Runs in a thread before it allocates.
    enter: fn(),
}

impl<A: GlobalAlloc + Send + Sync + 'static> General<A> {
    /// Tries one allocation, so that an allocator without this size or alignment says so.
    pub fn new(allocator: A, shape: Shape) -> Result<General<A>, String> {
        General::with_threads(allocator, || (), shape)
    }

    /// The same for an allocator for which a thread must have run `enter` before it allocates.
    pub fn with_threads(allocator: A, enter: fn(), shape: Shape) -> Result<General<A>, String> {
        let layout = Layout::from_size_align(shape.size, shape.alignment)
            .map_err(|error| error.to_string())?;
        let general = General {
            allocator: Arc::new(allocator),
            layout,
            enter,
        };
        examine(&general, shape, 1)?;
        Ok(general)
    }
}

impl<A: GlobalAlloc + Send + Sync + 'static> Rival for General<A> {
    type Hand = GeneralHand<A>;

    fn hand(&self, _: Seat) -> GeneralHand<A> {
        (self.enter)();
        GeneralHand {
            allocator: Arc::clone(&self.allocator),
            layout: self.layout,
        }
    }

    fn capacity(&self) -> Option<usize> {
        None
    }
}

pub struct GeneralHand<A> {
    allocator: Arc<A>,
    layout: Layout,
}

impl<A: GlobalAlloc> Hand for GeneralHand<A> {
    type Held = Block;

    #[inline(always)]
    fn take(&mut self) -> Option<Block> {
        // SAFETY: the layout's size is not zero: the options refuse sizes below 512.
        let start = NonNull::new(unsafe { self.allocator.alloc(self.layout) })?;
        // SAFETY: the allocation is ours for its whole size until `give` frees it, which ends the block first. Its
        // bytes are written before any is read.
        Some(unsafe { Block::new(start) })
    }

    #[inline(always)]
    fn give(&mut self, held: Block) -> bool {
        // SAFETY: a block comes from `take` of this very allocator with this very layout, and has just ended.
        unsafe {
            self.allocator
                .dealloc(held.into_start().as_ptr(), self.layout);
        }
        true
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Block) -> &'h mut [u8] {
        // SAFETY: `take` made the block for the layout's size.
        unsafe { held.bytes(self.layout.size()) }
    }
}

impl<A: GlobalAlloc> Waits for GeneralHand<A> {
    /// There is nothing to wait for: memory is found, or there is none.
    #[inline]
    fn wait(&mut self, _: Duration) -> Option<Block> {
        self.take()
    }
}

/// `posix_memalign` and `free`.
pub struct Glibc;

// SAFETY: `posix_memalign` returns memory of the layout's size and alignment or fails, and neither call unwinds.
unsafe impl GlobalAlloc for Glibc {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // `posix_memalign` takes no alignment below a pointer's size.
        let alignment = layout.align().max(size_of::<*mut u8>());
        let mut start = ptr::null_mut();
        // SAFETY: `start` is writable, and the alignment is a power of two and a multiple of a pointer's size.
        let failure = unsafe { libc::posix_memalign(&mut start, alignment, layout.size()) };
        if failure == 0 {
            start.cast()
        } else {
            ptr::null_mut()
        }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, start: *mut u8, _: Layout) {
        // SAFETY: the caller passes what `alloc` returned, once.
        unsafe { libc::free(start.cast()) }
    }
}
