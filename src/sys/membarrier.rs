//! Memory barriers on other processors: `membarrier(2)`.
//!
//! Owns: the query, the registration, and the barrier that restarts critical
//! sections. Uses: libc. Used by: `rseq`, `machine`.

use std::io;

const QUERY: libc::c_int = 0;
const RSEQ: libc::c_int = 1 << 7;
const REGISTER_RSEQ: libc::c_int = 1 << 8;
/// Only one processor, named by the third argument.
const FLAG_CPU: libc::c_uint = 1;

fn call(command: libc::c_int, flags: libc::c_uint, cpu: libc::c_int) -> io::Result<u32> {
    // SAFETY: none of the commands takes a pointer.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, command, flags, cpu) };
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The supported commands as the kernel's bit mask.
///
/// Fails with `ENOSYS` on kernels without the call, and with `EPERM` where a filter refuses it.
pub fn supported() -> io::Result<u32> {
    call(QUERY, 0, 0)
}

/// Declares that this process will use `restart`. May be called again.
pub fn register() -> io::Result<()> {
    call(REGISTER_RSEQ, 0, 0).map(drop)
}

/// When this returns, every thread of this process that was inside a restartable
/// sequence on processor `cpu` (on any, without one) has left it or will start
/// it anew, and what it wrote before is visible. Linux 5.10.
pub fn restart(cpu: Option<usize>) -> io::Result<()> {
    let barrier = || match cpu {
        Some(cpu) => call(RSEQ, FLAG_CPU, cpu as libc::c_int),
        None => call(RSEQ, 0, 0),
    };
    match barrier() {
        // The registration is the address space's; a fork may lose it.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            register()?;
            barrier()
        }
        result => result,
    }
    .map(drop)
}
