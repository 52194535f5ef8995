//! A fresh mapping for each buffer.
//!
//! Owns the `mmap` rival: one `mmap` and one `munmap` an operation, with the page faults in between. Uses libc;
//! the arenas make it.

use std::ptr::{self, NonNull};
use std::time::Duration;

use super::block::Block;
use super::{Hand, Rival, Seat, Shape, Waits};
use crate::units;

/// Maps and unmaps each buffer.
#[derive(Clone, Copy)]
pub struct Mmap {
    size: usize,
    /// Bytes mapped for one buffer: the size, and an alignment more where that is above a page.
    mapped: usize,
    alignment: usize,
}

impl Mmap {
    pub fn new(shape: Shape) -> Result<Mmap, String> {
        let slack = if shape.alignment > page() {
            shape.alignment
        } else {
            0
        };
        let mapped = shape.size.checked_add(slack).ok_or_else(|| {
            let [size, alignment] = units::together([shape.size, shape.alignment]);
            format!("{size} at alignment {alignment} is more than can be mapped")
        })?;
        Ok(Mmap {
            size: shape.size,
            mapped,
            alignment: shape.alignment,
        })
    }
}

impl Rival for Mmap {
    type Hand = Mmap;

    fn hand(&self, _: Seat) -> Mmap {
        *self
    }

    fn capacity(&self) -> Option<usize> {
        None
    }
}

/// A buffer inside a mapping of its own.
pub struct Held {
    block: Block,
    /// Bytes from the mapping's start to the buffer.
    lead: usize,
}

impl Hand for Mmap {
    type Held = Held;

    #[inline(always)]
    fn take(&mut self) -> Option<Held> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory that is in use.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                self.mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return None;
        }
        let start = NonNull::new(start.cast::<u8>())?;
        let lead = start.as_ptr().addr().next_multiple_of(self.alignment) - start.as_ptr().addr();
        // SAFETY: `lead` is below the alignment, or 0 where a page is aligned enough, so `size` bytes from there lie
        // inside the mapping; it is zeroed, and nobody else knows of it.
        let block = unsafe { Block::new(start.add(lead)) };
        Some(Held { block, lead })
    }

    #[inline(always)]
    fn give(&mut self, held: Held) -> bool {
        let Held { block, lead } = held;
        // SAFETY: the block's start is `lead` bytes into a mapping of `mapped` bytes made by `take`, which nothing
        // refers to now that the block has ended.
        unsafe {
            let start = block.into_start().sub(lead);
            libc::munmap(start.as_ptr().cast(), self.mapped) == 0
        }
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Held) -> &'h mut [u8] {
        // SAFETY: `take` made the block for `size` bytes.
        unsafe { held.block.bytes(self.size) }
    }
}

impl Waits for Mmap {
    /// There is nothing to wait for: the kernel maps, or refuses.
    #[inline]
    fn wait(&mut self, _: Duration) -> Option<Held> {
        self.take()
    }
}

fn page() -> usize {
    // SAFETY: `sysconf` takes no pointer and has no precondition.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
