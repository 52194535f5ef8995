//! A raw buffer in hand.
//!
//! Owns the claim that a pointer is a buffer nobody else uses while the block exists; every rival that deals in
//! pointers uses it.

use std::ptr::NonNull;
use std::slice;

/// The start of a buffer that its holder alone may use.
#[derive(Debug)]
pub struct Block(NonNull<u8>);

// SAFETY: a block is the only way to its buffer (contract of `Block::new`), so it can go to another thread whole.
unsafe impl Send for Block {}

impl Block {
    /// Claims the buffer at `start`.
    ///
    /// # Safety
    ///
    /// Until the block is taken apart, every byte passed to [`bytes`](Block::bytes) as `size` must be mapped,
    /// initialised or never read, and reached through this block only.
    pub unsafe fn new(start: NonNull<u8>) -> Block {
        Block(start)
    }

    /// Ends the claim.
    pub fn into_start(self) -> NonNull<u8> {
        self.0
    }

    /// The buffer's bytes.
    ///
    /// # Safety
    ///
    /// `size` must not be more than what [`new`](Block::new) was promised.
    pub unsafe fn bytes(&mut self, size: usize) -> &mut [u8] {
        // SAFETY: `new` was promised that these bytes are ours alone, and the slice borrows the block uniquely.
        unsafe { slice::from_raw_parts_mut(self.0.as_ptr(), size) }
    }
}
