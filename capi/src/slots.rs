//! Memory that is part of the library.
//!
//! Owns: its slots. Uses: nothing. Used by: `heap`, where the system has none.
//!
//! Slots of a few sizes, and a bit for each that says whether it is taken: it is claimed, and
//! given back, by one change of the word that the bit is in. None of it is touched, and so
//! none of it occupies memory, until it is needed.

use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

/// Slots of one size.
struct Kind {
    /// Bytes of each.
    size: usize,
    /// How many.
    count: usize,
}

const KINDS: [Kind; 6] = [
    Kind::new(64, 1024),
    Kind::new(512, 512),
    Kind::new(4 << 10, 128),
    Kind::new(32 << 10, 16),
    Kind::new(256 << 10, 4),
    Kind::new(4 << 20, 2),
];

impl Kind {
    const fn new(size: usize, count: usize) -> Self {
        Self { size, count }
    }

    const fn words(&self) -> usize {
        self.count.div_ceil(64)
    }
}

const fn totals() -> (usize, usize) {
    let (mut bytes, mut words, mut at) = (0, 0, 0);
    while at < KINDS.len() {
        bytes += KINDS[at].size * KINDS[at].count;
        words += KINDS[at].words();
        at += 1;
    }
    (bytes, words)
}

/// The slots of the larger kinds lie first, so that each is aligned to its size, or to 4096.
#[repr(align(4096))]
struct Bytes(UnsafeCell<[u8; totals().0]>);

// SAFETY: each slot is its owner's alone.
unsafe impl Sync for Bytes {}

static BYTES: Bytes = Bytes(UnsafeCell::new([0; totals().0]));

/// A bit for each slot, kind after kind: 1 if it is taken. Acquire to take it, Release to give
/// it back: what its last owner did with it comes first.
static TAKEN: [AtomicU64; totals().1] = [const { AtomicU64::new(0) }; totals().1];

/// The kinds, the largest first: each with its bytes from the beginning, and its words.
fn kinds() -> impl Iterator<Item = (&'static Kind, usize, &'static [AtomicU64])> {
    let (mut offset, mut words) = (0, &TAKEN[..]);
    KINDS.iter().rev().map(move |kind| {
        let (own, rest) = words.split_at(kind.words());
        let start = offset;
        offset += kind.size * kind.count;
        words = rest;
        (kind, start, own)
    })
}

/// A slot for `layout`; null if none that is large enough is left.
pub fn take(layout: Layout) -> *mut u8 {
    if layout.align() > 4096 {
        return null_mut();
    }
    let needed = layout.size().max(layout.align());
    let mut fits = [const { None }; KINDS.len()];
    for (place, kind) in fits.iter_mut().rev().zip(kinds()) {
        *place = (kind.0.size >= needed).then_some(kind);
    }
    for (kind, offset, words) in fits.into_iter().flatten() {
        for (at, word) in words.iter().enumerate() {
            let slots = (kind.count - 64 * at).min(64) as u32;
            let free = |taken: u64| taken.trailing_ones();
            let next = |taken| (free(taken) < slots).then(|| taken | 1 << free(taken));
            if let Ok(was) = word.fetch_update(Ordering::Acquire, Ordering::Relaxed, next) {
                let slot = 64 * at + free(was) as usize;
                let start = BYTES.0.get().cast::<u8>();
                // SAFETY: it lies in them.
                return unsafe { start.add(offset + slot * kind.size) };
            }
        }
    }
    null_mut()
}

/// Gives the slot at `start` back. False: there is none.
pub fn give(start: *mut u8) -> bool {
    let at = start.addr().wrapping_sub(BYTES.0.get().addr());
    for (kind, offset, words) in kinds() {
        if (offset..offset + kind.size * kind.count).contains(&at) {
            let slot = (at - offset) / kind.size;
            words[slot / 64].fetch_and(!(1 << (slot % 64)), Ordering::Release);
            return true;
        }
    }
    false
}

/// Whether there is a slot at `start`.
pub fn has(start: *mut u8) -> bool {
    start.addr().wrapping_sub(BYTES.0.get().addr()) < totals().0
}
