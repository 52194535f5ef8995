//! Streams: what is guaranteed to one nobody else can take, none has more than its
//! maximum, what it has counts until it is home, and who waits inside one is served.

mod support;

use hugepool::{AllocError, Buffer, Pool, Stream, StreamError};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use support::kind::{Kind, both_kinds};
use support::small::{SIZE, builder, take, until_waiting};

both_kinds![
    nobody_else_takes_what_is_guaranteed,
    a_stream_never_has_more_than_its_maximum,
    what_a_stream_has_counts_wherever_it_is_dropped,
    a_stream_that_ends_gives_everything_back,
    buffers_outlive_their_stream_and_the_pool,
    who_waits_is_served_by_its_own_streams_buffer,
    who_waits_is_served_by_its_own_streams_claim,
    who_waits_is_served_by_the_pool,
    who_waits_at_the_maximum_leaves_the_pool_to_others,
    nobody_of_a_stream_is_passed_over_for_ever,
    several_streams_in_a_crowd_lose_nothing,
    a_raw_pointer_of_a_stream_counts_against_it,
    several_at_once_or_none,
    a_wait_that_ends_in_vain_keeps_nothing,
];

const FOR_EVER: Duration = Duration::MAX;

/// A stream of `pool` with so many of its own, and so many at most.
fn stream(pool: &Pool, minimum: usize, maximum: usize) -> Stream {
    let stream = pool.stream("one").minimum(SIZE, SIZE, minimum);
    stream.maximum(SIZE, SIZE, maximum).build().unwrap()
}

/// Takes buffers of `stream` until it is refused, and gives that error, too.
fn all_of(stream: &Stream) -> (Vec<Buffer>, AllocError) {
    let mut taken = Vec::new();
    loop {
        match stream.allocate(SIZE, SIZE) {
            Ok(buffer) => taken.push(buffer),
            Err(error) => return (taken, error),
        }
    }
}

/// Takes buffers of `pool` until it is refused.
fn all(pool: &Pool) -> Vec<Buffer> {
    std::iter::from_fn(|| pool.allocate(SIZE, SIZE).ok()).collect()
}

/// Both ways to serve a line.
fn in_both_orders(kind: Kind, count: usize, test: impl Fn(&Pool)) {
    for strict in [false, true] {
        test(&kind.build(builder(count).strict_order(strict)));
    }
}

fn nobody_else_takes_what_is_guaranteed(kind: Kind) {
    let pool = kind.build(builder(16));
    let (first, second) = (stream(&pool, 4, 6), stream(&pool, 3, 16));
    let others = all(&pool);
    assert_eq!(others.len(), 16 - 7);
    let refused = pool.allocate_many(SIZE, SIZE, 10).unwrap_err();
    let never = AllocError::NeverEnough {
        count: 10,
        capacity: 9,
    };
    assert_eq!(refused, never);
    let (own, error) = all_of(&first);
    assert_eq!(own.len(), 4);
    assert!(matches!(error, AllocError::Exhausted { .. }), "{error}");
    assert_eq!(all_of(&second).0.len(), 3);
    drop(others);
    let (more, error) = all_of(&first);
    assert_eq!(more.len(), 2);
    let maximum = AllocError::AtMaximum {
        count: 1,
        maximum: 6,
    };
    assert_eq!(error, maximum);
}

fn a_stream_never_has_more_than_its_maximum(kind: Kind) {
    in_both_orders(kind, 32, |pool| {
        let stream = stream(pool, 1, 2);
        let out = AtomicUsize::new(0);
        let refused = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut held = Vec::new();
                    for round in 0..20_000 {
                        match stream.allocate(SIZE, SIZE) {
                            Ok(buffer) => {
                                let now = out.fetch_add(1, Ordering::SeqCst) + 1;
                                assert!(now <= 2, "{now} are out");
                                held.push(buffer);
                            }
                            Err(error) => {
                                assert!(matches!(error, AllocError::AtMaximum { .. }), "{error}");
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        if round % 5 == 4 {
                            out.fetch_sub(held.len(), Ordering::SeqCst);
                            held.clear();
                        }
                    }
                    out.fetch_sub(held.len(), Ordering::SeqCst);
                });
            }
        });
        assert!(refused.into_inner() > 0, "it never was at its maximum");
        assert_eq!(stream.in_use(SIZE, SIZE), 0);
        assert_eq!(all_of(&stream).0.len(), 2);
    });
}

fn what_a_stream_has_counts_wherever_it_is_dropped(kind: Kind) {
    let pool = kind.build(builder(8));
    let stream = stream(&pool, 2, 5);
    let (taken, _) = all_of(&stream);
    assert_eq!(stream.in_use(SIZE, SIZE), 5);
    let (sender, receiver) = std::sync::mpsc::channel::<Buffer>();
    let dropper = thread::spawn(move || receiver.into_iter().for_each(drop));
    taken
        .into_iter()
        .for_each(|buffer| sender.send(buffer).unwrap());
    drop(sender);
    dropper.join().unwrap();
    assert_eq!(stream.in_use(SIZE, SIZE), 0);
    assert_eq!(pool.available(SIZE, SIZE), 6);
    assert_eq!(all_of(&stream).0.len(), 5);
}

fn a_stream_that_ends_gives_everything_back(kind: Kind) {
    let pool = kind.build(builder(8));
    // More often than there are numbers of streams.
    for _ in 0..5000 {
        let stream = stream(&pool, 3, 5);
        let (held, other) = (stream.allocate(SIZE, SIZE).unwrap(), stream.clone());
        drop(stream);
        assert_eq!(other.in_use(SIZE, SIZE), 1);
        drop(other);
        assert_eq!(pool.available(SIZE, SIZE), 7);
        drop(held);
        assert_eq!(pool.available(SIZE, SIZE), 8);
    }
    assert_eq!(all(&pool).len(), 8);
}

fn buffers_outlive_their_stream_and_the_pool(kind: Kind) {
    let pool = kind.build(builder(8));
    let stream = stream(&pool, 2, 5);
    let (mut taken, _) = all_of(&stream);
    drop(stream);
    let last = taken.pop().unwrap();
    drop(pool);
    taken.iter_mut().for_each(|buffer| buffer.fill(1));
    drop(taken);
    assert_eq!((last.len(), last.capacity()), (SIZE, SIZE));
}

/// Starts a thread that waits in `stream`, for which `give` then gives something back.
fn serves(pool: &Pool, stream: &Stream, give: impl FnOnce()) {
    thread::scope(|scope| {
        let waiter = scope.spawn(|| stream.allocate_timeout(SIZE, SIZE, FOR_EVER).unwrap());
        until_waiting(pool, 1);
        give();
        assert_eq!(waiter.join().unwrap().len(), SIZE);
    });
}

fn who_waits_is_served_by_its_own_streams_buffer(kind: Kind) {
    in_both_orders(kind, 8, |pool| {
        let stream = stream(pool, 2, 2);
        for _ in 0..100 {
            let mut taken = all_of(&stream).0;
            serves(pool, &stream, || drop(taken.pop()));
        }
        // Below its maximum, while the pool has nothing.
        let (stream, others) = (self::stream(pool, 2, 4), all(pool));
        for _ in 0..100 {
            let mut taken = all_of(&stream).0;
            assert_eq!(taken.len(), 2);
            serves(pool, &stream, || drop(taken.pop()));
        }
        drop(others);
        assert_eq!(all_of(&stream).0.len(), 4);
    });
}

fn who_waits_is_served_by_its_own_streams_claim(kind: Kind) {
    in_both_orders(kind, 8, |pool| {
        for minimum in [0, 1] {
            let stream = stream(pool, minimum, 3);
            for _ in 0..100 {
                let mut taken = all_of(&stream).0;
                // The last one is the pool's.
                serves(pool, &stream, || drop(taken.pop()));
            }
            assert_eq!(stream.in_use(SIZE, SIZE), 0);
        }
    });
}

fn who_waits_is_served_by_the_pool(kind: Kind) {
    in_both_orders(kind, 4, |pool| {
        let stream = stream(pool, 1, 3);
        for _ in 0..100 {
            let (mut others, taken) = (all(pool), all_of(&stream).0);
            assert_eq!((others.len(), taken.len()), (3, 1));
            serves(pool, &stream, || drop(others.pop()));
        }
        // And by growth.
        let _others = (all(pool), all_of(&stream));
        serves(pool, &stream, || pool.request(SIZE, SIZE, 1).unwrap());
    });
}

fn who_waits_at_the_maximum_leaves_the_pool_to_others(kind: Kind) {
    in_both_orders(kind, 4, |pool| {
        let stream = stream(pool, 0, 1);
        let held = stream.allocate(SIZE, SIZE).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| stream.allocate_timeout(SIZE, SIZE, FOR_EVER).unwrap());
            until_waiting(pool, 1);
            for _ in 0..1000 {
                drop([take(pool), take(pool)]);
            }
            // Nobody had the class shared.
            assert_eq!(pool.counters().barriers, 0);
            assert_eq!(all(pool).len(), 3);
            assert_eq!(stream.in_use(SIZE, SIZE), 1);
            drop(held);
            drop(waiter.join().unwrap());
        });
    });
}

fn nobody_of_a_stream_is_passed_over_for_ever(kind: Kind) {
    for (minimum, maximum) in [(1, 1), (0, 1), (1, 2)] {
        in_both_orders(kind, 3, |pool| {
            let stream = stream(pool, minimum, maximum);
            // Two waiters, and one who never stops.
            let done = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for _ in 0..50 {
                            drop(stream.allocate_timeout(SIZE, SIZE, FOR_EVER).unwrap());
                        }
                        done.fetch_add(1, Ordering::Release);
                    });
                }
                let mut taken = 0_u64;
                while done.load(Ordering::Acquire) < 2 {
                    taken += u64::from(stream.allocate(SIZE, SIZE).is_ok());
                    assert!(taken < 50_000_000, "somebody is passed over");
                }
            });
        });
    }
}

fn several_streams_in_a_crowd_lose_nothing(kind: Kind) {
    in_both_orders(kind, 8, |pool| {
        let streams = [stream(pool, 1, 2), stream(pool, 2, 4), stream(pool, 0, 8)];
        let barrier = Barrier::new(9);
        thread::scope(|scope| {
            for at in 0..8 {
                let (streams, barrier) = (&streams, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for round in 0..1000 {
                        let buffer = match streams.get((at + round) % 4) {
                            Some(stream) => stream.allocate_timeout(SIZE, SIZE, FOR_EVER),
                            None => pool.allocate_timeout(SIZE, SIZE, FOR_EVER),
                        };
                        let mut buffer = buffer.unwrap();
                        buffer[0] = at as u8;
                        if round % 16 == 0 {
                            thread::yield_now();
                        }
                        assert_eq!(buffer[0], at as u8, "somebody else has it, too");
                    }
                });
            }
            barrier.wait();
        });
        for stream in &streams {
            assert_eq!(stream.in_use(SIZE, SIZE), 0);
        }
        drop(streams);
        assert_eq!(all(pool).len(), 8);
    });
}

fn a_raw_pointer_of_a_stream_counts_against_it(kind: Kind) {
    let pool = kind.build(builder(8));
    let stream = stream(&pool, 1, 2);
    let (taken, _) = all_of(&stream);
    let raw: Vec<_> = taken
        .into_iter()
        .map(|buffer| pool.into_raw(buffer).unwrap().as_ptr())
        .collect();
    assert_eq!(stream.in_use(SIZE, SIZE), 2);
    for start in raw {
        // SAFETY: it is ours; the wrong size changes nothing.
        let wrong = unsafe { pool.free_raw(start, SIZE - 1) };
        assert!(wrong.is_err());
        // SAFETY: it is ours, and not used any more.
        let buffer = unsafe { pool.from_raw(start, SIZE) }.unwrap();
        let start = pool.into_raw(buffer).unwrap().as_ptr();
        // SAFETY: as above.
        unsafe { pool.free_raw(start, SIZE) }.unwrap();
        // SAFETY: refused, and changes nothing.
        assert!(unsafe { pool.free_raw(start, SIZE) }.is_err());
    }
    assert_eq!(stream.in_use(SIZE, SIZE), 0);
    assert_eq!(all_of(&stream).0.len(), 2);
    // As a plain one again, it counts against nobody.
    drop(stream);
    let start = pool.allocate_raw(SIZE, SIZE).unwrap().as_ptr();
    // SAFETY: it is ours, and not used any more.
    unsafe { pool.free_raw(start, SIZE) }.unwrap();
    assert_eq!(pool.available(SIZE, SIZE), 8);
}

fn several_at_once_or_none(kind: Kind) {
    let pool = kind.build(builder(8));
    let stream = stream(&pool, 2, 5);
    let refused = stream.allocate_many(SIZE, SIZE, 6).unwrap_err();
    let never = AllocError::NeverEnough {
        count: 6,
        capacity: 5,
    };
    assert_eq!(refused, never);
    let four = stream.allocate_many(SIZE, SIZE, 4).unwrap();
    let refused = stream.allocate_many(SIZE, SIZE, 2).unwrap_err();
    let maximum = AllocError::AtMaximum {
        count: 2,
        maximum: 5,
    };
    assert_eq!((refused, stream.in_use(SIZE, SIZE)), (maximum, 4));
    drop(four);
    let others = pool.allocate_many(SIZE, SIZE, 5).unwrap();
    let refused = stream.allocate_many(SIZE, SIZE, 4).unwrap_err();
    assert!(matches!(refused, AllocError::Exhausted { .. }), "{refused}");
    assert_eq!(stream.in_use(SIZE, SIZE), 0);
    assert_eq!(stream.allocate_many(SIZE, SIZE, 3).unwrap().len(), 3);
    drop(others);
    assert_eq!(stream.allocate_many(SIZE, SIZE, 0).unwrap().len(), 0);
}

fn a_wait_that_ends_in_vain_keeps_nothing(kind: Kind) {
    in_both_orders(kind, 2, |pool| {
        let stream = stream(pool, 1, 2);
        let moment = Duration::from_millis(1);
        let (own, other) = (stream.allocate(SIZE, SIZE).unwrap(), take(pool));
        // With a claim, and nothing in the pool.
        let late = stream.allocate_timeout(SIZE, SIZE, moment).unwrap_err();
        assert!(matches!(late, AllocError::TimedOut { .. }), "{late}");
        let token = pool.cancel_token();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| stream.allocate_cancellable(SIZE, SIZE, FOR_EVER, &token));
            until_waiting(pool, 1);
            // It stands in line before it claims.
            while stream.in_use(SIZE, SIZE) != 2 {
                thread::yield_now();
            }
            token.cancel();
            assert_eq!(waiter.join().unwrap().unwrap_err(), AllocError::Cancelled);
        });
        assert_eq!(stream.in_use(SIZE, SIZE), 1);
        drop(other);
        let second = stream.allocate(SIZE, SIZE).unwrap();
        // Without a claim.
        let late = stream.allocate_timeout(SIZE, SIZE, moment).unwrap_err();
        assert!(matches!(late, AllocError::TimedOut { .. }), "{late}");
        thread::scope(|scope| {
            let waiter = scope.spawn(|| stream.allocate_timeout(SIZE, SIZE, FOR_EVER));
            until_waiting(pool, 1);
            pool.abort();
            assert_eq!(waiter.join().unwrap().unwrap_err(), AllocError::Aborted);
        });
        drop((own, second));
        assert_eq!(stream.in_use(SIZE, SIZE), 0);
        assert_eq!(all_of(&stream).0.len(), 2);
    });
}

#[test]
fn bad_input_is_refused_with_its_numbers_and_changes_nothing() {
    let pool = builder(8).reserve(4 * SIZE, SIZE, 4).build().unwrap();
    let refused = |stream: hugepool::StreamBuilder| stream.build().unwrap_err();
    assert_eq!(refused(pool.stream("")), StreamError::NoName);
    let long = "x".repeat(65);
    let too_long = StreamError::NameTooLong {
        bytes: 65,
        limit: 64,
    };
    assert_eq!(refused(pool.stream(long)), too_long);
    let named = || pool.stream("one");
    assert_eq!(refused(named()), StreamError::NoShare);
    let zero = StreamError::Class(AllocError::ZeroSize);
    assert_eq!(refused(named().minimum(0, SIZE, 1)), zero);
    let odd = StreamError::Class(AllocError::BadAlignment { alignment: 3 });
    assert_eq!(refused(named().maximum(SIZE, 3, 1)), odd);
    let large = StreamError::Class(AllocError::NoClass {
        size: 5 * SIZE,
        alignment: SIZE,
        largest: 4 * SIZE,
    });
    assert_eq!(refused(named().maximum(5 * SIZE, SIZE, 1)), large);
    let (size, alignment) = (SIZE, SIZE);
    let twice = StreamError::Twice { size, alignment };
    let two = named()
        .maximum(SIZE, SIZE, 1)
        .maximum_bytes(10, 10_usize.next_power_of_two(), 1);
    assert_eq!(refused(two), twice);
    let none = StreamError::ZeroMaximum { size, alignment };
    assert_eq!(refused(named().maximum(SIZE, SIZE, 0)), none);
    assert_eq!(refused(named().maximum_bytes(SIZE, SIZE, SIZE - 1)), none);
    let reversed = StreamError::MinimumAboveMaximum {
        size,
        minimum: 3,
        maximum: 2,
    };
    let both = named().minimum_bytes(SIZE, SIZE, 2 * SIZE + 1);
    assert_eq!(
        refused(both.maximum_bytes(SIZE, SIZE, 3 * SIZE - 1)),
        reversed
    );
    let first = named().minimum(SIZE, SIZE, 5).build().unwrap();
    let over = StreamError::Overcommitted {
        size,
        minimum: 4,
        promised: 5,
        capacity: 8,
    };
    // The larger class's share is undone.
    let two = named().minimum(4 * SIZE, SIZE, 2).minimum(SIZE, SIZE, 4);
    assert_eq!(refused(two.clone()), over);
    let most = StreamError::Overcommitted {
        size,
        minimum: usize::MAX,
        promised: 5,
        capacity: 8,
    };
    assert_eq!(refused(named().minimum(SIZE, SIZE, usize::MAX)), most);
    let held = take(&pool);
    let busy = StreamError::InUse {
        size,
        minimum: 3,
        free: 2,
    };
    assert_eq!(refused(named().minimum(SIZE, SIZE, 3)), busy);
    drop(first);
    assert_eq!(pool.available(4 * SIZE, SIZE), 4);
    let second = two.build().unwrap();
    drop(held);
    assert_eq!(pool.available(SIZE, SIZE), 8 - 4 + 2);
    let small = second.allocate(SIZE + 1, 1 << 20).unwrap_err();
    let unshared = AllocError::NoShare {
        size: SIZE + 1,
        alignment: 1 << 20,
        largest: 0,
    };
    assert_eq!(small, unshared);
    assert_eq!(second.allocate(0, SIZE).unwrap_err(), AllocError::ZeroSize);
    assert_eq!(
        second.allocate(SIZE + 1, SIZE).unwrap().capacity(),
        4 * SIZE
    );
}

#[test]
fn a_pool_has_as_many_shares_as_it_says_and_not_one_more() {
    let pool = builder(4).build().unwrap();
    let streams: Vec<_> = (0..4096).map(|_| stream(&pool, 0, 1)).collect();
    let refused = pool
        .stream("one")
        .minimum(SIZE, SIZE, 1)
        .build()
        .unwrap_err();
    assert_eq!(refused, StreamError::TooManyShares { limit: 4096 });
    assert_eq!(pool.available(SIZE, SIZE), 4);
    drop(streams);
    assert_eq!(
        stream(&pool, 1, 1).allocate(SIZE, SIZE).unwrap().len(),
        SIZE
    );
}

#[test]
fn while_buffers_are_free_a_stream_makes_no_system_call_and_shares_nothing() {
    let pool = builder(64).build().unwrap();
    let stream = stream(&pool, 4, 32);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let held: Vec<_> = (0..12)
                    .map(|_| stream.allocate(SIZE, SIZE).unwrap())
                    .collect();
                drop(held);
            }
        });
        for _ in 0..10_000 {
            let held = stream.allocate_many(SIZE, SIZE, 8).unwrap();
            drop(held);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let counters = pool.counters();
    assert_eq!((counters.waits, counters.sleeps), (0, 0));
    assert_eq!(stream.in_use(SIZE, SIZE), 0);
}

#[test]
fn what_streams_are_refused_and_wait_for_is_counted() {
    let pool = builder(4).build().unwrap();
    let stream = stream(&pool, 1, 2);
    let held = stream.allocate_many(SIZE, SIZE, 2).unwrap();
    assert!(stream.allocate(SIZE, SIZE).is_err());
    assert!(stream.allocate_many(SIZE, SIZE, 1).is_err());
    assert!(stream.allocate_many(SIZE, SIZE, 3).is_err());
    assert!(stream.allocate(SIZE + 1, SIZE).is_err());
    assert!(stream.allocate(0, SIZE).is_err());
    let moment = Duration::from_millis(1);
    assert!(stream.allocate_timeout(SIZE, SIZE, moment).is_err());
    let foreign = builder(1).build().unwrap().cancel_token();
    let told = stream.allocate_cancellable(SIZE, SIZE, moment, &foreign);
    assert_eq!(told.unwrap_err(), AllocError::ForeignToken);
    serves(&pool, &stream, || drop(held));
    let counters = pool.counters();
    let refusals = &counters.refusals;
    assert_eq!((refusals.at_maximum, refusals.never_enough), (2, 1));
    assert_eq!((refusals.no_class, refusals.bad_input), (1, 2));
    assert_eq!((refusals.timed_out, refusals.total()), (1, 7));
    assert_eq!(
        (counters.waits, counters.served, counters.timed_out),
        (2, 1, 1)
    );
    let class = pool.class_counters().next().unwrap();
    assert_eq!((class.refused, class.calls), (1, counters.calls));
    assert!(
        counters.calls + counters.hand_overs > 0,
        "nobody woke who waited"
    );
}
