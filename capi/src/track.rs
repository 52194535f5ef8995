//! Who has the buffers that are out.
//!
//! Owns: its calls in C, and the place in the program that a thread says it is at. Uses:
//! `call`, `heap`, `pool`, `sized`, `vdi`, the library. Used by: C and C++ programs.

use crate::builder::{change, hp_builder};
use crate::call::{Failure, done, object, put};
use crate::heap::{SMALL, leased};
use crate::kind::Pool;
use crate::pool::{here, hp_pool};
use crate::sized::{HasSize, Place};
use crate::vdi::{hp_vdi, pool_of};
use ::pool::Held;
use std::ffi::{c_char, c_void};
use std::ptr::NonNull;

/// A buffer that is out of a pool that tracks, and who took it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_outstanding {
    /// Set by the caller in the first element of the array to sizeof(hp_outstanding), for all
    /// of them; the call sets it in each to the number of bytes that it wrote, which is less
    /// if the library is older than the header.
    pub size: usize,
    /// The file that took it, as hp_set_place was told; otherwise the name of the call. Must
    /// not be freed.
    pub file: *const c_char,
    /// The line in it; 0: none.
    pub line: u64,
    /// Its first byte.
    pub start: *mut c_void,
    /// The number of bytes that were asked for.
    pub buffer_size: usize,
    /// The number of bytes that the buffers of its class have.
    pub class_size: usize,
    /// For how long it is out, in nanoseconds, by a clock that moves on every 1 to 10 ms.
    pub age: u64,
    /// The name of the stream that it counts against, ended by a zero byte; empty: none.
    pub stream: [c_char; HP_STREAM_NAME],
}

// SAFETY: words, the first of which is the size, and a multiple of a word of bytes.
unsafe impl HasSize for hp_outstanding {
    // By their ages it is known which are the oldest.
    const LEAST: usize = std::mem::offset_of!(Self, stream);

    fn size(&mut self) -> &mut usize {
        &mut self.size
    }
}

/// Bytes that a stream's name has in hp_outstanding, its zero bytes included.
pub const HP_STREAM_NAME: usize = 72;

/// Says whether the pool notes who takes its buffers (by default it does not): see
/// hp_pool_outstanding. That costs 64 bytes a buffer, and some tens of nanoseconds for each
/// that is taken and freed.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_track(builder: *mut hp_builder, track: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.track(track)) }
}

/// Says that what the calling thread takes from now on, of any pool or set that tracks, is
/// taken by line `line` of `file` (or by any other name, with line 0). The string must never
/// be changed or freed while buffers are out, nor the code unloaded that it is part of: a
/// literal will do. With null the name is that of the call that takes the buffer.
/// HP_TRACK_PLACES makes this call before each that takes one. Never blocks.
///
/// # Safety
///
/// `file` is a string that is never changed or freed, a literal, say, or null. Code that it
/// is part of is not unloaded while buffers are out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_set_place(file: *const c_char, line: u32) {
    // SAFETY: the caller says so.
    unsafe { ::pool::place::set_place(NonNull::new(file.cast_mut()), line) };
}

/// What C is told of a buffer that is out.
fn told(held: &Held) -> hp_outstanding {
    let mut stream = [0; HP_STREAM_NAME];
    if let Some(name) = &held.stream {
        // A name has 64 bytes at most.
        for (to, from) in stream[..HP_STREAM_NAME - 1].iter_mut().zip(name.bytes()) {
            *to = from as c_char;
        }
    }
    hp_outstanding {
        size: 0,
        file: held.place.name().as_ptr(),
        line: held.place.line().into(),
        start: std::ptr::with_exposed_provenance_mut(held.address),
        buffer_size: held.size,
        class_size: held.class_size,
        age: u64::try_from(held.age.as_nanos()).unwrap_or(u64::MAX),
        stream,
    }
}

/// The oldest buffers that are out, as many as there is room for in the caller's array. It is
/// a heap, the youngest on top, until all have been seen. Each element holds at least its
/// age: what there is no room for is not there to compare.
struct Oldest {
    place: Place<hp_outstanding>,
    room: usize,
    len: usize,
    /// How many there were.
    seen: usize,
}

impl Oldest {
    fn age(&self, at: usize) -> u64 {
        self.place.get_at(at).age
    }

    fn swap(&self, one: usize, other: usize) {
        let (first, second) = (self.place.get_at(one), self.place.get_at(other));
        self.place.put_at(one, second);
        self.place.put_at(other, first);
    }

    /// Moves the element at the top down to where it belongs among the first `len`.
    fn sink(&self, len: usize) {
        let mut at = 0;
        loop {
            let below = [2 * at + 1, 2 * at + 2];
            let Some(youngest) = (below.into_iter().filter(|&child| child < len))
                .min_by_key(|&child| self.age(child))
            else {
                return;
            };
            if self.age(at) <= self.age(youngest) {
                return;
            }
            self.swap(at, youngest);
            at = youngest;
        }
    }

    fn add(&mut self, held: &Held) {
        self.seen += 1;
        let told = told(held);
        if self.len < self.room {
            let mut at = self.len;
            self.place.put_at(at, told);
            self.len += 1;
            while at > 0 && self.age(at) < self.age((at - 1) / 2) {
                self.swap(at, (at - 1) / 2);
                at = (at - 1) / 2;
            }
        } else if self.room > 0 && told.age > self.age(0) {
            self.place.put_at(0, told);
            self.sink(self.len);
        }
    }

    /// The oldest first.
    fn sort(&self) {
        for len in (1..self.len).rev() {
            self.swap(0, len);
            self.sink(len);
        }
    }
}

/// Writes the oldest `room` buffers that are out of `pool` to `buffers`, and how many there
/// are to `count`.
///
/// # Safety
///
/// `buffers` points to `room` places, `count` to a place for a number, or they are null.
unsafe fn list(
    pool: &Pool,
    buffers: *mut hp_outstanding,
    room: usize,
    count: *mut usize,
) -> Result<(), Failure> {
    let place = match room {
        0 => Place::none(),
        // SAFETY: the caller says so.
        _ => unsafe { Place::elements(buffers, "buffers") }?,
    };
    let mut oldest = Oldest {
        place,
        room,
        len: 0,
        seen: 0,
    };
    leased(SMALL, || {
        pool.each_outstanding(|held| oldest.add(&held));
        Ok(())
    })?;
    oldest.sort();
    // SAFETY: the caller says so.
    unsafe { put(count, oldest.seen, "count") }
}

/// Says who has the buffers that are out, if the pool tracks it (hp_builder_track): writes the
/// oldest of them to `buffers`, an array of `room` elements, the oldest first, and to `*count`
/// how many there are, which may be more. There are none if the pool does not track. The
/// caller sets `buffers[0].size` before. With `room` 0 `buffers` may be null. `*count` is 0 if
/// it fails. Looks at every buffer, and allocates: it is not for the data path.
///
/// # Safety
///
/// `pool` points to a pool, `buffers` to `room` places, `count` to a place for a number, or
/// they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_outstanding(
    pool: *const hp_pool,
    buffers: *mut hp_outstanding,
    room: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (object(pool, "pool"), put(count, 0, "count")) };
    done(pool.and_then(here).and_then(|pool| {
        clear?;
        // SAFETY: the caller says so.
        unsafe { list(&pool.0, buffers, room, count) }
    }))
}

/// As hp_pool_outstanding, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and
/// after Close.
///
/// # Safety
///
/// `set` points to a set, `buffers` to `room` places, `count` to a place for a number, or
/// they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_outstanding(
    set: *const hp_vdi,
    buffers: *mut hp_outstanding,
    room: usize,
    count: *mut usize,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (pool_of(set), put(count, 0, "count")) };
    done(pool.and_then(|pool| {
        clear?;
        // SAFETY: the caller says so.
        unsafe { list(pool, buffers, room, count) }
    }))
}
