//! Waiting for a buffer.
//!
//! Proves: whoever waits is served by a buffer that comes back on another processor,
//! that another request brings into a cache, or that growth adds, whenever that happens;
//! two buffers that come back call two waiters; whoever is called in vain is called
//! again, and whoever leaves after a call passes it on, so that nobody sleeps beside a
//! free buffer for which nobody was woken; nobody is passed over for ever; a class that is
//! opened while somebody begins to wait for it is shared again; in strict order the
//! first in line is served first, before requests that do not wait; a wait that is
//! given up at the instant at which it is served loses nothing; a task is handed what
//! comes back; a take beside the sharing of its class has what it takes alone; one that begins
//! while another ends is served all the same; an abort ends a wait whenever it
//! comes; what a thread holds for another moment is announced, and nothing is when
//! somebody is woken; and a thread that serves somebody else with the last buffer touches
//! the pool no more once nobody holds a handle.
//!
//! A thread that sleeps for ever is a deadlock, which loom reports.
//!
//! The twins: nobody rings; a waiter does not shut the list before he looks; nobody
//! attends to a shut list in which a buffer was put, or it takes a buffer as if it were
//! open; whoever was called counts as called for ever, or leaves without a look at the
//! others; nobody's turn comes; a class is opened, or a list is, although somebody
//! waits; whoever needs a class shared leaves its words as they were; the last in line is
//! served first, or after who does not wait; a wait is given up without regard to what
//! was given; a surplus is not announced, or still is when a task is woken; a visitor
//! does not count.

use hugepool::model::{CpuCaches, Fault, Given, Index, Turn, run_on};
use hugepool_loom_tests::{Guarded, Kind, Model, Shelf, spawn, tests_of_each_kind};
use loom::sync::Notify;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};

tests_of_each_kind![
    a_buffer_that_comes_back_wakes_who_waits,
    a_refill_beside_a_wait_strands_nothing,
    what_is_put_into_shut_lists_wakes_who_waits,
    two_buffers_that_come_back_call_two_waiters,
    who_was_called_in_vain_is_called_again,
    who_leaves_after_a_call_passes_it_on,
    nobody_is_passed_over_for_ever,
    a_class_that_is_opened_beside_a_wait_is_shared_again,
    a_wait_that_is_given_up_loses_nothing,
    a_wait_that_begins_while_another_ends_is_served,
    an_abort_ends_a_wait_whenever_it_comes,
    what_a_waiter_finds_for_others_is_announced,
    the_first_in_line_is_served_first,
    in_strict_order_a_request_that_does_not_wait_overtakes_nobody,
    in_strict_order_nobody_sleeps_beside_a_buffer_that_was_in_hand,
    a_task_is_handed_a_buffer_that_comes_back,
    a_take_beside_the_sharing_of_its_class_has_what_it_takes_alone,
    who_gathers_wakes_nobody_while_it_holds_anything,
    a_visitor_touches_nothing_once_it_has_left,
    a_buffer_that_comes_home_where_nobody_was_before_wakes_who_waits,
];

/// What a thread does that waits for ever. `None`: it was told to give up.
fn wait<C: CpuCaches>(shelf: &Shelf<C>) -> Option<Index> {
    let line = shelf.lists.line();
    let mut wait = shelf.stand(false);
    loop {
        let bell = line.bell(wait.seat());
        let rings = bell.rings();
        shelf.look(&mut wait);
        assert!(wait.is_sure());
        let told = matches!(line.turn(wait.seat()), Turn::Given(..) | Turn::Aborted);
        if wait.is_over() || told || line.is_aborted() {
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
    held(Shelf::new(C::make(C::pick(1, 2)), 2, count), count)
}

/// The same, and whoever waits is served in strict order.
fn taken_strictly<C: Kind>(count: u32) -> (Arc<Shelf<C>>, Vec<Index>) {
    held(Shelf::strict(C::make(C::pick(1, 2)), 2, count), count)
}

fn held<C: Kind>(shelf: Shelf<C>, count: u32) -> (Arc<Shelf<C>>, Vec<Index>) {
    run_on(0);
    let held = (0..count).map(|_| shelf.take().unwrap()).collect();
    (Arc::new(shelf), held)
}

/// One thread waits, another gives the only buffer back.
pub fn a_buffer_that_comes_back_wakes_who_waits<C: Kind>() -> Model {
    Model::new(
        2..=3,
        &[Fault::NoWake, Fault::IgnoreShut, Fault::NoArm],
        || {
            let (shelf, held) = taken::<C>(1);
            let waiter = Arc::clone(&shelf);
            let thread = spawn(move || {
                run_on(1);
                served(&waiter);
            });
            assert_eq!(shelf.give(held[0]), Given::Home);
            thread.join().unwrap();
            shelf.audit();
        },
    )
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

/// Two waits, one after the other, in strict order; another thread gives a buffer back.
pub fn the_first_in_line_is_served_first<C: Kind>() -> Model {
    Model::new(2..=3, &[Fault::LastFirst], || {
        let (shelf, held) = taken_strictly::<C>(1);
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
pub fn in_strict_order_a_request_that_does_not_wait_overtakes_nobody<C: Kind>() -> Model {
    Model::new(1..=C::pick(1, 2), &[Fault::NoPrecedence], || {
        let shelf = Arc::new(Shelf::strict(C::make(2), 2, 1));
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

/// The lists are shut for somebody who has left. A buffer comes back, and its giver looks
/// for somebody to hand it to while another thread begins to wait.
pub fn in_strict_order_nobody_sleeps_beside_a_buffer_that_was_in_hand<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::HandOnce], || {
        let (shelf, held) = taken_strictly::<C>(1);
        shelf.wait_a_moment();
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

/// Two wait, and two threads each give a buffer back: nobody sleeps beside either.
pub fn two_buffers_that_come_back_call_two_waiters<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::IgnoreShut, Fault::NoServe], || {
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
        for mut wait in waits {
            let turn = shelf.lists.line().turn(wait.seat());
            assert_ne!(turn, Turn::Waiting, "he sleeps beside a free buffer");
            shelf.look(&mut wait);
            assert!(shelf.end(wait).is_some(), "a buffer went past who waits");
        }
        shelf.audit();
    })
}

/// A buffer comes back for which a waiter is called; another thread takes it first, and
/// gives it back.
pub fn who_was_called_in_vain_is_called_again<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::NeverSettled], || {
        let (shelf, held) = taken::<C>(1);
        let mut wait = shelf.stand(false);
        shelf.look(&mut wait);
        let quick = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            assert_eq!(quick.give(held[0]), Given::Home);
            let again = quick.lists.take_from_class(quick.class);
            again.inspect(|&index| quick.buffers.take(index))
        });
        shelf.look(&mut wait);
        if let Some(index) = thread.join().unwrap() {
            shelf.look(&mut wait);
            assert_eq!(shelf.give(index), Given::Home);
            let turn = shelf.lists.line().turn(wait.seat());
            assert_ne!(turn, Turn::Waiting, "he sleeps beside a free buffer");
        }
        shelf.look(&mut wait);
        assert!(shelf.end(wait).is_some(), "nobody has it");
        shelf.audit();
    })
}

/// One of two who wait gives up, called or not, while a buffer comes back.
pub fn who_leaves_after_a_call_passes_it_on<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::LeaveCalled], || {
        let (shelf, held) = taken::<C>(1);
        // The first turn is that of the second place.
        let first = shelf.stand(false);
        let mut early = shelf.stand(false);
        assert!(shelf.end(first).is_none());
        shelf.look(&mut early);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            served(&waiter);
        });
        assert_eq!(shelf.give(held[0]), Given::Home);
        if let Some(index) = shelf.end(early) {
            // It was its turn.
            assert_eq!(shelf.give(index), Given::Home);
        }
        thread.join().unwrap();
        shelf.audit();
    })
}

/// One waits; another gives the only buffer and takes it again, over and over.
pub fn nobody_is_passed_over_for_ever<C: Kind>() -> Model {
    /// A turn comes every second time somebody looks, and somebody looks each time.
    const PASSES: usize = 3;
    Model::new(1..=2, &[Fault::NeverDue], || {
        let (shelf, held) = taken::<C>(1);
        let mut wait = shelf.stand(false);
        shelf.look(&mut wait);
        let passer = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            let mut index = held[0];
            for _ in 0..PASSES {
                assert_eq!(passer.give(index), Given::Home);
                match passer.lists.take_from_class(passer.class) {
                    Some(again) => index = again,
                    None => return,
                }
                passer.buffers.take(index);
            }
            panic!("it passes him over for ever");
        });
        // He looks when he likes.
        shelf.look(&mut wait);
        thread.join().unwrap();
        // Who has found something does not look again.
        if !wait.is_over() {
            shelf.look(&mut wait);
        }
        assert!(shelf.end(wait).is_some(), "nobody has it");
        shelf.audit();
    })
}

/// A class is opened while somebody begins to wait for it.
pub fn a_class_that_is_opened_beside_a_wait_is_shared_again<C: Kind>() -> Model {
    const TWINS: &[Fault] = &[Fault::OpenAnyway, Fault::ShareOnce, Fault::ShutOnce];
    Model::new(C::pick(1, 2)..=2, TWINS, || {
        let (shelf, held) = taken::<C>(1);
        shelf.lists.prepare_to_wait(&[shelf.class]);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            served(&waiter);
        });
        shelf.reopen();
        assert_eq!(shelf.give(held[0]), Given::Home);
        thread.join().unwrap();
        shelf.audit();
    })
}

/// A wait is given up while a buffer comes back.
pub fn a_wait_that_is_given_up_loses_nothing<C: Kind>() -> Model {
    Model::new(2..=3, &[Fault::CancelStores], || {
        let (shelf, held) = taken_strictly::<C>(1);
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

/// Somebody has waited, so that the lists are shut. Two buffers come back, of which the
/// first finds nobody; another thread may take that one, and waits for the other.
pub fn a_wait_that_begins_while_another_ends_is_served<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::UnshutAnyway], || {
        let (shelf, held) = taken::<C>(2);
        shelf.wait_a_moment();
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            let quick = waiter.lists.take_from_class(waiter.class);
            quick.inspect(|&index| waiter.buffers.take(index));
            served(&waiter);
        });
        for index in held {
            assert_eq!(shelf.give(index), Given::Home);
        }
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
    // With restartable slots the twin takes a preemption more than there is time for.
    let twins: &[Fault] = C::pick(&[Fault::NoAnnounce], &[]);
    Model::new(C::pick(2, 1)..=2, twins, || {
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

/// What a task sleeps on.
struct Alarm(Notify);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// A task waits, and another thread gives the only buffer back.
pub fn a_task_is_handed_a_buffer_that_comes_back<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::NoWake, Fault::NoArm], || {
        let (shelf, held) = taken::<C>(1);
        let mut wait = shelf.stand(true);
        let giver = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            assert_eq!(giver.give(held[0]), Given::Home);
        });
        let line = shelf.lists.line();
        let alarm = Arc::new(Alarm(Notify::new()));
        let waker = Waker::from(Arc::clone(&alarm));
        loop {
            line.register(wait.seat(), &waker);
            shelf.look(&mut wait);
            if wait.is_over() || matches!(line.turn(wait.seat()), Turn::Given(..)) {
                break;
            }
            alarm.0.wait();
            // Whoever wakes may be in the middle of that still.
            loom::thread::yield_now();
        }
        assert!(shelf.end(wait).is_some(), "nobody has it");
        thread.join().unwrap();
        shelf.audit();
    })
}

/// Two buffers lie in a processor's cache. A thread takes one there while another has the
/// class shared, which moves what is in the cache, and takes what it finds.
pub fn a_take_beside_the_sharing_of_its_class_has_what_it_takes_alone<C: Kind>() -> Model {
    Model::new(
        C::pick(1, 3)..=3,
        C::pick(&[], &[Fault::IgnoreShut]),
        || {
            let shelf = Shelf::new(C::make(2), 2, 2);
            run_on(0);
            let held: Vec<Index> = (0..2).map(|_| shelf.take().unwrap()).collect();
            for index in held {
                assert_eq!(shelf.give(index), Given::Home);
            }
            let shelf = Arc::new(shelf);
            let taker = Arc::clone(&shelf);
            let thread = spawn(move || {
                run_on(0);
                let taken = taker.lists.take_from_class(taker.class);
                taken.inspect(|&index| taker.buffers.take(index));
            });
            run_on(1);
            // The other is first, until it is interrupted.
            loom::thread::yield_now();
            shelf.lists.prepare_to_wait(&[shelf.class]);
            while let Some(index) = shelf.lists.take_from_class(shelf.class) {
                shelf.buffers.take(index);
            }
            thread.join().unwrap();
            shelf.audit();
        },
    )
}

/// A task that does nothing when it is woken.
struct Idle;

impl Wake for Idle {
    fn wake(self: Arc<Self>) {}
}

/// A task stands in line, then another thread wants both of two buffers.
pub fn who_gathers_wakes_nobody_while_it_holds_anything<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::WakeEarly], || {
        let shelf = Arc::new(Shelf::strict(C::make(2), 2, 2));
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

/// The only buffer comes back on a processor where nobody was before, while somebody comes to
/// wait for it.
pub fn a_buffer_that_comes_home_where_nobody_was_before_wakes_who_waits<C: Kind>() -> Model {
    const PORTABLE: &[Fault] = &[Fault::NoVisit, Fault::NoVisitFence, Fault::RoomAnyway];
    // A limit keeps sections out of all slots, whether or not they have room.
    Model::new(2..=3, C::pick(PORTABLE, &[Fault::NoWake]), || {
        let (shelf, held) = held(Shelf::unvisited(C::make(2), 1), 1);
        let waiter = Arc::clone(&shelf);
        let thread = spawn(move || served(&waiter));
        run_on(1);
        assert_eq!(shelf.give(held[0]), Given::Home);
        thread.join().unwrap();
        shelf.audit();
    })
}
