//! A value that readers pin and writers replace.
//!
//! Proves: what a reader reads stays whole until it has read it, although
//! maintenance runs that does drop retired values; no writer's change is lost;
//! and dropping the snapshot drops every value it ever had. The twin drops a
//! replaced value at once.

use hugepool::model::{Fault, Snapshot};
use hugepool_loom_tests::{Model, spawn, tests};
use loom::cell::UnsafeCell;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

tests![a_value_outlives_its_reading, no_writers_change_is_lost,];

/// A value that notices its own end, and how many of its kind there are.
struct Value {
    number: u32,
    /// Written when the value ends: loom reports a reading that does not happen
    /// before that.
    alive: UnsafeCell<()>,
    living: Arc<AtomicUsize>,
}

// SAFETY: loom runs one thread at a time, and reports accesses to the cell that
// are not ordered; there is nothing in it to be torn.
unsafe impl Sync for Value {}

impl Value {
    fn new(number: u32, living: Arc<AtomicUsize>) -> Self {
        living.fetch_add(1, Ordering::Relaxed);
        Self {
            number,
            alive: UnsafeCell::new(()),
            living,
        }
    }

    fn read(&self) -> u32 {
        self.alive.with(|_| self.number)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // loom's report unwinds through here; a second panic would abort.
        if !std::thread::panicking() {
            self.alive.with_mut(|_| ());
        }
        self.living.fetch_sub(1, Ordering::Relaxed);
    }
}

fn increment(snapshot: &Snapshot<Value>) {
    let next = |value: &Value| {
        let next = Value::new(value.read() + 1, Arc::clone(&value.living));
        Ok::<_, Infallible>((next, ()))
    };
    let Ok(()) = snapshot.replace(next);
}

/// A value, and the count of those that live.
fn snapshot() -> (Arc<Snapshot<Value>>, Arc<AtomicUsize>) {
    let living = Arc::new(AtomicUsize::new(0));
    let value = Value::new(0, Arc::clone(&living));
    (Arc::new(Snapshot::new(value)), living)
}

/// A reader beside a writer that replaces the value and then cleans up.
pub fn a_value_outlives_its_reading() -> Model {
    Model::new(1..=1, &[Fault::NoRetire], || {
        let (snapshot, living) = snapshot();
        let shared = Arc::clone(&snapshot);
        let writer = spawn(move || {
            increment(&shared);
            shared.reclaim();
        });
        assert!(snapshot.read(Value::read) <= 1);
        writer.join().unwrap();
        // With no reader left, maintenance leaves one value.
        snapshot.reclaim();
        assert_eq!(living.load(Ordering::Relaxed), 1, "a value was not dropped");
        drop(snapshot);
        assert_eq!(living.load(Ordering::Relaxed), 0, "a value was leaked");
    })
}

/// Two writers.
pub fn no_writers_change_is_lost() -> Model {
    Model::new(1..=2, &[Fault::NoRetire], || {
        let (snapshot, living) = snapshot();
        let shared = Arc::clone(&snapshot);
        let writer = spawn(move || increment(&shared));
        increment(&snapshot);
        writer.join().unwrap();
        assert_eq!(snapshot.read(Value::read), 2, "a change was lost");
        drop(snapshot);
        assert_eq!(living.load(Ordering::Relaxed), 0, "a value was leaked");
    })
}
