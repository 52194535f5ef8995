//! The pool itself, in the ways a program can call it.
//!
//! Owns the building of the measured pool and its three hands; uses the library's public face alone. The arenas
//! make them.

use std::time::{Duration, Instant};

use ::hugepool::{Buffer, Class, Pool};

use super::block::Block;
use super::pages::Kinds;
use super::{Awaits, Hand, Rival, Seat, Shape, SystemCalls, Waits};
use crate::units;

/// Which caches a pool is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caches {
    /// Restartable ones, where the machine has these.
    Usual,
    Portable,
}

/// Builds a pool that a group measures: a class for each shape, prefaulted, on these kinds of pages or on what the machine grants.
pub fn build(shapes: &[Shape], caches: Caches, pages: Option<&Kinds>) -> Result<Pool, String> {
    let each = shapes.iter().fold(Pool::builder(), |builder, shape| {
        builder.reserve(shape.size, shape.alignment, shape.buffers)
    });
    let builder = each
        .portable_caches(caches == Caches::Portable)
        .prefault(true);
    let builder = match pages {
        Some(pages) => pages.rule(builder),
        None => builder,
    };
    builder.build().map_err(|error| {
        let each =
            |shape: &Shape| format!("{} buffers of {}", shape.buffers, units::bytes(shape.size));
        let all: Vec<String> = shapes.iter().map(each).collect();
        format!("no pool of {}: {error}", all.join(", "))
    })
}

/// Takes and gives back until the caches are in use again. A pool that ran dry leaves them out for 50 ms; one of few
/// buffers may for longer.
fn settle(pool: &Pool, size: usize, alignment: usize) {
    let latest = Instant::now() + Duration::from_millis(200);
    let cached = || pool.class_counters().any(|class| class.cached > 0);
    while !cached() && Instant::now() < latest {
        for _ in 0..64 {
            drop(pool.allocate(size, alignment));
        }
    }
}

/// `Pool::allocate` by size and alignment; the buffer gives itself back when dropped.
pub struct BySize {
    pool: Pool,
    shape: Shape,
}

impl BySize {
    pub fn new(pool: Pool, shape: Shape) -> BySize {
        BySize { pool, shape }
    }
}

impl Rival for BySize {
    type Hand = BySizeHand;

    fn hand(&self, _: Seat) -> BySizeHand {
        BySizeHand {
            pool: self.pool.clone(),
            shape: self.shape,
        }
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.shape.buffers)
    }

    fn settle(&self) {
        settle(&self.pool, self.shape.size, self.shape.alignment);
    }
}

pub struct BySizeHand {
    pool: Pool,
    shape: Shape,
}

impl Hand for BySizeHand {
    type Held = Buffer;

    #[inline(always)]
    fn take(&mut self) -> Option<Buffer> {
        self.pool
            .allocate(self.shape.size, self.shape.alignment)
            .ok()
    }

    #[inline(always)]
    fn give(&mut self, held: Buffer) -> bool {
        drop(held);
        true
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Buffer) -> &'h mut [u8] {
        held
    }
}

/// `Class::allocate` through a class resolved once; `Class::allocate_timeout` and `Class::allocate_async` for those
/// who wait.
pub struct ByClass {
    class: Class,
    buffers: usize,
}

impl ByClass {
    pub fn new(pool: &Pool, shape: Shape) -> Result<ByClass, String> {
        let class = pool
            .class(shape.size, shape.alignment)
            .map_err(|error| error.to_string())?;
        Ok(ByClass {
            class,
            buffers: shape.buffers,
        })
    }
}

impl Rival for ByClass {
    type Hand = ByClassHand;

    fn hand(&self, _: Seat) -> ByClassHand {
        ByClassHand(self.class.clone())
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.buffers)
    }

    fn settle(&self) {
        settle(
            &self.class.pool(),
            self.class.size(),
            self.class.alignment(),
        );
    }

    fn system_calls(&self) -> Option<SystemCalls> {
        let counters = self.class.pool().counters();
        Some(SystemCalls {
            sleeps: counters.sleeps,
            wakes: counters.wakes,
            barriers: counters.barriers,
        })
    }
}

pub struct ByClassHand(Class);

impl Hand for ByClassHand {
    type Held = Buffer;

    #[inline(always)]
    fn take(&mut self) -> Option<Buffer> {
        self.0.allocate().ok()
    }

    #[inline(always)]
    fn give(&mut self, held: Buffer) -> bool {
        drop(held);
        true
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Buffer) -> &'h mut [u8] {
        held
    }
}

impl Waits for ByClassHand {
    #[inline]
    fn wait(&mut self, limit: Duration) -> Option<Buffer> {
        self.0.allocate_timeout(limit).ok()
    }
}

impl Awaits for ByClassHand {
    #[inline]
    async fn wait(&mut self) -> Option<Buffer> {
        self.0.allocate_async().await.ok()
    }
}

/// `Pool::allocate_raw` and `Pool::free_raw`, which checks the pointer.
pub struct Raw {
    pool: Pool,
    shape: Shape,
}

impl Raw {
    pub fn new(pool: Pool, shape: Shape) -> Raw {
        Raw { pool, shape }
    }
}

impl Rival for Raw {
    type Hand = RawHand;

    fn hand(&self, _: Seat) -> RawHand {
        RawHand {
            pool: self.pool.clone(),
            shape: self.shape,
        }
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.shape.buffers)
    }

    fn settle(&self) {
        settle(&self.pool, self.shape.size, self.shape.alignment);
    }
}

pub struct RawHand {
    pool: Pool,
    shape: Shape,
}

impl Hand for RawHand {
    type Held = Block;

    #[inline(always)]
    fn take(&mut self) -> Option<Block> {
        let start = self
            .pool
            .allocate_raw(self.shape.size, self.shape.alignment)
            .ok()?;
        // SAFETY: the pool hands the buffer, mapped for `size` bytes, to this caller alone until it is freed, and
        // `give` frees it only after the block is gone.
        Some(unsafe { Block::new(start) })
    }

    #[inline(always)]
    fn give(&mut self, held: Block) -> bool {
        let start = held.into_start().as_ptr();
        // SAFETY: the block was the only user of the buffer and has just ended.
        unsafe { self.pool.free_raw(start, self.shape.size) }.is_ok()
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Block) -> &'h mut [u8] {
        // SAFETY: `take` made the block for `size` bytes.
        unsafe { held.bytes(self.shape.size) }
    }
}
