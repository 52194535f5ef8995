//! An S3 server for the tests of object stores: s3s over a folder, in this process, on the loopback.
//!
//! Owns the server, what it was asked, and what it does to a request instead of answering it. Signatures are checked.

use std::fs;
use std::future::{pending, poll_fn};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::runtime::{Builder, Runtime};

use crate::trees::{PROGRAM, ended};

const BUCKET: &str = "bucket";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret";
/// One that nobody has the key of.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/s3/ca.pem");

/// What is done to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is answered by 500.
    Error,
    /// The connection is closed.
    Close,
    /// It is not answered.
    Hang,
    /// It is done, and the answer is lost.
    Lose,
}

/// Which requests something is done to: those for which this says so, by their number and what they ask for.
type Which = Box<dyn Fn(usize, &str) -> Option<Fault> + Send>;

#[derive(Default)]
struct Shared {
    /// Method, path and query of each request.
    asked: Mutex<Vec<String>>,
    which: Mutex<Option<Which>>,
}

pub struct Server {
    root: PathBuf,
    endpoint: String,
    shared: Arc<Shared>,
    /// Its end is the server's.
    _runtime: Runtime,
}

impl Server {
    /// Starts one that keeps its objects in `root`.
    pub fn start(root: &Path) -> Server {
        fs::create_dir_all(root.join(BUCKET)).expect("made");
        let mut service = S3ServiceBuilder::new(FileSystem::new(root).expect("a folder"));
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("set");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads start");
        let shared = Arc::new(Shared::default());
        runtime.spawn(listen(listener, service, Arc::clone(&shared)));
        Server {
            root: root.to_owned(),
            endpoint,
            shared,
            _runtime: runtime,
        }
    }

    /// Does something to the requests to come, of which the first is number 0.
    pub fn harm(&self, which: impl Fn(usize, &str) -> Option<Fault> + Send + 'static) {
        *self.shared.which.lock().expect("locked") = Some(Box::new(which));
        self.shared.asked.lock().expect("locked").clear();
    }

    pub fn heal(&self) {
        self.harm(|_, _| None);
    }

    /// What it was asked since it was harmed.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("locked").clone()
    }

    /// Waits until there were so many requests that have `what` in them; false: the program has ended before.
    pub fn until(&self, child: &mut Child, what: &str, count: usize) -> bool {
        let asked = || {
            let asked = self.shared.asked.lock().expect("locked");
            asked.iter().filter(|it| it.contains(what)).count()
        };
        while asked() < count {
            if child.try_wait().expect("asked").is_some() {
                return false;
            }
            thread::sleep(Duration::from_micros(200));
        }
        true
    }

    /// The program, told of this server, with `args` by words.
    pub fn command(&self, args: &[&str]) -> Command {
        command(&self.endpoint, args)
    }

    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        ended(self.command(args).output().expect("the program starts"))
    }

    pub fn start_program(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// Where an object is.
    pub fn object(&self, key: &str) -> PathBuf {
        self.root.join(BUCKET).join(key)
    }

    /// The names of objects below a prefix.
    pub fn objects(&self, prefix: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.object(prefix)) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.expect("read").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    /// Uploads that were begun, and neither completed nor given up.
    pub fn uploads(&self) -> usize {
        let entries = fs::read_dir(&self.root).expect("read");
        let names = entries.map(|entry| entry.expect("read").file_name());
        let is_upload = |name: &str| name.starts_with(".upload-") && name.ends_with(".json");
        names
            .filter(|name| name.to_str().is_some_and(is_upload))
            .count()
    }
}

/// The program, told of a server.
pub fn command(endpoint: &str, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    for name in ["AWS_TIMEOUT", "AWS_SESSION_TOKEN", "AWS_BUCKET"] {
        command.env_remove(name);
    }
    for (name, value) in [
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        // The machine may have no certificates, without which there is no client.
        ("SSL_CERT_FILE", CERTIFICATE),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
    ] {
        command.env(name, value);
    }
    command
}

async fn listen(listener: TcpListener, service: S3Service, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let (service, shared) = (service.clone(), Arc::clone(&shared));
        let answer =
            service_fn(move |request| answer(request, service.clone(), Arc::clone(&shared)));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), answer);
        // Its end is the client's business.
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn answer(
    mut request: Request<Incoming>,
    service: S3Service,
    shared: Arc<Shared>,
) -> Result<Response<s3s::Body>, Box<dyn std::error::Error + Send + Sync>> {
    let what = format!("{} {}", request.method(), request.uri());
    let number = {
        let mut asked = shared.asked.lock().expect("locked");
        asked.push(what.clone());
        asked.len() - 1
    };
    let fault = {
        let which = shared.which.lock().expect("locked");
        which.as_ref().and_then(|which| which(number, &what))
    };
    match fault {
        None => {}
        Some(Fault::Error) => {
            // As a server does that speaks to somebody who sends first and reads then.
            while poll_fn(|cx| Pin::new(request.body_mut()).poll_frame(cx))
                .await
                .is_some()
            {}
            let mut response = Response::new(s3s::Body::from("out of order".to_owned()));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return Ok(response);
        }
        Some(Fault::Close) => return Err("closed".into()),
        Some(Fault::Hang) => pending().await,
        Some(Fault::Lose) => {
            let mut done = service.call(request.map(s3s::Body::from)).await?;
            // Some of it is done while the answer is read.
            while poll_fn(|cx| Pin::new(done.body_mut()).poll_frame(cx))
                .await
                .is_some()
            {}
            return Err("lost".into());
        }
    }
    Ok(service.call(request.map(s3s::Body::from)).await?)
}
