//! A server that fills buffers, and a client process that reads them where they are.
//!
//! ```sh
//! cargo run --release --example two_processes
//! ```
//!
//! What goes between them is a number a buffer, here over the client's standard input and
//! output.

use hugepool::Pool;
use hugepool::share::{Access, Client, Handle, Peers};
use std::error::Error;
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::process::{Command, Stdio};

const SIZE: usize = 64 << 10;
const BLOCKS: u32 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        None => serve(),
        Some(name) => be_client(&name),
    }
}

fn serve() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder()
        .reserve(SIZE, 4096, 8)
        .shared(Access::Read) // clients may read
        .build()?;
    let name = format!("two_processes {}", std::process::id());
    // Of the same user. The name ends with this.
    let _publication = pool.publish(&name, Peers::default())?;
    let mut client = Command::new(std::env::current_exe()?)
        .arg(&name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut requests = client.stdin.take().ok_or("no pipe")?;
    let mut answers = BufReader::new(client.stdout.take().ok_or("no pipe")?).lines();
    let mut sum = 0;
    for block in 0..BLOCKS {
        let mut buffer = pool.allocate(SIZE, 4096)?;
        buffer.fill(block as u8);
        // As a raw pointer it has a handle.
        let start = pool.into_raw(buffer)?;
        writeln!(requests, "{}", pool.handle(start.as_ptr())?.raw())?;
        let answer = answers.next().ok_or("the client has gone")??;
        sum += answer.parse::<u64>()?;
        // SAFETY: made raw above with this size, and freed once; the client has answered.
        unsafe { pool.free_raw(start.as_ptr(), SIZE)? };
    }
    drop(requests);
    client.wait()?;
    let expected: u64 = (0..BLOCKS)
        .map(|block| u64::from(block) * SIZE as u64)
        .sum();
    assert_eq!(sum, expected);
    println!("the client has added up {BLOCKS} blocks of {SIZE} bytes: {sum}");
    Ok(())
}

fn be_client(name: &str) -> Result<(), Box<dyn Error>> {
    let client = Client::open(name, &Peers::default())?;
    for line in stdin().lock().lines() {
        // A number that is no handle of a buffer that is out is refused.
        let view = client.map(Handle::from_raw(line?.trim().parse()?))?;
        // SAFETY: mapped as long as `client` lives, and the server writes it no more before
        // it has its answer.
        let bytes = unsafe { std::slice::from_raw_parts(view.start.as_ptr(), view.size) };
        let sum: u64 = bytes.iter().copied().map(u64::from).sum();
        writeln!(stdout(), "{sum}")?;
    }
    Ok(())
}
