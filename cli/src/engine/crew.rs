//! Threads of a run.
//!
//! Owns their start and end: one that cannot be started, or that panics, stops the run, so that nobody waits for it; and
//! the number of files that they may have open. `backup` and `load` start theirs here.

use std::thread::{self, Builder, Scope, ScopedJoinHandle};

use rustix::process::{Resource, getrlimit, setrlimit};

use super::stop::{Stop, Why};

/// Starts `work` in a thread that is called `name`. `None`: it could not be started, and the run is stopped.
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    stop: &'scope Stop,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, T>> {
    let started = Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, move || {
            let watch = Watch(stop);
            let done = work();
            drop(watch);
            done
        });
    match started {
        Ok(handle) => Some(handle),
        Err(error) => {
            stop.stop(Why::Failed(format!(
                "cannot start a thread for {name}: {error}"
            )));
            None
        }
    }
}

/// What a thread did; the default where it did not come to its end.
pub fn join<T: Default>(handle: Option<ScopedJoinHandle<'_, T>>) -> T {
    handle
        .and_then(|handle| handle.join().ok())
        .unwrap_or_default()
}

/// Lets the process have as many files open as it may: the usual 1024 are for programs that would look at each.
pub fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is refused, the usual number has to do.
    let _ = setrlimit(Resource::Nofile, limit);
}

struct Watch<'s>(&'s Stop);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0
                .stop(Why::Failed("a thread of the program panicked".to_owned()));
        }
    }
}
