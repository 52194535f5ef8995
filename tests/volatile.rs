//! Buffers that another process may write, in safe code alone.
#![forbid(unsafe_code)]

use hugepool::share::{Access, Client, Peers, ShareError};
use hugepool::{
    AllocError, Buffer, BuildError, Builder, Memory, Pages, Pool, RangeError, Rung, Volatile,
};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::str;
use std::time::Duration;

const SIZE: usize = 4096;
const PREFIX: usize = 200;

/// Set in the process of a client, to the test of which it is one.
const CLIENT: &str = "HUGEPOOL_TEST_CLIENT";
/// What such a client needs to know.
const WHAT: &str = "HUGEPOOL_TEST_WHAT";

fn described(access: Access, count: usize) -> Builder {
    Pool::builder()
        .reserve(SIZE, 4096, count)
        .prefix_zone(PREFIX)
        .shared(access)
        // Files of those can be mapped, and not written otherwise.
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .prefault(false)
        .address_space(1 << 30)
}

fn pool(count: usize) -> Pool<Volatile> {
    described(Access::Write, count).build_volatile().unwrap()
}

/// A client of everything that `pool` shares, in this process.
fn client<M: Memory>(pool: &Pool<M>) -> Client {
    let client = Client::new();
    for export in pool.exports().unwrap() {
        client.attach(export).unwrap();
    }
    client
}

/// A client's process, which goes on until it is killed.
struct Running(Child);

impl Running {
    /// Runs the test called `name` again, as a client that is told `what`.
    fn begin(name: &str, what: &str, input: Stdio) -> Self {
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program)
            .args(["--exact", name, "--test-threads=1"])
            .env(CLIENT, name)
            .env(WHAT, what)
            .stdin(input)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn check(&mut self) {
        let ended = self.0.try_wait().unwrap();
        assert!(ended.is_none(), "the client has ended: {ended:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the client of the test `name` was told, if this is its process.
fn told(name: &str) -> Option<String> {
    let own = std::env::var(CLIENT).is_ok_and(|of| of == name);
    own.then(|| std::env::var(WHAT).unwrap())
}

/// A client writes all of the memory, now text and now none, as fast as it can. The server
/// checks a copy, and uses it: a reference to the buffer, which would change after the
/// check, is not to be had (`Buffer` has examples that do not compile).
#[test]
fn what_was_checked_in_a_copy_is_what_is_used() {
    const NAME: &str = "what_was_checked_in_a_copy_is_what_is_used";
    if told(NAME).is_some() {
        let input = std::io::stdin();
        let memory = File::from(input.as_fd().try_clone_to_owned().unwrap());
        let bytes = memory.metadata().unwrap().len() as usize;
        loop {
            for byte in [b'a', 0xff] {
                memory.write_all_at(&vec![byte; bytes], 0).unwrap();
            }
        }
    }
    let pool = pool(1);
    let buffer = pool.allocate(SIZE, 4096).unwrap();
    let export = pool.exports().unwrap().remove(0);
    let mut client = Running::begin(NAME, "", Stdio::from(export.memory));
    let (mut texts, mut others) = (0, 0);
    let mut copy = [0; 64];
    while texts < 200 || others < 200 {
        client.check();
        buffer.read_at(SIZE - copy.len(), &mut copy).unwrap();
        let Ok(text) = str::from_utf8(&copy) else {
            others += 1;
            continue;
        };
        texts += usize::from(text.starts_with('a'));
        // Its invariant, long after the check.
        std::thread::yield_now();
        assert!(str::from_utf8(text.as_bytes()).is_ok());
        assert!(text.chars().all(|c| c == 'a' || c == '\0'), "{text:?}");
    }
}

#[test]
fn a_client_writes_a_buffer_all_the_time_and_the_server_goes_on_copying() {
    const NAME: &str = "a_client_writes_a_buffer_all_the_time_and_the_server_goes_on_copying";
    const WORDS: [[u8; 8]; 2] = [*b"original", *b"replaced"];
    if let Some(what) = told(NAME) {
        let (name, handle) = what.split_once('/').unwrap();
        let handle = hugepool::share::Handle::from_raw(handle.parse().unwrap());
        let client = Client::new();
        let opened = client.open_in_secondary_timeout(name, &Peers::default(), Duration::MAX);
        opened.unwrap();
        loop {
            for word in WORDS {
                client.write(handle, 0, &word.repeat(SIZE / 8)).unwrap();
                client.write_prefix(handle, 0, &[word[0]; PREFIX]).unwrap();
            }
        }
    }
    let pool = pool(1);
    let start = pool.allocate_raw(SIZE, 4096).unwrap();
    let handle = pool.handle(start.as_ptr()).unwrap();
    let name = format!("volatile {}", std::process::id());
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let what = format!("{name}/{}", handle.raw());
    let mut writer = Running::begin(NAME, &what, Stdio::null());
    let own = client(&pool);
    let mut seen = [0; 2];
    let (mut copy, mut before) = (vec![0; SIZE], [0; PREFIX]);
    while seen.iter().any(|&times| times < 100_000) {
        writer.check();
        own.read(handle, 0, &mut copy).unwrap();
        own.read_prefix(handle, 0, &mut before).unwrap();
        // Words are not torn: each is one of those that were written, or none was yet.
        for word in copy.as_chunks().0 {
            match WORDS.iter().position(|known| known == word) {
                Some(which) => seen[which] += 1,
                None => assert_eq!(word, &[0; 8]),
            }
        }
        assert!(before.iter().all(|byte| b"or\0".contains(byte)));
    }
}

#[test]
fn a_pool_that_others_may_write_is_built_as_what_it_is() {
    let builder = described(Access::Write, 1);
    let refused = builder.build().unwrap_err();
    assert_eq!(refused, BuildError::SharedForWriting);
    assert!(refused.to_string().contains("build_volatile"), "{refused}");
    assert!(builder.build_volatile().is_ok());
    // Any other pool can be either.
    for builder in [Pool::builder(), described(Access::Read, 1)] {
        assert!(builder.build().is_ok() && builder.build_volatile().is_ok());
    }
}

#[test]
fn a_copy_beyond_the_end_is_refused_and_copies_nothing() {
    let pool = pool(1);
    let mut buffer = pool.allocate(1001, 4096).unwrap();
    assert_eq!((buffer.len(), buffer.capacity()), (1001, SIZE));
    buffer.fill(7);
    buffer.fill_prefix(9);
    let refused = |offset: usize, length: usize, limit: usize, of: Result<(), RangeError>| {
        let error = of.unwrap_err();
        let values = (error.offset, error.length, error.limit);
        assert_eq!(values, (offset, length, limit));
        let said = format!("{length} B from byte {offset} on: there are {limit} B");
        assert_eq!(error.to_string(), said);
    };
    for (offset, length) in [(0, 1002), (1001, 1), (1000, 2), (usize::MAX, 2)] {
        let mut into = vec![1; length];
        refused(offset, length, 1001, buffer.read_at(offset, &mut into));
        refused(offset, length, 1001, buffer.write_at(offset, &into));
        assert!(into.iter().all(|&byte| byte == 1));
    }
    for (offset, length) in [(0, PREFIX + 1), (PREFIX, 1)] {
        let mut into = vec![1; length];
        let read = buffer.read_prefix_at(offset, &mut into);
        refused(offset, length, PREFIX, read);
        let written = buffer.write_prefix_at(offset, &into);
        refused(offset, length, PREFIX, written);
        assert!(into.iter().all(|&byte| byte == 1));
    }
    let (mut all, mut before) = ([0; 1001], [0; PREFIX]);
    buffer.read_at(0, &mut all).unwrap();
    buffer.read_prefix_at(0, &mut before).unwrap();
    assert_eq!((all, before), ([7; 1001], [9; PREFIX]));
    // Nothing, at the end, is a copy.
    assert!(buffer.read_at(1001, &mut []).is_ok() && buffer.write_at(1001, &[]).is_ok());
}

#[test]
fn data_and_prefix_zone_are_beside_each_other_and_do_not_mix() {
    let pool = pool(2);
    let mut buffers = pool.allocate_many(SIZE, 4096, 2).unwrap();
    for (buffer, byte) in buffers.iter_mut().zip([1, 2]) {
        buffer.fill(byte);
        buffer.fill_prefix(byte + 10);
        buffer.write_prefix_at(PREFIX - 3, &[byte + 20; 3]).unwrap();
        buffer.write_at(0, &[byte + 30; 3]).unwrap();
        buffer.write_at(SIZE - 3, &[byte + 40; 3]).unwrap();
    }
    for (buffer, byte) in buffers.iter().zip([1, 2]) {
        let (mut all, mut before) = (vec![0; SIZE], vec![0; PREFIX]);
        buffer.read_at(0, &mut all).unwrap();
        buffer.read_prefix_at(0, &mut before).unwrap();
        let expected = [vec![byte + 10; PREFIX - 3], vec![byte + 20; 3]].concat();
        assert_eq!(before, expected);
        let middle = vec![byte; SIZE - 6];
        let expected = [vec![byte + 30; 3], middle, vec![byte + 40; 3]].concat();
        assert_eq!(all, expected);
        assert_eq!(buffer.as_slice_ptr().len(), SIZE);
        assert_eq!(buffer.prefix_ptr().len(), PREFIX);
        assert_eq!(
            buffer.prefix_ptr().cast::<u8>().addr() + PREFIX,
            buffer.as_ptr().addr()
        );
    }
}

/// Each call that takes a buffer gives one of the pool's kind.
#[test]
fn every_way_to_a_buffer_of_such_a_pool_gives_one_without_references() {
    let pool = pool(4);
    let limit = Duration::from_secs(1);
    let token = pool.cancel_token();
    let class = pool.class(SIZE, 4096).unwrap();
    let stream = pool.stream("one").maximum(SIZE, 4096, 4).build().unwrap();
    let one: [Result<Buffer<Volatile>, AllocError>; 7] = [
        pool.allocate(SIZE, 4096),
        pool.allocate_timeout(SIZE, 4096, limit),
        class.clone().allocate(),
        class.allocate_cancellable(limit, &token),
        class.pool().allocate(SIZE, 4096),
        stream.allocate(SIZE, 4096),
        stream.clone().allocate_timeout(SIZE, 4096, limit),
    ]
    .map(|taken| taken.inspect(|buffer| assert_eq!(buffer.len(), SIZE)));
    assert_eq!(one.iter().filter(|taken| taken.is_ok()).count(), 4);
    drop(one);
    let many: Vec<Buffer<Volatile>> = class.allocate_many(2).unwrap();
    let more: Vec<Buffer<Volatile>> = stream.allocate_many(SIZE, 4096, 2).unwrap();
    drop((many, more));
    assert_eq!(pool.available(SIZE, 4096), 4);
}

#[test]
fn copies_go_as_far_as_the_buffer_is_filled_and_appending_fills_it() {
    let pool = pool(1);
    let mut buffer = pool.allocate(1000, 4096).unwrap();
    buffer.fill(1);
    buffer.clear();
    let spare = buffer.spare_ptr();
    assert_eq!((spare.cast(), spare.len()), (buffer.as_ptr(), SIZE));
    assert!(buffer.is_empty() && buffer.write_at(0, b"a").is_err());
    assert_eq!(buffer.write(b"header").unwrap(), 6);
    assert_eq!(buffer.write(&[7; SIZE]).unwrap(), SIZE - 6);
    assert_eq!((buffer.len(), buffer.write(b"more").unwrap()), (SIZE, 0));
    let error = buffer.write_all(b"more").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
    let mut all = [0; SIZE];
    buffer.read_at(0, &mut all).unwrap();
    assert_eq!((&all[..6], &all[6..]), (&b"header"[..], &[7; SIZE - 6][..]));
    // The length is the end of what is copied, and what is behind it stays.
    buffer.truncate(7);
    assert!(buffer.read_at(0, &mut [0; 8]).is_err());
    buffer.fill(9);
    let both = buffer.with_prefix_ptr();
    assert_eq!(
        (both.cast::<u8>(), both.len()),
        (buffer.prefix_ptr().cast::<u8>(), PREFIX + 7)
    );
    let (len, limit) = (SIZE + 1, SIZE);
    let error = buffer.set_len(len).unwrap_err();
    assert_eq!((error.length, error.limit, buffer.len()), (len, limit, 7));
    buffer.set_len(8).unwrap();
    let mut some = [0; 8];
    buffer.read_at(0, &mut some).unwrap();
    assert_eq!(some, [9, 9, 9, 9, 9, 9, 9, 7]);
}

#[test]
fn a_plain_pool_can_be_used_as_one_that_others_may_write() {
    let plain = described(Access::Read, 2).build().unwrap();
    let mut buffer = plain.allocate(SIZE, 4096).unwrap();
    buffer[1] = 1;
    let (pool, buffer) = (plain.clone().into_volatile(), buffer.into_volatile());
    let mut copy = [7; 2];
    buffer.read_at(0, &mut copy).unwrap();
    assert_eq!(copy, [0, 1]);
    let mut other = pool.allocate(SIZE, 4096).unwrap();
    other.write_at(0, &copy).unwrap();
    // It is the same pool.
    assert!(plain.allocate(SIZE, 4096).is_err());
    assert!(pool.into_raw(other).is_ok());
}

#[test]
fn a_client_of_a_pool_that_is_shared_for_reading_reads_alone() {
    let pool = described(Access::Read, 1).build().unwrap();
    let mut buffer = pool.allocate(100, 4096).unwrap();
    buffer.fill(7);
    buffer.prefix_mut().fill(9);
    let start = pool.into_raw(buffer).unwrap();
    let handle = pool.handle(start.as_ptr()).unwrap();
    let client = client(&pool);
    let (mut all, mut before) = ([0; 100], [0; PREFIX]);
    client.read(handle, 0, &mut all).unwrap();
    client.read_prefix(handle, 0, &mut before).unwrap();
    assert_eq!((all, before), ([7; 100], [9; PREFIX]));
    let refused = [
        client.write(handle, 0, &[1]),
        client.write_prefix(handle, 0, &[1]),
    ];
    assert_eq!(
        refused,
        [Err(ShareError::ReadOnly), Err(ShareError::ReadOnly)]
    );
}

#[test]
fn a_clients_copy_beyond_the_end_is_refused_and_copies_nothing() {
    let pool = pool(1);
    let start = pool.allocate_raw(1001, 4096).unwrap();
    let handle = pool.handle(start.as_ptr()).unwrap();
    let client = client(&pool);
    let range = |of: Result<(), ShareError>| match of {
        Err(ShareError::Range(range)) => (range.offset, range.length, range.limit),
        other => panic!("{other:?}"),
    };
    let mut into = [1; 2];
    // What the buffer was allocated for is the limit, not what it could hold.
    assert_eq!(range(client.read(handle, 1000, &mut into)), (1000, 2, 1001));
    assert_eq!(range(client.write(handle, 1000, &into)), (1000, 2, 1001));
    let beyond = client.read_prefix(handle, PREFIX - 1, &mut into);
    assert_eq!(range(beyond), (PREFIX - 1, 2, PREFIX));
    let beyond = client.write_prefix(handle, usize::MAX, &into);
    assert_eq!(range(beyond), (usize::MAX, 2, PREFIX));
    assert_eq!(into, [1; 2]);
    client.read(handle, 999, &mut into).unwrap();
    assert_eq!(into, [0; 2]);
    let forged = hugepool::share::Handle::from_raw(handle.raw() + 1);
    let refused = client.read(forged, 0, &mut into);
    assert_eq!(refused, Err(ShareError::BadHandle { handle: forged }));
    let refused = Client::new().write(handle, 0, &into);
    assert_eq!(refused, Err(ShareError::NotOpen));
}
