//! From an address to the buffer that starts there.
//!
//! Owns: what a look-up reads of the arena itself. Uses: `granule`, `sys`. Used by: the arena;
//! `pool`, which keeps a copy where it needs no other look-up first.
//!
//! ```text
//!   address ──▶ its granule: start, reciprocal, chunk           one cache line
//!                  │  (address − start) × reciprocal = position, below the chunk's count
//!                  ▼
//!               index ──▶ its state: out? there? with this size?
//! ```
//!
//! The granule's words are written one after the other, when a segment comes, and read the
//! same way. Whoever owns a buffer that is out finds what its segment wrote: that happened
//! before he got it, and nothing is written there before it came back. Anybody else may find
//! words of two segments, and so a buffer that does not start at the address. That is all
//! right: whatever the words are, the index is one that a chunk of this granule has or had,
//! and so has a state; and the state says where its buffer starts. The class comes from the
//! same word as the index: a buffer never goes to another class's list.

use super::GRANULE;
use super::granule::Granule;
use crate::sys::address::settled;
use crate::word::Index;

/// Where an arena and its granules are.
pub struct Map {
    /// The first address.
    base: usize,
    /// Bytes.
    len: usize,
    /// Where the granule of address 0 would be.
    granules: *const Granule,
}

/// The buffer that starts at an address, if one does.
pub struct Guess {
    /// Its number.
    pub index: Index,
    /// Where the line of its class is (`Finder::line_at`).
    pub line: u32,
    /// Where in the arena the address is, in bytes.
    pub offset: usize,
}

impl Map {
    pub(super) fn new(base: usize, len: usize, granules: *const Granule) -> Self {
        let granules = granules.wrapping_sub(base / GRANULE);
        Self {
            base,
            len,
            granules,
        }
    }

    /// Where in the arena `address` is, in bytes; beyond its end for one that is not in it.
    #[inline(always)]
    pub fn within(&self, address: usize) -> usize {
        address.wrapping_sub(self.base)
    }

    /// The only buffer that can start at `address`, `None` if none can. Wait-free.
    ///
    /// Whether it does start there its own state says (`record::State::is_out_at`): nothing that
    /// is read here has to be of one moment.
    ///
    /// # Safety
    ///
    /// The arena is there.
    #[inline(always)]
    pub unsafe fn guess(&self, address: usize) -> Option<Guess> {
        let offset = self.within(address);
        if offset >= self.len {
            return None;
        }
        // SAFETY: the arena begins at a multiple of the granule, and the address is in it: so
        // this is its granule.
        let granule = unsafe { settled(&*self.granules.wrapping_add(address / GRANULE)) };
        let (index, line) = granule.buffer_at(address)?;
        Some(Guess {
            index,
            line,
            offset,
        })
    }
}
