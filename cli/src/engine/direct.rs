//! Reading and writing past the kernel's cache.
//!
//! Owns the choice, and what a file system says to it: by `statx(2)` from Linux 6.1 on, or by a trial. `folder` asks.

use std::ffi::c_int;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use clap::ValueEnum;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

use super::format::UNIT;

/// Whether stripes go past the kernel's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Direct {
    /// Where the file system does it
    Auto,
    /// Or not at all
    On,
    /// Through the cache
    Off,
}

impl fmt::Display for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direct::Auto => "auto",
            Direct::On => "on",
            Direct::Off => "off",
        })
    }
}

/// Whether files made in `folder` are written directly. Where that was wanted and does not work it is an error; where
/// it was left open, a note.
pub fn for_writing(folder: &File, direct: Direct, notes: &mut Vec<String>) -> Result<bool, String> {
    if direct == Direct::Off {
        return Ok(false);
    }
    match (try_it(folder), direct) {
        (Ok(()), _) => Ok(true),
        (Err(why), Direct::On) => Err(format!("no direct I/O (--direct on): {why}")),
        (Err(why), _) => {
            notes.push(format!(
                "no direct I/O: {why}; stripes go through the cache"
            ));
            Ok(false)
        }
    }
}

fn try_it(folder: &File) -> Result<(), String> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::DIRECT;
    let made = openat(folder, TRIAL, flags, Mode::RUSR | Mode::WUSR);
    // Where it is refused, some kernels leave the file that they made.
    let _ = unlinkat(folder, TRIAL, AtFlags::empty());
    let file = made.map_err(|error| format!("the file system refuses it: {error}"))?;
    if let Some(needs) = needs(&file) {
        return if (1..=UNIT).contains(&needs) && UNIT.is_multiple_of(needs) {
            Ok(())
        } else if needs == 0 {
            Err("the file system has none".to_owned())
        } else {
            Err(format!(
                "the file system wants multiples of {needs} bytes, and blocks are at multiples of {UNIT}"
            ))
        };
    }
    let page = Page([0; UNIT]);
    match rustix::io::pwrite(&file, &page.0, 0) {
        Ok(UNIT) => Ok(()),
        Ok(count) => Err(format!("a trial wrote {count} of {UNIT} bytes")),
        Err(error) => Err(format!("a trial of {UNIT} bytes failed: {error}")),
    }
}

/// A file that is gone as soon as it was opened; left over, it is one of a backup that did not come to its end.
const TRIAL: &str = "catalogue.part";

#[repr(align(4096))]
struct Page([u8; UNIT]);

/// What offsets, lengths and addresses must be multiples of, as `statx(2)` says; 0: there is no direct I/O. `None`: the
/// kernel or the file system does not say.
fn needs(file: &OwnedFd) -> Option<usize> {
    // SAFETY: a `statx` is numbers, for which zeroes are good.
    let mut answer: libc::statx = unsafe { std::mem::zeroed() };
    let (fd, flags): (c_int, c_int) = (file.as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: the descriptor is open, the path is an empty string, and `answer` is ours to write.
    let error = unsafe {
        libc::statx(
            fd,
            c"".as_ptr(),
            flags,
            libc::STATX_DIOALIGN,
            &raw mut answer,
        )
    };
    if error != 0 || answer.stx_mask & libc::STATX_DIOALIGN == 0 {
        // An older kernel, or a file system that does not say.
        let _ = io::Error::last_os_error();
        return None;
    }
    Some(answer.stx_dio_offset_align.max(answer.stx_dio_mem_align) as usize)
}
