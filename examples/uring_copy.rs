//! Copies a file by io_uring, with fixed buffers of a pool that grows meanwhile.
//!
//! ```sh
//! cargo run --release --features io-uring --example uring_copy -- FROM TO
//! ```
//!
//! One thread has a ring. It reads a block into each buffer that is free, writes what was
//! read, and gives the buffer back. When all buffers are under way for the first time, it adds
//! as many again: the ring registers them as soon as it meets one.

use hugepool::direct::DirectIo;
use hugepool::uring::{Completion, Ring};
use hugepool::{AllocError, Pool};
use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

const BLOCK: usize = 256 << 10;
const BUFFERS: usize = 8;

/// Opens a file for direct I/O if it takes that, and without if not. Only trying tells
/// everywhere.
fn open(path: &Path, options: &mut std::fs::OpenOptions) -> io::Result<File> {
    let file = options.open(path)?;
    let fits = |direct: DirectIo| direct.memory() <= 4096 && BLOCK.is_multiple_of(direct.offset());
    // On what it takes for granted nobody should build a copy.
    let takes = DirectIo::of(&file)?.is_some_and(|direct| direct.is_told() && fits(direct));
    if !takes {
        return Ok(file);
    }
    options.custom_flags(libc::O_DIRECT).open(path).or(Ok(file))
}

/// A block that is under way: where it is in the files, and how much of it was read and written.
struct Block {
    offset: u64,
    read: usize,
    written: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (paths.next(), paths.next()) else {
        return Err("usage: uring_copy FROM TO".into());
    };
    let source = Arc::new(open(from.as_ref(), File::options().read(true))?);
    let mut options = File::options();
    let target = options.write(true).create(true).truncate(false);
    let target = Arc::new(open(to.as_ref(), target)?);
    let len = source.metadata()?.len();

    let pool = Pool::builder().reserve(BLOCK, 4096, BUFFERS).build()?;
    let class = pool.class(BLOCK, 4096)?;
    let mut ring = Ring::new(&pool, 2 * BUFFERS as u32)?;
    println!("at first: {}", ring.report());

    // By the name of its operation.
    let mut blocks: Vec<Option<Block>> = (0..2 * BUFFERS).map(|_| None).collect();
    let (mut next, mut has_grown) = (0, false);
    loop {
        // A read for every buffer that is free.
        while next < len
            && let Some(token) = blocks.iter().position(Option::is_none)
        {
            let buffer = match class.allocate() {
                Ok(buffer) => buffer,
                Err(AllocError::Exhausted { .. }) if !has_grown => {
                    pool.request(BLOCK, 4096, BUFFERS)?;
                    has_grown = true;
                    continue;
                }
                Err(error) if error.is_exhausted() => break,
                Err(error) => return Err(error.into()),
            };
            ring.read(Arc::clone(&source), buffer, .., next, token as u64)?;
            blocks[token] = Some(Block {
                offset: next,
                read: 0,
                written: 0,
            });
            next += BLOCK as u64;
        }
        let Some(over) = ring.wait()? else {
            break;
        };
        let place = &mut blocks[over.token as usize];
        if let Some(block) = place
            && go_on(&mut ring, block, (&source, &target), over, len)?
        {
            *place = None;
        }
    }
    target.set_len(len)?;
    println!("at the end: {}", ring.report());
    Ok(())
}

/// Reads the rest of a block, or writes what is left of it; true if nothing is.
fn go_on(
    ring: &mut Ring,
    block: &mut Block,
    (source, target): (&Arc<File>, &Arc<File>),
    over: Completion,
    len: u64,
) -> Result<bool, Box<dyn Error>> {
    let bytes = over.result?;
    let wanted = (len - block.offset).min(BLOCK as u64) as usize;
    if block.read < wanted {
        block.read += bytes;
        if bytes == 0 {
            return Err("the source has become shorter".into());
        }
    } else {
        block.written += bytes;
    }
    let (file, from) = match block {
        Block { read, .. } if *read < wanted => (source, *read),
        // The last block is written whole, as direct I/O needs it, and cut off at the end.
        Block { written, .. } if *written < BLOCK => (target, *written),
        // The buffer goes home.
        _ => return Ok(true),
    };
    let (file, offset) = (Arc::clone(file), block.offset + from as u64);
    if block.read < wanted {
        ring.read(file, over.buffer, from.., offset, over.token)?;
    } else {
        ring.write(file, over.buffer, from.., offset, over.token)?;
    }
    Ok(false)
}
