//! A look for a buffer before a thread stands in line and sleeps.
//!
//! Owns: how long it looks. Uses: the lists. Used by: `pool`, for threads; a task gives its
//! thread to other tasks instead.
//!
//! A thread that sleeps costs two system calls and two changes of the processor's thread,
//! some microseconds. If a buffer comes back before that, to look for it is cheaper; if
//! none does, the look was wasted. So each class keeps how many looks a thread has: more
//! after a look that found a buffer, half as many after one in vain. Every sixteenth
//! thread has all of them, so that a class whose buffers come back faster than they did
//! is found out.
//!
//! Who lets others run (`sched_yield`) has his place behind all that could, and not only
//! behind who has a buffer: among 64 threads that is a tenth of a second, while a turn comes
//! round in a third of that. So nobody does while more wait than there are processors.

use super::FreeLists;
use super::search::Evidence;
use super::waiting::Owed;
use crate::cache::CpuCaches;
use crate::class::ClassId;
use crate::sync::{AtomicU64, Ordering, spin_loop, yield_now};
use crate::word::Index;

/// Looks at most. Between looks a few instructions pass, each time twice as many, up to
/// `PAUSE`; behind the last of them other threads run `YIELDS` times.
const LOOKS: u64 = 32;
const PAUSE: u32 = 32;
const YIELDS: u64 = 4;
/// Looks at least.
const LEAST: u64 = 2;
/// How many threads there are to one that has all the looks.
const PROBE: u64 = 16;

/// How long threads look. Relaxed throughout: any number will do.
#[derive(Default)]
pub(super) struct Eagerness {
    /// The looks that a thread does not have.
    withheld: AtomicU64,
    /// The threads so far.
    threads: AtomicU64,
}

impl Eagerness {
    /// How often a thread may look.
    fn looks(&self) -> u64 {
        let thread = self.threads.fetch_add(1, Ordering::Relaxed);
        if thread.is_multiple_of(PROBE) {
            return LOOKS;
        }
        LOOKS.saturating_sub(self.withheld.load(Ordering::Relaxed))
    }

    /// Looks as often as a thread may; in a crowd it does not let others run in between.
    pub(super) fn watch<T>(&self, crowded: bool, look: impl Fn() -> Option<T>) -> Option<T> {
        let looks = self.looks();
        let yields = if looks == LOOKS && !crowded {
            YIELDS
        } else {
            0
        };
        for at in 0..looks + yields {
            if let Some(found) = look() {
                self.learn(looks, Some(at));
                return Some(found);
            }
            if at < looks {
                (0..PAUSE.min(1 << at.min(31))).for_each(|_| spin_loop());
            } else {
                yield_now();
            }
        }
        self.learn(looks, None);
        None
    }

    /// A thread that had so many `looks` found a buffer when it looked for the `at`th time
    /// (beginning with none), or did not.
    fn learn(&self, looks: u64, at: Option<u64>) {
        let next = match at {
            Some(at) => looks.max(2 * at + LEAST).min(LOOKS),
            None => (looks / 2).max(LEAST),
        };
        self.withheld.store(LOOKS - next, Ordering::Relaxed);
    }
}

impl<C: CpuCaches> FreeLists<C> {
    /// Takes a buffer from the lists of `class` that all processors share, if it is
    /// shared. `None` proves nothing.
    #[inline]
    pub fn take_shared(&self, class: ClassId) -> Option<Index> {
        if self.is_open(class) {
            return None;
        }
        loop {
            let mut owed = Owed::default();
            let index = self.pop_loose(class, &mut Evidence::default(), &mut owed);
            self.settle(owed);
            let index = index?;
            if !self.goes_to_the_line(class, index) {
                return Some(index);
            }
        }
    }

    /// Watches the lists that all processors share for some microseconds at most, for a
    /// caller that will wait if that is in vain. `None` proves nothing.
    pub fn watch(&self, ladder: &[ClassId]) -> Option<(ClassId, Index)> {
        let (cpu, lists) = (self.caches.current(), self.loose_lists);
        let crowded = self.line.is_crowded(self.callers() + 1);
        let found = self.eagerness(*ladder.first()?).watch(crowded, || {
            ladder.iter().find_map(|&class| {
                let empty = self.loose(class).is_empty(cpu, lists);
                let index = if empty { None } else { self.take_shared(class) }?;
                Some((class, index))
            })
        })?;
        self.note_climb(ladder, found.0);
        Some(found)
    }

    /// Has the classes on `ladder` shared: somebody is about to wait.
    pub fn prepare_to_wait(&self, ladder: &[ClassId]) {
        let mut owed = Owed::default();
        for &class in ladder {
            if !self.is_shared(class) {
                self.share(class, &mut owed);
            }
            self.linger(class);
        }
        self.settle(owed);
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_class_whose_buffers_come_late_is_looked_at_less_and_less_but_never_given_up() {
        let eagerness = Eagerness::default();
        let mut looks = Vec::new();
        for _ in 0..2 * PROBE {
            looks.push(eagerness.looks());
            eagerness.learn(looks[looks.len() - 1].min(16), None);
        }
        assert_eq!((looks[0], looks[PROBE as usize]), (LOOKS, LOOKS));
        for _ in 0..8 {
            eagerness.learn(LOOKS - eagerness.withheld.load(Ordering::Relaxed), None);
        }
        assert_eq!(LOOKS - eagerness.withheld.load(Ordering::Relaxed), LEAST);
    }

    #[test]
    fn a_look_that_finds_a_buffer_late_gives_the_next_one_more() {
        let eagerness = Eagerness::default();
        eagerness.learn(LEAST, None);
        eagerness.learn(LOOKS, Some(5));
        assert_eq!(LOOKS - eagerness.withheld.load(Ordering::Relaxed), LOOKS);
        eagerness.learn(LEAST, Some(1));
        let now = LOOKS - eagerness.withheld.load(Ordering::Relaxed);
        assert!(now > LEAST && now < LOOKS);
    }
}
