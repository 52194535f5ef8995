//! A prefix that a backup is read from.
//!
//! Owns the list of its objects, made once. `session` reads the catalogue by it, `load` the stripes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, in_words, io_error};
use super::names::Name;
use super::source::{StripeSource, Volume};
use crate::engine::store::Shelf;
use crate::failure::Failure;

pub struct Backup {
    url: String,
    client: Arc<Client>,
    /// Those of a backup, with their sizes.
    objects: Vec<(Name, u64)>,
}

impl Backup {
    pub fn open(url: &str, retry: Duration) -> Result<Backup, Failure> {
        Backup::over(url, Client::open(url, retry)?)
    }

    /// The same by another client.
    pub fn over(url: &str, client: Client) -> Result<Backup, Failure> {
        let listed = client.wait(client.list());
        let listed = listed.map_err(|error| {
            Failure::run(format!("{url}: cannot be listed: {}", in_words(&error)))
        })?;
        let objects = listed.ours.into_iter();
        Ok(Backup {
            url: url.to_owned(),
            client: Arc::new(client),
            objects: objects.map(|(name, object)| (name, object.size)).collect(),
        })
    }

    /// Why there is no catalogue, in words.
    pub fn incomplete(&self) -> String {
        let url = &self.url;
        if self.objects.is_empty() {
            format!("{url}: holds no backup")
        } else {
            format!(
                "{url}: the backup is incomplete: it is being written, or was ended before its catalogue was written; run it again"
            )
        }
    }
}

impl Shelf for Backup {
    type Source = StripeSource;

    fn catalogue(&self) -> io::Result<Vec<u8>> {
        if !self
            .objects
            .iter()
            .any(|(name, _)| *name == Name::Catalogue)
        {
            return Err(io::ErrorKind::NotFound.into());
        }
        let bytes = self.client.wait(self.client.get(Name::Catalogue));
        bytes.map(Vec::from).map_err(|error| io_error(&error))
    }

    fn open(&self, wanted: u32) -> io::Result<StripeSource> {
        let (mut volumes, mut stripes) = (Vec::new(), 0);
        for &(name, size) in &self.objects {
            let Name::Volume { stripe, start } = name else {
                continue;
            };
            stripes += u64::from(start == 0);
            if stripe == wanted {
                volumes.push(Volume { name, start, size });
            }
        }
        if volumes.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        volumes.sort_by_key(|volume| volume.start);
        let client = Arc::clone(&self.client);
        Ok(StripeSource::new(client, wanted, volumes, stripes))
    }
}
