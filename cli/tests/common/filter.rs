//! Filters of system calls (seccomp) for a process that becomes the program.

use std::io;
use std::ops::RangeInclusive;

/// Has the kernel fail `call` with `error` from now on, where the lower half of its fourth argument is within `fourth`:
/// of `pread64`, the place in the file. Allocates nothing: it may be called between fork and exec.
pub fn refuse(call: libc::c_long, error: i32, fourth: RangeInclusive<u32>) -> io::Result<()> {
    /// Where the kernel shows a filter the fourth argument: behind 16 bytes, and three arguments.
    const FOURTH: u32 = 16 + 3 * 8;
    let statement = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = |at| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    // How many statements are left out if so, and if not.
    let jump = |how, k, yes, no| statement(libc::BPF_JMP | how | libc::BPF_K, yes, no, k);
    let answer = |k| statement(libc::BPF_RET | libc::BPF_K, 0, 0, k);
    let mut filter = [
        // The number of the call.
        load(0),
        jump(libc::BPF_JEQ, call as u32, 0, 4),
        load(FOURTH),
        jump(libc::BPF_JGE, *fourth.start(), 0, 2),
        jump(libc::BPF_JGT, *fourth.end(), 1, 0),
        answer(libc::SECCOMP_RET_ERRNO | error as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: numbers, and a program that is readable, as long as it says, and copied.
    let planted = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    };
    match planted {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}

/// For calls whose arguments do not matter.
pub const ANY: RangeInclusive<u32> = 0..=u32::MAX;
