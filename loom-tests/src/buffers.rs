//! Who holds which buffer, and what was written there.

use hugepool::model::Index;
use loom::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

// SAFETY: loom runs one thread at a time, and reports accesses to `contents` that
// are not ordered; there is nothing in it to be torn.
unsafe impl Sync for Buffer {}

/// The buffers `1..=count` as their users see them: each has contents, and one
/// holder or none.
pub struct Buffers(Vec<Buffer>);

#[derive(Default)]
struct Buffer {
    /// The bytes. loom reports two accesses of which neither happens before the
    /// other, so a holder who does not see what the last one wrote is found.
    contents: UnsafeCell<()>,
    /// std's atomic: loom does not see it, so it orders nothing.
    held: AtomicBool,
}

impl Buffers {
    /// `count` buffers that nobody holds.
    pub fn new(count: u32) -> Self {
        Self((0..count).map(|_| Buffer::default()).collect())
    }

    /// The numbers of all buffers.
    pub fn all(&self) -> impl Iterator<Item = Index> {
        (1..=self.0.len() as u32).filter_map(Index::from_raw)
    }

    fn get(&self, index: Index) -> &Buffer {
        &self.0[index.raw() as usize - 1]
    }

    /// The caller took `index`, and writes to it.
    ///
    /// # Panics
    ///
    /// If somebody else holds it; through loom, if somebody else's writing does
    /// not happen before this.
    pub fn take(&self, index: Index) {
        let buffer = self.get(index);
        let held = buffer.held.swap(true, Ordering::Relaxed);
        assert!(!held, "{index:?} has two holders");
        buffer.contents.with_mut(|_| ());
    }

    /// The caller writes to `index` once more and is about to give it back.
    pub fn give(&self, index: Index) {
        let buffer = self.get(index);
        buffer.contents.with_mut(|_| ());
        let held = buffer.held.swap(false, Ordering::Relaxed);
        assert!(held, "{index:?} has no holder");
    }

    /// The memory of all buffers is unmapped: everything that anybody did with
    /// them must happen before this.
    pub fn unmap(&self) {
        self.0
            .iter()
            .for_each(|buffer| buffer.contents.with_mut(|_| ()));
    }

    /// How many have a holder.
    pub fn held(&self) -> usize {
        let held = |buffer: &&Buffer| buffer.held.load(Ordering::Relaxed);
        self.0.iter().filter(held).count()
    }
}
