//! A buffer that is made for each block: by `malloc`, or by `mmap`.
//!
//! Owns what was made, and frees it. `tokens` bounds how many there are at once.

use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use super::tokens::Tokens;
use super::{Buffers, Space, Stopped};
use crate::engine::format::UNIT;
use crate::engine::format::block::HEADER;

/// How memory is had and given back.
pub trait Maker: Send + Sync + 'static {
    const NAME: &'static str;

    /// `bytes` at a multiple of 4096; `None`: there is no memory.
    fn make(bytes: usize) -> Option<NonNull<u8>>;

    /// Gives back what [`make`](Self::make) gave for as many bytes.
    ///
    /// # Safety
    ///
    /// It came from there, and nobody uses it any more.
    unsafe fn free(start: NonNull<u8>, bytes: usize);
}

/// `posix_memalign` and `free`.
pub struct ByMalloc;
/// `mmap` and `munmap`.
pub struct ByMmap;

impl Maker for ByMalloc {
    const NAME: &'static str = "malloc";

    fn make(bytes: usize) -> Option<NonNull<u8>> {
        let mut start = std::ptr::null_mut();
        // SAFETY: `start` is ours to write; 4096 is a power of two and a multiple of a pointer's size.
        let error = unsafe { libc::posix_memalign(&raw mut start, UNIT, bytes) };
        (error == 0).then(|| NonNull::new(start.cast())).flatten()
    }

    unsafe fn free(start: NonNull<u8>, _bytes: usize) {
        // SAFETY: it came from `posix_memalign`, says the caller, and is not used any more.
        unsafe { libc::free(start.as_ptr().cast()) }
    }
}

impl Maker for ByMmap {
    const NAME: &'static str = "mmap";

    fn make(bytes: usize) -> Option<NonNull<u8>> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, at an address that the kernel chooses, touches no other.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, kind, -1, 0) };
        (start != libc::MAP_FAILED)
            .then(|| NonNull::new(start.cast()))
            .flatten()
    }

    unsafe fn free(start: NonNull<u8>, bytes: usize) {
        // SAFETY: it is a whole mapping of `bytes`, says the caller, and is not used any more.
        unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
    }
}

pub type Malloc = Fresh<ByMalloc>;
pub type Mmap = Fresh<ByMmap>;

pub struct Fresh<M> {
    tokens: Arc<Tokens<()>>,
    transfer: usize,
    maker: std::marker::PhantomData<M>,
}

impl<M> Fresh<M> {
    pub fn new(transfer: usize, count: usize) -> Fresh<M> {
        Fresh {
            tokens: Arc::new(Tokens::new(vec![(); count].into_iter())),
            transfer,
            maker: std::marker::PhantomData,
        }
    }
}

impl<M: Maker> Buffers for Fresh<M> {
    type Space = FreshSpace<M>;

    fn take(&self) -> Result<FreshSpace<M>, Stopped> {
        self.tokens.take()?;
        let Some(whole) = Whole::new(HEADER + self.transfer) else {
            // As every allocator of the standard library does.
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<u8>());
        };
        Ok(FreshSpace {
            whole,
            tokens: Arc::clone(&self.tokens),
        })
    }

    fn abort(&self) {
        self.tokens.abort();
    }

    fn high_water(&self) -> u64 {
        self.tokens.most()
    }

    fn pages(&self) -> String {
        format!("{} for each block", M::NAME)
    }
}

/// One that counts until it is dropped.
pub struct FreshSpace<M: Maker> {
    whole: Whole<M>,
    tokens: Arc<Tokens<()>>,
}

impl<M: Maker> Drop for FreshSpace<M> {
    fn drop(&mut self) {
        // The memory goes a moment later: one more buffer than allowed may be there for that long.
        self.tokens.give(());
    }
}

/// Header and payload in one piece of memory.
pub struct Whole<M: Maker> {
    start: NonNull<u8>,
    bytes: usize,
    maker: std::marker::PhantomData<M>,
}

// SAFETY: it owns its memory, as a `Box<[u8]>` does.
unsafe impl<M: Maker> Send for Whole<M> {}

impl<M: Maker> Whole<M> {
    pub fn new(bytes: usize) -> Option<Whole<M>> {
        let start = M::make(bytes)?;
        Some(Whole {
            start,
            bytes,
            maker: std::marker::PhantomData,
        })
    }
}

impl<M: Maker> Drop for Whole<M> {
    fn drop(&mut self) {
        // SAFETY: `make` gave it, for as many bytes, and this is its last use.
        unsafe { M::free(self.start, self.bytes) }
    }
}

impl<M: Maker> Space for Whole<M> {
    fn whole(&self) -> &[u8] {
        // SAFETY: `make` gave that many bytes, which live as long as this. C code made them, and no byte is looked at
        // before something was read or written there.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    fn whole_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl<M: Maker> Space for FreshSpace<M> {
    fn whole(&self) -> &[u8] {
        self.whole.whole()
    }

    fn whole_mut(&mut self) -> &mut [u8] {
        self.whole.whole_mut()
    }
}
