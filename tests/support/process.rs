//! Tests in a process of their own: the test program runs itself again, with one
//! test alone and another environment.

use super::{end_if_forgotten, measured, skipped};
use std::process::Command;

/// Set in such a process, to the name of its test.
const ALONE: &str = "HUGEPOOL_TEST_ALONE";
/// Printed when the body of the test came to its end.
const DONE: &str = "the test in its own process is done";

/// Switches the C library's own registration for restartable sequences off.
pub const NO_REGISTRATION: (&str, &str) = ("GLIBC_TUNABLES", "glibc.pthread.rseq=0");

/// Runs `body`, which is all of the test called `name` in this program, in a
/// process of its own with `environment` added. Does not return there.
#[track_caller]
pub fn alone(name: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    if std::env::var(ALONE).is_ok_and(|own| own == name) {
        end_if_forgotten();
        body();
        println!("{DONE}");
        std::process::exit(0);
    }
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .envs(environment.iter().copied())
        .env(ALONE, name)
        .output()
        .expect("this program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains(DONE),
        "{name} in its own process: {}\n{text}\n{errors}",
        output.status
    );
    println!("{text}");
    for line in errors.lines() {
        if let Some(what) = line.strip_prefix("skipped: ") {
            skipped(what);
        }
        if let Some(what) = line.strip_prefix("measured: ") {
            measured(what);
        }
    }
}

/// Runs `work` in a child of a fork, and gives what it gave there.
pub fn in_fork(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs `work` and ends by `_exit`.
    let process = unsafe { libc::fork() };
    assert!(process >= 0, "fork");
    if process == 0 {
        // It does not have the timer of `alone`. Who waits for it ends with it.
        end_if_forgotten();
        // A panic that left this thread would end the child well: it has no other.
        let work = std::panic::AssertUnwindSafe(work);
        let code = std::panic::catch_unwind(work).unwrap_or(101);
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    assert_eq!(unsafe { libc::waitpid(process, &mut status, 0) }, process);
    assert!(libc::WIFEXITED(status), "the child was killed: {status}");
    libc::WEXITSTATUS(status)
}
