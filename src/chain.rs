//! A list of single buffers, linked through their records.
//!
//! Owns: the head word of the list. Uses: `sync`, `record`, `word`. Used by:
//! `cache`, for what comes back to a processor without restartable sequences;
//! `loose`, for what comes back past the caches; `wait`, for what is kept for somebody
//! who collects.
//!
//! ```text
//!   head {tag, shut, index} ──▶ a ─next─▶ b ─next─▶ c
//!                               depth 3   depth 2   depth 1
//! ```
//!
//! A buffer in the list is held by nobody; whoever moves the head past it holds
//! it. The depth of the top is the length of the list, so no counter is kept.
//! Links do not change until the head has moved past them, and then the tag has
//! changed: a compare-and-swap that succeeds proves that all its caller read was
//! current.

use crate::batch::{Handful, MAX_BATCH};
use crate::record::Records;
use crate::sync::{AtomicU64, Ordering, fault, touch};
use crate::table::Zeroed;
use crate::word::{Head, Index};

/// Why a list did not take a buffer. The buffer is still the caller's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It held as many as it may at one moment within the call.
    Full,
    /// It is shut: the pool is being torn down, or somebody waits for a buffer.
    Shut,
    /// This thread cannot use its processor's list now.
    Diverted,
}

/// The list.
#[derive(Default)]
pub struct Chain {
    /// A `Head`. Written by compare-and-swap alone. `push` releases what its
    /// thread wrote; every reader acquires. Pops are read-modify-writes, so they
    /// continue the release sequence of every earlier push.
    head: AtomicU64,
}

// SAFETY: one integer atomic; all-zero bytes are an open, empty list.
unsafe impl Zeroed for Chain {}

impl Chain {
    fn load(&self) -> Head {
        // Acquire: pairs with the Release in `push`.
        Head::from_word(self.head.load(Ordering::Acquire))
    }

    fn swap(&self, old: Head, new: Head, success: Ordering) -> Result<(), Head> {
        // Failure is Acquire for the same reason as `load`.
        self.head
            .compare_exchange_weak(old.word(), new.word(), success, Ordering::Acquire)
            .map(drop)
            .map_err(Head::from_word)
    }

    /// The list as it is now.
    #[inline]
    pub fn head(&self) -> Head {
        self.load()
    }

    /// How many buffers there were when the list was `head`; anything if it has
    /// changed since.
    #[inline]
    pub fn depth(head: Head, records: &Records) -> u32 {
        head.top()
            .map_or(0, |top| records.get(top.raw() as usize).depth())
    }

    /// Takes the buffer on top. Lock-free. `Err` proves that the list was empty
    /// when the head that it gives was read.
    #[inline]
    pub fn pop(&self, records: &Records) -> Result<Index, Head> {
        self.pop_noting(records).map(|(index, _)| index)
    }

    /// As `pop`, and gives the head that the buffer was on top of.
    #[inline]
    pub fn pop_noting(&self, records: &Records) -> Result<(Index, Head), Head> {
        let mut head = self.load();
        while let Some(top) = head.top() {
            let rest = records.get(top.raw() as usize).next();
            // Release: whoever sees the buffer gone sees what this thread gave
            // or announced before (`lists`). The Acquire side was done by
            // `load`, whose value the tag proves to be current.
            let order = fault!(TakeRelaxed, Ordering::Relaxed, Ordering::Release);
            match self.swap(head, head.with_top(rest), order) {
                Ok(()) => return Ok((top, head)),
                Err(now) => head = now,
            }
        }
        Err(head)
    }

    /// Puts `index`, which the caller holds, on top unless there are `limit`
    /// already or the list is shut. Lock-free. When it succeeds, that was the
    /// last touch of the pool.
    #[inline]
    pub fn push(&self, records: &Records, index: Index, limit: u32) -> Result<(), Refused> {
        let mut head = self.load();
        loop {
            if fault!(IgnoreShut, false, head.is_shut()) {
                return Err(Refused::Shut);
            }
            if Self::depth(head, records) >= limit {
                return Err(Refused::Full);
            }
            match self.push_onto(records, index, head) {
                Ok(()) => return Ok(()),
                Err(now) => head = now,
            }
        }
    }

    /// Puts `index`, which the caller holds, on top even if the list is shut, and says
    /// whether it was. The caller holds a handle of the pool.
    pub fn force(&self, records: &Records, index: Index) -> bool {
        let mut head = self.load();
        loop {
            match self.push_onto(records, index, head) {
                Ok(()) => return head.is_shut(),
                Err(now) => head = now,
            }
        }
    }

    /// Puts `index`, which the caller holds, on top if the list is still `head`;
    /// otherwise gives what it is. When it succeeds, that was the last touch of the
    /// pool.
    #[inline]
    pub fn push_onto(&self, records: &Records, index: Index, head: Head) -> Result<(), Head> {
        let depth = Self::depth(head, records);
        (records.get(index.raw() as usize)).set(head.top(), depth + 1);
        // Release: whoever acquires this head sees the links and everything this
        // thread did with the buffer. Acquire: what this thread does from now on comes
        // after what the last one did who only touched the list (`lists`).
        let order = fault!(ChainPushRelaxed, Ordering::Relaxed, Ordering::AcqRel);
        self.swap(head, head.with_top(Some(index)), order)
    }

    /// Takes all buffers: gives the one on top, and the one below it, which the others
    /// are linked to. Calls `announce` first if there are others. Lock-free. `Err` as
    /// for `pop`.
    pub fn pop_all(
        &self,
        records: &Records,
        announce: &mut dyn FnMut(),
    ) -> Result<(Index, Option<Index>), Head> {
        let mut head = self.load();
        while let Some(top) = head.top() {
            let rest = records.get(top.raw() as usize).next();
            if rest.is_some() {
                announce();
            }
            // Release: as in `remove`.
            let order = fault!(TakeRelaxed, Ordering::Relaxed, Ordering::Release);
            match self.swap(head, head.with_top(None), order) {
                Ok(()) => return Ok((top, rest)),
                Err(now) => head = now,
            }
        }
        Err(head)
    }

    /// Puts `first`, and what it is linked to, which the caller holds, into the list,
    /// even if it is shut, and says whether it was. The caller holds a handle of the
    /// pool.
    pub fn splice(&self, records: &Records, first: Index) -> bool {
        let head = self.load();
        if head.top().is_none() {
            // Links and depths are as they were. Release: they are the caller's, who
            // acquired them, to pass on. AcqRel: see `push_onto`.
            let order = fault!(ChainPushRelaxed, Ordering::Relaxed, Ordering::AcqRel);
            let spliced = head.with_top(Some(first));
            let swapped =
                (self.head).compare_exchange(head.word(), spliced.word(), order, Ordering::Relaxed);
            if swapped.is_ok() {
                return head.is_shut();
            }
        }
        // Somebody put one there meanwhile: one by one, which links them anew.
        let mut shut = false;
        let mut next = Some(first);
        while let Some(index) = next {
            next = records.get(index.raw() as usize).next();
            shut |= self.force(records, index);
        }
        shut
    }

    /// Changes the word, and neither the list nor whether it is shut; gives what it is
    /// then. Whoever changes it before is seen by the caller, and whoever changes it
    /// after that sees the caller.
    pub fn touch(&self) -> Head {
        let mut head = self.load();
        loop {
            let touched = head.with_shut(head.is_shut());
            // AcqRel: see above.
            match self.swap(head, touched, Ordering::AcqRel) {
                Ok(()) => return touched,
                Err(now) => head = now,
            }
        }
    }

    /// Has the list take what is kept for somebody: only while its flag stands. (So
    /// all-zero bytes keep nothing.) The list is empty, and the caller's.
    pub fn begin_to_keep(&self) {
        // Relaxed: nobody else changes it. Release: as every change.
        let head = Head::from_word(self.head.load(Ordering::Relaxed));
        (self.head).store(head.with_shut(true).word(), Ordering::Release);
    }

    /// Puts `index`, which the caller holds, on top if the list is still `head`, whose flag
    /// stands; or, if it is the `most`th, takes the flag away and all the others with it:
    /// gives the top of them then, which they are linked below. Calls `announce` before it
    /// holds them. `Err` gives what the list is if it has changed.
    pub fn keep(
        &self,
        records: &Records,
        index: Index,
        head: Head,
        most: u32,
        announce: &mut dyn FnMut(),
    ) -> Result<Option<Index>, Head> {
        let depth = Self::depth(head, records);
        (records.get(index.raw() as usize)).set(head.top(), depth.wrapping_add(1));
        // AcqRel: the links and the contents are released, as in `push_onto`; who takes all
        // acquired, with `head`, those of the others.
        if depth.wrapping_add(1) < most {
            self.swap(head, head.with_top(Some(index)), Ordering::AcqRel)?;
            return Ok(None);
        }
        announce();
        let done = head.with_top(None).with_shut(false);
        self.swap(head, done, Ordering::AcqRel)?;
        Ok(Some(index))
    }

    /// Takes the flag away, and all that is kept, if `still` holds after the word was read:
    /// gives the top, which the others are linked below.
    pub fn end_keeping(&self, still: impl Fn() -> bool) -> Option<Index> {
        let mut head = self.load();
        while head.is_shut() && still() {
            let done = head.with_top(None).with_shut(false);
            // AcqRel: as above.
            match self.swap(head, done, Ordering::AcqRel) {
                Ok(()) => return head.top(),
                Err(now) => head = now,
            }
        }
        None
    }

    /// Takes as many buffers from the top as `share` says of the list's length,
    /// at once. Lock-free. `Err` as for `pop`. The caller holds a handle of the
    /// pool.
    pub fn take(&self, records: &Records, share: impl FnMut(u32) -> u32) -> Result<Handful, Head> {
        self.remove(records, share, true)
    }

    /// As `take`, but takes nothing from a list that is shut: whoever shut it
    /// has counted what is there. `Err` proves that it was empty or shut.
    pub fn take_open(&self, records: &Records, count: u32) -> Result<Handful, Head> {
        self.remove(records, |_| count, false)
    }

    fn remove(
        &self,
        records: &Records,
        mut share: impl FnMut(u32) -> u32,
        force: bool,
    ) -> Result<Handful, Head> {
        let mut head = self.load();
        while let Some(first) = head.top() {
            if !force && fault!(IgnoreShut, false, head.is_shut()) {
                break;
            }
            let count = share(Self::depth(head, records)) as usize;
            let mut handful = Handful::empty(first);
            let mut rest = Some(first);
            for _ in 0..count.clamp(1, MAX_BATCH) {
                let Some(index) = rest else { break };
                handful.add(index);
                rest = records.get(index.raw() as usize).next();
            }
            // Release: the taker announced the carry before this; whoever sees
            // the buffers gone must see the announcement (`lists::Carry`).
            let order = fault!(TakeRelaxed, Ordering::Relaxed, Ordering::Release);
            match self.swap(head, head.with_top(rest), order) {
                Ok(()) => return Ok(handful),
                Err(now) => head = now,
            }
        }
        Err(head)
    }

    /// Diverts every push from now on, and gives how many buffers were there: a
    /// push that came before is counted, one that comes after is refused.
    /// Changes the word even if it was shut: see `unshut`.
    pub fn shut(&self, records: &Records) -> u64 {
        let mut head = self.load();
        // AcqRel: acquires what the last pusher released, since the memory may
        // be unmapped next; releases what a refused push will look for.
        let order = fault!(ShutRelaxed, Ordering::Relaxed, Ordering::AcqRel);
        while fault!(ShutOnce, !head.is_shut(), true)
            && let Err(now) = self.swap(head, head.with_shut(true), order)
        {
            head = now;
        }
        u64::from(Self::depth(head, records))
    }

    /// Lets pushes in again if `idle` still holds after the word was read. A
    /// thread that makes `idle` false and then calls `shut` is not undone by
    /// this: either `idle` sees that, or the word has changed.
    pub fn unshut(&self, idle: impl Fn() -> bool) {
        let mut head = self.load();
        while head.is_shut() && idle() {
            // Release: as every change.
            match self.swap(head, head.with_shut(false), Ordering::Release) {
                Ok(()) => return,
                Err(now) => head = now,
            }
        }
    }

    /// How many buffers there are: exact while nobody changes the list, an
    /// estimate otherwise.
    pub fn len(&self, records: &Records) -> u64 {
        u64::from(Self::depth(self.load(), records))
    }

    /// A number that changes whenever the list does.
    pub fn tag(&self) -> u32 {
        self.load().tag()
    }

    /// Touches the head, so that no later call faults a page.
    pub fn populate(&self) {
        touch(&self.head);
    }
}
