//! Who may be at the other end of a connection.
//!
//! Owns: the list, and the check. Uses: `error`, `sys`. Used by: callers, both sides of a
//! connection.

use super::error::ShareError;
use crate::sys::peer::{self, Overflow, Peer};
use std::os::fd::BorrowedFd;

/// Who may be at the other end. By default, this process's own user.
///
/// Users and groups are numbers of this process's user namespace. One that it does not have
/// appears as the overflow user (65534), and is nobody's: such a peer is refused
/// ([`ShareError::Unmapped`]), whatever the list says, unless it is in the same user
/// namespace as this process (which the kernel says from Linux 6.5 on).
///
/// ```
/// use hugepool::share::Peers;
///
/// // Whoever is a member of group 1002, and this process's own user.
/// let peers = Peers::default().group(1002);
/// # assert_ne!(peers, Peers::default());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            users: vec![peer::own_user()],
            groups: Vec::new(),
        }
    }
}

impl Peers {
    /// Also this user.
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        self.users.push(user);
        self
    }

    /// Also the members of this group, supplementary ones, too.
    #[must_use]
    pub fn group(mut self, group: u32) -> Self {
        self.groups.push(group);
        self
    }

    /// Nobody.
    #[cfg(test)]
    pub(super) fn nobody() -> Self {
        Self {
            users: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Who is at the other end of `socket`, if it may be.
    pub(super) fn check(&self, socket: BorrowedFd<'_>) -> Result<Peer, ShareError> {
        let peer = Peer::of(socket).map_err(ShareError::system("getsockopt"))?;
        // Nothing is asked that nobody needs to know.
        let groups = match self.groups.is_empty() {
            true => Vec::new(),
            false => peer::groups(socket).map_err(ShareError::system("getsockopt"))?,
        };
        let overflow = Overflow::here();
        let here = || peer::is_of_this_namespace(socket);
        self.judge(peer, &groups, overflow, here)
    }

    /// What `check` says of `peer`, which has supplementary `groups`, where `overflow` is
    /// what it is; `here` says whether it is in this namespace.
    fn judge(
        &self,
        peer: Peer,
        groups: &[u32],
        overflow: Overflow,
        here: impl FnOnce() -> bool,
    ) -> Result<Peer, ShareError> {
        let Peer { user, group, .. } = peer;
        let all = || groups.iter().chain([&group]);
        let is_meant = |group: &&u32| self.groups.contains(group);
        // By a number that is one user's, or one group's, alone.
        let by_user = self.users.contains(&user) && Some(user) != overflow.user;
        let by_group = all().any(|group| is_meant(&group) && Some(*group) != overflow.group);
        if by_user || by_group {
            return Ok(peer);
        }
        let by_any = self.users.contains(&user) || all().any(|group| is_meant(&group));
        match by_any {
            true if here() => Ok(peer),
            true => Err(ShareError::Unmapped { user, group }),
            false => Err(ShareError::Peer { user, group }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERFLOW: u32 = 65534;

    fn judged(peers: &Peers, user: u32, group: u32, groups: &[u32], here: bool) -> &'static str {
        let peer = Peer {
            process: 1,
            user,
            group,
        };
        let overflow = Overflow {
            user: Some(OVERFLOW),
            group: Some(OVERFLOW),
        };
        match peers.judge(peer, groups, overflow, || here) {
            Ok(_) => "welcome",
            Err(ShareError::Unmapped { .. }) => "unmapped",
            Err(ShareError::Peer { .. }) => "stranger",
            Err(_) => "error",
        }
    }

    fn of(users: &[u32], groups: &[u32]) -> Peers {
        Peers {
            users: users.to_vec(),
            groups: groups.to_vec(),
        }
    }

    #[test]
    fn a_member_of_a_group_is_welcome_whichever_of_its_groups_that_is() {
        let peers = of(&[0], &[7]);
        assert_eq!(judged(&peers, 1, 7, &[], false), "welcome");
        assert_eq!(judged(&peers, 1, 2, &[3, 7, 9], false), "welcome");
        assert_eq!(judged(&peers, 1, 2, &[3, 9], false), "stranger");
        assert_eq!(judged(&peers, 0, 2, &[], false), "welcome");
    }

    #[test]
    fn the_user_that_stands_for_many_is_nobody_outside_this_namespace() {
        // Whoever runs as the overflow user names it by default.
        let peers = of(&[OVERFLOW], &[]);
        assert_eq!(judged(&peers, OVERFLOW, OVERFLOW, &[], false), "unmapped");
        assert_eq!(judged(&peers, OVERFLOW, OVERFLOW, &[], true), "welcome");
        assert_eq!(judged(&peers, 1, OVERFLOW, &[], true), "stranger");
        let peers = of(&[0], &[OVERFLOW, 7]);
        assert_eq!(judged(&peers, 1, OVERFLOW, &[], false), "unmapped");
        assert_eq!(judged(&peers, 1, 1, &[OVERFLOW], false), "unmapped");
        assert_eq!(judged(&peers, 1, 1, &[OVERFLOW, 7], false), "welcome");
        assert_eq!(judged(&peers, OVERFLOW, 1, &[], false), "stranger");
    }

    #[test]
    fn where_every_user_has_a_number_none_stands_for_many() {
        let peer = Peer {
            process: 1,
            user: OVERFLOW,
            group: OVERFLOW,
        };
        let none = Overflow {
            user: None,
            group: None,
        };
        let judged = of(&[OVERFLOW], &[]).judge(peer, &[], none, || false);
        assert_eq!(judged, Ok(peer));
    }
}
