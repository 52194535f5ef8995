//! A pool, a buffer, and what the pool says of itself.
//!
//! ```sh
//! cargo run --release --example quick_start
//! ```

use hugepool::Pool;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    // All memory is mapped and faulted in here.
    let pool = Pool::builder()
        .reserve(64 << 10, 4096, 64) // 64 buffers of 64 KiB at 4096
        .reserve(1 << 20, 4096, 8) // 8 of 1 MiB
        .build()?;

    // By size and alignment: the smallest class that fits.
    let mut buffer = pool.allocate(50_000, 4096)?;
    buffer[..5].copy_from_slice(b"block");
    println!(
        "{} of {} bytes, at {:p}",
        buffer.len(),
        buffer.capacity(),
        buffer.as_ptr()
    );

    // Resolved once: the fastest way.
    let class = pool.class(1 << 20, 4096)?;
    let held: Vec<_> = std::iter::from_fn(|| class.allocate().ok()).collect();
    match class.allocate() {
        Ok(_) => unreachable!("all of them are held"),
        Err(error) => println!("{} are held, and then: {error}", held.len()),
    }

    // Dropped on any thread, they are home.
    std::thread::spawn(move || drop((buffer, held)))
        .join()
        .expect("dropping does not panic");
    println!("free: {}", pool.available(1 << 20, 4096));

    for segment in pool.stats().segments {
        println!("{} bytes on {} pages", segment.bytes, segment.pages);
    }
    Ok(())
}
