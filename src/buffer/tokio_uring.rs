//! Buffers for the runtime `tokio-uring`.
//!
//! Owns: the two traits that its reads and writes ask of a buffer. Uses: that crate. Used by:
//! callers, with the feature `tokio-uring`.

use super::Buffer;
use tokio_uring::buf::{IoBuf, IoBufMut};

/// What is filled ([`len`](Buffer::len)) is written. Needs the feature `tokio-uring`.
// SAFETY: the bytes stay where they are however the buffer is moved, until it is dropped (see
// `Buffer`), and `capacity` of them are its own, all of which hold values.
unsafe impl IoBuf for Buffer {
    fn stable_ptr(&self) -> *const u8 {
        self.data().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }
}

/// A read fills the buffer from its first byte on, up to its [`capacity`](Buffer::capacity),
/// or what was made of it by `slice`. It raises the length to the end of what it has read and
/// never lowers it: clear the buffer first, and afterwards the length says how much was read.
/// Needs the feature `tokio-uring`.
// SAFETY: as above; who has it mutably has it alone. The pointer is the same for both, made of
// the arena's base and not of a reference.
unsafe impl IoBufMut for Buffer {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.data().as_ptr()
    }

    /// # Safety
    ///
    /// The first `pos` bytes hold values. (Here they always do.)
    unsafe fn set_init(&mut self, pos: usize) {
        if pos > self.len() {
            // The caller says that there are so many. (If not, nothing changes.)
            let _ = self.set_len(pos);
        }
    }
}
