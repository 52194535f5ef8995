//! What direct I/O (`O_DIRECT`) needs of a file, so that a pool has buffers for it.
//!
//! Owns: [`DirectIo`]. Uses: `sys::direct`. Used by: callers.

use crate::sys::direct::{Alignments, alignments};
use std::io;
use std::os::fd::AsFd;

/// Of what addresses, offsets and lengths must be multiples for direct I/O to a file: bytes.
///
/// From Linux 6.1 on the kernel says it for the file systems and devices that tell
/// ([`is_told`](Self::is_told)). Where it does not, 4096 for all is assumed, which is enough
/// for nearly every file system and disk, but only trying tells: if the first read or write
/// fails with `EINVAL`, the file is opened without `O_DIRECT` instead.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("hugepool-direct-{}", std::process::id()));
/// use hugepool::direct::DirectIo;
///
/// let file = std::fs::File::create(&path)?;
/// # std::fs::remove_file(&path)?;
/// let Some(direct) = DirectIo::of(&file)? else {
///     println!("this file takes no direct I/O");
///     return Ok(());
/// };
/// // Buffers that hold 100 000 bytes, in whole blocks:
/// let size = direct.size(100_000).ok_or("too large")?;
/// let pool = hugepool::Pool::builder()
///     .reserve(size, direct.memory(), 4)
///     .prefault(false)
///     .build()?;
/// let class = pool.class(size, direct.memory())?;
/// let block = class.allocate()?;
/// assert_eq!(block.as_ptr().addr() % direct.memory(), 0);
/// assert_eq!(block.len() % direct.offset(), 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectIo {
    memory: usize,
    offset: usize,
    read_offset: usize,
    is_told: bool,
}

/// Used where the kernel does not say.
const ASSUMED: usize = 4096;

impl DirectIo {
    /// What direct I/O to `file` needs. The file need not be open for it. `None`: the kernel
    /// says that there is no direct I/O to it.
    ///
    /// Enters the kernel (`statx(2)`), and the file system, which may ask a server.
    ///
    /// # Errors
    ///
    /// What `statx` fails with, except where it is not known, or a filter of system calls
    /// forbids it: then nothing is told.
    pub fn of(file: impl AsFd) -> io::Result<Option<Self>> {
        Ok(Self::told(alignments(file.as_fd())?))
    }

    fn told(said: Option<Alignments>) -> Option<Self> {
        let Some(said) = said else {
            return Some(Self {
                memory: ASSUMED,
                offset: ASSUMED,
                read_offset: ASSUMED,
                is_told: false,
            });
        };
        let offset = said.offset as usize;
        let direct = Self {
            memory: said.memory as usize,
            offset,
            read_offset: said.read_offset.map_or(offset, |bytes| bytes as usize),
            is_told: true,
        };
        (direct.memory != 0 && direct.offset != 0).then_some(direct)
    }

    /// Bytes of which the address of the memory must be a multiple. A power of two: the
    /// alignment to ask a pool for.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Bytes of which offset and length of a write must be multiples, and those of a read,
    /// too, if [`read_offset`](Self::read_offset) does not say less.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes of which offset and length of a read must be multiples. Some file systems that
    /// write whole blocks read less than that. The same as [`offset`](Self::offset) where the
    /// kernel does not tell (before Linux 6.14).
    #[must_use]
    pub fn read_offset(&self) -> usize {
        self.read_offset
    }

    /// Whether the kernel says so. If not, it is assumed.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.is_told
    }

    /// The least multiple of [`offset`](Self::offset) that is `bytes` or more: what a buffer
    /// for them must hold. `None` if there is no such number.
    ///
    /// The last block of a file that is written so is longer than it should be: cut the file
    /// (`set_len`) afterwards. A read of the whole block stops at the file's end.
    #[must_use]
    pub fn size(&self, bytes: usize) -> Option<usize> {
        bytes.checked_next_multiple_of(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(memory: u32, offset: u32, read_offset: Option<u32>) -> Option<DirectIo> {
        DirectIo::told(Some(Alignments {
            memory,
            offset,
            read_offset,
        }))
    }

    #[test]
    fn what_is_told_is_taken_and_what_is_not_is_assumed() {
        let direct = said(4, 512, None).unwrap();
        assert_eq!((direct.memory(), direct.offset()), (4, 512));
        assert_eq!((direct.read_offset(), direct.is_told()), (512, true));
        let reads = said(512, 65536, Some(4096)).unwrap();
        assert_eq!((reads.offset(), reads.read_offset()), (65536, 4096));
        assert_eq!(said(0, 0, None), None);
        let assumed = DirectIo::told(None).unwrap();
        assert_eq!((assumed.memory(), assumed.offset()), (4096, 4096));
        assert!(!assumed.is_told() && assumed.read_offset() == 4096);
    }

    #[test]
    fn sizes_are_rounded_up_to_whole_blocks() {
        let direct = said(512, 4096, None).unwrap();
        let sizes = [0, 1, 4096, 4097].map(|bytes| direct.size(bytes));
        assert_eq!(sizes, [Some(0), Some(4096), Some(4096), Some(8192)]);
        assert_eq!(direct.size(usize::MAX), None);
    }
}
