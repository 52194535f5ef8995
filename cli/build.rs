//! Takes the versions of the pool and of the rival crates from the lock file, so that a report names what was really built.

use std::env;
use std::fs;
use std::path::PathBuf;

/// The crates a report names; `RIVAL_<NAME>` in upper case, dashes as underscores, holds each version.
const CRATES: [&str; 10] = [
    "crossbeam-channel",
    "crossbeam-queue",
    "hugepool",
    "mimalloc",
    "rpmalloc-sys",
    "snmalloc-rs",
    "store-io-buf",
    "tikv-jemallocator",
    "tokio",
    "zeropool",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let lock = lock_file();
    if let Some(path) = &lock {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let lock = lock
        .and_then(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    for name in CRATES {
        let variable = name.to_uppercase().replace('-', "_");
        let version = version(&lock, name).unwrap_or("of unknown version");
        println!("cargo::rustc-env=RIVAL_{variable}={version}");
    }
}

/// The nearest `Cargo.lock` above this package: the workspace's, or the package's own once published.
fn lock_file() -> Option<PathBuf> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    package
        .ancestors()
        .map(|directory| directory.join("Cargo.lock"))
        .find(|path| path.is_file())
}

/// The version of `name` that this package depends on. Where there are several of a name, its entry says which.
fn version<'l>(lock: &'l str, name: &str) -> Option<&'l str> {
    let entry = |name: &str| lock.split_once(&format!("name = \"{name}\"\n"));
    let (_, own) = entry(env!("CARGO_PKG_NAME"))?;
    let own = own.split("[[package]]").next()?;
    let which = own.lines().find_map(|line| {
        let dependency = line.trim().strip_prefix('"')?.split('"').next()?;
        dependency.strip_prefix(name)?.strip_prefix(' ')
    });
    which.or_else(|| {
        let (_, package) = entry(name)?;
        let version = package.lines().next()?;
        version.strip_prefix("version = \"")?.strip_suffix('"')
    })
}
