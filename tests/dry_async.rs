//! Tasks in a pool that runs dry. A task looks when it is woken and never else, so that
//! each wake-up that is owed to somebody is shown, not waited for.
#![cfg(feature = "async")]

mod support;

use hugepool::{Buffer, Pool};
use std::task::Poll;
use std::time::Duration;
use support::kind::{Kind, both_kinds};
use support::rival::Rival;
use support::small::{SIZE, builder, take};
use support::task::Task;
use support::{Random, cpus, on_cpu};

both_kinds![
    a_task_is_served_though_another_never_stops,
    a_free_that_races_with_a_poll_wakes_it_or_is_found,
    a_free_in_a_pool_that_is_open_races_with_the_first_poll,
    a_free_of_a_larger_class_that_races_with_a_poll_wakes_it_or_is_found,
    frees_of_two_classes_that_race_with_polls_serve_both,
    frees_that_race_with_each_other_wake_as_many_as_they_serve,
    a_task_that_was_woken_and_is_dropped_wakes_the_next,
    a_wait_that_times_out_beside_a_task_passes_its_call_on,
    tasks_that_are_woken_and_never_polled_keep_one_buffer_each,
    a_buffer_that_many_want_wakes_them_one_by_one,
];

/// Buffers that may go past somebody who waits, by far.
const MOST: u64 = 50_000_000;

/// Both ways to serve a line.
fn in_both_orders(kind: Kind, count: usize, test: impl Fn(&Pool)) {
    for strict in [false, true] {
        test(&kind.build(builder(count).strict_order(strict)));
    }
}

/// A task, what it was woken for, and what it got.
struct Waiting {
    task: Task,
    looked: u64,
    got: Option<Buffer>,
}

impl Waiting {
    fn new(pool: &Pool, size: usize) -> Self {
        Self {
            task: Task::new(pool, size),
            looked: 0,
            got: None,
        }
    }

    fn poll(&mut self) {
        self.looked = self.task.wakes();
        if let Poll::Ready(result) = self.task.poll() {
            self.got = Some(result.expect("nobody aborts"));
        }
    }

    fn is_woken(&self) -> bool {
        self.got.is_none() && self.task.wakes() > self.looked
    }
}

/// Polls those that were woken, until none is.
fn settle(tasks: &mut [Waiting]) {
    while let Some(woken) = tasks.iter_mut().find(|task| task.is_woken()) {
        woken.poll();
    }
}

/// Polled only while the buffer is out.
fn a_task_is_served_though_another_never_stops(kind: Kind) {
    in_both_orders(kind, 1, |pool| {
        for _ in 0..50 {
            let mut held = Some(take(pool));
            let mut task = Waiting::new(pool, SIZE);
            task.poll();
            let mut taken = 0;
            while held.is_some() {
                drop(held.take());
                held = pool.allocate(SIZE, SIZE).ok();
                if held.is_some() && task.is_woken() {
                    task.poll();
                    assert!(task.got.is_none(), "a buffer was doubled");
                }
                taken += 1;
                assert!(taken < MOST, "it is passed over");
            }
            task.poll();
            assert!(task.got.is_some(), "it was handed over to nobody");
        }
    });
}

/// One buffer of `size` that comes back beside the first poll of a task that wants
/// `SIZE`.
fn free_beside_a_poll<'a>(rival: &Rival<'a>, pool: &Pool, size: usize) {
    let held = pool.allocate(size, SIZE).unwrap();
    let mut task = Waiting::new(pool, SIZE);
    rival.race(move || drop(held), || task.poll());
    if task.got.is_none() {
        assert!(task.is_woken(), "it sleeps beside a free buffer");
        task.poll();
    }
    let got = task.got.expect("nobody else wants it");
    assert_eq!(got.capacity(), size);
}

fn a_free_that_races_with_a_poll_wakes_it_or_is_found(kind: Kind) {
    in_both_orders(kind, 1, |pool| {
        Rival::with(|rival| {
            for _ in 0..10_000 {
                free_beside_a_poll(rival, pool, SIZE);
            }
        });
    });
}

/// The poll is the first one that has the class shared.
fn a_free_in_a_pool_that_is_open_races_with_the_first_poll(kind: Kind) {
    Rival::with(|rival| {
        for round in 0..400 {
            let strict = round % 2 == 0;
            let pool = kind.build(builder(1).strict_order(strict));
            free_beside_a_poll(rival, &pool, SIZE);
        }
    });
}

/// A buffer of a size, and one of twice that.
fn two_classes(kind: Kind, strict: bool) -> Pool {
    let small = builder(1).strict_order(strict);
    kind.build(small.reserve(2 * SIZE, SIZE, 1))
}

fn a_free_of_a_larger_class_that_races_with_a_poll_wakes_it_or_is_found(kind: Kind) {
    for strict in [false, true] {
        let pool = two_classes(kind, strict);
        let _small = take(&pool);
        Rival::with(|rival| {
            for _ in 0..10_000 {
                free_beside_a_poll(rival, &pool, 2 * SIZE);
            }
        });
    }
}

/// One wants the small buffer, or the large one; the other wants the large one.
fn frees_of_two_classes_that_race_with_polls_serve_both(kind: Kind) {
    for strict in [false, true] {
        let pool = two_classes(kind, strict);
        let mut random = Random::new(5);
        Rival::with(|rival| {
            for _ in 0..10_000 {
                let mut held = vec![take(&pool), pool.allocate(2 * SIZE, SIZE).unwrap()];
                let mut tasks = [Waiting::new(&pool, SIZE), Waiting::new(&pool, 2 * SIZE)];
                if random.below(2) == 0 {
                    held.reverse();
                }
                let first = random.below(2);
                let polls = || {
                    tasks[first].poll();
                    tasks[1 - first].poll();
                };
                rival.race(move || drop(held), polls);
                settle(&mut tasks);
                let got = tasks[0].got.take().expect("it takes either");
                if got.capacity() == 2 * SIZE {
                    // Then the other may wait for it, beside the small one.
                    drop(got);
                    settle(&mut tasks);
                }
                assert!(tasks[1].got.is_some(), "it sleeps beside a free buffer");
            }
        });
    }
}

/// Nobody gives back before each has one.
fn frees_that_race_with_each_other_wake_as_many_as_they_serve(kind: Kind) {
    const MANY: usize = 16;
    in_both_orders(kind, MANY, |pool| {
        Rival::with(|rival| {
            for round in 0..2000 {
                let mut held: Vec<Buffer> = (0..MANY).map(|_| take(pool)).collect();
                let theirs = held.split_off(1 + round % (MANY - 1));
                let mut tasks: Vec<_> = (0..MANY).map(|_| Waiting::new(pool, SIZE)).collect();
                tasks.iter_mut().for_each(Waiting::poll);
                rival.race(move || drop(theirs), || drop(held));
                settle(&mut tasks);
                let asleep = tasks.iter().filter(|task| task.got.is_none()).count();
                assert_eq!(asleep, 0, "they sleep beside free buffers");
            }
        });
    });
}

/// The buffer that comes back is made a task's own: nobody else can take it. Dropped, it
/// goes to the next.
fn a_task_that_was_woken_and_is_dropped_wakes_the_next(kind: Kind) {
    for strict in [false, true] {
        let pool = &kind.build(builder(1).strict_order(strict));
        let mut held = take(pool);
        for _ in 0..1000 {
            let mut tasks = [(); 3].map(|()| Some(Task::waiting(pool)));
            drop(held);
            assert_eq!(pool.available(SIZE, SIZE), 0, "it is no task's");
            // The only one that was woken.
            let mut woken = || {
                let is_woken = |task: &&mut Option<Task>| {
                    let task = task.as_ref();
                    task.is_some_and(|task| task.wakes() > 0)
                };
                let mut woken = tasks.iter_mut().filter(is_woken);
                let task = woken.next().expect("its wake-up was lost").take();
                assert!(woken.next().is_none(), "there is one buffer");
                task.expect("it is there")
            };
            drop(woken());
            drop(woken());
            held = woken().result().unwrap();
        }
    }
}

/// A thread that waits for some microseconds, before or behind a task.
fn a_wait_that_times_out_beside_a_task_passes_its_call_on(kind: Kind) {
    in_both_orders(kind, 1, |pool| {
        let mut random = Random::new(11);
        Rival::with(|rival| {
            for _ in 0..3000 {
                let held = take(pool);
                let mut task = Waiting::new(pool, SIZE);
                task.poll();
                let limit = Duration::from_micros(random.below(200) as u64);
                let pauses = random.below(20_000);
                let theirs = pool.clone();
                rival.race(
                    move || drop(theirs.allocate_timeout(SIZE, SIZE, limit)),
                    || {
                        (0..pauses).for_each(|_| std::hint::spin_loop());
                        drop(held);
                    },
                );
                // The thread has come and gone, with the buffer or without.
                settle(std::slice::from_mut(&mut task));
                assert!(task.got.is_some(), "it sleeps beside a free buffer");
            }
        });
    });
}

/// Of the others each gets one, wherever they come back.
fn tasks_that_are_woken_and_never_polled_keep_one_buffer_each(kind: Kind) {
    const DEAD: usize = 3;
    const OTHERS: usize = 4;
    let cpus = cpus();
    in_both_orders(kind, DEAD + OTHERS, |pool| {
        for round in 0..200 {
            let mut held: Vec<Buffer> = (0..DEAD + OTHERS).map(|_| take(pool)).collect();
            let mut tasks: Vec<_> = (0..DEAD + OTHERS)
                .map(|_| Waiting::new(pool, SIZE))
                .collect();
            tasks.iter_mut().for_each(Waiting::poll);
            // Wherever in the line they are.
            tasks.rotate_left(round % (DEAD + OTHERS));
            let mut others = tasks.split_off(DEAD);
            while let Some(buffer) = held.pop() {
                on_cpu(cpus[held.len() % cpus.len()], || drop(buffer));
                settle(&mut others);
            }
            let asleep = others.iter().filter(|task| task.got.is_none()).count();
            assert_eq!(asleep, 0, "they are kept from buffers");
            // What the dead ones kept comes back with them.
            drop(tasks);
            drop(others);
            assert_eq!(pool.available(SIZE, SIZE), DEAD + OTHERS);
        }
    });
}

fn a_buffer_that_many_want_wakes_them_one_by_one(kind: Kind) {
    const MANY: usize = 100;
    in_both_orders(kind, 1, |pool| {
        let mut buffer = take(pool);
        let mut tasks: Vec<_> = (0..MANY).map(|_| Waiting::new(pool, SIZE)).collect();
        tasks.iter_mut().for_each(Waiting::poll);
        for _ in 0..MANY {
            drop(buffer);
            let woken: Vec<_> = (0..tasks.len())
                .filter(|&at| tasks[at].is_woken())
                .collect();
            let &[woken] = woken.as_slice() else {
                panic!("{} were woken", woken.len());
            };
            let mut served = tasks.swap_remove(woken);
            served.poll();
            buffer = served.got.take().expect("it was woken for it");
        }
    });
}
