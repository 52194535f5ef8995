//! The line of those who wait, without the lists.
//!
//! Proves: a task that leaves word how to wake it and then looks at its place is
//! woken whenever it is served; two buffers that are handed over at once go to
//! two waiters, each of whom is woken; a buffer that is handed over while the
//! waiter leaves, or while everybody is told to, is either the waiter's or still
//! its giver's; who is called keeps his turn; and a place that somebody leaves and somebody else takes is not
//! served with what the first one asked for, nor with a mixture of both.
//!
//! The twins: nobody rings; a waker is exchanged without ordering; a place is
//! left without a look at what was given; tickets are used twice; who is called has had
//! his turn; a request is believed that is half of one owner and half of the next.

use hugepool::model::{ClassId, Classes, Fault, Geometry, Index, Request, Seat, Turn, WaitLine};
use hugepool_loom_tests::{Buffers, Model, spawn, tests};
use loom::sync::Notify;
use std::ptr::null_mut;
use std::sync::Arc;
use std::task::{Wake, Waker};

tests![
    a_task_is_woken_whenever_it_is_served,
    two_buffers_at_once_serve_two_waiters,
    a_buffer_beside_an_abort_has_one_owner,
    a_place_is_not_served_with_what_its_last_owner_asked_for,
    nobody_is_seen_to_want_what_neither_of_two_owners_does,
    who_is_called_keeps_his_turn,
];

/// Bytes of the two classes.
const SIZES: [usize; 2] = [512, 576];

/// A line, two classes, and buffers that the caller holds.
struct Counter {
    line: WaitLine,
    classes: Classes,
    buffers: Buffers,
}

impl Counter {
    /// First come, first served.
    fn new(buffers: u32) -> Arc<Self> {
        Self::of(buffers, true)
    }

    fn of(buffers: u32, strict: bool) -> Arc<Self> {
        let classes = Classes::new(0, null_mut()).unwrap();
        for (at, size) in SIZES.into_iter().enumerate() {
            let geometry = Geometry::new(size, 512, 0).unwrap();
            classes.define(ClassId::new(at).unwrap(), &geometry);
        }
        let buffers = Buffers::new(buffers);
        buffers.all().for_each(|index| buffers.take(index));
        Arc::new(Self {
            line: WaitLine::new(strict).unwrap(),
            classes,
            buffers,
        })
    }

    fn stand(&self, class: usize, task: bool) -> Seat {
        let size = SIZES[class];
        let request = Request {
            size,
            alignment: 512,
            reach: size,
            count: 1,
            ..Request::default()
        };
        self.line.stand(request, task).expect("there is a place")
    }

    /// Hands over the buffer numbered `number`. False: it is still the caller's.
    fn hand_over(&self, class: usize, number: u32) -> bool {
        let index = Index::from_raw(number).unwrap();
        self.buffers.give(index);
        let class = self.classes.line(ClassId::new(class).unwrap());
        let taken = self.line.hand_over(class, index).is_some();
        if !taken {
            self.buffers.take(index);
        }
        taken
    }

    /// Sleeps until the wait at `seat` is over.
    fn sleep(&self, seat: &Seat) {
        let bell = self.line.bell(seat);
        loop {
            let rings = bell.rings();
            if self.line.turn(seat) != Turn::Waiting {
                return;
            }
            bell.sleep(rings, None);
        }
    }

    /// Leaves the line, with what came.
    fn leave(&self, seat: Seat) -> Option<Index> {
        let (_, index) = self.line.leave(seat).given?;
        self.buffers.take(index);
        Some(index)
    }
}

/// What a task sleeps on.
struct Alarm(Notify);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// A task waits, a thread serves it.
pub fn a_task_is_woken_whenever_it_is_served() -> Model {
    Model::new(2..=4, &[Fault::NoWake, Fault::RegisterRelaxed], || {
        let counter = Counter::new(1);
        let seat = counter.stand(0, true);
        let giver = Arc::clone(&counter);
        let thread = spawn(move || assert!(giver.hand_over(0, 1)));
        let alarm = Arc::new(Alarm(Notify::new()));
        loop {
            let waker = Waker::from(Arc::clone(&alarm));
            counter.line.register(&seat, &waker);
            if counter.line.turn(&seat) != Turn::Waiting {
                break;
            }
            alarm.0.wait();
            // Whoever wakes may be in the middle of that still.
            loom::thread::yield_now();
        }
        assert!(counter.leave(seat).is_some());
        thread.join().unwrap();
    })
}

/// Two threads serve two others.
pub fn two_buffers_at_once_serve_two_waiters() -> Model {
    Model::new(2..=3, &[Fault::NoWake], || {
        let counter = Counter::new(2);
        let first = counter.stand(0, false);
        let second = counter.stand(0, false);
        let (waiter, giver) = (Arc::clone(&counter), Arc::clone(&counter));
        let threads = [
            spawn(move || {
                waiter.sleep(&first);
                assert!(waiter.leave(first).is_some());
            }),
            spawn(move || assert!(giver.hand_over(0, 1))),
        ];
        assert!(counter.hand_over(0, 2));
        counter.sleep(&second);
        assert!(counter.leave(second).is_some());
        for thread in threads {
            thread.join().unwrap();
        }
    })
    .long(true)
}

/// One thread waits, one serves it, one ends every wait.
pub fn a_buffer_beside_an_abort_has_one_owner() -> Model {
    Model::new(2..=3, &[Fault::NoWake], || {
        let counter = Counter::new(1);
        let seat = counter.stand(0, false);
        let (giver, aborter) = (Arc::clone(&counter), Arc::clone(&counter));
        let giver = spawn(move || giver.hand_over(0, 1));
        let aborter = spawn(move || aborter.line.abort());
        counter.sleep(&seat);
        let served = counter.leave(seat).is_some();
        aborter.join().unwrap();
        assert_eq!(
            giver.join().unwrap(),
            served,
            "a buffer was lost or doubled"
        );
    })
}

/// Somebody leaves while a buffer is handed over, and somebody else takes the
/// place, whom the buffer cannot serve.
pub fn a_place_is_not_served_with_what_its_last_owner_asked_for() -> Model {
    const TWINS: &[Fault] = &[Fault::SameTicket, Fault::CancelStores];
    Model::new(2..=4, TWINS, || {
        let counter = Counter::new(1);
        let seat = counter.stand(0, false);
        let giver = Arc::clone(&counter);
        let thread = spawn(move || giver.hand_over(0, 1));
        let served = counter.leave(seat).is_some();
        let other = counter.stand(1, false);
        let gave = thread.join().unwrap();
        assert_eq!(
            counter.line.turn(&other),
            Turn::Waiting,
            "too small a buffer"
        );
        assert!(counter.leave(other).is_none());
        assert_eq!(gave, served, "a buffer was lost or doubled");
    })
}

/// Somebody leaves, and somebody else takes the place, beside a thread that looks who
/// wants a buffer.
pub fn nobody_is_seen_to_want_what_neither_of_two_owners_does() -> Model {
    Model::new(2..=4, &[Fault::TornRequest], || {
        let counter = Counter::new(0);
        let stand = |counter: &Counter, size, alignment| {
            let request = Request {
                size,
                alignment,
                reach: SIZES[1],
                count: 1,
                ..Request::default()
            };
            counter
                .line
                .stand(request, false)
                .expect("there is a place")
        };
        // Aligned too much for any class, then too large for the first.
        let seat = stand(&counter, SIZES[0], 1024);
        let looker = Arc::clone(&counter);
        let thread = spawn(move || {
            let class = looker.classes.line(ClassId::FIRST);
            assert!(!looker.line.is_wanted(class), "neither wants it");
        });
        assert!(counter.leave(seat).is_none());
        let seat = stand(&counter, SIZES[1], 512);
        thread.join().unwrap();
        assert!(counter.leave(seat).is_none());
    })
}

/// Somebody is called while who was served waits again: the next turn is that of the other.
pub fn who_is_called_keeps_his_turn() -> Model {
    Model::new(1..=1, &[Fault::CallIsTurn], || {
        let counter = Counter::of(1, false);
        // The place whose turn it was last, as in a new line, and the next.
        let first = counter.stand(0, false);
        let next = counter.stand(0, false);
        assert!(counter.hand_over(0, 1));
        let caller = Arc::clone(&counter);
        let thread = spawn(move || {
            let class = caller.classes.line(ClassId::FIRST);
            drop(caller.line.call(class));
        });
        assert!(counter.leave(next).is_some(), "it was not its turn");
        // At the same place.
        let again = counter.stand(0, false);
        assert!(counter.hand_over(0, 1));
        thread.join().unwrap();
        assert!(counter.leave(first).is_some(), "another had two turns");
        assert!(counter.leave(again).is_none());
    })
}
