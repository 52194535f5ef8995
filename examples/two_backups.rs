//! Two backups over one pool of 64 buffers, one of which has a slow writer: what becomes
//! of the other, with and without streams.
//!
//! ```sh
//! cargo run --release --example two_backups
//! ```
//!
//! A backup is four readers, which fill buffers, and one writer, which takes a checksum of
//! each and gives it back. The slow one's writer sleeps 10 ms a block besides. Each row is
//! the median of five rounds; the rows take turns.

use hugepool::{AllocError, Buffer, Pool, Stream};
use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

const SIZE: usize = 64 << 10;
const ALIGNMENT: usize = 4096;
const BUFFERS: usize = 64;
const READERS: usize = 4;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(400);
const SLOW: Duration = Duration::from_millis(10);

/// Where a backup takes its buffers from.
enum Source<'a> {
    Pool(&'a Pool),
    Stream(Stream),
}

impl Source<'_> {
    fn take(&self) -> Result<Buffer, AllocError> {
        // Not for ever, so that the round ends.
        let limit = Duration::from_millis(50);
        match self {
            Self::Pool(pool) => pool.allocate_timeout(SIZE, ALIGNMENT, limit),
            Self::Stream(stream) => stream.allocate_timeout(SIZE, ALIGNMENT, limit),
        }
    }
}

/// Runs a backup until `stop`; gives how many blocks it wrote.
fn backup(source: &Source<'_>, delay: Option<Duration>, stop: &AtomicBool) -> u64 {
    let written = AtomicU64::new(0);
    thread::scope(|scope| {
        let (sender, blocks) = channel::<Buffer>();
        for reader in 0..READERS {
            let sender = sender.clone();
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut buffer) = source.take() else {
                        continue;
                    };
                    buffer.fill(reader as u8);
                    if sender.send(buffer).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let written = &written;
        scope.spawn(move || {
            for block in blocks {
                if stop.load(Ordering::Relaxed) {
                    continue;
                }
                black_box(
                    block
                        .iter()
                        .fold(0_u8, |sum, &byte| sum.rotate_left(1) ^ byte),
                );
                delay.into_iter().for_each(thread::sleep);
                written.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    written.into_inner()
}

/// Blocks that the fast backup writes a second, beside the slow one if there is `slow`.
fn rate(fast: &Source<'_>, slow: Option<&Source<'_>>) -> f64 {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        if let Some(slow) = slow {
            scope.spawn(move || backup(slow, Some(SLOW), stop));
            // It has taken what it can.
            thread::sleep(ROUND / 4);
        }
        let start = Instant::now();
        let fast = scope.spawn(move || backup(fast, None, stop));
        thread::sleep(ROUND);
        stop.store(true, Ordering::Relaxed);
        let seconds = start.elapsed().as_secs_f64();
        fast.join().expect("a backup does not panic") as f64 / seconds
    })
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let build = || Pool::builder().reserve(SIZE, ALIGNMENT, BUFFERS).build();
    let (plain, shared) = (build()?, build()?);
    // Half for each, and no more: the slow one cannot take the fast one's.
    let half = |name| {
        let stream = shared.stream(name);
        let stream = stream.minimum(SIZE, ALIGNMENT, BUFFERS / 2);
        stream.maximum(SIZE, ALIGNMENT, BUFFERS / 2).build()
    };
    let (fast, slow) = (Source::Stream(half("fast")?), Source::Stream(half("slow")?));
    let pool = Source::Pool(&plain);
    let mut rates = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        rates[0].push(rate(&pool, None));
        rates[1].push(rate(&pool, Some(&pool)));
        rates[2].push(rate(&fast, None));
        rates[3].push(rate(&fast, Some(&slow)));
    }
    let rates = rates.map(median);
    println!("the fast backup, blocks of 64 KiB a second, and of what it has alone on the pool:");
    let rows = [
        "alone",
        "beside the slow one, both on the pool",
        "alone, in a stream of 32 of the 64 buffers",
        "beside the slow one, each in a stream of 32",
    ];
    for (row, rate) in rows.iter().zip(rates) {
        println!("{rate:>10.0}  {:>6.3}  {row}", rate / rates[0]);
    }
    Ok(())
}
