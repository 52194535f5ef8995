//! Streams beside each other, other classes, and their own end: each is served by its own
//! class alone, everybody is woken for what he may have, nothing is lost when a stream ends
//! beside a give, and in strict order nobody overtakes.
#![cfg(feature = "async")]

mod support;

use hugepool::{AllocError, Buffer, Pool, Stream};
use std::sync::mpsc::channel;
use std::task::Poll;
use std::thread;
use std::time::Duration;
use support::Random;
use support::kind::{Kind, both_kinds};
use support::rival::Rival;
use support::small::{SIZE, builder, take, until_waiting};
use support::task::Task;

both_kinds![
    a_stream_is_served_by_its_own_class_alone,
    who_waits_behind_threads_is_called_for_what_they_leave,
    a_stream_that_ends_beside_a_give_loses_nothing,
    in_strict_order_nobody_of_a_stream_overtakes,
    in_strict_order_a_request_is_not_refused_beside_a_buffer_that_is_home,
    a_stream_whose_class_is_trimmed_away_says_so,
    at_rest_nobody_sleeps_beside_what_he_may_have,
];

fn stream(pool: &Pool, minimum: usize, maximum: usize) -> Stream {
    let stream = pool.stream("one").minimum(SIZE, SIZE, minimum);
    stream.maximum(SIZE, SIZE, maximum).build().unwrap()
}

/// A task that waits for `stream`.
#[track_caller]
fn waiting(stream: &Stream) -> Task {
    let mut task = Task::of(stream.allocate_async(SIZE, SIZE));
    assert!(task.poll().is_pending(), "nothing was free");
    task
}

fn all(pool: &Pool, size: usize, alignment: usize) -> Vec<Buffer> {
    std::iter::from_fn(|| pool.allocate(size, alignment).ok()).collect()
}

/// A request that two classes could serve, of which the stream has a share of one.
fn a_stream_is_served_by_its_own_class_alone(kind: Kind) {
    // The classes: the stream's, and the other.
    let shapes = [
        ((4 * SIZE, SIZE), (SIZE, SIZE)),
        ((SIZE, SIZE), (SIZE, 4 * SIZE)),
    ];
    for ((size, alignment), (other_size, other_alignment)) in shapes {
        let builder = Pool::builder()
            .reserve(size, alignment, 2)
            .reserve(other_size, other_alignment, 4)
            .address_space(1 << 30)
            .prefault(false);
        let pool = kind.build(builder.climb(1));
        let stream = pool.stream("one").maximum(size, alignment, 1);
        let stream = stream.build().unwrap();
        let own = pool.allocate_many(size, alignment, 2).unwrap();
        let mut others = all(&pool, other_size, other_alignment);
        let mut plain = Task::of(pool.allocate_async(other_size, other_alignment));
        assert!(plain.poll().is_pending());
        let mut task = waiting(&stream);
        drop(others.pop());
        assert!(task.poll().is_pending(), "that is of another class");
        assert!(plain.result().is_ok());
        drop(own);
        assert_eq!(task.result().unwrap().capacity(), size);
    }
}

/// Three threads and a task wait; four buffers, or claims, come back at once.
fn who_waits_behind_threads_is_called_for_what_they_leave(kind: Kind) {
    for minimum in [0, 4] {
        for _ in 0..100 {
            let pool = kind.build(builder(5));
            let stream = stream(&pool, minimum, 4);
            let held = stream.allocate_many(SIZE, SIZE, 4).unwrap();
            let mut task = waiting(&stream);
            thread::scope(|scope| {
                let wait = || stream.allocate_timeout(SIZE, SIZE, Duration::MAX).unwrap();
                let threads: Vec<_> = (2..5)
                    .map(|count| {
                        let thread = scope.spawn(wait);
                        until_waiting(&pool, count);
                        thread
                    })
                    .collect();
                drop(held);
                let served = threads.into_iter().map(|thread| thread.join().unwrap());
                let _served: Vec<Buffer> = served.collect();
                assert!(task.wakes() > 0, "it sleeps beside what it may have");
                assert!(task.result().is_ok());
            });
        }
    }
}

/// A waiter that has gone leaves the words shut; then one buffer comes back while the
/// stream ends.
fn a_stream_that_ends_beside_a_give_loses_nothing(kind: Kind) {
    for strict in [false, true] {
        let pool = kind.build(builder(4).strict_order(strict));
        Rival::with(|rival| {
            for round in 0..20_000 {
                let stream = stream(&pool, 2, 2);
                let [first, second] = [(); 2].map(|()| stream.allocate(SIZE, SIZE).unwrap());
                drop(waiting(&stream));
                rival.race(
                    move || drop(first),
                    || {
                        drop(stream);
                        drop(second);
                    },
                );
                let left = pool.available(SIZE, SIZE);
                assert_eq!(left, 4, "in round {round}, strict: {strict}");
            }
        });
    }
}

fn in_strict_order_nobody_of_a_stream_overtakes(kind: Kind) {
    let pool = kind.build(builder(2).strict_order(true));
    for minimum in [0, 1] {
        let stream = stream(&pool, minimum, 2);
        let [last, extra] = [(); 2].map(|()| stream.allocate(SIZE, SIZE).unwrap());
        let [mut first, mut second] = [(); 2].map(|()| waiting(&stream));
        // A claim is free, but the buffer is gone at once; then the other comes back.
        drop(extra);
        let other = take(&pool);
        drop(last);
        let second = second.poll().is_ready();
        assert!(first.poll().is_ready() || !second, "the second overtook");
        drop(other);
    }
}

fn in_strict_order_a_request_is_not_refused_beside_a_buffer_that_is_home(kind: Kind) {
    let pool = kind.build(builder(2).strict_order(true));
    let stream = stream(&pool, 1, 1);
    let ask = || stream.allocate(SIZE, SIZE);
    Rival::with(|rival| {
        for round in 0..20_000 {
            let held = ask().unwrap();
            drop(waiting(&stream));
            rival.race(
                move || drop(held),
                || {
                    let mine = loop {
                        match ask() {
                            Ok(mine) => break mine,
                            // There may be one processor.
                            Err(_) => std::thread::yield_now(),
                        }
                    };
                    drop(mine);
                    let again = ask();
                    assert!(again.is_ok(), "in round {round}: {}", again.unwrap_err());
                },
            );
        }
    });
}

fn a_stream_whose_class_is_trimmed_away_says_so(kind: Kind) {
    let builder = Pool::builder().reserve(4 * SIZE, SIZE, 2);
    let pool = kind.build(builder.address_space(1 << 30).prefault(false));
    pool.request(SIZE, SIZE, 2).unwrap();
    let stream = stream(&pool, 0, 2);
    assert_eq!(pool.trim().segments, 1);
    let gone = AllocError::NoShare {
        size: SIZE,
        alignment: SIZE,
        largest: 0,
    };
    assert_eq!(stream.allocate(SIZE, SIZE).unwrap_err(), gone);
    let waited = stream.allocate_timeout(SIZE, SIZE, Duration::MAX);
    assert_eq!(waited.unwrap_err(), gone);
    pool.request(SIZE, SIZE, 2).unwrap();
    assert!(stream.allocate(SIZE, SIZE).is_ok());
}

/// What a thread of `at_rest_nobody_sleeps_beside_what_he_may_have` has.
#[derive(Default)]
struct Possessions {
    held: Vec<Buffer>,
    /// Tasks, for the pool (0) or a stream; and how often each was woken when it was
    /// polled last.
    tasks: Vec<(usize, Task, u64)>,
}

impl Possessions {
    /// Polls the tasks that were woken. True if there were any.
    fn step(&mut self) -> bool {
        let mut any = false;
        let mut at = 0;
        while at < self.tasks.len() {
            let (_, task, seen) = &mut self.tasks[at];
            let wakes = task.wakes();
            if wakes != *seen {
                (any, *seen) = (true, wakes);
                if let Poll::Ready(buffer) = task.poll() {
                    self.held.push(buffer.unwrap());
                    self.tasks.swap_remove(at);
                    continue;
                }
            }
            at += 1;
        }
        any
    }

    /// Does something by chance.
    fn act(&mut self, pool: &Pool, streams: &[Stream], random: &mut Random) {
        let source = random.below(streams.len() + 1);
        let stream = source.checked_sub(1).map(|at| &streams[at]);
        let limit = Duration::from_micros(1 + random.below(200) as u64);
        match random.below(7) {
            0 => self.held.extend(match stream {
                None => pool.allocate(SIZE, SIZE),
                Some(stream) => stream.allocate(SIZE, SIZE),
            }),
            1 => self.held.extend(match stream {
                None => pool.allocate_timeout(SIZE, SIZE, limit),
                Some(stream) => stream.allocate_timeout(SIZE, SIZE, limit),
            }),
            2 | 3 if !self.held.is_empty() => {
                let at = random.below(self.held.len());
                drop(self.held.swap_remove(at));
            }
            4 if self.tasks.len() < 3 => {
                let mut task = Task::of(match stream {
                    None => pool.allocate_async(SIZE, SIZE),
                    Some(stream) => stream.allocate_async(SIZE, SIZE),
                });
                match task.poll() {
                    Poll::Ready(buffer) => self.held.push(buffer.unwrap()),
                    Poll::Pending => self.tasks.push((source, task, 0)),
                }
            }
            5 if !self.tasks.is_empty() && random.below(3) == 0 => {
                let at = random.below(self.tasks.len());
                drop(self.tasks.swap_remove(at));
            }
            _ => _ = self.step(),
        }
    }
}

/// Threads take, give, wait, and drop what waits. When they have ended, and everybody who
/// was woken has looked, no request finds what somebody waits for.
fn at_rest_nobody_sleeps_beside_what_he_may_have(kind: Kind) {
    let mut random = Random::new(11);
    for round in 0..150 {
        let (strict, total) = (round % 3 == 0, 3 + random.below(4));
        let pool = kind.build(builder(total).strict_order(strict));
        let mut streams = vec![stream(&pool, 1, 2), stream(&pool, 0, 1 + random.below(3))];
        if total > 4 {
            streams.push(stream(&pool, 2, 2 + random.below(2)));
        }
        let (sender, receiver) = channel();
        thread::scope(|scope| {
            for _ in 0..3 {
                let mut random = Random::new(random.next());
                let (pool, streams, sender) = (&pool, &streams, sender.clone());
                scope.spawn(move || {
                    let mut own = Possessions::default();
                    for _ in 0..60 {
                        own.act(pool, streams, &mut random);
                    }
                    sender.send(own).unwrap();
                });
            }
        });
        drop(sender);
        let mut all = Possessions::default();
        for own in receiver {
            all.held.extend(own.held);
            all.tasks.extend(own.tasks);
        }
        loop {
            while all.step() {}
            for source in 0..=streams.len() {
                if all.tasks.iter().all(|task| task.0 != source) {
                    continue;
                }
                let taken = match source.checked_sub(1) {
                    None => pool.allocate(SIZE, SIZE),
                    Some(at) => streams[at].allocate(SIZE, SIZE),
                };
                let what = format!("round {round}: source {source} sleeps beside it");
                assert!(taken.is_err(), "{what}");
            }
            if all.held.is_empty() {
                break;
            }
            let at = random.below(all.held.len());
            drop(all.held.swap_remove(at));
        }
        assert!(
            all.tasks.is_empty(),
            "round {round}: all is home, and some wait"
        );
        for stream in &streams {
            assert_eq!(stream.in_use(SIZE, SIZE), 0, "round {round}");
        }
        drop(streams);
        assert_eq!(pool.available(SIZE, SIZE), total, "round {round}");
    }
}
