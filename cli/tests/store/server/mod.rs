//! A server for the tests of object stores, in this process, on the loopback.
//!
//! Owns the listener, what it was asked, and what it does to a request instead of having it answered. Who answers is
//! `backend`: s3s over a folder, as S3 or as Google, or an Azurite elsewhere, to whom requests are handed on.

mod backend;

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
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::trees::{PROGRAM, ended};
use backend::Backend;
pub use backend::azurite;

const BUCKET: &str = "bucket";
/// One that nobody has the key of.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/server/ca.pem");

/// What is done to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is answered by 500.
    Error,
    /// The connection is closed.
    Close,
    /// The connection is reset, and what was on its way in it is lost.
    Reset,
    /// It is not answered.
    Hang,
    /// It is done, and the answer is lost.
    Lose,
}

/// Which requests something is done to: those for which this says so, by their number and what they ask for.
type Which = Box<dyn FnMut(usize, &str) -> Option<Fault> + Send>;

#[derive(Default)]
struct Shared {
    /// Method, path and query of each request.
    asked: Mutex<Vec<String>>,
    which: Mutex<Option<Which>>,
}

pub struct Server {
    backend: Arc<Backend>,
    endpoint: String,
    shared: Arc<Shared>,
    /// Its end is the server's.
    _runtime: Runtime,
}

impl Server {
    /// Starts one that speaks S3, and keeps its objects in `root`.
    pub fn start(root: &Path) -> Server {
        Server::over(Backend::s3(root))
    }

    /// Starts one that speaks as Google does.
    pub fn google(root: &Path) -> Server {
        Server::over(Backend::google(root))
    }

    /// Starts one that hands everything on to the Azurite that `found` is of; what its objects are called begins with
    /// `test`.
    pub fn azure(found: &azurite::Found, test: &str) -> Server {
        Server::over(Backend::Azurite(found.container(test)))
    }

    fn over(backend: Backend) -> Server {
        let backend = Arc::new(backend);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("set");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads start");
        let shared = Arc::new(Shared::default());
        runtime.spawn(listen(listener, Arc::clone(&backend), Arc::clone(&shared)));
        Server {
            backend,
            endpoint,
            shared,
            _runtime: runtime,
        }
    }

    /// Does something to the requests to come, of which the first is number 0.
    pub fn harm(&self, which: impl FnMut(usize, &str) -> Option<Fault> + Send + 'static) {
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
        let mut command = command(&self.endpoint, args);
        self.backend.tell(&mut command, &self.endpoint);
        command
    }

    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        ended(self.command(args).output().expect("the program starts"))
    }

    pub fn start_program(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// The URL of a prefix.
    pub fn url(&self, prefix: &str) -> String {
        self.backend.url(prefix)
    }

    /// Where an object is; only of a server that has a folder.
    pub fn object(&self, key: &str) -> PathBuf {
        self.backend.root().join(BUCKET).join(key)
    }

    /// The names of objects below a prefix.
    pub fn objects(&self, prefix: &str) -> Vec<String> {
        self.backend.objects(prefix)
    }

    /// Uploads that were begun, and neither completed nor given up.
    pub fn uploads(&self) -> usize {
        self.backend.uploads()
    }
}

/// The program, told of an S3 server.
pub fn command(endpoint: &str, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["AWS_", "GOOGLE_", "AZURE_"]
            .iter()
            .any(|it| name.starts_with(it))
        {
            command.env_remove(name);
        }
    }
    backend::tell_s3(&mut command, endpoint);
    for (name, value) in [
        // The machine may have no certificates, without which there is no client.
        ("SSL_CERT_FILE", CERTIFICATE),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
    ] {
        command.env(name, value);
    }
    command
}

async fn listen(listener: TcpListener, backend: Arc<Backend>, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let socket = socket.into_std().expect("one of this system");
        // By which it can be reset while it is served.
        let twin = socket.try_clone().expect("a descriptor is free");
        let twin = Arc::new(TcpStream::from_std(twin).expect("a socket"));
        let socket = TcpStream::from_std(socket).expect("a socket");
        let (backend, shared) = (Arc::clone(&backend), Arc::clone(&shared));
        let answer = service_fn(move |request| {
            answer(
                request,
                Arc::clone(&backend),
                Arc::clone(&shared),
                Arc::clone(&twin),
            )
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), answer);
        // Its end is the client's business.
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn answer(
    mut request: Request<Incoming>,
    backend: Arc<Backend>,
    shared: Arc<Shared>,
    socket: Arc<TcpStream>,
) -> Result<Response<s3s::Body>, backend::Broken> {
    let mut what = format!("{} {}", request.method(), request.uri());
    // Google's client writes these so.
    for (code, sign) in [("%2F", "/"), ("%2D", "-"), ("%2E", ".")] {
        what = what.replace(code, sign);
    }
    let number = {
        let mut asked = shared.asked.lock().expect("locked");
        asked.push(what.clone());
        asked.len() - 1
    };
    let fault = {
        let mut which = shared.which.lock().expect("locked");
        which.as_mut().and_then(|which| which(number, &what))
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
        Some(Fault::Reset) => {
            socket.set_zero_linger()?;
            return Err("reset".into());
        }
        Some(Fault::Hang) => pending().await,
        Some(Fault::Lose) => {
            let mut done = backend.answer(request).await?;
            // Some of it is done while the answer is read.
            while poll_fn(|cx| Pin::new(done.body_mut()).poll_frame(cx))
                .await
                .is_some()
            {}
            return Err("lost".into());
        }
    }
    backend.answer(request).await
}
