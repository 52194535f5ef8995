//! The free buffers of one class that are in no cache and no batch.
//!
//! Owns: the lists, each for some processors. Uses: `sync`, `chain`, `record`, `word`. Used
//! by: `lists`: for what comes back while the class is shared, or while its
//! processor's own cache is diverted.
//!
//! ```text
//!   processors 0, 8, 16, …    list 0   ▶ a ▶ b
//!   processors 1, 9, 17, …    list 1   ▶ c             a giver puts its buffer into its
//!   …                                                  own list; a taker whose list is
//!   processors 7, 15, 23, …   list 7                   empty moves another one to it
//! ```
//!
//! A pool uses as many as processors were there when it was made, `LISTS` at most (`lists`,
//! below, throughout): what is done to each of them costs as much as there can be use of it.
//!
//! Each list is changed by one compare-and-swap, which mostly meets no other. A taker
//! that finds its own list empty takes all of another one at once, keeps the buffer on
//! top, and puts the others, linked as they are, into its own: so a stream of buffers
//! from one processor to another moves in groups. It holds more than it was asked for
//! meanwhile, and announces that (`lists`).

use crate::chain::Chain;
use crate::record::Records;
use crate::table::Zeroed;
use crate::word::{Head, Index};

/// Lists of a class at most: a waiter changes each of them before it sleeps.
pub const LISTS: usize = if cfg!(hugepool_loom) { 2 } else { 8 };

#[derive(Default)]
#[repr(C, align(64))]
struct List(Chain);

/// The lists of one class. The first `lists` of them are in use.
#[derive(Default)]
pub struct Loose {
    lists: [List; LISTS],
}

// SAFETY: chains are; all-zero bytes are open, empty lists.
unsafe impl Zeroed for Loose {}

/// What is on the lists, each seen at a moment of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether any is shut.
    pub shut: bool,
    /// Buffers.
    pub free: u32,
}

/// What came of taking a buffer.
pub enum Popped {
    /// This one, from the caller's own list, which was that.
    Own(Index, Head),
    /// This one, from another; the others of that are in the caller's own list, which
    /// was shut or not.
    Moved(Index, bool),
    /// Each list was empty at a moment of its own, and their tags add up to that.
    Empty(u64),
}

impl Loose {
    fn lists(&self, lists: usize) -> impl Iterator<Item = &Chain> {
        self.lists.iter().take(lists).map(|list| &list.0)
    }

    /// The list of processor `cpu`, of so many `lists`.
    #[inline]
    pub fn own(&self, cpu: usize, lists: usize) -> &Chain {
        &self.lists[cpu % lists.clamp(1, LISTS)].0
    }

    /// Takes a buffer for a thread on processor `cpu`; calls `announce` before
    /// it holds more than one. Lock-free. The caller holds a handle.
    pub fn pop(
        &self,
        records: &Records,
        cpu: usize,
        lists: usize,
        announce: &mut dyn FnMut(),
    ) -> Popped {
        let mut tags = match self.own(cpu, lists).pop_noting(records) {
            Ok((index, head)) => return Popped::Own(index, head),
            Err(head) => u64::from(head.tag()),
        };
        for step in 1..lists {
            let other = self.own(cpu + step, lists);
            match other.pop_all(records, announce) {
                Ok((index, rest)) => {
                    let shut = rest.is_some_and(|rest| self.own(cpu, lists).splice(records, rest));
                    return Popped::Moved(index, shut);
                }
                Err(head) => tags = tags.wrapping_add(head.tag().into()),
            }
        }
        Popped::Empty(tags)
    }

    /// Whether any list holds a buffer.
    pub fn is_empty(&self, cpu: usize, lists: usize) -> bool {
        self.own(cpu, lists).head().top().is_none()
            && self.lists(lists).all(|list| list.head().top().is_none())
    }

    /// Changes the word of every list, and nothing else. Who changes one before is seen
    /// by the caller, and who changes it after that sees the caller.
    pub fn touch(&self, records: &Records, lists: usize) -> Seen {
        let mut seen = Seen::default();
        for list in self.lists(lists) {
            let head = list.touch();
            seen.shut |= head.is_shut();
            seen.free = seen.free.wrapping_add(Chain::depth(head, records));
        }
        seen
    }

    /// Shuts every list: see `Chain::shut`.
    pub fn shut(&self, records: &Records, lists: usize) -> u64 {
        self.lists(lists).map(|list| list.shut(records)).sum()
    }

    /// Opens every list while `idle` holds: see `Chain::unshut`.
    pub fn unshut(&self, lists: usize, idle: impl Fn() -> bool) {
        self.lists(lists).for_each(|list| list.unshut(&idle));
    }

    /// Whether any list is shut.
    pub fn is_shut(&self, lists: usize) -> bool {
        self.lists(lists).any(|list| list.head().is_shut())
    }

    /// How many buffers there are: exact while nobody changes the lists.
    pub fn len(&self, records: &Records, lists: usize) -> u64 {
        self.lists(lists).map(|list| list.len(records)).sum()
    }

    /// How many buffers were below `index` in the list that it was taken from. The caller
    /// holds it.
    #[inline]
    pub fn left_below(&self, records: &Records, index: Index) -> u32 {
        records.get(index.raw() as usize).depth().saturating_sub(1)
    }

    /// The sum of what counts the changes of each list, and how many buffers there are.
    pub fn seen(&self, records: &Records, lists: usize) -> (u64, u32) {
        self.lists(lists).fold((0, 0), |(tags, free), list| {
            let head = list.head();
            let depth = Chain::depth(head, records);
            (tags + u64::from(head.tag()), free.wrapping_add(depth))
        })
    }

    /// Touches the lists, so that no later call faults a page.
    pub fn populate(&self, lists: usize) {
        self.lists(lists).for_each(Chain::populate);
    }
}
