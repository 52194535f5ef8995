//! What the kernel says that direct I/O needs of a file.
//!
//! Owns: the `statx` call for it. Uses: libc. Used by: `direct`.
//!
//! Source: statx(2) under STATX_DIOALIGN (Linux 6.1) and STATX_DIO_READ_ALIGN (6.14), and
//! `struct statx` in the kernel's `linux/stat.h`. The C library need know neither.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes, of which addresses, offsets and lengths must be multiples. 0: there is no direct
/// I/O to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignments {
    /// Of the memory.
    pub memory: u32,
    /// Of offset and length in the file.
    pub offset: u32,
    /// The same of reads, where the kernel tells.
    pub read_offset: Option<u32>,
}

const DIOALIGN: u32 = 0x2000;
const DIO_READ_ALIGN: u32 = 0x2_0000;

/// `struct statx`, in words.
#[repr(C, align(8))]
struct Statx([u32; 64]);

/// Which of its words are what.
const MASK: usize = 0;
const MEMORY: usize = 0x98 / 4;
const OFFSET: usize = 0x9c / 4;
const READ_OFFSET: usize = 0xb4 / 4;

/// What direct I/O to the file needs; `None` if the kernel, or the file system, does not say.
pub fn alignments(file: BorrowedFd<'_>) -> io::Result<Option<Alignments>> {
    let mut said = Statx([0; 64]);
    // SAFETY: the path is an empty string, and `said` is writable and as large as the
    // structure that the call fills in.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_statx,
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            DIOALIGN | DIO_READ_ALIGN,
            &raw mut said,
        )
    };
    if outcome == 0 {
        return Ok(read(&said));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // The kernel does not know the call, or a filter of system calls does not: some say
        // `EPERM` then. The kernel does not, of a file that is open.
        Some(libc::ENOSYS | libc::EPERM) => Ok(None),
        _ => Err(error),
    }
}

fn read(Statx(words): &Statx) -> Option<Alignments> {
    let says = |what| words[MASK] & what != 0;
    says(DIOALIGN).then(|| Alignments {
        memory: words[MEMORY],
        offset: words[OFFSET],
        read_offset: (says(DIO_READ_ALIGN) && words[READ_OFFSET] != 0)
            .then_some(words[READ_OFFSET]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_say_it_said_is_not_read() {
        let mut said = Statx([7; 64]);
        said.0[MASK] = 0;
        assert_eq!(read(&said), None);
        said.0[MASK] = DIO_READ_ALIGN;
        assert_eq!(read(&said), None);
        said.0[MASK] = DIOALIGN;
        let told = read(&said).unwrap();
        assert_eq!((told.memory, told.offset, told.read_offset), (7, 7, None));
        said.0[MASK] |= DIO_READ_ALIGN;
        assert_eq!(read(&said).unwrap().read_offset, Some(7));
    }

    #[test]
    fn the_words_are_where_the_kernel_puts_them() {
        use std::mem::offset_of;
        assert_eq!(size_of::<Statx>(), size_of::<libc::statx>());
        for (word, offset) in [
            (MASK, offset_of!(libc::statx, stx_mask)),
            (MEMORY, offset_of!(libc::statx, stx_dio_mem_align)),
            (OFFSET, offset_of!(libc::statx, stx_dio_offset_align)),
            (
                READ_OFFSET,
                offset_of!(libc::statx, stx_dio_read_offset_align),
            ),
        ] {
            assert_eq!(word * 4, offset);
        }
    }
}
