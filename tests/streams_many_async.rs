//! Several buffers of a stream at once, as a future that is polled by hand: what is kept for
//! it, step by step.
#![cfg(feature = "async")]

mod support;

use hugepool::{AllocError, AllocateMany, Buffer, Pool, Stream};
use std::time::Duration;
use support::small::{SIZE, builder, in_strict_order, take, with_both_kinds, with_both_kinds_of};
use support::task::Task;

fn stream(pool: &Pool, minimum: usize, maximum: usize) -> Stream {
    let stream = pool.stream("one").minimum(SIZE, SIZE, minimum);
    stream.maximum(SIZE, SIZE, maximum).build().unwrap()
}

fn take_many(stream: &Stream, count: usize) -> Vec<Buffer> {
    stream.allocate_many(SIZE, SIZE, count).unwrap()
}

fn take_all(pool: &Pool) -> Vec<Buffer> {
    std::iter::from_fn(|| pool.allocate(SIZE, SIZE).ok()).collect()
}

/// A task that waits for `count`.
#[track_caller]
fn several(stream: &Stream, count: usize) -> Task<AllocateMany> {
    Task::begun(stream.allocate_many_async(SIZE, SIZE, count))
}

/// Polls `task`, which has been woken since it was woken `before` times.
#[track_caller]
fn poll_woken(task: &mut Task<AllocateMany>, before: u64) -> Option<Vec<Buffer>> {
    assert!(task.wakes() > before, "it was not woken");
    match task.poll() {
        std::task::Poll::Ready(taken) => Some(taken.unwrap()),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn each_of_its_own_that_comes_is_one_of_the_pools_less() {
    with_both_kinds(8, |pool| {
        let stream = stream(pool, 3, 6);
        let mut own = take_many(&stream, 3);
        let mut others = take_all(pool);
        // More than it may have besides: it waits for its own.
        let mut task = several(&stream, 5);
        drop(own.pop());
        assert!(poll_woken(&mut task, 0).is_none());
        assert_eq!(stream.in_use(SIZE, SIZE), 3, "one is kept, two are out");
        // Three of the pool's and two of its own would do.
        let before = task.wakes();
        drop(own.pop());
        assert!(poll_woken(&mut task, before).is_none());
        assert_eq!(stream.in_use(SIZE, SIZE), 6, "it has the claims");
        // Two of the pool's are kept.
        let before = task.wakes();
        others.truncate(others.len() - 2);
        assert_eq!(task.wakes(), before, "it was woken for too few");
        assert_eq!(pool.available(SIZE, SIZE), 0, "they are kept");
        // With the third of its own, they are enough.
        drop(own.pop());
        let taken = poll_woken(&mut task, before).expect("it has all");
        assert_eq!((taken.len(), stream.in_use(SIZE, SIZE)), (5, 5));
        drop(others);
        assert_eq!(pool.available(SIZE, SIZE), 3);
        drop(taken);
        assert_eq!(stream.in_use(SIZE, SIZE), 0);
        assert_eq!(pool.available(SIZE, SIZE), 5);
    });
}

#[test]
fn claims_that_come_back_are_kept_until_there_are_enough() {
    with_both_kinds(8, |pool| {
        let stream = stream(pool, 0, 4);
        let mut held = take_many(&stream, 4);
        let mut task = several(&stream, 3);
        for _ in 0..2 {
            drop(held.pop());
            assert_eq!(task.wakes(), 0, "it was woken for too few");
            // The pool has some, but no more of the stream.
            let refused = stream.allocate(SIZE, SIZE).unwrap_err();
            let all = AllocError::AtMaximum {
                count: 1,
                maximum: 4,
            };
            assert_eq!(refused, all, "what is kept counts as taken");
            assert!(stream.allocate_many(SIZE, SIZE, 2).is_err());
        }
        drop(held.pop());
        let taken = poll_woken(&mut task, 0).expect("it has all");
        assert_eq!(taken.len(), 3);
        drop((taken, held));
        assert_eq!(take_many(&stream, 4).len(), 4);
    });
}

#[test]
fn a_task_that_is_dropped_passes_all_on_whatever_it_had() {
    with_both_kinds(6, |pool| {
        // How many of its own, and of the pool's, come back before it is dropped.
        for (own_back, pools_back) in [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2)] {
            let stream = stream(pool, 2, 5);
            let mut own = take_many(&stream, 2);
            let mut others = take_all(pool);
            let mut first = several(&stream, 5);
            let mut second = several(&stream, 4);
            let mut one = Task::begun(stream.allocate_async(SIZE, SIZE));
            for _ in 0..own_back {
                drop(own.pop());
                assert!(first.poll().is_pending());
            }
            others.truncate(others.len() - pools_back);
            drop(first);
            // Both are served by what it had, and what is still out.
            drop((own, others));
            let mut served = 0;
            for _ in 0..4 {
                if let std::task::Poll::Ready(taken) = one.poll() {
                    drop(taken.unwrap());
                    served += 1;
                    break;
                }
                if let std::task::Poll::Ready(taken) = second.poll() {
                    assert_eq!(taken.unwrap().len(), 4);
                    served += 1;
                    second = Task::of(stream.allocate_many_async(SIZE, SIZE, 4));
                }
            }
            assert!(served > 0, "{own_back} and {pools_back} were lost");
            drop((one, second));
            assert_eq!(stream.in_use(SIZE, SIZE), 0);
            assert_eq!(take_many(&stream, 5).len(), 5);
        }
    });
}

#[test]
fn in_strict_order_nobody_overtakes_who_waits_for_several_of_a_stream() {
    in_strict_order(6, |pool| {
        for (minimum, maximum) in [(0, 3), (3, 3), (2, 4)] {
            let stream = stream(pool, minimum, maximum);
            let mut held = take_many(&stream, maximum);
            let mut task = several(&stream, maximum);
            let mut late = Task::begun(stream.allocate_async(SIZE, SIZE));
            while held.len() > 1 {
                drop(held.pop());
                let _still_waits = task.poll().is_pending();
                assert!(
                    late.poll().is_pending(),
                    "it was overtaken by who came later"
                );
                assert!(
                    stream.allocate(SIZE, SIZE).is_err(),
                    "and by who waits for nothing"
                );
            }
            drop(held);
            assert_eq!(task.result().unwrap().len(), maximum);
            drop(late.result().unwrap());
            assert_eq!(stream.in_use(SIZE, SIZE), 0);
        }
    });
}

#[test]
fn who_waits_for_several_learns_that_there_never_will_be_enough() {
    with_both_kinds(6, |pool| {
        let stream = stream(pool, 0, 6);
        let held = take_many(&stream, 3);
        let mut task = several(&stream, 6);
        let before = task.wakes();
        let other = pool.stream("other").minimum(SIZE, SIZE, 2).build().unwrap();
        assert!(task.wakes() > before, "it waits for what will never be");
        let never = AllocError::NeverEnough {
            count: 6,
            capacity: 4,
        };
        assert_eq!(task.result().unwrap_err(), never);
        drop((held, other));
        assert_eq!(take_many(&stream, 6).len(), 6);
        drop(take(pool));
    });
}

/// One collects the large class of the pool, so who waits for two of the stream is passed
/// over there, with its claims; somebody else of the stream needs one.
#[test]
fn claims_that_a_collection_leaves_over_are_shown_to_the_others() {
    for strict in [false, true] {
        let builder = builder(8).reserve(2 * SIZE, SIZE, 2).strict_order(strict);
        with_both_kinds_of(&builder, |pool| {
            let stream = stream(pool, 0, 3);
            let held = take_many(&stream, 3);
            let _one = pool.allocate(2 * SIZE, SIZE).unwrap();
            let _large = Task::begun(pool.allocate_many_async(2 * SIZE, SIZE, 2));
            let mut others = take_all(pool);
            let mut two = several(&stream, 2);
            let mut one = Task::begun(stream.allocate_async(SIZE, SIZE));
            let before = one.wakes();
            for buffer in held {
                drop(buffer);
                others.extend(take_all(pool));
            }
            assert!(two.poll().is_pending(), "it has two of the three claims");
            others.pop();
            assert!(
                one.wakes() > before,
                "it sleeps beside a claim and a buffer"
            );
            drop(one.result().unwrap());
        });
    }
}

/// The pool is dry. One has a claim; those who wait for several come one after the other.
#[test]
fn who_has_a_claim_is_not_passed_over_for_ever_by_those_who_collect() {
    with_both_kinds(8, |pool| {
        let stream = stream(pool, 2, 5);
        let mut own = take_many(&stream, 2);
        let _others = take_all(pool);
        let mut one = Task::begun(stream.allocate_async(SIZE, SIZE));
        let mut next = several(&stream, 2);
        for _ in 0..100 {
            let mut two = std::mem::replace(&mut next, several(&stream, 2));
            // A turn is due.
            std::thread::sleep(Duration::from_millis(1));
            let (first, second) = (own.pop(), own.pop());
            drop(first);
            if one.poll().is_ready() {
                return;
            }
            assert!(two.poll().is_pending());
            drop(second);
            own = two.result().unwrap();
        }
        panic!("two hundred of the stream's own came back, and it had none");
    });
}

#[test]
fn in_strict_order_who_waits_for_several_does_not_overtake_who_has_a_claim() {
    in_strict_order(8, |pool| {
        let stream = stream(pool, 2, 5);
        let own = take_many(&stream, 2);
        let _others = take_all(pool);
        let mut one = Task::begun(stream.allocate_async(SIZE, SIZE));
        let mut two = several(&stream, 2);
        for buffer in own {
            drop(buffer);
            assert!(two.poll().is_pending(), "it has what another one waits for");
        }
        drop(one.result().unwrap());
        assert_eq!(two.result().unwrap().len(), 2);
    });
}

/// One collects; the second cannot yet; a third waits for one, and the claims are the second's.
#[test]
fn in_strict_order_who_waits_for_one_does_not_overtake_who_is_to_collect() {
    in_strict_order(8, |pool| {
        let stream = stream(pool, 0, 3);
        let mut others = take_all(pool);
        let mut first = several(&stream, 2);
        let mut second = several(&stream, 2);
        let mut late = Task::begun(stream.allocate_async(SIZE, SIZE));
        others.truncate(others.len() - 3);
        assert!(
            stream.allocate(SIZE, SIZE).is_err(),
            "nor who does not wait"
        );
        let two = first.result().unwrap();
        assert!(second.poll().is_pending());
        assert!(late.poll().is_pending(), "it has what the second waits for");
        drop(two);
        assert_eq!(second.result().unwrap().len(), 2);
        drop(late.result().unwrap());
    });
}

/// Three places: of one who waits for one and comes first each time; of one who collects each
/// time; and of one who waits for several, and is the oldest in the end.
#[test]
fn elders_do_not_take_the_turns_of_those_between_them_and_the_one_who_collects() {
    let builder = builder(8).strict_order(false);
    with_both_kinds_of(&builder, |pool| {
        let stream = stream(pool, 2, 2);
        let mut own = take_many(&stream, 2);
        let _others = take_all(pool);
        let mut places: Vec<_> = (0..3).map(|_| Some(Task::waiting(pool))).collect();
        let mut one = Task::begun(stream.allocate_async(SIZE, SIZE));
        places[1] = None;
        let mut first = several(&stream, 2);
        places[2] = None;
        let other = several(&stream, 2);
        for _ in 0..100 {
            std::thread::sleep(Duration::from_micros(600));
            drop(own.pop());
            let taken = match one.poll() {
                std::task::Poll::Ready(taken) => taken.unwrap(),
                std::task::Poll::Pending => break,
            };
            one = Task::begun(stream.allocate_async(SIZE, SIZE));
            if first.poll().is_ready() {
                break;
            }
            drop(taken);
            if first.poll().is_ready() {
                break;
            }
            drop(own.pop());
            match first.poll() {
                std::task::Poll::Ready(taken) => own = taken.unwrap(),
                std::task::Poll::Pending => break,
            }
            first = several(&stream, 2);
        }
        assert!(other.wakes() > 0, "the oldest is passed over");
    });
}

/// One after the other collects with two of the three claims of a stream; the third goes to one
/// who waits for one, each time; and one waits for two.
#[test]
fn who_waits_for_several_is_not_passed_over_for_ever_by_those_who_have_the_claims() {
    let builder = builder(6).strict_order(false);
    with_both_kinds_of(&builder, |pool| {
        let stream = stream(pool, 0, 3);
        let mut mine = take_many(&stream, 3);
        let mut others = take_all(pool);
        let mut places: Vec<_> = (0..3).map(|_| Some(Task::waiting(pool))).collect();
        let mut one = Task::begun(stream.allocate_async(SIZE, SIZE));
        places[1] = None;
        let mut first = several(&stream, 2);
        places[2] = None;
        let other = several(&stream, 2);
        let mut rounds = 0;
        'rounds: while rounds < 100 {
            let give = |mine: &mut Vec<Buffer>, others: &mut Vec<Buffer>| {
                drop(mine.pop());
                others.extend(pool.allocate(SIZE, SIZE).ok());
            };
            // A turn is due.
            std::thread::sleep(Duration::from_micros(600));
            give(&mut mine, &mut others);
            give(&mut mine, &mut others);
            let _ = first.poll().is_ready();
            std::thread::sleep(Duration::from_micros(600));
            give(&mut mine, &mut others);
            let mut got = Vec::new();
            let taken = loop {
                if let std::task::Poll::Ready(taken) = one.poll() {
                    break taken.unwrap();
                }
                if others.pop().is_none() || other.wakes() > 0 {
                    break 'rounds;
                }
                if got.is_empty()
                    && let std::task::Poll::Ready(taken) = first.poll()
                {
                    got = taken.unwrap();
                    first = several(&stream, 2);
                }
            };
            one = Task::begun(stream.allocate_async(SIZE, SIZE));
            if got.is_empty() {
                others.truncate(others.len().saturating_sub(2));
                let std::task::Poll::Ready(taken) = first.poll() else {
                    break;
                };
                got = taken.unwrap();
                first = several(&stream, 2);
            }
            mine.push(taken);
            mine.extend(got);
            rounds += 1;
        }
        assert!(rounds < 100, "the oldest is passed over");
        drop((mine, others, one, first, places));
        assert!(other.wakes() > 0, "it is not served in the end");
    });
}
