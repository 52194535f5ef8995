//! Two backups as tasks: each has a share of the pool that the other cannot take, and awaits
//! its buffers.
//!
//! ```sh
//! cargo run --release --features async --example tokio_streams
//! ```

use hugepool::{Pool, Stream};
use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

const SIZE: usize = 64 << 10;
const BUFFERS: usize = 16;
const BLOCKS: usize = 200;
const READERS: usize = 4;

/// Reads and writes `BLOCKS` blocks, of which the writing of each takes `pause`.
async fn backup(stream: Stream, pause: Duration) -> (String, usize) {
    let (sender, mut blocks) = unbounded_channel();
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (stream, sender) = (stream.clone(), sender.clone());
        readers.spawn(async move {
            for block in 0..BLOCKS / READERS {
                // The task sleeps, not its thread. Dropping the future ends the wait.
                let mut buffer = stream.allocate_async(SIZE, 4096).await?;
                buffer.fill(block as u8);
                let _ = sender.send(buffer);
            }
            Ok::<(), hugepool::AllocError>(())
        });
    }
    drop(sender);
    let mut bytes = 0;
    while let Some(buffer) = blocks.recv().await {
        tokio::time::sleep(pause).await;
        bytes += buffer.len();
    }
    (stream.name().to_string(), bytes)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().reserve(SIZE, 4096, BUFFERS).build()?;
    let share = |name| {
        let stream = pool.stream(name).minimum(SIZE, 4096, BUFFERS / 2);
        stream.maximum(SIZE, 4096, BUFFERS / 2).build()
    };
    let mut backups = JoinSet::new();
    backups.spawn(backup(share("quick")?, Duration::from_micros(10)));
    backups.spawn(backup(share("slow")?, Duration::from_millis(2)));
    while let Some(done) = backups.join_next().await {
        let (name, bytes) = done?;
        println!("{name}: {bytes} bytes");
    }
    Ok(())
}
