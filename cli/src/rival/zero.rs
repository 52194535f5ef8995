//! A published Rust buffer pool, zeropool.
//!
//! Owns the rival `zeropool`; uses that crate's public face. The arenas make it.
//!
//! Its buffers are vectors of bytes, aligned as the C library aligns them. A program that wants more than that asks it for
//! the alignment more, and uses the part that is aligned; so does the rival. It is asked for buffers that it does not
//! clear.

use zeropool::{BufUninit, ZeroPool};

use super::{Hand, Rival, Seat, Shape};

/// What the C library aligns any memory to.
const PLAIN: usize = 16;

/// Its pool, with room for as many free buffers as a pool of the group has.
pub struct Zero {
    pool: &'static ZeroPool,
    shape: Shape,
    /// What it is asked for.
    size: usize,
}

impl Zero {
    /// Its buffers name it by a reference; so the pool's own tables, though not its buffers, stay as long as the process.
    pub fn new(shape: Shape) -> Result<Zero, String> {
        let slack = if shape.alignment > PLAIN {
            shape.alignment
        } else {
            0
        };
        let size = shape
            .size
            .checked_add(slack)
            .ok_or_else(|| format!("{} with room to align is too much", shape.size))?;
        let pool = ZeroPool::new()
            .min_buffer_size(0)
            .max_buffers_per_class(shape.buffers);
        let zero = Zero {
            pool: Box::leak(Box::new(pool)),
            shape,
            size,
        };
        zero.touch();
        Ok(zero)
    }

    /// Makes as many buffers as a pool of the group has, and writes to each, so that no timed loop meets a first touch.
    fn touch(&self) {
        let mut hand = self.fresh_hand();
        let mut held: Vec<BufUninit<'static>> = (0..self.shape.buffers)
            .filter_map(|_| hand.take())
            .collect();
        for buffer in &mut held {
            hand.bytes(buffer).fill(0);
        }
    }

    fn fresh_hand(&self) -> ZeroHand {
        ZeroHand {
            pool: self.pool,
            shape: self.shape,
            size: self.size,
        }
    }
}

impl Drop for Zero {
    /// Frees the buffers that no thread's cache has; those go when the thread takes from another pool.
    fn drop(&mut self) {
        self.pool.drain();
    }
}

impl Rival for Zero {
    type Hand = ZeroHand;

    fn hand(&self, _: Seat) -> ZeroHand {
        self.fresh_hand()
    }

    /// It makes another buffer where it has none.
    fn capacity(&self) -> Option<usize> {
        None
    }
}

pub struct ZeroHand {
    pool: &'static ZeroPool,
    shape: Shape,
    size: usize,
}

impl Hand for ZeroHand {
    type Held = BufUninit<'static>;

    #[inline(always)]
    fn take(&mut self) -> Option<BufUninit<'static>> {
        Some(self.pool.alloc_uninit(self.size))
    }

    #[inline(always)]
    fn give(&mut self, held: BufUninit<'static>) -> bool {
        drop(held);
        true
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut BufUninit<'static>) -> &'h mut [u8] {
        let all = held.as_uninit_mut();
        let start = all.as_ptr().addr();
        let lead = start.next_multiple_of(self.shape.alignment) - start;
        let part = &mut all[lead..lead + self.shape.size];
        // SAFETY: the bytes are this buffer's alone, which is borrowed; each is written before it is read.
        unsafe { &mut *(std::ptr::from_mut(part) as *mut [u8]) }
    }
}
