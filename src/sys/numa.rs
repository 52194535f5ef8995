//! NUMA: binding a range to a node, and reading where it went.
//!
//! Owns: `mbind` and `get_mempolicy`. Uses: libc. Used by: `arena`.
//!
//! Source: mbind(2), get_mempolicy(2).

use std::io;
use std::ptr::NonNull;

const MPOL_BIND: libc::c_ulong = 2;
const MPOL_F_NODE: libc::c_ulong = 1;
const MPOL_F_ADDR: libc::c_ulong = 2;

/// Nodes a mask here can name.
pub const MAX_NODES: u32 = 1024;
const WORD: u32 = libc::c_ulong::BITS;

/// Asks that pages of a range come from `node` alone. Pages that are already
/// there stay where they are.
pub fn bind(base: NonNull<u8>, len: usize, node: u32) -> io::Result<()> {
    if node >= MAX_NODES {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut mask = [0 as libc::c_ulong; (MAX_NODES / WORD) as usize];
    mask[(node / WORD) as usize] |= 1 << (node % WORD);
    // SAFETY: the mask has MAX_NODES bits (the kernel reads one fewer than it
    // is told); a policy changes no contents.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            base.as_ptr(),
            len,
            MPOL_BIND,
            mask.as_ptr(),
            libc::c_ulong::from(MAX_NODES) + 1,
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
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
