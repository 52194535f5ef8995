//! Which places of the line somebody stands at.
//!
//! Owns: a bit a place. Uses: `sync`, `table`. Used by: the line.
//!
//! The bits are both where a waiter finds a place of its own (the first whose
//! bit it is that sets it) and where others find the waiters, so places are
//! crowded at the front, and a look along the line costs what is there. Groups of
//! bits are counted: a group whose count is zero is passed by. A count is grown
//! before a bit of its group is set and shrunk after it is cleared, so whoever
//! knows of a waiter finds a count above zero and the bit set, until the waiter
//! leaves.

use super::MAX_WAITERS;
use crate::sync::{AtomicU64, Ordering};
use crate::table::Table;
use crossbeam_utils::CachePadded;
use std::io;

const GROUPS: usize = if cfg!(hugepool_loom) { 1 } else { 8 };
/// Places of a group.
const GROUP: usize = MAX_WAITERS / GROUPS;
/// Words of a group.
const WORDS: usize = GROUP.div_ceil(64);

/// A place cannot be used.
struct Unready;

/// The places somebody stands at.
pub struct Occupied {
    /// Changed by read-modify-writes alone. Shrunk with Release and grown with
    /// Acquire: who may take a place finds the bits cleared that made room.
    groups: CachePadded<[AtomicU64; GROUPS]>,
    /// Set with Acquire, cleared with Release: what was done at a place comes
    /// before what its next owner does. Scans read with Relaxed, here and above:
    /// what they must find happened before (see the line), or is none of their
    /// business.
    words: Table<AtomicU64>,
    /// The last place that was ever taken. Grown, with Relaxed, before the bit of a
    /// place is set: who must find the bit finds this, too.
    highest: CachePadded<AtomicU64>,
}

impl Occupied {
    /// All vacant. Fails as `mmap` does.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            groups: CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0))),
            words: Table::new(GROUPS * WORDS)?,
            highest: CachePadded::new(AtomicU64::new(0)),
        })
    }

    /// A vacant place, one of the first; the caller's until it puts it back.
    /// `None`: each group was full at a moment of its own, or `ready` said of a place that
    /// it cannot be used. That is asked before anybody can find the place.
    pub fn take(&self, ready: impl Fn(u32) -> bool) -> Option<u32> {
        for (at, count) in self.groups.iter().enumerate() {
            let more = |count| (count < GROUP as u64).then_some(count + 1);
            if count
                .fetch_update(Ordering::Acquire, Ordering::Relaxed, more)
                .is_err()
            {
                continue;
            }
            // There is one for each that was counted. Another thread may take the
            // one that we see, but then it leaves another.
            loop {
                match self.take_from(at, &ready) {
                    Ok(Some(place)) => return Some(place),
                    Ok(None) => {}
                    Err(Unready) => {
                        // Release: as in `put`. No bit was set.
                        count.fetch_sub(1, Ordering::Release);
                        return None;
                    }
                }
            }
        }
        None
    }

    fn take_from(&self, group: usize, ready: impl Fn(u32) -> bool) -> Result<Option<u32>, Unready> {
        for at in group * WORDS..(group + 1) * WORDS {
            let word = self.words.get(at);
            let mut bits = word.load(Ordering::Relaxed);
            while bits != u64::MAX {
                let bit = bits.trailing_ones();
                let place = at * 64 + bit as usize;
                if place >= MAX_WAITERS {
                    break;
                }
                if !ready(place as u32) {
                    return Err(Unready);
                }
                if place as u64 > self.highest.load(Ordering::Relaxed) {
                    self.highest.fetch_max(place as u64, Ordering::Relaxed);
                }
                bits = word.fetch_or(1 << bit, Ordering::Acquire);
                if bits >> bit & 1 == 0 {
                    return Ok(Some(place as u32));
                }
            }
        }
        Ok(None)
    }

    /// Puts back a place.
    pub fn put(&self, place: u32) {
        let (at, bit) = (place as usize / 64, place % 64);
        self.words.get(at).fetch_and(!(1 << bit), Ordering::Release);
        self.groups[at / WORDS].fetch_sub(1, Ordering::Release);
    }

    /// Whether nobody stands anywhere: found out without a look at the bits, whose memory
    /// is not touched before somebody waits.
    pub fn is_empty(&self) -> bool {
        // Relaxed: see the fields.
        self.groups
            .iter()
            .all(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// How many places are taken.
    pub fn count(&self) -> u64 {
        // Relaxed: any number that was right a moment ago will do.
        let counts = self.groups.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The places that somebody stands at, in order, from `from` on and then from the
    /// first one.
    pub fn iter_from(&self, from: u32) -> Iter<'_> {
        // Relaxed: see the fields.
        let words = self.highest.load(Ordering::Relaxed) as usize / 64 + 1;
        let (at, low) = (from as usize / 64 % words, (1_u64 << (from % 64)) - 1);
        Iter {
            occupied: self,
            words,
            at,
            bits: self.words.get(at).load(Ordering::Relaxed) & !low,
            left: words,
            low,
        }
    }

    /// Bytes of memory the bits occupy, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        self.words.resident(usize::MAX)
    }
}

/// See `Occupied::iter_from`.
pub struct Iter<'a> {
    occupied: &'a Occupied,
    /// How many words are looked at.
    words: usize,
    /// The one whose bits are looked at now.
    at: usize,
    bits: u64,
    /// Words to come: the others, and the first once more.
    left: usize,
    /// The places of the first word that come last.
    low: u64,
}

impl Iterator for Iter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.bits == 0 {
            self.left = self.left.checked_sub(1)?;
            self.at = (self.at + 1) % self.words;
            let group = &self.occupied.groups[self.at / WORDS];
            if self.left > 0 && group.load(Ordering::Relaxed) == 0 {
                // Nobody in the whole group, of which we look no further than the first
                // word, and stop there.
                let skipped = (WORDS - 1 - self.at % WORDS).min(self.left - 1);
                let skipped = skipped.min(self.words - 1 - self.at);
                self.left -= skipped;
                self.at += skipped;
                continue;
            }
            // Relaxed: see `Occupied`.
            self.bits = self.occupied.words.get(self.at).load(Ordering::Relaxed);
            if self.left == 0 {
                self.bits &= self.low;
            }
        }
        let bit = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        Some(self.at as u32 * 64 + bit)
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_taken_once_and_the_first_ones_first() {
        let occupied = Occupied::new().unwrap();
        for place in 0..MAX_WAITERS as u32 {
            assert_eq!(occupied.take(|_| true), Some(place));
        }
        assert_eq!(occupied.take(|_| true), None);
        assert_eq!(occupied.iter_from(0).count(), MAX_WAITERS);
        for place in [65_535, 8_191, 64, 63, 0] {
            occupied.put(place);
        }
        for place in [0, 63, 64, 8_191, 65_535] {
            assert_eq!(occupied.take(|_| true), Some(place));
        }
        for place in 0..MAX_WAITERS as u32 {
            occupied.put(place);
        }
        assert_eq!(occupied.iter_from(0).next(), None);
        assert_eq!(occupied.take(|_| true), Some(0));
        assert!(occupied.iter_from(0).eq([0]));
    }

    #[test]
    fn a_place_that_is_not_ready_is_found_by_nobody_and_can_be_taken_later() {
        let occupied = Occupied::new().unwrap();
        let ready = |place| place < 2;
        assert_eq!(occupied.take(ready), Some(0));
        assert_eq!(occupied.take(ready), Some(1));
        assert_eq!(occupied.take(ready), None);
        assert!(occupied.iter_from(0).eq([0, 1]));
        assert_eq!(occupied.count(), 2);
        assert_eq!(occupied.take(|_| true), Some(2));
    }

    #[test]
    fn the_places_come_round_from_any_of_them_each_once() {
        let occupied = Occupied::new().unwrap();
        for _ in 0..9000 {
            occupied.take(|_| true);
        }
        let kept = [3, 64, 70, 5000, 8191, 8192, 8999];
        (0..9000)
            .filter(|place| !kept.contains(place))
            .for_each(|place| occupied.put(place));
        for from in [0, 3, 4, 64, 65, 71, 4999, 5000, 8192, 8999, 9000, 65_535] {
            let found: Vec<u32> = occupied.iter_from(from).collect();
            let behind = kept.iter().filter(|&&place| place >= from);
            let before = kept.iter().filter(|&&place| place < from);
            let expected: Vec<u32> = behind.chain(before).copied().collect();
            if from < 9024 {
                assert_eq!(found, expected, "from {from}");
            } else {
                assert_eq!(found.len(), kept.len(), "from {from}");
            }
        }
    }
}
