//! A ring of io_uring that owns the buffers of what is under way.

mod support;

use hugepool::share::Access;
use hugepool::uring::{Completion, Registry, Rejected, Ring, RingError, WhyRejected};
use hugepool::{Buffer, Pool, Volatile};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use support::heap::{Counting, calls};
use support::uring::{Temporary, all, is_registered, next, pattern, pipe, ring, without_reserved};

#[global_allocator]
static HEAP: Counting = Counting;

const SIZE: usize = 16 << 10;
const COUNT: usize = 16;
const PREFIX: usize = 512;

fn pool() -> Pool {
    let builder = Pool::builder().reserve(SIZE, 4096, COUNT);
    let builder = builder.prefix_zone(PREFIX).address_space(1 << 30);
    without_reserved(builder).prefault(false).build().unwrap()
}

/// Everything of a completion that went well.
#[track_caller]
fn well(done: Completion) -> (u64, usize, Buffer) {
    (done.token, done.result.unwrap(), done.buffer)
}

#[test]
fn what_is_written_out_of_any_buffer_is_read_back_into_any() {
    let name = "what_is_written_out_of_any_buffer_is_read_back_into_any";
    let (own, other) = (pool(), pool());
    let Some(mut ring) = ring(name, &own, COUNT as u32) else {
        return;
    };
    is_registered(name, &ring);
    let file = Temporary::new(name);
    // One of them is never registered.
    for pool in [&own, &other] {
        let buffers = all(pool, SIZE);
        assert_eq!(buffers.len(), COUNT);
        for (at, mut buffer) in buffers.into_iter().enumerate() {
            buffer.copy_from_slice(&pattern(at, SIZE));
            let offset = (at * SIZE) as u64;
            ring.write(Arc::clone(&file.file), buffer, .., offset, at as u64)
                .unwrap();
        }
        let mut seen = [false; COUNT];
        while let Some(done) = ring.wait().unwrap() {
            let (token, bytes, buffer) = well(done);
            assert_eq!(bytes, SIZE);
            assert!(!std::mem::replace(&mut seen[token as usize], true));
            assert_eq!(&buffer[..], pattern(token as usize, SIZE));
        }
        assert!(seen.iter().all(|&seen| seen));
        let wanted: Vec<u8> = (0..COUNT).flat_map(|at| pattern(at, SIZE)).collect();
        assert_eq!(file.bytes(), wanted);
        // The other way round, a part of each.
        for (at, mut buffer) in all(pool, SIZE).into_iter().enumerate() {
            buffer.fill(0xee);
            let offset = (at * SIZE + 3) as u64;
            ring.read(Arc::clone(&file.file), buffer, 100..4000, offset, at as u64)
                .unwrap();
        }
        while let Some(done) = ring.wait().unwrap() {
            let (token, bytes, buffer) = well(done);
            assert_eq!(bytes, 3900);
            let at = token as usize * SIZE + 3;
            assert_eq!(buffer[100..4000], wanted[at..at + 3900]);
            let rest = buffer[..100].iter().chain(&buffer[4000..]);
            assert!(rest.into_iter().all(|&byte| byte == 0xee));
        }
    }
}

#[test]
fn prefix_and_data_are_one_write() {
    let name = "prefix_and_data_are_one_write";
    let pool = pool();
    let Some(mut ring) = ring(name, &pool, 4) else {
        return;
    };
    for (range, wanted) in [
        (None, 0..PREFIX + SIZE),
        (Some(PREFIX - 12..PREFIX + 100), PREFIX - 12..PREFIX + 100),
        (Some(PREFIX..PREFIX), PREFIX..PREFIX),
    ] {
        let file = Temporary::new(name);
        let mut buffer = pool.allocate(SIZE, 4096).unwrap();
        let cell = pattern(1, PREFIX + SIZE);
        buffer.prefix_mut().copy_from_slice(&cell[..PREFIX]);
        buffer.copy_from_slice(&cell[PREFIX..]);
        let target = Arc::clone(&file.file);
        match range {
            None => ring.write_with_prefix(target, buffer, .., 0, 1).unwrap(),
            Some(range) => ring.write_with_prefix(target, buffer, range, 0, 1).unwrap(),
        }
        let (_, bytes, _) = well(next(&mut ring));
        assert_eq!(bytes, wanted.len());
        assert_eq!(file.bytes(), cell[wanted]);
    }
}

#[test]
fn one_read_fills_prefix_and_data() {
    let name = "one_read_fills_prefix_and_data";
    let pool = pool();
    let Some(mut ring) = ring(name, &pool, 4) else {
        return;
    };
    let cell = pattern(1, PREFIX + SIZE);
    let file = Temporary::with(name, &cell);
    for range in [0..PREFIX + SIZE, PREFIX - 12..PREFIX + 100, PREFIX..PREFIX] {
        let mut buffer = pool.allocate(SIZE, 4096).unwrap();
        buffer.prefix_mut().fill(0);
        buffer.fill(0);
        let offset = range.start as u64;
        ring.read_with_prefix(Arc::clone(&file.file), buffer, range.clone(), offset, 1)
            .unwrap();
        let (_, bytes, buffer) = well(next(&mut ring));
        assert_eq!(bytes, range.len());
        let whole = buffer.with_prefix();
        assert!(whole[range.clone()] == cell[range.clone()]);
        assert!(whole[..range.start].iter().all(|&byte| byte == 0));
        assert!(whole[range.end..].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_range_may_go_on_to_the_capacity_and_ends_at_the_length_if_it_does_not_say() {
    let name = "a_range_may_go_on_to_the_capacity";
    let pool = pool();
    let Some(mut ring) = ring(name, &pool, 4) else {
        return;
    };
    let file = Temporary::with(name, &pattern(0, SIZE));
    for (range, bytes) in [(0..SIZE, SIZE), (SIZE - 1..SIZE, 1), (7..7, 0)] {
        let buffer = pool.allocate(1000, 4096).unwrap();
        assert!(buffer.len() == 1000 && buffer.capacity() == SIZE);
        ring.read(Arc::clone(&file.file), buffer, range, 0, 0)
            .unwrap();
        assert_eq!(well(next(&mut ring)).1, bytes);
    }
    let buffer = pool.allocate(1000, 4096).unwrap();
    ring.read(Arc::clone(&file.file), buffer, 1.., 0, 0)
        .unwrap();
    assert_eq!(well(next(&mut ring)).1, 999);
    // Beyond the file there is nothing, and at its end less.
    for (offset, bytes) in [
        (SIZE as u64 - 5, 5),
        (1 << 40, 0),
        (i64::MAX as u64 - 2000, 0),
    ] {
        let buffer = pool.allocate(1000, 4096).unwrap();
        ring.read(Arc::clone(&file.file), buffer, .., offset, 0)
            .unwrap();
        assert_eq!(well(next(&mut ring)).1, bytes);
    }
}

#[test]
fn what_a_ring_does_not_take_comes_back_whole() {
    let name = "what_a_ring_does_not_take_comes_back_whole";
    let pool = pool();
    for depth in [0, 32769, u32::MAX] {
        let refused = Ring::<Arc<File>>::new(&pool, depth).unwrap_err();
        let limit = 32768;
        assert_eq!(refused, RingError::Depth { depth, limit });
    }
    let Some(mut ring) = ring(name, &pool, 2) else {
        return;
    };
    let file = Temporary::with(name, b"bytes");
    let buffer = || {
        let mut buffer = pool.allocate(SIZE, 4096).unwrap();
        buffer.fill(7);
        buffer
    };
    let check = |rejected: Rejected<Arc<File>>, why: WhyRejected| {
        assert_eq!((rejected.why, rejected.token), (why, 9));
        assert!(Arc::ptr_eq(&rejected.file, &file.file));
        assert!(rejected.buffer.iter().all(|&byte| byte == 7));
    };
    // Ranges.
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    let ranges = [(0..SIZE + 1, SIZE), (SIZE + 1..SIZE + 1, SIZE), (9..3, 3)];
    for (range, limit) in ranges {
        let rejected = ring.read(Arc::clone(&file.file), buffer(), range.clone(), 0, 9);
        let rejected = rejected.unwrap_err();
        let WhyRejected::Range(error) = rejected.why else {
            panic!("{rejected}");
        };
        let wanted = (range.start, range.len(), limit);
        assert_eq!((error.offset, error.length, error.limit), wanted);
        check(rejected, WhyRejected::Range(error));
    }
    let rejected = ring.write(Arc::clone(&file.file), buffer(), ..=usize::MAX, 0, 9);
    assert!(matches!(rejected.unwrap_err().why, WhyRejected::Range(_)));
    let beyond = PREFIX + SIZE + 1;
    let rejected = ring.write_with_prefix(Arc::clone(&file.file), buffer(), ..beyond, 0, 9);
    assert!(matches!(rejected.unwrap_err().why, WhyRejected::Range(_)));
    // Offsets: the largest means something else to the kernel.
    for offset in [i64::MAX as u64 + 1, u64::MAX] {
        let rejected = ring.read(Arc::clone(&file.file), buffer(), .., offset, 9);
        let limit = i64::MAX as u64;
        check(rejected.unwrap_err(), WhyRejected::Offset { offset, limit });
    }
    // A full ring, whether it was submitted or not.
    assert_eq!(ring.in_flight(), 0);
    let (waits, writer) = pipe();
    for _ in 0..2 {
        ring.read(Arc::clone(&waits), buffer(), .., 0, 0).unwrap();
    }
    for _ in 0..2 {
        let rejected = ring.read(Arc::clone(&file.file), buffer(), .., 0, 9);
        check(rejected.unwrap_err(), WhyRejected::Full { depth: 2 });
        ring.submit().unwrap();
    }
    assert!(ring.try_complete().is_none());
    drop(writer);
    assert_eq!(well(next(&mut ring)).1, 0);
    ring.read(Arc::clone(&file.file), buffer(), .., 0, 9)
        .unwrap();
    assert_eq!(ring.in_flight(), 2);
}

#[test]
fn what_the_kernel_refuses_is_the_operations_result() {
    let name = "what_the_kernel_refuses_is_the_operations_result";
    let pool = pool();
    let Some(mut ring) = ring(name, &pool, 4) else {
        return;
    };
    let read_only = Arc::new(File::open("/dev/null").unwrap());
    for _ in 0..10 {
        let buffer = pool.allocate(SIZE, 4096).unwrap();
        ring.write(Arc::clone(&read_only), buffer, .., 0, 5)
            .unwrap();
        let done = next(&mut ring);
        assert_eq!(done.token, 5);
        assert_eq!(done.result.unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
    assert_eq!(pool.available(SIZE, 4096), COUNT);
    assert!(ring.wait().unwrap().is_none());
}

#[test]
fn a_file_is_kept_until_its_operation_is_over() {
    let name = "a_file_is_kept_until_its_operation_is_over";
    let pool = pool();
    let Some(mut ring) = ring::<File, _>(name, &pool, 4) else {
        return;
    };
    let (first, second) = (
        Temporary::with(&format!("{name}-1"), b"first"),
        Temporary::with(&format!("{name}-2"), b"second"),
    );
    let reopen = |file: &Temporary| file.file.try_clone().unwrap();
    ring.read(reopen(&first), pool.allocate(SIZE, 4096).unwrap(), .., 0, 0)
        .unwrap();
    // It would have the number of one that was closed.
    let _others: Vec<File> = (0..16).map(|_| reopen(&second)).collect();
    let done = next(&mut ring);
    assert_eq!(&done.buffer[..done.result.unwrap()], b"first");
}

#[test]
fn buffers_that_came_by_growth_are_registered_when_they_are_met() {
    let name = "buffers_that_came_by_growth_are_registered_when_they_are_met";
    let pool = pool();
    let Some(mut ring) = ring(name, &pool, 64) else {
        return;
    };
    if !is_registered(name, &ring) {
        return;
    }
    let before = *ring.report();
    pool.request(SIZE, 4096, COUNT).unwrap();
    let file = Temporary::with(name, &pattern(3, SIZE));
    for buffer in all(&pool, SIZE) {
        ring.read(Arc::clone(&file.file), buffer, .., 0, 0).unwrap();
    }
    assert_eq!(ring.report().entries, before.entries + 1);
    assert!(ring.report().registered > before.registered);
    let mut count = 0;
    while let Some(done) = ring.wait().unwrap() {
        assert!(ring.registry().entry(&done.buffer).is_some());
        assert_eq!(&well(done).2[..], pattern(3, SIZE));
        count += 1;
    }
    assert_eq!(count, 2 * COUNT);
}

/// What a read into a buffer at the place of one that was registered and trimmed must do: put
/// the bytes there, and not where the old one was. `refresh`: whether the ring is told of it.
fn regrown_at_the_same_place(name: &str, refresh: bool) {
    let pool = pool();
    pool.request(SIZE, 4096, COUNT).unwrap();
    let Some(mut ring) = ring(name, &pool, 64) else {
        return;
    };
    if !is_registered(name, &ring) {
        return;
    }
    let old = pool.regions().pop().unwrap();
    let (id, start) = (old.id(), old.start());
    drop(old);
    assert_eq!(pool.trim().segments, 1);
    if refresh {
        let report = *ring.refresh();
        assert_eq!(report.entries, 1, "{report}");
    }
    pool.request(SIZE, 4096, COUNT).unwrap();
    let new = pool.regions().pop().unwrap();
    assert_eq!(new.id().index(), id.index());
    assert_ne!(new.id(), id);
    // The ring holds what it has registered, so only what it has let go comes back there.
    assert_eq!(new.start() == start, refresh);
    let file = Temporary::with(name, &pattern(4, SIZE));
    let mut met = 0;
    for mut buffer in all(&pool, SIZE) {
        let is_new = buffer.location().region == new.id();
        met += usize::from(is_new);
        buffer.fill(0xee);
        assert!(!(is_new && met == 1 && ring.registry().knows(&buffer)));
        ring.read(Arc::clone(&file.file), buffer, .., 0, 0).unwrap();
        let (_, bytes, buffer) = well(next(&mut ring));
        assert_eq!(bytes, SIZE);
        assert!(buffer[..] == pattern(4, SIZE), "the bytes went elsewhere");
        assert!(ring.registry().entry(&buffer).is_some());
    }
    assert_eq!(met, COUNT);
}

#[test]
fn bytes_arrive_in_a_buffer_that_lies_where_a_registered_one_was_trimmed() {
    let name = "bytes_arrive_in_a_buffer_that_lies_where_a_registered_one_was_trimmed";
    regrown_at_the_same_place(name, true);
}

#[test]
fn bytes_arrive_in_a_new_region_that_the_ring_was_not_told_of() {
    let name = "bytes_arrive_in_a_new_region_that_the_ring_was_not_told_of";
    regrown_at_the_same_place(name, false);
}

#[test]
fn buffers_that_another_process_may_write_are_read_and_written() {
    let name = "buffers_that_another_process_may_write_are_read_and_written";
    let builder = Pool::builder().reserve(SIZE, 4096, 4).prefault(false);
    let pool = without_reserved(builder)
        .shared(Access::Write)
        .build_volatile()
        .unwrap();
    let Some(mut ring) = ring::<_, Volatile>(name, &pool, 4) else {
        return;
    };
    is_registered(name, &ring);
    let file = Temporary::with(name, &pattern(5, SIZE));
    let buffer = pool.allocate(SIZE, 4096).unwrap();
    ring.read(Arc::clone(&file.file), buffer, .., 0, 0).unwrap();
    let done = next(&mut ring);
    assert_eq!(done.result.unwrap(), SIZE);
    let mut copy = vec![0; SIZE];
    done.buffer.read_at(0, &mut copy).unwrap();
    assert_eq!(copy, pattern(5, SIZE));
}

#[test]
fn what_is_cancelled_is_over_and_the_rest_goes_on() {
    let name = "what_is_cancelled_is_over_and_the_rest_goes_on";
    let pool = pool();
    let Some(mut ring) = ring(name, &pool, 8) else {
        return;
    };
    let (waits, mut writer) = pipe();
    for token in 0..8 {
        let buffer = pool.allocate(SIZE, 4096).unwrap();
        ring.read(Arc::clone(&waits), buffer, .., 0, token).unwrap();
    }
    ring.cancel();
    for _ in 0..8 {
        let error = next(&mut ring).result.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{error}");
    }
    assert!(ring.wait().unwrap().is_none());
    let buffer = pool.allocate(SIZE, 4096).unwrap();
    ring.read(waits, buffer, .., 0, 9).unwrap();
    ring.submit().unwrap();
    writer.write_all(b"now").unwrap();
    let (token, bytes, buffer) = well(next(&mut ring));
    assert_eq!((token, &buffer[..bytes]), (9, &b"now"[..]));
}

#[test]
fn completions_that_the_ring_had_no_room_for_arrive_without_a_wait() {
    let name = "completions_that_the_ring_had_no_room_for_arrive_without_a_wait";
    let pool = pool();
    let Some(mut ring) = ring(name, &pool, 1) else {
        return;
    };
    let (waits, _writer) = pipe();
    let null = Arc::new(File::open("/dev/null").unwrap());
    let buffer = pool.allocate(SIZE, 4096).unwrap();
    ring.read(waits, buffer, .., 0, 0).unwrap();
    // Each cancellation has a completion, too, and there is room for two.
    (0..8).for_each(|_| ring.cancel());
    let next = |ring: &mut Ring| {
        // A call brings as many as there is room for.
        let over = (0..100).find_map(|_| {
            ring.submit().unwrap();
            ring.try_complete()
        });
        over.expect("it is over")
    };
    let done = next(&mut ring);
    let error = done.result.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
    ring.read(null, done.buffer, .., 0, 1).unwrap();
    assert_eq!(well(next(&mut ring)).1, 0);
}

#[test]
fn operations_need_no_heap() {
    let name = "operations_need_no_heap";
    let pool = pool();
    let Some(mut ring) = ring(name, &pool, COUNT as u32) else {
        return;
    };
    let file = Temporary::with(name, &pattern(1, SIZE));
    let mut round = || {
        for token in 0..COUNT as u64 {
            let buffer = pool.allocate(SIZE, 4096).unwrap();
            ring.read(Arc::clone(&file.file), buffer, .., 0, token)
                .unwrap();
        }
        while let Some(done) = ring.wait().unwrap() {
            assert_eq!(done.result.unwrap(), SIZE);
        }
    };
    round();
    let before = calls();
    (0..100).for_each(|_| round());
    assert_eq!(calls(), before);
}

#[test]
fn a_registry_of_another_ring_begins_anew_with_the_next() {
    let name = "a_registry_of_another_ring_begins_anew_with_the_next";
    let pool = pool();
    let Some(first) = ring::<Arc<File>, _>(name, &pool, 4) else {
        return;
    };
    let mut registry = Registry::with_entries(&pool, 8);
    let other = io_uring::IoUring::new(4).unwrap();
    let before = *registry.refresh(&other.submitter());
    let second = Ring::<Arc<File>>::with_registry(registry, 4).unwrap();
    let pair = |report: &hugepool::uring::Report| (report.entries, report.registered);
    assert_eq!(pair(second.report()), pair(&before));
    if is_registered(name, &first) && is_registered(name, &second) {
        assert_eq!(second.report().entries, 1);
    }
}
