//! A stripe that is read: ranges of its objects, fetched ahead.
//!
//! Owns the ranges that are on their way. One request a block would wait for the store at each: so ranges of up to
//! 4 MiB are fetched by tasks of their own, three at once, and the blocks are copied out of them. These bytes come on
//! top of `--memory`: 64 MiB for all stripes together, or three times 256 KiB for each where there are very many.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use object_store::{Error, ObjectStoreExt};
use tokio::task::JoinHandle;

use super::client::{Client, in_words, interrupted, io_error};
use super::names::Name;
use crate::engine::buffers::Space;
use crate::engine::format::UNIT;
use crate::engine::stop::{Stop, Why};
use crate::engine::store::Source;
use crate::units::{KIB, MIB};

/// Ranges of a stripe that are there or on their way.
const AHEAD: usize = 3;
/// Bytes of all ranges of all stripes.
const ALL: u64 = 64 * MIB as u64;
/// Bytes of a range, at least and at the most.
const RANGE: (u64, u64) = (256 * KIB as u64, 4 * MIB as u64);

/// An object of a stripe, and the place in the stripe of its first byte.
pub struct Volume {
    pub name: Name,
    pub start: u64,
    pub size: u64,
}

pub struct StripeSource {
    client: Arc<Client>,
    stripe: u32,
    /// By their starts.
    volumes: Vec<Volume>,
    length: u64,
    /// Bytes that one request asks for.
    range: u64,
    ahead: RefCell<VecDeque<Range>>,
}

/// Bytes of a stripe.
struct Range {
    start: u64,
    end: u64,
    bytes: Fetched,
}

enum Fetched {
    Task(JoinHandle<Result<Bytes, Error>>),
    There(Bytes),
    /// An object is missing.
    Missing,
}

impl Drop for Range {
    fn drop(&mut self) {
        if let Fetched::Task(task) = &self.bytes {
            task.abort();
        }
    }
}

impl StripeSource {
    /// One of `stripes` that are read at the same time.
    pub fn new(
        client: Arc<Client>,
        stripe: u32,
        volumes: Vec<Volume>,
        stripes: u64,
    ) -> StripeSource {
        let share = ALL / AHEAD as u64 / stripes.max(1);
        let range = share.clamp(RANGE.0, RANGE.1);
        let last = volumes.last();
        StripeSource {
            client,
            stripe,
            length: last.map_or(0, |last| last.start.saturating_add(last.size)),
            volumes,
            range: range - range % UNIT as u64,
            ahead: RefCell::default(),
        }
    }

    /// The range that begins at `at`, on its way. It ends where its object does.
    fn fetch(&self, at: u64) -> Range {
        let end = at + self.range;
        let after = self.volumes.partition_point(|volume| volume.start <= at);
        let next = self.volumes.get(after).map_or(self.length, |it| it.start);
        let volume = after.checked_sub(1).map(|index| &self.volumes[index]);
        let inside = volume.filter(|volume| at - volume.start < volume.size);
        let Some(volume) = inside else {
            return Range {
                start: at,
                end: end.min(next),
                bytes: Fetched::Missing,
            };
        };
        // Of two that overlap the later one counts.
        let end = end.min(volume.start.saturating_add(volume.size)).min(next);
        let (store, path) = (
            Arc::clone(&self.client.store),
            self.client.path(volume.name),
        );
        let range = at - volume.start..end - volume.start;
        let task = async move { store.get_range(&path, range).await };
        Range {
            start: at,
            end,
            bytes: Fetched::Task(self.client.start(task)),
        }
    }

    /// The bytes from `at` on that are in one range, and what comes after them on its way.
    fn bytes(&self, at: u64, stop: &Stop) -> io::Result<Bytes> {
        let mut ahead = self.ahead.borrow_mut();
        while ahead.front().is_some_and(|range| range.end <= at) {
            ahead.pop_front();
        }
        if ahead.front().is_some_and(|range| range.start > at) {
            ahead.clear();
        }
        let mut next = ahead.back().map_or(at, |range| range.end);
        while ahead.len() < AHEAD && next < self.length {
            let range = self.fetch(next);
            next = range.end;
            ahead.push_back(range);
        }
        let Some(front) = ahead.front_mut() else {
            return Ok(Bytes::new());
        };
        if let Fetched::Task(task) = &mut front.bytes {
            let fetched = match self.client.wait_unless(stop, task) {
                None => return Err(interrupted()),
                Some(Err(error)) => Err(io::Error::other(format!("a request: {error}"))),
                Some(Ok(Err(error))) => Err(self.failed(&error, stop)),
                Some(Ok(Ok(bytes))) if bytes.len() as u64 != front.end - front.start => {
                    Err(io::Error::other(format!(
                        "the store gave {} bytes, not {}",
                        bytes.len(),
                        front.end - front.start
                    )))
                }
                Some(Ok(Ok(bytes))) => Ok(bytes),
            };
            front.bytes = fetched
                .as_ref()
                .map_or(Fetched::Missing, |bytes| Fetched::There(bytes.clone()));
            fetched?;
        }
        match &front.bytes {
            Fetched::There(bytes) => Ok(bytes.slice((at - front.start) as usize..)),
            Fetched::Task(_) | Fetched::Missing => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is no object with these bytes",
            )),
        }
    }

    /// That an object is missing is damage. If the store does not answer, nothing is known of the backup: that ends the
    /// run.
    fn failed(&self, error: &Error, stop: &Stop) -> io::Error {
        if !matches!(error, Error::NotFound { .. }) {
            stop.stop(Why::Failed(format!(
                "stripe {} cannot be read: {}",
                self.stripe,
                in_words(error)
            )));
        }
        io_error(error)
    }
}

impl Source for StripeSource {
    fn length(&self) -> u64 {
        self.length
    }

    fn read<S: Space>(
        &self,
        offset: u64,
        space: &mut S,
        from: usize,
        to: usize,
        stop: &Stop,
    ) -> io::Result<usize> {
        let into = &mut space.whole_mut()[..to];
        let mut done = from;
        while done < to && !stop.is_stopped() {
            let mut bytes = self.bytes(offset + done as u64, stop)?;
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len().min(to - done);
            bytes.copy_to_slice(&mut into[done..done + count]);
            done += count;
        }
        Ok(done - from)
    }
}
