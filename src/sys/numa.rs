//! NUMA: the policy by which a range gets its pages, and where they are.
//!
//! Owns: `mbind` and `get_mempolicy`. Uses: libc, `node` for whether there are several. Used
//! by: `map` for what has no policy of a caller's, `arena`, `stats`, `machine`.
//!
//! Where there are several nodes the kernel *balances*: it unmaps pages of ordinary memory
//! from time to time, to see by the faults who uses them (`numa_hint_faults` in `/proc/vmstat`),
//! and moves them to that node, whole huge pages, too. It does so where a range has no policy
//! of its own, and its thread none. So what is `settled` is left alone: it has the policy that
//! it would have had anyway, as its own.
//!
//! ```text
//!   the thread's policy                that of a range which is settled
//!   none                          ──▶  local: from the node of whoever touches it first
//!   one set by set_mempolicy(2),  ──▶  the same
//!   numactl(8), say
//! ```
//!
//! Memory that may not be accessed is not watched, nor are pages of the hugetlb pool, nor
//! memory with a descriptor that has no policy.
//!
//! Source: mbind(2), get_mempolicy(2), and the kernel's pages on memory policy and on
//! `numa_balancing`.

use super::node;
use std::io;
use std::ptr::NonNull;

const MPOL_DEFAULT: libc::c_int = 0;
const MPOL_PREFERRED: libc::c_int = 1;
const MPOL_BIND: libc::c_int = 2;
const MPOL_INTERLEAVE: libc::c_int = 3;
const MPOL_LOCAL: libc::c_int = 4;
/// In a thread's policy: pages are watched all the same.
const MPOL_F_NUMA_BALANCING: libc::c_int = 1 << 13;
const MPOL_F_NODE: libc::c_ulong = 1;
const MPOL_F_ADDR: libc::c_ulong = 2;
const MPOL_F_MEMS_ALLOWED: libc::c_ulong = 4;
const MPOL_MF_STRICT: libc::c_uint = 1;
const MPOL_MF_MOVE: libc::c_uint = 2;

/// Nodes a mask here can name.
pub const MAX_NODES: u32 = 1024;
const WORD: u32 = libc::c_ulong::BITS;

/// Some nodes: a bit each.
type Mask = [libc::c_ulong; (MAX_NODES / WORD) as usize];

/// A set of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    mask: Mask,
    /// The first that was named and that no set can have.
    beyond: Option<u32>,
}

impl Nodes {
    pub fn new(named: &[u32]) -> Self {
        let (mut mask, mut beyond): (Mask, _) = ([0; _], None);
        for &node in named {
            match mask.get_mut((node / WORD) as usize) {
                Some(word) => *word |= 1 << (node % WORD),
                None => beyond = beyond.or(Some(node)),
            }
        }
        Self { mask, beyond }
    }

    /// These, and one more, which is below `MAX_NODES`.
    pub fn and(mut self, node: u32) -> Self {
        if let Some(word) = self.mask.get_mut((node / WORD) as usize) {
            *word |= 1 << (node % WORD);
        }
        self
    }

    /// The first that was named and is `MAX_NODES` or more.
    pub fn beyond(&self) -> Option<u32> {
        self.beyond
    }

    /// Those that it has, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let has = |node: &u32| self.mask[(node / WORD) as usize] >> (node % WORD) & 1 == 1;
        (0..MAX_NODES).filter(has)
    }
}

/// Where a range is to have its pages from.
#[derive(Clone, Copy, Debug)]
pub enum Policy {
    /// This node alone.
    Bind(u32),
    /// This node, and others if it has none left.
    Prefer(u32),
    /// These nodes in turn, and others if they have none left.
    Interleave(Nodes),
}

fn mbind(
    base: NonNull<u8>,
    len: usize,
    mode: libc::c_int,
    mask: &Mask,
    flags: libc::c_uint,
) -> io::Result<()> {
    // SAFETY: the mask has MAX_NODES bits (the kernel reads one fewer than it
    // is told); a policy changes no contents.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            base.as_ptr(),
            len,
            mode,
            mask.as_ptr(),
            libc::c_ulong::from(MAX_NODES) + 1,
            flags,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks that pages of a range come from where `policy` says. Pages that are already there, since
/// the process has all locked that it maps (`mlockall(2)`), are moved; if they must not be
/// elsewhere and cannot be moved, that is an error. Of nodes that do not exist, some in a set,
/// say, the kernel may say nothing.
pub fn place(base: NonNull<u8>, len: usize, policy: Policy) -> io::Result<()> {
    let (mode, nodes, flags) = match policy {
        Policy::Bind(node) => (
            MPOL_BIND,
            Nodes::new(&[node]),
            MPOL_MF_MOVE | MPOL_MF_STRICT,
        ),
        Policy::Prefer(node) => (MPOL_PREFERRED, Nodes::new(&[node]), MPOL_MF_MOVE),
        Policy::Interleave(nodes) => (MPOL_INTERLEAVE, nodes, MPOL_MF_MOVE),
    };
    mbind(base, len, mode, &nodes.mask, flags)
}

/// Whether a range can have that policy, which it has then. What is there stays where it is.
pub fn try_bind(base: NonNull<u8>, len: usize, node: u32) -> io::Result<()> {
    mbind(base, len, MPOL_BIND, &Nodes::new(&[node]).mask, 0)
}

/// The nodes from which the calling thread's memory comes, if these are not all that have some:
/// its policy may say so, or its cpuset. If a range has a policy of its own, `any`, only the
/// cpuset counts.
pub fn confined(any: bool) -> Option<Nodes> {
    if !node::may_be_several() {
        return None;
    }
    let allowed = allowed().ok()?;
    let bound = match own() {
        Ok((MPOL_BIND, mask)) if !any => mask,
        _ => allowed,
    };
    let with_memory = node::with_memory()?;
    let mut lacks = false;
    let mut nodes = Nodes::new(&[]);
    for node in with_memory {
        let has = |mask: &Mask| {
            let word = mask.get((node / WORD) as usize);
            word.is_some_and(|word| word >> (node % WORD) & 1 == 1)
        };
        match has(&bound) && has(&allowed) {
            true => nodes = nodes.and(node),
            false => lacks = true,
        }
    }
    lacks.then_some(nodes)
}

/// The nodes that the cpuset of the calling thread allows.
fn allowed() -> io::Result<Mask> {
    let mut mask: Mask = [0; _];
    // SAFETY: the mask is writable, and has as many bits as it says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            std::ptr::null_mut::<libc::c_int>(),
            mask.as_mut_ptr(),
            libc::c_ulong::from(MAX_NODES),
            std::ptr::null::<u8>(),
            MPOL_F_MEMS_ALLOWED,
        )
    };
    match result {
        0 => Ok(mask),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the kernel leave the pages of a range where they are: see the module. Where there is one
/// node, or the kernel or a filter refuses it, nothing is changed: nobody asked for it.
pub fn settle(base: NonNull<u8>, len: usize) {
    if !node::may_be_several() {
        return;
    }
    // Whoever may not ask for the thread's policy must not set another.
    if let Ok((mode, mask)) = own() {
        let _ = mbind(base, len, mode, &mask, 0);
    }
}

/// The policy of the calling thread, as one that a range can have.
fn own() -> io::Result<(libc::c_int, Mask)> {
    let (mut mode, mut mask): (libc::c_int, Mask) = (0, [0; _]);
    // SAFETY: both are writable, and the mask has as many bits as it says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut mode,
            mask.as_mut_ptr(),
            libc::c_ulong::from(MAX_NODES),
            std::ptr::null::<u8>(),
            0,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(match mode & !MPOL_F_NUMA_BALANCING {
        MPOL_DEFAULT => (MPOL_LOCAL, [0; _]),
        mode => (mode, mask),
    })
}

/// Tries whether a range can have a policy.
pub fn try_place(base: NonNull<u8>, len: usize) -> io::Result<()> {
    mbind(base, len, MPOL_LOCAL, &[0; _], 0)
}

/// The node of the page at `address`, which is faulted in for reading if it was
/// not there. `None` if the kernel does not say.
pub fn node_of(address: NonNull<u8>) -> Option<u32> {
    let mut node: libc::c_int = -1;
    // SAFETY: `node` is writable; the address is only looked up.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut node,
            std::ptr::null_mut::<libc::c_ulong>(),
            0,
            address.as_ptr(),
            MPOL_F_NODE | MPOL_F_ADDR,
        )
    };
    if result != 0 {
        return None;
    }
    u32::try_from(node).ok()
}

#[cfg(test)]
mod tests {
    use super::super::map::Mapping;
    use super::*;

    #[test]
    fn a_set_has_what_was_named_and_says_what_no_set_can_have() {
        let nodes = Nodes::new(&[64, 0, 1023, 64]);
        assert_eq!(nodes.iter().collect::<Vec<_>>(), [0, 64, 1023]);
        assert_eq!(nodes.beyond(), None);
        let nodes = Nodes::new(&[1, 5000, 1024]);
        assert_eq!((nodes.iter().count(), nodes.beyond()), (1, Some(5000)));
        assert_eq!(Nodes::new(&[]).iter().count(), 0);
    }

    #[test]
    fn a_thread_without_a_policy_settles_memory_where_it_is_touched_first() {
        match own() {
            Ok(own) => assert_eq!(own, (MPOL_LOCAL, [0; _]), "the tests run under no policy"),
            Err(error) => return println!("skipped: get_mempolicy: {error}"),
        }
        let memory = Mapping::metadata(1).unwrap();
        settle(memory.base(), memory.len());
        try_place(memory.base(), memory.len()).unwrap();
        assert!(node_of(memory.base()).is_some());
    }
}
