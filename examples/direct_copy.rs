//! Copies a file past the kernel's cache: what direct I/O needs of a file is asked, and the
//! pool has buffers for it.
//!
//! ```sh
//! cargo run --release --example direct_copy -- FROM TO
//! ```

use hugepool::Pool;
use hugepool::direct::DirectIo;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const BLOCK: usize = 1 << 20;

/// Opens a file for direct I/O, with what that needs of it; without, where the file or its
/// file system takes none.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Option<DirectIo>)> {
    let file = options.open(path)?;
    let Some(direct) = DirectIo::of(&file)?.filter(DirectIo::is_told) else {
        return Ok((file, None));
    };
    match options.custom_flags(libc::O_DIRECT).open(path) {
        Ok(file) => Ok((file, Some(direct))),
        Err(_) => Ok((file, None)),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (paths.next(), paths.next()) else {
        return Err("usage: direct_copy FROM TO".into());
    };
    let (source, reads) = open(from.as_ref(), OpenOptions::new().read(true))?;
    let mut options = OpenOptions::new();
    let (target, writes) = open(
        to.as_ref(),
        options.write(true).create(true).truncate(false),
    )?;
    println!(
        "read directly: {}, written directly: {}",
        reads.is_some(),
        writes.is_some()
    );

    // What both need: alignments are powers of two, so the larger one fits both.
    let needs = || reads.iter().chain(&writes);
    let alignment = needs().map(DirectIo::memory).max().unwrap_or(512);
    let unit = needs().map(DirectIo::offset).max().unwrap_or(1);
    let block = BLOCK.next_multiple_of(unit);
    let pool = Pool::builder().reserve(block, alignment, 1).build()?;
    let mut buffer = pool.allocate(block, alignment)?;

    let len = source.metadata()?.len();
    let mut at = 0;
    while at < len {
        // Whole blocks, as far as the file goes: its end may be anywhere.
        buffer.set_len(block)?;
        let read = source.read_at(&mut buffer, at)?;
        if read == 0 {
            return Err("the file has become shorter".into());
        }
        if !read.is_multiple_of(unit) && at + (read as u64) < len {
            return Err("a read ended within a block".into());
        }
        // The last one is written in whole units, too; what is too much is cut off below.
        buffer.set_len(read.next_multiple_of(unit))?;
        target.write_all_at(&buffer, at)?;
        at += read as u64;
    }
    target.set_len(len)?;
    target.sync_all()?;
    println!("{len} bytes copied");
    Ok(())
}
