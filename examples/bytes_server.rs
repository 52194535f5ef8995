//! A server that sends the same blocks to several clients: each block is read once into a
//! buffer of the pool, and goes to all of them without a copy.
//!
//! ```sh
//! cargo run --release --features bytes --example bytes_server
//! ```

use bytes::Bytes;
use hugepool::Pool;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

const SIZE: usize = 64 << 10;
const BUFFERS: usize = 8;
const BLOCKS: usize = 200;
const CLIENTS: usize = 3;

/// Sends what comes to one client.
fn to_client(mut connection: TcpStream) -> Sender<Bytes> {
    let (sender, blocks) = channel::<Bytes>();
    thread::spawn(move || {
        for block in blocks {
            if connection.write_all(&block).is_err() {
                break; // it has gone; what is queued for it goes home
            }
        } // the last client's drop sends the buffer home
    });
    sender
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().reserve(SIZE, 4096, BUFFERS).build()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            thread::spawn(move || -> std::io::Result<u64> {
                let (mut sum, mut block) = (0, vec![0; SIZE]);
                let mut connection = TcpStream::connect(address)?;
                for _ in 0..BLOCKS {
                    connection.read_exact(&mut block)?;
                    sum += block.iter().copied().map(u64::from).sum::<u64>();
                }
                Ok(sum)
            })
        })
        .collect();
    let mut senders = Vec::new();
    for _ in 0..CLIENTS {
        senders.push(to_client(listener.accept()?.0));
    }
    for block in 0..BLOCKS {
        // Waits while the slowest client has all of them.
        let mut buffer = pool.allocate_timeout(SIZE, 4096, Duration::MAX)?;
        buffer.fill(block as u8); // reads it from somewhere
        let block = Bytes::from(buffer);
        for sender in &senders {
            let _ = sender.send(block.clone()); // counts; copies nothing
        }
    }
    drop(senders);
    for client in clients {
        let sum = client.join().expect("a client does not panic")?;
        println!("a client has added up {BLOCKS} blocks of {SIZE} bytes: {sum}");
    }
    Ok(())
}
