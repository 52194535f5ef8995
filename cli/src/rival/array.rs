//! A plain array of buffers.
//!
//! Owns the baseline `array` of the pattern `engine`: a flag for each buffer of a mapping, and the first free one is
//! taken. It is what an engine without a pool could do that has all its buffers beforehand and never runs out of them.
//! Uses [`Shared`], which puts a mapping behind a list; the arenas make it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Mapping;
use super::shared::{FreeList, Shared};
use super::waiting::Line;

/// Which buffers are taken.
pub struct Flags(Box<[AtomicBool]>);

/// The rival `array`.
pub fn array(mapping: Arc<Mapping>) -> Shared<Flags> {
    let taken = || AtomicBool::new(true);
    let flags = (0..mapping.shape().buffers).map(|_| taken()).collect();
    Shared::filled(mapping, Flags(flags))
}

impl FreeList for Flags {
    #[inline]
    fn pop(&self) -> Option<u32> {
        // Relaxed to look. Acquire pairs with the Release of the push, so that what the last owner did to the buffer
        // is over.
        let is_mine = |flag: &AtomicBool| {
            !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::Acquire)
        };
        let index = self.0.iter().position(is_mine)?;
        u32::try_from(index).ok()
    }

    #[inline]
    fn push(&self, index: u32) -> bool {
        let flag = self.0.get(index as usize);
        flag.is_some_and(|flag| flag.swap(false, Ordering::Release))
    }
}

impl Line for Flags {
    /// Some flag is free at any moment, if it is used as it is meant; who looks at all in turn may miss it.
    #[inline]
    fn pop_within(&self, limit: Duration) -> Option<u32> {
        if let Some(index) = self.pop() {
            return Some(index);
        }
        let asked = Instant::now();
        while asked.elapsed() < limit {
            thread::yield_now();
            if let Some(index) = self.pop() {
                return Some(index);
            }
        }
        None
    }
}
