//! A ring from one thread to one other, for the pipeline bench: cheap enough not
//! to hide what the pool costs.
//!
//! Each end owns one position and keeps its own copy of the other's, so it reads
//! the other's cache line only when the ring looks full or empty. The two lines
//! are 128 bytes apart.

use crossbeam_utils::CachePadded;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Shared<T> {
    /// Values received. Written by the receiver with Release after it took the
    /// value out, read by the sender with Acquire before it writes that slot.
    received: CachePadded<AtomicUsize>,
    /// Values sent. Written by the sender with Release after it wrote the slot,
    /// read by the receiver with Acquire before it reads that slot.
    sent: CachePadded<AtomicUsize>,
    /// A power of two of them.
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a slot is written by the one sender while `sent - received` proves it
// empty, and read by the one receiver while that proves it full.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn slot(&self, at: usize) -> *mut MaybeUninit<T> {
        self.slots[at & (self.slots.len() - 1)].get()
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (received, sent) = (*self.received.get_mut(), *self.sent.get_mut());
        for at in received..sent {
            // SAFETY: sent and not received, and both ends are gone.
            unsafe { (*self.slot(at)).assume_init_drop() };
        }
    }
}

/// The end that sends.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    sent: usize,
    received: usize,
}

/// The end that receives.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    sent: usize,
    received: usize,
}

/// A ring of `capacity` values, a power of two.
pub fn ring<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity.is_power_of_two());
    let shared = Arc::new(Shared {
        received: CachePadded::default(),
        sent: CachePadded::default(),
        slots: (0..capacity)
            .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
            .collect(),
    });
    let sender = Sender {
        shared: Arc::clone(&shared),
        sent: 0,
        received: 0,
    };
    let receiver = Receiver {
        shared,
        sent: 0,
        received: 0,
    };
    (sender, receiver)
}

impl<T> Sender<T> {
    /// Puts `value` in; waits, yielding the processor, while the ring is full.
    pub fn send(&mut self, value: T) {
        let mut wait = Wait::default();
        while self.sent - self.received == self.shared.slots.len() {
            // Acquire: see `Shared::received`.
            self.received = self.shared.received.load(Ordering::Acquire);
            wait.once();
        }
        // SAFETY: the slot is empty, and this is the only sender.
        unsafe { (*self.shared.slot(self.sent)).write(value) };
        self.sent += 1;
        // Release: see `Shared::sent`.
        self.shared.sent.store(self.sent, Ordering::Release);
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest value out; waits, yielding the processor, while there is
    /// none.
    pub fn receive(&mut self) -> T {
        let mut wait = Wait::default();
        while self.sent == self.received {
            // Acquire: see `Shared::sent`.
            self.sent = self.shared.sent.load(Ordering::Acquire);
            wait.once();
        }
        // SAFETY: the slot is full, and this is the only receiver.
        let value = unsafe { (*self.shared.slot(self.received)).assume_init_read() };
        self.received += 1;
        // Release: see `Shared::received`.
        self.shared.received.store(self.received, Ordering::Release);
        value
    }
}

/// Spins a little, then yields: with one processor the other end needs it.
#[derive(Default)]
struct Wait(u32);

impl Wait {
    fn once(&mut self) {
        self.0 += 1;
        if self.0 < 200 {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}
