//! How far the run is, for a person who watches.
//!
//! Owns the bars on stderr; they exist only where stderr is a terminal. `run` moves one of visits, the engine one of
//! bytes.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

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

    /// So many visits done.
    pub fn steps(&self, visits: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(visits);
        }
    }

    /// So many are to be done again.
    pub fn back(&self, visits: u64) {
        if let Some(bar) = &self.0 {
            bar.dec(visits);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A bar of bytes, whose end moves while more is found; or nothing.
pub struct Volume(Option<ProgressBar>);

impl Volume {
    /// Counts to `bytes`, as far as they are known.
    pub fn new(bytes: u64) -> Volume {
        if !stderr().is_terminal() {
            return Volume(None);
        }
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(5));
        let template = "{bar:30} {binary_bytes:>10} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Volume(Some(bar))
    }

    /// There are so many bytes more to do.
    pub fn found(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc_length(bytes);
        }
    }

    /// So many were done.
    pub fn done(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    /// Says what is done now.
    pub fn say(&self, what: &'static str) {
        if let Some(bar) = &self.0 {
            bar.set_message(what);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
