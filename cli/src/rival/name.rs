//! The rivals' names, and what stands behind each.
//!
//! Owns the list a user may choose from; uses the versions the build script found. The options parse it, `bench`
//! makes rivals of it, the reports print it.

use std::ffi::CStr;
use std::fmt;
use std::sync::OnceLock;

use super::loaded::Object;

/// An allocator, a pool or a baseline that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// The pool, by size and alignment, with `Buffer` giving itself back.
    Hugepool,
    /// The pool, through a class resolved once.
    HugepoolClass,
    /// The pool's checked raw pointers.
    HugepoolRaw,
    /// The pool through a class, with the caches that it has where there are no restartable sequences.
    HugepoolPortable,
    /// `posix_memalign` and `free`: of the C library, unless another object was loaded before it (`LD_PRELOAD`).
    Glibc,
    /// `mmap` and `munmap` for each buffer.
    Mmap,
    /// jemalloc.
    Jemalloc,
    /// mimalloc.
    Mimalloc,
    /// rpmalloc.
    Rpmalloc,
    /// snmalloc.
    Snmalloc,
    /// crossbeam's bounded queue, holding the free buffers of one mapping.
    ArrayQueue,
    /// A vector of free buffers of one mapping, in a mutex.
    MutexVec,
    /// A published buffer pool.
    StoreIoBuf,
    /// Another one.
    ZeroPool,
    /// Baseline: an unchecked array of buffers that belongs to one thread.
    Limit,
    /// Baseline of `pipeline`: a pointer passed on with no allocator at all.
    HandOff,
    /// Baseline of `fill`: the pool's own memory filled without taking or giving.
    NoAllocator,
    /// A vector of free buffers in a mutex, and a condition variable for who waits.
    MutexCondvar,
    /// crossbeam's bounded channel of free buffers.
    Channel,
    /// Baseline of `exhausted`: threads that need no pool.
    NoPool,
    /// The pool, for tasks.
    HugepoolTasks,
    /// tokio's semaphore in front of crossbeam's bounded queue, for tasks.
    Semaphore,
    /// Baseline of `exhausted`: tasks that need no pool.
    NoPoolTasks,
    /// The pool, with more buffers than can be under way: nobody waits there.
    HugepoolAmple,
    /// Baseline of `engine`: an array of buffers, each with a flag.
    Array,
    /// A shared object of the user's.
    Loaded(&'static Object),
}

impl Name {
    /// All that this program has, in the order of a report. Those of the user follow.
    pub const ALL: [Name; 25] = [
        Name::Hugepool,
        Name::HugepoolClass,
        Name::HugepoolRaw,
        Name::HugepoolPortable,
        Name::Glibc,
        Name::Mmap,
        Name::Jemalloc,
        Name::Mimalloc,
        Name::Rpmalloc,
        Name::Snmalloc,
        Name::ArrayQueue,
        Name::MutexVec,
        Name::StoreIoBuf,
        Name::ZeroPool,
        Name::Limit,
        Name::HandOff,
        Name::NoAllocator,
        Name::MutexCondvar,
        Name::Channel,
        Name::NoPool,
        Name::HugepoolTasks,
        Name::Semaphore,
        Name::NoPoolTasks,
        Name::HugepoolAmple,
        Name::Array,
    ];

    /// Those that this build can run.
    pub fn built() -> impl Iterator<Item = Name> {
        let lacks = |name: &Name| name.lacks().is_some();
        Name::ALL.into_iter().filter(move |name| !lacks(name))
    }

    /// The feature that this build would need to run it.
    fn lacks(self) -> Option<&'static str> {
        match self {
            Name::Snmalloc if !cfg!(feature = "snmalloc") => Some("snmalloc"),
            _ => None,
        }
    }

    /// The name as it is typed and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Name::Hugepool => "hugepool",
            Name::HugepoolClass => "hugepool-class",
            Name::HugepoolRaw => "hugepool-raw",
            Name::HugepoolPortable => "hugepool-portable",
            Name::Glibc => preloaded().unwrap_or(GLIBC),
            Name::Mmap => "mmap",
            Name::Jemalloc => "jemalloc",
            Name::Mimalloc => "mimalloc",
            Name::Rpmalloc => "rpmalloc",
            Name::Snmalloc => "snmalloc",
            Name::ArrayQueue => "arrayqueue",
            Name::MutexVec => "mutex-vec",
            Name::StoreIoBuf => "store-io-buf",
            Name::ZeroPool => "zeropool",
            Name::Limit => "limit",
            Name::HandOff => "hand-off",
            Name::NoAllocator => "no-allocator",
            Name::MutexCondvar => "mutex-condvar",
            Name::Channel => "channel",
            Name::NoPool => "no-pool",
            Name::HugepoolTasks => "hugepool-tasks",
            Name::Semaphore => "semaphore",
            Name::NoPoolTasks => "no-pool-tasks",
            Name::HugepoolAmple => "hugepool-ample",
            Name::Array => "array",
            Name::Loaded(object) => object.name(),
        }
    }

    /// Reads a name a user typed.
    pub fn parse(text: &str) -> Result<Name, String> {
        match Name::find(text) {
            Some(name) => match name.lacks() {
                Some(feature) => Err(format!(
                    "`{name}` is not in this build: build with `--features {feature}`"
                )),
                None => Ok(name),
            },
            None => Err(format!(
                "there is no rival `{text}`; there are: {}, and those of one's own (--rival NAME=FILE)",
                names(Name::built())
            )),
        }
    }

    /// Reads the rivals of the user's own, `NAME=FILE` each: no name and no file twice. They stay as long as the process.
    pub fn load<'t>(texts: impl IntoIterator<Item = &'t String>) -> Result<Vec<Name>, String> {
        let mut loaded: Vec<&'static Object> = Vec::new();
        for text in texts {
            let object = Object::parse(text)?;
            let name = object.name();
            if Name::find(name).is_some() || loaded.iter().any(|other| **other == object) {
                return Err(format!("there is a rival `{name}` already"));
            }
            if let Some(other) = loaded.iter().find(|other| other.file() == object.file()) {
                let file = object.file().display();
                return Err(format!(
                    "{file} is the rival `{}` already, and cannot be `{name}` as well: copy it",
                    other.name()
                ));
            }
            loaded.push(Box::leak(Box::new(object)));
        }
        Ok(loaded.into_iter().map(Name::Loaded).collect())
    }

    /// That of this program, in this build or not.
    fn find(text: &str) -> Option<Name> {
        let is = |name: &Name| name.as_str() == text || *name == Name::Glibc && text == GLIBC;
        Name::ALL.into_iter().find(is)
    }

    /// Whether it is this pool, whose refusals and losses fail the run.
    pub fn is_hugepool(self) -> bool {
        matches!(
            self,
            Name::Hugepool
                | Name::HugepoolClass
                | Name::HugepoolRaw
                | Name::HugepoolPortable
                | Name::HugepoolTasks
                | Name::HugepoolAmple
        )
    }

    /// Whether its takes wait, or stand for takes that do. (This pool under its plain name does both.)
    pub fn waits(self) -> bool {
        self.is_for_tasks() || matches!(self, Name::MutexCondvar | Name::Channel | Name::NoPool)
    }

    /// Whether it finds memory for each buffer when it is asked for it.
    pub fn is_general(self) -> bool {
        matches!(
            self,
            Name::Glibc
                | Name::Mmap
                | Name::Jemalloc
                | Name::Mimalloc
                | Name::Rpmalloc
                | Name::Snmalloc
                | Name::Loaded(_)
        )
    }

    /// Whether tasks wait there, not threads.
    pub fn is_for_tasks(self) -> bool {
        matches!(
            self,
            Name::HugepoolTasks | Name::Semaphore | Name::NoPoolTasks
        )
    }

    /// Whether it is what `exhausted` takes without a pool.
    pub fn is_without_a_pool(self) -> bool {
        matches!(self, Name::NoPool | Name::NoPoolTasks)
    }

    /// Which array of buffers stands behind it; rivals with the same one share it.
    pub fn arena(self) -> Option<Arena> {
        match self {
            Name::Hugepool
            | Name::HugepoolClass
            | Name::HugepoolRaw
            | Name::NoAllocator
            | Name::HugepoolTasks => Some(Arena::Pool),
            Name::HugepoolPortable => Some(Arena::PortablePool),
            Name::HugepoolAmple => Some(Arena::AmplePool),
            Name::ArrayQueue
            | Name::MutexVec
            | Name::Limit
            | Name::HandOff
            | Name::MutexCondvar
            | Name::Channel
            | Name::Semaphore
            | Name::Array => Some(Arena::Mapping),
            Name::StoreIoBuf => Some(Arena::Store),
            Name::ZeroPool => Some(Arena::Zero),
            // It may have its buffers beforehand.
            Name::Loaded(object) => Some(Arena::Loaded(object.name())),
            Name::Glibc
            | Name::Mmap
            | Name::Jemalloc
            | Name::Mimalloc
            | Name::Rpmalloc
            | Name::Snmalloc
            | Name::NoPool
            | Name::NoPoolTasks => None,
        }
    }

    /// What was linked, for the report's head; `None` for what is part of this program.
    pub fn version(self) -> Option<String> {
        let built = |package: &str, version: &str| Some(format!("{package} {version}"));
        match self {
            Name::Glibc => Some(match preloaded() {
                Some(object) => format!("{object}, preloaded over {}", c_library()),
                None => c_library(),
            }),
            Name::Jemalloc => built("tikv-jemallocator", env!("RIVAL_TIKV_JEMALLOCATOR")),
            Name::Mimalloc => built("mimalloc", env!("RIVAL_MIMALLOC")),
            Name::Rpmalloc => built("rpmalloc-sys", env!("RIVAL_RPMALLOC_SYS")),
            Name::Snmalloc => built("snmalloc-rs", env!("RIVAL_SNMALLOC_RS")),
            Name::ArrayQueue => built("crossbeam-queue", env!("RIVAL_CROSSBEAM_QUEUE")),
            Name::StoreIoBuf => built("store-io-buf", env!("RIVAL_STORE_IO_BUF")),
            Name::ZeroPool => built("zeropool", env!("RIVAL_ZEROPOOL")),
            Name::Channel => built("crossbeam-channel", env!("RIVAL_CROSSBEAM_CHANNEL")),
            Name::Semaphore => built("tokio", env!("RIVAL_TOKIO")),
            Name::Loaded(object) => Some(object.version()),
            Name::Hugepool
            | Name::HugepoolClass
            | Name::HugepoolRaw
            | Name::HugepoolPortable
            | Name::HugepoolTasks
            | Name::HugepoolAmple
            | Name::Array
            | Name::MutexCondvar
            | Name::NoPool
            | Name::NoPoolTasks
            | Name::Mmap
            | Name::MutexVec
            | Name::Limit
            | Name::HandOff
            | Name::NoAllocator => None,
        }
    }
}

/// Kinds of memory behind the rivals that own an array of buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arena {
    /// This pool's.
    Pool,
    /// That of the pool with portable caches.
    PortablePool,
    /// That of a larger pool.
    AmplePool,
    /// One mapping for the pools made here.
    Mapping,
    /// The published pools' own.
    Store,
    Zero,
    /// That of a shared object of the user's, by its name.
    Loaded(&'static str),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Names in a row, for a message.
pub fn names<T: fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|name| name.to_string()).collect();
    all.join(", ")
}

/// What the C library's allocator is called, if it is the one that is called.
const GLIBC: &str = "glibc";

/// The file name of the object that has `posix_memalign` in the C library's place.
fn preloaded() -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let object = object_of(c"posix_memalign")?;
        let name = object.rsplit('/').next()?.to_owned();
        // That of a C library; a program that is linked statically has none of its own.
        let own = ["libc.", "libc-", "ld-"]
            .iter()
            .any(|it| name.starts_with(it));
        let program = std::env::current_exe().ok()?;
        let is_program = program.file_name().is_some_and(|it| *it == *name);
        (!own && !is_program).then_some(name)
    });
    found.as_deref()
}

/// The file that a function is from, as the program is linked.
fn object_of(function: &CStr) -> Option<String> {
    // SAFETY: the name is terminated; all-zero bytes are a value of the structure, which is written to.
    let (known, info) = unsafe {
        let address = libc::dlsym(libc::RTLD_DEFAULT, function.as_ptr());
        let mut info: libc::Dl_info = std::mem::zeroed();
        (libc::dladdr(address, &mut info) != 0, info)
    };
    if !known || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the linker's own string, which stays as long as the object is loaded.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(name.to_string_lossy().into_owned())
}

#[cfg(target_env = "gnu")]
fn c_library() -> String {
    // SAFETY: the call has no precondition and returns a terminated string that is never changed.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    format!("glibc {}", version.to_string_lossy())
}

#[cfg(not(target_env = "gnu"))]
fn c_library() -> String {
    let version: &CStr = c"C library of unknown version";
    version.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_name_is_read_back() {
        for name in Name::built() {
            assert_eq!(Name::parse(name.as_str()), Ok(name));
        }
    }

    #[test]
    fn a_wrong_name_is_named_with_the_right_ones() {
        let error = Name::parse("tcmalloc").expect_err("no such rival");
        assert!(error.contains("`tcmalloc`"), "{error}");
        for name in Name::built() {
            assert!(error.contains(name.as_str()), "{error}");
        }
    }

    #[test]
    fn a_rival_of_ones_own_has_a_name_and_a_file_that_no_other_has() {
        let program = std::env::current_exe().expect("it has a file");
        let load = |names: &[&str]| {
            let texts: Vec<String> = names
                .iter()
                .map(|name| format!("{name}={}", program.display()))
                .collect();
            Name::load(&texts)
        };
        let one = load(&["my"]).expect("it is new");
        assert_eq!(names(&one), "my");
        for taken in ["mimalloc", "glibc", "snmalloc"] {
            let error = load(&[taken]).expect_err("there is one");
            assert!(error.contains(&format!("a rival `{taken}`")), "{error}");
        }
        let error = load(&["my", "your"]).expect_err("one object has one state");
        assert!(error.contains("the rival `my` already"), "{error}");
        let other = "my=/bin/sh".to_owned();
        let texts = [format!("my={}", program.display()), other];
        let error = Name::load(&texts).expect_err("two of a name");
        assert!(error.contains("a rival `my` already"), "{error}");
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        for name in Name::built() {
            if let Some(version) = name.version() {
                assert!(!version.contains("unknown"), "{name}: {version}");
            }
        }
    }
}
