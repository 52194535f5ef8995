//! The end of a run before its time.
//!
//! Owns why it ends, and what is done at once: whoever waits for a buffer is woken. A thread that finds an error that
//! ends the run says so here; so does Ctrl-C. Every thread of a run looks here between two pieces of work.

use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Failure;

/// Why a run ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// By Ctrl-C, or by `kill`.
    Interrupted,
    Failed(String),
}

/// What is called when a run is stopped.
type Alarm = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub struct Stop {
    /// Set after `why`.
    stopped: AtomicBool,
    why: Mutex<Option<Why>>,
    alarm: Mutex<Option<Alarm>>,
}

impl Stop {
    /// One that SIGINT and SIGTERM stop, too. A second of these ends the program at once.
    pub fn on_signals() -> Result<Arc<Stop>, Failure> {
        let failed = |error: io::Error| Failure::run(format!("cannot watch for signals: {error}"));
        let stop = Arc::new(Stop::default());
        let watched = Arc::clone(&stop);
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let watch = move || {
            for _ in signals.forever() {
                if watched.is_stopped() {
                    process::exit(INTERRUPTED.into());
                }
                watched.stop(Why::Interrupted);
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(watch).map_err(failed)?;
        Ok(stop)
    }

    /// Has `alarm` called when the run is stopped, or at once if it was.
    pub fn sound(&self, alarm: impl Fn() + Send + Sync + 'static) {
        let mut place = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Box::new(alarm));
        if self.is_stopped()
            && let Some(alarm) = &*place
        {
            alarm();
        }
    }

    /// Stops the run; the first reason counts.
    pub fn stop(&self, why: Why) {
        self.why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(why);
        // SeqCst: of this store and the lock of the alarm, and in `sound` of the lock and the load, one sees the other.
        // (The lock alone orders them; nothing here is worth a weaker one.)
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(alarm) = &*self.alarm.lock().unwrap_or_else(PoisonError::into_inner) {
            alarm();
        }
    }

    /// One load.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Why, if it was.
    pub fn why(&self) -> Option<Why> {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone().filter(|_| self.is_stopped())
    }
}

/// The exit status of a run that was interrupted.
pub const INTERRUPTED: u8 = 130;
