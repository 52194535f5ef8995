//! What one stream may have of one class.
//!
//! Owns: the stream's own buffers, how many it has of the pool's, and the lines by which
//! its buffers know it. Uses: `sync`, `table`, `chain`, `class`, `wait`, `word`. Used by:
//! `streams`, which says what is done with them.
//!
//! ```text
//!   own    {tag, shut, top} ──▶ a ──▶ b       its minimum: the pool's lists do not have
//!                                             them; whoever takes one takes it from here,
//!                                             and it comes back here
//!   extra  {tag, closed, shut, claims}        how many of the pool's it has, or waits
//!                                             for: no more than its maximum allows beyond
//!                                             its minimum
//! ```
//!
//! # Numbers
//!
//! A quota is in use from `take` to `vacate`. Its constants are written in between by the
//! one thread that took it, before any other can know of it: by the handle of the stream,
//! which publishes them, or by a line, which it gives its buffers.

use super::super::watch::Eagerness;
use crate::chain::Chain;
use crate::class::{ClassId, Line, MAX_CLASSES, OfStream};
use crate::record::Records;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fault};
use crate::sys::fork;
use crate::table::{Table, Zeroed};
use crate::wait::{Collects, Service, Those};
use crate::word::Extra;
use crossbeam_utils::CachePadded;
use std::io;

/// Shares that a pool's streams can have at once, one a stream and class.
const MAX_QUOTAS: usize = if cfg!(hugepool_loom) { 2 } else { 1 << 12 };

/// Bytes of a stream's name.
pub const MAX_NAME: usize = 64;

/// What a stream may have of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The class.
    pub class: ClassId,
    /// Buffers that it has for itself.
    pub minimum: u32,
    /// Buffers that it may have at once.
    pub maximum: u32,
}

/// The list of a stream's own, and who collects: every request of the stream reads both.
#[derive(Default)]
#[repr(C, align(64))]
struct Own {
    list: Chain,
    collects: Collects,
}

#[derive(Default)]
#[repr(C, align(64))]
struct Claims(AtomicU64);

/// See the module.
#[derive(Default)]
#[repr(C)]
pub struct Quota {
    /// That of its own buffers, and that of the pool's.
    lines: [Line; 2],
    own: Own,
    /// An `Extra`. AcqRel on every change: who finds a claim free, or the stream ended,
    /// finds what was done before.
    claims: Claims,
    service: Service,
    /// Claims that those who wait have: {forks: 32, count: 32}. Those of another count of
    /// forks are a parent's, and no longer theirs. Counted after a claim is had and before
    /// it is given up, so a child that gives these up gives up none that nobody has.
    /// Relaxed, but see `give_up_parents`.
    waiting: AtomicU64,
    eagerness: Eagerness,
    /// Constants. Relaxed: see the module.
    class: AtomicU32,
    minimum: AtomicU32,
    /// Claims that there can be.
    limit: AtomicU32,
    name_len: AtomicU32,
    name: [AtomicU64; MAX_NAME / 8],
}

// SAFETY: integer and pointer atomics alone; all-zero bytes are a quota of nothing.
unsafe impl Zeroed for Quota {}

impl Quota {
    /// Its own buffers.
    pub fn own(&self) -> &Chain {
        &self.own.list
    }

    /// The word that names who collects.
    pub fn collects(&self) -> &Collects {
        &self.own.collects
    }

    /// Those who wait for it, whose number is `number`.
    pub fn those(&self, number: u32) -> Those<'_> {
        Those {
            stream: number,
            service: &self.service,
            collects: self.collects(),
        }
    }

    /// How those who wait for it are being served.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// How long its threads look for a buffer before they sleep.
    pub fn eagerness(&self) -> &Eagerness {
        &self.eagerness
    }

    /// The class.
    pub fn class(&self) -> ClassId {
        let class = self.class.load(Ordering::Relaxed) as usize;
        ClassId::new(class).unwrap_or(ClassId::FIRST)
    }

    /// What the stream may have.
    pub fn limits(&self) -> Limits {
        let minimum = self.minimum.load(Ordering::Relaxed);
        Limits {
            class: self.class(),
            minimum,
            maximum: minimum.saturating_add(self.limit()),
        }
    }

    /// Claims that there can be.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// The line of its own buffers, or of the pool's that it has.
    pub fn line(&self, own: bool) -> &Line {
        &self.lines[usize::from(!own)]
    }

    /// Claims that are taken, and what else there is to say.
    pub fn extra(&self) -> Extra {
        Extra::from_word(self.claims.0.load(Ordering::Acquire))
    }

    /// Changes the claims. Gives what they were.
    fn change(&self, mut change: impl FnMut(Extra) -> Extra) -> Extra {
        let next = |word| Some(change(Extra::from_word(word)).word());
        let was = (self.claims.0).fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        let (Ok(word) | Err(word)) = was;
        Extra::from_word(word)
    }

    /// Takes `count` claims, if there are so many. The word is changed if there are not,
    /// too: who gave one up before that is seen, and who does so after that sees the
    /// caller.
    pub fn claim(&self, count: u32) -> bool {
        self.try_claim(count) || self.give_up_parents() && self.try_claim(count)
    }

    fn try_claim(&self, count: u32) -> bool {
        let fits = |extra: Extra| {
            let more = extra.count().saturating_add(count);
            // The limit is read after the word that the change proves to be current, so
            // it is that of the stream which has the quota now.
            !extra.is_closed() && fault!(NoMaximum, true, more <= self.limit())
        };
        let mut claimed = false;
        self.change(|extra| {
            claimed = fits(extra);
            extra.plus(if claimed { count } else { 0 })
        });
        claimed
    }

    /// Somebody who waits has so many more claims, or fewer.
    pub fn note_waiting(&self, change: i32) {
        let own = fork::forks();
        let mut parents = 0;
        let next = |word: u64| {
            let (forks, count) = ((word >> 32) as u32, word as u32);
            parents = if forks == own { 0 } else { count };
            let count = if forks == own { count } else { 0 };
            // (One that a parent's thread had, and its copy here gives up.)
            let count = count.saturating_add_signed(change);
            Some(u64::from(own) << 32 | u64::from(count))
        };
        let _ = (self.waiting).fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        if parents > 0 {
            self.release(parents);
        }
    }

    /// In a child of a fork: gives up the claims of those who waited in its parent. True if
    /// there were any.
    pub fn give_up_parents(&self) -> bool {
        let word = self.waiting.load(Ordering::Relaxed);
        if (word >> 32) as u32 == fork::forks() || word as u32 == 0 {
            return false;
        }
        // A child begins with one thread, so its parent's words are as they were.
        self.note_waiting(0);
        true
    }

    /// Gives up `count` claims that the caller has. Gives what they are then.
    pub fn release(&self, count: u32) -> Extra {
        let change = Extra::from_word(0).minus(count).word();
        let before = self.claims.0.fetch_add(change, Ordering::AcqRel);
        Extra::from_word(before.wrapping_add(change))
    }

    /// Takes a claim, whether there is one or not, for a buffer that the caller has.
    pub fn claim_anyway(&self) {
        self.give_up_parents();
        self.change(|extra| extra.plus(1));
    }

    /// Changes the word, and nothing that it says.
    pub fn touch(&self) -> Extra {
        self.change(|extra| extra.plus(0))
    }

    /// Says that somebody waits: who gives one of its own buffers back, or a claim, looks
    /// at the line from now on. Changes both words even if they say so.
    pub fn shut(&self, records: &Records) {
        self.own().shut(records);
        self.change(|extra| extra.with_shut(true));
    }

    /// Says of claims that nobody waits, if `idle` still holds after the word was read: as
    /// `Chain::unshut`.
    pub fn unshut_claims(&self, idle: impl Fn() -> bool) {
        let mut extra = self.extra();
        while extra.is_shut() && idle() {
            let open = extra.with_shut(false).word();
            match self.claims.0.compare_exchange_weak(
                extra.word(),
                open,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(now) => extra = Extra::from_word(now),
            }
        }
    }

    /// Says that the stream has ended, and counts all its own buffers as claims from now
    /// on, which are given up when they come back; and one more, which is the caller's.
    pub fn close(&self) {
        let own = self.minimum.load(Ordering::Relaxed);
        self.change(|extra| extra.plus(own + 1).closed());
    }
}

/// The quotas of a pool.
pub struct Quotas {
    quotas: Table<Quota>,
    /// A bit each, set while it is in use. Set with Acquire, cleared with Release: what
    /// was done with it comes before what its next owner does.
    used: [AtomicU64; MAX_QUOTAS.div_ceil(64)],
    /// The largest number that ever was. Grown, with Release, when the memory of all up to
    /// that is open, and read with Acquire by who looks at them.
    highest: CachePadded<AtomicU32>,
    /// How many buffers of each class are the own ones of streams, or are about to be.
    promised: [AtomicU64; MAX_CLASSES],
    /// How many of these are.
    aside: [AtomicU64; MAX_CLASSES],
}

impl Quotas {
    /// None in use. Fails as `mmap` does.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            quotas: Table::closed(MAX_QUOTAS)?,
            used: std::array::from_fn(|_| AtomicU64::new(0)),
            highest: CachePadded::new(AtomicU32::new(0)),
            promised: std::array::from_fn(|_| AtomicU64::new(0)),
            aside: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// How many buffers of `class` are the own ones of streams, or are about to be.
    pub fn promised(&self, class: ClassId) -> &AtomicU64 {
        &self.promised[class.index()]
    }

    /// Whether there was never any: then nothing of it is touched.
    pub fn is_unused(&self) -> bool {
        self.highest.load(Ordering::Relaxed) == 0
    }

    /// Those that are, or were last, of `class`.
    pub fn of_class(&self, class: ClassId) -> impl Iterator<Item = &Quota> {
        // Acquire: see `highest`.
        let highest = self.highest.load(Ordering::Acquire);
        let quotas = (1..=highest).map(|number| self.get(number));
        quotas.filter(move |quota| quota.class() == class)
    }

    /// How many buffers of `class` have been set aside for streams.
    pub fn aside(&self, class: ClassId) -> &AtomicU64 {
        &self.aside[class.index()]
    }

    /// How many there can be: `MAX_QUOTAS`, unless the system has no memory for more. Told
    /// after one was refused.
    pub fn limit(&self) -> usize {
        self.quotas.ready()
    }

    /// The quota numbered `number`, counted from 1.
    pub fn get(&self, number: u32) -> &Quota {
        self.quotas.get(number.wrapping_sub(1) as usize)
    }

    /// A quota that is in nobody's use, for buffers of the class of `line`, for the
    /// stream `name`. None of its own buffers are there yet. `None`: each was in use at a
    /// moment of its own, or the system has no memory for more of them.
    pub fn take(&self, line: &Line, limits: Limits, name: &str) -> Option<u32> {
        let number = self.used.iter().enumerate().find_map(|(at, word)| {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != u64::MAX {
                let bit = bits.trailing_ones();
                if at * 64 + bit as usize >= MAX_QUOTAS {
                    return None;
                }
                bits = word.fetch_or(1 << bit, Ordering::Acquire);
                if bits >> bit & 1 == 0 {
                    return Some((at * 64) as u32 + bit + 1);
                }
            }
            None
        })?;
        // Before it is among those that others look at.
        if self.quotas.open_to(number as usize).is_err() {
            self.vacate(number);
            return None;
        }
        // Release: see `highest`.
        self.highest.fetch_max(number, Ordering::Release);
        let quota = self.get(number);
        for own in [true, false] {
            let stream = OfStream { quota: number, own };
            quota.line(own).define_for(line, stream);
        }
        let set = |word: &AtomicU32, value| word.store(value, Ordering::Relaxed);
        set(&quota.class, limits.class.index() as u32);
        set(&quota.minimum, limits.minimum);
        set(&quota.limit, limits.maximum.saturating_sub(limits.minimum));
        let mut bytes = [0; MAX_NAME];
        let len = name.len().min(MAX_NAME);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        set(&quota.name_len, len as u32);
        for (word, eight) in quota.name.iter().zip(bytes.chunks_exact(8)) {
            let eight = eight.try_into().unwrap_or_default();
            word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
        }
        // Nobody waits for it, and what it had is gone. The tags go on.
        quota.own().unshut(|| true);
        quota.change(Extra::renewed);
        Some(number)
    }

    /// The name of the stream of quota `number`; of another one, or of parts of two, if
    /// that stream has ended. Its bytes, and how many there are.
    pub fn name(&self, number: u32) -> ([u8; MAX_NAME], usize) {
        let quota = self.get(number);
        let mut bytes = [0; MAX_NAME];
        for (word, eight) in quota.name.iter().zip(bytes.chunks_exact_mut(8)) {
            eight.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        let len = quota.name_len.load(Ordering::Relaxed) as usize;
        (bytes, len.min(MAX_NAME))
    }

    /// Puts back quota `number`, all of whose buffers have come home.
    pub fn vacate(&self, number: u32) {
        let at = number.wrapping_sub(1) as usize;
        let word = &self.used[at / 64];
        word.fetch_and(!(1 << (at % 64)), Ordering::Release);
    }

    /// Bytes of memory the quotas occupy, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        self.quotas.resident(usize::MAX)
    }
}
