//! Another thread that does something at the same instant, again and again.

use super::Random;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Work<'a> = Box<dyn FnOnce() + Send + 'a>;

const IDLE: u8 = 0;
const READY: u8 = 1;
const GO: u8 = 2;
const DONE: u8 = 3;

/// The other thread.
pub struct Rival<'a> {
    works: Sender<Work<'a>>,
    phase: Arc<AtomicU8>,
    random: RefCell<Random>,
}

/// Waits until `phase` is `wanted`.
fn until(phase: &AtomicU8, wanted: u8) {
    let mut looks = 0;
    while phase.load(Ordering::Acquire) != wanted {
        looks += 1;
        match looks % 1000 {
            // The other may have no processor.
            0 => thread::yield_now(),
            _ => std::hint::spin_loop(),
        }
    }
}

/// Says that the work is done, however it ends.
struct Done<'a>(&'a AtomicU8);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(DONE, Ordering::Release);
    }
}

impl<'a> Rival<'a> {
    /// Runs `test` beside such a thread.
    pub fn with(test: impl FnOnce(&Self)) {
        thread::scope(|scope| {
            let (works, receiver) = channel::<Work<'a>>();
            let phase = Arc::new(AtomicU8::new(IDLE));
            let theirs = Arc::clone(&phase);
            scope.spawn(move || {
                for work in receiver {
                    theirs.store(READY, Ordering::Release);
                    until(&theirs, GO);
                    let _done = Done(&theirs);
                    work();
                }
            });
            test(&Self {
                works,
                phase,
                random: RefCell::new(Random::new(3)),
            });
        });
    }

    /// Runs `theirs` there and `ours` here at once, but for a random moment, and returns
    /// when both have ended.
    pub fn race<R>(&self, theirs: impl FnOnce() + Send + 'a, ours: impl FnOnce() -> R) -> R {
        let moment = || {
            let pauses = self.random.borrow_mut().below(300);
            move || (0..pauses).for_each(|_| std::hint::spin_loop())
        };
        let (before, after) = (moment(), moment());
        let work = Box::new(move || {
            after();
            theirs();
        });
        self.works.send(work).expect("the other thread panicked");
        until(&self.phase, READY);
        self.phase.store(GO, Ordering::Release);
        before();
        let result = ours();
        until(&self.phase, DONE);
        self.phase.store(IDLE, Ordering::Release);
        result
    }
}
