//! The state of a set, and the value that comes with it.
//!
//! Owns: the word that says both, and the order in which the value appears. Uses:
//! `sync`, `state`. Used by: `set`, whose value is the pool.
//!
//! ```text
//!   word: {closed: 1, made: 1, making: 1, devices: 8, state: 8}
//!
//!   Configurable ──▶ Configurable, making ──▶ Initializing, made
//!                        │        │
//!                        │        └──▶ Configurable (it could not be made)
//!                        └──▶ Aborted, making ──▶ Aborted (what was made is dropped)
//! ```
//!
//! Each arrow is one compare-and-swap. Only who set `making` clears it, and writes the
//! value before it sets `made` (Release); whoever sees `made` (Acquire) may read the
//! value, which stays until the stage is dropped.

use super::state::{Call, Cell, State};
use crate::sync::{AtomicU32, Ordering, fault};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

const STATE: u32 = 0xff;
const DEVICE: u32 = 1 << 8;
const DEVICES: u32 = 0xff << 8;
const MAKING: u32 = 1 << 16;
const MADE: u32 = 1 << 17;
const CLOSED: u32 = 1 << 18;

/// Why a call is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// In this state it may not be made.
    Protocol(State),
    /// The set was aborted.
    Aborted,
    /// All of so many devices are open.
    Devices(u8),
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

    /// What `word` says of `call`.
    fn cell(call: Call, word: u32) -> Result<State, Refusal> {
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
            Cell::Stays => Ok(state),
            Cell::To(next) => Ok(next),
        }
    }

    /// Whether `call`, which leads nowhere, may be made.
    pub fn check(&self, call: Call) -> Result<(), Refusal> {
        Self::cell(call, self.load()).map(drop)
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

    /// Goes where `call` leads.
    pub fn take(&self, call: Call) -> Result<(), Refusal> {
        let over = if call == Call::Close { CLOSED } else { 0 };
        self.change(|word| {
            let next = Self::cell(call, word)?;
            Ok(word & !STATE | next as u32 | over)
        })
        .map(drop)
    }

    /// Opens one of `limit` devices.
    pub fn open_device(&self, limit: u8) -> Result<(), Refusal> {
        self.change(|word| {
            let next = Self::cell(Call::OpenDevice, word)?;
            if (word & DEVICES) / DEVICE >= limit.into() {
                return Err(Refusal::Devices(limit));
            }
            Ok((word & !STATE | next as u32) + DEVICE)
        })
        .map(drop)
    }

    /// Closes a device; the last one ends the set.
    pub fn close_device(&self) -> Result<(), Refusal> {
        self.change(|word| {
            let state = Self::cell(Call::CloseDevice, word)?;
            match (word & DEVICES) / DEVICE {
                // Aborted, and all are closed.
                0 => Err(Refusal::Protocol(state)),
                1 if state == State::Active => Ok((word & !STATE | State::Ended as u32) - DEVICE),
                _ => Ok(word - DEVICE),
            }
        })
        .map(drop)
    }

    /// Begins to make the value. Whoever has begun ends it, by one of the two below.
    pub fn begin_making(&self) -> Result<(), Refusal> {
        self.change(|word| {
            Self::cell(Call::EndConfiguration, word)?;
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
