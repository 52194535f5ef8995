//! The buffers of streams: taken within a share, counted wherever they come back.
//!
//! Owns: the order in which a stream's own buffers, its claims and the pool's lists are
//! gone through, and the serving of those who wait for a stream. Uses: the lists, `quota`,
//! `wait`. Used by: `pool`, for streams; `buffer`.
//!
//! # What a stream has
//!
//! As many buffers as its *minimum* are its own from the day it is made: they are in no
//! list of the pool, so nobody else can take them, and nobody else pays for that. A
//! request takes one of these (one compare-and-swap), or, if none is there, a *claim* (one
//! compare-and-swap), and then one of the pool's, as any request does. A claim is given up
//! when its buffer comes back (one addition). There are as many claims as the *maximum*
//! allows beyond the minimum. So a stream never has more than its maximum, and none of
//! what is promised it is ever in other hands.
//!
//! # A refusal
//!
//! A request is refused for the stream's sake if none of its own buffers was there, and
//! all claims were taken, at one moment: the list of its own was empty, and had not
//! changed when the claims had been looked at. (Claims of requests that are just looking
//! through the pool count.) It is refused for the pool's sake if the pool refused it, and
//! the list of its own was empty and had not changed meanwhile. Both words are changed
//! before they are believed, so a give that is over is seen (`lists`). While somebody
//! collects (`collect`), what there is of its own is his, and counts as taken: instead of
//! the list, the one who collects was the same before and after.
//!
//! # Who waits
//!
//! ```text
//!                      a claim is free, or is given to him
//!   without a claim ────────────────────────────────────────▶ with a claim
//!     │  waits for: one of the stream's own;                    │  waits for: one of the
//!     │             a claim                                     │  stream's own; the pool's
//!     └──────────────▶ a buffer ◀───────────────────────────────┘
//! ```
//!
//! Somebody who waits says so in both words of his quota (`shut`), and looks. Whoever gives
//! one of the stream's own back, or a claim, and finds that said, *attends* to the
//! stream: he calls those who wait, one for each buffer and claim that is there; those who
//! have a claim, for a buffer alone. Every `TURN` the next in turn is handed what comes
//! back: a buffer, or the claim. Who has a claim waits for the class besides, as everybody
//! does (`waiting`); nobody who has none keeps the class shared.
//!
//! Somebody who waits for several collects at his turn, and has the first right to both: see
//! `collect`.
//!
//! Nobody of a stream sleeps beside a buffer of its own, or, without a claim, beside a
//! free one: the argument is that of `waiting`, with the quota's words for that of the
//! list. Who waits shuts them, and then looks: a give before that is found by the look, and
//! one after it finds the bit. Who was called is counted as called no longer before he
//! shuts, and if he looks in vain, or leaves, he attends: somebody else may need what he
//! could not use. A claim that is handed on is his to whom it was handed, who gives it up
//! if he does not need it. The bits are taken back only if nobody waits, by a
//! compare-and-swap that fails if somebody shut the words meanwhile.
//!
//! # The end of a stream
//!
//! Nobody waits for it then. It is closed, which counts all its own buffers as claims;
//! then their list is shut, for ever, and what is there goes to the pool. One that comes
//! back later finds the list shut, and then, since that came later, the stream closed; it
//! gives up its claim, and goes to the pool. Whoever gives up the last one has the quota's
//! number put back: while it still holds the buffer, so that the pool is there.

mod collect;
mod give;
mod quota;
mod wait;

pub use quota::{Limits, MAX_NAME, Quotas};
pub use wait::Ended;

use super::linked::{Linked, Several};
use super::{Exhausted, FreeLists};
use crate::cache::CpuCaches;
use crate::class::{ClassId, Line, OfStream};
use crate::sync::{Ordering, fault};
use crate::wait::{HandOf, Lacking, Served};
use crate::word::Index;
use quota::Quota;

/// Why a stream got no buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It had as many as it may.
    AtMaximum,
    /// None was free.
    Exhausted(Exhausted),
}

/// A buffer of a stream, and the line by which it knows that.
pub type Found<'a> = (&'a Line, Index);

impl<C: CpuCaches> FreeLists<C> {
    /// Makes a quota for the stream `name`, which has none of its own buffers yet. `None`:
    /// there are too many.
    pub fn begin_quota(&self, limits: Limits, name: &str) -> Option<u32> {
        self.quotas
            .take(self.classes().line(limits.class), limits, name)
    }

    /// How many quotas there can be. Told after one was refused.
    #[cfg_attr(hugepool_loom, allow(dead_code))]
    pub fn quota_limit(&self) -> usize {
        self.quotas.limit()
    }

    /// Makes `indices`, which the caller holds, the own buffers of quota `number`, which
    /// nobody else knows of.
    pub fn endow(&self, number: u32, indices: impl Iterator<Item = Index>) {
        let own = self.quotas.get(number).own();
        indices.for_each(|index| _ = own.force(&self.tables.records, index));
    }

    /// Promises `count` buffers of `class` to a stream. `Err`: how many are promised, if
    /// with these it would be more than there are.
    pub fn promise(&self, class: ClassId, count: u64) -> Result<(), u64> {
        // Relaxed: it only says what can be kept; who keeps it takes the buffers.
        let fits = |promised: u64| {
            let sum = promised.saturating_add(count);
            (sum <= self.capacity(class)).then_some(sum)
        };
        (self.quotas.promised(class))
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map(drop)
    }

    /// Takes that back.
    pub fn unpromise(&self, class: ClassId, count: u64) {
        self.quotas
            .promised(class)
            .fetch_sub(count, Ordering::Relaxed);
    }

    /// `count` buffers of `class` have been set aside for a stream, or are no longer.
    pub fn note_aside(&self, class: ClassId, count: u64, are: bool) {
        let change = if are { count } else { count.wrapping_neg() };
        (self.quotas.aside(class)).fetch_add(change, Ordering::Relaxed);
    }

    /// How many buffers of `class` those may have who are of no stream.
    pub fn attainable(&self, class: ClassId) -> u64 {
        if self.quotas.is_unused() {
            return self.capacity(class);
        }
        let aside = self.quotas.aside(class).load(Ordering::Relaxed);
        self.capacity(class).saturating_sub(aside)
    }

    /// How many buffers a stream can ever have that has these `limits`.
    pub fn attainable_of(&self, limits: &Limits) -> usize {
        let pool = u64::from(limits.minimum) + self.attainable(limits.class);
        pool.min(limits.maximum.into()) as usize
    }

    /// The line by which the buffers that `stream` names know it.
    pub fn line_of(&self, stream: OfStream) -> &Line {
        self.quotas.get(stream.quota).line(stream.own)
    }

    /// What quota `number` allows.
    pub fn limits(&self, number: u32) -> Limits {
        self.quotas.get(number).limits()
    }

    /// As above; `None` for number 0, which is no quota.
    pub fn limits_of(&self, number: u32) -> Option<Limits> {
        (number > 0).then(|| self.limits(number))
    }

    /// The name of the stream of quota `number`; anything, if that has ended. Its bytes, and
    /// how many there are.
    pub fn stream_name(&self, number: u32) -> ([u8; MAX_NAME], usize) {
        self.quotas.name(number)
    }

    /// What was counted of the waits for `class`, those of streams included.
    pub fn served(&self, class: ClassId) -> Served {
        let streams = self.quotas.of_class(class).map(Quota::service);
        self.line.service(class).served_with(streams)
    }

    /// How many buffers quota `number` has out, or has claims for: exact while nobody
    /// takes or gives.
    pub fn held(&self, number: u32) -> u32 {
        let quota = self.quotas.get(number);
        let home = quota.own().len(&self.tables.records) as u32;
        let own = quota.limits().minimum.saturating_sub(home);
        own + quota.extra().count()
    }

    /// Takes a buffer for quota `number`, from its own or the caches: what is tried first.
    /// `None` proves nothing.
    #[inline]
    pub fn take_of_cached(&self, number: u32) -> Option<Found<'_>> {
        if self.line.is_strict() {
            return None;
        }
        let quota = self.quotas.get(number);
        if quota.collects().get().is_some() {
            return None;
        }
        if let Ok(index) = quota.own().pop(&self.tables.records) {
            return Some((quota.line(true), index));
        }
        if !self.may_claim(quota) || !quota.claim(1) {
            return None;
        }
        let class = quota.class();
        let index = self.take_cached(self.classes().line(class));
        match index.or_else(|| self.take_shared(class)) {
            Some(index) => Some((quota.line(false), index)),
            None => {
                self.unclaim(number, 1);
                None
            }
        }
    }

    /// Whether there may be a claim; a hint.
    pub(super) fn may_claim(&self, quota: &Quota) -> bool {
        quota.extra().count() < quota.limit()
    }

    /// Takes a buffer for quota `number`. `None` proves nothing.
    #[cold]
    pub fn try_take_of(&self, number: u32) -> Option<Found<'_>> {
        let quota = self.quotas.get(number);
        loop {
            if let Some(index) = self.pop_own(number) {
                return Some((quota.line(true), index));
            }
            if self.are_claims_barred(number) || !quota.claim(1) {
                return None;
            }
            if self.line.is_strict() && self.entitle(number) {
                continue;
            }
            if let Some((_, index)) = self.try_take(&[quota.class()]) {
                return Some((quota.line(false), index));
            }
            self.unclaim(number, 1);
            return None;
        }
    }

    /// Takes a buffer for quota `number`, or finds that there is none: see the module.
    /// Lock-free.
    #[cold]
    pub fn take_of(&self, number: u32) -> Result<Found<'_>, Denied> {
        let quota = self.quotas.get(number);
        loop {
            let empty = quota.own().touch();
            let bar = self.bar(number);
            if empty.top().is_some() && bar.is_none() {
                if let Some(found) = self.try_take_of(number) {
                    return Ok(found);
                }
                continue;
            }
            let unchanged = || match bar {
                // All that there is of its own was his all the while.
                Some(bar) => self.bar(number).is_some_and(|now| now.who == bar.who),
                None => fault!(OneLook, true, quota.own().head() == empty),
            };
            if self.are_claims_barred(number) {
                if unchanged() {
                    return Err(Denied::AtMaximum);
                }
                continue;
            }
            if !quota.claim(1) {
                if unchanged() {
                    return Err(Denied::AtMaximum);
                }
                continue;
            }
            if self.line.is_strict() && self.entitle(number) {
                continue;
            }
            match self.take(&[quota.class()]) {
                Ok((_, index)) => return Ok((quota.line(false), index)),
                Err(exhausted) => {
                    let proven = unchanged();
                    self.unclaim(number, 1);
                    if proven {
                        return Err(Denied::Exhausted(exhausted));
                    }
                }
            }
        }
    }

    /// Takes `many` buffers for quota `number`, or none. What it takes of the stream's own
    /// it may put back, so a refusal proves only that not all were free at once while
    /// nobody else of the stream takes and gives.
    #[cold]
    pub fn take_many_of(&self, number: u32, many: u32) -> Result<Several, Denied> {
        let quota = self.quotas.get(number);
        let records = &self.tables.records;
        let mut own = Linked::default();
        while (own.len() as u32) < many
            && let Some(index) = self.pop_own(number)
        {
            own.push(records, quota.class(), index);
        }
        let missing = many - own.len() as u32;
        let all = |own, rest| Several {
            quota: number,
            own,
            rest,
        };
        if missing == 0 {
            return Ok(all(own, Linked::default()));
        }
        // In strict order the claims are those of who came first.
        let spoken_for = self.are_claims_barred(number)
            || self.line.is_strict()
                && (self.line).is_wanted_of(quota.those(number), Lacking::Claim);
        let denied = match !spoken_for && quota.claim(missing) {
            false => Denied::AtMaximum,
            true => match self.take_many(&[quota.class()], missing as usize) {
                Ok(rest) => return Ok(all(own, rest)),
                Err(exhausted) => {
                    self.unclaim(number, missing);
                    Denied::Exhausted(exhausted)
                }
            },
        };
        while let Some((_, index)) = own.pop(records) {
            // The caller holds a handle, so nothing has ended.
            let _home = self.give_own(number, index);
        }
        Err(denied)
    }

    /// Takes one of the own buffers of quota `number`, unless somebody collects: who does, or
    /// attends, serves those who came before him. In a line of strict order what it finds goes
    /// to those who wait. The caller announces nothing.
    pub(super) fn pop_own(&self, number: u32) -> Option<Index> {
        let quota = self.quotas.get(number);
        loop {
            if self.bar(number).is_some() {
                return None;
            }
            let index = quota.own().pop(&self.tables.records).ok()?;
            if !self.line.is_strict() {
                return Some(index);
            }
            match (self.line).hand_over_own(quota.those(number), quota.class(), index) {
                Some(HandOf::Collects) => {
                    // His.
                    self.put_own(number, index);
                    self.attend_to_stream(number);
                    return None;
                }
                Some(HandOf::Served(wake, claim)) => {
                    drop(wake);
                    if claim {
                        quota.note_waiting(-1);
                        self.unclaim(number, 1);
                    }
                }
                None => return Some(index),
            }
        }
    }

    /// In a line of strict order: gives a claim, which the caller has, to the first who waits
    /// for one, or gives it up for one who collects, or is to. False: nobody waits for one.
    /// The caller announces nothing.
    pub(super) fn entitle(&self, number: u32) -> bool {
        let quota = self.quotas.get(number);
        match self.line.entitle(quota.those(number)) {
            Some(HandOf::Served(wake, _)) => {
                quota.note_waiting(1);
                drop(wake);
            }
            None if !self.are_claims_barred(number) => return false,
            Some(HandOf::Collects) | None => self.unclaim(number, 1),
        }
        true
    }
}
