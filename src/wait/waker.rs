//! Where a task leaves word how it is to be woken.
//!
//! Owns: the note with its waker. Uses: `sync`. Used by: the line, a cell a place.
//!
//! ```text
//!            register                     take
//!   no note ──────────▶ a note {waker} ──────────▶ no note
//!                          │     ▲                 (`Taken`, then `Spent`)
//!                          └─────┘ register
//! ```
//!
//! Each arrow is one swap of the pointer, and whoever swaps a note out owns it:
//! its waker is run, or dropped, when it is in nobody's reach any more, so it may
//! do what it likes, this place included. A task that registers and then looks at
//! its place misses nothing: a thread that moved the place on and then found no
//! note swapped before the task did, and the task's swap acquired that.
//!
//! The thread that takes a note may be in a signal handler, where memory is neither
//! allocated nor freed: notes that were taken are linked, and left to those who
//! register once their wakers were run.

use crate::sync::{AtomicPtr, Ordering, fault, shield};
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::task::Waker;

/// A note. Its owner is whoever has the pointer.
struct Note {
    waker: MaybeUninit<Waker>,
    /// Taken or spent: the next one.
    next: *mut Note,
}

/// Notes whose wakers have been run.
#[derive(Default)]
pub struct Spent {
    /// Leaked boxes, linked. Put one by one with Release, taken all at once with
    /// Acquire, so nothing that is linked is ever touched by two threads.
    first: AtomicPtr<Note>,
}

impl Spent {
    /// Lock-free; calls no allocator.
    fn put(&self, note: Box<Note>) {
        let note = Box::into_raw(note);
        // Relaxed: nobody reads through it before the exchange.
        let mut first = self.first.load(Ordering::Relaxed);
        loop {
            // SAFETY: the note is ours until the exchange succeeds.
            unsafe { (*note).next = first };
            match self.first.compare_exchange_weak(
                first,
                note,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Takes one, and frees the others.
    fn take(&self) -> Option<Box<Note>> {
        let mut next = self.first.swap(null_mut(), Ordering::Acquire);
        let mut one = None;
        while !next.is_null() {
            // SAFETY: a leaked box, which the swap made ours with all behind it.
            let note = unsafe { Box::from_raw(next) };
            next = note.next;
            one = Some(note);
        }
        one
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        // loom's report unwinds through here; a second panic would abort.
        if !cfg!(hugepool_loom) || !std::thread::panicking() {
            drop(self.take());
        }
    }
}

/// Notes that were taken and whose wakers are still to be run, in order.
pub struct Taken {
    /// Leaked boxes with their wakers, linked, and this one's alone.
    first: *mut Note,
    last: *mut Note,
}

impl Default for Taken {
    fn default() -> Self {
        Self {
            first: null_mut(),
            last: null_mut(),
        }
    }
}

impl Taken {
    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Calls no allocator.
    fn push(&mut self, note: Live) {
        let note = note.into_raw();
        // SAFETY: it is ours.
        unsafe { (*note).next = null_mut() };
        match self.first.is_null() {
            true => self.first = note,
            // SAFETY: not empty, and all that is linked is ours.
            false => unsafe { (*self.last).next = note },
        }
        self.last = note;
    }

    fn pop(&mut self) -> Option<Live> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: a leaked box with its waker, and ours.
        let note = unsafe { Box::from_raw(self.first) };
        self.first = note.next;
        Some(Live(note))
    }

    /// Wakes everybody. A waker that panics has the panic reported and ends no more
    /// than itself: the caller is in the middle of giving something back.
    pub fn wake(&mut self, spent: &Spent) {
        while let Some(note) = self.pop() {
            let (waker, note) = note.waker();
            spent.put(note);
            shield(move || waker.wake());
        }
    }
}

/// A note that still has its waker.
pub struct Live(Box<Note>);

impl Live {
    /// Takes the waker off it.
    fn waker(self) -> (Waker, Box<Note>) {
        let note = self.into_box();
        // SAFETY: it had its waker, which is not read again.
        (unsafe { note.waker.assume_init_read() }, note)
    }

    fn into_raw(self) -> *mut Note {
        Box::into_raw(self.into_box())
    }

    fn into_box(self) -> Box<Note> {
        let note = std::mem::ManuallyDrop::new(self);
        // SAFETY: the value is not used, nor dropped, after this.
        unsafe { std::ptr::read(&note.0) }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // SAFETY: it has its waker, which is not read again.
        unsafe { self.0.waker.assume_init_drop() };
    }
}

/// A note, or none.
#[derive(Default)]
pub struct WakerCell {
    /// A leaked box with its waker, or null. Swapped alone, with AcqRel: see the
    /// module.
    note: AtomicPtr<Note>,
}

impl WakerCell {
    fn swap(&self, note: *mut Note) -> Option<Live> {
        let order = fault!(RegisterRelaxed, Ordering::Relaxed, Ordering::AcqRel);
        let before = self.note.swap(note, order);
        // SAFETY: not null, it is what `register` leaked, and the swap made it the
        // caller's alone.
        (!before.is_null()).then(|| Live(unsafe { Box::from_raw(before) }))
    }

    /// From now on `waker` is the one to wake. The caller looks at its place
    /// afterwards.
    #[cfg_attr(
        not(any(feature = "event-listener", hugepool_loom)),
        allow(dead_code, reason = "only tasks register")
    )]
    pub fn register(&self, waker: &Waker, spent: &Spent) {
        // Somebody else's code, which may panic: nothing is in hand yet.
        let waker = waker.clone();
        let mut note = match self.swap(null_mut()) {
            Some(before) => {
                let (before, note) = before.waker();
                shield(move || drop(before));
                note
            }
            None => spent.take().unwrap_or_else(|| {
                Box::new(Note {
                    waker: MaybeUninit::uninit(),
                    next: null_mut(),
                })
            }),
        };
        note.waker.write(waker);
        let other = self.swap(Box::into_raw(note));
        debug_assert!(other.is_none(), "two tasks at one place");
    }

    /// Takes the note, so that who left it is woken with those in `taken`.
    pub fn take(&self, taken: &mut Taken) {
        if let Some(note) = self.swap(null_mut()) {
            taken.push(note);
        }
    }

    /// Takes the note.
    #[must_use]
    pub fn clear(&self) -> Option<Live> {
        self.swap(null_mut())
    }
}
