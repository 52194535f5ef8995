//! A processor's cache of one class, used by its own threads and by thieves.
//!
//! Proves, for push, pop, refill, flush, steal, unfill and closing: each buffer
//! goes to one thread, the length that the top buffer carries is the length of
//! the list, no slot holds more than it may, and who takes a buffer sees what
//! its last holder wrote.
//!
//! The twins: without tags a slot is mistaken for an older state of itself; with
//! a relaxed push contents travel unseen; without regard to the flag a closed
//! slot swallows a buffer.

use hugepool::model::{Batch, ClassId, CpuCaches, Fault, Index, Portable, Tables, run_on};
use hugepool_loom_tests::{Buffers, Model, spawn, tests};
use std::sync::Arc;

tests![
    an_owner_and_a_thief_do_not_take_one_buffer,
    a_flush_and_a_thief_do_not_take_one_buffer,
    a_refill_is_all_there_for_owner_and_thief,
    a_batch_that_is_taken_back_is_not_taken_twice,
    a_slot_holds_no_more_than_it_may,
    contents_travel_between_processors,
    a_closed_slot_counts_or_refuses_every_buffer,
];

/// More than any slot of these models holds.
const ROOMY: u32 = 8;

/// The caches of two processors, and their buffers.
struct Slots {
    tables: Tables,
    caches: Portable,
    buffers: Buffers,
    class: ClassId,
}

impl Slots {
    /// `count` buffers, of which the first `home` are in processor 0's slot,
    /// the first on top. The caller holds the others.
    fn new(count: u32, home: usize) -> Arc<Self> {
        let tables = Tables::new(count as usize + 1, count as usize).unwrap();
        tables.batches.grow(4);
        let slots = Self {
            tables,
            caches: Portable::new(2).unwrap(),
            buffers: Buffers::new(count),
            class: ClassId::new(0).unwrap(),
        };
        let all: Vec<Index> = slots.buffers.all().collect();
        all.iter().for_each(|&index| slots.buffers.take(index));
        for &index in all[..home].iter().rev() {
            assert!(slots.push(index, ROOMY));
        }
        Arc::new(slots)
    }

    fn push(&self, index: Index, capacity: u32) -> bool {
        self.buffers.give(index);
        self.caches
            .push(&self.tables, self.class, index, capacity)
            .is_ok()
    }

    fn pop(&self) -> Option<Index> {
        let index = self.caches.pop(&self.tables, self.class)?;
        self.buffers.take(index);
        Some(index)
    }

    fn steal(&self) -> Option<Index> {
        let index = self.caches.steal(&self.tables, 0, self.class).ok()?;
        self.buffers.take(index);
        Some(index)
    }

    /// Takes up to two at once, as a flush does.
    fn flush(&self) -> usize {
        let handful = self.caches.flush(&self.tables, 0, self.class, 2);
        let taken = handful
            .as_ref()
            .map_or(&[][..], |handful| handful.as_slice());
        taken.iter().for_each(|&index| self.buffers.take(index));
        taken.len()
    }

    /// Takes what is left of the batch in the slot of `cpu`.
    fn unfill(&self, cpu: usize) -> usize {
        let batch = self.caches.unfill(&self.tables, cpu, self.class);
        batch.map_or(0, |batch| self.open(batch))
    }

    fn open(&self, batch: Batch) -> usize {
        let mut members = 0;
        self.tables.batches.empty(batch, |index| {
            self.buffers.take(index);
            members += 1;
        });
        assert_eq!(members, batch.count() as usize, "a batch lost its end");
        members
    }

    fn len(&self, cpu: usize) -> usize {
        self.caches.len(&self.tables, cpu, self.class) as usize
    }

    /// Asserts that each buffer is in a slot or has a holder, and that the slots
    /// count what they have.
    fn audit(&self) {
        let mut known = self.buffers.held();
        for cpu in 0..self.caches.cpus() {
            let counted = self.len(cpu);
            let mut drained = self.unfill(cpu);
            while let Ok(index) = self.caches.steal(&self.tables, cpu, self.class) {
                self.buffers.take(index);
                drained += 1;
            }
            assert_eq!(drained, counted, "a slot miscounts");
            known += drained;
        }
        assert_eq!(known, self.buffers.all().count(), "a buffer was lost");
    }
}

/// Runs `thief` on processor 1 beside `owner` on processor 0.
fn race(slots: &Arc<Slots>, owner: impl FnOnce(&Slots), thief: fn(&Slots)) {
    let shared = Arc::clone(slots);
    let thread = spawn(move || {
        run_on(1);
        thief(&shared);
    });
    owner(slots);
    thread.join().unwrap();
}

/// Takes two from processor 0, gives it the first back, and keeps the second.
fn rob(slots: &Slots) {
    let first = slots.steal();
    slots.steal();
    // The thief migrates.
    run_on(0);
    if let Some(first) = first {
        slots.push(first, ROOMY);
    }
}

/// The owner pops and pushes while a thief takes two and returns one.
pub fn an_owner_and_a_thief_do_not_take_one_buffer() -> Model {
    Model::new(6..=9, &[Fault::NoTag], || {
        let slots = Slots::new(3, 3);
        race(
            &slots,
            |slots| {
                if let Some(index) = slots.pop() {
                    slots.push(index, ROOMY);
                }
            },
            rob,
        );
        slots.audit();
    })
}

/// The owner takes two at once for the depot, likewise.
pub fn a_flush_and_a_thief_do_not_take_one_buffer() -> Model {
    Model::new(6..=9, &[Fault::NoTag], || {
        let slots = Slots::new(3, 3);
        race(
            &slots,
            |slots| {
                assert!(slots.flush() <= 2);
            },
            rob,
        );
        slots.audit();
    })
}

/// The owner fills its empty slot with a batch and takes one of it, while a
/// thief takes two and returns one.
pub fn a_refill_is_all_there_for_owner_and_thief() -> Model {
    Model::new(6..=9, &[Fault::NoTag], || {
        let slots = Slots::new(3, 1);
        race(
            &slots,
            |slots| {
                let pair: Vec<Index> = slots.buffers.all().skip(1).collect();
                pair.iter().for_each(|&index| slots.buffers.give(index));
                let id = slots.tables.batches.take().unwrap();
                let batch = slots.tables.batches.fill(id, &pair);
                let refilled = slots.caches.refill(&slots.tables, slots.class, batch);
                assert!(refilled.is_ok(), "the slot had no batch");
                slots.pop();
            },
            rob,
        );
        slots.audit();
    })
}

/// One thread takes a buffer of the batch in a slot. Another takes one too, then
/// takes back what is left, and puts the array there again with as many buffers
/// as it had, but others.
pub fn a_batch_that_is_taken_back_is_not_taken_twice() -> Model {
    Model::new(6..=9, &[Fault::NoTag], || {
        let slots = Slots::new(3, 0);
        let all: Vec<Index> = slots.buffers.all().collect();
        all.iter().for_each(|&index| slots.buffers.give(index));
        let id = slots.tables.batches.take().unwrap();
        let pair = slots.tables.batches.fill(id, &all[..2]);
        slots
            .caches
            .refill(&slots.tables, slots.class, pair)
            .unwrap();
        slots.buffers.take(all[2]);
        race(
            &slots,
            |slots| {
                slots.pop();
            },
            |slots| {
                run_on(0);
                let first = slots.pop();
                let rest = slots.caches.unfill(&slots.tables, 0, slots.class);
                let (Some(first), Some(rest)) = (first, rest) else {
                    // The other thread has the rest, or will get it.
                    return;
                };
                let kept = slots.tables.batches.last(rest).unwrap();
                slots.buffers.take(kept);
                let third = Index::from_raw(3).unwrap();
                slots.buffers.give(first);
                slots.buffers.give(third);
                let batch = slots.tables.batches.fill(rest.id(), &[third, first]);
                let refilled = slots.caches.refill(&slots.tables, slots.class, batch);
                assert!(refilled.is_ok(), "the slot had no batch");
            },
        );
        slots.audit();
    })
}

/// The owner pushes into a slot with room for two, while a thief takes what is
/// in it and puts two back.
pub fn a_slot_holds_no_more_than_it_may() -> Model {
    Model::new(6..=9, &[Fault::NoTag], || {
        let slots = Slots::new(3, 1);
        race(
            &slots,
            |slots| {
                let mine = Index::from_raw(2).unwrap();
                if !slots.push(mine, 2) {
                    slots.buffers.take(mine);
                }
            },
            |slots| {
                let Some(first) = slots.steal() else { return };
                run_on(0);
                for index in [Index::from_raw(3).unwrap(), first] {
                    if !slots.push(index, 2) {
                        slots.buffers.take(index);
                    }
                }
            },
        );
        assert!(slots.len(0) <= 2, "a slot is too full");
        slots.audit();
    })
}

/// Two processors, each giving to its own slot and taking from the other's or
/// its own.
pub fn contents_travel_between_processors() -> Model {
    Model::new(6..=9, &[Fault::SlotPushRelaxed], || {
        let slots = Slots::new(2, 0);
        race(
            &slots,
            |slots| {
                slots.push(Index::from_raw(1).unwrap(), ROOMY);
                slots.pop();
            },
            |slots| {
                if slots.steal().is_none() {
                    slots.push(Index::from_raw(2).unwrap(), ROOMY);
                    slots.pop();
                }
            },
        );
        slots.audit();
    })
}

/// Pushes against the closing: each is counted there, or finds the flag.
pub fn a_closed_slot_counts_or_refuses_every_buffer() -> Model {
    Model::new(6..=9, &[Fault::IgnoreClosed], || {
        let slots = Slots::new(2, 0);
        let pushers: Vec<_> = slots
            .buffers
            .all()
            .map(|index| {
                let slots = Arc::clone(&slots);
                spawn(move || slots.push(index, ROOMY))
            })
            .collect();
        let home = slots.caches.close(&slots.tables, 0, slots.class);
        let refused = pushers
            .into_iter()
            .filter_map(|pusher| (!pusher.join().unwrap()).then_some(()))
            .count();
        assert_eq!(home + refused as u64, 2, "a closed slot took a buffer");
    })
}
