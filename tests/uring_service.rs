//! A thread with a ring, which serves futures.

#![allow(clippy::disallowed_types, reason = "somebody else's code has locks")]

mod support;

use hugepool::uring::{Handle, Report, Service, Transfer, WhyRejected};
use hugepool::{Buffer, Pool};
use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use support::filter::refuse;
use support::process::alone;
use support::skipped;
use support::uring::{Temporary, pattern, pipe, without_reserved};

const SIZE: usize = 16 << 10;
const COUNT: usize = 32;
const PREFIX: usize = 512;

fn pool() -> Pool {
    let builder = Pool::builder().reserve(SIZE, 4096, COUNT);
    let builder = without_reserved(builder).prefix_zone(PREFIX);
    builder.prefault(false).build().unwrap()
}

/// A service; `None`, after saying so, where there is no io_uring.
fn service<F>(what: &str, pool: &Pool, depth: u32) -> Option<Service<F>>
where
    F: AsFd + Send + 'static,
{
    match Service::new(pool, depth) {
        Ok(service) => Some(service),
        Err(why) => {
            skipped(&format!("{what}: no io_uring: {why}"));
            None
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What a future comes to.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

fn take(pool: &Pool) -> Buffer {
    pool.allocate(SIZE, 4096).unwrap()
}

/// Why a transfer that is over was not begun, with the buffer as it was.
#[track_caller]
fn rejection((result, buffer): (io::Result<usize>, Buffer)) -> WhyRejected {
    assert!(buffer.iter().all(|&byte| byte == 7));
    let error = result.unwrap_err();
    *error.get_ref().unwrap().downcast_ref().unwrap()
}

#[test]
fn transfers_of_many_threads_give_what_was_done_and_the_buffer() {
    let name = "transfers_of_many_threads_give_what_was_done_and_the_buffer";
    const THREADS: usize = 4;
    const ROUNDS: usize = 50;
    let pool = pool();
    // Fewer than are asked for at once.
    let Some(service) = service(name, &pool, 3) else {
        return;
    };
    let file = Temporary::new(name);
    let work = |thread: usize, handle: Handle| {
        let each = COUNT / THREADS;
        for round in 0..ROUNDS {
            let seed = |at: usize| thread * each + at + round;
            let offset = |at: usize| ((thread * each + at) * (PREFIX + SIZE)) as u64;
            let begun: Vec<Transfer> = (0..each)
                .map(|at| {
                    let (mut buffer, cell) = (take(&pool), pattern(seed(at), PREFIX + SIZE));
                    buffer.prefix_mut().copy_from_slice(&cell[..PREFIX]);
                    buffer.copy_from_slice(&cell[PREFIX..]);
                    let file = Arc::clone(&file.file);
                    handle.write_with_prefix(file, buffer, .., offset(at))
                })
                .collect();
            for (at, transfer) in begun.into_iter().enumerate() {
                let (bytes, mut buffer) = block_on(transfer);
                assert_eq!(bytes.unwrap(), PREFIX + SIZE);
                buffer.fill(0xee);
                let from = offset(at) + PREFIX as u64;
                let read = handle.read(Arc::clone(&file.file), buffer, .., from);
                let (bytes, buffer) = block_on(read);
                assert_eq!(bytes.unwrap(), SIZE);
                assert!(buffer[..] == pattern(seed(at), PREFIX + SIZE)[PREFIX..]);
            }
        }
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let handle = service.handle();
            scope.spawn(move || work(thread, handle));
        }
    });
    assert_eq!(pool.available(SIZE, 4096), COUNT);
    assert_ne!(service.report(), Report::default());
}

#[test]
fn what_cannot_be_is_said_in_the_transfer() {
    let name = "what_cannot_be_is_said_in_the_transfer";
    let pool = pool();
    let Some(service) = service(name, &pool, 2) else {
        return;
    };
    let (handle, null) = (service.handle(), Arc::new(File::open("/dev/null").unwrap()));
    let buffer = || {
        let mut buffer = take(&pool);
        buffer.fill(7);
        buffer
    };
    let refused = handle.read(Arc::clone(&null), buffer(), ..SIZE + 1, 0);
    assert!(matches!(
        rejection(block_on(refused)),
        WhyRejected::Range(_)
    ));
    let refused = handle.read(Arc::clone(&null), buffer(), .., u64::MAX);
    assert!(matches!(
        rejection(block_on(refused)),
        WhyRejected::Offset { .. }
    ));
    let (result, _) = block_on(handle.write(Arc::clone(&null), buffer(), .., 0));
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
    service.finish();
    let refused = handle.read(null, buffer(), .., 0);
    assert_eq!(rejection(block_on(refused)), WhyRejected::Ended);
    assert_eq!(pool.available(SIZE, 4096), COUNT);
}

#[test]
fn a_transfer_that_is_dropped_runs_to_its_end() {
    let name = "a_transfer_that_is_dropped_runs_to_its_end";
    let pool = pool();
    let Some(service) = service(name, &pool, 2) else {
        return;
    };
    let (handle, file) = (service.handle(), Temporary::new(name));
    for at in 0..COUNT {
        let mut buffer = take(&pool);
        buffer.copy_from_slice(&pattern(at, SIZE));
        let offset = (at * SIZE) as u64;
        let mut transfer = pin!(handle.write(Arc::clone(&file.file), buffer, .., offset));
        // Some have a waker by then.
        if at % 2 == 0 {
            let _ = transfer
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
        }
    }
    service.finish();
    let wanted: Vec<u8> = (0..COUNT).flat_map(|at| pattern(at, SIZE)).collect();
    assert!(file.bytes() == wanted);
    assert_eq!(pool.available(SIZE, 4096), COUNT);
    assert_eq!(Arc::strong_count(&file.file), 1);
}

#[test]
fn a_service_that_is_dropped_leaves_nothing_open() {
    let name = "a_service_that_is_dropped_leaves_nothing_open";
    let pool = pool();
    let Some(service) = service(name, &pool, 2) else {
        return;
    };
    let (handle, (waits, mut writer)) = (service.handle(), pipe());
    // Two that wait in the kernel, and others that wait for these.
    let read = |_| handle.read(Arc::clone(&waits), take(&pool), .., 0);
    let transfers: Vec<Transfer> = (0..10).map(read).collect();
    drop(service);
    for transfer in transfers {
        let (result, buffer) = block_on(transfer);
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        assert_eq!(buffer.len(), SIZE);
    }
    assert_eq!(pool.available(SIZE, 4096), COUNT);
    drop(waits);
    assert_eq!(
        writer.write(b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn whoever_waits_for_a_full_service_is_served_in_the_end() {
    let name = "whoever_waits_for_a_full_service_is_served_in_the_end";
    let pool = pool();
    let Some(service) = service(name, &pool, 1) else {
        return;
    };
    let (handle, (waits, mut writer)) = (service.handle(), pipe());
    let read = |_| handle.read(Arc::clone(&waits), take(&pool), ..1, 0);
    let transfers: Vec<Transfer> = (0..10).map(read).collect();
    for (at, transfer) in transfers.into_iter().enumerate() {
        writer.write_all(&[at as u8]).unwrap();
        let (bytes, buffer) = block_on(transfer);
        assert_eq!((bytes.unwrap(), buffer[0]), (1, at as u8));
    }
}

#[test]
fn growth_is_followed_and_reported() {
    let name = "growth_is_followed_and_reported";
    let pool = pool();
    let Some(service) = service(name, &pool, 2) else {
        return;
    };
    let before = service.report();
    if before.registered == 0 {
        return skipped(&format!("{name}: {before}"));
    }
    pool.request(SIZE, 4096, COUNT).unwrap();
    let null = Arc::new(File::open("/dev/null").unwrap());
    let held: Vec<Buffer> = (0..2 * COUNT).map(|_| take(&pool)).collect();
    let handle = service.handle();
    for buffer in held {
        let (bytes, _) = block_on(handle.read(Arc::clone(&null), buffer, .., 0));
        assert_eq!(bytes.unwrap(), 0);
    }
    // What the thread sees of it, it says before it does the next.
    let (bytes, _) = block_on(handle.read(null, take(&pool), .., 0));
    bytes.unwrap();
    let after = service.report();
    let bytes = |report: Report| report.registered + report.unregistered;
    assert!(bytes(after) > bytes(before), "{after}");
}

#[test]
fn memory_that_was_trimmed_goes_when_a_service_is_told_to_look() {
    let name = "memory_that_was_trimmed_goes_when_a_service_is_told_to_look";
    let pool = pool();
    let Some(service) = service::<Session>(name, &pool, 2) else {
        return;
    };
    let held = || pool.stats().held_bytes;
    pool.request(SIZE, 4096, COUNT).unwrap();
    let grown = service.refresh();
    if grown.unregistered > 0 {
        return skipped(&format!("{name}: {grown}"));
    }
    assert_eq!((pool.trim().segments, grown.entries), (1, 2));
    assert!(held() > 0);
    assert_eq!((service.refresh().entries, held()), (1, 0));
    assert_eq!(service.report().entries, 1);
    // Its own thread does not wait for itself.
    let (handle, (waits, mut writer)) = (service.handle(), pipe());
    let own = Session {
        file: waits,
        service: OnceLock::new(),
        refreshes: true,
    };
    assert!(own.service.set(service).is_ok());
    let transfer = handle.read(own, take(&pool), .., 0);
    writer.write_all(b"x").unwrap();
    assert_eq!(block_on(transfer).0.unwrap(), 1);
}

#[test]
fn where_the_ring_cannot_be_entered_every_transfer_fails_with_its_buffer() {
    let name = "where_the_ring_cannot_be_entered_every_transfer_fails_with_its_buffer";
    alone(name, &[], || {
        let pool = pool();
        let Some(first) = service::<Arc<File>>(name, &pool, 2) else {
            return;
        };
        first.finish();
        if let Err(why) = refuse(libc::SYS_io_uring_enter, libc::EPERM) {
            return skipped(&format!("{name}: no filter for system calls: {why}"));
        }
        let service = service(name, &pool, 2).unwrap();
        let (handle, null) = (service.handle(), Arc::new(File::open("/dev/null").unwrap()));
        let read = |_| handle.read(Arc::clone(&null), take(&pool), .., 0);
        let transfers: Vec<Transfer> = (0..10).map(read).collect();
        for transfer in transfers {
            let (result, _) = block_on(transfer);
            assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EPERM));
        }
        service.finish();
        assert_eq!(pool.available(SIZE, 4096), COUNT);
    });
}

/// The library's other threads do so, too.
#[test]
fn a_program_that_waits_for_signals_gets_them() {
    let name = "a_program_that_waits_for_signals_gets_them";
    let pool = pool();
    let Some(service) = service(name, &pool, 1) else {
        return;
    };
    let null = Arc::new(File::open("/dev/null").unwrap());
    // It has its name when it has done something.
    let (bytes, _) = block_on(service.handle().read(null, take(&pool), .., 0));
    bytes.unwrap();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // Those of other tests may end meanwhile.
    let states = tasks.filter_map(|task| {
        let state = std::fs::read_to_string(task.unwrap().path().join("status"));
        state.ok().filter(|state| state.contains("hugepool-uring"))
    });
    let mut found = 0;
    for state in states {
        let mut lines = state.lines();
        let blocked = lines.find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
        for signal in [libc::SIGTERM, libc::SIGCHLD, libc::SIGALRM] {
            assert!(blocked & 1 << (signal - 1) != 0, "{state}");
        }
        found += 1;
    }
    assert!(found > 0);
}

/// A file whose owner's code panics.
struct Faulty {
    file: Arc<File>,
    /// When it lends its descriptor; else when it is dropped.
    lending: bool,
}

impl AsFd for Faulty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        assert!(!self.lending, "somebody else's code");
        self.file.as_fd()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        assert!(self.lending, "somebody else's code");
    }
}

#[test]
fn a_panic_in_the_code_of_a_file_ends_no_other_transfer() {
    let name = "a_panic_in_the_code_of_a_file_ends_no_other_transfer";
    let pool = pool();
    let Some(service) = service::<Faulty>(name, &pool, 1) else {
        return;
    };
    let (handle, (waits, mut writer)) = (service.handle(), pipe());
    let read = |lending| {
        let file = Arc::clone(&waits);
        handle.read(Faulty { file, lending }, take(&pool), ..1, 0)
    };
    // The first is under way, and the others wait for it.
    let transfers: Vec<Transfer> = (0..4).map(|_| read(false)).collect();
    // What lending panics with, whoever began the transfer is told.
    assert!(catch_unwind(AssertUnwindSafe(|| drop(read(true)))).is_err());
    for (at, transfer) in transfers.into_iter().enumerate().take(2) {
        writer.write_all(&[at as u8]).unwrap();
        let (bytes, buffer) = block_on(transfer);
        assert_eq!((bytes.unwrap(), buffer[0]), (1, at as u8));
    }
    let transfers = [read(false), read(false), read(false)];
    drop(service);
    for transfer in transfers {
        let (result, _) = block_on(transfer);
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    }
    assert_eq!(pool.available(SIZE, 4096), COUNT);
}

/// A file that notes when it is given up, and a waker that notes when it is called.
struct Noting {
    file: Arc<File>,
    notes: Arc<Mutex<Vec<&'static str>>>,
}

impl AsFd for Noting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        self.notes.lock().unwrap().push("given up");
    }
}

struct Notes(Arc<Mutex<Vec<&'static str>>>);

impl Wake for Notes {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().push("ready");
    }
}

#[test]
fn when_a_transfer_is_ready_its_file_was_given_up() {
    let name = "when_a_transfer_is_ready_its_file_was_given_up";
    let pool = pool();
    let Some(service) = service::<Noting>(name, &pool, 1) else {
        return;
    };
    let (handle, (waits, mut writer)) = (service.handle(), pipe());
    // One that is done, one that is cancelled, and one that was not begun by then.
    let mut transfers = Vec::new();
    for _ in 0..3 {
        let notes = Arc::default();
        let file = Noting {
            file: Arc::clone(&waits),
            notes: Arc::clone(&notes),
        };
        let mut transfer = Box::pin(handle.read(file, take(&pool), ..1, 0));
        let waker = Waker::from(Arc::new(Notes(Arc::clone(&notes))));
        let polled = transfer.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        transfers.push((transfer, notes));
    }
    writer.write_all(b"x").unwrap();
    let (first, notes) = transfers.remove(0);
    // With another waker, unless it is ready.
    block_on(first).0.unwrap();
    assert_eq!(notes.lock().unwrap()[0], "given up");
    drop(service);
    for (transfer, notes) in transfers {
        assert_eq!(notes.lock().unwrap()[..], ["given up", "ready"]);
        block_on(transfer).0.unwrap_err();
    }
}

/// A file that has the service it is read by.
struct Session {
    file: Arc<File>,
    service: OnceLock<Service<Session>>,
    refreshes: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(service) = self.service.get().filter(|_| self.refreshes) {
            service.refresh();
        }
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[test]
fn a_service_that_is_dropped_by_its_own_thread_ends_as_any_other() {
    let name = "a_service_that_is_dropped_by_its_own_thread_ends_as_any_other";
    let pool = pool();
    let Some(service) = service::<Session>(name, &pool, 2) else {
        return;
    };
    let (handle, (waits, mut writer)) = (service.handle(), pipe());
    let session = |file| Session {
        file,
        service: OnceLock::new(),
        refreshes: false,
    };
    // Another's, which is read for ever.
    let (never, _writer) = pipe();
    let other = handle.read(session(never), take(&pool), .., 0);
    let own = session(waits);
    assert!(own.service.set(service).is_ok());
    // The thread has the last of it, when the operation is over.
    let transfer = handle.read(own, take(&pool), .., 0);
    writer.write_all(b"x").unwrap();
    assert_eq!(block_on(transfer).0.unwrap(), 1);
    let (result, buffer) = block_on(other);
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    let null = session(Arc::new(File::open("/dev/null").unwrap()));
    let (result, _) = block_on(handle.read(null, buffer, .., 0));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
}
