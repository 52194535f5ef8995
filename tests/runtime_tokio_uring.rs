//! Buffers in the reads and writes of the runtime `tokio-uring`, on io_uring.

mod support;

use hugepool::{Buffer, Pool};
use std::future::{Future, poll_fn};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::Poll;
use support::kind::{Kind, both_kinds};
use support::runtime;
use tokio_uring::Runtime;
use tokio_uring::buf::{IoBuf, IoBufMut};
use tokio_uring::fs::File;

both_kinds! {
    a_length_is_raised_by_what_was_read_and_never_lowered,
    what_is_filled_is_written_and_read_back_in_the_buffers_own_memory,
    a_read_that_was_given_up_keeps_its_buffer_until_the_kernel_is_done,
}

const SIZE: usize = 64 << 10;
/// Those of a ring of the runtime.
const ENTRIES: u32 = 256;

fn pool(kind: Kind, count: usize) -> Pool {
    let builder = Pool::builder().reserve(SIZE, 4096, count);
    kind.build(builder.prefault(false))
}

/// Runs `work`, unless there is no io_uring.
fn run(what: &str, work: impl Future<Output = ()>) {
    if runtime::is_allowed(what, ENTRIES) {
        let runtime = Runtime::new(&tokio_uring::builder()).unwrap();
        runtime.block_on(work);
    }
}

fn a_length_is_raised_by_what_was_read_and_never_lowered(kind: Kind) {
    let pool = pool(kind, 1);
    let mut buffer = pool.allocate(1000, 4096).unwrap();
    let start = buffer.as_ptr();
    assert_eq!(
        (buffer.stable_ptr(), buffer.stable_mut_ptr().cast_const()),
        (start, start)
    );
    assert_eq!((buffer.bytes_init(), buffer.bytes_total()), (1000, SIZE));
    for (said, len) in [
        (0, 1000),
        (999, 1000),
        (1001, 1001),
        (SIZE, SIZE),
        (SIZE + 1, SIZE),
    ] {
        // SAFETY: all bytes up to the capacity hold values; beyond that nothing changes.
        unsafe { buffer.set_init(said) };
        assert_eq!((buffer.len(), buffer.bytes_init()), (len, len));
    }
}

fn what_is_filled_is_written_and_read_back_in_the_buffers_own_memory(kind: Kind) {
    use tokio_uring::buf::BoundedBuf;

    let pool = pool(kind, 2);
    run("tokio-uring reads and writes", async {
        let file = File::from_std(runtime::file());
        let mut block = pool.allocate(SIZE, 4096).unwrap();
        for (at, byte) in block.iter_mut().enumerate() {
            *byte = (at % 251) as u8;
        }
        block.truncate(5000);
        let start = block.as_ptr();
        let (written, block) = file.write_at(block, 0).submit().await;
        assert_eq!(
            (written.unwrap(), block.as_ptr(), block.len()),
            (5000, start, 5000)
        );

        // All of it, though there is room for more; what is there is the length.
        let mut other = pool.allocate(SIZE, 4096).unwrap();
        let there = other.as_ptr();
        other.clear();
        let (read, other) = file.read_at(other, 0).await;
        assert_eq!((read.unwrap(), other.as_ptr()), (5000, there));
        assert_eq!(other[..], block[..]);

        // Behind what is filled.
        let (read, more) = file.read_at(other.slice(5000..), 1000).await;
        let other: Buffer = more.into_inner();
        assert_eq!(
            (read.unwrap(), other.len(), other.as_ptr()),
            (4000, 9000, there)
        );
        assert_eq!(
            (&other[..5000], &other[5000..]),
            (&block[..], &block[1000..])
        );

        // At the end there is nothing, and nothing changes.
        let (read, other) = file.read_at(other, 5000).await;
        assert_eq!((read.unwrap(), other.len()), (0, 9000));
        drop((block, other));
        assert_eq!(pool.available(SIZE, 4096), 2);
        file.close().await.unwrap();
    });
}

/// The kernel writes into the buffer when nobody waits for it any more.
fn a_read_that_was_given_up_keeps_its_buffer_until_the_kernel_is_done(kind: Kind) {
    let pool = pool(kind, 1);
    let (socket, mut other) = UnixStream::pair().unwrap();
    run("a tokio-uring read that was given up", async {
        let socket = tokio_uring::net::UnixStream::from_std(socket);
        let mut buffer = pool.allocate(SIZE, 4096).unwrap();
        buffer.fill(7);
        {
            let mut reading = pin!(socket.read(buffer));
            let begun = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_pending())).await;
            assert!(begun);
            // It is with the kernel by the time that something else has come back.
            tokio_uring::no_op().await.unwrap();
        }
        tokio_uring::no_op().await.unwrap();
        assert_eq!(pool.available(SIZE, 4096), 0);
        other.write_all(b"late").unwrap();
        while pool.available(SIZE, 4096) == 0 {
            tokio_uring::no_op().await.unwrap();
        }
        let next = pool.allocate(SIZE, 4096).unwrap();
        assert_eq!(next[..6], *b"late\x07\x07");
    });
}
