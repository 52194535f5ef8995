//! Buffers that are handed on as `bytes::Bytes`, and had back.

mod support;

use bytes::{Buf, Bytes};
use hugepool::{Buffer, Frozen, Pool};
use std::thread;
use support::kind::{Kind, both_kinds};

both_kinds! {
    bytes_are_the_buffers_own_as_far_as_it_is_filled,
    a_buffer_goes_home_with_the_last_part_of_it,
    an_advanced_handle_holds_its_buffer_and_a_cleared_one_does_not,
    what_nobody_else_has_is_thawed_and_nothing_else,
    of_several_who_thaw_at_once_one_at_most_has_the_buffer_and_it_is_not_lost,
    bytes_may_outlive_the_pool,
}

const SIZE: usize = 4096;

fn pool(kind: Kind, count: usize) -> Pool {
    let builder = Pool::builder().reserve(SIZE, SIZE, count);
    kind.build(builder.prefault(false))
}

fn taken(pool: &Pool) -> Buffer {
    let mut buffer = pool.allocate(SIZE, SIZE).unwrap();
    buffer.fill(7);
    buffer
}

fn free(pool: &Pool) -> usize {
    pool.available(SIZE, SIZE)
}

fn bytes_are_the_buffers_own_as_far_as_it_is_filled(kind: Kind) {
    let pool = pool(kind, 1);
    for len in [0, 1, 1000, SIZE] {
        let mut buffer = taken(&pool);
        buffer.truncate(len);
        let start = buffer.as_ptr();
        let bytes = Bytes::from(buffer);
        assert_eq!((bytes.as_ptr(), bytes.len()), (start, len));
        drop(bytes);
        let mut buffer = taken(&pool);
        buffer.truncate(len);
        let frozen = buffer.freeze();
        assert_eq!((frozen.as_ptr(), frozen.len()), (start, len));
        let bytes = Bytes::from(frozen.clone());
        assert_eq!((bytes.as_ptr(), &bytes[..]), (start, &frozen[..]));
        let buffer = (drop(bytes), frozen.try_thaw().unwrap()).1;
        // As it was.
        assert_eq!((buffer.as_ptr(), buffer.len()), (start, len));
        assert!(buffer.iter().all(|&byte| byte == 7));
    }
}

fn a_buffer_goes_home_with_the_last_part_of_it(kind: Kind) {
    let pool = pool(kind, 2);
    for frozen in [false, true] {
        let bytes = match frozen {
            true => Bytes::from(taken(&pool).freeze()),
            false => Bytes::from(taken(&pool)),
        };
        let (part, other) = (bytes.slice(10..20), bytes.clone());
        drop(bytes);
        let kept = thread::spawn(move || (drop(other), part.slice(5..)).1);
        let kept = kept.join().unwrap();
        assert_eq!((kept.len(), free(&pool)), (5, 1));
        drop(kept);
        assert_eq!(free(&pool), 2);
    }
}

fn an_advanced_handle_holds_its_buffer_and_a_cleared_one_does_not(kind: Kind) {
    let pool = pool(kind, 1);
    for frozen in [false, true] {
        let mut bytes = match frozen {
            true => Bytes::from(taken(&pool).freeze()),
            false => Bytes::from(taken(&pool)),
        };
        bytes.advance(SIZE);
        assert!(bytes.is_empty());
        assert_eq!(free(&pool), 0, "advanced");
        bytes.clear();
        assert_eq!(free(&pool), 1, "cleared");
        let mut bytes = Bytes::from(taken(&pool));
        bytes.truncate(0);
        assert_eq!(free(&pool), 1, "truncated");
        let mut bytes = Bytes::from(taken(&pool));
        bytes.advance(SIZE);
        drop(bytes);
        assert_eq!(free(&pool), 1, "dropped");
    }
}

fn what_nobody_else_has_is_thawed_and_nothing_else(kind: Kind) {
    let pool = pool(kind, 1);
    let frozen: Frozen = taken(&pool).into();
    let start = frozen.as_ptr();
    let (clone, bytes) = (frozen.clone(), Bytes::from(frozen.clone()));
    let part = bytes.slice(..1);
    drop(bytes);
    let frozen = frozen.try_thaw().unwrap_err();
    assert_eq!((frozen.as_ptr(), frozen[SIZE - 1]), (start, 7));
    drop(clone);
    let frozen = frozen.try_thaw().unwrap_err();
    drop(part);
    let mut buffer = frozen.try_thaw().unwrap();
    buffer[0] = 1;
    assert_eq!((buffer.as_ptr(), free(&pool)), (start, 0));
    // And again.
    let frozen = buffer.freeze();
    assert_eq!(frozen[..2], [1, 7]);
    drop(frozen);
    assert_eq!(free(&pool), 1);
}

fn of_several_who_thaw_at_once_one_at_most_has_the_buffer_and_it_is_not_lost(kind: Kind) {
    let pool = pool(kind, 1);
    for round in 0..200u8 {
        let frozen = taken(&pool).freeze();
        let all: Vec<_> = (0..3).map(|_| frozen.clone()).collect();
        drop(frozen);
        let write = |frozen: Frozen| match frozen.try_thaw() {
            Ok(mut buffer) => {
                buffer.fill(round);
                1
            }
            // Read by the others, none of whom may see it change.
            Err(frozen) => i32::from(frozen.iter().any(|&byte| byte != 7)) * 100,
        };
        let thawed: i32 = thread::scope(|scope| {
            let each = all.into_iter();
            let each: Vec<_> = each
                .map(|frozen| scope.spawn(move || write(frozen)))
                .collect();
            each.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(thawed <= 1, "{thawed}");
        assert_eq!(free(&pool), 1);
    }
}

fn bytes_may_outlive_the_pool(kind: Kind) {
    let pool = pool(kind, 2);
    let (bytes, frozen) = (Bytes::from(taken(&pool)), taken(&pool).freeze());
    drop(pool);
    assert!(bytes.iter().chain(frozen.iter()).all(|&byte| byte == 7));
    let more = Bytes::from(frozen);
    drop(bytes);
    assert_eq!(more[SIZE - 1], 7);
}
