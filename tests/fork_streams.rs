//! A child of a fork that inherited the buffers goes on with a stream: what is guaranteed,
//! what is allowed, and who waits, which is nobody who waited in its parent.

mod support;

use hugepool::{Buffer, Pool};
use std::time::Duration;
use support::kind::{Kind, both_kinds};
use support::process::{alone, in_fork};
use support::small::{SIZE, builder, until_waiting};

both_kinds![
    a_child_goes_on_with_a_stream_for_which_its_parents_threads_wait,
    a_child_has_the_claims_of_those_who_waited_in_its_parent,
];

const FOR_EVER: Duration = Duration::MAX;

fn a_child_goes_on_with_a_stream_for_which_its_parents_threads_wait(kind: Kind) {
    let name = "a_child_goes_on_with_a_stream_for_which_its_parents_threads_wait";
    alone(&format!("{}::{name}", kind.name()), &[], || {
        for strict in [false, true] {
            goes_on(&kind.build(builder(8).fork(true).strict_order(strict)));
        }
    });
}

fn a_child_has_the_claims_of_those_who_waited_in_its_parent(kind: Kind) {
    let name = "a_child_has_the_claims_of_those_who_waited_in_its_parent";
    alone(&format!("{}::{name}", kind.name()), &[], || {
        for strict in [false, true] {
            has_claims(&kind.build(builder(3).fork(true).strict_order(strict)));
        }
    });
}

fn has_claims(pool: &Pool) {
    let stream = pool.stream("one").maximum(SIZE, SIZE, 2).build().unwrap();
    let held: Vec<Buffer> = std::iter::from_fn(|| pool.allocate(SIZE, SIZE).ok()).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| drop(stream.allocate_timeout(SIZE, SIZE, FOR_EVER).unwrap()));
        }
        until_waiting(pool, 2);
        while stream.in_use(SIZE, SIZE) < 2 {
            std::thread::yield_now();
        }
        let code = in_fork(|| {
            for buffer in &held {
                // SAFETY: the child's copy of a buffer that the parent keeps.
                drop(unsafe { std::ptr::read(buffer) });
            }
            for _ in 0..3 {
                let many = stream.allocate_many(SIZE, SIZE, 2).unwrap();
                assert!(
                    stream.allocate(SIZE, SIZE).is_err(),
                    "it has more than it may"
                );
                drop(many);
            }
            assert_eq!(stream.in_use(SIZE, SIZE), 0);
            0
        });
        assert_eq!(code, 0);
        drop(held);
    });
}

fn goes_on(pool: &Pool) {
    let stream = pool.stream("one").minimum(SIZE, SIZE, 2);
    let stream = stream.maximum(SIZE, SIZE, 4).build().unwrap();
    let take = || stream.allocate(SIZE, SIZE).ok();
    let held: Vec<Buffer> = std::iter::from_fn(take).collect();
    assert_eq!(held.len(), 4);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| drop(stream.allocate_timeout(SIZE, SIZE, FOR_EVER).unwrap()));
        }
        until_waiting(pool, 3);
        let code = in_fork(|| {
            for buffer in &held {
                // SAFETY: the child's copy of a buffer that the parent keeps.
                drop(unsafe { std::ptr::read(buffer) });
            }
            let again: Vec<Buffer> = std::iter::from_fn(take).collect();
            assert_eq!(again.len(), 4, "one went to who is not there");
            drop(again);
            // Here, too, somebody waits and is served.
            let mut again: Vec<Buffer> = std::iter::from_fn(take).collect();
            std::thread::scope(|scope| {
                let wait = || stream.allocate_timeout(SIZE, SIZE, FOR_EVER);
                let waiter = scope.spawn(move || wait().map(drop));
                until_waiting(pool, 1);
                drop(again.pop());
                waiter.join().unwrap().unwrap();
            });
            0
        });
        assert_eq!(code, 0);
        drop(held);
    });
    assert_eq!(stream.in_use(SIZE, SIZE), 0);
}

#[cfg(feature = "async")]
#[test]
fn a_task_that_was_called_in_the_parent_counts_no_claim_twice_in_a_child_that_polls_it() {
    use std::task::{Context, Poll, Waker};
    let name =
        "a_task_that_was_called_in_the_parent_counts_no_claim_twice_in_a_child_that_polls_it";
    alone(name, &[], || {
        for strict in [false, true] {
            let pool = builder(2).fork(true).strict_order(strict).build().unwrap();
            let stream = pool.stream("one").maximum(SIZE, SIZE, 1).build().unwrap();
            // The pool is empty, so what comes back to the stream is a claim.
            let held = stream.allocate(SIZE, SIZE).unwrap();
            let others = pool.allocate(SIZE, SIZE).unwrap();
            let mut future = Box::pin(stream.allocate_async(SIZE, SIZE));
            let mut poll = || {
                future
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
            };
            assert!(poll().is_pending());
            drop(held);
            let code = in_fork(|| {
                let taken = match poll() {
                    Poll::Ready(taken) => taken.unwrap(),
                    Poll::Pending => return 1,
                };
                assert_eq!(stream.in_use(SIZE, SIZE), 1);
                assert!(stream.allocate(SIZE, SIZE).is_err(), "more than it may");
                drop(taken);
                assert_eq!(stream.in_use(SIZE, SIZE), 0);
                drop(stream.allocate(SIZE, SIZE).unwrap());
                assert_eq!(stream.in_use(SIZE, SIZE), 0);
                0
            });
            assert_eq!(code, 0, "1: it waits for ever");
            assert!(matches!(poll(), Poll::Ready(Ok(_))));
            drop(others);
        }
    });
}

/// A task waits for the pool, with the only claim; in the child somebody else takes that.
#[cfg(feature = "async")]
#[test]
fn a_task_that_a_child_polls_takes_nothing_beyond_the_maximum() {
    use std::task::{Context, Poll, Waker};
    alone(
        "a_task_that_a_child_polls_takes_nothing_beyond_the_maximum",
        &[],
        || {
            for strict in [false, true] {
                let pool = builder(2).fork(true).strict_order(strict).build().unwrap();
                let stream = pool.stream("one").maximum(SIZE, SIZE, 1).build().unwrap();
                let mut others = pool.allocate_many(SIZE, SIZE, 2).unwrap();
                let mut future = Box::pin(stream.allocate_async(SIZE, SIZE));
                let mut poll = || (future.as_mut()).poll(&mut Context::from_waker(Waker::noop()));
                assert!(poll().is_pending());
                assert_eq!(stream.in_use(SIZE, SIZE), 1);
                let code = in_fork(|| {
                    drop(others.pop());
                    let taken = stream.allocate(SIZE, SIZE).unwrap();
                    assert!(poll().is_pending(), "the stream has as many as it may");
                    // Somebody of the pool waits, too: what comes is handed to one of the two.
                    let mut pools = Box::pin(pool.allocate_async(SIZE, SIZE));
                    let mut poll_pools =
                        || (pools.as_mut()).poll(&mut Context::from_waker(Waker::noop()));
                    assert!(poll_pools().is_pending());
                    drop(others.pop());
                    assert!(poll().is_pending(), "the stream has as many as it may");
                    assert_eq!(stream.in_use(SIZE, SIZE), 1);
                    assert!(matches!(poll_pools(), Poll::Ready(Ok(_))));
                    drop(taken);
                    let Poll::Ready(taken) = poll() else { return 1 };
                    assert_eq!(stream.in_use(SIZE, SIZE), 1);
                    drop(taken.unwrap());
                    assert_eq!(stream.in_use(SIZE, SIZE), 0);
                    0
                });
                assert_eq!(code, 0, "1: it waits for ever");
            }
        },
    );
}

/// A thread and a task of the parent wait for several; the thread collects.
#[cfg(feature = "async")]
#[test]
fn a_child_is_not_barred_by_who_collects_in_its_parent_and_collects_itself() {
    use std::task::{Context, Poll, Waker};
    let name = "a_child_is_not_barred_by_who_collects_in_its_parent_and_collects_itself";
    alone(name, &[], || {
        for strict in [false, true] {
            // What they wait for: its own alone, or the pool's besides.
            for (minimum, maximum) in [(3, 3), (1, 3), (0, 3)] {
                let pool = builder(6).fork(true).strict_order(strict).build().unwrap();
                let stream = pool.stream("one").minimum(SIZE, SIZE, minimum);
                let stream = stream.maximum(SIZE, SIZE, maximum).build().unwrap();
                let mut held = stream.allocate_many(SIZE, SIZE, 3).unwrap();
                let wait = || stream.allocate_many_timeout(SIZE, SIZE, 3, FOR_EVER);
                std::thread::scope(|scope| {
                    let waiter = scope.spawn(move || drop(wait().unwrap()));
                    until_waiting(&pool, 1);
                    let mut future = Box::pin(stream.allocate_many_async(SIZE, SIZE, 3));
                    let mut poll =
                        || (future.as_mut()).poll(&mut Context::from_waker(Waker::noop()));
                    assert!(poll().is_pending());
                    let code = in_fork(|| {
                        drop(held.pop());
                        let one = stream.allocate(SIZE, SIZE).expect("nobody here collects");
                        assert!(poll().is_pending());
                        drop((one, held.pop(), held.pop()));
                        let Poll::Ready(taken) = poll() else { return 1 };
                        assert_eq!(taken.unwrap().len(), 3);
                        for _ in 0..3 {
                            assert_eq!(stream.in_use(SIZE, SIZE), 0);
                            let all = stream.allocate_many(SIZE, SIZE, 3).unwrap();
                            assert!(stream.allocate(SIZE, SIZE).is_err(), "more than it may");
                            drop(all);
                        }
                        0
                    });
                    assert_eq!(code, 0, "1: it waits for ever");
                    drop((future, held));
                    waiter.join().unwrap();
                });
                assert_eq!(stream.in_use(SIZE, SIZE), 0);
            }
        }
    });
}

/// One of three tasks of the parent has two of the stream's own when it forks. The child polls
/// them in any order, and the third comes home there.
#[cfg(feature = "async")]
#[test]
fn what_a_task_had_collected_in_the_parent_serves_whoever_has_its_turn_in_the_child() {
    use std::task::{Context, Poll, Waker};
    let name = "what_a_task_had_collected_in_the_parent_serves_whoever_has_its_turn_in_the_child";
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    alone(name, &[], || {
        for (strict, order) in [false, true].iter().flat_map(|s| orders.map(|o| (*s, o))) {
            let pool = builder(4).fork(true).strict_order(strict).build().unwrap();
            let stream = pool.stream("one").minimum(SIZE, SIZE, 3);
            let stream = stream.maximum(SIZE, SIZE, 3).build().unwrap();
            let mut held = stream.allocate_many(SIZE, SIZE, 3).unwrap();
            let mut tasks = [(); 3].map(|()| Box::pin(stream.allocate_many_async(SIZE, SIZE, 3)));
            let mut context = Context::from_waker(Waker::noop());
            for task in &mut tasks {
                assert!(task.as_mut().poll(&mut context).is_pending());
            }
            for _ in 0..2 {
                drop(held.pop());
                for task in &mut tasks {
                    assert!(task.as_mut().poll(&mut context).is_pending());
                }
            }
            let code = in_fork(|| {
                for at in order {
                    assert!(tasks[at].as_mut().poll(&mut context).is_pending());
                }
                drop(held.pop());
                let mut served = 0;
                for at in order.into_iter().cycle().take(12) {
                    if let Poll::Ready(taken) = tasks[at].as_mut().poll(&mut context) {
                        assert_eq!(taken.unwrap().len(), 3);
                        served += 1;
                    }
                }
                assert_eq!(stream.in_use(SIZE, SIZE), 0);
                served
            });
            assert_eq!(code, 3, "strict {strict}, {order:?}: how many were served");
        }
    });
}

/// A thread of the parent has two of the stream's own when it forks.
#[test]
fn what_a_thread_had_collected_in_the_parent_is_the_streams_in_the_child() {
    let name = "what_a_thread_had_collected_in_the_parent_is_the_streams_in_the_child";
    alone(name, &[], || {
        for strict in [false, true] {
            let pool = builder(4).fork(true).strict_order(strict).build().unwrap();
            let stream = pool.stream("one").minimum(SIZE, SIZE, 3);
            let stream = stream.maximum(SIZE, SIZE, 3).build().unwrap();
            let mut held = stream.allocate_many(SIZE, SIZE, 3).unwrap();
            std::thread::scope(|scope| {
                let wait = || stream.allocate_many_timeout(SIZE, SIZE, 3, FOR_EVER);
                let waiter = scope.spawn(move || wait().map(|taken| taken.len()));
                until_waiting(&pool, 1);
                for _ in 0..2 {
                    // It is woken, takes it, and sleeps again.
                    let sleeps = pool.counters().sleeps;
                    drop(held.pop());
                    while pool.counters().sleeps == sleeps {
                        std::thread::yield_now();
                    }
                }
                let code = in_fork(|| {
                    drop(held.pop());
                    let all = stream.allocate_many_timeout(SIZE, SIZE, 3, Duration::ZERO);
                    i32::from(all.is_err())
                });
                assert_eq!(code, 0, "1: two are gone");
                held.clear();
                assert_eq!(waiter.join().unwrap(), Ok(3));
            });
        }
    });
}

/// A task of the parent collects, and has two of the stream's own, or the claims; the child
/// polls another one, which has not been woken, once.
#[cfg(feature = "async")]
#[test]
fn a_task_that_a_child_polls_finds_what_one_who_collected_in_the_parent_had() {
    use std::task::{Context, Poll, Waker};
    let name = "a_task_that_a_child_polls_finds_what_one_who_collected_in_the_parent_had";
    alone(name, &[], || {
        for (strict, minimum) in [(false, 3), (true, 3), (false, 0), (true, 0)] {
            let pool = builder(4).fork(true).strict_order(strict).build().unwrap();
            let stream = pool.stream("one").minimum(SIZE, SIZE, minimum);
            let stream = stream.maximum(SIZE, SIZE, 3).build().unwrap();
            let mut held: Vec<Buffer> = match minimum {
                0 => std::iter::from_fn(|| pool.allocate(SIZE, SIZE).ok()).collect(),
                _ => stream.allocate_many(SIZE, SIZE, 3).unwrap(),
            };
            let mut tasks =
                [3, 2].map(|count| Box::pin(stream.allocate_many_async(SIZE, SIZE, count)));
            let mut context = Context::from_waker(Waker::noop());
            assert!(tasks[0].as_mut().poll(&mut context).is_pending());
            if minimum > 0 {
                held.truncate(1);
                assert!(tasks[0].as_mut().poll(&mut context).is_pending());
            }
            assert!(tasks[1].as_mut().poll(&mut context).is_pending());
            let code = in_fork(|| {
                if minimum == 0 {
                    held.clear();
                }
                let Poll::Ready(taken) = tasks[1].as_mut().poll(&mut context) else {
                    return 1;
                };
                assert_eq!(taken.unwrap().len(), 2);
                0
            });
            assert_eq!(code, 0, "1: it sleeps beside that");
        }
    });
}
