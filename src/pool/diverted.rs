//! Takes and gives that leave the hot path.
//!
//! Owns: what a pool does for them beside what its lists do, the wiping of what comes home
//! included. Uses: `track`, the pool's shared part. Used by: every call that takes or gives a
//! buffer.
//!
//! They leave it where the processor's cache cannot serve them. In a pool that tracks who has
//! its buffers, or wipes these, all do: the lines of its classes, which callers know and its
//! buffers, let nobody in (`cache::restartable`), as those of a stream never do. So a buffer
//! of such a pool comes by here whoever brings it home, and the hot path of the others has no
//! test for it.
//!
//! ```text
//!   Buffer, of the pool or a stream ──▶ line: not let in ──▶ give_slow ──▶ wiped ──▶ lists,
//!   free_raw, those of C and of a set ─▶ line: not let in ──▶ give_slow              caches
//! ```

use super::Shared;
use super::track::taker;
use crate::catalog::Taken;
use crate::class::{ClassId, OfStream};
use crate::error::AllocError;
use crate::lists::Given;
use crate::word::Index;
use std::panic::Location;

impl Shared {
    /// Takes a buffer past the hot path, as a raw pointer or not, for a caller at
    /// `location`.
    #[cold]
    #[inline(never)]
    pub(super) fn take_slow(
        &self,
        size: usize,
        alignment: usize,
        location: &'static Location<'static>,
        raw: bool,
    ) -> Result<Taken<'_>, AllocError> {
        if self.tracks.is_none() && !self.wipe {
            return self.catalog.take_slow(size, alignment);
        }
        let taken = match self.catalog.take_cached_again(size, alignment) {
            Some(taken) => taken,
            None => self.catalog.take_slow(size, alignment)?,
        };
        Ok(self.noted(taken, size, Some(taker(location)), raw))
    }

    /// Gives back a buffer that the hot path did not take. The caller may hold no handle:
    /// as `FreeLists::give_cached`.
    #[cold]
    #[inline(never)]
    pub(crate) fn give_slow(&self, class: ClassId, index: Index) -> Given {
        self.part_with(class, index);
        self.catalog.lists().give_slow(class, index)
    }

    /// As `give_slow`, for a buffer of `class` that counts against `stream`.
    #[cold]
    #[inline(never)]
    pub(crate) fn give_slow_of(&self, stream: OfStream, class: ClassId, index: Index) -> Given {
        self.part_with(class, index);
        self.catalog.lists().give_of(stream, index)
    }

    /// What is done with a buffer that its owner has given up, while it is still the caller's.
    fn part_with(&self, class: ClassId, index: Index) {
        self.note_given(index);
        if self.wipe {
            self.wipe(class, index);
        }
    }

    /// Zeroes what an owner of the buffer can write: its prefix zone, and all that it holds.
    ///
    /// Whoever takes it next sees that: it was done before the buffer went into a list, as
    /// what its owner wrote was. The compiler cannot leave it out, either: the memory goes on
    /// being there, and others find it by the index.
    fn wipe(&self, class: ClassId, index: Index) {
        // In a child of a fork that does not have the buffers nothing is there, or something
        // else. Nobody may touch one there, so nobody finds out.
        if self.is_left_behind() {
            return;
        }
        let (line, prefix) = (self.catalog.classes().line(class), self.prefix());
        // SAFETY: zone and data are one range of the buffer's cell (`Owned::prefix`), which is
        // mapped until the buffer is home. The caller has it alone, and no reference to it: so
        // nobody in this process accesses it. Nor does any other write it (`Builder::build`
        // refuses that).
        unsafe {
            let start = line.start(index).sub(prefix);
            start.write_bytes(0, prefix + line.size());
        }
    }
}
