//! Who holds each buffer, kept outside of the buffers: a word for each, which a
//! holder sets from nobody to itself when it takes the buffer and back before it
//! gives it. The buffer's bytes carry its holder's stamp meanwhile, and in
//! between the farewell of the last holder, so that what is written to a buffer
//! before it is given must be there for whoever takes it next.
//!
//! Nothing here panics or allocates while buffers come and go: signal handlers
//! use it. What is wrong is noted, and told by `check`.

use hugepool::Pool;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Nobody.
const NOBODY: u64 = 0;

/// What is known of one buffer, on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Entry {
    holder: AtomicU64,
    /// What its last holder left in it. Relaxed: the holder word orders it.
    farewell: AtomicU64,
}

/// What can be wrong with a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Wrong {
    /// It is not one of the pool's.
    Foreign = 1,
    /// It was taken although somebody held it.
    Doubled,
    /// It was taken without what its last holder had written to it.
    Unseen,
    /// Its holder's stamp is gone.
    Overwritten,
    /// It was given by somebody who did not hold it.
    NotHeld,
    /// A request was refused although a buffer was free.
    Stranded,
}

/// The holders of the buffers of a pool whose buffers all have one stride.
pub struct Owners {
    base: usize,
    stride: usize,
    entries: Vec<Entry>,
    /// How much was wrong, and the first of it: what, which buffer, what was
    /// found, who found it.
    wrongs: AtomicU64,
    first: [AtomicU64; 4],
}

impl Owners {
    /// Of the buffers that `pool`, of a single class, has and will have.
    pub fn of(pool: &Pool) -> Self {
        let stats = pool.stats();
        let stride = stats.classes[0].stride;
        let base = stats.segments[0].address;
        let count = stats.address_space / stride;
        Self {
            base,
            stride,
            entries: std::iter::repeat_with(Entry::default).take(count).collect(),
            wrongs: AtomicU64::new(0),
            first: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Notes that something is wrong.
    pub fn note(&self, what: Wrong, index: usize, found: u64, who: u64) {
        if self.wrongs.fetch_add(1, Ordering::AcqRel) == 0 {
            let words = [what as u64, index as u64, found, who];
            for (at, word) in self.first.iter().zip(words) {
                at.store(word, Ordering::Release);
            }
        }
    }

    /// Whether something was.
    pub fn is_wrong(&self) -> bool {
        self.wrongs.load(Ordering::Acquire) > 0
    }

    /// Fails if something was.
    #[track_caller]
    pub fn check(&self) {
        assert!(!self.is_wrong(), "{self:?}");
    }

    fn entry(&self, start: *mut u8) -> Option<(usize, &Entry)> {
        let index = start.addr().checked_sub(self.base)? / self.stride;
        Some((index, self.entries.get(index)?))
    }

    /// The places of a buffer that carry stamps: its first and last word and one
    /// in the middle.
    fn places(&self, start: *mut u8) -> [*mut u64; 3] {
        let last = self.stride - size_of::<u64>();
        [0, (last / 2) & !7, last].map(|at| start.wrapping_add(at).cast())
    }

    fn write(&self, start: *mut u8, word: u64) {
        for place in self.places(start) {
            // SAFETY: in a buffer that the caller holds, or believes to hold, and
            // which is mapped in any case.
            unsafe { place.write_volatile(word) };
        }
    }

    fn reads(&self, start: *mut u8, word: u64) -> Result<(), u64> {
        for place in self.places(start) {
            // SAFETY: as in `write`.
            let found = unsafe { place.read_volatile() };
            if found != word {
                return Err(found);
            }
        }
        Ok(())
    }

    /// `who` has taken the buffer at `start`.
    pub fn taken(&self, start: *mut u8, who: u64) {
        let Some((index, entry)) = self.entry(start) else {
            return self.note(Wrong::Foreign, start.addr(), 0, who);
        };
        // AcqRel: see `farewell`. (The pool must order the buffer's bytes itself,
        // but on this machine a read-modify-write orders them too.)
        let held = entry
            .holder
            .compare_exchange(NOBODY, who, Ordering::AcqRel, Ordering::Acquire);
        if let Err(other) = held {
            return self.note(Wrong::Doubled, index, other, who);
        }
        let farewell = entry.farewell.load(Ordering::Relaxed);
        if let Err(found) = self.reads(start, farewell)
            // New memory, after a segment was trimmed and another one grown.
            && found != 0
        {
            self.note(Wrong::Unseen, index, found, who);
        }
        self.write(start, who);
    }

    /// `who` is about to give back the buffer at `start`.
    pub fn given(&self, start: *mut u8, who: u64, random: u64) {
        let Some((index, entry)) = self.entry(start) else {
            return self.note(Wrong::Foreign, start.addr(), 0, who);
        };
        if let Err(found) = self.reads(start, who) {
            self.note(Wrong::Overwritten, index, found, who);
        }
        let farewell = random | 1 << 63;
        entry.farewell.store(farewell, Ordering::Relaxed);
        self.write(start, farewell);
        let freed = entry
            .holder
            .compare_exchange(who, NOBODY, Ordering::AcqRel, Ordering::Acquire);
        if let Err(other) = freed {
            self.note(Wrong::NotHeld, index, other, who);
        }
    }

    /// Buffers that somebody holds.
    pub fn held(&self) -> usize {
        let held = |entry: &&Entry| entry.holder.load(Ordering::Acquire) != NOBODY;
        self.entries.iter().filter(held).count()
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [what, index, found, who] = self.first.each_ref().map(|w| w.load(Ordering::Acquire));
        let what = match what {
            1 => Wrong::Foreign,
            2 => Wrong::Doubled,
            3 => Wrong::Unseen,
            4 => Wrong::Overwritten,
            5 => Wrong::NotHeld,
            6 => Wrong::Stranded,
            _ => return f.write_str("nothing is wrong"),
        };
        let wrongs = self.wrongs.load(Ordering::Acquire);
        write!(
            f,
            "{what:?}: buffer {index}, {found:#x} found by {who:#x}; {wrongs} such wrongs in all"
        )
    }
}
