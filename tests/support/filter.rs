//! A filter that refuses a system call to the calling thread and to the threads
//! that it starts from now on, or answers it with a signal. It cannot be taken back.

use std::io;

/// Makes the system call `number` fail with `error`, if the kernel lets us; or succeed, and do
/// nothing, if that is 0.
pub fn refuse(number: libc::c_long, error: libc::c_int) -> io::Result<()> {
    answer(number, libc::SECCOMP_RET_ERRNO | error as u32)
}

/// Has whoever makes the system call `number` be sent `SIGSYS`, if the kernel lets us.
pub fn trap(number: libc::c_long) -> io::Result<()> {
    answer(number, libc::SECCOMP_RET_TRAP)
}

fn answer(number: libc::c_long, refusal: u32) -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    // The system call's number is the first word of what a filter sees.
    let load = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    let compare = libc::sock_filter {
        jf: 1,
        ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number as u32)
    };
    let answer = |action: u32| statement(libc::BPF_RET | libc::BPF_K, action);
    let mut filter = [
        load,
        compare,
        answer(refusal),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program is readable, as long as it says, and copied by the call.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
