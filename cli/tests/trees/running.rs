//! A run of the program that a test watches, and stops where it wants.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{PROGRAM, Random, ended};

pub fn start(args: &[&OsStr]) -> Child {
    let mut command = Command::new(PROGRAM);
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

pub fn start_backup(source: &Path, to: &Path, options: &str) -> Child {
    let mut args: Vec<&OsStr> = vec!["backup".as_ref(), source.as_ref(), to.as_ref()];
    args.extend(options.split_whitespace().map(OsStr::new));
    start(&args)
}

pub fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    // Where it has ended, there is nobody to be told.
    let _ = kill_process(pid, signal);
}

/// Bytes of all stripes.
pub fn stored(to: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(to) else {
        return 0;
    };
    let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    sizes.sum()
}

/// Waits until that many bytes were written; false: the program has ended before.
pub fn until(child: &mut Child, to: &Path, bytes: u64) -> bool {
    while stored(to) < bytes {
        if child.try_wait().expect("asked").is_some() {
            return false;
        }
        thread::sleep(Duration::from_micros(200));
    }
    true
}

/// Stops it where it is; false: it has ended.
pub fn freeze(child: &mut Child) -> bool {
    signal(child, Signal::STOP);
    let stat = format!("/proc/{}/stat", child.id());
    loop {
        let Ok(text) = fs::read_to_string(&stat) else {
            return false;
        };
        let state = text
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        match state {
            Some('T') => return true,
            Some('Z' | 'X') | None => return false,
            _ => thread::sleep(Duration::from_micros(200)),
        }
    }
}

pub fn finish(child: Child) -> (i32, String, String) {
    ended(child.wait_with_output().expect("it ends"))
}

pub fn large(path: &Path, length: usize) {
    fs::write(path, Random::new(length as u64).bytes(length)).expect("written");
}

/// The program in a process of its own, that `before` does something in first.
pub fn after(
    before: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    args: &[&OsStr],
) -> io::Result<(i32, String, String)> {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    // SAFETY: what the tests do there are system calls, and nothing else.
    unsafe { command.pre_exec(before) };
    Ok(ended(command.output()?))
}
