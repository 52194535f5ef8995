//! The state of a set, and the value that comes with it.
//!
//! Owns: the word that says both, and the order in which the value appears. Uses:
//! `sync`, `state`. Used by: `set`, whose value is the pool.
//!
//! ```text
//!   word: {shut: 8, aborted: 1, closed: 1, made: 1, making: 1, opened: 8, state: 8}
//!
//!   Configurable ──▶ Configurable, making ──▶ Initializing, made
//!                        │        │
//!                        │        └──▶ Configurable (it could not be made)
//!                        └──▶ Aborted, making ──▶ Aborted (what was made is dropped)
//!
//!   Initializing ──▶ Active, opened n, shut m < n
//!                        │        │
//!                        │        └──▶ Ended, opened n, shut n (the last one was shut)
//!                        └──▶ Absent, closed, aborted (Close found n - m devices open)
//! ```
//!
//! Each arrow is one compare-and-swap. Only who set `making` clears it, and writes the
//! value before it sets `made` (Release); whoever sees `made` (Acquire) may read the
//! value, which stays until the stage is dropped.
//!
//! How many devices are open is what was `opened` less what was `shut`, in the word that
//! also says the state: the thread that shuts the last one ends the set by the same
//! exchange, and a Close either comes before that, finds a device open and says so, or
//! comes after it and finds none. `aborted` is set by SignalAbort, and by a Close that
//! finds devices open, and never cleared: it says what clients are told once the state is
//! Absent.

use super::state::{Call, Cell, State};
use crate::sync::{AtomicU32, Ordering, fault};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::panic::RefUnwindSafe;

const STATE: u32 = 0xff;
const OPENED: u32 = 1 << 8;
const MAKING: u32 = 1 << 16;
const MADE: u32 = 1 << 17;
const CLOSED: u32 = 1 << 18;
const ABORTED: u32 = 1 << 19;
const SHUT: u32 = 1 << 24;

/// Why a call is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// In this state it may not be made.
    Protocol(State),
    /// The set was aborted.
    Aborted,
    /// Every device that was opened is closed.
    Shut,
    /// All of so many devices were opened.
    Devices(u8),
    /// So many devices were open. The set is closed all the same.
    Open(u8),
}

/// The state of a set, and a value that is made once.
pub struct Stage<T> {
    /// See the module. Changed with AcqRel, read with Acquire.
    word: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written by one thread while nobody reads it, and shared after
// that; see the module.
unsafe impl<T: Send + Sync> Sync for Stage<T> {}

// A panic comes between two changes of the word, as another thread's look does.
impl<T: RefUnwindSafe> RefUnwindSafe for Stage<T> {}

impl<T> Default for Stage<T> {
    fn default() -> Self {
        Self {
            word: AtomicU32::new(0),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }
}

fn state_of(word: u32) -> State {
    State::from_number((word & STATE) as u8)
}

/// How many devices were opened so far.
fn opened(word: u32) -> u8 {
    (word / OPENED) as u8
}

/// How many devices are open. No more are shut than were opened.
fn open(word: u32) -> u8 {
    opened(word) - (word / SHUT) as u8
}

impl<T> Stage<T> {
    fn load(&self) -> u32 {
        self.word
            .load(fault!(StageRelaxed, Ordering::Relaxed, Ordering::Acquire))
    }

    /// The state.
    pub fn state(&self) -> State {
        state_of(self.load())
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.load() & CLOSED != 0
    }

    /// Whether the set was aborted, or closed with devices open. It stays so.
    pub fn was_aborted(&self) -> bool {
        self.load() & ABORTED != 0
    }

    /// Where `call` leads from `word`, if it may be made.
    fn next(call: Call, word: u32) -> Result<State, Refusal> {
        let state = state_of(word);
        // What is being made can no longer be changed, nor made again.
        let busy =
            word & MAKING != 0 && matches!(call, Call::RequestBuffers | Call::EndConfiguration);
        // A closed set is not opened again.
        let over = word & CLOSED != 0;
        match call.cell(state) {
            _ if busy || over => Err(Refusal::Protocol(state)),
            Cell::Protocol => Err(Refusal::Protocol(state)),
            Cell::Abort => Err(Refusal::Aborted),
            Cell::Close => Err(Refusal::Shut),
            Cell::Stays => Ok(state),
            Cell::To(next) => Ok(next),
            Cell::Ends => Ok(State::Absent),
        }
    }

    /// Whether `call`, which leads nowhere, may be made.
    pub fn check(&self, call: Call) -> Result<(), Refusal> {
        Self::next(call, self.load()).map(drop)
    }

    /// The value, for a `call` that leads nowhere: one plain load, and `None` leaves it
    /// to `check` to say why.
    #[inline(always)]
    pub fn value_for(&self, call: Call) -> Option<&T> {
        let word = self.load();
        let allowed = call.carried_out() >> (word & STATE) & 1 != 0;
        // SAFETY: it is made, and stays.
        (allowed && word & MADE != 0).then(|| unsafe { self.made() })
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        // SAFETY: it is made, and stays.
        (self.load() & MADE != 0).then(|| unsafe { self.made() })
    }

    /// # Safety
    ///
    /// The caller saw `made`.
    unsafe fn made(&self) -> &T {
        // SAFETY: it was written before `made` was set, and is not written again.
        unsafe { (*self.value.get()).assume_init_ref() }
    }

    /// Changes the word by `next`, unless that refuses.
    fn change(&self, next: impl Fn(u32) -> Result<u32, Refusal>) -> Result<u32, Refusal> {
        let mut word = self.load();
        loop {
            let changed = next(word)?;
            fault!(
                StageStores,
                {
                    self.word.store(changed, Ordering::Release);
                    return Ok(word);
                },
                ()
            );
            // AcqRel: see the module.
            match self.word.compare_exchange(
                word,
                changed,
                fault!(StageRelaxed, Ordering::Relaxed, Ordering::AcqRel),
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(word),
                Err(now) => word = now,
            }
        }
    }

    /// Goes where `call` leads. A Close that finds devices open goes there, too, and says
    /// [`Refusal::Open`].
    pub fn take(&self, call: Call) -> Result<(), Refusal> {
        let closed = if call == Call::Close { CLOSED } else { 0 };
        let ends = |word| call.cell(state_of(word)) == Cell::Ends;
        let before = self.change(|word| {
            let next = Self::next(call, word)?;
            let aborts = next == State::Aborted || ends(word);
            let aborted = if aborts { ABORTED } else { 0 };
            Ok(word & !STATE | next as u32 | closed | aborted)
        })?;
        match ends(before) {
            true => Err(Refusal::Open(open(before))),
            false => Ok(()),
        }
    }

    /// Opens the next of `limit` devices.
    pub fn open_device(&self, limit: u8) -> Result<(), Refusal> {
        self.change(|word| {
            let next = Self::next(Call::OpenDevice, word)?;
            if opened(word) >= limit {
                return Err(Refusal::Devices(limit));
            }
            Ok((word & !STATE | next as u32) + OPENED)
        })
        .map(drop)
    }

    /// Closes a device; the last one that is open ends the set.
    pub fn close_device(&self) -> Result<(), Refusal> {
        self.change(|word| {
            // In Active at least one is open: OpenDevice leads there, and this leads on.
            let state = Self::next(Call::CloseDevice, word)?;
            let next = if open(word) == 1 { State::Ended } else { state };
            Ok((word & !STATE | next as u32) + SHUT)
        })
        .map(drop)
    }

    /// Begins to make the value. Whoever has begun ends it, by one of the two below.
    pub fn begin_making(&self) -> Result<(), Refusal> {
        self.change(|word| {
            Self::next(Call::EndConfiguration, word)?;
            Ok(word | fault!(NoMaking, 0, MAKING))
        })
        .map(drop)
    }

    /// It could not be made.
    pub fn give_up_making(&self) {
        let given_up = self.change(|word| Ok(word & !MAKING));
        debug_assert!(given_up.is_ok());
    }

    /// It is made. Drops it if the set was aborted or closed meanwhile.
    pub fn end_making(&self, value: T) -> Result<(), Refusal> {
        // SAFETY: the caller alone has begun to make it, and nobody reads it before
        // `made` is set.
        unsafe { (*self.value.get()).write(value) };
        let ended = self.change(|word| match state_of(word) {
            State::Configurable => Ok(word & !(STATE | MAKING) | MADE | State::Initializing as u32),
            State::Aborted => Err(Refusal::Aborted),
            other => Err(Refusal::Protocol(other)),
        });
        if let Err(refusal) = ended {
            // SAFETY: written above; `made` is not set, so nobody else has seen it.
            unsafe { (*self.value.get()).assume_init_drop() };
            self.give_up_making();
            return Err(refusal);
        }
        Ok(())
    }
}

impl<T> Drop for Stage<T> {
    fn drop(&mut self) {
        if self.load() & MADE != 0 {
            // SAFETY: it is made, and nobody has a reference any more.
            unsafe { (*self.value.get()).assume_init_drop() };
        }
    }
}
