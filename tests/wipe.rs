//! Pools that zero what comes home: the next owner reads zeroes, over the prefix zone and all
//! that the buffer holds, whoever had it before and however it came back.

mod support;

use hugepool::share::Access;
use hugepool::vdi::{self, Set};
use hugepool::{Buffer, BuildError, Builder, Pages, Pool, Rung};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::thread;
use std::time::Duration;
use support::kind::{Kind, both_kinds};
use support::process::{alone, in_fork};

both_kinds! {
    a_pool_that_does_not_wipe_leaves_what_was_there,
    what_its_owner_drops_is_zero,
    what_is_shorter_than_its_class_is_zero_to_its_end,
    what_comes_back_as_a_raw_pointer_is_zero,
    what_a_stream_gives_is_zero,
    what_others_wait_for_is_zero_when_they_get_it,
    what_passes_through_every_list_is_zero,
    what_comes_home_to_a_pool_without_handles_is_zero,
    what_was_trimmed_and_is_there_again_is_zero,
    a_pool_that_tracks_wipes_as_well,
    what_frozen_buffers_held_is_zero,
}

const SIZE: usize = 5000;
const ALIGNMENT: usize = 4096;
const PREFIX: usize = 200;

fn described(count: usize) -> Builder {
    Pool::builder()
        .reserve(SIZE, ALIGNMENT, count)
        .prefix_zone(PREFIX)
        .prefault(false)
        .wipe(true)
}

fn pool(kind: Kind, count: usize) -> Pool {
    kind.build(described(count))
}

/// Writes all that an owner can write.
fn soil(mut buffer: Buffer) -> Buffer {
    let len = buffer.len();
    buffer.set_len(buffer.capacity()).unwrap();
    buffer.with_prefix_mut().fill(0xa5);
    buffer.set_len(len).unwrap();
    buffer
}

fn soiled(pool: &Pool) -> Buffer {
    soil(pool.allocate(SIZE, ALIGNMENT).unwrap())
}

/// The same, as a raw pointer of `size` bytes at `start`.
fn soil_raw(start: NonNull<u8>) -> *mut u8 {
    let start = start.as_ptr();
    // SAFETY: the zone and the class's bytes are the caller's.
    unsafe { start.sub(PREFIX).write_bytes(0xa5, PREFIX + SIZE) };
    start
}

fn is_zero(buffer: &Buffer) -> bool {
    let all = buffer.with_prefix().iter().chain(buffer.spare());
    all.copied().all(|byte| byte == 0)
}

/// Takes all that is free, finds it zero, and gives it back.
#[track_caller]
fn all_are_zero(pool: &Pool, count: usize) {
    let all = pool.allocate_many(SIZE, ALIGNMENT, count).unwrap();
    assert_eq!(pool.available(SIZE, ALIGNMENT), 0);
    let bad = all.iter().filter(|buffer| !is_zero(buffer)).count();
    assert_eq!(bad, 0, "of {count}");
}

fn a_pool_that_does_not_wipe_leaves_what_was_there(kind: Kind) {
    let pool = kind.build(described(1).wipe(false));
    drop(soiled(&pool));
    let buffer = pool.allocate(SIZE, ALIGNMENT).unwrap();
    assert!(buffer.with_prefix().iter().all(|&byte| byte == 0xa5));
}

fn what_its_owner_drops_is_zero(kind: Kind) {
    let pool = pool(kind, 3);
    let class = pool.class(SIZE, ALIGNMENT).unwrap();
    for _ in 0..3 {
        drop(soiled(&pool));
        drop(soil(class.allocate().unwrap()));
        all_are_zero(&pool, 3);
        let buffer = soiled(&pool);
        thread::spawn(move || drop(buffer)).join().unwrap();
        all_are_zero(&pool, 3);
        let many = class.allocate_many(3).unwrap();
        drop(many.into_iter().map(soil).collect::<Vec<_>>());
        all_are_zero(&pool, 3);
        // As one that others may write, and back.
        let buffer = soiled(&pool).into_volatile();
        drop((buffer, soiled(&pool)));
        all_are_zero(&pool, 3);
    }
}

fn what_is_shorter_than_its_class_is_zero_to_its_end(kind: Kind) {
    let pool = pool(kind, 1);
    for size in [1, 1000, SIZE] {
        drop(soil(pool.allocate(size, 1).unwrap()));
        all_are_zero(&pool, 1);
        let mut buffer = soiled(&pool);
        buffer.clear();
        drop(buffer);
        all_are_zero(&pool, 1);
    }
    // Of a larger class than was asked for.
    let builder = described(1).reserve(4 * SIZE, ALIGNMENT, 1);
    let pool = kind.build(builder);
    let small = pool.allocate(SIZE, ALIGNMENT).unwrap();
    let large = soiled(&pool);
    assert_eq!(large.capacity(), 4 * SIZE);
    drop((small, large));
    assert!(is_zero(&pool.allocate(4 * SIZE, ALIGNMENT).unwrap()));
}

fn what_comes_back_as_a_raw_pointer_is_zero(kind: Kind) {
    let pool = pool(kind, 2);
    let class = pool.class(SIZE, ALIGNMENT).unwrap();
    for size in [1, SIZE] {
        let start = soil_raw(pool.allocate_raw(size, ALIGNMENT).unwrap());
        // SAFETY: taken just now with this size, and freed once.
        unsafe { pool.free_raw(start, size) }.unwrap();
        all_are_zero(&pool, 2);
    }
    let start = soil_raw(class.allocate_raw().unwrap());
    // SAFETY: taken just now by this class, and freed once.
    unsafe { class.free_raw(start) }.unwrap();
    all_are_zero(&pool, 2);
    // From one kind of owner to the other it is the same buffer.
    let start = pool.into_raw(soiled(&pool)).unwrap().as_ptr();
    // SAFETY: out with that size, and owned once.
    let buffer = unsafe { pool.from_raw(start, SIZE) }.unwrap();
    assert_eq!((buffer[0], buffer.prefix()[0]), (0xa5, 0xa5));
    drop(buffer);
    all_are_zero(&pool, 2);
    // What is refused has not come home.
    let start = soil_raw(pool.allocate_raw(SIZE, ALIGNMENT).unwrap());
    // SAFETY: refused: the size is another one.
    let refused = unsafe { pool.free_raw(start, SIZE - 1) };
    assert!(refused.is_err());
    // SAFETY: it is still out, and ours.
    assert_eq!(unsafe { start.read() }, 0xa5);
    // SAFETY: taken above with this size, and freed once.
    unsafe { pool.free_raw(start, SIZE) }.unwrap();
    all_are_zero(&pool, 2);
}

fn what_a_stream_gives_is_zero(kind: Kind) {
    let pool = pool(kind, 4);
    for _ in 0..2 {
        let stream = pool.stream("of two").minimum(SIZE, ALIGNMENT, 2);
        let stream = stream.build().unwrap();
        // Two of its own, and one of the pool's; one as a raw pointer.
        let mut three = stream.allocate_many(SIZE, ALIGNMENT, 3).unwrap();
        let raw = soil_raw(pool.into_raw(three.remove(0)).unwrap());
        drop(three.into_iter().map(soil).collect::<Vec<_>>());
        // SAFETY: out with that size, and freed once.
        unsafe { pool.free_raw(raw, SIZE) }.unwrap();
        let again = stream.allocate_many(SIZE, ALIGNMENT, 4).unwrap();
        assert!(again.iter().all(is_zero));
        // One that comes home after the stream has ended.
        let late = again.into_iter().map(soil).next();
        drop(stream);
        drop(late);
        all_are_zero(&pool, 4);
    }
}

fn what_others_wait_for_is_zero_when_they_get_it(kind: Kind) {
    for strict in [false, true] {
        let pool = kind.build(described(1).strict_order(strict));
        let first = soiled(&pool);
        let wait = || {
            let taken = pool.allocate_timeout(SIZE, ALIGNMENT, Duration::MAX);
            let taken = taken.unwrap();
            let was_zero = is_zero(&taken);
            drop(soil(taken));
            was_zero
        };
        let all = thread::scope(|scope| {
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(wait)).collect();
            while pool.counters().waiting < 3 {
                thread::yield_now();
            }
            drop(first);
            let all = waiting.into_iter().map(|thread| thread.join().unwrap());
            all.collect::<Vec<_>>()
        });
        assert_eq!(all, [true; 3]);
        all_are_zero(&pool, 1);
        assert_zero_for_tasks(&pool);
    }
}

#[cfg(not(feature = "async"))]
fn assert_zero_for_tasks(_pool: &Pool) {}

/// One that is handed to a task, and one that a task which has gone did not fetch.
#[cfg(feature = "async")]
fn assert_zero_for_tasks(pool: &Pool) {
    use std::task::Poll;
    use support::task::Task;

    for fetched in [true, false] {
        let first = soiled(pool);
        let mut next = Task::begun(pool.allocate_async(SIZE, ALIGNMENT));
        drop(first);
        if fetched {
            let Poll::Ready(Ok(buffer)) = next.poll() else {
                panic!("it was the only one who waited");
            };
            assert!(is_zero(&buffer));
        }
        drop(next);
        all_are_zero(pool, 1);
    }
}

/// More than the caches hold: into depots, batches and loose lists, and out again.
fn what_passes_through_every_list_is_zero(kind: Kind) {
    const COUNT: usize = 600;
    let builder = Pool::builder().reserve(512, 512, COUNT).wipe(true);
    let pool = kind.build(builder.prefix_zone(8).prefault(false));
    let turn = || {
        let all = (0..).map_while(|_| pool.allocate(512, 512).ok());
        let all: Vec<_> = all.take(COUNT / 2).collect();
        assert!(all.iter().all(is_zero));
        drop(all.into_iter().map(soil).collect::<Vec<_>>());
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..20).for_each(|_| turn()));
        }
    });
    let all = pool.allocate_many(512, 512, COUNT).unwrap();
    assert!(all.iter().all(is_zero));
}

fn what_comes_home_to_a_pool_without_handles_is_zero(kind: Kind) {
    let pool = pool(kind, 3);
    let stream = pool.stream("of one").minimum(SIZE, ALIGNMENT, 1).build();
    let stream = stream.unwrap();
    let of_stream = soil(stream.allocate(SIZE, ALIGNMENT).unwrap());
    let (last, buffer) = (soiled(&pool), soiled(&pool));
    drop((stream, pool));
    for buffer in [of_stream, buffer] {
        let start = buffer.with_prefix().as_ptr();
        drop(buffer);
        // SAFETY: the pool's memory is mapped until its last buffer is home, and nobody can
        // take this one any more.
        let bytes = unsafe { std::slice::from_raw_parts(start, PREFIX + SIZE) };
        assert!(bytes.iter().all(|&byte| byte == 0));
    }
    drop(last);
}

fn what_was_trimmed_and_is_there_again_is_zero(kind: Kind) {
    let pool = kind.build(described(1));
    let kept = pool.allocate(SIZE, ALIGNMENT).unwrap();
    for _ in 0..3 {
        pool.request(SIZE, ALIGNMENT, 4).unwrap();
        let all = pool.allocate_many(SIZE, ALIGNMENT, 4).unwrap();
        assert!(all.iter().all(is_zero));
        drop(all.into_iter().map(soil).collect::<Vec<_>>());
        assert_eq!(pool.trim().segments, 1);
    }
    drop(kept);
}

fn a_pool_that_tracks_wipes_as_well(kind: Kind) {
    let pool = kind.build(described(2).track(true));
    let (buffer, line) = (soiled(&pool), line!());
    let held = pool.outstanding();
    assert!(held.is_tracked() && held.buffers().len() == 1);
    // Where it was taken.
    assert!(held.buffers()[0].place.line() < line);
    drop(buffer);
    assert!(pool.outstanding().buffers().is_empty());
    all_are_zero(&pool, 2);
    // Nor is one that wipes a pool that tracks.
    let plain = kind.build(described(1));
    let _buffer = soiled(&plain);
    assert!(!plain.outstanding().is_tracked());
}

#[cfg(not(feature = "bytes"))]
fn what_frozen_buffers_held_is_zero(_kind: Kind) {}

#[cfg(feature = "bytes")]
fn what_frozen_buffers_held_is_zero(kind: Kind) {
    let pool = pool(kind, 1);
    let frozen = soiled(&pool).freeze();
    let bytes = bytes::Bytes::from(frozen.clone());
    drop(frozen);
    assert!(bytes.iter().all(|&byte| byte == 0xa5));
    drop(bytes);
    all_are_zero(&pool, 1);
}

/// They may write after it was wiped.
#[test]
fn a_pool_that_others_may_write_is_refused() {
    let builder = described(1).shared(Access::Write);
    let refused = builder.build_volatile().unwrap_err();
    assert_eq!(refused, BuildError::WipeSharedForWriting);
    let text = refused.to_string();
    assert!(
        text.contains("wipe") && text.contains("Access::Write"),
        "{text}"
    );
    // Neither alone is.
    assert!(builder.clone().wipe(false).build_volatile().is_ok());
    assert!(builder.shared(Access::Read).build_volatile().is_ok());
    // A set says so when its buffers are to be mapped, and is not lost by that.
    let set = set(Pool::builder().wipe(true).shared(Access::Write));
    let before = set.state();
    let refused = set.end_configuration().unwrap_err();
    assert_eq!(refused, vdi::Error::Build(BuildError::WipeSharedForWriting));
    assert_eq!(refused.code(), vdi::VD_E_INVALID);
    assert_eq!(set.state(), before);
}

/// A set that is configured, and whose one buffer is requested.
fn set(builder: Builder) -> Set {
    let set = Set::with_builder(builder.prefault(false));
    let config = vdi::Config {
        device_count: 1,
        prefix_zone_size: PREFIX as u32,
        ..vdi::Config::default()
    };
    set.open(&config).unwrap();
    let parameters = vdi::Parameters {
        features: 0,
        block_size: 512,
        alignment: 0,
        max_transfer_size: 64 << 10,
        time_out: 0,
    };
    set.begin_configuration(&parameters).unwrap();
    set.request_buffers(SIZE as u32, 0, 1).unwrap();
    set
}

#[test]
fn what_a_set_takes_back_is_zero() {
    let set = set(Pool::builder().wipe(true));
    set.end_configuration().unwrap();
    for _ in 0..3 {
        let start = set.allocate_buffer(SIZE as u32, 0).unwrap();
        // SAFETY: zone and buffer are ours, and nobody else's.
        let bytes =
            unsafe { std::slice::from_raw_parts(start.as_ptr().sub(PREFIX), PREFIX + SIZE) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        let start = soil_raw(start);
        // SAFETY: taken just now with this size, and freed once.
        unsafe { set.free_buffer(start, SIZE as u32) }.unwrap();
    }
}

/// Who reads the memory by its descriptor.
#[test]
fn who_only_reads_the_buffers_finds_no_more_in_them_than_their_owners_do() {
    let builder = described(2).shared(Access::Read);
    // Files of those can be mapped, and not read otherwise.
    let builder = builder.pages(Pages::Huge1G, Rung::Never);
    let pool = builder.pages(Pages::Huge2M, Rung::Never).build().unwrap();
    let memory = File::from(pool.exports().unwrap().remove(0).memory);
    let soiled_bytes = || {
        let mut all = vec![0; memory.metadata().unwrap().len() as usize];
        memory.read_exact_at(&mut all, 0).unwrap();
        all.iter().filter(|&&byte| byte == 0xa5).count()
    };
    let both = [soiled(&pool), soiled(&pool)];
    assert_eq!(soiled_bytes(), 2 * (PREFIX + SIZE));
    drop(both);
    assert_eq!(soiled_bytes(), 0);
}

/// At its address there is no memory in a child, or some other.
#[test]
fn a_child_without_the_buffers_drops_them_and_touches_nothing() {
    const NAME: &str = "a_child_without_the_buffers_drops_them_and_touches_nothing";
    alone(NAME, &[], || {
        let shared = described(3).fork(true).shared(Access::Read);
        for builder in [described(3), shared] {
            let pool = builder.build().unwrap();
            let stream = pool.stream("of one").minimum(SIZE, ALIGNMENT, 1).build();
            let stream = stream.unwrap();
            let of_stream = soil(stream.allocate(SIZE, ALIGNMENT).unwrap());
            let both = [of_stream, soiled(&pool)];
            // Killed if it touches one.
            let child = in_fork(move || {
                drop(both);
                0
            });
            assert_eq!(child, 0);
            // Dropped here as well.
            all_are_zero(&pool, 2);
        }
    });
}

#[test]
fn a_child_that_inherits_the_buffers_wipes_its_own() {
    const NAME: &str = "a_child_that_inherits_the_buffers_wipes_its_own";
    alone(NAME, &[], || {
        let pool = described(1).fork(true).build().unwrap();
        let mut buffer = Some(soiled(&pool));
        let child = in_fork(|| {
            drop(buffer.take());
            i32::from(!is_zero(&pool.allocate(SIZE, ALIGNMENT).unwrap()))
        });
        assert_eq!(child, 0);
        let buffer = buffer.unwrap();
        assert!(buffer.with_prefix().iter().all(|&byte| byte == 0xa5));
    });
}
