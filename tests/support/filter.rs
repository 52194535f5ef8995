//! A filter that refuses a system call to the calling thread and to the threads
//! that it starts from now on, or answers it with a signal. It cannot be taken back.

use std::io;

/// What an argument of a system call is compared with: the lower half of the one of this
/// number is this value, or, if it says false, is not.
pub type Condition = (u32, u32, bool);

/// Makes the system call `number` fail with `error`, if the kernel lets us; or succeed, and do
/// nothing, if that is 0.
pub fn refuse(number: libc::c_long, error: libc::c_int) -> io::Result<()> {
    refuse_where(number, &[], error)
}

/// As `refuse`, where all `conditions` hold.
pub fn refuse_where(
    number: libc::c_long,
    conditions: &[Condition],
    error: libc::c_int,
) -> io::Result<()> {
    let refusal = libc::SECCOMP_RET_ERRNO | error as u32;
    answer(number, conditions, refusal)
}

/// Has whoever makes the system call `number` be sent `SIGSYS`, if the kernel lets us.
pub fn trap(number: libc::c_long) -> io::Result<()> {
    answer(number, &[], libc::SECCOMP_RET_TRAP)
}

fn answer(number: libc::c_long, conditions: &[Condition], refusal: u32) -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let load = |at| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at);
    let answer = |action: u32| statement(libc::BPF_RET | libc::BPF_K, action);
    // The system call's number is the first word of what a filter sees. Its arguments, of two
    // words each, the lower half first, begin at byte 16.
    let mut filter = Vec::new();
    let number = (0, number as u32, true);
    let arguments = conditions
        .iter()
        .map(|&(which, value, is)| (16 + 8 * which, value, is));
    for (at, value, is) in std::iter::once(number).chain(arguments) {
        filter.push(load(at));
        // Over the next statement, which allows the call, if it is as it should be.
        filter.push(libc::sock_filter {
            jt: u8::from(is),
            jf: u8::from(!is),
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value)
        });
        filter.push(answer(libc::SECCOMP_RET_ALLOW));
    }
    filter.push(answer(refusal));
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
