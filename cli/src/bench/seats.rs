//! A queue whose ends go to workers by their seats.
//!
//! Owns the ends until each worker has taken its own: so the queue closes when the last sender is through, and not when
//! the job ends. `exhausted` and `engine` run their pipelines with it.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};

/// A worker's end.
pub enum End<T> {
    Sender(Sender<T>),
    Receiver(Receiver<T>),
}

/// The ends that nobody has taken, by seat.
pub struct Ends<T>(Vec<Mutex<Option<End<T>>>>);

impl<T> Ends<T> {
    /// A queue of so many places: the first seats send, the others receive.
    pub fn new(senders: usize, receivers: usize, places: usize) -> Ends<T> {
        let (sender, receiver) = crossbeam_channel::bounded(places);
        let sends = (0..senders).map(|_| End::Sender(sender.clone()));
        let receives = (0..receivers).map(|_| End::Receiver(receiver.clone()));
        let ends = sends.chain(receives).map(|end| Mutex::new(Some(end)));
        Ends(ends.collect())
    }

    /// The end of the worker in that seat.
    pub fn take(&self, seat: usize) -> End<T> {
        let mut end = self.0[seat].lock().unwrap_or_else(PoisonError::into_inner);
        end.take()
            .expect("a job gives each seat to one worker, once")
    }
}
