//! Structures that the library writes.
//!
//! Owns: how much of one is written. Uses: `call`. Used by: every call that gives one.
//!
//! They begin with their size, which the caller writes: so they can grow at their ends, and
//! programs that were compiled with shorter ones go on working.

use crate::call::{Failure, is_good};

/// A structure that begins with its size. All bytes zero are a value.
///
/// # Safety
///
/// It is `repr(C)`, its first field is a `usize`, it has no padding but at its end, and a
/// prefix of whole fields may be written to a shorter one.
pub unsafe trait HasSize: Copy {
    /// The fewest bytes that the caller's can have.
    const LEAST: usize = size_of::<usize>();

    /// Where the caller says how large his is.
    fn size(&mut self) -> &mut usize;
}

/// A place of the caller's, which is as large as it says.
pub struct Place<T> {
    start: *mut T,
    /// Bytes of it.
    bytes: usize,
}

impl<T: HasSize> Place<T> {
    /// The one at `start`, if there is one.
    ///
    /// # Safety
    ///
    /// `start` points to as many bytes as its first field says, or is null; they are the
    /// call's until it ends.
    pub unsafe fn at(start: *mut T, name: &'static str) -> Result<Self, Failure> {
        if !is_good(start) {
            return Err(Failure::Pointer(name));
        }
        // SAFETY: the caller says so; it is aligned as a `T`, which begins with one.
        let bytes = unsafe { start.cast::<usize>().read() };
        let least = T::LEAST;
        if bytes < least {
            let given = bytes;
            return Err(Failure::Small { name, given, least });
        }
        Ok(Self { start, bytes })
    }

    /// As `at`, for the first of an array, whose elements are all as large as it says.
    ///
    /// # Safety
    ///
    /// As for `at`, and so for each element.
    pub unsafe fn elements(start: *mut T, name: &'static str) -> Result<Self, Failure> {
        // SAFETY: the caller says so.
        let first = unsafe { Self::at(start, name) }?;
        let (given, least) = (first.bytes, size_of::<T>());
        match given.is_multiple_of(size_of::<usize>()) {
            true => Ok(first),
            // The second would not be aligned.
            false => Err(Failure::Small { name, given, least }),
        }
    }

    /// Nowhere: nothing is put there.
    pub fn none() -> Self {
        Self {
            start: std::ptr::null_mut(),
            bytes: 0,
        }
    }

    /// What was put to element `at`; what there was no room for is zero.
    pub fn get_at(&self, at: usize) -> T {
        let mut value = std::mem::MaybeUninit::<T>::zeroed();
        let len = self.bytes.min(size_of::<T>());
        // SAFETY: as in `put_at`, which wrote it. All bytes zero are a value, and so are
        // whole fields of one with zeros behind them.
        unsafe {
            let from = self.start.cast::<u8>().add(at * self.bytes);
            value
                .as_mut_ptr()
                .cast::<u8>()
                .copy_from_nonoverlapping(from, len);
            value.assume_init()
        }
    }

    /// Writes as much of `value` as there is room for, and how much that is.
    pub fn put(&self, value: T) {
        self.put_at(0, value);
    }

    /// As `put`, to element `at` of the array that begins here.
    pub fn put_at(&self, at: usize, mut value: T) {
        let words = size_of::<usize>() - 1;
        let written = self.bytes.min(size_of::<T>()) & !words;
        *value.size() = written;
        let from = std::ptr::from_ref(&value).cast::<u8>();
        // SAFETY: `at` says that so many bytes may be written, of an array as many times as
        // it has elements, which those who call this see to; the two do not overlap.
        unsafe {
            let to = self.start.cast::<u8>().add(at * self.bytes);
            to.copy_from_nonoverlapping(from, written);
        }
    }
}
