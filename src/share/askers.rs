//! Who has connected to a server, and whose turn it is.
//!
//! Owns: what is known of each, and the order in which they are answered. Uses: `sys`. Used
//! by: `serve`.
//!
//! ```text
//!   one asks ──▶ answered                      few answers of its process are unread
//!          ├────▶ waits ──▶ answered           one of them was read
//!          └────▶ cut off                      they never will be
//! ```
//!
//! They are a line: who connects goes to its end, and so does who has been answered. Of a
//! process, nobody is answered before one that is ahead of him and has asked before him. So a
//! process that asks over its connections in turn, and reads the answers in that order, does
//! not wait for one that comes only when it has read others.

use crate::sys::peer::Peer;
use crate::sys::socket;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How many answers of a process may be unread, cut off or not: so one that reads nothing
/// leaves its user's others some.
const MAX_UNREAD_OF_PROCESS: usize = 4;

/// A client that is connected, or was.
pub(super) struct Asker {
    pub(super) socket: OwnedFd,
    pub(super) peer: Peer,
    /// Whether it was sent descriptors.
    pub(super) answered: bool,
}

impl Asker {
    /// Whether descriptors are on their way to it.
    pub(super) fn is_unread(&self) -> bool {
        self.answered && socket::is_unread(self.socket.as_fd()).unwrap_or(false)
    }
}

/// Which of `askers`, which are too many, is to go: the first of the process that has the
/// most, of the user that has.
pub(super) fn one_too_many(askers: &[Asker]) -> usize {
    let weight = |asker: &Asker| {
        let Peer { user, process, .. } = asker.peer;
        let of_user = askers.iter().filter(|other| other.peer.user == user);
        // Those of namespaces that are not to be seen have the number 0.
        let of_process = askers.iter().filter(|other| other.peer.process == process);
        let processes = if process == 0 { 1 } else { of_process.count() };
        (of_user.count(), processes)
    };
    // The first of the heaviest.
    let heaviest = askers.iter().enumerate().rev();
    let found = heaviest.max_by_key(|(_, asker)| weight(asker));
    found.map_or(0, |(at, _)| at)
}

/// What becomes of one who asks.
#[derive(PartialEq, Eq)]
pub(super) enum Turn {
    Answer,
    /// Its question stays where it is for now.
    Wait,
    /// It is cut off.
    Over,
}

/// What becomes of the one at `at` if it asks, beside those who have `departed`; `unread` says
/// which of `askers` have not read what they were sent. It is not answered while others of its
/// process have answers that they have not read. Most are about to; those that were cut off are
/// not.
pub(super) fn turn_of(askers: &[Asker], departed: &[Asker], at: usize, unread: &[bool]) -> Turn {
    let process = askers[at].peer.process;
    // Those of namespaces that are not to be seen have the number 0.
    if process == 0 {
        return Turn::Answer;
    }
    let departed = departed.iter();
    let departed = departed
        .filter(|other| other.peer.process == process)
        .count();
    let others = askers.iter().zip(unread).enumerate();
    let unread = others.filter(|&(other, (asker, &unread))| {
        other != at && unread && asker.peer.process == process
    });
    match MAX_UNREAD_OF_PROCESS {
        most if departed >= most => Turn::Over,
        most if departed + unread.count() >= most => Turn::Wait,
        _ => Turn::Answer,
    }
}

/// Those that may have asked before some that a look at those in `asking` has found, as `found`
/// says. Some were not looked at: they wait. And the look comes to one after the other: one that
/// it has passed may ask, and then some that it finds.
pub(super) fn overlooked(askers: &[Asker], asking: &[usize], found: &[bool]) -> Vec<usize> {
    if !found.contains(&true) {
        return Vec::new();
    }
    let passed = asking.iter().zip(found).filter(|both| !both.1);
    let passed: Vec<usize> = passed.map(|(&at, _)| at).collect();
    let sockets = passed.iter().map(|&at| askers[at].socket.as_fd());
    // Whoever asked before one that was found has asked by now.
    let by_now = socket::wait(&sockets.collect::<Vec<_>>(), Some(Duration::ZERO));
    let by_now = by_now.unwrap_or_default();
    let late = passed.into_iter().zip(by_now).filter(|both| both.1);
    let waiting = (0..askers.len()).filter(|at| !asking.contains(at));
    waiting.chain(late.map(|(at, _)| at)).collect()
}

/// Whether one of `overlooked` is of the same process as the one at `at`, and ahead of it.
pub(super) fn comes_after(askers: &[Asker], at: usize, overlooked: &[usize]) -> bool {
    let process = askers[at].peer.process;
    let of_it = |&other: &usize| askers[other].peer.process == process;
    // Those of namespaces that are not to be seen have the number 0, and no turns.
    process != 0 && overlooked.iter().any(|other| *other < at && of_it(other))
}

/// Which of the askers have not read what they were sent.
pub(super) fn all_unread(askers: &[Asker]) -> Vec<bool> {
    askers.iter().map(Asker::is_unread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(user: u32, process: i32) -> Asker {
        let group = 0;
        Asker {
            socket: socket::pair().unwrap().0,
            peer: Peer {
                process,
                user,
                group,
            },
            answered: false,
        }
    }

    #[test]
    fn of_too_many_the_one_that_goes_is_of_who_has_most() {
        let which = |askers: &[(u32, i32)]| {
            let askers: Vec<_> = askers.iter().map(|&(user, pid)| asker(user, pid)).collect();
            one_too_many(&askers)
        };
        // The first, if all have one.
        assert_eq!(which(&[(0, 1), (0, 2), (0, 3)]), 0);
        assert_eq!(which(&[(0, 1), (0, 2), (0, 3), (0, 2)]), 1);
        // Users count before processes.
        assert_eq!(which(&[(0, 1), (0, 1), (7, 2), (7, 3), (7, 4)]), 2);
        assert_eq!(which(&[(0, 1), (7, 2), (7, 3), (7, 3)]), 2);
    }

    #[test]
    fn who_may_have_asked_before_goes_before_those_behind_of_its_process() {
        let (mut askers, mut theirs) = (Vec::new(), Vec::new());
        for process in [1, 2, 1, 1, 0, 0] {
            let (mine, other) = socket::pair().unwrap();
            askers.push(Asker {
                socket: mine,
                ..asker(0, process)
            });
            theirs.push(other);
        }
        let (asking, found) = ([0, 1, 3, 4, 5], [false, true, true, false, true]);
        assert_eq!(overlooked(&askers, &asking, &found), [2]);
        for at in [0, 4] {
            socket::send(theirs[at].as_fd(), b"x", &[]).unwrap();
        }
        assert_eq!(overlooked(&askers, &asking, &[false; 5]), []);
        let overlooked = overlooked(&askers, &asking, &found);
        assert_eq!(overlooked, [2, 0, 4]);
        let after = [0, 1, 2, 3, 4, 5].map(|at| comes_after(&askers, at, &overlooked));
        // Nobody knows of what process those are that have the number 0.
        assert_eq!(after, [false, false, true, true, false, false]);
    }
}
