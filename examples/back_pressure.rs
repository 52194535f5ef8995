//! Readers, a slow writer, and a pool that is all the back-pressure they need: a reader waits
//! for a buffer when the writer has them all.
//!
//! ```sh
//! cargo run --release --example back_pressure
//! ```

use hugepool::{AllocError, Buffer, Pool};
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

const SIZE: usize = 256 << 10;
const BUFFERS: usize = 8;
const READERS: usize = 4;
const BLOCKS: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().reserve(SIZE, 4096, BUFFERS).build()?;
    let next = AtomicUsize::new(0);
    // It has no bound of its own: no more blocks are in it than there are buffers.
    let (sender, blocks) = channel::<(usize, Buffer)>();
    let written = thread::scope(|scope| {
        for _ in 0..READERS {
            let (sender, pool, next) = (sender.clone(), &pool, &next);
            scope.spawn(move || -> Result<(), AllocError> {
                loop {
                    let block = next.fetch_add(1, Ordering::Relaxed);
                    if block >= BLOCKS {
                        return Ok(());
                    }
                    // Sleeps until one comes home; `pool.abort()` would end the wait.
                    let mut buffer = pool.allocate_timeout(SIZE, 4096, Duration::MAX)?;
                    buffer.fill(block as u8); // reads it from somewhere
                    let _ = sender.send((block, buffer)); // or the writer is gone
                }
            });
        }
        drop(sender);
        let writer = scope.spawn(move || {
            let mut bytes = 0;
            for (block, buffer) in blocks {
                assert!(buffer.iter().all(|&byte| byte == block as u8));
                thread::sleep(Duration::from_micros(200)); // writes it somewhere
                bytes += buffer.len();
            } // the buffer goes home here
            bytes
        });
        writer.join().expect("the writer does not panic")
    });
    let counted = pool.counters();
    println!("{written} bytes through {BUFFERS} buffers of {SIZE}");
    println!(
        "readers waited {} times, {:?} in all, {:?} at the longest",
        counted.waits, counted.waited, counted.longest_wait
    );
    Ok(())
}
