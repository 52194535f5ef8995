//! The calls of the data path, each in a function of its own, so that its
//! machine code can be read: `docs/hot-path.sh` disassembles this program.
//!
//! ```sh
//! cargo run --release --example hot_path
//! ```

use hugepool::{AllocError, Buffer, Class, FreeError, Pool};
use std::ptr::NonNull;

/// Takes a buffer by size and alignment.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn allocate_by_size(pool: &Pool, size: usize, alignment: usize) -> Result<Buffer, AllocError> {
    pool.allocate(size, alignment)
}

/// Takes a buffer of a class that was resolved before.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn allocate_by_class(class: &Class) -> Result<Buffer, AllocError> {
    class.allocate()
}

/// Gives a buffer back.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn drop_buffer(buffer: Buffer) {
    drop(buffer);
}

/// Takes a buffer by size and alignment, as a raw pointer.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn allocate_raw(pool: &Pool, size: usize, alignment: usize) -> Result<NonNull<u8>, AllocError> {
    pool.allocate_raw(size, alignment)
}

/// Gives a buffer back that was taken as a raw pointer.
///
/// # Safety
///
/// As [`Pool::free_raw`].
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe fn free_raw(pool: &Pool, start: NonNull<u8>, size: usize) -> Result<(), FreeError> {
    // SAFETY: the caller says so.
    unsafe { pool.free_raw(start.as_ptr(), size) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder()
        .reserve(64 << 10, 4096, 64)
        .prefault(false)
        .build()?;
    let class = pool.class(64 << 10, 4096)?;
    for _ in 0..1000 {
        let first = allocate_by_size(&pool, 64 << 10, 4096)?;
        let second = allocate_by_class(&class)?;
        assert_ne!(first.as_ptr(), second.as_ptr());
        drop_buffer(first);
        drop_buffer(second);
        let third = allocate_raw(&pool, 64 << 10, 4096)?;
        // SAFETY: allocated just now with this size, and freed once.
        unsafe { free_raw(&pool, third, 64 << 10)? };
    }
    assert_eq!(pool.available(64 << 10, 4096), 64);
    let stats = pool.stats();
    println!(
        "3000 buffers taken and given back: {} caches, {} refills, {} flushes",
        stats.cache, stats.classes[0].refills, stats.classes[0].flushes
    );
    Ok(())
}
