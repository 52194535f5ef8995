//! Ending some waits while the others go on.
//!
//! Proves: whoever waits with a mark, asleep or about to sleep, or about to mark its
//! place, finds out that it is cancelled, and so does everybody with that mark; a buffer
//! that is handed over at the same time is either the waiter's or still its giver's;
//! and whoever takes the place of a wait that was cancelled waits on.
//!
//! The twins: no full fence on the one side, or on the other; nobody rings; a place is
//! left without a look at what was given.

use hugepool::model::{
    Cancel, ClassId, Classes, Fault, Geometry, Index, Request, Seat, Turn, WaitLine,
};
use hugepool_loom_tests::{Buffers, Model, spawn, tests};
use std::ptr::null_mut;
use std::sync::Arc;

tests![
    a_wait_is_cancelled_whenever_it_begins,
    everybody_with_the_mark_is_cancelled,
    a_buffer_beside_a_cancellation_has_one_owner,
    who_takes_the_place_of_a_cancelled_wait_waits_on,
];

/// Bytes of the class, and its alignment.
const SIZE: usize = 512;

/// A line, a class, a buffer that the caller holds, and what cancels.
struct Counter {
    line: WaitLine,
    classes: Classes,
    buffers: Buffers,
    cancel: Cancel,
}

impl Counter {
    fn new() -> Arc<Self> {
        let classes = Classes::new(0, null_mut()).unwrap();
        let geometry = Geometry::new(SIZE, SIZE, 0).unwrap();
        classes.define(ClassId::FIRST, &geometry);
        let buffers = Buffers::new(1);
        buffers.all().for_each(|index| buffers.take(index));
        Arc::new(Self {
            line: WaitLine::new(false).unwrap(),
            classes,
            buffers,
            cancel: Cancel::default(),
        })
    }

    fn stand(&self) -> Seat {
        let request = Request {
            size: SIZE,
            alignment: SIZE,
            reach: SIZE,
            count: 1,
            ..Request::default()
        };
        self.line.stand(request, false).expect("there is a place")
    }

    /// Stands where it may be cancelled.
    fn stand_marked(&self) -> Seat {
        let seat = self.stand();
        self.line.mark(&seat, &self.cancel);
        seat
    }

    fn cancel(&self) {
        self.line.cancel(&self.cancel);
    }

    /// Hands the buffer over. False: it is still the caller's.
    fn hand_over(&self) -> bool {
        let index = Index::from_raw(1).unwrap();
        self.buffers.give(index);
        let class = self.classes.line(ClassId::FIRST);
        let taken = self.line.hand_over(class, index).is_some();
        if !taken {
            self.buffers.take(index);
        }
        taken
    }

    /// Sleeps until the wait at `seat`, which can be cancelled or not, is over.
    fn sleep(&self, seat: &Seat, marked: bool) {
        let bell = self.line.bell(seat);
        loop {
            let rings = bell.rings();
            if marked && self.cancel.is_cancelled() || self.line.turn(seat) != Turn::Waiting {
                return;
            }
            bell.sleep(rings, None);
        }
    }

    /// Leaves the line. False: no buffer came.
    fn leave(&self, seat: Seat) -> bool {
        let given = self.line.leave(seat).given;
        if let Some((_, index)) = given {
            self.buffers.take(index);
        }
        given.is_some()
    }
}

/// One thread waits, another cancels.
pub fn a_wait_is_cancelled_whenever_it_begins() -> Model {
    const TWINS: &[Fault] = &[Fault::NoMarkFence, Fault::NoCancelFence, Fault::NoWake];
    Model::new(3..=6, TWINS, || {
        let counter = Counter::new();
        let canceller = Arc::clone(&counter);
        let thread = spawn(move || canceller.cancel());
        let seat = counter.stand_marked();
        counter.sleep(&seat, true);
        assert!(counter.cancel.is_cancelled(), "nothing else ends it");
        assert!(!counter.leave(seat), "nobody gave it a buffer");
        thread.join().unwrap();
    })
}

/// Two threads wait, a third cancels.
pub fn everybody_with_the_mark_is_cancelled() -> Model {
    Model::new(2..=3, &[Fault::NoCancelFence, Fault::NoWake], || {
        let counter = Counter::new();
        let (other, canceller) = (Arc::clone(&counter), Arc::clone(&counter));
        let seat = counter.stand_marked();
        let threads = [
            spawn(move || {
                let seat = other.stand_marked();
                other.sleep(&seat, true);
                assert!(!other.leave(seat), "nobody gave it a buffer");
            }),
            spawn(move || canceller.cancel()),
        ];
        counter.sleep(&seat, true);
        assert!(!counter.leave(seat), "nobody gave it a buffer");
        for thread in threads {
            thread.join().unwrap();
        }
    })
}

/// One thread waits, one serves it, one cancels.
pub fn a_buffer_beside_a_cancellation_has_one_owner() -> Model {
    Model::new(2..=3, &[Fault::CancelStores], || {
        let counter = Counter::new();
        let seat = counter.stand_marked();
        let (giver, canceller) = (Arc::clone(&counter), Arc::clone(&counter));
        let giver = spawn(move || giver.hand_over());
        let canceller = spawn(move || canceller.cancel());
        counter.sleep(&seat, true);
        let served = counter.leave(seat);
        canceller.join().unwrap();
        assert_eq!(
            giver.join().unwrap(),
            served,
            "a buffer was lost or doubled"
        );
    })
}

/// Somebody leaves beside a cancellation, and somebody else, whom it does not concern,
/// takes the place and is served.
pub fn who_takes_the_place_of_a_cancelled_wait_waits_on() -> Model {
    Model::new(2..=4, &[Fault::NoWake], || {
        let counter = Counter::new();
        let seat = counter.stand_marked();
        let canceller = Arc::clone(&counter);
        let thread = spawn(move || canceller.cancel());
        assert!(!counter.leave(seat), "nobody gave it a buffer");
        let giver = Arc::clone(&counter);
        let seat = counter.stand();
        let gives = spawn(move || assert!(giver.hand_over(), "somebody waits"));
        counter.sleep(&seat, false);
        assert!(counter.leave(seat), "nothing else ends it");
        for thread in [thread, gives] {
            thread.join().unwrap();
        }
    })
}
