//! Tasks that wait for a stream: each is woken by what it waits for, whatever that is, and
//! one that is dropped takes nobody's turn, claim or buffer with it.
#![cfg(feature = "async")]

mod support;

use hugepool::{AllocError, Buffer, Pool, Stream};
use std::task::Poll;
use std::thread;
use support::Random;
use support::small::{SIZE, take, with_both_kinds};
use support::task::Task;

fn stream(pool: &Pool, minimum: usize, maximum: usize) -> Stream {
    let stream = pool.stream("one").minimum(SIZE, SIZE, minimum);
    stream.maximum(SIZE, SIZE, maximum).build().unwrap()
}

fn taken(stream: &Stream) -> Buffer {
    stream.allocate(SIZE, SIZE).unwrap()
}

/// A task that waits for `stream`.
#[track_caller]
fn waiting(stream: &Stream) -> Task {
    Task::begun(stream.allocate_async(SIZE, SIZE))
}

/// Polls those that were woken until `count` of `tasks` have a buffer.
fn served(tasks: &mut [Task], count: usize) -> Vec<Buffer> {
    let mut buffers = Vec::new();
    let mut seen = vec![0; tasks.len()];
    while buffers.len() < count {
        let woken = (0..tasks.len()).find(|&at| tasks[at].wakes() > seen[at]);
        let at = woken.expect("nobody was woken");
        seen[at] = tasks[at].wakes();
        if let Poll::Ready(result) = tasks[at].poll() {
            buffers.push(result.unwrap());
            seen[at] = u64::MAX;
        }
    }
    buffers
}

#[test]
fn a_task_is_woken_by_whatever_it_waits_for() {
    with_both_kinds(3, |pool| {
        for _ in 0..100 {
            // One of its own.
            let own = stream(pool, 1, 1);
            let held = taken(&own);
            let mut tasks = [waiting(&own)];
            drop(held);
            served(&mut tasks, 1);
            drop(tasks);
            // A claim, of which the pool has a buffer.
            let claims = stream(pool, 0, 1);
            let held = taken(&claims);
            let mut tasks = [waiting(&claims)];
            drop(held);
            served(&mut tasks, 1);
            drop(tasks);
            // The pool's.
            let most = [take(pool), take(pool)];
            let mut tasks = [waiting(&claims)];
            drop(most);
            served(&mut tasks, 1);
            // A claim, and then the pool's.
            let mut held = vec![taken(&claims), take(pool)];
            let mut tasks = [waiting(&claims)];
            drop(held.swap_remove(0));
            let others: Vec<Buffer> =
                std::iter::from_fn(|| pool.allocate(SIZE, SIZE).ok()).collect();
            assert!(tasks[0].wakes() > 0, "it may have the claim");
            let early = tasks[0].poll();
            drop((held, others));
            if early.is_pending() {
                served(&mut tasks, 1);
            }
        }
    });
}

#[test]
fn a_task_that_is_dropped_passes_on_what_it_was_called_for() {
    with_both_kinds(4, |pool| {
        let mut random = Random::new(7);
        for round in 0..500 {
            let (minimum, maximum) = [(2, 2), (0, 2), (1, 2)][round % 3];
            let stream = stream(pool, minimum, maximum);
            let held = [taken(&stream), taken(&stream)];
            let mut tasks: Vec<Task> = (0..5).map(|_| waiting(&stream)).collect();
            drop(held);
            // Three go, called, entitled, given a buffer or not.
            for _ in 0..3 {
                let at = random.below(tasks.len());
                drop(tasks.swap_remove(at));
            }
            assert_eq!(served(&mut tasks, 2).len(), 2);
            drop(tasks);
            assert_eq!(stream.in_use(SIZE, SIZE), 0);
        }
    });
}

#[test]
fn tasks_of_several_streams_lose_nothing() {
    with_both_kinds(6, |pool| {
        let streams = [stream(pool, 1, 2), stream(pool, 2, 4), stream(pool, 0, 6)];
        thread::scope(|scope| {
            for at in 0..3 {
                let streams = &streams;
                scope.spawn(move || {
                    let mut random = Random::new(at);
                    for _ in 0..2000 {
                        let stream = &streams[random.below(3)];
                        let mut task = Task::of(stream.allocate_async(SIZE, SIZE));
                        let impatient = random.below(4) == 0;
                        loop {
                            let before = task.wakes();
                            match task.poll() {
                                Poll::Ready(buffer) => break drop(buffer.unwrap()),
                                Poll::Pending if impatient => break,
                                Poll::Pending => {
                                    while task.wakes() == before {
                                        thread::yield_now();
                                    }
                                }
                            }
                        }
                    }
                });
            }
        });
        for stream in &streams {
            assert_eq!(stream.in_use(SIZE, SIZE), 0);
        }
        drop(streams);
        assert_eq!(pool.available(SIZE, SIZE), 6);
    });
}

#[test]
fn an_abort_wakes_every_task_of_a_stream() {
    with_both_kinds(1, |pool| {
        let stream = stream(pool, 1, 1);
        let held = taken(&stream);
        let mut tasks = [waiting(&stream), waiting(&stream)];
        pool.abort();
        for task in &mut tasks {
            assert!(task.wakes() > 0);
            assert_eq!(task.result().unwrap_err(), AllocError::Aborted);
        }
        drop(held);
        assert_eq!(taken(&stream).len(), SIZE);
    });
}
