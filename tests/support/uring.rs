//! Rings, files and pipes to try them with.

use super::skipped;
use hugepool::uring::{Completion, Ring, WhyUnregistered};
use hugepool::{Buffer, Builder, Memory, Pages, Pool, Rung};
use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Reserved huge pages are others' to try: there are few or none, and one that is let go by a
/// process that ends may be promised before it is free.
pub fn without_reserved(builder: Builder) -> Builder {
    let builder = builder.pages(Pages::Huge1G, Rung::Never);
    builder.pages(Pages::Huge2M, Rung::Never)
}

/// A ring for a pool; `None`, after saying so, where there is no io_uring.
pub fn ring<F: AsFd + 'static, M: Memory>(
    what: &str,
    pool: &Pool<M>,
    depth: u32,
) -> Option<Ring<F, M>> {
    match Ring::new(pool, depth) {
        Ok(ring) => Some(ring),
        Err(why) => {
            skipped(&format!("{what}: no io_uring: {why}"));
            None
        }
    }
}

/// Whether all of the ring's pool is registered. If the kernel does not do that, or this user
/// may not lock so much, says so.
pub fn is_registered<F: AsFd + 'static, M: Memory>(what: &str, ring: &Ring<F, M>) -> bool {
    let report = ring.report();
    match report.why {
        None => assert!(
            report.registered > 0 && report.unregistered == 0,
            "{report}"
        ),
        Some(WhyUnregistered::NoTable { .. } | WhyUnregistered::Memory { .. }) => {
            skipped(&format!("{what}: {report}"));
        }
        Some(why) => panic!("{why}"),
    }
    report.why.is_none()
}

/// The next completion.
#[track_caller]
pub fn next<F: AsFd + 'static, M: Memory>(ring: &mut Ring<F, M>) -> Completion<F, M> {
    ring.wait().unwrap().expect("something is under way")
}

/// A file of a temporary folder, which goes with this.
pub struct Temporary {
    pub path: PathBuf,
    pub file: Arc<File>,
}

impl Temporary {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let name = format!("hugepool-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        let file = Arc::new(options.open(&path).unwrap());
        Self { path, file }
    }

    /// One with these bytes in it.
    pub fn with(name: &str, bytes: &[u8]) -> Self {
        let temporary = Self::new(name);
        std::fs::write(&temporary.path, bytes).unwrap();
        temporary
    }

    /// What is in it.
    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A pipe: a read of it waits until something is written.
pub fn pipe() -> (Arc<File>, PipeWriter) {
    let (reader, writer): (PipeReader, PipeWriter) = std::io::pipe().unwrap();
    let reader = std::os::fd::OwnedFd::from(reader);
    (Arc::new(File::from(reader)), writer)
}

/// Takes every buffer of a size.
pub fn all(pool: &Pool, size: usize) -> Vec<Buffer> {
    let class = pool.class(size, 4096).unwrap();
    std::iter::from_fn(|| class.allocate().ok()).collect()
}

/// Bytes that differ from one place to the next, and from one seed to another.
pub fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at / 251 + at + seed * 7) as u8)
        .collect()
}
