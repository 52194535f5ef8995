//! A buffer as engines use it: how much of it is filled, the part beyond that, header and
//! block as one slice, and an address that stays.

mod support;

use hugepool::{Buffer, FreeError, IntoRawError, Pool};
use std::borrow::{Borrow, BorrowMut};
use std::io::{self, ErrorKind, Write};
use support::kind::{Kind, both_kinds};

both_kinds! {
    a_length_beyond_the_capacity_is_refused_and_changes_nothing,
    no_change_of_the_length_changes_a_byte,
    a_buffer_that_climbed_grows_to_what_its_class_holds,
    what_is_written_goes_behind_what_is_filled_and_no_further,
    an_empty_buffer_is_not_made_a_raw_pointer_and_is_not_lost,
    a_raw_pointer_goes_back_with_the_length_that_its_buffer_had,
    a_buffer_of_another_length_comes_home_whole,
    the_prefix_zone_and_what_is_filled_are_one_slice,
    a_buffer_stays_where_it_is_however_it_is_moved,
    what_takes_borrowed_slices_takes_buffers,
}

const SIZE: usize = 5000;
const ASKED: usize = 1000;
const ALIGNMENT: usize = 4096;
const PREFIX: usize = 512;

fn pool(kind: Kind) -> Pool {
    let builder = Pool::builder()
        .reserve(SIZE, ALIGNMENT, 2)
        .prefix_zone(PREFIX)
        .prefault(false);
    kind.build(builder)
}

fn buffer(kind: Kind) -> (Pool, Buffer) {
    let pool = pool(kind);
    let buffer = pool.allocate(ASKED, ALIGNMENT).unwrap();
    (pool, buffer)
}

/// Bytes none of which is its neighbour's.
fn pattern(len: usize) -> Vec<u8> {
    (1..=251).cycle().take(len).collect()
}

fn a_length_beyond_the_capacity_is_refused_and_changes_nothing(kind: Kind) {
    let (_pool, mut buffer) = buffer(kind);
    assert_eq!((buffer.len(), buffer.capacity()), (ASKED, SIZE));
    for len in [SIZE + 1, 1 << 32, (1 << 32) + 1, usize::MAX] {
        let error = buffer.set_len(len).unwrap_err();
        assert_eq!((error.offset, error.length, error.limit), (0, len, SIZE));
        assert_eq!((buffer.len(), buffer[..].len()), (ASKED, ASKED));
    }
    for len in [ASKED + 1, SIZE, SIZE + 1, usize::MAX] {
        // As of a vector: not longer by that.
        buffer.truncate(len);
        assert_eq!(buffer.len(), ASKED);
    }
    for len in [SIZE, 1, 0, ASKED] {
        buffer.set_len(len).unwrap();
        assert_eq!((buffer.len(), buffer[..].len()), (len, len));
        assert_eq!(
            (buffer.is_empty(), buffer.spare().len()),
            (len == 0, SIZE - len)
        );
    }
}

fn no_change_of_the_length_changes_a_byte(kind: Kind) {
    let (_pool, mut buffer) = buffer(kind);
    assert!(buffer.spare().iter().all(|&byte| byte == 0));
    let bytes = pattern(SIZE);
    buffer.clear();
    buffer.spare_mut().copy_from_slice(&bytes);
    for len in [0, 1, SIZE, 700, 512, SIZE - 1] {
        match len < buffer.len() {
            true => buffer.truncate(len),
            false => buffer.set_len(len).unwrap(),
        }
        assert_eq!((&buffer[..], buffer.spare()), bytes.split_at(len));
        assert_eq!(buffer.as_ref(), &bytes[..len]);
    }
}

fn a_buffer_that_climbed_grows_to_what_its_class_holds(kind: Kind) {
    let builder = Pool::builder().prefault(false).reserve(512, 1, 1);
    let pool = kind.build(builder.reserve(2048, 1, 1));
    let [_small, mut large] = [(); 2].map(|()| pool.allocate(512, 1).unwrap());
    assert_eq!((large.len(), large.capacity()), (512, 2048));
    large.set_len(2048).unwrap();
    large.fill(7);
    assert_eq!(large.set_len(2049).unwrap_err().limit, 2048);
}

fn written(buffer: &mut (impl Write + ?Sized), from: &[u8]) -> usize {
    buffer.write(from).unwrap()
}

fn what_is_written_goes_behind_what_is_filled_and_no_further(kind: Kind) {
    let (_pool, mut buffer) = buffer(kind);
    let bytes = pattern(SIZE);
    buffer.fill(255);
    buffer.truncate(3);
    assert_eq!(written(&mut buffer, &bytes[3..900]), 897);
    assert_eq!(written(&mut buffer, b""), 0);
    assert_eq!((buffer.len(), &buffer[..3]), (900, &[255; 3][..]));
    assert_eq!(&buffer[3..], &bytes[3..900]);
    // What fits of it, and then nothing, is not an error.
    let (more, room) = (pattern(SIZE), SIZE - 900);
    assert_eq!(written(&mut buffer, &more), room);
    assert_eq!((buffer.len(), &buffer[900..]), (SIZE, &more[..room]));
    assert_eq!(written(&mut buffer, b"more"), 0);
    // All or else an error, as of a slice.
    buffer.truncate(SIZE - 2);
    let error = buffer.write_all(b"abc").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
    assert_eq!((buffer.len(), &buffer[SIZE - 2..]), (SIZE, &b"ab"[..]));
    buffer.clear();
    write!(buffer, "{}-{}", 1, 2).unwrap();
    buffer.flush().unwrap();
    assert_eq!(&buffer[..], b"1-2");
    let copied = io::copy(&mut &bytes[..1000], &mut buffer).unwrap();
    assert_eq!((copied, buffer.len()), (1000, 1003));
}

fn an_empty_buffer_is_not_made_a_raw_pointer_and_is_not_lost(kind: Kind) {
    let (pool, mut buffer) = buffer(kind);
    let _other = pool.allocate(ASKED, ALIGNMENT).unwrap();
    buffer[0] = 9;
    let start = buffer.as_ptr();
    buffer.clear();
    let Err(error @ IntoRawError::Empty(_)) = pool.into_raw(buffer) else {
        panic!("a raw pointer to no bytes");
    };
    assert!(error.to_string().contains(&SIZE.to_string()), "{error}");
    let mut buffer = error.into_buffer();
    // It is out, as a buffer, with its bytes.
    // SAFETY: refused: no raw pointer is out.
    let freed = unsafe { pool.free_raw(start.cast_mut(), 0) };
    assert!(matches!(freed, Err(FreeError::NotAllocated { .. })));
    assert_eq!(pool.available(ASKED, ALIGNMENT), 0);
    buffer.set_len(1).unwrap();
    assert_eq!((buffer.as_ptr(), buffer[0]), (start, 9));
    drop(buffer);
    assert_eq!(pool.available(ASKED, ALIGNMENT), 1);
}

fn a_raw_pointer_goes_back_with_the_length_that_its_buffer_had(kind: Kind) {
    let (pool, mut buffer) = buffer(kind);
    let class = pool.class(SIZE, ALIGNMENT).unwrap();
    for (len, by_class) in [(1, false), (ASKED, false), (SIZE - 1, false), (SIZE, true)] {
        buffer.set_len(len).unwrap();
        let start = pool.into_raw(buffer).unwrap().as_ptr();
        for given in [0, len - 1, len + 1, ASKED + 1, SIZE + 1] {
            let (address, allocated) = (start.addr(), len);
            let expected = FreeError::WrongSize {
                address,
                given,
                allocated,
            };
            // SAFETY: refused, as the size is another one.
            let owned = unsafe { pool.from_raw(start, given) };
            assert_eq!(owned.unwrap_err(), expected);
        }
        if !by_class {
            // SAFETY: refused: the class gives its own size.
            let freed = unsafe { class.free_raw(start) };
            assert!(matches!(freed, Err(FreeError::WrongSize { .. })));
        }
        // SAFETY: out with that size, and owned once.
        buffer = unsafe { pool.from_raw(start, len) }.unwrap();
        assert_eq!(buffer.len(), len);
    }
    let start = pool.into_raw(buffer).unwrap().as_ptr();
    // SAFETY: out with the size of the class, and freed once.
    unsafe { class.free_raw(start) }.unwrap();
    assert_eq!(pool.available(SIZE, ALIGNMENT), 2);
}

fn a_buffer_of_another_length_comes_home_whole(kind: Kind) {
    let pool = pool(kind);
    let stream = pool.stream("of one").minimum(SIZE, ALIGNMENT, 1).build();
    let stream = stream.unwrap();
    for round in 0..8 {
        for len in [0, 1, SIZE] {
            let mut own = stream.allocate(SIZE, ALIGNMENT).unwrap();
            let mut other = pool.allocate(ASKED, ALIGNMENT).unwrap();
            for buffer in [&mut own, &mut other] {
                buffer.set_len(len).unwrap();
                buffer.fill(round);
            }
        }
        assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
        // The next owner has what he asks for.
        let next = pool.allocate(ASKED, ALIGNMENT).unwrap();
        assert_eq!((next.len(), next[0]), (ASKED, round));
    }
}

fn the_prefix_zone_and_what_is_filled_are_one_slice(kind: Kind) {
    let (_pool, mut buffer) = buffer(kind);
    let bytes = pattern(PREFIX + SIZE);
    buffer.set_len(SIZE).unwrap();
    buffer.with_prefix_mut().copy_from_slice(&bytes);
    assert_eq!((buffer.prefix(), &buffer[..]), bytes.split_at(PREFIX));
    for len in [0, 1, ASKED, SIZE] {
        buffer.set_len(len).unwrap();
        assert_eq!(buffer.with_prefix(), &bytes[..PREFIX + len]);
        assert_eq!(buffer.with_prefix_mut().len(), PREFIX + len);
    }
    assert_eq!(
        buffer.with_prefix().as_ptr_range().end,
        buffer.as_ptr_range().end
    );
    // Written by its parts, read as a whole.
    buffer.prefix_mut().fill(1);
    buffer.fill(2);
    let (zone, data) = buffer.with_prefix().split_at(PREFIX);
    assert!(zone.iter().all(|&byte| byte == 1) && data.iter().all(|&byte| byte == 2));
    // Without a zone it is the data.
    let plain = kind.build(Pool::builder().prefault(false).reserve(512, 512, 1));
    let mut plain = plain.allocate(100, 512).unwrap();
    plain[99] = 5;
    assert_eq!(plain.with_prefix(), &plain[..]);
}

fn a_buffer_stays_where_it_is_however_it_is_moved(kind: Kind) {
    let (pool, mut buffer) = buffer(kind);
    let start = buffer.as_ptr().addr();
    buffer[1] = 4;
    let boxed = Box::new(buffer);
    assert_eq!(boxed.as_ptr().addr(), start);
    let mut all: Vec<Buffer> = Vec::new();
    all.push(*boxed);
    // The vector is moved, and what it had before is not there any more.
    all.extend(pool.allocate(ASKED, ALIGNMENT));
    all.shrink_to_fit();
    all.swap(0, 1);
    let buffer = all.pop().unwrap();
    let there = std::thread::spawn(move || (buffer.as_ptr().addr(), buffer));
    let (there, mut buffer) = there.join().unwrap();
    assert_eq!((there, buffer[1]), (start, 4));
    buffer.set_len(SIZE).unwrap();
    buffer.clear();
    assert_eq!(buffer.as_ptr().addr(), start);
    buffer.set_len(1).unwrap();
    let buffer = buffer.into_volatile();
    assert_eq!(buffer.as_ptr().addr(), start);
    let raw = pool.into_volatile().into_raw(buffer).unwrap();
    assert_eq!(raw.addr().get(), start);
}

fn what_takes_borrowed_slices_takes_buffers(kind: Kind) {
    fn sum<B: Borrow<[u8]>>(bytes: &B) -> u64 {
        bytes.borrow().iter().map(|&byte| u64::from(byte)).sum()
    }
    fn set<B: BorrowMut<[u8]>>(bytes: &mut B) {
        bytes.borrow_mut().fill(3);
    }
    let pool = pool(kind);
    let mut both = [2, 3].map(|len| {
        let mut buffer = pool.allocate(len, ALIGNMENT).unwrap();
        set(&mut buffer);
        buffer
    });
    assert_eq!((sum(&both[0]), sum(&both[1])), (6, 9));
    both[1].truncate(1);
    assert_eq!(both.concat(), [3; 3]);
    assert_eq!(both.join(&0), [3, 3, 0, 3]);
}
