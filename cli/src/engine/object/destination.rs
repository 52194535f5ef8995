//! A prefix that a backup is written to.
//!
//! Owns the order of its beginning and its end: the claim, the size of parts, the catalogue, the removal. Uses `claim`
//! and `stripe`; `place` uses it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::{Error, PutMode};
use tokio::time::{sleep, timeout};

use super::claim::Claim;
use super::client::{Client, PAUSE, io_error};
use super::names::Name;
use super::stripe::{MOST_PARTS, ON_THEIR_WAY, Parts, Stripe};
use super::{LEAST_PART, gather};
use crate::engine::buffers::Space;
use crate::engine::format::block::HEADER;
use crate::engine::stop::Stop;
use crate::engine::store::{Place, Writing};
use crate::failure::Failure;
use crate::units::MIB;

/// Bytes that a part has where there is memory for it: fewer requests.
const AMPLE_PART: usize = 16 * MIB;
/// The largest object that one request may make.
const MOST_AT_ONCE: usize = 5 << 30;
/// How long the removal may take, of what a backup wrote that failed.
const REMOVAL: Duration = Duration::from_secs(30);

pub struct Destination {
    claim: Arc<Claim>,
    stop: Arc<Stop>,
    parts: Parts,
    notes: Vec<String>,
}

/// Bytes of a part: so many that the buffers of all stripes' gathered and sent parts are there, and not less than S3
/// takes.
fn part(writing: &Writing) -> usize {
    let each = HEADER + writing.transfer;
    [AMPLE_PART, AMPLE_PART / 2]
        .into_iter()
        .find(|&part| {
            let sent = ON_THEIR_WAY * part.div_ceil(each);
            let held = gather::held(writing.transfer, part);
            writing.stripes * (held + sent) < writing.buffers
        })
        .unwrap_or(LEAST_PART)
}

impl Destination {
    /// Takes a prefix that is empty, or has what a backup left that did not come to its end.
    pub fn open(url: &str, writing: &Writing) -> Result<Destination, Failure> {
        let client = Client::open(url, writing.retry)?;
        let parts = Parts {
            bytes: part(writing),
            most: MOST_PARTS,
        };
        Destination::over(url, client, parts, &writing.stop)
    }

    /// The same by another client, and with other parts.
    pub fn over(
        url: &str,
        client: Client,
        parts: Parts,
        stop: &Arc<Stop>,
    ) -> Result<Destination, Failure> {
        let (claim, notes) = Claim::take(url, Arc::new(client), stop)?;
        Ok(Destination {
            claim: Arc::new(claim),
            stop: Arc::clone(stop),
            parts,
            notes,
        })
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Puts the catalogue where there is none, for as long as a request may be tried. A put that is not known to have
    /// failed may have been done.
    async fn put_catalogue(&self, catalogue: Bytes) -> Result<(), Error> {
        let client = &self.claim.client;
        let begun = Instant::now();
        loop {
            let put = client.put(Name::Catalogue, catalogue.clone(), PutMode::Create);
            let error = match put.await {
                Ok(()) => return Ok(()),
                // The store knows no conditions.
                Err(Error::NotImplemented { .. }) => {
                    let put = client.put(Name::Catalogue, catalogue, PutMode::Overwrite);
                    return put.await;
                }
                Err(error) => error,
            };
            let there = client.get(Name::Catalogue).await;
            if there.is_ok_and(|there| there == catalogue) {
                return Ok(());
            }
            if !matches!(error, Error::Generic { .. }) || begun.elapsed() >= client.retry {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }
}

impl Place for Destination {
    type Sink<S: Space> = Stripe<S>;

    fn create<S: Space>(&self, stripe: u32) -> io::Result<Stripe<S>> {
        let (claim, stop) = (Arc::clone(&self.claim), Arc::clone(&self.stop));
        Ok(Stripe::new(claim, stop, stripe, self.parts))
    }

    /// An interruption is too late for it.
    fn commit(&self, catalogue: &[u8]) -> io::Result<()> {
        if catalogue.len() > MOST_AT_ONCE {
            return Err(io::Error::other(format!(
                "it has {} bytes, and an object that is written in one step has {MOST_AT_ONCE} at the most",
                catalogue.len()
            )));
        }
        let catalogue = Bytes::copy_from_slice(catalogue);
        self.claim.client.wait(async {
            self.claim.check().await?;
            let put = self.put_catalogue(catalogue).await;
            put.map_err(|error| io_error(&error))?;
            if let Err(error) = self.claim.check().await {
                // Its stripes may be gone, or another's.
                let _ = self.claim.client.delete(Name::Catalogue).await;
                return Err(error);
            }
            // Left over, it says nothing where there is a catalogue.
            let _ = self.claim.client.delete(Name::Writing).await;
            Ok(())
        })
    }

    fn discard(&self) -> io::Result<()> {
        let client = &self.claim.client;
        let removing = async {
            // What is another's is not ours to remove.
            self.claim.check().await?;
            let listed = client.list().await.map_err(|error| io_error(&error))?;
            let removed = client.remove(&listed.names()).await;
            let refused = removed.map_err(|error| io_error(&error))?;
            match refused.first() {
                None => Ok(()),
                Some(first) => Err(io::Error::other(first.clone())),
            }
        };
        // Inside, where there is a clock.
        let removed = client.wait(async { timeout(REMOVAL, removing).await });
        removed.unwrap_or_else(|_| {
            let seconds = REMOVAL.as_secs();
            Err(io::Error::other(format!(
                "the store took longer than {seconds} s"
            )))
        })
    }
}
