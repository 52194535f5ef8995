//! A published Rust buffer pool, store-io-buf.
//!
//! Owns the rival `store-io-buf`; uses that crate's public face. The arenas make it.

use store_io_buf::{BufPool, ClassSpec, IoBuf, PoolConfig};

use super::{Hand, Rival, Seat, Shape};

/// Its pool with one class. It knows powers of two only, so the class may be larger than what is asked for.
pub struct Store {
    pool: BufPool,
    shape: Shape,
}

impl Store {
    pub fn new(shape: Shape) -> Result<Store, String> {
        let count = u32::try_from(shape.buffers)
            .map_err(|_| format!("{} buffers are more than it can count", shape.buffers))?;
        let size = shape
            .size
            .checked_next_power_of_two()
            .ok_or_else(|| format!("{} has no next power of two", shape.size))?
            .max(shape.alignment);
        let pool = BufPool::new(&PoolConfig {
            align: shape.alignment,
            classes: vec![ClassSpec { size, count }],
            sensitive: false,
        })
        .map_err(|error| error.to_string())?;
        touch(&pool, shape);
        Ok(Store { pool, shape })
    }
}

/// Writes to every page once, so that no timed loop meets a first touch.
fn touch(pool: &BufPool, shape: Shape) {
    let mut held = Vec::with_capacity(shape.buffers);
    while let Ok(mut buffer) = pool.take(shape.size) {
        buffer.as_mut_slice().fill(0);
        held.push(buffer);
    }
}

impl Rival for Store {
    type Hand = StoreHand;

    fn hand(&self, _: Seat) -> StoreHand {
        StoreHand {
            pool: self.pool.clone(),
            size: self.shape.size,
        }
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.shape.buffers)
    }
}

pub struct StoreHand {
    pool: BufPool,
    size: usize,
}

impl Hand for StoreHand {
    type Held = IoBuf;

    #[inline(always)]
    fn take(&mut self) -> Option<IoBuf> {
        self.pool.take(self.size).ok()
    }

    #[inline(always)]
    fn give(&mut self, held: IoBuf) -> bool {
        drop(held);
        true
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut IoBuf) -> &'h mut [u8] {
        held.as_mut_slice()
    }
}
