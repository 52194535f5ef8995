//! Whether the buffers of a class come and go by the caches, or by one list that all
//! processors share.
//!
//! Owns: the mode of each class, and when it changes. Uses: the lists. Used by: every
//! way past the hot path.
//!
//! ```text
//!                 somebody waits, is about to be refused,
//!                 or would steal too often
//!     open  ──────────────────────────────────▶  sharing  ── the caches are shut on
//!       ▲                                           │        every processor
//!       │    nobody has waited, or been refused,    ▼
//!       └─────────────  for `LINGER`  ──────────  shared
//! ```
//!
//! An *open* class is fast and private: a free is a plain store into this processor's
//! cache. That suits a pool with buffers to spare. In a pool that runs dry each buffer
//! goes from one processor to another, and to find it in a cache costs a `membarrier(2)`.
//! So a class that runs dry is *shared* for a while: a free puts its buffer, by one
//! compare-and-swap, onto the loose list, where any taker finds it. What was in the
//! caches is moved there.
//!
//! To share a class costs one `membarrier`, and it stays shared for `BRIEFLY` or
//! longer; to steal from an open one costs one, too, and is allowed so often that both together
//! are no more than three hundred a second (of each class; more if several threads begin to
//! share it at the same instant, and one of them has not done it when the others stop looking).
//!
//! # Opening undoes nobody's sharing
//!
//! Who opens a class looks whether anybody waits for it, and then changes the mode by
//! compare-and-swap. Who needs it shared has shown that before (it stands in line), and
//! then changes the mode's word, even if it says shared already. If that change comes
//! first, the opener's fails; if it comes second, it finds the class open, and shares
//! it. The lists themselves are opened one by one, each by a compare-and-swap of its
//! word, only while the mode still says so; and they are shut by a change of the word,
//! even if they were shut.

use super::FreeLists;
use super::ledger::Carry;
use super::waiting::Owed;
use super::watch::Eagerness;
use crate::cache::{CpuCaches, Robbed, Share};
use crate::class::ClassId;
use crate::sync::{AtomicU64, Ordering, fault, fence, spin_loop, touch};
use crate::sys::clock;
use crate::table::Zeroed;
use crate::word::{Index, Mode, State};

/// How long a class stays shared after the last one who needed that, in nanoseconds.
const LINGER: u64 = 50_000_000;
/// As above, if nobody waited or was refused. (The clock is coarse: it may be 4 to 8 ms, or
/// 0 to 10, but only one time a tick.)
const BRIEFLY: u64 = 5_000_000;
/// The time that passes, in the long run, from one steal out of an open class to the
/// next, in nanoseconds.
const STEAL: u64 = 20_000_000;
/// How long a class must not have been stolen from, nor shared, before a cache may hold more
/// of it than its share: what that costs others must be rare.
const PEACE: u64 = 1_000_000_000;
/// How many may follow each other at once.
const STEALS: u64 = 8;
/// How often a thread looks whether a batch comes, before it disturbs a processor that has
/// buffers; and how often in a row while nothing changes there. Some microseconds (more where
/// a pause is long), and one or two.
const WATCH: u32 = 32;
const WATCH_IDLE: u32 = 8;
/// Pauses from one look to the next.
const PAUSES: u32 = 8;
/// How often a thread looks whether another one has done its part, before it does it
/// itself.
const SPINS: u32 = if cfg!(hugepool_loom) { 0 } else { 1024 };

/// The mode of a class.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct Regime {
    /// A `Mode`. AcqRel on every change, Acquire on loads: see the module.
    mode: AtomicU64,
    /// When the class may be opened, on the coarse clock. Relaxed: a hint.
    until: AtomicU64,
    /// When the steals so far are paid for. Relaxed: it only bounds how many there are.
    paid: AtomicU64,
    /// How often processors were disturbed. Relaxed: statistics.
    barriers: AtomicU64,
    eagerness: Eagerness,
}

// SAFETY: integer atomics alone; all-zero bytes are an open class.
unsafe impl Zeroed for Regime {}

impl Regime {
    pub(super) fn mode(&self) -> Mode {
        Mode::from_word(self.mode.load(Ordering::Acquire))
    }

    /// Touches it, so that no later call faults a page.
    pub(super) fn populate(&self) {
        touch(&self.mode);
    }

    /// Changes the mode if it is still `old`; otherwise gives what it is.
    fn advance(&self, old: Mode, state: State) -> Result<Mode, Mode> {
        let new = old.with(state);
        (self.mode)
            .compare_exchange(old.word(), new.word(), Ordering::AcqRel, Ordering::Acquire)
            .map(|_| new)
            .map_err(Mode::from_word)
    }
}

impl<C: CpuCaches> FreeLists<C> {
    pub(super) fn regime(&self, class: ClassId) -> &Regime {
        self.regimes.get(class.index())
    }

    pub(super) fn eagerness(&self, class: ClassId) -> &Eagerness {
        &self.regime(class).eagerness
    }

    /// Whether buffers of `class` come and go by the caches; a hint.
    pub(super) fn is_open(&self, class: ClassId) -> bool {
        self.regime(class).mode().state() == State::Open
    }

    /// Whether every section of `class` has ended, and none begins.
    pub(super) fn is_shared(&self, class: ClassId) -> bool {
        self.regime(class).mode().state() == State::Shared
    }

    /// Keeps a shared class so for a while.
    pub(super) fn linger(&self, class: ClassId) {
        self.linger_for(class, LINGER);
    }

    fn linger_for(&self, class: ClassId, time: u64) {
        let until = clock::coarse() + time;
        let at = &self.regime(class).until;
        if at.load(Ordering::Relaxed) < until {
            at.store(until, Ordering::Relaxed);
        }
    }

    /// Sees to it that every free of `class` from now on goes past the caches. False if
    /// some may not: the kernel would not say that all pushes have ended that began
    /// before. What it moves out of the caches may be wanted: see `owed`. Lock-free.
    pub(super) fn share(&self, class: ClassId, owed: &mut Owed) -> bool {
        let regime = self.regime(class);
        while let Some(begun) = self.begin_to_share(class) {
            self.linger_for(class, BRIEFLY);
            self.note_barrier(class);
            // SeqCst: the mode, and then the processors in use; see `give_room`.
            fault!(NoVisitFence, (), fence(Ordering::SeqCst));
            let stopped = self.caches.shut(&self.tables, &[class]).is_some();
            self.depot(class).shut(&self.tables.batches);
            let now = match stopped {
                // If somebody changed it meanwhile, that one does this, too, and says so.
                true => regime
                    .advance(begun, State::Shared)
                    .unwrap_or_else(|now| now),
                false => regime.mode(),
            };
            if now.state() == State::Open {
                // It was opened, perhaps before we shut the last of its lists, which
                // nobody would open then.
                continue;
            }
            if !stopped {
                // Whoever comes next tries again.
                return false;
            }
            self.drain(class, owed);
            return true;
        }
        true
    }

    /// Says that a class is about to be shared. `None`: it is shared.
    fn begin_to_share(&self, class: ClassId) -> Option<Mode> {
        let regime = self.regime(class);
        let mut mode = regime.mode();
        let mut spins = 0;
        loop {
            let next = match mode.state() {
                State::Shared => State::Shared,
                State::Open => State::Sharing,
                State::Sharing if spins < SPINS => {
                    spins += 1;
                    spin_loop();
                    mode = regime.mode();
                    continue;
                }
                State::Sharing => State::Sharing,
            };
            if fault!(ShareOnce, next == State::Shared, false) {
                return None;
            }
            match regime.advance(mode, next) {
                Ok(_) if next == State::Shared => return None,
                Ok(mode) => return Some(mode),
                Err(now) => mode = now,
            }
        }
    }

    /// Has nobody open `class` again, nor give any more slots room: the pool closes.
    pub(super) fn shut_for_good(&self, class: ClassId) {
        let regime = self.regime(class);
        let mut mode = regime.mode();
        while fault!(CloseOpen, false, true)
            && let Err(now) = regime.advance(mode, State::Sharing)
        {
            mode = now;
        }
        // SeqCst: as in `share`.
        fault!(NoVisitFence, (), fence(Ordering::SeqCst));
    }

    /// Moves what is in the caches of a class, which the caller has shut, to the loose
    /// list.
    pub(super) fn drain(&self, class: ClassId, owed: &mut Owed) {
        let quiet = || self.is_shared(class);
        for cpu in self.tables.visited.iter() {
            if fault!(NoSteal, cpu != self.caches.current(), false) {
                continue;
            }
            let held = self.caches.len(&self.tables, cpu, class);
            for _ in 0..held {
                let mut carry = None;
                let mut announce = || {
                    carry.get_or_insert_with(|| Carry::begin(self.own_ledger(class)));
                };
                let (tables, share) = (&self.tables, Share::All);
                let robbed = (self.caches).rob(tables, cpu, class, &quiet, share, &mut announce);
                let Robbed::Some(handful) = robbed else { break };
                for &index in handful.as_slice() {
                    self.put_loose(class, index, owed);
                }
            }
        }
    }

    /// Lets buffers of a shared class come and go by the caches again if nobody has
    /// needed it shared for a while; also of one that somebody has been sharing all that
    /// time, to whom the kernel refused it. The caller holds a handle.
    pub(super) fn reopen_if_idle(&self, class: ClassId) {
        let regime = self.regime(class);
        // Relaxed: a hint.
        if clock::coarse() >= regime.until.load(Ordering::Relaxed) {
            self.reopen(class);
        }
    }

    /// As above, without regard to time.
    #[cold]
    pub fn reopen(&self, class: ClassId) {
        let regime = self.regime(class);
        let mode = regime.mode();
        let line = self.classes().line(class);
        if mode.state() == State::Open
            || self.loose(class).is_shut(self.loose_lists)
            || fault!(OpenAnyway, false, self.line.is_waited_for(line))
        {
            return;
        }
        if let Ok(open) = regime.advance(mode, State::Open) {
            // SeqCst: see `put_in_use`.
            fault!(NoSlotFence, (), fence(Ordering::SeqCst));
            self.open_lists(class, open);
        }
    }

    /// Lets a class's caches and depot take buffers if its mode is still `open`.
    fn open_lists(&self, class: ClassId, open: Mode) {
        let still = || fault!(OpenAnyway, true, self.regime(class).mode() == open);
        self.caches.unshut(&self.tables, class, &still);
        self.depot(class).unshut(still);
    }

    /// Lets the caches of a class in use that is new.
    pub(super) fn put_in_use(&self, class: ClassId) {
        self.caches.attach(&self.tables, class);
        // SeqCst: the slots, and then the mode; who opens a class changes the mode, and
        // then looks for slots to open. One of us opens them.
        fault!(NoSlotFence, (), fence(Ordering::SeqCst));
        let mode = self.regime(class).mode();
        if mode.state() == State::Open {
            self.open_lists(class, mode);
        }
    }

    /// A `membarrier(2)` is about to be made for `class`, if the caches need any.
    pub(super) fn note_barrier(&self, class: ClassId) {
        if !cfg!(hugepool_loom) && self.caches.disturbs() {
            let barriers = &self.regime(class).barriers;
            barriers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were.
    pub fn barriers(&self, class: ClassId) -> u64 {
        self.regime(class).barriers.load(Ordering::Relaxed)
    }

    /// Looks for a short while whether a batch comes into the depot, where the threads on
    /// processor `cpu` only give buffers of `class` and do so just now: a batch is on its way
    /// then, and costs less than to disturb them. (Caches that nobody need disturb are robbed at
    /// once. Models have no time.)
    pub(super) fn await_flush(&self, cpu: usize, class: ClassId, owed: &mut Owed) -> Option<Index> {
        let disturbs = !cfg!(hugepool_loom) && self.caches.disturbs();
        if !disturbs || !self.only_gives(cpu, class) {
            return None;
        }
        let (mut before, mut idle) = (self.caches.activity(cpu, class), 0);
        for _ in 0..WATCH {
            if !self.depot(class).is_empty()
                && let Ok(index) = self.take_from_depot(class, owed)
            {
                return Some(index);
            }
            let now = self.caches.activity(cpu, class);
            idle = if now == before { idle + 1 } else { 0 };
            before = now;
            if idle == WATCH_IDLE || !self.is_open(class) {
                break;
            }
            (0..PAUSES).for_each(|_| spin_loop());
        }
        None
    }

    /// Whether nobody stole a buffer of `class`, nor had it shared, for a while; a hint. (In a
    /// model, which has no time, somebody always has.)
    pub(super) fn is_at_peace(&self, class: ClassId) -> bool {
        if cfg!(hugepool_loom) {
            return false;
        }
        let regime = self.regime(class);
        // Relaxed: hints.
        let paid = regime.paid.load(Ordering::Relaxed);
        let until = regime.until.load(Ordering::Relaxed);
        clock::coarse() >= paid.max(until) + PEACE
    }

    /// Whether a thread may disturb another processor for a buffer of `class`, which is
    /// open.
    pub(super) fn may_steal(&self, class: ClassId) -> bool {
        if cfg!(hugepool_loom) {
            return true;
        }
        let (now, paid) = (clock::coarse(), &self.regime(class).paid);
        let pay = |paid: u64| {
            let next = paid.max(now) + STEAL;
            (next <= now + STEAL * STEALS).then_some(next)
        };
        // Relaxed: it only bounds how many there are, and tells `is_at_peace`.
        let paid = paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        paid.is_ok() || !self.caches.disturbs()
    }
}
