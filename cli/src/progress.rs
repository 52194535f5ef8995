//! How far the run is, for a person who watches.
//!
//! Owns the bar on stderr; it exists only where stderr is a terminal. `run` moves it.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar, or nothing.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Counts to `visits`.
    pub fn new(visits: u64) -> Progress {
        if !stderr().is_terminal() {
            return Progress(None);
        }
        let bar =
            ProgressBar::with_draw_target(Some(visits), ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {percent:>3}% {eta:>4} left  {msg}")
        {
            bar.set_style(style);
        }
        Progress(Some(bar))
    }

    /// Says what is measured now.
    pub fn group(&self, name: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(name.to_owned());
        }
    }

    /// One visit done.
    pub fn step(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Runs `print` with the bar out of its way.
    pub fn quietly<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
