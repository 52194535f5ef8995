//! Buffers for the runtime `compio`.
//!
//! Owns: the three traits that its reads and writes ask of a buffer. Uses: the crate
//! `compio-buf`. Used by: callers, with the feature `compio`.

use super::Buffer;
use compio_buf::{IoBuf, IoBufMut, SetLen};
use std::mem::MaybeUninit;

/// What is filled ([`len`](Buffer::len)) is written. Needs the feature `compio`.
impl IoBuf for Buffer {
    fn as_init(&self) -> &[u8] {
        self
    }
}

/// A read fills the buffer from its first byte on, up to its [`capacity`](Buffer::capacity),
/// or what was made of it by `slice` or `uninit`. It raises the length to the end of what it
/// has read and never lowers it: clear the buffer first, and afterwards the length says how
/// much was read. `reserve` finds room up to the capacity. Needs the feature `compio`.
impl IoBufMut for Buffer {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        let (start, capacity) = (self.data().as_ptr(), self.capacity());
        // SAFETY: so many bytes of the buffer, as those of `deref_mut`. They hold values;
        // whoever puts here what is none (which is for nothing but a read to overwrite) must
        // not say that it is filled: as for a `Vec`, that is the trait's own rule.
        unsafe { std::slice::from_raw_parts_mut(start.cast(), capacity) }
    }
}

impl SetLen for Buffer {
    /// # Safety
    ///
    /// The first `len` bytes hold values. (Here they always do.)
    unsafe fn set_len(&mut self, len: usize) {
        // The caller says that there are so many. (If not, nothing changes.)
        let _ = self.owned.set_len(len);
    }
}
