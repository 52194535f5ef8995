//! Buffers of a hugepool.
//!
//! Owns the pool. A block's header lies in the buffer's prefix zone, right before the payload: one write stores both.

use std::time::Duration;

use hugepool::{AllocError, Buffer, Class, Pool};

use super::{Buffers, Space, Stopped};
use crate::engine::format::UNIT;
use crate::engine::format::block::HEADER;
use crate::failure::Failure;

pub struct Pooled {
    pool: Pool,
    class: Class,
}

impl Pooled {
    pub fn new(transfer: usize, count: usize) -> Result<Pooled, Failure> {
        let built = Pool::builder()
            .reserve(transfer, UNIT, count)
            .prefix_zone(HEADER)
            .build();
        let pool = built.map_err(|error| Failure::run(format!("no pool: {error}")))?;
        let class = pool.class(transfer, UNIT);
        let class = class.map_err(|error| Failure::run(format!("no pool: {error}")))?;
        Ok(Pooled { pool, class })
    }
}

impl Buffers for Pooled {
    type Space = Buffer;

    fn take(&self) -> Result<Buffer, Stopped> {
        let taken = self.class.allocate_timeout(Duration::MAX);
        // Every other refusal is of what the pool was not built for.
        taken.map_err(|error| {
            debug_assert_eq!(error, AllocError::Aborted);
            Stopped
        })
    }

    fn spare(&self) -> Option<Buffer> {
        self.class.allocate().ok()
    }

    fn pool(&self) -> Option<&Pool> {
        Some(&self.pool)
    }

    fn abort(&self) {
        self.pool.abort();
    }

    fn high_water(&self) -> u64 {
        let classes = self.pool.class_counters();
        classes.map(|class| class.high_water).sum()
    }

    fn pages(&self) -> String {
        let stats = self.pool.stats();
        let first = stats.segments.first();
        first.map_or_else(String::new, |segment| format!("{} pages", segment.pages))
    }
}

impl Space for Buffer {
    fn into_buffer(self) -> Option<Buffer> {
        Some(self)
    }

    fn from_buffer(buffer: Buffer) -> Option<Buffer> {
        Some(buffer)
    }

    fn whole(&self) -> &[u8] {
        self.with_prefix()
    }

    fn whole_mut(&mut self) -> &mut [u8] {
        self.with_prefix_mut()
    }
}
