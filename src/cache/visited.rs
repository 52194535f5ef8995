//! Which processors a pool was used on.
//!
//! Owns: two bits a processor. Uses: `sync`, `table`. Used by: the kinds of caches and `lists`,
//! which keep a row of words for every processor that there may be, and look only at the rows
//! of those in use.
//!
//! ```text
//!   row of a processor:   closed ──────────▶ open ──────────────▶ in use
//!                         nobody writes it   nobody looks at it   holds buffers, counts
//! ```
//!
//! Some systems say that there may be thousands of processors where two exist. A thread that
//! comes past the hot path on a processor that is not in use opens its row, unless it is open,
//! says that the processor is in use, and only then uses the row; it stays so. On the hot path
//! nobody looks at these bits: a slot that was never given room diverts every push, and has
//! nothing for a pop.
//!
//! Who sweeps the lists looks at the rows in use, and has seen of any other that it was empty at
//! that moment. What the proofs of `lists` need of a row they have of its bit, too, since it was
//! set before:
//!
//! - Whoever sees what a thread did later (took a buffer, shut a list), sees the bits that this
//!   thread saw: a word's values are seen in their order (coherence). So the next sweep does not
//!   miss the row.
//! - A portable cache is pushed to on the hot path by threads that look at its room alone. It
//!   got that from a thread that had seen the bit, so what follows holds for these, too.
//! - Who shuts a class, for a wait, a refusal or the end, changes its mode, passes a full fence,
//!   and shuts the slots of the processors in use. Who gives a slot its room has seen the bit,
//!   passes a full fence, and looks at the mode. So either the slot is shut, or it gets no room
//!   (`lists::adapt`).

use crate::sync::{AtomicU64, Ordering};
use crate::table::Table;
use std::io;

/// Bits of a word.
const BITS: usize = u64::BITS as usize;

/// Which of some processors are in use.
pub struct Visited {
    /// A bit for each processor in use, and behind these words, a bit for each whose row is
    /// open. Set with Release when the row is open, read with Acquire: who finds a bit may write
    /// the row. Behind these, how many are in use; and how many words one must look at to find
    /// them, which is raised before a bit is set, and so is seen by whoever sees what came of
    /// the bit.
    words: Table<AtomicU64>,
    cpus: usize,
    /// In a model: whether all are in use, which costs it no step.
    #[cfg(hugepool_loom)]
    all: bool,
}

impl Visited {
    /// None of `cpus` processors. (In a model, all of them: see `none`.) Fails as `mmap` does.
    pub fn new(cpus: usize) -> io::Result<Self> {
        Ok(Self {
            words: Table::new(2 * cpus.div_ceil(BITS) + 2)?,
            cpus,
            #[cfg(hugepool_loom)]
            all: true,
        })
    }

    /// In a model: none is in use yet.
    #[cfg(hugepool_loom)]
    pub fn none(&mut self) {
        self.all = false;
    }

    #[cfg(hugepool_loom)]
    fn are_all(&self) -> bool {
        self.all
    }

    #[cfg(not(hugepool_loom))]
    #[inline(always)]
    fn are_all(&self) -> bool {
        false
    }

    /// The word of processor `cpu`, and its bit.
    #[inline]
    fn place(&self, cpu: usize) -> (&AtomicU64, u64) {
        (self.words.get(cpu / BITS), 1 << (cpu % BITS))
    }

    fn total(&self) -> &AtomicU64 {
        self.words.get(2 * self.cpus.div_ceil(BITS))
    }

    fn end(&self) -> &AtomicU64 {
        self.words.get(2 * self.cpus.div_ceil(BITS) + 1)
    }

    /// The word that says whether the row of `cpu` is open, and the bit.
    fn open_place(&self, cpu: usize) -> (&AtomicU64, u64) {
        let word = self.cpus.div_ceil(BITS) + cpu / BITS;
        (self.words.get(word), 1 << (cpu % BITS))
    }

    /// Whether the row of `cpu` is open.
    pub fn is_open(&self, cpu: usize) -> bool {
        let (word, bit) = self.open_place(cpu);
        // Acquire: see `words`.
        word.load(Ordering::Acquire) & bit != 0
    }

    /// Says that the row of `cpu` is open.
    pub fn opened(&self, cpu: usize) {
        let (word, bit) = self.open_place(cpu);
        // Release: see `words`.
        word.fetch_or(bit, Ordering::Release);
    }

    /// Whether `cpu`, which is below the number of them, is in use.
    #[inline]
    pub fn has(&self, cpu: usize) -> bool {
        let (word, bit) = self.place(cpu);
        // Acquire: see `words`.
        self.are_all() || word.load(Ordering::Acquire) & bit != 0
    }

    /// Says that `cpu` is in use. True if it was not before. The caller has opened its row.
    pub fn add(&self, cpu: usize) -> bool {
        let (word, bit) = self.place(cpu);
        // Relaxed: the Release below publishes it.
        (self.end()).fetch_max((cpu / BITS) as u64 + 1, Ordering::Relaxed);
        // Release: see `words`.
        let added = word.fetch_or(bit, Ordering::Release) & bit == 0;
        if added {
            // Relaxed: a number to share out by.
            self.total().fetch_add(1, Ordering::Relaxed);
        }
        added
    }

    /// How many there are, at least 1.
    #[inline]
    pub fn count(&self) -> usize {
        if self.are_all() {
            return self.cpus;
        }
        // Relaxed: see `add`.
        (self.total().load(Ordering::Relaxed) as usize).max(1)
    }

    /// Those in use, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.between(0, self.cpus)
    }

    /// Those in use from `first` on, and then those before.
    pub fn iter_from(&self, first: usize) -> impl Iterator<Item = usize> {
        let first = first.min(self.cpus);
        self.between(first, self.cpus).chain(self.between(0, first))
    }

    /// Those in use from `start` on, below `end`, which is no more than there are. Looks at each
    /// word when it comes to it.
    fn between(&self, start: usize, end: usize) -> impl Iterator<Item = usize> {
        let first = start / BITS;
        let end = match self.are_all() {
            true => end,
            // Relaxed: see `words`.
            false => end.min(self.end().load(Ordering::Relaxed) as usize * BITS),
        };
        (first..end.div_ceil(BITS)).flat_map(move |at| {
            let all = self.are_all();
            // Acquire: see `words`.
            let mut word = match all {
                true => u64::MAX,
                false => self.words.get(at).load(Ordering::Acquire),
            };
            if at == first {
                word &= u64::MAX << (start % BITS);
            }
            if (at + 1) * BITS > end {
                word &= !(u64::MAX << (end % BITS));
            }
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(at * BITS + bit)
            })
        })
    }

    /// Bytes of memory that the bits occupy, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        self.words.resident(usize::MAX)
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn those_that_were_added_are_found_from_anywhere_and_no_others() {
        for cpus in [1, 2, 63, 64, 65, 128, 200] {
            let visited = Visited::new(cpus).unwrap();
            assert_eq!((visited.count(), visited.iter().count()), (1, 0));
            (0..cpus).step_by(2).for_each(|cpu| visited.opened(cpu));
            assert!((0..cpus).all(|cpu| visited.is_open(cpu) == cpu.is_multiple_of(2)));
            let mut added = BTreeSet::new();
            for step in 0..cpus {
                let cpu = step * 7919 % cpus;
                if step % 3 == 0 {
                    assert_eq!(visited.add(cpu), added.insert(cpu));
                    assert!(!visited.add(cpu));
                }
                assert!((0..cpus).all(|cpu| visited.has(cpu) == added.contains(&cpu)));
                assert!(visited.iter().eq(added.iter().copied()));
                assert_eq!(visited.count(), added.len());
                for first in [0, cpu, cpus - 1, cpus] {
                    let later = added.range(first..).chain(added.range(..first));
                    assert!(
                        visited.iter_from(first).eq(later.copied()),
                        "{cpus} {first}"
                    );
                }
            }
        }
    }
}
