//! How much each processor's cache of a class may hold.
//!
//! Owns: the capacities, and the bytes they may add up to. Uses: the lists. Used
//! by: refills and flushes, which report that a cache missed; steals; growth.
//!
//! ```text
//!   a miss (the cache was empty and the depot had a batch, or it was full and the
//!   depot had something):
//!        capacity × 2, up to the class's most, if the processor's budget allows;
//!        otherwise, every so many times, half the capacity of a class that was
//!        idle since the last look, or has more than its share, becomes free
//!   the cache was empty, and nobody stole or shared the class for a second:
//!        capacity × 2, up to all there are, if the processor's budget allows
//!   robbed by another processor:
//!        capacity ÷ 2
//! ```
//!
//! A cache has no capacity before a thread comes past the hot path on its processor. From then
//! on it has `LEAST` at least, and at most the class's most: half of a processor's fair share of
//! the class, what a slot has room for, and what the budget has room for. The class is shared out
//! among the processors in use. When there is one more, the most becomes less, and a cache that
//! may hold more is lowered when it misses next.
//!
//! The fair share is a guess, and often a bad one: of several processors, one may need most of a
//! class. So while nobody has to steal, a cache whose threads take grows beyond its share, of what
//! is left of the budget; the first who has to halves it, and for a second it is the share again
//! that bounds.
//!
//! What the capacities above `LEAST` come to, in bytes, is no more than the budget of the
//! processor. A buffer costs no memory for lying in a cache, but other processors must then steal
//! it, which costs more than a look into the depot; so caches are no larger than misses make them.
//!
//! A processor that only frees, or only allocates, misses on every batch, and so
//! soon moves batches as large as can be. Where threads only free, all that is there is moved, or
//! as much as a batch holds, for those who take would have to come for the rest. And such a
//! cache grows only while the depot has something: otherwise those who take may be waiting for
//! just that batch.

use super::FreeLists;
use super::ledger::{Carry, count};
use super::waiting::Owed;
use crate::cache::CpuCaches;
use crate::class::ClassId;
use crate::sync::{Ordering, fault, fence};

/// What any cache may hold.
const LEAST: u8 = 2;
/// What a new class's caches may hold, unless that is too much.
const FIRST: u8 = 8;
/// A class is idle if it did nothing while another missed so often in vain.
const IDLE: u32 = 16;

impl<C: CpuCaches> FreeLists<C> {
    /// Sets what the caches of a class may hold at most that has, or will have,
    /// `buffers` buffers every `stride` bytes; and lets them be used, if it is new.
    pub fn share_out(&self, class: ClassId, buffers: usize, stride: usize) {
        // Relaxed: see `Totals`.
        let totals = self.totals(class);
        totals.stride.store(stride as u64, Ordering::Relaxed);
        totals.shared.store(buffers as u64, Ordering::Relaxed);
        let most = self.share_among_visited(class);
        for cpu in self.tables.visited.iter() {
            self.lower(cpu, class, most);
        }
        self.put_in_use(class);
    }

    /// Takes from the cache of `cpu` what it may hold above `most`.
    fn lower(&self, cpu: usize, class: ClassId, most: u8) {
        let now = self.caches.capacity(cpu, class);
        if now > most {
            self.set_capacity(cpu, class, now, most);
        }
    }

    /// Shares the buffers of all classes out anew: there is one processor more. Caches that may
    /// hold more than their class's most are lowered when they miss next.
    pub(super) fn share_out_anew(&self) {
        self.classes()
            .ids()
            .for_each(|class| _ = self.share_among_visited(class));
    }

    /// Says what a cache of `class` may hold, and gives it.
    fn share_among_visited(&self, class: ClassId) -> u8 {
        // Relaxed: see `Totals`.
        let totals = self.totals(class);
        let among = || {
            let (buffers, stride) = (&totals.shared, &totals.stride);
            let buffers = buffers.load(Ordering::Relaxed) as usize;
            let stride = stride.load(Ordering::Relaxed) as usize;
            let most = self.most_among(self.tables.visited.count(), buffers, stride);
            (most, self.most_of(buffers, stride))
        };
        loop {
            let (most, all) = among();
            totals.most.store(most.into(), Ordering::Relaxed);
            totals.reach.store(all.into(), Ordering::Relaxed);
            // SeqCst: or another thread shares out for more of either, and is overtaken by us.
            fence(Ordering::SeqCst);
            if among() == (most, all) {
                return most;
            }
        }
    }

    /// Gives the cache of `cpu`, which is in use, its first room, if it never had any and the
    /// class is open.
    ///
    /// A cache that never had room takes part in no shutting of its class. So: the processor's
    /// bit, a full fence, the mode, and then the room; who shuts the class changes the mode, and
    /// looks for the processors in use behind such a fence. If it does not find this one, the
    /// mode says here that the class is not open.
    #[inline]
    pub(super) fn give_room(&self, cpu: usize, class: ClassId) {
        if self.caches.capacity(cpu, class) == 0 {
            self.give_first_room(cpu, class);
        }
    }

    #[cold]
    fn give_first_room(&self, cpu: usize, class: ClassId) {
        // SeqCst: see above.
        fault!(NoVisitFence, (), fence(Ordering::SeqCst));
        if fault!(RoomAnyway, true, self.is_open(class)) {
            let most = self.share_of(class);
            // It has at least the least, and the first if that fits.
            self.caches.set_capacity(cpu, class, 0, LEAST);
            self.set_capacity(cpu, class, LEAST, FIRST.clamp(LEAST, most.max(LEAST)));
        }
    }

    /// What one of `sharers` caches of a class of `buffers` buffers every `stride` bytes may hold.
    pub(super) fn most_among(&self, sharers: usize, buffers: usize, stride: usize) -> u8 {
        self.most_of(buffers / (2 * sharers.max(1)), stride)
    }

    /// `share`, if a cache has room for so many and the budget for their bytes.
    fn most_of(&self, share: usize, stride: usize) -> u8 {
        let affordable = self.budget / stride.max(1);
        share
            .min(affordable)
            .clamp(LEAST.into(), self.caches.most().into()) as u8
    }

    /// Sets what each cache of a class may hold, for good. (For models.)
    #[cfg(hugepool_loom)]
    pub fn fix_cache(&self, class: ClassId, capacity: u8) {
        let totals = self.totals(class);
        totals.most.store(capacity.into(), Ordering::Relaxed);
        for cpu in self.tables.visited.iter() {
            self.caches.set_capacity(cpu, class, 0, capacity);
        }
        self.put_in_use(class);
    }

    /// Changes a capacity, if the budget allows and it is still `from`.
    fn set_capacity(&self, cpu: usize, class: ClassId, from: u8, to: u8) -> bool {
        let stride = self.totals(class).stride.load(Ordering::Relaxed);
        let spent = &self.processors.get(cpu).spent;
        // Relaxed: a sum that bounds; nothing is read through it.
        let more = u64::from(to.saturating_sub(from)) * stride;
        let before = spent.fetch_add(more, Ordering::Relaxed);
        let affordable = more == 0 || before + more <= self.budget as u64;
        let done = affordable && self.caches.set_capacity(cpu, class, from, to);
        let less = match done {
            true => u64::from(from.saturating_sub(to)) * stride,
            false => more,
        };
        spent.fetch_sub(less, Ordering::Relaxed);
        done
    }

    /// A number that is the same again after single buffers were put into the cache of `cpu`: how
    /// often it changed, less what it holds. What takes buffers out of it raises it; a refill
    /// lowers it.
    fn changes_but_puts(&self, cpu: usize, class: ClassId) -> u32 {
        let held = self.caches.len(&self.tables, cpu, class);
        self.caches.activity(cpu, class).wrapping_sub(held) as u32
    }

    /// How many buffers are to move from the cache of `cpu`, which is full, to the depot: so many
    /// that one more has room below its capacity, which may have shrunk, and a batch at least;
    /// all of it where threads only give.
    pub(super) fn share_to_flush(&self, cpu: usize, class: ClassId) -> u32 {
        let held = self.caches.len(&self.tables, cpu, class) as u32;
        if self.only_gives(cpu, class) {
            return held.max(1);
        }
        let above = (held + 1).saturating_sub(self.caches.capacity(cpu, class).into());
        above.max(self.batch_size(cpu, class))
    }

    /// Whether nothing came into the cache of `cpu` since it was flushed, nor out of it, but what
    /// threads gave there; a hint.
    pub(super) fn only_gives(&self, cpu: usize, class: ClassId) -> bool {
        let before = self.ledger(cpu, class).flushed.load(Ordering::Relaxed);
        before == self.changes_but_puts(cpu, class)
    }

    /// The cache of `cpu` was filled from the depot: its threads take, until it is flushed. (Takes
    /// raise the number from here on, and so never lead back to what is noted.)
    pub(super) fn refilled(&self, cpu: usize, class: ClassId) {
        let changes = self.changes_but_puts(cpu, class).wrapping_sub(1);
        (self.ledger(cpu, class).flushed).store(changes, Ordering::Relaxed);
    }

    /// The cache of `cpu` was flushed because it was full, and the depot does not have yet what
    /// was in it: gives it more room if those who take have enough.
    pub(super) fn flushed(&self, cpu: usize, class: ClassId) {
        let changes = self.changes_but_puts(cpu, class);
        // Relaxed: a hint.
        (self.ledger(cpu, class).flushed).store(changes, Ordering::Relaxed);
        if !self.depot(class).is_empty() {
            self.missed(cpu, class, None);
        }
    }

    /// The cache of `cpu` missed: gives it more room if there is. The caller
    /// holds a handle if it gives `owed`, otherwise a buffer.
    pub(super) fn missed(&self, cpu: usize, class: ClassId, owed: Option<&mut Owed>) {
        let now = self.caches.capacity(cpu, class);
        let most = self.most_now(class, now, owed.is_some());
        if now > most && most > 0 {
            self.lower(cpu, class, most);
        }
        let wanted = now.saturating_mul(2).min(most);
        let within = now < self.share_of(class);
        if wanted > now && !self.set_capacity(cpu, class, now, wanted) && within {
            // Relaxed: a hint.
            let denied = &self.ledger(cpu, class).denied;
            if denied.fetch_add(1, Ordering::Relaxed).is_multiple_of(IDLE) {
                // The next miss finds what becomes free.
                self.reclaim(cpu, class, owed);
            }
        }
    }

    /// What a cache of `class` may hold whatever others do.
    pub(super) fn share_of(&self, class: ClassId) -> u8 {
        // Relaxed: see `Totals`.
        self.totals(class).most.load(Ordering::Relaxed) as u8
    }

    /// What a cache of `class` that may hold `now` buffers may hold at most: its share. But while
    /// nobody else misses them: all there are, if its threads take them; and no less than it may,
    /// if they give them.
    fn most_now(&self, class: ClassId, now: u8, takes: bool) -> u8 {
        // Relaxed: see `Totals`.
        let totals = self.totals(class);
        let most = self.share_of(class);
        let reach = totals.reach.load(Ordering::Relaxed) as u8;
        let beyond = now >= most && reach > most && self.is_at_peace(class);
        match beyond {
            true if takes => reach,
            true => now.min(reach),
            false => most,
        }
    }

    /// The cache of `cpu` was robbed: it need not hold so much.
    pub(super) fn robbed(&self, cpu: usize, class: ClassId) {
        let now = self.caches.capacity(cpu, class);
        let less = (now / 2).max(LEAST);
        if less < now {
            self.set_capacity(cpu, class, now, less);
        }
    }

    /// Takes half of its capacity from one class of `cpu` that is idle, or has more than its share.
    fn reclaim(&self, cpu: usize, missing: ClassId, owed: Option<&mut Owed>) {
        for class in self.classes().ids().filter(|&class| class != missing) {
            let now = self.caches.capacity(cpu, class);
            let less = (now / 2).max(LEAST);
            let activity = self.caches.activity(cpu, class);
            // Relaxed: a hint.
            let seen = &self.ledger(cpu, class).seen;
            let idle = seen.swap(activity, Ordering::Relaxed) == activity;
            let spare = idle || now > self.share_of(class);
            if !spare || less >= now {
                continue;
            }
            let surplus = self.caches.len(&self.tables, cpu, class) > less.into();
            if surplus && owed.is_none() {
                // Its buffers cannot be moved from here.
                continue;
            }
            if self.set_capacity(cpu, class, now, less) {
                if let Some(owed) = owed.filter(|_| surplus) {
                    self.evict(cpu, class, u32::from(now - less), owed);
                }
                return;
            }
        }
    }

    /// Moves up to `some` buffers from the cache of this processor, presumably
    /// `cpu`, to the depot. The caller holds a handle.
    fn evict(&self, cpu: usize, class: ClassId, some: u32, owed: &mut Owed) {
        let batches = &self.tables.batches;
        let Some(id) = batches.take() else { return };
        let ledger = self.ledger(cpu, class);
        let _carry = Carry::begin(ledger);
        let Some(batch) = self.caches.flush(&self.tables, class, some, id) else {
            batches.put(id);
            return;
        };
        count(&ledger.flushes);
        self.put_batch(class, batch, owed);
    }
}
