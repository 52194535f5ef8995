//! Who is at the other end: users and groups, and those that a user namespace does not have.

mod support;

use hugepool::share::{Peers, ShareError};
use std::io::{PipeReader, PipeWriter, Read, Write};
use support::process::alone;
use support::published::{name, opened, pool};
use support::skipped;

/// Users and a group that are nobody's here.
const SERVER: u32 = 61001;
const STRANGER: u32 = 61002;
const GROUP: u32 = 61003;
/// What stands for all that a namespace does not have, unless somebody has changed it.
const OVERFLOW: u32 = 65534;

/// Makes a child of this process, which ends with what `run` gives: 0 is right. Must be
/// waited for.
fn child(run: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs `run` and ends; a panic in it is an end, too.
    match unsafe { libc::fork() } {
        0 => {
            let run = std::panic::AssertUnwindSafe(run);
            let end = std::panic::catch_unwind(run).unwrap_or(99);
            // SAFETY: ends this process.
            unsafe { libc::_exit(end) }
        }
        child => child,
    }
}

fn ended(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: waits for a child of this process.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "{status:#x}");
    libc::WEXITSTATUS(status)
}

/// A step that one process takes and another waits for.
struct Step(PipeReader, PipeWriter);

impl Step {
    fn new() -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        Self(reader, writer)
    }

    fn done(&self) {
        (&self.1).write_all(&[1]).unwrap();
    }

    fn wait(&self) {
        (&self.0).read_exact(&mut [0]).unwrap();
    }
}

/// Becomes `user`, with `groups` besides a group of its own.
fn become_user(user: u32, groups: &[u32]) {
    // SAFETY: plain calls; the numbers are as many as it says.
    unsafe {
        assert_eq!(libc::setgroups(groups.len(), groups.as_ptr()), 0);
        assert_eq!(libc::setresgid(user, user, user), 0);
        assert_eq!(libc::setresuid(user, user, user), 0);
        // What others may look at depends on it.
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
    }
}

fn is_root() -> bool {
    // SAFETY: gives a number.
    unsafe { libc::geteuid() == 0 }
}

/// Whether this kernel says of which process a socket's other end is.
fn says_which_process() -> bool {
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let (mut fd, mut len) = (-1, 4);
    // SAFETY: the number is there to be written; what it is, is closed.
    unsafe {
        let socket = std::os::fd::AsRawFd::as_raw_fd(&one);
        let place = (&raw mut fd).cast();
        let said = libc::getsockopt(socket, libc::SOL_SOCKET, 77, place, &mut len) == 0;
        if said {
            libc::close(fd);
        }
        said
    }
}

#[test]
fn a_member_of_a_group_by_supplementary_membership_is_let_in() {
    const TEST: &str = "a_member_of_a_group_by_supplementary_membership_is_let_in";
    alone(TEST, &[], || {
        if !is_root() {
            return skipped("other users and groups: this one is not root");
        }
        let pool = pool(1);
        let name = name("group");
        let peers = Peers::default().group(GROUP);
        let _publication = pool.publish(&name, peers).unwrap();
        let opened = |groups: &'static [u32]| {
            let client = child(|| {
                become_user(STRANGER, groups);
                match opened(&name, &Peers::default().user(0)) {
                    Ok(_) => 0,
                    Err(ShareError::Refused) => 1,
                    Err(_) => 2,
                }
            });
            ended(client)
        };
        assert_eq!(opened(&[]), 1);
        assert_eq!(opened(&[GROUP + 1]), 1);
        assert_eq!(opened(&[GROUP]), 0);
        assert_eq!(opened(&[1, 2, GROUP, 70000]), 0);
        let many: &'static [u32] = Box::leak((GROUP..GROUP + 300).rev().collect());
        assert_eq!(opened(many), 0);
    });
}

/// A child in a user namespace of its own, which has `SERVER` alone, and calls it
/// `OVERFLOW`.
fn in_a_namespace(run: impl FnOnce() -> i32) -> Option<i32> {
    let (entered, mapped) = (Step::new(), Step::new());
    let child = child(|| {
        become_user(SERVER, &[]);
        // SAFETY: takes numbers.
        if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
            entered.done();
            return 77;
        }
        entered.done();
        mapped.wait();
        // SAFETY: gives a number.
        assert_eq!(unsafe { libc::geteuid() }, OVERFLOW);
        run()
    });
    entered.wait();
    let write =
        |file: &str, text: String| std::fs::write(format!("/proc/{child}/{file}"), text).is_ok();
    let one = format!("{OVERFLOW} {SERVER} 1");
    if !write("uid_map", one.clone()) || !write("gid_map", one) {
        // SAFETY: ends the child made above.
        unsafe { libc::kill(child, libc::SIGKILL) };
        let mut status = 0;
        // SAFETY: waits for it.
        unsafe { libc::waitpid(child, &mut status, 0) };
        return None;
    }
    mapped.done();
    Some(child)
}

#[test]
fn a_server_in_a_namespace_does_not_take_the_users_that_it_has_not_for_its_own() {
    const TEST: &str =
        "a_server_in_a_namespace_does_not_take_the_users_that_it_has_not_for_its_own";
    alone(TEST, &[], || {
        if !is_root() {
            return skipped("other users: this one is not root");
        }
        let name = name("namespace");
        let (published, over) = (Step::new(), Step::new());
        let server = in_a_namespace(|| {
            let pool = pool(1);
            let _publication = pool.publish(&name, Peers::default()).unwrap();
            // One of its own, in the same namespace.
            let own = opened(&name, &Peers::default()).map(drop);
            let right = match own {
                Ok(()) => true,
                Err(ShareError::Unmapped { user: OVERFLOW, .. }) => !says_which_process(),
                Err(_) => false,
            };
            published.done();
            over.wait();
            i32::from(!right)
        });
        let Some(server) = server else {
            return skipped("user namespaces: they cannot be had here");
        };
        published.wait();
        let stranger = child(|| {
            become_user(STRANGER, &[]);
            match opened(&name, &Peers::default().user(SERVER)) {
                Err(ShareError::Refused) => 0,
                Ok(_) => 1,
                Err(_) => 2,
            }
        });
        let stranger = ended(stranger);
        over.done();
        assert_eq!(stranger, 0, "1: the stranger was welcome");
        assert_eq!(ended(server), 0, "its own user was refused");
    });
}

#[test]
fn a_client_in_a_namespace_does_not_take_another_users_server_for_its_own() {
    const TEST: &str = "a_client_in_a_namespace_does_not_take_another_users_server_for_its_own";
    alone(TEST, &[], || {
        if !is_root() {
            return skipped("other users: this one is not root");
        }
        let name = name("believed");
        let (published, over) = (Step::new(), Step::new());
        let server = child(|| {
            become_user(STRANGER, &[]);
            let pool = pool(1);
            // It has the client's user.
            let peers = Peers::default().user(SERVER);
            let _publication = pool.publish(&name, peers).unwrap();
            published.done();
            over.wait();
            0
        });
        published.wait();
        let client = in_a_namespace(|| match opened(&name, &Peers::default()) {
            Err(ShareError::Unmapped { user: OVERFLOW, .. }) => 0,
            Ok(_) => 1,
            Err(_) => 2,
        });
        let client = client.map(ended);
        over.done();
        assert_eq!(ended(server), 0);
        match client {
            Some(client) => assert_eq!(client, 0, "1: it believed the server"),
            None => skipped("user namespaces: they cannot be had here"),
        }
    });
}
