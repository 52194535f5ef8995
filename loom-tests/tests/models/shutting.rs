//! Shutting a list, and opening it again.
//!
//! Proves, for the linked list, the depot and both kinds of slots: a thread that
//! comes to wait and then shuts a list finds it shut until it has gone, though
//! another thread that saw nobody waiting is about to open it.
//!
//! The twins: shutting that leaves a list which is shut already as it was, so
//! that the other thread finds nothing changed; shutting that does not publish
//! who waits.

use hugepool::model::{Batches, Chain, Depot, Fault, Index, Records};
use hugepool_loom_tests::{Caches, Kind, Model, Portable, ROOMY, Restartable, spawn, tests};
use loom::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

tests![
    a_list_that_was_shut_anew_stays_shut,
    a_depot_that_was_shut_anew_stays_shut,
    portable_slots_that_were_shut_anew_stay_shut,
    restartable_slots_that_were_shut_anew_stay_shut,
];

const TWINS: &[Fault] = &[Fault::ShutOnce, Fault::ShutRelaxed];

/// What can be shut.
trait List: 'static {
    fn shut(&self);
    fn unshut(&self, idle: &dyn Fn() -> bool);
    /// True if it takes a buffer.
    fn is_open(&self) -> bool;
}

/// Opens the list for one waiter who has gone, while another comes.
fn reopen(list: impl List) {
    let shared = Arc::new((list, AtomicBool::new(false)));
    shared.0.shut();
    assert!(!shared.0.is_open(), "it was shut");
    let opener = Arc::clone(&shared);
    let thread = spawn(move || {
        let (list, waiting) = &*opener;
        list.unshut(&|| !waiting.load(Ordering::Relaxed));
    });
    let (list, waiting) = &*shared;
    waiting.store(true, Ordering::Relaxed);
    list.shut();
    assert!(!list.is_open(), "somebody waits");
    thread.join().unwrap();
    assert!(!list.is_open(), "somebody waits");
    list.unshut(&|| true);
    assert!(list.is_open(), "nobody waits");
}

struct Linked(Chain, Records);

impl List for Linked {
    fn shut(&self) {
        self.0.shut(&self.1);
    }

    fn unshut(&self, idle: &dyn Fn() -> bool) {
        self.0.unshut(idle);
    }

    fn is_open(&self) -> bool {
        let index = Index::from_raw(1).unwrap();
        self.0.push(&self.1, index, u32::MAX).is_ok()
    }
}

pub fn a_list_that_was_shut_anew_stays_shut() -> Model {
    Model::new(6..=9, TWINS, || {
        let records = Records::new(2).unwrap();
        reopen(Linked(Chain::default(), records));
    })
}

struct Batched(Depot, Batches);

impl List for Batched {
    fn shut(&self) {
        self.0.shut(&self.1);
    }

    fn unshut(&self, idle: &dyn Fn() -> bool) {
        self.0.unshut(idle);
    }

    fn is_open(&self) -> bool {
        let id = self.1.take().expect("there are arrays enough");
        let batch = self.1.fill(id, &[Index::from_raw(1).unwrap()]);
        self.0.push(&self.1, batch).is_ok()
    }
}

pub fn a_depot_that_was_shut_anew_stays_shut() -> Model {
    Model::new(6..=9, TWINS, || {
        let batches = Batches::new(1).unwrap();
        batches.grow(4);
        reopen(Batched(Depot::default(), batches));
    })
}

impl<C: Kind> List for Arc<Caches<C>> {
    fn shut(&self) {
        Caches::shut(self);
    }

    fn unshut(&self, idle: &dyn Fn() -> bool) {
        Caches::unshut(self, idle);
    }

    fn is_open(&self) -> bool {
        let index = Index::from_raw(1).unwrap();
        self.push(index)
    }
}

pub fn portable_slots_that_were_shut_anew_stay_shut() -> Model {
    Model::new(6..=9, TWINS, || {
        reopen(Caches::<Portable>::new(1, 0, ROOMY));
    })
}

pub fn restartable_slots_that_were_shut_anew_stay_shut() -> Model {
    Model::new(6..=9, TWINS, || {
        reopen(Caches::<Restartable>::new(1, 0, ROOMY));
    })
}
