//! An Azurite, Microsoft's own emulator of its blob store, which `cli/tests/azurite` starts.
//!
//! Owns where it is, from the environment, and what is asked of it besides the program's requests: its container may be
//! listed by everybody.

use std::collections::BTreeSet;
use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::Broken;

/// Where it is, as `host:port`, the name and the key of its account, and the container's name.
const VARIABLE: &str = "HUGEPOOL_TEST_AZURITE";

/// One that runs.
pub struct Found {
    address: String,
    account: String,
    key: String,
    container: String,
}

/// What the environment says; `None`: there is none.
pub fn find() -> Option<Found> {
    let value = env::var(VARIABLE).ok()?;
    let words: Vec<_> = value.split_whitespace().map(str::to_owned).collect();
    let [address, account, key, container] = words
        .try_into()
        .unwrap_or_else(|_| panic!("{VARIABLE}: {value}"));
    Some(Found {
        address,
        account,
        key,
        container,
    })
}

impl Found {
    /// A part of the container that is `test`'s own.
    pub fn container(&self, test: &str) -> Container {
        Container {
            address: self.address.clone(),
            account: self.account.clone(),
            key: self.key.clone(),
            container: self.container.clone(),
            test: test.to_owned(),
        }
    }
}

pub struct Container {
    address: String,
    account: String,
    key: String,
    container: String,
    test: String,
}

impl Container {
    pub fn url(&self, prefix: &str) -> String {
        format!("az://{}/{}/{prefix}", self.container, self.test)
    }

    pub fn tell(&self, command: &mut Command, endpoint: &str) {
        command
            .env("AZURE_STORAGE_ACCOUNT_NAME", &self.account)
            .env("AZURE_STORAGE_ACCOUNT_KEY", &self.key)
            .env("AZURE_ENDPOINT", format!("{endpoint}/{}", self.account))
            .env("AZURE_ALLOW_HTTP", "true");
    }

    /// The names of blobs below a prefix, without the folders before them.
    pub fn objects(&self, prefix: &str) -> Vec<String> {
        let names = self.list(prefix, "").into_iter();
        names
            .map(|name| name.rsplit('/').next().unwrap_or_default().to_owned())
            .collect()
    }

    /// Blobs that have nothing but parts.
    pub fn uploads(&self) -> usize {
        let whole = self.list("", "");
        let all = self.list("", "&include=uncommittedblobs");
        all.difference(&whole).count()
    }

    fn list(&self, prefix: &str, include: &str) -> BTreeSet<String> {
        let path = format!(
            "/{}/{}?restype=container&comp=list&prefix={}/{prefix}{include}",
            self.account, self.container, self.test
        );
        let mut socket = TcpStream::connect(&self.address).expect("it listens");
        write!(
            socket,
            "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.address
        )
        .expect("asked");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("answered");
        assert!(
            answer.contains(" 200 ") && answer.contains("</EnumerationResults>"),
            "{answer}"
        );
        assert!(!answer.contains("<NextMarker>"), "{answer}");
        let names = answer.split("<Name>").skip(1);
        names
            .map(|rest| rest.split("</Name>").next().unwrap_or_default().to_owned())
            .collect()
    }

    /// What it says to a request that is handed on to it. Who asked signed the path, and not the host.
    pub async fn answer(&self, request: Request<Incoming>) -> Result<Response<s3s::Body>, Broken> {
        let socket = tokio::net::TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        tokio::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await?;
        Ok(response.map(s3s::Body::from))
    }
}
