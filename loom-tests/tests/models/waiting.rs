//! Waiting for a buffer.
//!
//! Proves: whoever waits is served by a buffer that comes back on another
//! processor, or that growth adds, whenever that happens; the first in line is
//! served first; a wait that is given up at the instant at which it is served
//! loses nothing; one that begins while another ends is served all the same; an
//! abort ends a wait whenever it comes; and a thread that serves somebody else
//! with the last buffer touches the pool no more once nobody holds a handle.
//!
//! A thread that sleeps for ever is a deadlock, which loom reports.
//!
//! The twins: nobody rings; the line is not looked at after a buffer was put into
//! a list, nor the abort after the place was taken; a shut list takes a buffer all the same; a
//! list is opened although somebody waits; the last in line is served first; a
//! wait is given up without regard to what was given; a visitor does not count.

use hugepool::model::{
    Classes, CpuCaches, Fault, Given, Index, Ladder, Portable, Restartable, Rung, Turn, run_on,
};
use hugepool_loom_tests::{Guarded, Kind, Model, Shelf, spawn, tests};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

tests![
    a_buffer_that_comes_back_wakes_who_waits,
    a_buffer_that_comes_back_wakes_who_waits_restartable,
    growth_wakes_who_waits,
    the_first_in_line_is_served_first,
    a_wait_that_is_given_up_loses_nothing,
    a_wait_that_begins_while_another_ends_is_served,
    an_abort_ends_a_wait_whenever_it_comes,
    a_visitor_touches_nothing_once_it_has_left,
];

/// The ladder of a request that only the first class serves.
fn ladder(classes: &Classes) -> Ladder {
    let mut ladder = classes.ladder(|_| true);
    if ladder.classes().is_empty() {
        ladder.insert(Rung {
            size: 512,
            alignment: 512,
            class: hugepool::model::ClassId::FIRST,
        });
    }
    ladder
}

/// How a wait ended.
enum Ended {
    Served(Index),
    Aborted,
}

/// What a thread does that waits for ever.
fn wait<C: CpuCaches>(shelf: &Shelf<C>) -> Ended {
    let line = shelf.lists.line();
    let ladder = ladder(shelf.lists.classes());
    let wait = shelf
        .lists
        .begin_wait(ladder, line.ticket(), false)
        .expect("there is a place for everybody");
    assert!(wait.is_sure());
    shelf.lists.look(&wait);
    loop {
        let bell = line.bell(wait.seat());
        let rings = bell.rings();
        if line.turn(wait.seat()) != Turn::Waiting || line.is_aborted() {
            break;
        }
        bell.sleep(rings, None);
    }
    match shelf.lists.end_wait(wait) {
        Some((_, index)) => {
            shelf.buffers.take(index);
            Ended::Served(index)
        }
        None => Ended::Aborted,
    }
}

fn served<C: CpuCaches>(shelf: &Shelf<C>) -> Index {
    match wait(shelf) {
        Ended::Served(index) => index,
        Ended::Aborted => panic!("nobody aborted"),
    }
}

/// `count` buffers, all of which the caller holds.
fn taken<C: Kind>(count: u32) -> (Arc<Shelf<C>>, Vec<Index>) {
    let shelf = Shelf::new(C::make(2), 2, count);
    run_on(0);
    let held = (0..count).map(|_| shelf.take().unwrap()).collect();
    (Arc::new(shelf), held)
}

const LOST: &[Fault] = &[Fault::NoWake, Fault::IgnoreShut];

fn comes_back<C: Kind>() {
    let (shelf, held) = taken::<C>(1);
    let waiter = Arc::clone(&shelf);
    let thread = spawn(move || {
        run_on(1);
        served(&waiter);
    });
    assert_eq!(shelf.give(held[0]), Given::Home);
    thread.join().unwrap();
    shelf.audit();
}

/// One thread waits, another gives the only buffer back.
pub fn a_buffer_that_comes_back_wakes_who_waits() -> Model {
    Model::new(2..=3, LOST, comes_back::<Portable>)
}

/// The same with restartable slots.
pub fn a_buffer_that_comes_back_wakes_who_waits_restartable() -> Model {
    Model::new(2..=3, LOST, comes_back::<Restartable>)
}

/// One thread waits, another adds a buffer, which it puts into the shut depot.
pub fn growth_wakes_who_waits() -> Model {
    Model::new(2..=3, &[Fault::NoServe], || {
        let (shelf, held) = taken::<Portable>(1);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            served(&waiter);
        });
        // As if it were a new one.
        shelf.buffers.give(held[0]);
        shelf.lists.stock(shelf.class, 1, |_| Some(held[0]));
        thread.join().unwrap();
    })
}

/// Two waits, one after the other; another thread gives a buffer back.
pub fn the_first_in_line_is_served_first() -> Model {
    Model::new(2..=3, &[Fault::LastFirst], || {
        let (shelf, held) = taken::<Portable>(1);
        let line = shelf.lists.line();
        let stand = || {
            let ladder = ladder(shelf.lists.classes());
            let wait = shelf.lists.begin_wait(ladder, line.ticket(), false);
            wait.expect("there is a place")
        };
        let (first, second) = (stand(), stand());
        let giver = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            assert_eq!(giver.give(held[0]), Given::Home);
        });
        thread.join().unwrap();
        assert_eq!(line.turn(second.seat()), Turn::Waiting, "it overtook");
        let (_, index) = shelf.lists.end_wait(first).expect("it was served");
        shelf.buffers.take(index);
        assert!(shelf.lists.end_wait(second).is_none());
        shelf.audit();
    })
}

/// A wait is given up while a buffer comes back.
pub fn a_wait_that_is_given_up_loses_nothing() -> Model {
    Model::new(2..=3, &[Fault::CancelStores], || {
        let (shelf, held) = taken::<Portable>(1);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            let line = waiter.lists.line();
            let ladder = ladder(waiter.lists.classes());
            let wait = waiter.lists.begin_wait(ladder, line.ticket(), false);
            let wait = wait.expect("there is a place");
            // It came too late for this one.
            if let Some((_, index)) = waiter.lists.end_wait(wait) {
                waiter.buffers.take(index);
                assert_eq!(waiter.give(index), Given::Home);
            }
        });
        assert_eq!(shelf.give(held[0]), Given::Home);
        thread.join().unwrap();
        shelf.audit();
    })
}

/// One wait ends, and opens the lists; another begins, and shuts them.
pub fn a_wait_that_begins_while_another_ends_is_served() -> Model {
    Model::new(2..=2, &[Fault::UnshutAnyway], || {
        let (shelf, held) = taken::<Portable>(1);
        let line = shelf.lists.line();
        let ladder = ladder(shelf.lists.classes());
        let early = shelf.lists.begin_wait(ladder, line.ticket(), false);
        let early = early.expect("there is a place");
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            served(&waiter);
        });
        let given = shelf.lists.end_wait(early);
        assert!(given.is_none(), "nothing came back");
        assert_eq!(shelf.give(held[0]), Given::Home);
        thread.join().unwrap();
        shelf.audit();
    })
}

/// One thread waits, another aborts.
pub fn an_abort_ends_a_wait_whenever_it_comes() -> Model {
    const TWINS: &[Fault] = &[Fault::NoWake, Fault::NoSearchFence];
    Model::new(2..=3, TWINS, || {
        let (shelf, _held) = taken::<Portable>(1);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            assert!(matches!(wait(&waiter), Ended::Aborted));
        });
        shelf.lists.line().abort();
        thread.join().unwrap();
    })
}

/// The only handle is a waiter's, and the only buffer another thread's, which
/// serves the waiter with it. The waiter gives up its handle, and then the
/// buffer. Whoever is told to closes the pool, and whoever is told to tears it
/// down.
pub fn a_visitor_touches_nothing_once_it_has_left() -> Model {
    Model::new(2..=2, &[Fault::VisitorsDoNotCount], || {
        let shelf = Shelf::new(Guarded::new(Portable::new(2).unwrap()), 2, 1);
        let held = shelf.take().unwrap();
        let shelf = Arc::new(shelf);
        let told = Arc::new(AtomicU32::new(0));
        let heed = |shelf: &Shelf<Guarded<Portable>>, told: &AtomicU32, mut given: Given| {
            if given == Given::Close {
                given = shelf.lists.close(&[shelf.class], 0);
            }
            if given == Given::Last {
                shelf.buffers.unmap();
                shelf.lists.caches().tear_down();
                told.fetch_add(1, Ordering::Relaxed);
            }
        };
        let (giver, giver_told) = (Arc::clone(&shelf), Arc::clone(&told));
        let thread = spawn(move || {
            run_on(1);
            let given = giver.give(held);
            heed(&giver, &giver_told, given);
        });
        let index = served(&shelf);
        heed(&shelf, &told, shelf.lists.leave());
        let given = shelf.give(index);
        heed(&shelf, &told, given);
        thread.join().unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 1, "not one is the last");
    })
}
