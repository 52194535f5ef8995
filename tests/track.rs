//! What is out of a pool that tracks its buffers, and who has it.

mod support;

use hugepool::share::Access;
use hugepool::vdi::{Config, Parameters, Set};
use hugepool::{Buffer, Builder, Held, Outstanding, Place, Pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use support::kind::{Kind, both_kinds};
use support::process::alone;
use support::small::{SIZE, builder, until_cached, until_waiting};
use support::{LONG, faults};

both_kinds! {
    each_buffer_is_listed_with_the_place_that_took_it,
    raw_pointers_and_buffers_turn_into_each_other_and_stay_with_who_took_them,
    a_wait_is_listed_with_the_place_where_it_began,
    what_comes_back_is_listed_no_more_whoever_brings_it,
    a_pool_that_runs_dry_and_recovers_is_listed_all_the_while,
    no_entry_mixes_two_owners,
    what_is_added_to_a_pool_is_listed_too,
    a_pool_that_tracks_faults_no_page_later,
    a_child_of_a_fork_lists_what_it_takes_itself,
}

fn pool(kind: Kind, count: usize) -> Pool {
    kind.build(builder(count).track(true))
}

/// Whether `place` is line `line` of this file.
fn is_line(place: Place, line: u32) -> bool {
    (place.file().as_ref(), place.line()) == (file!(), line)
}

#[track_caller]
fn only(outstanding: &Outstanding) -> Held {
    let [held] = outstanding.buffers() else {
        panic!("not one buffer: {outstanding:#}");
    };
    *held
}

/// The lines of what is out, sorted.
fn lines(pool: &Pool) -> Vec<u32> {
    let outstanding = pool.outstanding();
    let mut lines: Vec<u32> = (outstanding.buffers().iter())
        .map(|held| {
            assert_eq!(held.place.file(), file!());
            held.place.line()
        })
        .collect();
    lines.sort_unstable();
    lines
}

fn each_buffer_is_listed_with_the_place_that_took_it(kind: Kind) {
    let pool = pool(kind, 64);
    let class = pool.class(1000, SIZE).unwrap();
    let token = pool.cancel_token();
    let deadline = Instant::now() + LONG;
    let size = 1000;
    let check = |buffers: Vec<Buffer>, size: usize, line: u32, what: &str| {
        let outstanding = pool.outstanding();
        assert!(outstanding.is_tracked());
        assert_eq!(outstanding.buffers().len(), buffers.len(), "{what}");
        for held in outstanding.buffers() {
            assert!(is_line(held.place, line), "{what}: {held:?}");
            assert_eq!((held.size, held.class_size), (size, SIZE), "{what}");
            assert_eq!((held.class_alignment, held.raw), (SIZE, false), "{what}");
            let of_one = |buffer: &&Buffer| buffer.as_ptr().addr() == held.address;
            assert_eq!(buffers.iter().filter(of_one).count(), 1, "{what}");
        }
        drop(buffers);
        assert!(pool.outstanding().buffers().is_empty(), "{what}");
    };
    // Each twice: the second finds a cache, perhaps.
    for _ in 0..2 {
        let (taken, line) = (pool.allocate(size, SIZE), line!());
        check(vec![taken.unwrap()], size, line, "allocate");
        let (taken, line) = (class.allocate(), line!());
        check(vec![taken.unwrap()], SIZE, line, "by class");
        let (taken, line) = (pool.allocate_many(size, SIZE, 5), line!());
        check(taken.unwrap(), size, line, "allocate_many");
        let (taken, line) = (class.allocate_many(5), line!());
        check(taken.unwrap(), SIZE, line, "many by class");
        let (taken, line) = (pool.allocate_timeout(size, SIZE, LONG), line!());
        check(vec![taken.unwrap()], size, line, "allocate_timeout");
        let (taken, line) = (class.allocate_timeout(LONG), line!());
        check(vec![taken.unwrap()], SIZE, line, "timeout by class");
        let (taken, line) = (pool.allocate_deadline(size, SIZE, deadline), line!());
        check(vec![taken.unwrap()], size, line, "allocate_deadline");
        let (taken, line) = (class.allocate_deadline(deadline), line!());
        check(vec![taken.unwrap()], SIZE, line, "deadline by class");
        let taken = pool.allocate_cancellable(size, SIZE, LONG, &token);
        check(vec![taken.unwrap()], size, line!() - 1, "cancellable");
        let (taken, line) = (class.allocate_cancellable(LONG, &token), line!());
        check(vec![taken.unwrap()], SIZE, line, "cancellable by class");
        // Nothing is waited for, and nothing is refused.
        let none = Duration::ZERO;
        let (taken, line) = (pool.allocate_timeout(size, SIZE, none), line!());
        check(vec![taken.unwrap()], size, line, "no time");
        let (taken, line) = (pool.clone().allocate(size, SIZE), line!());
        check(vec![taken.unwrap()], size, line, "by a clone");
        let (taken, line) = (taken_for_a_caller(&pool, size), line!());
        check(vec![taken], size, line, "through a function");
        let (start, line) = (pool.allocate_raw(size, SIZE).unwrap(), line!());
        let held = only(&pool.outstanding());
        assert!(is_line(held.place, line) && held.raw);
        assert_eq!((held.address, held.size), (start.addr().get(), size));
        // SAFETY: taken just now with that size.
        unsafe { pool.free_raw(start.as_ptr(), size) }.unwrap();
        let (start, line) = (class.allocate_raw().unwrap(), line!());
        let held = only(&class.outstanding());
        assert!(is_line(held.place, line) && held.raw && held.size == SIZE);
        // SAFETY: taken just now by this class.
        unsafe { class.free_raw(start.as_ptr()) }.unwrap();
        assert!(pool.outstanding().buffers().is_empty());
    }
}

/// A caller's own function, which is not the place.
#[track_caller]
fn taken_for_a_caller(pool: &Pool, size: usize) -> Buffer {
    pool.allocate(size, SIZE).unwrap()
}

fn raw_pointers_and_buffers_turn_into_each_other_and_stay_with_who_took_them(kind: Kind) {
    let pool = pool(kind, 4);
    let (buffer, line) = (pool.allocate(1000, SIZE).unwrap(), line!());
    let as_buffer = only(&pool.outstanding());
    let start = pool.into_raw(buffer).unwrap();
    let as_raw = only(&pool.outstanding());
    assert!(as_raw.raw && is_line(as_raw.place, line));
    assert!(as_raw.age >= as_buffer.age);
    let unaged = |held: Held| format!("{:?}", (held.place, held.address, held.size));
    assert_eq!(unaged(as_raw), unaged(as_buffer));
    // SAFETY: the caller's own, with the size that it was taken for; refused with another.
    let (refused, buffer) = unsafe {
        (
            pool.from_raw(start.as_ptr(), 999),
            pool.from_raw(start.as_ptr(), 1000),
        )
    };
    assert!(refused.is_err());
    let again = only(&pool.outstanding());
    assert!(!again.raw && is_line(again.place, line));
    drop(buffer);
    assert!(pool.outstanding().buffers().is_empty());
}

fn a_wait_is_listed_with_the_place_where_it_began(kind: Kind) {
    for strict in [false, true] {
        let pool = kind.build(builder(1).track(true).strict_order(strict));
        let (held, line) = (pool.allocate(SIZE, SIZE).unwrap(), line!());
        let waited_at = line!() + 3;
        let served = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let served = pool.allocate_timeout(100, SIZE, LONG);
                served.unwrap()
            });
            until_waiting(&pool, 1);
            assert_eq!(lines(&pool), [line]);
            drop(held);
            waiter.join().unwrap()
        });
        let held = only(&pool.outstanding());
        assert!(is_line(held.place, waited_at), "{held:?}");
        assert_eq!(held.size, 100);
        let refused = pool.allocate_timeout(SIZE, SIZE, Duration::from_millis(1));
        assert!(refused.is_err());
        let holders = pool.outstanding_for(SIZE, SIZE);
        assert!(is_line(only(&holders).place, waited_at));
        drop(served);
        assert!(lines(&pool).is_empty());
    }
}

#[cfg(feature = "async")]
#[test]
fn a_future_is_listed_with_the_place_where_it_was_made() {
    use support::task::Task;
    for kind in Kind::ALL {
        kind.run(|kind| {
            let pool = pool(kind, 1);
            let class = pool.class(SIZE, SIZE).unwrap();
            let poll = |task: &mut Task| task.result().unwrap();
            let (future, line) = (Box::pin(pool.allocate_async(SIZE, SIZE)), line!());
            let wakes = Arc::default();
            let mut task = Task { future, wakes };
            // Taken at once, by a poll elsewhere.
            let buffer = poll(&mut task);
            assert_eq!(lines(&pool), [line]);
            let (future, waited) = (Box::pin(class.allocate_async()), line!());
            let wakes = Arc::default();
            let mut task = Task { future, wakes };
            assert!(task.poll().is_pending());
            assert_eq!(lines(&pool), [line]);
            drop(buffer);
            let buffer = poll(&mut task);
            assert_eq!(lines(&pool), [waited]);
            drop(buffer);
            assert!(lines(&pool).is_empty());
        });
    }
}

fn what_comes_back_is_listed_no_more_whoever_brings_it(kind: Kind) {
    const COUNT: usize = 200;
    let pool = pool(kind, COUNT);
    let buffers = pool.allocate_many(SIZE, SIZE, COUNT).unwrap();
    let first = pool.outstanding();
    assert_eq!(first.buffers().len(), COUNT);
    let mut shares: Vec<Vec<Buffer>> = Vec::new();
    let mut buffers = buffers.into_iter();
    let kept: Vec<Buffer> = buffers.by_ref().take(4).collect();
    while let Some(first) = buffers.next() {
        shares.push(
            std::iter::once(first)
                .chain(buffers.by_ref().take(48))
                .collect(),
        );
    }
    std::thread::scope(|scope| {
        for share in shares {
            scope.spawn(move || drop(share));
        }
    });
    let mut left: Vec<usize> = (pool.outstanding().buffers().iter())
        .map(|held| held.address)
        .collect();
    left.sort_unstable();
    let mut expected: Vec<usize> = kept.iter().map(|buffer| buffer.as_ptr().addr()).collect();
    expected.sort_unstable();
    assert_eq!(left, expected);
    // They outlive every handle.
    drop(pool);
    drop(kept);
}

/// Everything is taken, somebody waits, and all that comes and goes is listed; also when
/// the class has been opened again.
fn a_pool_that_runs_dry_and_recovers_is_listed_all_the_while(kind: Kind) {
    const COUNT: usize = 8;
    let pool = pool(kind, COUNT);
    for _ in 0..2 {
        let mut buffers = Vec::new();
        let mut expected = Vec::new();
        while let (Ok(buffer), line) = (pool.allocate(SIZE, SIZE), line!()) {
            buffers.push(buffer);
            expected.push(line);
        }
        assert_eq!((buffers.len(), lines(&pool)), (COUNT, expected));
        for _ in 0..100 {
            drop(buffers.pop());
            assert_eq!(lines(&pool).len(), COUNT - 1);
            let (next, line) = (pool.allocate_timeout(SIZE, SIZE, LONG).unwrap(), line!());
            buffers.push(next);
            assert_eq!(lines(&pool).last(), Some(&line));
        }
        drop(buffers);
        assert!(lines(&pool).is_empty());
        until_cached(&pool, SIZE);
        assert!(lines(&pool).is_empty());
    }
}

/// Takes for one size, each on a line of its own, one after another.
const TAKERS: [fn(&Pool) -> Option<Buffer>; 4] = [
    |pool| pool.allocate(1, SIZE).ok(),
    |pool| pool.allocate(2, SIZE).ok(),
    |pool| pool.allocate(3, SIZE).ok(),
    |pool| pool.allocate(4, SIZE).ok(),
];
const TAKERS_FROM: u32 = line!() - 5;

/// Says that it is over when it is dropped.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Threads take few buffers in turn, each time for another size and at another line, while
/// another thread reads who has them: from caches, and where there are too few.
fn no_entry_mixes_two_owners(kind: Kind) {
    for count in [2, 8] {
        let pool = pool(kind, count);
        let ended = AtomicBool::new(false);
        let (mut entries, mut owners) = (0u64, [0u64; TAKERS.len()]);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        TAKERS.iter().for_each(|take| drop(take(&pool)));
                    }
                });
            }
            // Also if what is read is wrong.
            let _ended = Ended(&ended);
            while entries < 100_000 || owners.contains(&0) {
                let outstanding = pool.outstanding();
                assert!(outstanding.buffers().len() <= count);
                for held in outstanding.buffers() {
                    let of = held.size;
                    assert!((1..=TAKERS.len()).contains(&of), "{held:?}");
                    assert!(is_line(held.place, TAKERS_FROM + of as u32 - 1), "{held:?}");
                    entries += 1;
                    owners[of - 1] += 1;
                }
            }
        });
        assert!(pool.outstanding().buffers().is_empty());
        println!("{count} buffers, {entries} entries: {owners:?}");
    }
}

fn what_is_added_to_a_pool_is_listed_too(kind: Kind) {
    let pool = pool(kind, 1);
    let first = pool.allocate(SIZE, SIZE).unwrap();
    pool.request(SIZE, SIZE, 3).unwrap();
    pool.request(1 << 16, SIZE, 1).unwrap();
    let more = pool.allocate_many(SIZE, SIZE, 3).unwrap();
    let large = pool.allocate(50_000, SIZE).unwrap();
    assert_eq!(pool.outstanding().buffers().len(), 5);
    assert_eq!(pool.outstanding_for(SIZE, SIZE).buffers().len(), 4);
    let held = only(&pool.outstanding_for(50_000, SIZE));
    assert_eq!((held.size, held.class_size), (50_000, 1 << 16));
    assert!(pool.outstanding_for(1 << 20, SIZE).buffers().is_empty());
    assert!(pool.outstanding_for(0, 3).buffers().is_empty());
    drop((more, large));
    assert!(pool.trim().segments > 0);
    assert_eq!(only(&pool.outstanding()).address, first.as_ptr().addr());
    // What comes in its place begins anew.
    pool.request(SIZE, SIZE, 3).unwrap();
    assert_eq!(pool.outstanding().buffers().len(), 1);
}

fn a_pool_that_tracks_faults_no_page_later(kind: Kind) {
    const COUNT: usize = 4096;
    let pool = kind.build(builder(COUNT).track(true));
    let mut all = Vec::with_capacity(COUNT);
    let take_all = |all: &mut Vec<Buffer>| {
        let taken = (0..COUNT).map_while(|_| pool.allocate(SIZE, SIZE).ok());
        all.extend(taken);
        assert_eq!(all.len(), COUNT);
    };
    // The pages of the list are new, and those of code that runs for the first time.
    let before = faults();
    take_all(&mut all);
    let first = faults() - before;
    let list = COUNT * size_of::<Buffer>() / 4096 + 2;
    assert!(first <= list as i64, "{first} faults");
    all.clear();
    let before = faults();
    take_all(&mut all);
    assert_eq!(faults() - before, 0);
}

fn a_child_of_a_fork_lists_what_it_takes_itself(kind: Kind) {
    let name = "a_child_of_a_fork_lists_what_it_takes_itself";
    alone(&format!("{}::{name}", kind.name()), &[], || {
        let (described, reports) = leaks(builder(8).track(true).fork(true));
        let pool = kind.build(described);
        let (start, line) = (pool.allocate_raw(SIZE, SIZE).unwrap(), line!());
        let mut pool = Some(pool);
        // SAFETY: the child does what a child may that has no other threads.
        let process = unsafe { libc::fork() };
        assert!(process >= 0);
        if process == 0 {
            let pool = pool.take().unwrap();
            let (taken, own) = (pool.allocate(SIZE, SIZE).unwrap(), line!());
            assert_eq!(lines(&pool), [line, own]);
            drop(taken);
            assert_eq!(lines(&pool), [line]);
            drop(pool);
            // It is the parent's.
            assert!(reports.try_recv().is_err());
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(7) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(process, &mut status, 0) }, process);
        assert_eq!(libc::WEXITSTATUS(status), 7, "the child panicked: {status}");
        let pool = pool.take().unwrap();
        assert_eq!(lines(&pool), [line]);
        drop(pool);
        assert_eq!(
            only(&reports.try_recv().unwrap()).address,
            start.addr().get()
        );
    });
}

#[test]
fn the_oldest_comes_first_and_places_are_grouped() {
    // More than a tick of the coarse clock.
    let pause = || std::thread::sleep(Duration::from_millis(30));
    let pool = builder(16)
        .reserve(1 << 16, SIZE, 1)
        .track(true)
        .build()
        .unwrap();
    let one = |pool: &Pool| pool.allocate(1000, SIZE).unwrap();
    let in_closure = line!() - 1;
    let oldest = one(&pool);
    pause();
    let (large, single) = (pool.allocate(1 << 16, SIZE).unwrap(), line!());
    pause();
    let youngest = one(&pool);
    let outstanding = pool.outstanding();
    let addresses: Vec<usize> = (outstanding.buffers().iter())
        .map(|held| held.address)
        .collect();
    let expected = [&oldest, &large, &youngest].map(|buffer| buffer.as_ptr().addr());
    assert_eq!(addresses, expected);
    let ages: Vec<Duration> = (outstanding.buffers().iter())
        .map(|held| held.age)
        .collect();
    assert!(ages[0] > ages[1] && ages[1] > ages[2]);
    let [first, second] = outstanding.by_place()[..] else {
        panic!("not two places: {outstanding}");
    };
    assert!(is_line(first.place, in_closure) && is_line(second.place, single));
    assert_eq!((first.count, first.bytes), (2, 2 * SIZE));
    assert_eq!((second.count, second.bytes), (1, 1 << 16));
    assert_eq!((first.oldest, second.oldest), (ages[0], ages[1]));
    let said = outstanding.to_string();
    let place = format!("{}:{single}", file!());
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(said.starts_with("3 buffers out, 72 KiB\n"), "{said}");
    assert!(
        said.ends_with(&place) && said.contains(" 64 KiB "),
        "{said}"
    );
    let all = format!("{outstanding:#}");
    assert!(all.starts_with(&said) && all.lines().count() == 7, "{all}");
    assert!(all.contains("1000 B of 4 KiB/4096, for "), "{all}");
    drop((oldest, large, youngest));
    assert_eq!(pool.outstanding().to_string(), "0 buffers out, 0 B");
}

#[test]
fn a_pool_that_does_not_track_says_so() {
    let pool = builder(2).build().unwrap();
    let _buffer = pool.allocate(SIZE, SIZE).unwrap();
    let class = pool.class(SIZE, SIZE).unwrap();
    for outstanding in [
        pool.outstanding(),
        pool.outstanding_for(SIZE, SIZE),
        class.outstanding(),
    ] {
        assert!(!outstanding.is_tracked() && outstanding.buffers().is_empty());
        assert!(outstanding.by_place().is_empty());
        assert!(outstanding.to_string().contains("does not track"));
    }
    assert!(
        builder(2)
            .track(true)
            .track(false)
            .build()
            .is_ok_and(|pool| { !pool.outstanding().is_tracked() })
    );
}

#[test]
fn what_is_noted_counts_as_metadata_and_only_then() {
    const COUNT: usize = 4096;
    let metadata = |track| {
        let pool = builder(COUNT).track(track).build().unwrap();
        pool.stats().metadata_bytes
    };
    let (plain, tracked) = (metadata(false), metadata(true));
    let more = tracked - plain;
    assert!(
        (64 * COUNT..=64 * COUNT + (32 << 10)).contains(&more),
        "{plain}, {tracked}"
    );
}

/// A builder that sends what leaks, and where to.
fn leaks(builder: Builder) -> (Builder, Receiver<Outstanding>) {
    let (sender, receiver) = channel();
    let report = move |leaked: &Outstanding| sender.send(leaked.clone()).unwrap();
    (builder.on_leak(report), receiver)
}

#[test]
fn a_pool_that_ends_with_raw_buffers_out_says_who_has_them() {
    let (described, reports) = leaks(builder(8).track(true));
    let pool = described.build().unwrap();
    let clone = pool.clone();
    let (_, line) = (pool.allocate_raw(1000, SIZE).unwrap(), line!());
    let back = pool.allocate_raw(1000, SIZE).unwrap();
    // SAFETY: taken just now with that size.
    unsafe { pool.free_raw(back.as_ptr(), 1000) }.unwrap();
    // Comes home when there is no handle any more.
    let buffer = pool.allocate(SIZE, SIZE).unwrap();
    drop(pool);
    assert!(reports.try_recv().is_err(), "there is another handle");
    drop(clone);
    let held = only(&reports.try_recv().unwrap());
    assert!(held.raw && held.size == 1000 && is_line(held.place, line));
    drop(buffer);
    assert!(reports.try_recv().is_err(), "it was told twice");
    // Nothing is out as a raw pointer, or nobody tracks it.
    drop(described.build().unwrap().allocate(SIZE, SIZE).unwrap());
    let untracked = described.clone().track(false).build().unwrap();
    untracked.allocate_raw(SIZE, SIZE).unwrap();
    drop(untracked);
    assert!(reports.try_recv().is_err());
}

#[test]
fn a_panic_of_who_is_told_of_a_leak_ends_there() {
    let told = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&told);
    let described = builder(2).track(true).on_leak(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        panic!("as this test means it to");
    });
    let pool = described.build().unwrap();
    let buffer = pool.allocate(SIZE, SIZE).unwrap();
    pool.allocate_raw(SIZE, SIZE).unwrap();
    drop(pool);
    assert_eq!(told.load(Ordering::Relaxed), 1);
    // The pool lives as long as this, as ever.
    assert_eq!(buffer.len(), SIZE);
    drop(buffer);
}

#[test]
fn a_set_that_ends_with_buffers_out_says_who_has_them() {
    let (described, reports) = leaks(Pool::builder().prefault(false).shared(Access::Write));
    let set = Set::with_builder(described.track(true));
    let client = Config {
        device_count: 1,
        ..Config::default()
    };
    set.open(&client).unwrap();
    let server = Parameters {
        features: 0,
        block_size: 4096,
        alignment: 0,
        max_transfer_size: 1 << 20,
        time_out: 0,
    };
    set.begin_configuration(&server).unwrap();
    set.request_buffers(1 << 16, 0, 4).unwrap();
    set.end_configuration().unwrap();
    let (first, line) = (set.allocate_buffer(1 << 16, 0).unwrap(), line!());
    let (second, waited) = (set.allocate_buffer_timeout(60_000, 0, LONG), line!());
    second.unwrap();
    let out = set.pool().unwrap().outstanding();
    assert!(out.buffers().iter().all(|held| held.raw));
    let mut places: Vec<u32> = out.buffers().iter().map(|held| held.place.line()).collect();
    places.sort_unstable();
    assert_eq!(places, [line, waited]);
    // SAFETY: taken above with that size.
    unsafe { set.free_buffer(first.as_ptr(), 1 << 16) }.unwrap();
    set.close().unwrap();
    assert!(
        reports.try_recv().is_err(),
        "it can be freed until the set is dropped"
    );
    drop(set);
    let held = only(&reports.try_recv().unwrap());
    assert!(is_line(held.place, waited) && held.size == 60_000);
}

#[test]
fn a_description_is_as_safe_to_unwind_past_as_without_a_report() {
    fn safe<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    safe::<Builder>();
    safe::<Outstanding>();
}
