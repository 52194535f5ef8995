//! Buffers in the reads and writes of the runtime `compio`, on io_uring.

mod support;

use compio::BufResult;
use compio::buf::{IntoInner, IoBuf, IoBufMut, SetLen};
use compio::fs::{OpenOptions, pipe};
use compio::io::{AsyncRead, AsyncReadAt, AsyncWrite, AsyncWriteAt};
use compio::runtime::Runtime;
use hugepool::{Buffer, Pool};
use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::task::Poll;
use support::kind::{Kind, both_kinds};
use support::runtime;

both_kinds! {
    a_length_is_within_the_capacity_whatever_is_said,
    what_is_filled_is_written_and_read_back_in_the_buffers_own_memory,
    a_read_that_was_given_up_gives_its_buffer_back,
}

const SIZE: usize = 64 << 10;
/// Those of a ring of the runtime.
const ENTRIES: u32 = 1024;

fn pool(kind: Kind, count: usize) -> Pool {
    let builder = Pool::builder().reserve(SIZE, 4096, count);
    kind.build(builder.prefault(false))
}

/// Runs `work`, unless there is no io_uring.
fn run(what: &str, work: impl Future<Output = ()>) {
    if runtime::is_allowed(what, ENTRIES) {
        Runtime::new().unwrap().block_on(work);
    }
}

fn a_length_is_within_the_capacity_whatever_is_said(kind: Kind) {
    let pool = pool(kind, 1);
    let mut buffer = pool.allocate(1000, 4096).unwrap();
    let start = buffer.as_ptr();
    assert_eq!((buffer.buf_ptr(), buffer.buf_len()), (start, 1000));
    assert_eq!(
        (
            buffer.buf_mut_ptr().cast_const().cast(),
            buffer.buf_capacity()
        ),
        (start, SIZE)
    );
    for (said, len) in [(0, 0), (1001, 1001), (SIZE, SIZE), (SIZE + 1, SIZE), (1, 1)] {
        // SAFETY: all bytes up to the capacity hold values; beyond that nothing changes.
        unsafe { SetLen::set_len(&mut buffer, said) };
        assert_eq!((buffer.len(), buffer.as_init().len()), (len, len));
    }
    assert!(buffer.reserve(SIZE - 1).is_ok());
    assert!(buffer.reserve(SIZE).unwrap_err().is_not_supported());
}

fn what_is_filled_is_written_and_read_back_in_the_buffers_own_memory(kind: Kind) {
    let pool = pool(kind, 2);
    run("compio reads and writes", async {
        let memory = runtime::file();
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let file = OpenOptions::new().read(true).write(true).open(path).await;
        let mut file = file.unwrap();
        let mut block = pool.allocate(SIZE, 4096).unwrap();
        for (at, byte) in block.iter_mut().enumerate() {
            *byte = (at % 251) as u8;
        }
        block.truncate(5000);
        let start = block.as_ptr();
        let BufResult(written, block) = file.write_at(block, 0).await;
        assert_eq!(
            (written.unwrap(), block.as_ptr(), block.len()),
            (5000, start, 5000)
        );

        // All of it, though there is room for more; what is there is the length.
        let mut other = pool.allocate(SIZE, 4096).unwrap();
        let there = other.as_ptr();
        other.clear();
        let BufResult(read, other) = file.read_at(other, 0).await;
        assert_eq!((read.unwrap(), other.as_ptr()), (5000, there));
        assert_eq!(other[..], block[..]);

        // Behind what is filled.
        let BufResult(read, more) = file.read_at(other.uninit(), 1000).await;
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
        let BufResult(read, other) = file.read_at(other, 5000).await;
        assert_eq!((read.unwrap(), other.len()), (0, 9000));
        drop((block, other));
        assert_eq!(pool.available(SIZE, 4096), 2);
        file.close().await.unwrap();
    });
}

/// The runtime has the kernel give up what nobody waits for any more, and keeps the buffer
/// until it has.
fn a_read_that_was_given_up_gives_its_buffer_back(kind: Kind) {
    let pool = pool(kind, 2);
    run("a compio read that was given up", async {
        let (mut receiver, mut sender) = pipe::anonymous().await.unwrap();
        let buffer = pool.allocate(SIZE, 4096).unwrap();
        {
            let mut reading = pin!(receiver.read(buffer));
            let begun = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_pending())).await;
            assert!(begun);
            assert_eq!(pool.available(SIZE, 4096), 1);
        }
        // The runtime looks at what has come back whenever it waits for something.
        let mut turn = pool.allocate(SIZE, 4096).unwrap();
        while pool.available(SIZE, 4096) == 0 {
            turn.truncate(1);
            let BufResult(written, back) = sender.write(turn).await;
            let BufResult(read, back) = receiver.read(back).await;
            assert_eq!((written.unwrap(), read.unwrap()), (1, 1));
            turn = back;
        }
    });
}
