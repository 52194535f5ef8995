//! New buffers into the lists, and complete segments out of them.
//!
//! Owns: stocking and trimming. Uses: the lists. Used by: `catalog`.

use super::FreeLists;
use super::ledger::Carry;
use super::waiting::Owed;
use crate::batch::{Batches, MAX_BATCH};
use crate::cache::{CpuCaches, Robbed, Share};
use crate::class::ClassId;
use crate::depot::{Depot, Shut};
use crate::sync::{Ordering, fault, fence};
use crate::word::Index;
use std::collections::BTreeMap;
use std::io;

impl<C: CpuCaches> FreeLists<C> {
    /// Adds `count` new buffers to `class`, of which `nth` names each. The
    /// caller holds them and a handle. The first ones will come out first.
    pub fn stock(&self, class: ClassId, count: usize, nth: impl Fn(usize) -> Option<Index>) {
        self.note_absent(class, count);
        // Release: for `marks`. For waiters, see the fence.
        self.totals(class)
            .capacity
            .fetch_add(count as u64, Ordering::Release);
        // SeqCst: a waiter stands in line, passes such a fence, and then looks
        // which classes have buffers. Either it finds this one, and shuts its loose list,
        // or we find the waiter, and attend to it.
        fence(Ordering::SeqCst);
        let mut owed = Owed::default();
        if fault!(
            NoRouse,
            false,
            self.line.is_waited_for(self.classes().line(class))
        ) {
            self.share(class, &mut owed);
            (self.loose(class)).shut(&self.tables.records, self.loose_lists);
            Self::owe(class, &mut owed);
        }
        let batch = self.stock_batch(class);
        let mut indices = Vec::with_capacity(batch);
        for start in (0..count).step_by(batch).rev() {
            indices.clear();
            indices.extend((start..count.min(start + batch)).rev().filter_map(&nth));
            for index in &indices {
                // Touched here, so that no later call faults a page.
                self.tables.records.get(index.raw() as usize).set(None, 0);
            }
            self.put_down(class, self.depot(class), &indices, &mut owed);
            self.note_present(class, count.min(start + batch) - start);
        }
        self.settle(owed);
    }

    /// How many buffers a batch gets where there is a choice: half of what a
    /// cache may hold, and no fewer than there are spare batches for.
    fn stock_batch(&self, class: ClassId) -> usize {
        Self::batch_for(self.share_of(class).into())
    }

    /// As above, of a class of which a cache may hold `most`.
    fn batch_for(most: usize) -> usize {
        (most / 2).clamp(MAX_BATCH.min(8), MAX_BATCH)
    }

    /// Puts buffers that the caller holds into `depot`, or onto the loose list if that
    /// is shut, so that the last comes out first. The caller holds a handle.
    pub(super) fn put_down(
        &self,
        class: ClassId,
        depot: &Depot,
        indices: &[Index],
        owed: &mut Owed,
    ) {
        for chunk in indices.chunks(self.stock_batch(class)) {
            if let Some(id) = self.tables.batches.take() {
                let batch = self.tables.batches.fill(id, chunk);
                if let Err(Shut(batch)) = depot.push(&self.tables.batches, batch) {
                    self.unpack(class, batch, owed);
                }
                continue;
            }
            // No spare batch.
            for &index in chunk {
                self.keep(class, index, owed);
            }
        }
    }

    /// Takes out of circulation every group of buffers that is completely home.
    /// `group` names the group of a buffer, if it may be taken, and `complete`
    /// says how many the group has. Buffers of incomplete groups go back.
    ///
    /// While this runs the caller holds the free buffers of the groups, and one
    /// batch of others; the rest are where requests find them. Those whom it serves
    /// are woken at its end.
    pub fn retire<K: Copy + Ord>(
        &self,
        class: ClassId,
        group: impl Fn(Index) -> Option<K>,
        complete: impl Fn(K) -> usize,
    ) -> Vec<K> {
        let batches = &self.tables.batches;
        let mut owed = Owed::default();
        let carry = Carry::begin(self.own_ledger(class));
        // What a trim before us left there, if it never ended.
        self.bring_back(class, &mut owed);
        // Not by hashes: what seeds them is thread-local, and may ask for memory where
        // nobody can be refused.
        let mut held: BTreeMap<K, Vec<Index>> = BTreeMap::new();
        let mut sort = |indices: &[Index]| {
            let mut others = Vec::with_capacity(indices.len());
            for &index in indices {
                match group(index) {
                    Some(key) => held.entry(key).or_default().push(index),
                    None => others.push(index),
                }
            }
            self.note_absent(class, indices.len() - others.len());
            self.put_down(class, self.aside(class), &others, &mut owed);
        };
        let quiet = || self.is_shared(class);
        for cpu in self.tables.visited.iter() {
            // As many turns as there are batches, lest a thread that keeps
            // freeing here keeps us.
            let turns = self.caches.len(&self.tables, cpu, class);
            for _ in 0..=turns {
                // Announced above.
                let (tables, all) = (&self.tables, Share::All);
                let robbed = (self.caches).rob(tables, cpu, class, &quiet, all, &mut || {});
                let Robbed::Some(handful) = robbed else {
                    break;
                };
                sort(handful.as_slice());
            }
        }
        for list in 0..self.loose_lists {
            let loose = self.loose(class).own(list, self.loose_lists);
            for _ in 0..=loose.len(&self.tables.records) {
                let all = loose.take(&self.tables.records, |len| len);
                let Ok(handful) = all else { break };
                sort(handful.as_slice());
            }
        }
        for _ in 0..=self.depot(class).len(batches) {
            let Ok((batch, _)) = self.depot(class).pop_batch(batches) else {
                break;
            };
            let mut indices = Vec::with_capacity(MAX_BATCH);
            batches.empty(batch, |index| indices.push(index));
            sort(&indices);
        }
        let mut gone = Vec::new();
        for (key, indices) in held {
            // Who waits needs them more than the system does.
            let line = self.classes().line(class);
            let wanted = fault!(TrimWanted, false, self.line.is_waited_for(line));
            if fault!(TrimPartial, true, indices.len() == complete(key)) && !wanted {
                // Relaxed: statistics.
                self.totals(class)
                    .capacity
                    .fetch_sub(indices.len() as u64, Ordering::Relaxed);
                self.note_present(class, indices.len());
                gone.push(key);
            } else {
                for chunk in indices.chunks(self.stock_batch(class)) {
                    self.put_down(class, self.depot(class), chunk, &mut owed);
                    self.note_present(class, chunk.len());
                }
            }
        }
        self.bring_back(class, &mut owed);
        drop(carry);
        self.settle(owed);
        gone
    }

    /// Moves what was put aside back into the depot. The caller holds a handle.
    fn bring_back(&self, class: ClassId, owed: &mut Owed) {
        while let Ok((batch, _)) = self.aside(class).pop_batch(&self.tables.batches) {
            self.put_batch(class, batch, owed);
        }
    }

    /// Has memory ready for the batches that `prepare` will make once there are `more`
    /// buffers, every `stride` bytes, of `class`, or of a new one, besides those of
    /// `classes`. Fails, with nothing changed, if the system has none. (If others grow the
    /// pool meanwhile there may be fewer batches than would be best.)
    pub fn open_batches(
        &self,
        classes: &[ClassId],
        class: Option<ClassId>,
        more: usize,
        stride: usize,
    ) -> io::Result<()> {
        let sharers = self.sharers();
        let buffers = |class| self.capacity(class) as usize;
        let others = classes.iter().filter(|&&other| Some(other) != class);
        let needed =
            others.map(|&other| self.batches_needed(sharers, buffers(other), self.stride(other)));
        let own = class.map_or(0, buffers) + more;
        let needed = needed.sum::<usize>() + self.batches_needed(sharers, own, stride);
        self.tables.batches.open(needed)
    }

    /// How many batches a class needs of so many `buffers` when all of the `sharers` have come.
    fn batches_needed(&self, sharers: usize, buffers: usize, stride: usize) -> usize {
        let most = self.most_among(sharers, buffers, stride);
        Batches::needed(buffers, Self::batch_for(most.into()), sharers)
    }

    /// As above, of all classes, as they are.
    pub(super) fn batches_for_all(&self, sharers: usize) -> usize {
        let classes = self.classes().ids();
        let each = classes.map(|class| {
            self.batches_needed(sharers, self.capacity(class) as usize, self.stride(class))
        });
        each.sum()
    }

    fn stride(&self, class: ClassId) -> usize {
        // Relaxed: see `Totals`.
        self.totals(class).stride.load(Ordering::Relaxed) as usize
    }

    /// Makes batches for classes that have as many buffers as `classes` says.
    pub fn prepare(&self, classes: impl Iterator<Item = (ClassId, usize)>) {
        let sharers = self.sharers();
        let needed = classes
            .map(|(class, buffers)| self.batches_needed(sharers, buffers, self.stride(class)))
            .sum();
        self.tables.batches.grow(needed);
    }
}
