//! Several buffers of a stream at once for those who wait: all of them or none, of what is
//! its own and of what is the pool's, in turn with those who wait for one.

mod support;

use hugepool::{AllocError, Buffer, Pool, Stream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::small::{
    SIZE, are_apart, builder, take, until_waiting, with_both_kinds, with_both_kinds_of,
};
use support::{LONG, Random};

const FOR_EVER: Duration = Duration::MAX;
const SHORT: Duration = Duration::from_millis(1);

type Many = Result<Vec<Buffer>, AllocError>;

fn stream(pool: &Pool, minimum: usize, maximum: usize) -> Stream {
    let stream = pool.stream("one").minimum(SIZE, SIZE, minimum);
    stream.maximum(SIZE, SIZE, maximum).build().unwrap()
}

fn wait(stream: &Stream, count: usize) -> Many {
    stream.allocate_many_timeout(SIZE, SIZE, count, FOR_EVER)
}

#[track_caller]
fn take_many(stream: &Stream, count: usize) -> Vec<Buffer> {
    let taken = stream.allocate_many(SIZE, SIZE, count);
    taken.expect("they are free")
}

/// All that others than streams can have.
fn take_all(pool: &Pool) -> Vec<Buffer> {
    std::iter::from_fn(|| pool.allocate(SIZE, SIZE).ok()).collect()
}

/// That all are free again, the stream's own among them.
#[track_caller]
fn all_are_home(pool: &Pool, stream: Stream, count: usize) {
    assert_eq!(pool.stats().waiting, 0);
    assert_eq!(stream.in_use(SIZE, SIZE), 0, "something still counts");
    drop(stream);
    assert_eq!(pool.available(SIZE, SIZE), count);
    assert_eq!(pool.allocate_many(SIZE, SIZE, count).unwrap().len(), count);
}

#[test]
fn what_is_free_is_taken_at_once_all_or_none() {
    with_both_kinds(4, |pool| {
        for minimum in 0..=3 {
            let stream = stream(pool, minimum, 3);
            let far = Instant::now() + LONG;
            let token = pool.cancel_token();
            for count in 0..=3 {
                let taken: [&dyn Fn() -> Many; 3] = [
                    &|| wait(&stream, count),
                    &|| stream.allocate_many_deadline(SIZE, SIZE, count, far),
                    &|| stream.allocate_many_cancellable(SIZE, SIZE, count, FOR_EVER, &token),
                ];
                for take in taken {
                    let taken = take().unwrap();
                    are_apart(&taken);
                    assert_eq!((taken.len(), stream.in_use(SIZE, SIZE)), (count, count));
                }
            }
            let held = take_many(&stream, 2);
            for limit in [Duration::ZERO, SHORT] {
                let refused = stream.allocate_many_timeout(SIZE, SIZE, 2, limit);
                assert!(matches!(refused, Err(AllocError::TimedOut { .. })));
            }
            let refused = stream.allocate_many_deadline(SIZE, SIZE, 2, Instant::now());
            assert!(matches!(refused, Err(AllocError::TimedOut { .. })));
            assert_eq!(stream.in_use(SIZE, SIZE), 2, "half of it was kept");
            drop(held);
            all_are_home(pool, stream, 4);
        }
    });
}

#[test]
fn what_could_never_be_is_refused_at_once() {
    with_both_kinds(6, |pool| {
        let first = stream(pool, 2, 4);
        let second = pool.stream("two").minimum(SIZE, SIZE, 3);
        let second = second.maximum(SIZE, SIZE, 6).build().unwrap();
        let _held = take_all(pool);
        let of = |stream: &Stream, size, alignment, count| {
            (stream.allocate_many_timeout(size, alignment, count, FOR_EVER)).unwrap_err()
        };
        // Its maximum is 4; but the other stream has three for itself.
        for (stream, count, capacity) in [
            (&first, 4, 3),
            (&first, usize::MAX, 3),
            (&second, 5, 4),
            (&second, 7, 4),
        ] {
            let refused = AllocError::NeverEnough { count, capacity };
            assert_eq!(of(stream, SIZE, SIZE, count), refused);
        }
        for count in [0, 2] {
            assert_eq!(of(&first, 0, SIZE, count), AllocError::ZeroSize);
            let bad = AllocError::BadAlignment { alignment: 3 };
            assert_eq!(of(&first, SIZE, 3, count), bad);
            let none = of(&first, SIZE + 1, SIZE, count);
            assert!(matches!(none, AllocError::NoShare { .. }));
        }
        let other = builder(4).build().unwrap();
        let token = other.cancel_token();
        let foreign = first.allocate_many_cancellable(SIZE, SIZE, 2, FOR_EVER, &token);
        assert_eq!(foreign.unwrap_err(), AllocError::ForeignToken);
    });
}

#[test]
fn two_who_need_more_than_half_are_served_one_after_the_other() {
    with_both_kinds(8, |pool| {
        for (minimum, maximum) in [(0, 8), (3, 8), (8, 8), (0, 5)] {
            let stream = stream(pool, minimum, maximum);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for _ in 0..200 {
                            are_apart(&wait(&stream, 5).unwrap());
                        }
                    });
                }
            });
            all_are_home(pool, stream, 8);
        }
    });
}

#[test]
fn who_waits_for_many_is_served_beside_a_crowd_that_waits_for_one() {
    const CROWD: usize = 12;
    with_both_kinds(8, |pool| {
        for (minimum, maximum) in [(0, 8), (4, 6), (6, 6)] {
            let stream = stream(pool, minimum, maximum);
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                for at in 0..CROWD {
                    let (stream, stop) = (&stream, &stop);
                    scope.spawn(move || {
                        while !stop.load(Ordering::Relaxed) {
                            // One in three of the pool's own callers.
                            let one = match at % 3 {
                                0 => pool.allocate_timeout(SIZE, SIZE, FOR_EVER),
                                _ => stream.allocate_timeout(SIZE, SIZE, FOR_EVER),
                            };
                            drop(one.unwrap());
                        }
                    });
                }
                for _ in 0..20 {
                    assert_eq!(wait(&stream, 6).unwrap().len(), 6);
                }
                stop.store(true, Ordering::Relaxed);
            });
            all_are_home(pool, stream, 8);
        }
    });
}

#[test]
fn its_own_that_come_back_are_enough_while_the_pool_is_dry() {
    with_both_kinds(8, |pool| {
        let stream = stream(pool, 3, 6);
        let own = take_many(&stream, 3);
        let others = take_all(pool);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&stream, 3).unwrap().len());
            until_waiting(pool, 1);
            drop(own);
            assert_eq!(waiter.join().unwrap(), 3);
        });
        drop(others);
        all_are_home(pool, stream, 8);
    });
}

#[test]
fn whoever_ends_a_wait_for_several_has_all_put_back() {
    with_both_kinds(8, |pool| {
        let stream = stream(pool, 2, 5);
        for round in 0..40 {
            // Something of its own, of the pool's, or of both, is out.
            let own = (round % 2 == 0).then(|| take_many(&stream, 2));
            let others = take_all(pool);
            let token = pool.cancel_token();
            thread::scope(|scope| {
                let waiter = scope.spawn(|| {
                    let limit = match round % 4 {
                        0 | 1 => FOR_EVER,
                        _ => SHORT,
                    };
                    stream.allocate_many_cancellable(SIZE, SIZE, 5, limit, &token)
                });
                if round % 4 < 2 {
                    until_waiting(pool, 1);
                    drop(own);
                    token.cancel();
                }
                let result = waiter.join().unwrap();
                match result.unwrap_err() {
                    AllocError::Cancelled => assert!(round % 4 < 2),
                    AllocError::TimedOut { .. } => assert!(round % 4 >= 2),
                    other => panic!("{other}"),
                }
            });
            drop(others);
            assert_eq!(stream.in_use(SIZE, SIZE), 0);
            assert_eq!(take_many(&stream, 5).len(), 5);
        }
        all_are_home(pool, stream, 8);
    });
}

#[test]
fn an_abort_ends_every_wait_for_several_of_a_stream() {
    with_both_kinds(4, |pool| {
        let stream = stream(pool, 1, 3);
        let held = take_many(&stream, 2);
        thread::scope(|scope| {
            let waiters = [2, 3].map(|count| {
                let stream = &stream;
                scope.spawn(move || wait(stream, count).unwrap_err())
            });
            until_waiting(pool, 2);
            pool.abort();
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), AllocError::Aborted);
            }
        });
        drop(held);
        assert_eq!(take_many(&stream, 3).len(), 3);
    });
}

#[test]
fn streams_and_the_pool_that_take_one_or_several_lose_nothing_and_keep_to_their_shares() {
    for strict in [false, true] {
        let builder = builder(12).strict_order(strict);
        with_both_kinds_of(&builder, |pool| {
            let streams = [(3, 6), (0, 4), (2, 12)].map(|(least, most)| {
                let stream = pool.stream("one of three").minimum(SIZE, SIZE, least);
                (stream.maximum(SIZE, SIZE, most).build().unwrap(), most)
            });
            thread::scope(|scope| {
                for at in 0..6 {
                    let streams = &streams;
                    scope.spawn(move || {
                        let mut random = Random::new(at);
                        for _ in 0..400 {
                            let (stream, most) = &streams[random.below(3)];
                            let count = 1 + random.below(4.min(*most));
                            let limit = match random.below(8) {
                                0 => Duration::from_micros(random.below(200) as u64),
                                _ => FOR_EVER,
                            };
                            let taken = match random.below(4) {
                                0 => pool.allocate_many_timeout(SIZE, SIZE, count, limit),
                                1 => (stream.allocate_timeout(SIZE, SIZE, limit))
                                    .map(|buffer| vec![buffer]),
                                _ => stream.allocate_many_timeout(SIZE, SIZE, count, limit),
                            };
                            match taken {
                                Ok(taken) => are_apart(&taken),
                                Err(AllocError::TimedOut { .. }) => {}
                                Err(other) => panic!("{other}"),
                            }
                        }
                    });
                }
            });
            for (stream, _) in &streams {
                assert_eq!(stream.in_use(SIZE, SIZE), 0);
            }
            drop(streams);
            assert_eq!(pool.available(SIZE, SIZE), 12);
            drop(take(pool));
        });
    }
}
