//! The buffers of streams.
//!
//! Proves: what is a stream's own nobody else takes; it never has more than its maximum; a
//! request is refused only if nothing was to be had at one moment; whoever waits for a
//! stream is served by what comes back to it, a buffer of its own or a claim, by what
//! comes back to the pool, and by the claim of one who gives up waiting; nobody of a stream
//! is passed over for ever; and a stream that ends while its buffers come back loses none,
//! and its number is nobody else's before they are home.
//!
//! The twins: claims are taken without regard to how many there are; a refusal does not
//! look twice; who gives to a stream does not look whether anybody waits, or sees to
//! nobody; nobody's turn comes; who stops waiting keeps his claim; who was called and leaves
//! does not see to the others; a number is put back too early, or the list of a stream that
//! has ended is opened.

use hugepool::model::{CpuCaches, Fault, Given, Limits, Turn, run_on};
use hugepool_loom_tests::{
    Kind, Model, Portable, Restartable, Shelf, Streamed, begin_stream as begin, spawn, tests,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

tests![
    a_buffer_of_its_own_that_comes_back_serves_who_waits,
    a_claim_that_comes_back_serves_who_waits,
    two_claims_that_come_back_call_two_who_wait,
    in_strict_order_a_claim_that_comes_back_serves_who_waits,
    what_comes_back_to_the_pool_serves_who_has_a_claim,
    a_stream_has_no_more_than_its_maximum,
    a_refusal_beside_a_give_is_exact,
    who_stops_waiting_gives_its_claim_on,
    nobody_of_a_stream_is_passed_over_for_ever,
    a_stream_that_ends_loses_nothing,
    a_stream_that_ends_beside_a_give_stays_shut,
    who_was_called_sees_to_the_others_when_he_leaves,
];

/// A stream has one of the two buffers there are, and no more. A thread waits for it.
pub fn a_buffer_of_its_own_that_comes_back_serves_who_waits() -> Model {
    let twins = &[Fault::IgnoreShutOfStream, Fault::NoServeOfStream];
    Model::new(2..=3, twins, || {
        let streamed = Streamed::<Portable>::new(2, 1, 1, false);
        let held = streamed.take().unwrap();
        let other = streamed.shelf.take().unwrap();
        assert!(streamed.shelf.take().is_none(), "it is the stream's own");
        let waiter = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            let served = waiter.served();
            waiter.give(served);
        });
        streamed.give(held);
        thread.join().unwrap();
        assert_eq!(streamed.shelf.give(other), Given::Home);
        streamed.audit();
    })
}

fn a_claim_serves<C: Kind>(strict: bool) {
    let streamed = Streamed::<C>::new(2, 0, 1, strict);
    let held = streamed.take().unwrap();
    let waiter = Arc::clone(&streamed);
    let thread = spawn(move || {
        run_on(1);
        let served = waiter.served();
        waiter.give(served);
    });
    streamed.give(held);
    thread.join().unwrap();
    streamed.audit();
}

/// A stream may have one of the pool's two buffers, and has it. A thread waits for that.
pub fn a_claim_that_comes_back_serves_who_waits() -> Model {
    let twins = &[Fault::IgnoreShutOfStream];
    Model::new(1..=2, twins, || a_claim_serves::<Restartable>(false))
}

/// Two of a stream wait that may have two of the pool's, and has them: both come back.
pub fn two_claims_that_come_back_call_two_who_wait() -> Model {
    Model::new(1..=2, &[Fault::NoServeOfStream], || {
        let streamed = Streamed::<Portable>::new(2, 0, 2, false);
        let (mine, theirs) = (streamed.take().unwrap(), streamed.take().unwrap());
        let waits = [(); 2].map(|()| {
            let mut wait = streamed.stand();
            streamed.shelf.look(&mut wait);
            wait
        });
        let giver = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            giver.give(theirs);
        });
        streamed.give(mine);
        thread.join().unwrap();
        for mut wait in waits {
            let turn = streamed.shelf.lists.line().turn(wait.seat());
            assert_ne!(turn, Turn::Waiting, "he sleeps beside a claim");
            streamed.shelf.look(&mut wait);
            let served = streamed.end(wait).expect("there is one for him");
            streamed.give(served);
        }
        streamed.audit();
    })
}

/// As `a_claim_that_comes_back_serves_who_waits`, in strict order.
pub fn in_strict_order_a_claim_that_comes_back_serves_who_waits() -> Model {
    let twins = &[Fault::IgnoreShutOfStream];
    Model::new(1..=2, twins, || a_claim_serves::<Portable>(true))
}

/// A stream may have what the pool has, which somebody else has. A thread waits.
pub fn what_comes_back_to_the_pool_serves_who_has_a_claim() -> Model {
    Model::new(1..=2, &[Fault::NoArm, Fault::NoServe], || {
        let streamed = Streamed::<Portable>::new(1, 0, 1, false);
        let held = streamed.shelf.take().unwrap();
        let waiter = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            let served = waiter.served();
            waiter.give(served);
        });
        assert_eq!(streamed.shelf.give(held), Given::Home);
        thread.join().unwrap();
        streamed.audit();
    })
}

/// Two threads ask a stream that may have one of two.
pub fn a_stream_has_no_more_than_its_maximum() -> Model {
    Model::new(2..=3, &[Fault::NoMaximum], || {
        let streamed = Streamed::<Portable>::new(2, 0, 1, false);
        let out = Arc::new(AtomicU32::new(0));
        let ask = |streamed: &Streamed<Portable>, out: &AtomicU32| {
            if let Ok(taken) = streamed.take() {
                // std's atomic: loom does not see it.
                assert_eq!(out.fetch_add(1, Ordering::Relaxed), 0, "it has two");
                loom::thread::yield_now();
                out.fetch_sub(1, Ordering::Relaxed);
                streamed.give(taken);
            }
        };
        let (other, theirs) = (Arc::clone(&streamed), Arc::clone(&out));
        let thread = spawn(move || {
            run_on(1);
            ask(&other, &theirs);
        });
        ask(&streamed, &out);
        thread.join().unwrap();
        streamed.audit();
    })
}

/// A thread gives the stream's own buffer back, and then takes the pool's, which is the
/// only other one. The stream asks meanwhile.
pub fn a_refusal_beside_a_give_is_exact() -> Model {
    Model::new(1..=2, &[Fault::OneLook], || {
        let streamed = Streamed::<Portable>::new(2, 1, 2, false);
        let held = streamed.take().unwrap();
        let other = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            other.give(held);
            other.shelf.take()
        });
        let taken = streamed.take().expect("one was free at every moment");
        let theirs = thread.join().unwrap();
        streamed.give(taken);
        if let Some(index) = theirs {
            assert_eq!(streamed.shelf.give(index), Given::Home);
        }
        streamed.audit();
    })
}

/// One of two who wait has the only claim, and gives up while the pool's buffer comes back.
pub fn who_stops_waiting_gives_its_claim_on() -> Model {
    Model::new(1..=2, &[Fault::KeepClaim], || {
        let streamed = Streamed::<Portable>::new(1, 0, 1, false);
        let held = streamed.shelf.take().unwrap();
        let [early, mut late] = [(); 2].map(|()| {
            let mut wait = streamed.stand();
            streamed.shelf.look(&mut wait);
            wait
        });
        assert_eq!(streamed.shelf.lists.held(streamed.number), 1);
        let quitter = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            quitter.end(early)
        });
        assert_eq!(streamed.shelf.give(held), Given::Home);
        if let Some(served) = thread.join().unwrap() {
            // It came just then.
            streamed.give(served);
        }
        let turn = streamed.shelf.lists.line().turn(late.seat());
        assert_ne!(turn, Turn::Waiting, "he sleeps beside a claim");
        streamed.shelf.look(&mut late);
        let served = streamed.end(late).expect("there is one for him");
        streamed.give(served);
        streamed.audit();
    })
}

/// One waits; another of the stream gives the only claim up and takes it again, over and
/// over.
pub fn nobody_of_a_stream_is_passed_over_for_ever() -> Model {
    /// A turn comes every second time somebody looks, and somebody looks each time.
    const PASSES: usize = 3;
    Model::new(1..=2, &[Fault::NeverDue], || {
        let streamed = Streamed::<Portable>::new(2, 0, 1, false);
        let mut held = Some(streamed.take().unwrap());
        let mut wait = streamed.stand();
        streamed.shelf.look(&mut wait);
        let passer = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            for _ in 0..PASSES {
                let Some(taken) = held.take() else { break };
                passer.give(taken);
                held = passer.take().ok();
            }
            held
        });
        let held = thread.join().unwrap();
        assert!(held.is_none(), "it was passed over");
        streamed.shelf.look(&mut wait);
        let served = streamed.end(wait).expect("it has the claim");
        streamed.give(served);
        streamed.audit();
    })
}

/// A stream ends while what it has comes back; another one begins.
pub fn a_stream_that_ends_loses_nothing() -> Model {
    Model::new(2..=3, &[Fault::VacateEarly], || {
        let streamed = Streamed::<Portable>::new(3, 1, 2, false);
        let held = [streamed.take().unwrap(), streamed.take().unwrap()];
        let giver = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            held.into_iter().for_each(|taken| giver.give(taken));
        });
        let shelf = &streamed.shelf;
        shelf.lists.close_quota(streamed.number);
        let numbers = [begin(shelf, 0, 1), begin_if_any(shelf).unwrap_or(0)];
        thread.join().unwrap();
        for number in numbers.into_iter().filter(|&number| number > 0) {
            assert_eq!(shelf.lists.held(number), 0, "another's buffer counts");
        }
        shelf.audit();
    })
}

/// Somebody waited for both of a stream's own, which are out, and has gone. One comes back
/// while the stream ends, the other after that.
pub fn a_stream_that_ends_beside_a_give_stays_shut() -> Model {
    Model::new(2..=3, &[Fault::ReopenEnded], || {
        let streamed = Streamed::<Portable>::new(2, 2, 2, false);
        let (first, second) = (streamed.take().unwrap(), streamed.take().unwrap());
        let mut wait = streamed.stand();
        streamed.shelf.look(&mut wait);
        assert!(streamed.end(wait).is_none());
        let giver = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            giver.give(first);
        });
        streamed.shelf.lists.close_quota(streamed.number);
        thread.join().unwrap();
        streamed.give(second);
        streamed.shelf.audit();
    })
}

/// Three wait, of whom one can be called at a time. Three claims come back, the second in
/// turn. (The giver is another thread, but nothing happens at once: the count of calls is
/// what matters.)
pub fn who_was_called_sees_to_the_others_when_he_leaves() -> Model {
    Model::new(1..=2, &[Fault::ForgetCall], || {
        let streamed = Streamed::<Portable>::new(3, 0, 3, false);
        let held = [(); 3].map(|()| streamed.take().unwrap());
        let mut waits: Vec<_> = (0..3)
            .map(|_| {
                let mut wait = streamed.stand();
                streamed.shelf.look(&mut wait);
                wait
            })
            .collect();
        let giver = Arc::clone(&streamed);
        let thread = spawn(move || held.into_iter().for_each(|taken| giver.give(taken)));
        thread.join().unwrap();
        let mut served = Vec::new();
        for _ in 0..3 {
            let line = streamed.shelf.lists.line();
            let moved = |wait: &hugepool::model::Wait| line.turn(wait.seat()) != Turn::Waiting;
            let called = waits.iter().position(moved);
            let mut wait = waits.swap_remove(called.expect("nobody is called for what is left"));
            streamed.shelf.look(&mut wait);
            served.push(streamed.end(wait).expect("there is one for him"));
        }
        served.into_iter().for_each(|taken| streamed.give(taken));
        streamed.audit();
    })
}

/// Makes a stream, if there is a number for it.
fn begin_if_any<C: CpuCaches>(shelf: &Shelf<C>) -> Option<u32> {
    let limits = Limits {
        class: shelf.class,
        minimum: 0,
        maximum: 1,
    };
    shelf.lists.begin_quota(limits, "")
}
