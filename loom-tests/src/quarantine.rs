//! Memory that is freed while a model runs is used again only by its next
//! execution.
//!
//! Two reasons. loom repeats an execution up to the point where it diverges, so
//! what a program does must not depend on the addresses it gets; a
//! compare-and-swap of pointers, in which an address that came back is as good
//! as one that stayed (crossbeam-epoch registers threads that way), does depend
//! on them. And a broken twin that reads what it has freed finds it as it was,
//! so that loom can report the race, instead of another object or nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::null_mut;

/// What lies behind each block.
struct Trailer {
    next: *mut Trailer,
    block: *mut u8,
    layout: Layout,
}

thread_local! {
    /// Whether a model runs on this thread.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    /// The blocks that its current execution freed.
    static FREED: Cell<*mut Trailer> = const { Cell::new(null_mut()) };
}

/// Freed memory stays while this lives, until the next `release`. Belongs to one
/// thread: loom runs all threads of a model on the one that started it.
pub struct Quarantine(PhantomData<*mut ()>);

impl Quarantine {
    /// A model starts on this thread.
    pub fn begin() -> Self {
        RUNNING.set(true);
        Self(PhantomData)
    }

    /// An execution starts: what the last one freed may be used again.
    pub fn release() {
        let mut at = FREED.replace(null_mut());
        while !at.is_null() {
            // SAFETY: `at` is the trailer of a block that `dealloc` was given and
            // put aside; it is in the list once, and now in none.
            let (next, block, layout) = unsafe { ((*at).next, (*at).block, (*at).layout) };
            // SAFETY: `layout` is what the block was allocated with.
            unsafe { System.dealloc(block, layout) };
            at = next;
        }
    }
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        RUNNING.set(false);
        Self::release();
    }
}

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// The layout of a block and its trailer, and where the trailer is.
fn with_trailer(layout: Layout) -> Option<(Layout, usize)> {
    layout.extend(Layout::new::<Trailer>()).ok()
}

// SAFETY: blocks are the system's, with room behind them; a block is given back
// to the system once, now or later.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        with_trailer(layout).map_or(null_mut(), |(layout, _)| {
            // SAFETY: the trailer makes the size non-zero.
            unsafe { System.alloc(layout) }
        })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((layout, at)) = with_trailer(layout) else {
            return;
        };
        if RUNNING.get() {
            // SAFETY: `alloc` left room for a trailer there, aligned.
            unsafe {
                let trailer = block.add(at).cast::<Trailer>();
                let next = FREED.replace(trailer);
                trailer.write(Trailer {
                    next,
                    block,
                    layout,
                });
            }
        } else {
            // SAFETY: `alloc` gave the block with this layout.
            unsafe { System.dealloc(block, layout) };
        }
    }
}
