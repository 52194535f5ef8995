//! Requests to an object store.
//!
//! Owns the connection, the few threads that its futures run on, and the words for what goes wrong. `connect` makes the
//! connection; everything else here goes through it.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Error, MultipartId, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
};
use tokio::runtime::{self, Runtime};
use tokio::time::{sleep, timeout};

use super::connect::Url;
use super::names::Name;
use crate::engine::stop::Stop;
use crate::failure::Failure;

/// How often somebody who waits looks whether the run was stopped.
const LOOK: Duration = Duration::from_millis(50);
/// Requests at once, where many are made for one purpose.
const AT_ONCE: usize = 16;
/// How long the threads may take to end. Only a name that nobody resolves takes long.
const THREADS_END: Duration = Duration::from_secs(10);
/// Between two attempts at what the library makes once only.
pub const PAUSE: Duration = Duration::from_millis(500);

/// What a place needs of a store.
pub trait Store: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Store for T {}

/// A store, and a prefix in it.
pub struct Client {
    /// There until it is dropped.
    runtime: Option<Runtime>,
    pub store: Arc<dyn Store>,
    prefix: Path,
    /// How long a request may fail before it has failed.
    pub retry: Duration,
}

/// Whether the URL is one.
pub fn check(url: &str) -> Result<(), Failure> {
    Url::parse(url).map(drop)
}

impl Client {
    /// Opens what is at `url`, without a request.
    pub fn open(url: &str, retry: Duration) -> Result<Client, Failure> {
        let parsed = Url::parse(url)?;
        // Where one was installed, it is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = parsed
            .connect(retry)
            .map_err(|error| Failure::input(format!("{url}: {}", in_words(&error))))?;
        Client::over(store, parsed.prefix, retry)
            .map_err(|error| Failure::run(format!("{url}: no threads for requests: {error}")))
    }

    /// One that makes its requests to `store`.
    pub fn over(store: Arc<dyn Store>, prefix: Path, retry: Duration) -> io::Result<Client> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("store")
            .enable_all()
            .build()?;
        Ok(Client {
            runtime: Some(runtime),
            store,
            prefix,
            retry,
        })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime
            .as_ref()
            .expect("it is there until it is dropped")
    }

    pub fn path(&self, name: Name) -> Path {
        self.prefix.clone().join(name.to_string())
    }

    /// Has a future run on its own.
    pub fn start<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime().spawn(future)
    }

    /// Waits for a future's end.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime().block_on(future)
    }

    /// Waits for a future's end, or until the run is stopped: then it is dropped, and there is `None`.
    pub fn wait_unless<T>(&self, stop: &Stop, future: impl Future<Output = T>) -> Option<T> {
        self.wait(async {
            let mut future = pin!(future);
            loop {
                match timeout(LOOK, &mut future).await {
                    Ok(done) => return Some(done),
                    Err(_) if stop.is_stopped() => return None,
                    Err(_) => {}
                }
            }
        })
    }

    /// What is right below the prefix: our own objects, and the name of one that is not ours.
    pub async fn list(&self) -> Result<Listed, Error> {
        let whole = !self.prefix.as_ref().is_empty();
        let listed = self
            .store
            .list_with_delimiter(whole.then_some(&self.prefix))
            .await?;
        let mut found = Listed::default();
        for object in listed.objects {
            let name = object.location.filename().unwrap_or_default();
            match Name::parse(name) {
                Some(name) => found.ours.push((name, object)),
                None => found.other = Some(name.to_owned()),
            }
        }
        if let Some(folder) = listed.common_prefixes.first() {
            found.other = Some(format!("{}/", folder.filename().unwrap_or_default()));
        }
        Ok(found)
    }

    pub async fn get(&self, name: Name) -> Result<Bytes, Error> {
        self.store.get(&self.path(name)).await?.bytes().await
    }

    pub async fn put(&self, name: Name, bytes: Bytes, mode: PutMode) -> Result<(), Error> {
        let payload = PutPayload::from_bytes(bytes);
        let path = self.path(name);
        self.store.put_opts(&path, payload, mode.into()).await?;
        Ok(())
    }

    /// Removes an object; that there is none is no error.
    pub async fn delete(&self, name: Name) -> Result<(), Error> {
        let path = self.path(name);
        match self.insist(|| self.store.delete(&path)).await {
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    /// Begins an upload of `name`, of which nothing is seen before it is completed.
    pub async fn begin(&self, name: Name) -> Result<MultipartId, Error> {
        let path = self.path(name);
        self.insist(|| self.store.create_multipart(&path)).await
    }

    /// Makes a request again whose connection broke, for as long as one may be tried. The library does so only with
    /// those that it knows to do no harm when they are done twice; these do none either.
    async fn insist<T, F>(&self, mut request: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let begun = Instant::now();
        loop {
            match request().await {
                Err(error) if is_broken(&error) && begun.elapsed() < self.retry => {
                    sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// Removes these objects of a backup, and gives up the uploads that they tell of; says which it was not allowed to.
    /// The mark of who writes goes last, so that what is left of it, whenever this ends, is seen as incomplete.
    pub async fn remove(&self, names: &[Name]) -> Result<Vec<String>, Error> {
        if names.contains(&Name::Catalogue) {
            self.delete(Name::Catalogue).await?;
        }
        let refused = stream::iter(names)
            .map(|&name| async move {
                match name {
                    Name::Catalogue | Name::Writing => Ok(None),
                    Name::Volume { .. } => self.delete(name).await.map(|()| None),
                    Name::Upload { stripe, start } => {
                        let volume = Name::Volume { stripe, start };
                        self.give_up(name, volume, names.contains(&volume)).await
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_filter_map(|refused| async { Ok(refused) })
            .try_collect()
            .await?;
        if names.contains(&Name::Writing) {
            self.delete(Name::Writing).await?;
        }
        Ok(refused)
    }

    /// Gives up the upload whose id `record` has; `done`: its object is there, so it may be over. Says why not, if that
    /// is not allowed.
    ///
    /// Azure's have no ids: what was sent belongs to the name. It goes when an object is written there, which then goes
    /// as well.
    async fn give_up(
        &self,
        record: Name,
        volume: Name,
        done: bool,
    ) -> Result<Option<String>, Error> {
        let id = match self.get(record).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            other => String::from_utf8_lossy(&other?).into_owned(),
        };
        if id.is_empty() {
            self.put(volume, Bytes::new(), PutMode::Overwrite).await?;
            self.delete(volume).await?;
            self.delete(record).await?;
            return Ok(None);
        }
        let refused = match self.store.abort_multipart(&self.path(volume), &id).await {
            // There is none of that id any more.
            Err(Error::NotFound { .. }) => None,
            // Nor here: stores have various words for it.
            Err(_) if done => None,
            // One cannot tell whether there is any.
            Err(error @ Error::PermissionDenied { .. }) => Some(format!(
                "the upload {id} of {volume} may be left, with its parts: {}",
                in_words(&error)
            )),
            other => other.map(|()| None)?,
        };
        self.delete(record).await?;
        Ok(refused)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Its threads end first: while the process does, destructors of C libraries are not for other threads.
            runtime.shutdown_timeout(THREADS_END);
        }
    }
}

/// What is below the prefix.
#[derive(Default)]
pub struct Listed {
    pub ours: Vec<(Name, ObjectMeta)>,
    /// The name of something that is no part of a backup.
    pub other: Option<String>,
}

impl Listed {
    pub fn names(&self) -> Vec<Name> {
        self.ours.iter().map(|(name, _)| *name).collect()
    }

    pub fn has_catalogue(&self) -> bool {
        self.ours.iter().any(|(name, _)| *name == Name::Catalogue)
    }
}

/// Whether the connection broke: the request may have been done, and may not.
fn is_broken(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<HttpError>() {
            let kind = error.kind();
            return matches!(kind, HttpErrorKind::Timeout | HttpErrorKind::Interrupted);
        }
        source = cause.source();
    }
    false
}

/// The error, and what it came from, on one line.
pub fn in_words(error: &Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        source = cause.source();
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The error, as those of a folder are.
pub fn io_error(error: &Error) -> io::Error {
    let kind = match error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, in_words(error))
}

/// What is said when a run was stopped while somebody waited.
pub fn interrupted() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "the run was stopped")
}
