//! What is counted about a class, and the announcements of threads that carry
//! batches of it.
//!
//! Owns: the counters, a row a processor, and the word of announcements. Uses:
//! `sync`, `table`, `word`. Used by: the other files of `lists`.

#[cfg(hugepool_loom)]
use crate::sync::note_announcement;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fault};
use crate::sys::fork;
use crate::table::Zeroed;
use crate::word::Moving;

/// Cold counts of one processor and class, and its announcements.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct Ledger {
    /// A `Moving`. Changed by `Carry` alone; see there for the orderings.
    pub(super) moving: AtomicU64,
    /// Events, for statistics alone: `Relaxed` everywhere, nothing is read
    /// through them.
    pub(super) refills: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) steals: AtomicU64,
    pub(super) climbs: AtomicU64,
    pub(super) failures: AtomicU64,
    /// The cache's activity when `adapt` looked last; Relaxed, a hint.
    pub(super) seen: AtomicU64,
    /// Misses for which there was no budget; Relaxed, a hint.
    pub(super) denied: AtomicU32,
    /// What `adapt` says of the cache since its last flush; Relaxed, a hint.
    pub(super) flushed: AtomicU32,
}

// SAFETY: integer atomics alone; all zero is nothing counted or announced.
unsafe impl Zeroed for Ledger {}

/// What is kept of a class beside its lists.
#[derive(Default)]
pub(super) struct Totals {
    /// Buffers the class has. Changed by `stock` and `retire`, read for
    /// statistics and errors; it guards nothing. Relaxed, but for what `marks` says.
    pub(super) capacity: AtomicU64,
    /// Those of them that are in no list and with no caller. Written by `note_absent` and
    /// `note_present`; see `marks` for the orderings.
    pub(super) absent: AtomicU64,
    /// The most that were ever out since the last reset (`marks`). Relaxed: nothing is read
    /// through it.
    pub(super) high_water: AtomicU64,
    /// How many buffers one processor's cache may hold at most. Relaxed: it
    /// only chooses how much moves at once.
    pub(super) most: AtomicU64,
    /// How many it may hold at most while nobody else misses them. Relaxed, as `most`.
    pub(super) reach: AtomicU64,
    /// For how many buffers it was shared out. Relaxed, as `most`.
    pub(super) shared: AtomicU64,
    /// Bytes from one buffer to the next. Relaxed: written with the same value
    /// whenever the class grows.
    pub(super) stride: AtomicU64,
}

// SAFETY: integer atomics alone; all zero is a class without buffers.
unsafe impl Zeroed for Totals {}

/// An announcement that the caller is about to hold more buffers of a class
/// than it was asked for. Ends when dropped.
///
/// Begun before the compare-and-swaps that take the surplus, each of which is a
/// Release: who sees a buffer gone sees the announcement. Ended with Release
/// after the ones that put it down: who sees it ended sees the buffers back.
pub(super) struct Carry<'a>(Option<&'a AtomicU64>);

impl<'a> Carry<'a> {
    pub(super) fn begin(ledger: &'a Ledger) -> Self {
        let moving = fault!(NoAnnounce, None, Some(&ledger.moving));
        if let Some(moving) = moving {
            // Relaxed, here and below: published by the Release of the taking swaps.
            let seen = Moving::from_word(moving.load(Ordering::Relaxed));
            if !seen.is_of(fork::forks()) {
                // Its carriers are threads of a parent. If it has changed meanwhile,
                // another thread did this.
                let none = seen.inherited(fork::forks());
                let (relaxed, none) = (Ordering::Relaxed, none.word());
                let _ = moving.compare_exchange(seen.word(), none, relaxed, relaxed);
            }
            moving.fetch_add(Moving::BEGIN, Ordering::Relaxed);
            #[cfg(hugepool_loom)]
            note_announcement(1);
        }
        Self(moving)
    }

    /// Ends an announcement that was begun with this ledger, and then forgotten.
    pub(super) fn end(ledger: &'a Ledger) {
        drop(Self(fault!(NoAnnounce, None, Some(&ledger.moving))));
    }
}

impl Drop for Carry<'_> {
    fn drop(&mut self) {
        if let Some(moving) = self.0 {
            // Release: see the type.
            moving.fetch_sub(Moving::END, Ordering::Release);
            #[cfg(hugepool_loom)]
            note_announcement(-1);
        }
    }
}

/// What is counted about one class.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Buffers the class has.
    pub capacity: u64,
    /// Free buffers in the depot.
    pub depot: u64,
    /// Free buffers in processors' caches.
    pub cached: u64,
    /// How many processors' caches may hold.
    pub cache_capacity: u64,
    /// The most that were ever out, in callers' hands or in caches.
    pub high_water: u64,
    /// Times a cache was filled with a batch from the depot.
    pub refills: u64,
    /// Times a full cache gave a batch to the depot.
    pub flushes: u64,
    /// Buffers taken from another processor's cache.
    pub steals: u64,
    /// Requests for this class that a larger one served.
    pub climbs: u64,
    /// Requests for this class that were refused.
    pub failures: u64,
}

/// Counts an event.
#[cold]
pub(super) fn count(counter: &AtomicU64) {
    // Relaxed: statistics.
    counter.fetch_add(1, Ordering::Relaxed);
}
