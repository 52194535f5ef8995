//! A stripe that is written: uploads in parts, one object after the other.
//!
//! Owns the upload that is under way. Blocks are gathered to a part; a part that is large enough is sent by a task of
//! its own, while the next one is gathered. Its buffers are free when the store has it. What goes wrong with a part is
//! said by the next append, or by finish.
//!
//! ```text
//!   append ──▶ gathered blocks ══ a part ══▶ tasks, 4 at the most ──▶ the store
//!                                                                     10,000 parts: the object is closed
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::{Error, MultipartId, ObjectStoreExt, PutMode};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::claim::Claim;
use super::client::{interrupted, io_error};
use super::gather::Gather;
use super::names::Name;
use crate::engine::buffers::Space;
use crate::engine::format::block::HEADER;
use crate::engine::format::padded;
use crate::engine::stop::Stop;
use crate::engine::store::Sink;

/// Parts of one stripe that are on their way at once.
pub const ON_THEIR_WAY: usize = 4;
/// Parts that an object may have: S3's own limit.
pub const MOST_PARTS: usize = 10_000;
/// How long somebody waits for tasks that were told to end.
const GIVEN_UP: Duration = Duration::from_secs(5);

/// What is the same for all stripes.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Bytes that make up a part.
    pub bytes: usize,
    /// Parts that make up an object.
    pub most: usize,
}

pub struct Stripe<S: Space> {
    claim: Arc<Claim>,
    stop: Arc<Stop>,
    stripe: u32,
    parts: Parts,
    /// Where the next block comes.
    end: u64,
    gather: Gather<S>,
    upload: Option<Upload>,
}

/// An object that is being made.
struct Upload {
    /// Where in the stripe it begins.
    start: u64,
    id: MultipartId,
    done: Vec<PartId>,
    tasks: VecDeque<JoinHandle<Result<PartId, Error>>>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl<S: Space> Stripe<S> {
    pub fn new(claim: Arc<Claim>, stop: Arc<Stop>, stripe: u32, parts: Parts) -> Stripe<S> {
        Stripe {
            claim,
            stop,
            stripe,
            parts,
            end: 0,
            gather: Gather::new(),
            upload: None,
        }
    }

    /// Waits for something that may fail, unless the run is stopped.
    fn wait<T>(&self, future: impl Future<Output = Result<T, Error>>) -> io::Result<T> {
        let done = self.claim.client.wait_unless(&self.stop, future);
        done.ok_or_else(interrupted)?
            .map_err(|error| io_error(&error))
    }

    /// Begins an upload at the byte `start`. Its id is written down before a part is sent, so that the next backup can
    /// give it up if this one is killed.
    fn begin(&self, start: u64) -> io::Result<Upload> {
        let client = &self.claim.client;
        let (volume, record) = names(self.stripe, start);
        let path = client.path(volume);
        let id = self.wait(async {
            let id = client.begin(volume).await?;
            let noted = client.put(record, Bytes::from(id.clone()), PutMode::Overwrite);
            if let Err(error) = noted.await {
                // As far as it goes: it has no parts.
                let _ = client.store.abort_multipart(&path, &id).await;
                return Err(error);
            }
            Ok(id)
        })?;
        Ok(Upload {
            start,
            id,
            done: Vec::new(),
            tasks: VecDeque::new(),
        })
    }

    /// Takes the results of parts that are there, and waits until no more than `most` are on their way.
    fn settle(&mut self, most: usize) -> io::Result<()> {
        loop {
            let Some(upload) = &mut self.upload else {
                return Ok(());
            };
            let over = upload.tasks.len() > most;
            let Some(mut task) = upload.tasks.pop_front_if(|task| over || task.is_finished())
            else {
                return Ok(());
            };
            match self.claim.client.wait_unless(&self.stop, &mut task) {
                None => {
                    task.abort();
                    return Err(interrupted());
                }
                Some(Err(error)) => return Err(io::Error::other(format!("a request: {error}"))),
                Some(Ok(Err(error))) => return Err(io_error(&error)),
                Some(Ok(Ok(part))) => upload.done.push(part),
            }
        }
    }

    /// Sends what was gathered as the next part.
    fn send(&mut self) -> io::Result<()> {
        self.settle(ON_THEIR_WAY - 1)?;
        let bytes = self.gather.bytes() as u64;
        if self.upload.is_none() {
            self.upload = Some(self.begin(self.end - bytes)?);
        }
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let client = &self.claim.client;
        let (volume, _) = names(self.stripe, upload.start);
        let (store, path) = (Arc::clone(&client.store), client.path(volume));
        let (id, index) = (upload.id.clone(), upload.done.len() + upload.tasks.len());
        let payload = self.gather.take();
        let task = async move { store.put_part(&path, &id, index, payload).await };
        upload.tasks.push_back(client.start(task));
        if index + 1 == self.parts.most {
            self.complete()?;
        }
        Ok(())
    }

    /// Makes an object of the parts.
    fn complete(&mut self) -> io::Result<()> {
        self.settle(0)?;
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let parts = std::mem::take(&mut upload.done);
        let upload = &*upload;
        let client = &self.claim.client;
        let (volume, record) = names(self.stripe, upload.start);
        let path = client.path(volume);
        let bytes = self.end - self.gather.bytes() as u64 - upload.start;
        let done = client.wait_unless(&self.stop, async {
            self.claim.check().await?;
            let completed = client.store.complete_multipart(&path, &upload.id, parts);
            if let Err(error) = completed.await {
                // It may have been done, and the answer was lost. Before, there was no such object.
                let there = client.store.head(&path).await;
                if !there.is_ok_and(|object| object.size == bytes) {
                    return Err(io_error(&error));
                }
            }
            // Left over, it tells of an upload that there is no more.
            let _ = client.delete(record).await;
            Ok(())
        });
        done.ok_or_else(interrupted)??;
        self.upload = None;
        Ok(())
    }

    /// Ends the tasks, and gives the upload up. Where that fails, its id is still written down; so it is where uploads
    /// have no ids: the parts are then given up by the name alone, by whoever removes the backup.
    fn give_up(&mut self) {
        let Some(mut upload) = self.upload.take() else {
            return;
        };
        let tasks = std::mem::take(&mut upload.tasks);
        let client = &self.claim.client;
        let (volume, record) = names(self.stripe, upload.start);
        client.wait(async {
            for task in tasks {
                task.abort();
                let _ = timeout(GIVEN_UP, task).await;
            }
            let given_up = async {
                if upload.id.is_empty() {
                    return Ok(());
                }
                let path = client.path(volume);
                client.store.abort_multipart(&path, &upload.id).await?;
                // By now it may be that of another backup.
                if client.get(record).await? == upload.id {
                    client.delete(record).await?;
                }
                Ok::<(), Error>(())
            };
            let _ = timeout(GIVEN_UP, given_up).await;
        });
    }
}

impl<S: Space> Sink<S> for Stripe<S> {
    fn append(&mut self, space: S, payload: usize) -> io::Result<()> {
        self.settle(ON_THEIR_WAY)?;
        let length = HEADER + padded(payload);
        self.end += length as u64;
        self.gather.add(space, length);
        if self.gather.bytes() >= self.parts.bytes {
            self.send()?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        let sent = if self.gather.bytes() > 0 {
            self.send()
        } else {
            Ok(())
        };
        let done = sent.and_then(|()| self.complete());
        if done.is_err() {
            self.give_up();
        }
        done
    }

    fn abort(mut self) {
        self.give_up();
    }
}

/// Those of the object that begins at `start`, and of the id of the upload that makes it.
fn names(stripe: u32, start: u64) -> (Name, Name) {
    (
        Name::Volume { stripe, start },
        Name::Upload { stripe, start },
    )
}
