//! Waiting for a buffer.
//!
//! Proves: whoever waits is served by a buffer that comes back on another
//! processor, that another request brings into a cache, or that growth adds,
//! whenever that happens; the first in line is served first, before requests
//! that do not wait; two buffers that come back serve two waiters; a wait that is
//! given up at the instant at which it is served loses nothing; one that begins
//! while another ends is served all the same; an abort ends a wait whenever it
//! comes; what a waiter holds for another moment is announced, and nothing is when
//! somebody is woken; and a thread that
//! serves somebody else with the last buffer touches the pool no more once nobody
//! holds a handle.
//!
//! A thread that sleeps for ever is a deadlock, which loom reports.
//!
//! The twins: nobody rings; the line is not looked at after a buffer was put into
//! a list, nor before a request keeps what it found, nor the abort after the place
//! was taken; a shut list takes a buffer all the same; a list is opened although
//! somebody waits; the last in line is served first; a wait is given up without
//! regard to what was given; a surplus is not announced, or still is when a task is
//! woken; a visitor does not count.

use hugepool::model::{CpuCaches, Fault, Given, Index, Turn, run_on};
use hugepool_loom_tests::{Guarded, Kind, Model, Shelf, spawn, tests_of_each_kind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};

tests_of_each_kind![
    a_buffer_that_comes_back_wakes_who_waits,
    a_refill_beside_a_wait_strands_nothing,
    what_is_put_into_shut_lists_wakes_who_waits,
    the_first_in_line_is_served_first,
    a_request_that_does_not_wait_overtakes_nobody,
    two_buffers_that_come_back_serve_two_waiters,
    a_wait_that_is_given_up_loses_nothing,
    a_wait_that_begins_while_another_ends_is_served,
    an_abort_ends_a_wait_whenever_it_comes,
    what_a_waiter_finds_for_others_is_announced,
    who_gathers_wakes_nobody_while_it_holds_anything,
    a_visitor_touches_nothing_once_it_has_left,
];

/// What a thread does that waits for ever. `None`: it was told to give up.
fn wait<C: CpuCaches>(shelf: &Shelf<C>) -> Option<Index> {
    let line = shelf.lists.line();
    let mut wait = shelf.stand(false);
    shelf.look(&mut wait);
    assert!(wait.is_sure());
    loop {
        let bell = line.bell(wait.seat());
        let rings = bell.rings();
        if line.turn(wait.seat()) != Turn::Waiting || line.is_aborted() {
            return shelf.end(wait);
        }
        bell.sleep(rings, None);
    }
}

fn served<C: CpuCaches>(shelf: &Shelf<C>) -> Index {
    wait(shelf).expect("nobody aborted")
}

/// `count` buffers, all of which the caller holds. (Portable slots are for
/// everybody; the threads share one, lest every shutting doubles.)
fn taken<C: Kind>(count: u32) -> (Arc<Shelf<C>>, Vec<Index>) {
    let shelf = Shelf::new(C::make(C::pick(1, 2)), 2, count);
    run_on(0);
    let held = (0..count).map(|_| shelf.take().unwrap()).collect();
    (Arc::new(shelf), held)
}

/// One thread waits, another gives the only buffer back.
pub fn a_buffer_that_comes_back_wakes_who_waits<C: Kind>() -> Model {
    Model::new(2..=3, &[Fault::NoWake, Fault::IgnoreShut], || {
        let (shelf, held) = taken::<C>(1);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            served(&waiter);
        });
        assert_eq!(shelf.give(held[0]), Given::Home);
        thread.join().unwrap();
        shelf.audit();
    })
}

/// One thread takes a batch into its processor's cache, another takes two of the
/// four buffers and then waits for one of the others.
pub fn a_refill_beside_a_wait_strands_nothing<C: Kind>() -> Model {
    let twins: &[Fault] = C::pick(&[Fault::FilledStaysOpen], &[Fault::SectionRelaxed]);
    Model::new(1..=2, twins, || {
        let shelf = Arc::new(Shelf::new(C::make(2), 4, 4));
        let taker = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            let taken = taker.lists.take_from_class(taker.class);
            taken
                .into_iter()
                .for_each(|index| taker.buffers.take(index));
        });
        run_on(0);
        // Two or three are left whatever the other does.
        for _ in 0..2 {
            shelf.take();
        }
        served(&shelf);
        thread.join().unwrap();
    })
}

/// One thread waits, another adds a buffer, which it puts into the shut depot.
pub fn what_is_put_into_shut_lists_wakes_who_waits<C: Kind>() -> Model {
    Model::new(2..=3, &[Fault::NoServe], || {
        let (shelf, held) = taken::<C>(1);
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
pub fn the_first_in_line_is_served_first<C: Kind>() -> Model {
    Model::new(2..=3, &[Fault::LastFirst], || {
        let (shelf, held) = taken::<C>(1);
        let line = shelf.lists.line();
        let stand = || {
            let mut wait = shelf.stand(false);
            shelf.look(&mut wait);
            wait
        };
        let (first, second) = (stand(), stand());
        let giver = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            assert_eq!(giver.give(held[0]), Given::Home);
        });
        thread.join().unwrap();
        assert_eq!(line.turn(second.seat()), Turn::Waiting, "it overtook");
        assert!(shelf.end(first).is_some(), "it was served");
        assert!(shelf.end(second).is_none());
        shelf.audit();
    })
}

/// One thread stands in line, then another asks for a buffer, of which there is
/// one.
pub fn a_request_that_does_not_wait_overtakes_nobody<C: Kind>() -> Model {
    Model::new(1..=C::pick(1, 2), &[Fault::NoPrecedence], || {
        let shelf = Arc::new(Shelf::new(C::make(2), 2, 1));
        run_on(0);
        let mut wait = shelf.stand(false);
        let taker = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            assert!(taker.take().is_none(), "it overtook");
        });
        shelf.look(&mut wait);
        thread.join().unwrap();
        assert!(shelf.end(wait).is_some(), "nobody has it");
        shelf.audit();
    })
}

/// Two wait, and two threads each give a buffer back.
pub fn two_buffers_that_come_back_serve_two_waiters<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::IgnoreShut], || {
        let (shelf, held) = taken::<C>(2);
        let waits = [(); 2].map(|()| {
            let mut wait = shelf.stand(false);
            shelf.look(&mut wait);
            wait
        });
        let (giver, theirs) = (Arc::clone(&shelf), held[1]);
        let thread = spawn(move || {
            run_on(1);
            assert_eq!(giver.give(theirs), Given::Home);
        });
        assert_eq!(shelf.give(held[0]), Given::Home);
        thread.join().unwrap();
        for wait in waits {
            assert!(shelf.end(wait).is_some(), "a buffer went past who waits");
        }
        shelf.audit();
    })
}

/// A wait is given up while a buffer comes back.
pub fn a_wait_that_is_given_up_loses_nothing<C: Kind>() -> Model {
    Model::new(2..=3, &[Fault::CancelStores], || {
        let (shelf, held) = taken::<C>(1);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            let mut wait = waiter.stand(false);
            waiter.look(&mut wait);
            // It came too late for this one.
            if let Some(index) = waiter.end(wait) {
                assert_eq!(waiter.give(index), Given::Home);
            }
        });
        assert_eq!(shelf.give(held[0]), Given::Home);
        thread.join().unwrap();
        shelf.audit();
    })
}

/// One wait ends, and opens the lists; another begins, and shuts them.
pub fn a_wait_that_begins_while_another_ends_is_served<C: Kind>() -> Model {
    Model::new(1..=1, &[Fault::UnshutAnyway], || {
        let (shelf, held) = taken::<C>(1);
        let mut early = shelf.stand(false);
        shelf.look(&mut early);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            served(&waiter);
        });
        assert!(shelf.end(early).is_none(), "nothing came back");
        assert_eq!(shelf.give(held[0]), Given::Home);
        thread.join().unwrap();
        shelf.audit();
    })
}

/// One thread waits, another aborts.
pub fn an_abort_ends_a_wait_whenever_it_comes<C: Kind>() -> Model {
    Model::new(2..=3, &[Fault::NoWake], || {
        let (shelf, _held) = taken::<C>(1);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            assert!(wait(&waiter).is_none());
        });
        shelf.lists.line().abort();
        thread.join().unwrap();
    })
}

/// Two buffers come back while one thread waits for one of them; the other one is
/// free, or on its way.
pub fn what_a_waiter_finds_for_others_is_announced<C: Kind>() -> Model {
    Model::new(2..=2, &[Fault::NoAnnounce], || {
        let (shelf, held) = taken::<C>(2);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            served(&waiter);
        });
        for index in held {
            assert_eq!(shelf.give(index), Given::Home);
        }
        match shelf.lists.take(&[shelf.class]) {
            Ok((_, index)) => shelf.buffers.take(index),
            Err(refused) => assert!(refused.carried, "one of two was nobody's"),
        }
        thread.join().unwrap();
    })
}

/// A task that does nothing when it is woken.
struct Idle;

impl Wake for Idle {
    fn wake(self: Arc<Self>) {}
}

/// A task stands in line, then another thread wants both of two buffers.
pub fn who_gathers_wakes_nobody_while_it_holds_anything<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::WakeEarly], || {
        let shelf = Arc::new(Shelf::new(C::make(2), 2, 2));
        run_on(0);
        let mut wait = shelf.stand(true);
        let waker = Waker::from(Arc::new(Idle));
        shelf.lists.line().register(wait.seat(), &waker);
        let gatherer = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            let taken = gatherer.lists.take_many(&[gatherer.class], 2);
            assert!(taken.is_err(), "it overtook");
        });
        shelf.look(&mut wait);
        thread.join().unwrap();
        assert!(shelf.end(wait).is_some(), "nobody has it");
        shelf.audit();
    })
}

/// The only handle is a waiter's, and the only buffer another thread's, which
/// serves the waiter with it. The waiter gives up its handle, and then the
/// buffer. Whoever is told to closes the pool, and whoever is told to tears it
/// down.
pub fn a_visitor_touches_nothing_once_it_has_left<C: Kind>() -> Model {
    Model::new(1..=C::pick(1, 2), &[Fault::VisitorsDoNotCount], || {
        let shelf = Shelf::new(Guarded::new(C::make(2)), 2, 1);
        run_on(0);
        let held = shelf.take().unwrap();
        let shelf = Arc::new(shelf);
        let told = Arc::new(AtomicU32::new(0));
        let heed = |shelf: &Shelf<Guarded<C>>, told: &AtomicU32, mut given: Given| {
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
