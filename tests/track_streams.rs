//! Proves: what streams, and requests for several, take of a pool that tracks is listed with
//! its place, and its stream, until it is home.

mod support;

use hugepool::{Buffer, Pool, Stream};
use std::thread;
use std::time::Duration;
use support::kind::{Kind, both_kinds};
use support::small::{SIZE, builder, until_waiting};

both_kinds![
    what_a_stream_takes_is_listed_with_its_name,
    what_waits_of_a_stream_are_given_is_listed,
    several_at_once_are_listed_with_the_place_that_asked_for_them,
];

const FOR_EVER: Duration = Duration::MAX;

fn pool(kind: Kind, count: usize) -> Pool {
    kind.build(builder(count).track(true))
}

fn stream(pool: &Pool, minimum: usize, maximum: usize) -> Stream {
    let stream = pool.stream("tape 1").minimum(SIZE, SIZE, minimum);
    stream.maximum(SIZE, SIZE, maximum).build().unwrap()
}

/// The lines at which what is out was taken, and by which streams, in order.
fn listed(pool: &Pool) -> Vec<(u32, Option<String>)> {
    let outstanding = pool.outstanding();
    let mut listed: Vec<_> = (outstanding.buffers().iter())
        .inspect(|held| assert_eq!(held.place.file(), file!()))
        .map(|held| (held.place.line(), held.stream.map(|name| name.to_string())))
        .collect();
    listed.sort();
    listed
}

fn of_tape(lines: &[u32]) -> Vec<(u32, Option<String>)> {
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    let named = |line| (line, Some("tape 1".to_owned()));
    lines.into_iter().map(named).collect()
}

fn what_a_stream_takes_is_listed_with_its_name(kind: Kind) {
    let pool = pool(kind, 8);
    let stream = stream(&pool, 1, 4);
    assert_eq!(listed(&pool), [], "what is set aside is in nobody's hands");
    let (own, first) = (stream.allocate(SIZE, SIZE).unwrap(), line!());
    let second = line!() + 1;
    let extra = stream.allocate_timeout(SIZE, SIZE, FOR_EVER).unwrap();
    let (many, third) = (stream.allocate_many(SIZE, SIZE, 2).unwrap(), line!());
    assert_eq!(listed(&pool), of_tape(&[first, second, third, third]));
    let text = format!("{:#}", pool.outstanding());
    assert!(text.contains(", of stream tape 1"), "{text}");
    let raw = pool.into_raw(own).unwrap().as_ptr();
    assert!(pool.outstanding().buffers().iter().any(|held| held.raw));
    drop((extra, many));
    assert_eq!(listed(&pool), of_tape(&[first]));
    // SAFETY: it is ours, and not used any more.
    unsafe { pool.free_raw(raw, SIZE) }.unwrap();
    assert_eq!(listed(&pool), []);
    // The name stays as long as the buffer is out, and is not that of the next owner.
    let (own, line) = (stream.allocate(SIZE, SIZE).unwrap(), line!());
    drop(stream);
    assert_eq!(listed(&pool), of_tape(&[line]));
    drop(own);
    let (all, line) = (pool.allocate_many(SIZE, SIZE, 8).unwrap(), line!());
    assert_eq!(listed(&pool), vec![(line, None); 8]);
    drop(all);
}

fn what_waits_of_a_stream_are_given_is_listed(kind: Kind) {
    for (minimum, maximum) in [(1, 1), (0, 1)] {
        let pool = pool(kind, 2);
        let stream = stream(&pool, minimum, maximum);
        for _ in 0..20 {
            let held = stream.allocate(SIZE, SIZE).unwrap();
            let mut line = 0;
            let taken: Buffer = thread::scope(|scope| {
                line = line!() + 1;
                let wait = || stream.allocate_timeout(SIZE, SIZE, FOR_EVER).unwrap();
                let waiter = scope.spawn(wait);
                until_waiting(&pool, 1);
                drop(held);
                waiter.join().unwrap()
            });
            assert_eq!(listed(&pool), of_tape(&[line]));
            drop(taken);
        }
    }
}

fn several_at_once_are_listed_with_the_place_that_asked_for_them(kind: Kind) {
    let pool = pool(kind, 4);
    let held = pool.allocate_many(SIZE, SIZE, 3).unwrap();
    let mut line = 0;
    let taken = thread::scope(|scope| {
        line = line!() + 1;
        let wait = || pool.allocate_many_timeout(SIZE, SIZE, 4, FOR_EVER).unwrap();
        let waiter = scope.spawn(wait);
        until_waiting(&pool, 1);
        drop(held);
        waiter.join().unwrap()
    });
    assert_eq!(listed(&pool), vec![(line, None); 4]);
    drop(taken);
    assert_eq!(listed(&pool), []);
}

#[cfg(feature = "async")]
#[test]
fn futures_of_streams_and_for_several_are_listed_with_the_place_that_made_them() {
    use support::task::Task;

    let pool = builder(4).track(true).build().unwrap();
    let stream = stream(&pool, 1, 1);
    let (future, line) = (stream.allocate_async(SIZE, SIZE), line!());
    let buffer = Task::of(future).result().unwrap();
    assert_eq!(listed(&pool), of_tape(&[line]));
    let (future, line) = (stream.allocate_async(SIZE, SIZE), line!());
    let mut task = Task::of(future);
    assert!(task.poll().is_pending());
    drop(buffer);
    let buffer = task.result().unwrap();
    assert_eq!(listed(&pool), of_tape(&[line]));
    drop(buffer);
}
