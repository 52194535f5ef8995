//! What a publication withstands: clients that keep to no rule, strangers, forks, signals,
//! and want of descriptors.

mod support;

use hugepool::Pool;
use hugepool::share::{Access, Peers, ShareError};
use hugepool::vdi::Set;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::process::alone;
use support::published::{SIZE, ask, connect, name, open, opened, pool, receive, refresh};
use support::skipped;

/// A user that is nobody here.
const NOBODY: u32 = 65534;

#[test]
fn clients_that_keep_to_no_rule_are_cut_off_and_harm_nobody() {
    use std::os::fd::AsRawFd;
    let pool = pool(1);
    let name = name("rude");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let polite = opened(&name, &Peers::default()).unwrap();
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
    assert_eq!(receive(&deaf, 64, 0), 4, "it is greeted");
    while ask(&deaf) {}
    // What is there to be read, besides that the connection is gone.
    let answers = (0..).take_while(|_| receive(&deaf, 64, 0) > 4).count();
    assert_eq!(answers, 1, "more are on their way");
    assert_eq!(refresh(&polite), Ok(0));
    // A flood, whose last ones are kept, but not for long.
    let flood: Vec<_> = (0..300).map(|_| connect(&name)).collect();
    assert_eq!(refresh(&polite), Ok(0));
    assert!(open(&name).is_ok(), "others are not kept out");
    drop((flood, deaf));
    assert!(open(&name).is_ok());
}

/// In a process of its own, since it forks.
#[test]
fn a_child_of_a_fork_can_drop_a_publication_and_the_name_goes_with_the_parents() {
    const TEST: &str =
        "a_child_of_a_fork_can_drop_a_publication_and_the_name_goes_with_the_parents";
    alone(TEST, &[], || {
        let (pool, set) = (pool(1), Arc::new(Set::new()));
        let name = name("forked");
        let publication = pool.publish(&name, Peers::default()).unwrap();
        // SAFETY: the child drops what it has, looks, and stays until it is ended.
        let child = unsafe { libc::fork() };
        if child == 0 {
            support::end_if_forgotten();
            // SAFETY: ends this process at the end.
            unsafe {
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
        assert!(open(&name).is_ok(), "it is the parent's");
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
        let done = AtomicBool::new(false);
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

/// How many descriptors this process has.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// In a process of its own, whose descriptors are counted.
#[test]
fn a_publication_takes_one_descriptor_however_many_clients_and_segments_there_are() {
    const TEST: &str =
        "a_publication_takes_one_descriptor_however_many_clients_and_segments_there_are";
    alone(TEST, &[], || {
        let pool = pool(1);
        for _ in 1..100 {
            pool.request(SIZE, 4096, 1).unwrap();
        }
        let name = name("descriptors");
        let before = descriptors();
        let publication = pool.publish(&name, Peers::default()).unwrap();
        assert_eq!(descriptors(), before + 1);
        let client = opened(&name, &Peers::default()).unwrap();
        assert_eq!(descriptors(), before + 1, "a client has none");
        let idle: Vec<_> = (0..60).map(|_| connect(&name)).collect();
        assert_eq!(refresh(&client), Ok(0));
        let own = before + 1 + idle.len();
        assert_eq!(
            descriptors(),
            own,
            "those who are idle cost the server none"
        );
        drop((idle, client, publication));
        assert_eq!(descriptors(), before);
    });
}

/// In a process of its own, all of whose descriptors are in use.
#[test]
fn clients_and_servers_do_without_a_descriptor_of_the_programs() {
    const TEST: &str = "clients_and_servers_do_without_a_descriptor_of_the_programs";
    alone(TEST, &[], || {
        let pool = pool(1);
        let name = name("no descriptor");
        let _publication = pool.publish(&name, Peers::default()).unwrap();
        let limit = libc::rlimit {
            rlim_cur: 200,
            rlim_max: 200,
        };
        // SAFETY: the structure is there to be read; a duplicate is nobody else's.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
            while libc::dup(0) >= 0 {}
        }
        let client = opened(&name, &Peers::default()).unwrap();
        pool.request(SIZE, 4096, 1)
            .expect_err("new memory needs descriptors");
        assert_eq!(refresh(&client), Ok(0));
        // What cannot be had says which call it was for.
        let refused = pool.publish("another", Peers::default()).unwrap_err();
        assert!(
            refused.to_string().contains("Too many open files"),
            "{refused}"
        );
    });
}

/// The thread that serves has few descriptors itself.
#[test]
fn who_is_idle_makes_room_where_descriptors_are_few() {
    const TEST: &str = "who_is_idle_makes_room_where_descriptors_are_few";
    alone(TEST, &[], || {
        let pool = pool(1);
        let name = name("few descriptors");
        let _publication = pool.publish(&name, Peers::default()).unwrap();
        let idle: Vec<_> = (0..40).map(|_| connect(&name)).collect();
        // Of another process, since this one keeps what it has.
        let few = |count| {
            let limit = libc::rlimit {
                rlim_cur: count,
                rlim_max: 1000,
            };
            // SAFETY: the structure is there to be read.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0 }
        };
        // Fewer than are connected: nobody can be accepted until some are gone.
        assert!(few(20));
        for _ in 0..10 {
            assert_eq!(open(&name), Ok(()));
        }
        drop(idle);
    });
}

/// Answers that a user's clients do not read count against the server's user, as long as
/// those clients live.
#[test]
fn clients_that_read_nothing_do_not_use_up_the_descriptors_on_their_way() {
    const TEST: &str = "clients_that_read_nothing_do_not_use_up_the_descriptors_on_their_way";
    /// Fewer of them than descriptors that may be on their way, and enough for a server.
    const LIMIT: u64 = 300;
    /// Each of them may leave a few unread.
    const PROCESSES: usize = 128;
    const OTHER: u32 = 65533;
    alone(TEST, &[], || {
        // SAFETY: gives a number.
        if unsafe { libc::geteuid() } != 0 {
            skipped("two other users: this one is not root");
            return;
        }
        let name = name("unread");
        let (published, connected) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let wait = |mut pipe: &std::io::PipeReader| {
            let mut told = [0];
            let read = std::io::Read::read(&mut pipe, &mut told);
            read.ok().filter(|&read| read == 1).map(|_| told[0] == 1)
        };
        let tell = |mut pipe: &std::io::PipeWriter, what: bool| {
            std::io::Write::write(&mut pipe, &[what.into()]).is_ok()
        };
        // SAFETY: the child changes its user, has children that ask, and stays, as they do,
        // until all are ended.
        let rude = unsafe { libc::fork() };
        if rude == 0 {
            // SAFETY: plain calls.
            let other = unsafe {
                libc::setpgid(0, 0) == 0 && wait(&published.0) == Some(true) && {
                    libc::setresuid(OTHER, OTHER, OTHER) == 0
                }
            };
            // SAFETY: plain calls; the first to be 0 is in a child.
            let _ = (1..PROCESSES).all(|_| other && unsafe { libc::fork() } != 0);
            if !other {
                // SAFETY: ends this process.
                unsafe { libc::_exit(1) };
            }
            let (mut sockets, mut answered) = (Vec::new(), false);
            for number in 0..8 {
                let socket = connect(&name);
                if receive(&socket, 4, 0) == 4 && ask(&socket) {
                    // The first one's answer is seen, and stays where it is.
                    answered |= number == 0 && receive(&socket, 64, libc::MSG_PEEK) > 4;
                    // It is cut off, or waits for those before it to be read.
                    ask(&socket);
                }
                sockets.push(socket);
            }
            tell(&connected.1, answered);
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
                let pool = pool.build_volatile().ok()?;
                let peers = Peers::default().user(OTHER);
                let _publication = pool.publish(&name, peers).ok()?;
                tell(&published.1, true);
                let answered = (0..PROCESSES).map(|_| wait(&connected.0));
                let answered: Vec<_> = answered.collect::<Option<_>>()?;
                let some = answered.contains(&true);
                Some(some && opened(&name, &Peers::default()).is_ok())
            };
            let right = changed && served() == Some(true);
            // SAFETY: ends this process.
            unsafe { libc::_exit(i32::from(!right)) };
        }
        let mut status = 1;
        // SAFETY: waits for the children made above.
        unsafe {
            libc::waitpid(server, &mut status, 0);
            libc::kill(-rude, libc::SIGKILL);
            libc::waitpid(rude, std::ptr::null_mut(), 0);
        }
        assert_eq!(status, 0, "the server could not answer any more");
    });
}

/// In a process of its own, since it forks.
#[test]
fn a_process_that_reads_nothing_leaves_the_others_of_its_user_their_share() {
    const TEST: &str = "a_process_that_reads_nothing_leaves_the_others_of_its_user_their_share";
    alone(TEST, &[], || {
        let pool = pool(1);
        let name = name("greedy");
        let _publication = pool.publish(&name, Peers::default()).unwrap();
        let (answered, told) = std::io::pipe().unwrap();
        // SAFETY: the child asks, says that there is an answer which it has not read, and stays
        // until it is ended.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let sockets: Vec<_> = (0..64).map(|_| connect(&name)).collect();
            let greeted = |socket: &&_| receive(socket, 4, 0) == 4 && ask(socket);
            let mut asked: Vec<_> = sockets.iter().filter(greeted).collect();
            // The first one's answer is seen, and stays where it is: it is cut off.
            let first = asked
                .first()
                .map(|first| receive(first, 64, libc::MSG_PEEK));
            asked.retain(|socket| ask(socket));
            // Who comes after those that were cut off is told so, and does not wait for them.
            let late = connect(&name);
            let over = receive(&late, 4, 0) == 4 && ask(&late) && receive(&late, 64, 0) == 0;
            let unread = u8::from(first > Some(4) && over);
            let _ = std::io::Write::write(&mut &told, &[unread]);
            loop {
                // SAFETY: waits for the end.
                unsafe { libc::pause() };
            }
        }
        drop(told);
        let mut unread = [0];
        let read = std::io::Read::read(&mut &answered, &mut unread);
        let opened = open(&name);
        // SAFETY: ends the child made above.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        assert!(read.is_ok_and(|read| read == 1) && unread[0] > 0);
        assert_eq!(opened, Ok(()));
    });
}

#[test]
fn a_process_that_asks_for_much_at_once_is_answered_as_it_reads() {
    let pool = pool(1);
    let name = name("many at once");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let asked = (0..16).map(|_| connect(&name)).collect::<Vec<_>>();
    for socket in &asked {
        assert_eq!(receive(socket, 64, 0), 4, "it is greeted");
        assert!(ask(socket));
    }
    // So that the server most likely has nothing more to do, and waits.
    std::thread::sleep(std::time::Duration::from_millis(20));
    // From the first on: later ones wait until these are read, of which nobody tells it.
    for socket in &asked {
        assert!(receive(socket, 64, 0) > 4);
    }
}

#[test]
fn a_programs_signals_are_left_to_its_own_threads() {
    alone(
        "a_programs_signals_are_left_to_its_own_threads",
        &[],
        || {
            let pool = pool(1);
            let name = name("quiet");
            let _publication = pool.publish(&name, Peers::default()).unwrap();
            // Who has answered has begun.
            open(&name).unwrap();
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let blocked: Vec<_> = tasks
                .filter_map(|task| {
                    let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
                    let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
                    let mask = u64::from_str_radix(field("SigBlk:")?.trim(), 16).ok()?;
                    Some((field("Name:")?.trim().to_owned(), mask))
                })
                .collect();
            const SERVERS: [&str; 2] = ["hugepool-share", "hugepool-answer"];
            for name in SERVERS {
                assert!(blocked.iter().any(|task| task.0 == name), "{blocked:?}");
            }
            // A thread that one of them has just started has its name at first.
            for (_, mask) in blocked.iter().filter(|task| SERVERS.contains(&&*task.0)) {
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
                    opened(name, &server).is_err_and(|error| error == ShareError::Refused)
                };
                let right = changed
                    && is_refused(&closed)
                    && opened(&open, &server).is_ok()
                    && opened(&grouped, &server).is_ok()
                    // Nor does a client take what a stranger offers.
                    && matches!(
                        opened(&open, &Peers::default()),
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
