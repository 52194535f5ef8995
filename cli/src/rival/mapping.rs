//! One mapping cut into buffers, for the simple pools and the baselines.
//!
//! Owns the memory and hands out the buffers' starts; treats it as the pool treats its own where no huge pages are
//! reserved (aligned, advised to transparent huge pages, populated before the clock starts), so that a difference
//! in time is the pool's doing and not the pages'. The `shared` and `preset` rivals use it.

use std::io;
use std::ptr::{self, NonNull};

use super::Shape;
use crate::units::{self, MIB};

/// Buffers side by side in one private mapping.
pub struct Mapping {
    shape: Shape,
    /// The whole mapping, with the slack for alignment.
    start: NonNull<u8>,
    length: usize,
    /// The first buffer.
    first: NonNull<u8>,
}

// SAFETY: the mapping is plain memory; `Mapping` itself only computes addresses in it.
unsafe impl Send for Mapping {}
// SAFETY: as above; who may touch which buffer is for the rivals to keep.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps and populates it. The error gives the bytes asked for and the system's reason.
    pub fn new(shape: Shape) -> Result<Mapping, String> {
        let alignment = shape.alignment.max(2 * MIB);
        let length = shape
            .stride()
            .checked_mul(shape.buffers)
            .and_then(|bytes| bytes.checked_add(alignment))
            .ok_or_else(|| format!("{} buffers overflow an address", shape.buffers))?;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory that is in use.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            return Err(format!("no mapping of {}: {error}", units::bytes(length)));
        }
        let Some(start) = NonNull::new(start.cast::<u8>()) else {
            return Err("the kernel mapped address 0".to_owned());
        };
        let lead = start.as_ptr().addr().next_multiple_of(alignment) - start.as_ptr().addr();
        // SAFETY: `lead` is below `alignment`, and the mapping is that much longer than the buffers.
        let first = unsafe { start.add(lead) };
        let mapping = Mapping {
            shape,
            start,
            length,
            first,
        };
        mapping.populate();
        Ok(mapping)
    }

    /// How the buffers are cut.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The start of buffer `index`.
    #[inline(always)]
    pub fn start_of(&self, index: usize) -> NonNull<u8> {
        assert!(index < self.shape.buffers);
        // SAFETY: the mapping holds `buffers` strides from `first` on, and `index` is below that.
        unsafe { self.first.add(index * self.shape.stride()) }
    }

    /// Asks for huge pages and faults all of it in. Both are wishes: without them the pages come on first touch.
    fn populate(&self) {
        let start = self.first.as_ptr().cast();
        let length = self.shape.stride() * self.shape.buffers;
        // SAFETY: the range lies inside our own mapping, and both advices keep its content.
        unsafe {
            libc::madvise(start, length, libc::MADV_HUGEPAGE);
            libc::madvise(start, length, libc::MADV_POPULATE_WRITE);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the whole of our own mapping; the rivals that used it hold it by `Arc` and are gone.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.length);
        }
    }
}
