//! Who writes a backup to a prefix.
//!
//! Owns the object `writing`, with a random token. A store has no locks: whoever comes later puts his token there and
//! removes what he finds, and the one before sees at his next object, or at the catalogue, that the token is another.
//!
//! ```text
//!   the second one      puts its token, then looks for a catalogue
//!   the first one       puts the catalogue, then looks at the token
//! ```
//!
//! Of two steps of each, in whatever order, one of them sees the other's: so there are no two that both succeed.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use object_store::PutMode;

use super::client::{Client, in_words, interrupted, io_error};
use super::names::Name;
use crate::engine::stop::Stop;
use crate::failure::Failure;

pub struct Claim {
    pub client: Arc<Client>,
    token: Bytes,
}

impl Claim {
    /// Takes the prefix, and removes what an earlier backup left there. The notes say so.
    pub fn take(
        url: &str,
        client: Arc<Client>,
        stop: &Stop,
    ) -> Result<(Claim, Vec<String>), Failure> {
        let mut token = [0; 16];
        rustix::rand::getrandom(&mut token[..], rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Failure::run(format!("no random numbers: {error}")))?;
        let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        let claim = Claim {
            client,
            token: Bytes::from(token),
        };
        let taken = claim.client.wait_unless(stop, claim.clear(url));
        let notes = match taken {
            None => return Err(Failure::run(format!("{url}: {}", interrupted()))),
            Some(taken) => taken?,
        };
        Ok((claim, notes))
    }

    async fn clear(&self, url: &str) -> Result<Vec<String>, Failure> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error| Failure::run(format!("{url}: {what}: {}", in_words(&error)))
        };
        let list = || async {
            let listed = self
                .client
                .list()
                .await
                .map_err(failed("cannot be listed"))?;
            if listed.has_catalogue() {
                return Err(Failure::run(format!(
                    "{url}: holds a backup already; give an empty prefix, or a new one"
                )));
            }
            if let Some(other) = &listed.other {
                return Err(Failure::run(format!(
                    "{url}: holds `{}`, which is no part of a backup; give an empty prefix, or a new one",
                    other.escape_debug()
                )));
            }
            Ok(listed.names())
        };
        let before = list().await?;
        self.client
            .put(Name::Writing, self.token.clone(), PutMode::Overwrite)
            .await
            .map_err(failed("cannot be written to"))?;
        let mut left = list().await?;
        left.retain(|name| *name != Name::Writing);
        let removed = self.client.remove(&left).await;
        let mut notes =
            removed.map_err(failed("what an incomplete backup left cannot be removed"))?;
        if !before.is_empty() || !left.is_empty() {
            notes.push(format!(
                "{url}: held an incomplete backup, which was removed"
            ));
        }
        Ok(notes)
    }

    /// An error, where the prefix is somebody else's by now.
    pub async fn check(&self) -> io::Result<()> {
        match self.client.get(Name::Writing).await {
            Ok(token) if token == self.token => Ok(()),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Err(io::Error::other(
                "another backup was begun there, and has removed this one",
            )),
            Err(error) => Err(io_error(&error)),
        }
    }
}
