//! Pools that other processes open by name.

mod support;

use hugepool::Pool;
use hugepool::share::{Access, Client, Handle, Peers, ShareError};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::process::Command;
use std::ptr::NonNull;
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

fn is_system(error: &ShareError) -> bool {
    matches!(error, ShareError::System(_))
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
    assert!(!opens(&name), "nobody has it");
    let publication = pool.publish(&name, Peers::default()).unwrap();
    assert!(opens(&name));
    let taken = pool.publish(&name, Peers::default()).unwrap_err();
    assert!(is_system(&taken), "{taken}");
    drop(publication);
    assert!(!opens(&name));
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
            let received = libc::recv(rude.as_raw_fd(), answer.as_mut_ptr().cast(), 64, 0);
            assert!(received <= 0, "it got an answer");
        }
    }
    // One that asks and never reads, and is never waited for.
    let deaf = connect(&name);
    for _ in 0..1000 {
        // SAFETY: as above.
        let sent = unsafe {
            libc::send(
                deaf.as_raw_fd(),
                [0u8; 4].as_ptr().cast(),
                4,
                libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
            )
        };
        if sent < 0 {
            break;
        }
    }
    assert_eq!(polite.refresh(), Ok(0));
    // A flood, whose first ones are kept.
    let flood: Vec<_> = (0..300).map(|_| connect(&name)).collect();
    assert_eq!(polite.refresh(), Ok(0));
    drop((flood, deaf));
    // They have gone when the server has noticed.
    while !opens(&name) {
        std::thread::yield_now();
    }
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
                let is_refused =
                    |name: &str| Client::open(name, &server).is_err_and(|error| is_system(&error));
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
