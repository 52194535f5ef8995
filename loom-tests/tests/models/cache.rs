//! A processor's cache of one class, used by its own threads and by thieves, on
//! either kind of slot.
//!
//! Proves, for push, pop, refill, flush, robbing and shutting: each buffer goes
//! to one thread, a slot counts what it has, none holds more than it may, and
//! who takes a buffer sees what its last holder wrote.
//!
//! The twins. On portable slots: without tags a slot is mistaken for an older
//! state of itself; with a relaxed push contents travel unseen. On restartable
//! ones: a thief that lets the sections under way go on; a section that does not
//! look at the gate; one that commits without order. On both: a slot that is
//! shut takes buffers all the same.

use hugepool::model::{Fault, Index, Share, run_on};
use hugepool_loom_tests::{Caches, Kind, Model, ROOMY, spawn, tests_of_each_kind};
use std::sync::Arc;

tests_of_each_kind![
    an_owner_and_a_thief_do_not_take_one_buffer,
    a_flush_and_a_thief_do_not_take_one_buffer,
    a_refill_is_all_there_for_owner_and_thief,
    a_slot_holds_no_more_than_it_may,
    contents_travel_between_processors,
    a_slot_that_is_shut_counts_or_refuses_every_buffer,
];

/// What mistakes one state of a slot for another.
fn mistaken<C: Kind>() -> &'static [Fault] {
    C::pick(&[Fault::NoTag], &[Fault::NoRestart, Fault::IgnoreGate])
}

/// Takes two from processor 0, gives it the first back, and keeps the second.
fn rob<C: Kind>(caches: &Caches<C>) {
    let first = caches.rob(0, Share::One);
    caches.rob(0, Share::One);
    // The thief migrates.
    run_on(0);
    for index in first {
        caches.push(index);
    }
}

/// The owner pops and pushes while a thief takes two and returns one.
pub fn an_owner_and_a_thief_do_not_take_one_buffer<C: Kind>() -> Model {
    Model::new(C::pick(6..=9, 5..=7), mistaken::<C>(), || {
        let caches = Caches::<C>::new(3, 3, ROOMY);
        caches.race(
            |caches| {
                if let Some(index) = caches.pop() {
                    caches.push(index);
                }
            },
            rob,
        );
        caches.audit();
    })
}

/// The owner takes two at once for the depot, likewise.
pub fn a_flush_and_a_thief_do_not_take_one_buffer<C: Kind>() -> Model {
    Model::new(C::pick(6..=9, 5..=7), mistaken::<C>(), || {
        let caches = Caches::<C>::new(3, 3, ROOMY);
        caches.race(|caches| assert!(caches.flush().len() <= 2), rob);
        caches.audit();
    })
}

/// The owner fills its slot with a batch and takes one of it, while a thief
/// takes two and returns one.
pub fn a_refill_is_all_there_for_owner_and_thief<C: Kind>() -> Model {
    Model::new(C::pick(6..=9, 5..=7), mistaken::<C>(), || {
        let caches = Caches::<C>::new(3, 1, ROOMY);
        caches.race(
            |caches| {
                caches.refill([2, 3].map(|raw| Index::from_raw(raw).unwrap()));
                caches.pop();
            },
            rob,
        );
        caches.audit();
    })
}

/// The owner pushes into a slot with room for two, while a thief takes what is
/// in it and puts two back.
pub fn a_slot_holds_no_more_than_it_may<C: Kind>() -> Model {
    Model::new(C::pick(6..=9, 5..=7), mistaken::<C>(), || {
        let caches = Caches::<C>::new(3, 1, 2);
        caches.race(
            |caches| {
                caches.push(Index::from_raw(2).unwrap());
            },
            |caches| {
                for first in caches.rob(0, Share::One) {
                    run_on(0);
                    caches.push(Index::from_raw(3).unwrap());
                    caches.push(first);
                }
            },
        );
        assert!(caches.len(0) <= 2, "a slot is too full");
        caches.audit();
    })
}

/// Two processors, each giving to its own slot and taking from the other's or
/// its own.
pub fn contents_travel_between_processors<C: Kind>() -> Model {
    let twins: &[Fault] = C::pick(&[Fault::ChainPushRelaxed], &[Fault::SectionRelaxed]);
    Model::new(C::pick(6..=9, 5..=7), twins, || {
        let caches = Caches::<C>::new(2, 0, ROOMY);
        caches.race(
            |caches| {
                caches.push(Index::from_raw(1).unwrap());
                caches.pop();
            },
            |caches| {
                if caches.rob(0, Share::One).is_empty() {
                    caches.push(Index::from_raw(2).unwrap());
                    caches.pop();
                }
            },
        );
        caches.audit();
    })
}

/// Pushes against the shutting: each is counted there, or refused.
pub fn a_slot_that_is_shut_counts_or_refuses_every_buffer<C: Kind>() -> Model {
    Model::new(C::pick(6..=9, 5..=7), &[Fault::IgnoreShut], || {
        let caches = Caches::<C>::new(2, 0, ROOMY);
        let pushers: Vec<_> = caches
            .buffers
            .all()
            .map(|index| {
                let caches = Arc::clone(&caches);
                spawn(move || caches.push(index))
            })
            .collect();
        let home = caches.shut();
        let refused = pushers
            .into_iter()
            .filter_map(|pusher| (!pusher.join().unwrap()).then_some(()))
            .count();
        assert_eq!(
            home + refused as u64,
            2,
            "a slot that was shut took a buffer"
        );
        caches.audit();
    })
}
