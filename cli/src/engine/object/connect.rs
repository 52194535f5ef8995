//! From a URL to a client of its kind.
//!
//! Owns the reading of URLs, and what is said to the libraries' clients. Where a store is, and who asks, is in the
//! environment, by the names that its own tools have. `client` uses it.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::ClientConfigKey;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{Error, RetryConfig};

use super::client::Store;
use crate::engine::scheme::Scheme;
use crate::failure::Failure;

/// A request that has had no answer for so long is made again, whatever `--retry-for` is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A prefix in a store.
#[derive(Debug)]
pub struct Url<'u> {
    scheme: Scheme,
    container: &'u str,
    pub prefix: Path,
}

impl<'u> Url<'u> {
    /// Refuses what is none, with the reason.
    pub fn parse(url: &'u str) -> Result<Url<'u>, Failure> {
        let parts = url.split_once("://");
        let Some((scheme, rest)) =
            parts.and_then(|(name, rest)| Some((Scheme::of(name.as_bytes())?, rest)))
        else {
            return Err(Failure::input(format!("{url}: is no URL of a store")));
        };
        let (container, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if container.is_empty() {
            let (name, what) = (scheme.name(), scheme.container());
            return Err(Failure::input(format!(
                "{url}: has no {what}; write {name}://{}/PREFIX",
                what.to_uppercase()
            )));
        }
        let prefix =
            Path::parse(prefix).map_err(|error| Failure::input(format!("{url}: {error}")))?;
        Ok(Url {
            scheme,
            container,
            prefix,
        })
    }

    /// A client, without a request.
    pub fn connect(&self, retry: Duration) -> Result<Arc<dyn Store>, Error> {
        let again = RetryConfig {
            // The time is the limit.
            max_retries: if retry.is_zero() { 0 } else { usize::MAX },
            retry_timeout: retry,
            ..RetryConfig::default()
        };
        // A part on a slow line takes longer than the library's own limit.
        let limit = format!("{} seconds", retry.max(PATIENCE).as_secs());
        let key = ClientConfigKey::Timeout;
        let unset = |variable: &str| env::var_os(variable).is_none();
        Ok(match self.scheme {
            Scheme::S3 => {
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(self.container)
                    .with_retry(again);
                if unset("AWS_TIMEOUT") {
                    builder = builder.with_config(AmazonS3ConfigKey::Client(key), limit);
                }
                Arc::new(builder.build()?)
            }
            Scheme::Gs => {
                let mut builder = GoogleCloudStorageBuilder::from_env()
                    .with_bucket_name(self.container)
                    .with_retry(again);
                if unset("GOOGLE_TIMEOUT") {
                    builder = builder.with_config(GoogleConfigKey::Client(key), limit);
                }
                Arc::new(builder.build()?)
            }
            Scheme::Az => {
                let mut builder = MicrosoftAzureBuilder::from_env()
                    .with_container_name(self.container)
                    .with_retry(again);
                if unset("AZURE_TIMEOUT") {
                    builder = builder.with_config(AzureConfigKey::Client(key), limit);
                }
                Arc::new(builder.build()?)
            }
        })
    }
}
