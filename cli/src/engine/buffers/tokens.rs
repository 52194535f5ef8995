//! A bound for sources that have none of their own: a token a buffer.
//!
//! Owns the tokens, or whatever else is passed around as one, and the end of all waits. `fresh` passes nothing around,
//! `channel` the buffers themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::Stopped;

/// So many of something, each with one owner at a time.
pub struct Tokens<T> {
    home: Sender<T>,
    free: Receiver<T>,
    /// Dropped to end the waits: `aborted` is closed then.
    abort: Mutex<Option<Sender<()>>>,
    aborted: Receiver<()>,
    out: AtomicU64,
    most: AtomicU64,
}

impl<T> Tokens<T> {
    pub fn new(all: impl ExactSizeIterator<Item = T>) -> Tokens<T> {
        let (home, free) = bounded(all.len());
        let (abort, aborted) = bounded(0);
        for token in all {
            // There is room for each.
            let _ = home.send(token);
        }
        Tokens {
            home,
            free,
            abort: Mutex::new(Some(abort)),
            aborted,
            out: AtomicU64::new(0),
            most: AtomicU64::new(0),
        }
    }

    pub fn take(&self) -> Result<T, Stopped> {
        let token = match self.free.try_recv() {
            Ok(token) => token,
            Err(_) => select! {
                recv(self.free) -> token => token.map_err(|_| Stopped)?,
                recv(self.aborted) -> _ => return Err(Stopped),
            },
        };
        // Relaxed: figures for people, that order nothing.
        let out = self.out.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(out, Ordering::Relaxed);
        Ok(token)
    }

    pub fn give(&self, token: T) {
        self.out.fetch_sub(1, Ordering::Relaxed);
        // There is room for each.
        let _ = self.home.try_send(token);
    }

    pub fn abort(&self) {
        drop(
            self.abort
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    pub fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}
