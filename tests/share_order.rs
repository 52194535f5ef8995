//! In which order a server answers the connections of one process, whenever it looks at them.
//!
//! This program has a `poll` of its own, which the library's calls come to, too: it looks at one
//! descriptor after the other, as the kernel does, and stops before the one that a test says
//! until that goes on. What happens meanwhile happens in the kernel when the processor is taken
//! from a thread within the call.

#![allow(
    clippy::disallowed_types,
    reason = "a test waits for the server, and the server for the test"
)]

mod support;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard};
use support::published::{ask, connect, name, pool, receive};

/// Where the next look of a server stops.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    Nowhere,
    /// Before the descriptor of this number in the list, 0 for the one by which it ends.
    Before(usize),
    /// It has.
    Stopped,
}

static STOP: Mutex<Stop> = Mutex::new(Stop::Nowhere);
static CHANGED: Condvar = Condvar::new();
/// One test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn set(stop: Stop) {
    *STOP.lock().unwrap() = stop;
    CHANGED.notify_all();
}

fn wait_until(mut is: impl FnMut(Stop) -> bool) -> MutexGuard<'static, Stop> {
    let stop = STOP.lock().unwrap();
    CHANGED.wait_while(stop, |stop| !is(*stop)).unwrap()
}

/// Stops, if it is to be before the descriptor `at`.
fn stop_before(at: usize) {
    if *STOP.lock().unwrap() == Stop::Before(at) {
        set(Stop::Stopped);
        drop(wait_until(|stop| stop != Stop::Stopped));
    }
}

fn kernel(descriptors: &mut [libc::pollfd], limit: libc::c_int) -> libc::c_int {
    let limit = libc::timespec {
        tv_sec: i64::from(limit / 1000),
        tv_nsec: i64::from(limit % 1000) * 1_000_000,
    };
    let forever = limit.tv_sec < 0 || limit.tv_nsec < 0;
    let limit = if forever {
        std::ptr::null()
    } else {
        &raw const limit
    };
    let (list, count) = (descriptors.as_mut_ptr(), descriptors.len());
    let mask = std::ptr::null::<libc::sigset_t>();
    // SAFETY: as many as it says, and a time that is there, or none.
    unsafe { libc::syscall(libc::SYS_ppoll, list, count, limit, mask, 0) as libc::c_int }
}

/// `poll(2)`.
///
/// # Safety
///
/// As that.
#[unsafe(no_mangle)]
unsafe extern "C" fn poll(
    list: *mut libc::pollfd,
    count: libc::nfds_t,
    limit: libc::c_int,
) -> libc::c_int {
    // SAFETY: the caller's.
    let list = unsafe { std::slice::from_raw_parts_mut(list, count as usize) };
    // A server has the end, two that are connected or more, and who may connect.
    if list.len() < 4 || limit == 0 {
        return kernel(list, limit);
    }
    kernel(list, limit);
    let found = list.iter_mut().enumerate().map(|(at, one)| {
        stop_before(at);
        kernel(std::slice::from_mut(one), 0)
    });
    found.sum()
}

/// Waits until one of `sockets` has an answer. Whether the first one has one by then.
fn first_is_answered(sockets: &[OwnedFd]) -> bool {
    let entry = |socket: &OwnedFd| libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut all: Vec<_> = sockets.iter().map(entry).collect();
    assert!(kernel(&mut all, -1) > 0);
    // It may have been answered behind the look.
    kernel(&mut all[..1], 0) == 1
}

fn greeted(name: &str) -> OwnedFd {
    let socket = connect(name);
    assert_eq!(receive(&socket, 4, 0), 4, "it is greeted");
    socket
}

fn has_answer(socket: &OwnedFd) -> bool {
    receive(socket, 64, 0) > 4
}

#[test]
fn who_asks_behind_a_servers_look_is_answered_before_those_that_ask_later_and_are_found() {
    let _alone = ALONE.lock();
    let pool = pool(1);
    let name = name("behind the look");
    let _publication = pool
        .publish(&name, hugepool::share::Peers::default())
        .unwrap();
    let sockets: Vec<_> = (0..6).map(|_| greeted(&name)).collect();
    // Behind the first of them.
    set(Stop::Before(2));
    let _looks = connect(&name);
    drop(wait_until(|stop| stop == Stop::Stopped));
    assert!(sockets.iter().all(ask));
    set(Stop::Nowhere);
    assert!(first_is_answered(&sockets), "others were");
    assert!(sockets.iter().all(has_answer));
}

#[test]
fn who_waits_for_his_turn_has_it_before_those_that_ask_again() {
    let _alone = ALONE.lock();
    let pool = pool(1);
    let name = name("again");
    let _publication = pool
        .publish(&name, hugepool::share::Peers::default())
        .unwrap();
    let sockets: Vec<_> = (0..5).map(|_| greeted(&name)).collect();
    assert!(sockets.iter().all(ask));
    let (most, last) = sockets.split_at(4);
    for socket in most {
        assert!(receive(socket, 64, libc::MSG_PEEK) > 4);
    }
    // It is to look whether those four have asked again: the last one waits for them.
    set(Stop::Before(0));
    drop(wait_until(|stop| stop == Stop::Stopped));
    assert!(most.iter().all(has_answer) && most.iter().all(ask));
    set(Stop::Nowhere);
    let mut turns: Vec<_> = last
        .iter()
        .chain(most)
        .map(|socket| socket.try_clone().unwrap())
        .collect();
    assert!(first_is_answered(&turns), "others were");
    assert!(turns.drain(..).all(|socket| has_answer(&socket)));
}
