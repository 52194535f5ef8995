//! What the calls read that find a buffer, or its class, and do not know it.
//!
//! Owns: the one cache line of a pool in which all of that is, whatever it is a copy of. Uses:
//! `arena`, `class`, `record`, `rseq`, `sys`. Used by: the pool's shared part.
//!
//! Nothing of it changes once the pool is built, but for a hint. Without it each call would
//! follow a chain of owners to each table that it reads.

use crate::arena::{Guess, Map};
use crate::catalog::Taken;
use crate::class::{ClassId, Classes, Finder, Line};
use crate::record::State;
use crate::rseq;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::address::{expect, settled};
use crate::word::Index;

/// See the module. Invariant: it is part of what owns the tables, which is not moved out of
/// there. So they are there as long as anybody has a reference to it.
#[repr(C, align(64))]
pub(super) struct Front {
    finder: Finder,
    /// See `rseq::area_of_library`.
    area: isize,
    map: Map,
    states: *const State,
    /// Where the line of the pool's only class is (`Finder::line_at`), 0 if it has several.
    /// Written when one has come. Relaxed: a hint, by which nothing is decided.
    only: AtomicU32,
}

// SAFETY: what it points to is shared; the pointers do not change.
unsafe impl Send for Front {}
// SAFETY: as above.
unsafe impl Sync for Front {}

impl Front {
    /// # Safety
    ///
    /// It becomes part of what owns the tables: see the type.
    pub(super) unsafe fn new(finder: Finder, map: Map, states: *const State) -> Self {
        Self {
            finder,
            area: rseq::area_of_library(),
            map,
            states,
            only: AtomicU32::new(0),
        }
    }

    /// Says which classes the pool has.
    pub(super) fn has(&self, classes: &[ClassId]) {
        let only = match classes {
            [only] => Classes::place_of(*only),
            _ => 0,
        };
        self.only.store(only, Ordering::Relaxed);
    }

    /// Takes a buffer for `size` bytes at `alignment` from this processor's cache: one look-up
    /// and one pop. `None` leaves the request to `take_slow`.
    #[inline(always)]
    pub(super) fn take(&self, size: usize, alignment: usize) -> Option<Taken<'_>> {
        // SAFETY: see the type.
        let line = unsafe { self.finder.find(size, alignment) }?;
        let index = rseq::pop_by(self.area, line)?;
        Some(Taken { line, index })
    }

    /// As `take`, for who has the `area`.
    #[inline(always)]
    pub(super) fn take_by(&self, area: isize, size: usize, alignment: usize) -> Option<Taken<'_>> {
        // SAFETY: see the type.
        let line = unsafe { self.finder.find(size, alignment) }?;
        let index = rseq::pop_by(area, line)?;
        Some(Taken { line, index })
    }

    /// Gives back a buffer, which the caller holds, to this processor's cache. False leaves it
    /// to the caller, and to `give_slow`. `area` is what `area` gives.
    #[inline(always)]
    pub(super) fn give_by(&self, area: isize, taken: Taken<'_>) -> bool {
        rseq::push_by(area, taken.line, taken.index)
    }

    /// Where the areas of all threads are; 0 if each has one of its own. See
    /// `rseq::area_of_library`.
    #[inline(always)]
    pub(super) fn area(&self) -> isize {
        self.area
    }

    /// Where in the arena `address` is, in bytes; beyond its end for one that is not in it.
    #[inline(always)]
    pub(super) fn within(&self, address: usize) -> usize {
        self.map.within(address)
    }

    /// The only buffer that can start at `address`, `None` if none can; see `Map`.
    #[inline(always)]
    pub(super) fn guess(&self, address: usize) -> Option<Guess> {
        // SAFETY: see the type.
        unsafe { self.map.guess(address) }
    }

    /// The line of the class of a buffer that is out, which was guessed.
    ///
    /// A give stores the level that the next take loads, which may not do so before it is known
    /// where the give stores. That depends on the line, the line on the granule, and the granule
    /// on the address, which may have come from the take before. So all takes and gives of a
    /// thread that has no more to do would wait for each other. In a pool of one class none
    /// waits for a line; in others nothing is expected, which is always wrong, and always
    /// predicted.
    #[inline(always)]
    pub(super) fn line_of(&self, guess: &Guess) -> &Line {
        // SAFETY: see the type; each was read where the place of some class is, or 0.
        unsafe {
            let expected = self.finder.line_at(self.only.load(Ordering::Relaxed));
            expect(self.finder.line_at(guess.line), expected)
        }
    }

    /// What is known of a buffer of this pool as a raw pointer.
    #[inline(always)]
    pub(super) fn state(&self, index: Index) -> &State {
        // SAFETY: see the type. There is a state for each buffer that the arena could hold.
        unsafe { settled(&*self.states.add(index.raw() as usize)) }
    }
}
