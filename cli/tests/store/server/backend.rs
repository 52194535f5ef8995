//! Who answers the requests to a server.
//!
//! Owns the kinds: how the program is told of each, what is read of what it keeps, and what Google says otherwise than
//! S3. Signatures and tokens are checked.

#[path = "azurite.rs"]
pub mod azurite;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue, IF_NONE_MATCH};
use hyper::{Request, Response, StatusCode};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;

use super::BUCKET;

pub type Broken = Box<dyn std::error::Error + Send + Sync>;

const KEY: &str = "test-key";
const SECRET: &str = "test-secret";
const TOKEN: &str = "test-token";

pub enum Backend {
    S3 {
        root: PathBuf,
        service: S3Service,
    },
    /// The same, asked as Google is: what is the same in both is in the same words.
    Google {
        root: PathBuf,
        service: S3Service,
    },
    Azurite(azurite::Container),
}

/// Has the program find an S3 server.
pub fn tell_s3(command: &mut Command, endpoint: &str) {
    for (name, value) in [
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ] {
        command.env(name, value);
    }
}

impl Backend {
    pub fn s3(root: &Path) -> Backend {
        let mut builder = builder(root);
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        Backend::S3 {
            root: root.to_owned(),
            service: builder.build(),
        }
    }

    pub fn google(root: &Path) -> Backend {
        Backend::Google {
            root: root.to_owned(),
            service: builder(root).build(),
        }
    }

    pub fn root(&self) -> &Path {
        match self {
            Backend::S3 { root, .. } | Backend::Google { root, .. } => root,
            Backend::Azurite(_) => panic!("it is none of this process"),
        }
    }

    pub fn url(&self, prefix: &str) -> String {
        match self {
            Backend::S3 { .. } => format!("s3://{BUCKET}/{prefix}"),
            Backend::Google { .. } => format!("gs://{BUCKET}/{prefix}"),
            Backend::Azurite(container) => container.url(prefix),
        }
    }

    /// Has the program find the server.
    pub fn tell(&self, command: &mut Command, endpoint: &str) {
        match self {
            Backend::S3 { .. } => tell_s3(command, endpoint),
            Backend::Google { .. } => {
                for (name, value) in [
                    ("GOOGLE_BASE_URL", endpoint),
                    ("GOOGLE_ALLOW_HTTP", "true"),
                    ("GOOGLE_BEARER_TOKEN", TOKEN),
                ] {
                    command.env(name, value);
                }
            }
            Backend::Azurite(container) => container.tell(command, endpoint),
        }
    }

    pub fn objects(&self, prefix: &str) -> Vec<String> {
        if let Backend::Azurite(container) = self {
            return container.objects(prefix);
        }
        let Ok(entries) = fs::read_dir(self.root().join(BUCKET).join(prefix)) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.expect("read").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    pub fn uploads(&self) -> usize {
        if let Backend::Azurite(container) = self {
            return container.uploads();
        }
        let entries = fs::read_dir(self.root()).expect("read");
        let names = entries.map(|entry| entry.expect("read").file_name());
        let is_upload = |name: &str| name.starts_with(".upload-") && name.ends_with(".json");
        names
            .filter(|name| name.to_str().is_some_and(is_upload))
            .count()
    }

    pub async fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Response<s3s::Body>, Broken> {
        let service = match self {
            Backend::S3 { service, .. } => service,
            Backend::Google { service, .. } => {
                let headers = request.headers_mut();
                let token = format!("Bearer {TOKEN}");
                if headers.remove(AUTHORIZATION).is_none_or(|it| it != token) {
                    let mut response = Response::new(s3s::Body::from("no such token".to_owned()));
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                    return Ok(response);
                }
                // That there is no such object yet.
                if headers
                    .remove("x-goog-if-generation-match")
                    .is_some_and(|it| it == "0")
                {
                    headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
                }
                service
            }
            Backend::Azurite(container) => return container.answer(request).await,
        };
        Ok(service.call(request.map(s3s::Body::from)).await?)
    }
}

fn builder(root: &Path) -> S3ServiceBuilder {
    fs::create_dir_all(root.join(BUCKET)).expect("made");
    S3ServiceBuilder::new(FileSystem::new(root).expect("a folder"))
}
