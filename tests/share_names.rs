//! Pools that other processes open by name.

mod support;

use hugepool::Pool;
use hugepool::share::{Access, Client, Handle, Peers, ShareError};
use hugepool::vdi::{Config, Parameters, Set, VD_E_ABORT, VD_E_OPEN, VD_E_PROTOCOL};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::process::Command;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::process::alone;
use support::skipped;

const SIZE: usize = 64 << 10;
const PREFIX: usize = 512;
/// A user that is nobody here.
const NOBODY: u32 = 65534;

fn pool(count: usize) -> Pool {
    let builder = Pool::builder().reserve(SIZE, 4096, count);
    let builder = builder.prefix_zone(PREFIX).shared(Access::Write);
    builder.address_space(1 << 30).build().unwrap()
}

/// A name that no other test has.
fn name(of: &str) -> String {
    format!("test {of} {}", std::process::id())
}

fn allocate(pool: &Pool) -> NonNull<u8> {
    pool.allocate_raw(SIZE, 4096).unwrap()
}

fn free(pool: &Pool, start: NonNull<u8>) {
    // SAFETY: allocated by `allocate`, and freed once.
    unsafe { pool.free_raw(start.as_ptr(), SIZE) }.unwrap();
}

/// The segments that a client of `name` has.
fn opens(name: &str) -> bool {
    Client::open(name, &Peers::default()).is_ok()
}

fn open(name: &str) -> Result<(), ShareError> {
    Client::open(name, &Peers::default()).map(drop)
}

#[test]
fn another_process_reads_what_was_written_and_stamps_the_prefix_zone() {
    const TEST: &str = "another_process_reads_what_was_written_and_stamps_the_prefix_zone";
    const NAME: &str = "HUGEPOOL_TEST_NAME";
    const HANDLES: &str = "HUGEPOOL_TEST_HANDLES";
    if let (Ok(name), Ok(handles)) = (std::env::var(NAME), std::env::var(HANDLES)) {
        let client = Client::open(&name, &Peers::default()).unwrap();
        for handle in handles.split(',') {
            let handle = Handle::from_raw(handle.parse().unwrap());
            let view = client.map(handle).unwrap();
            // SAFETY: mapped while the client lives; the other process waits.
            unsafe {
                let bytes = std::slice::from_raw_parts(view.start.as_ptr(), view.size);
                let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
                let zone = view.start.sub(view.prefix).cast::<u64>();
                zone.write(sum);
            }
        }
        return;
    }
    let pool = pool(8);
    let name = name("other process");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let held: Vec<_> = (0..8u8)
        .map(|number| {
            let start = allocate(&pool);
            // SAFETY: it is ours.
            unsafe { start.as_ptr().write_bytes(number, SIZE) };
            start
        })
        .collect();
    let handles: Vec<String> = (held.iter())
        .map(|start| pool.handle(start.as_ptr()).unwrap().raw().to_string())
        .collect();
    let client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST])
        .env(NAME, &name)
        .env(HANDLES, handles.join(","))
        .status()
        .unwrap();
    assert!(client.success());
    for (number, start) in held.into_iter().enumerate() {
        // SAFETY: it is ours again.
        let sum = unsafe { start.sub(PREFIX).cast::<u64>().read() };
        assert_eq!(sum, (number * SIZE) as u64);
        free(&pool, start);
    }
}

#[test]
fn a_client_that_is_killed_or_stopped_while_it_writes_everywhere_costs_no_buffer() {
    const TEST: &str =
        "a_client_that_is_killed_or_stopped_while_it_writes_everywhere_costs_no_buffer";
    const NAME: &str = "HUGEPOOL_TEST_WRITER";
    const HANDLES: &str = "HUGEPOOL_TEST_HANDLES";
    const COUNT: usize = 16;
    if let (Ok(name), Ok(handles)) = (std::env::var(NAME), std::env::var(HANDLES)) {
        // SAFETY: ends this process if it is forgotten.
        unsafe { libc::alarm(60) };
        let client = Client::open(&name, &Peers::default()).unwrap();
        let views: Vec<_> = (handles.split(','))
            .map(|handle| {
                client
                    .map(Handle::from_raw(handle.parse().unwrap()))
                    .unwrap()
            })
            .collect();
        println!("ready");
        loop {
            for view in &views {
                // SAFETY: mapped for writing, with its prefix zone. Whoever has the
                // buffer by now expects no better.
                unsafe {
                    let zone = view.start.sub(view.prefix);
                    zone.write_bytes(0xff, view.prefix + SIZE);
                }
            }
        }
    }
    for signal in [libc::SIGKILL, libc::SIGSTOP] {
        let pool = pool(COUNT);
        let name = name(&format!("writer {signal}"));
        let publication = pool.publish(&name, Peers::default()).unwrap();
        let held: Vec<_> = (0..COUNT).map(|_| allocate(&pool)).collect();
        let handles: Vec<String> = (held.iter())
            .map(|start| pool.handle(start.as_ptr()).unwrap().raw().to_string())
            .collect();
        let mut client = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(NAME, &name)
            .env(HANDLES, handles.join(","))
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(client.stdout.take().unwrap());
        let ready = std::io::BufRead::lines(lines).any(|line| line.unwrap() == "ready");
        assert!(ready, "the client ended");
        held.into_iter().for_each(|start| free(&pool, start));
        for turn in 0..200 {
            if turn == 100 {
                // SAFETY: sends a signal to our own child.
                assert_eq!(unsafe { libc::kill(client.id() as i32, signal) }, 0);
            }
            let mut held: Vec<_> = (0..COUNT).map(|_| allocate(&pool)).collect();
            assert!(
                pool.allocate_raw(SIZE, 4096).is_err(),
                "there is one too many"
            );
            held.sort_unstable();
            held.dedup();
            assert_eq!(held.len(), COUNT, "one was handed out twice");
            held.into_iter().for_each(|start| free(&pool, start));
        }
        // With the client stopped for ever, too.
        drop(publication);
        drop(pool);
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

#[test]
fn a_client_that_asks_again_gets_what_was_added() {
    let pool = pool(1);
    let name = name("growth");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let client = Client::open(&name, &Peers::default()).unwrap();
    assert_eq!(client.refresh(), Ok(0));
    for _ in 0..40 {
        pool.request(SIZE, 4096, 1).unwrap();
    }
    let held: Vec<_> = (0..41).map(|_| allocate(&pool)).collect();
    let known = || {
        let known = held
            .iter()
            .map(|start| pool.handle(start.as_ptr()).unwrap());
        known.filter(|&handle| client.map(handle).is_ok()).count()
    };
    assert_eq!(known(), 1);
    assert_eq!(client.refresh(), Ok(40));
    assert_eq!(known(), 41);
    held.into_iter().for_each(|start| free(&pool, start));
}

#[test]
fn a_name_is_one_publications_as_long_as_that_lives() {
    let pool = pool(1);
    let name = name("taken");
    assert_eq!(open(&name), Err(ShareError::NotPublished), "nobody has it");
    let publication = pool.publish(&name, Peers::default()).unwrap();
    assert!(opens(&name));
    let taken = pool.publish(&name, Peers::default()).unwrap_err();
    assert_eq!((&taken, taken.code()), (&ShareError::NameTaken, VD_E_OPEN));
    drop(publication);
    assert_eq!(open(&name), Err(ShareError::NotPublished));
    let _again = pool.publish(&name, Peers::default()).unwrap();
    assert!(opens(&name));
    for wrong in ["", &"x".repeat(92)] {
        let refused = pool.publish(wrong, Peers::default()).unwrap_err();
        let given = wrong.len();
        assert_eq!(refused, ShareError::Name { given, limit: 91 });
        assert!(Client::open(wrong, &Peers::default()).is_err());
    }
    let plain = Pool::builder().build().unwrap();
    let refused = plain.publish("plain", Peers::default()).unwrap_err();
    assert_eq!(refused, ShareError::NotShared);
}

/// A connection to the server of `name` that keeps to no rule.
fn connect(name: &str) -> OwnedFd {
    let name = format!("hugepool/{name}");
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let path = address.as_abstract_name().unwrap();
    // SAFETY: plain calls; the address is as long as it says.
    unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0);
        let mut raw: libc::sockaddr_un = std::mem::zeroed();
        raw.sun_family = libc::AF_UNIX as u16;
        for (to, &from) in raw.sun_path[1..].iter_mut().zip(path) {
            *to = from as libc::c_char;
        }
        let len = (3 + path.len()) as u32;
        let connected = libc::connect(socket, (&raw const raw).cast(), len);
        assert_eq!(connected, 0);
        <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(socket)
    }
}

#[test]
fn clients_that_keep_to_no_rule_are_cut_off_and_harm_nobody() {
    use std::os::fd::AsRawFd;
    let pool = pool(1);
    let name = name("rude");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let polite = Client::open(&name, &Peers::default()).unwrap();
    for garbage in [&b""[..], b"x", b"five.", &[0xff; 4096]] {
        let rude = connect(&name);
        let mut answer = [0u8; 64];
        // SAFETY: plain calls on buffers that are as long as they say.
        unsafe {
            libc::send(rude.as_raw_fd(), garbage.as_ptr().cast(), garbage.len(), 0);
            let mut receive = || libc::recv(rude.as_raw_fd(), answer.as_mut_ptr().cast(), 64, 0);
            // At the most it is greeted, before it is cut off.
            let answers = (0..).take_while(|_| receive() > 0).count();
            assert!(answers <= 1, "it got an answer");
        }
    }
    // One that asks and never reads is never waited for, and cut off: its answers would be
    // descriptors on their way that count against the server.
    let deaf = connect(&name);
    let ask = || {
        // SAFETY: as above.
        let sent = unsafe {
            let question = [0u8; 4].as_ptr().cast();
            libc::send(deaf.as_raw_fd(), question, 4, libc::MSG_NOSIGNAL)
        };
        sent == 4
    };
    while ask() {}
    // What is there to be read, besides that the connection is gone.
    // SAFETY: as above.
    let receive = || unsafe { libc::recv(deaf.as_raw_fd(), [0u8; 4].as_mut_ptr().cast(), 4, 0) };
    let first = receive();
    let answers = usize::from(first > 0) + (0..).take_while(|_| receive() > 0).count();
    assert!(
        (1..=2).contains(&answers),
        "{answers} answers were on their way"
    );
    assert_eq!(polite.refresh(), Ok(0));
    // A flood, whose last ones are kept, but not for long.
    let flood: Vec<_> = (0..300).map(|_| connect(&name)).collect();
    assert_eq!(polite.refresh(), Ok(0));
    assert!(opens(&name), "others are not kept out");
    drop((flood, deaf));
    assert!(opens(&name));
}

/// What is published may come and go; a client keeps to one pool.
#[test]
fn a_client_is_one_pools() {
    let (first, second) = (pool(1), pool(1));
    let name = name("one pool");
    let publication = first.publish(&name, Peers::default()).unwrap();
    let client = Client::new();
    assert_eq!(client.refresh(), Err(ShareError::NotOpen));
    let handle = Handle::from_raw(1);
    assert_eq!(client.map(handle), Err(ShareError::NotOpen));
    assert_eq!(
        client.handle(&raw const handle as _),
        Err(ShareError::NotOpen)
    );
    client.open_in_secondary(&name, &Peers::default()).unwrap();
    let again = client.open_in_secondary(&name, &Peers::default());
    assert_eq!(again, Err(ShareError::AlreadyOpen));
    assert_eq!(client.map(handle), Err(ShareError::BadHandle { handle }));
    drop(publication);
    assert_eq!(client.refresh(), Err(ShareError::NotPublished));
    let _publication = second.publish(&name, Peers::default()).unwrap();
    second.request(SIZE, 4096, 1).unwrap();
    let other = client.refresh();
    assert!(
        matches!(other, Err(ShareError::OtherPool { .. })),
        "{other:?}"
    );
    for export in second.exports().unwrap() {
        let other = client.attach(export);
        assert!(
            matches!(other, Err(ShareError::OtherPool { .. })),
            "{other:?}"
        );
    }
    // What it has stays.
    let start = allocate(&first);
    assert!(client.map(first.handle(start.as_ptr()).unwrap()).is_ok());
    free(&first, start);
}

#[test]
fn threads_of_a_client_that_ask_at_once_add_each_segment_once() {
    const GROWTHS: usize = 30;
    let pool = pool(1);
    let name = name("asking");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let client = Client::open(&name, &Peers::default()).unwrap();
    let added: usize = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut added = 0;
                    loop {
                        added += client.refresh().unwrap();
                        if pool.available(SIZE, 4096) > GROWTHS {
                            return added + client.refresh().unwrap();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..GROWTHS {
            pool.request(SIZE, 4096, 1).unwrap();
        }
        askers.into_iter().map(|asker| asker.join().unwrap()).sum()
    });
    assert_eq!(added, GROWTHS);
    let held: Vec<_> = (0..=GROWTHS).map(|_| allocate(&pool)).collect();
    for &start in &held {
        assert!(client.map(pool.handle(start.as_ptr()).unwrap()).is_ok());
    }
    held.into_iter().for_each(|start| free(&pool, start));
}

#[test]
fn a_client_that_attaches_while_the_pool_grows_has_all_that_was_there_before() {
    const GROWTHS: usize = 60;
    let pool = pool(1);
    let name = name("growing");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    // Handles of the buffers that are out, 0 for those that are not yet.
    let handles: Vec<_> = (0..=GROWTHS).map(|_| AtomicU32::new(0)).collect();
    let known = || {
        let loaded = handles.iter().map(|handle| handle.load(Ordering::Acquire));
        loaded.take_while(|&raw| raw != 0).map(Handle::from_raw)
    };
    let hold = |place: &AtomicU32| {
        let handle = pool.handle(allocate(&pool).as_ptr()).unwrap();
        place.store(handle.raw(), Ordering::Release);
    };
    hold(&handles[0]);
    std::thread::scope(|scope| {
        let grower = scope.spawn(|| {
            for place in &handles[1..] {
                pool.request(SIZE, 4096, 1).unwrap();
                hold(place);
            }
        });
        let mut attached = 0;
        while attached == 0 || !grower.is_finished() {
            let before: Vec<_> = known().collect();
            let client = Client::open(&name, &Peers::default()).unwrap();
            for handle in before {
                assert_eq!(client.map(handle).map(|view| view.size), Ok(SIZE));
            }
            attached += 1;
        }
        println!("{attached} clients attached while the pool grew {GROWTHS} times");
    });
    assert_eq!(known().count(), GROWTHS + 1);
    known().for_each(|handle| free(&pool, pool.view(handle).unwrap().start));
}

fn set() -> Arc<Set> {
    Arc::new(Set::with_builder(
        Pool::builder().prefault(false).shared(Access::Write),
    ))
}

#[test]
fn a_set_can_be_opened_by_clients_while_it_has_buffers() {
    let set = set();
    let name = name("states");
    let _publication = set.publish(&name, Peers::default()).unwrap();
    let refused = |error: ShareError, code: u32| {
        assert_eq!(open(&name).as_ref(), Err(&error));
        assert_eq!(error.code(), code);
    };
    refused(ShareError::NotConfigured, VD_E_PROTOCOL);
    set.open(&Config {
        device_count: 1,
        ..Config::default()
    })
    .unwrap();
    set.begin_configuration(&Parameters {
        features: 0,
        block_size: 512,
        alignment: 0,
        max_transfer_size: 1 << 16,
        time_out: 0,
    })
    .unwrap();
    set.request_buffers(4096, 0, 1).unwrap();
    refused(ShareError::NotConfigured, VD_E_PROTOCOL);
    set.end_configuration().unwrap();
    let client = Client::open(&name, &Peers::default()).unwrap();
    let start = set.allocate_buffer(4096, 0).unwrap();
    let handle = set.handle(start.as_ptr()).unwrap();
    assert!(client.map(handle).is_ok());
    set.signal_abort().unwrap();
    refused(ShareError::Aborted, VD_E_ABORT);
    assert_eq!(client.refresh(), Err(ShareError::Aborted));
    assert_eq!(set.handle(start.as_ptr()), Ok(handle), "it is still out");
    assert_eq!(set.view(handle).unwrap().start, start);
    set.close().unwrap();
    refused(ShareError::NotConfigured, VD_E_PROTOCOL);
    assert_eq!(set.handle(start.as_ptr()), Err(ShareError::NotConfigured));
    assert_eq!(set.view(handle), Err(ShareError::NotConfigured));
    // Its mappings are its own.
    assert!(client.map(handle).is_ok());
    drop(set);
    refused(ShareError::NotConfigured, VD_E_PROTOCOL);
    assert_eq!(client.map(handle), Err(ShareError::BadHandle { handle }));
}

#[test]
fn a_set_that_is_not_shared_is_not_published() {
    let set = Arc::new(Set::with_builder(Pool::builder()));
    let refused = set.publish("not shared", Peers::default()).unwrap_err();
    assert_eq!(
        (&refused, refused.code()),
        (&ShareError::NotShared, VD_E_PROTOCOL)
    );
}

/// In a process of its own, since it forks.
#[test]
fn a_child_of_a_fork_can_drop_a_publication_and_the_name_goes_with_the_parents() {
    const TEST: &str =
        "a_child_of_a_fork_can_drop_a_publication_and_the_name_goes_with_the_parents";
    alone(TEST, &[], || {
        let (pool, set) = (pool(1), set());
        let name = name("forked");
        let publication = pool.publish(&name, Peers::default()).unwrap();
        // SAFETY: the child drops what it has, looks, and stays until it is ended.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends this process if it is forgotten, and otherwise at the end.
            unsafe {
                libc::alarm(20);
                drop(publication);
                let forked = set.publish("of a child", Peers::default());
                if forked.is_err_and(|error| error == ShareError::Forked) {
                    libc::raise(libc::SIGSTOP);
                }
                libc::_exit(1);
            }
        }
        let mut status = 0;
        // SAFETY: waits for the child made above to stop.
        let stopped = unsafe { libc::waitpid(child, &mut status, libc::WUNTRACED) };
        assert_eq!(stopped, child);
        assert!(libc::WIFSTOPPED(status), "the child ended: {status:#x}");
        assert!(opens(&name), "it is the parent's");
        // The child has the socket still.
        drop(publication);
        let gone = open(&name);
        // SAFETY: ends the child made above.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, &mut status, 0);
        }
        assert_eq!(gone, Err(ShareError::NotPublished));
    });
}

/// In a process of its own, since it forks.
#[test]
fn a_publication_ends_while_a_child_of_a_fork_has_all_that_it_is_made_of() {
    const TEST: &str = "a_publication_ends_while_a_child_of_a_fork_has_all_that_it_is_made_of";
    alone(TEST, &[], || {
        let pool = pool(1);
        let name = name("held");
        let publication = pool.publish(&name, Peers::default()).unwrap();
        let client = connect(&name);
        let mut answer = [0u8; 64];
        // SAFETY: a plain call; the buffer is as long as it says.
        let mut receive = || unsafe {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&client);
            libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0)
        };
        assert_eq!(receive(), 4, "it is greeted, so the server has it");
        // SAFETY: the child drops nothing, and stays until it is ended.
        let child = unsafe { libc::fork() };
        if child == 0 {
            loop {
                // SAFETY: waits for the end.
                unsafe { libc::pause() };
            }
        }
        // Would wait for the child.
        drop(publication);
        assert_eq!(receive(), 0, "who was connected is told");
        let again = pool.publish(&name, Peers::default());
        // SAFETY: ends the child made above.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        drop(again);
        assert!(pool.publish(&name, Peers::default()).is_ok());
    });
}

#[test]
fn signals_do_not_keep_a_client_from_opening() {
    extern "C" fn nothing(_: libc::c_int) {}
    alone("signals_do_not_keep_a_client_from_opening", &[], || {
        let pool = pool(1);
        let name = name("signals");
        let _publication = pool.publish(&name, Peers::default()).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        // SAFETY: the handler does nothing; signals go to a thread that is there until the
        // other has ended.
        unsafe {
            let handler = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
            libc::signal(libc::SIGUSR1, handler);
            let opener = libc::pthread_self();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        libc::pthread_kill(opener, libc::SIGUSR1);
                        std::thread::yield_now();
                    }
                });
                let opened: Vec<_> = (0..300).map(|_| open(&name)).collect();
                done.store(true, Ordering::Relaxed);
                assert!(opened.iter().all(Result::is_ok), "{opened:?}");
            });
        }
    });
}

/// In a process of its own, whose child has few descriptors left.
#[test]
fn a_client_needs_two_descriptors_at_a_time_however_many_segments_there_are() {
    const SEGMENTS: usize = 100;
    const TEST: &str = "a_client_needs_two_descriptors_at_a_time_however_many_segments_there_are";
    alone(TEST, &[], || {
        let pool = pool(1);
        let name = name("descriptors");
        let _publication = pool.publish(&name, Peers::default()).unwrap();
        for _ in 1..SEGMENTS {
            pool.request(SIZE, 4096, 1).unwrap();
        }
        // SAFETY: the child limits itself, looks, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // No panic here: it would end the child well.
            let limit = libc::rlimit {
                rlim_cur: 1024,
                rlim_max: 1024,
            };
            // All descriptors but `left` are in use.
            let only = |left: usize| {
                // SAFETY: the structure is there to be read; a duplicate is nobody else's.
                unsafe {
                    libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
                    let rest = std::iter::from_fn(|| Some(libc::dup(0)).filter(|&fd| fd >= 0));
                    rest.collect::<Vec<_>>()
                        .into_iter()
                        .take(left)
                        .for_each(|fd| {
                            libc::close(fd);
                        });
                }
            };
            // The socket, and two of a segment.
            only(3);
            let enough = Client::open(&name, &Peers::default()).is_ok();
            // What is wrong is said by its number.
            only(2);
            let refused = Client::open(&name, &Peers::default())
                .is_err_and(|error| error.to_string().contains("Too many open files"));
            // SAFETY: the end of this process.
            unsafe { libc::_exit(i32::from(!enough) + 2 * i32::from(!refused)) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "1: too few descriptors; 2: a wrong error");
    });
}

/// Answers that a user's clients do not read count against the server's user, as long as
/// those clients live.
#[test]
fn clients_that_read_nothing_do_not_use_up_the_descriptors_on_their_way() {
    const TEST: &str = "clients_that_read_nothing_do_not_use_up_the_descriptors_on_their_way";
    /// Fewer of them than descriptors that may be on their way, and enough for a server.
    const LIMIT: u64 = 300;
    const OTHER: u32 = 65533;
    alone(TEST, &[], || {
        // SAFETY: gives a number.
        if unsafe { libc::geteuid() } != 0 {
            skipped("two other users: this one is not root");
            return;
        }
        let name = name("unread");
        let (published, connected) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let wait = |pipe: &std::io::PipeReader| {
            let mut pipe = pipe;
            std::io::Read::read(&mut pipe, &mut [0]).is_ok_and(|read| read == 1)
        };
        let tell = |pipe: &std::io::PipeWriter| {
            let mut pipe = pipe;
            std::io::Write::write(&mut pipe, &[1]).is_ok()
        };
        // SAFETY: the child changes its user, asks, and stays until it is ended.
        let rude = unsafe { libc::fork() };
        if rude == 0 {
            // SAFETY: plain calls.
            if !wait(&published.0) || unsafe { libc::setresuid(OTHER, OTHER, OTHER) } != 0 {
                // SAFETY: ends this process.
                unsafe { libc::_exit(1) };
            }
            let mut sockets = Vec::new();
            for _ in 0..500 {
                let socket = connect(&name);
                let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
                let mut answer = [0u8; 4];
                // SAFETY: the buffers are as long as they say. The answer is seen, and
                // stays where it is.
                unsafe {
                    let answer = answer.as_mut_ptr().cast();
                    if libc::recv(fd, answer, 4, 0) == 4 {
                        libc::send(fd, [0u8; 4].as_ptr().cast(), 4, libc::MSG_NOSIGNAL);
                        libc::recv(fd, answer, 4, libc::MSG_PEEK);
                    }
                }
                sockets.push(socket);
            }
            tell(&connected.1);
            loop {
                // SAFETY: waits for the end.
                unsafe { libc::pause() };
            }
        }
        // SAFETY: the child changes its user, publishes, looks, and ends.
        let server = unsafe { libc::fork() };
        if server == 0 {
            let limit = libc::rlimit {
                rlim_cur: LIMIT,
                rlim_max: LIMIT,
            };
            // SAFETY: the structure is there to be read.
            let changed = unsafe {
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0
                    && libc::setresuid(NOBODY, NOBODY, NOBODY) == 0
            };
            let served = || {
                let pool = Pool::builder().reserve(SIZE, 4096, 1).shared(Access::Write);
                let pool = pool.build().ok()?;
                let peers = Peers::default().user(OTHER);
                let _publication = pool.publish(&name, peers).ok()?;
                let all = tell(&published.1) && wait(&connected.0);
                Some(all && Client::open(&name, &Peers::default()).is_ok())
            };
            let right = changed && served() == Some(true);
            // SAFETY: ends this process.
            unsafe { libc::_exit(i32::from(!right)) };
        }
        let mut status = 1;
        // SAFETY: waits for the children made above.
        unsafe {
            libc::waitpid(server, &mut status, 0);
            libc::kill(rude, libc::SIGKILL);
            libc::waitpid(rude, std::ptr::null_mut(), 0);
        }
        assert_eq!(status, 0, "the server could not answer any more");
    });
}

#[test]
fn a_programs_signals_are_left_to_its_own_threads() {
    alone(
        "a_programs_signals_are_left_to_its_own_threads",
        &[],
        || {
            let pool = pool(1);
            let _publication = pool.publish(&name("quiet"), Peers::default()).unwrap();
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let blocked: Vec<_> = tasks
                .filter_map(|task| {
                    let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
                    let field =
                        |name| Some(status.lines().find_map(|line| line.strip_prefix(name))?);
                    let mask = u64::from_str_radix(field("SigBlk:")?.trim(), 16).ok()?;
                    Some((field("Name:")?.trim().to_owned(), mask))
                })
                .collect();
            let servers = blocked.iter().filter(|task| task.0 == "hugepool-share");
            assert_eq!(servers.clone().count(), 1, "{blocked:?}");
            for (_, mask) in servers {
                for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD, libc::SIGUSR1] {
                    assert!(mask >> (signal - 1) & 1 == 1, "{signal} is not blocked");
                }
            }
            // Nor are they blocked for the thread that published.
            assert!(
                blocked
                    .iter()
                    .any(|task| task.1 >> (libc::SIGTERM - 1) & 1 == 0)
            );
        },
    );
}

#[test]
fn only_those_who_may_are_answered() {
    alone("only_those_who_may_are_answered", &[], || {
        // SAFETY: gives a number.
        if unsafe { libc::geteuid() } != 0 {
            skipped("another user: this one is not root");
            return;
        }
        let pool = pool(1);
        let (closed, open) = (name("closed"), name("open"));
        let _closed = pool.publish(&closed, Peers::default()).unwrap();
        let peers = Peers::default().user(NOBODY);
        let _open = pool.publish(&open, peers).unwrap();
        let grouped = name("grouped");
        let peers = Peers::default().group(NOBODY);
        let _grouped = pool.publish(&grouped, peers).unwrap();
        // SAFETY: the child changes its user, looks, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: plain calls, and the end of this process.
            unsafe {
                let changed =
                    libc::setgid(NOBODY) == 0 && libc::setresuid(NOBODY, NOBODY, NOBODY) == 0;
                // The server is root's.
                let server = Peers::default().user(0);
                let is_refused = |name: &str| {
                    Client::open(name, &server).is_err_and(|error| error == ShareError::Refused)
                };
                let right = changed
                    && is_refused(&closed)
                    && Client::open(&open, &server).is_ok()
                    && Client::open(&grouped, &server).is_ok()
                    // Nor does a client take what a stranger offers.
                    && matches!(
                        Client::open(&open, &Peers::default()),
                        Err(ShareError::Peer { user: 0, .. })
                    );
                libc::_exit(i32::from(!right));
            }
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the other user was treated wrongly");
    });
}
