//! The slots of two processors and one class, with their buffers.

use crate::{Buffers, Kind, spawn};
use hugepool::model::{
    Batch, ClassId, Classes, Handful, Index, Line, Refilled, Robbed, Share, Tables, run_on,
};
use std::ptr::null_mut;
use std::sync::Arc;

/// More than any slot of a model holds.
pub const ROOMY: u8 = 4;

/// The caches of two processors, and their buffers.
pub struct Caches<C> {
    /// What the caches are made of.
    pub tables: Tables,
    /// The caches.
    pub caches: C,
    /// What is in them.
    pub buffers: Buffers,
    /// The class.
    pub class: ClassId,
}

impl<C: Kind> Caches<C> {
    /// `count` buffers, of which the first `home` are in processor 0's slot,
    /// the first on top. The caller holds the others. Each slot takes up to
    /// `capacity`.
    pub fn new(count: u32, home: usize, capacity: u8) -> Arc<Self> {
        let classes = Classes::new(0, null_mut()).unwrap();
        let indices = count as usize + 1;
        let tables = Tables::new(classes, indices, count as usize, 2).unwrap();
        tables.batches.grow(4);
        let caches = Self {
            tables,
            caches: C::make(2),
            buffers: Buffers::new(count),
            class: ClassId::FIRST,
        };
        for cpu in 0..2 {
            let class = caches.class;
            caches.caches.set_capacity(cpu, class, 0, capacity);
        }
        caches.caches.attach(&caches.tables, caches.class);
        caches.unshut(&|| true);
        let all: Vec<Index> = caches.buffers.all().collect();
        all.iter().for_each(|&index| caches.buffers.take(index));
        for &index in all[..home].iter().rev() {
            assert!(caches.push(index), "a slot with room took no buffer");
        }
        Arc::new(caches)
    }

    fn line(&self) -> &Line {
        self.tables.classes.line(self.class)
    }

    /// Puts a buffer into this processor's slot, or keeps it.
    pub fn push(&self, index: Index) -> bool {
        self.buffers.give(index);
        let pushed = self.caches.push(&self.tables, self.line(), index);
        if !pushed {
            self.buffers.take(index);
        }
        pushed
    }

    /// Takes a buffer out of this processor's slot.
    pub fn pop(&self) -> Option<Index> {
        let index = self.caches.pop(&self.tables, self.line())?;
        self.buffers.take(index);
        Some(index)
    }

    /// Puts two buffers into this processor's slot at once, or keeps them.
    pub fn refill(&self, pair: [Index; 2]) -> bool {
        let id = self.tables.batches.take().expect("there are arrays enough");
        let batch = self.tables.batches.fill(id, &pair);
        self.refill_with(batch, pair)
    }

    /// As `refill`, with a batch that holds the two.
    pub fn refill_with(&self, batch: Batch, pair: [Index; 2]) -> bool {
        pair.iter().for_each(|&index| self.buffers.give(index));
        let refilled = self.caches.refill(&self.tables, self.class, batch);
        match refilled {
            Refilled::Whole => true,
            Refilled::Rest(rest) => {
                self.tables
                    .batches
                    .empty(rest, |index| self.buffers.take(index));
                rest.is_none()
            }
        }
    }

    /// Takes up to two out of this processor's slot at once.
    pub fn flush(&self) -> Vec<Index> {
        let batches = &self.tables.batches;
        let id = batches.take().expect("there are arrays enough");
        let Some(batch) = self.caches.flush(&self.tables, self.class, 2, id) else {
            batches.put(id);
            return Vec::new();
        };
        let mut taken = Vec::new();
        batches.empty(batch, |index| taken.push(index));
        // As they were put in.
        taken.reverse();
        taken.iter().for_each(|&index| self.buffers.take(index));
        taken
    }

    /// Takes `share` of the slot of processor `cpu`.
    pub fn rob(&self, cpu: usize, share: Share) -> Vec<Index> {
        let (tables, class) = (&self.tables, self.class);
        match (self.caches).rob(tables, cpu, class, &|| false, share, &mut || {}) {
            Robbed::Some(handful) => self.open(Some(handful)),
            Robbed::None(_) => Vec::new(),
            Robbed::Barred => panic!("a thief found no buffer where there was one"),
        }
    }

    fn open(&self, handful: Option<Handful>) -> Vec<Index> {
        let taken = handful.map_or(Vec::new(), |handful| handful.as_slice().to_vec());
        taken.iter().for_each(|&index| self.buffers.take(index));
        taken
    }

    /// Shuts the slots, and says what was in them.
    pub fn shut(&self) -> u64 {
        let held = self.caches.shut(&self.tables, &[self.class]);
        held.expect("a model's kernel refuses nothing")
    }

    /// Opens the slots if `idle`.
    pub fn unshut(&self, idle: &dyn Fn() -> bool) {
        self.caches.unshut(&self.tables, self.class, idle);
    }

    /// How many buffers the slot of `cpu` holds.
    pub fn len(&self, cpu: usize) -> usize {
        self.caches.len(&self.tables, cpu, self.class) as usize
    }

    /// Runs `other` on processor 1 beside `own` on processor 0.
    pub fn race(self: &Arc<Self>, own: impl FnOnce(&Self), other: impl FnOnce(&Self) + 'static) {
        let shared = Arc::clone(self);
        let thread = spawn(move || {
            run_on(1);
            other(&shared);
        });
        own(self);
        thread.join().unwrap();
    }

    /// Asserts, when all other threads have ended, that each buffer is in a slot
    /// or has a holder, and that the slots count what they have.
    pub fn audit(&self) {
        let mut known = self.buffers.held();
        for cpu in 0..self.caches.cpus() {
            let counted = self.len(cpu);
            let mut drained = 0;
            loop {
                let taken = self.rob(cpu, Share::All).len();
                if taken == 0 {
                    break;
                }
                drained += taken;
            }
            assert_eq!(drained, counted, "a slot miscounts");
            known += drained;
        }
        assert_eq!(known, self.buffers.all().count(), "a buffer was lost");
    }
}
