//! A rival of one's own: a shared object with two C functions.
//!
//! Owns the reading of `NAME=FILE`, the loading, and the rival that calls the functions (`rival/hugepool_rival.h` says
//! what each must do, `docs/rivals.md` how to write one). Uses libc's dynamic linker. The options make an [`Object`], and
//! the arenas the rival, in a process of its own for each round: what the object does there ends that process at most.

use std::ffi::{CStr, CString, c_char, c_void};
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{fs, io, mem, thread};

use super::block::Block;
use super::examine::examine;
use super::{Absence, Hand, Rival, Seat, Shape, Waits};

/// Buffers that are out at once when it is examined.
const EXAMINED: usize = 64;

/// A shared object, and what it is called.
#[derive(Debug)]
pub struct Object {
    name: String,
    file: PathBuf,
    version: OnceLock<String>,
}

impl Object {
    /// Reads `NAME=FILE`. The error says what is wrong with the value.
    pub fn parse(text: &str) -> Result<Object, String> {
        const LONGEST: usize = 32;
        let (name, file) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is no rival of one's own: write NAME=FILE"))?;
        let is_known = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !begins || !name.chars().all(is_known) || name.len() > LONGEST {
            return Err(format!(
                "`{name}` is no name: a letter, then letters, digits and `-`, {LONGEST} at most"
            ));
        }
        let real = fs::canonicalize(file).and_then(|real| {
            if !real.is_file() {
                Err(io::Error::other("it is no file"))
            } else if real.to_str().is_none() {
                Err(io::Error::other("its path is not UTF-8"))
            } else {
                Ok(real)
            }
        });
        Ok(Object {
            name: name.to_owned(),
            file: real.map_err(|error| format!("{name}: cannot load `{file}`: {error}"))?,
            version: OnceLock::new(),
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What it says of its version, and its file's name.
    pub fn version(&self) -> String {
        let file = self.file.file_name().unwrap_or_default().to_string_lossy();
        match self.version.get() {
            Some(version) => format!("{version} ({file})"),
            None => format!("{} ({file})", self.name),
        }
    }

    /// Keeps what it said of its version.
    pub fn set_version(&self, version: String) {
        // The first word stands.
        let _ = self.version.set(version);
    }

    /// Loads it. The error says what the linker says, or which function it lacks.
    pub fn load(&self) -> Result<Functions, String> {
        let text = self.file.display();
        let file = CString::new(self.file.as_os_str().as_bytes())
            .map_err(|error| format!("{text}: {error}"))?;
        // SAFETY: the name is terminated. What the object does while it is loaded is the user's wish; this is a process
        // of its own.
        let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        let handle = NonNull::new(handle).ok_or_else(linker_error)?;
        let find = |name: &CStr| {
            // SAFETY: the handle is one of a loaded object, and the name is terminated.
            NonNull::new(unsafe { libc::dlsym(handle.as_ptr(), name.as_ptr()) })
        };
        let must = |name: &CStr| {
            find(name).ok_or_else(|| format!("{text} has no function `{}`", name.to_string_lossy()))
        };
        let (take, give) = (must(c"hp_rival_take")?, must(c"hp_rival_give")?);
        // SAFETY: the header declares the function of each name with the type that its field has, and the object stays
        // loaded until the process ends.
        Ok(unsafe {
            Functions {
                take: mem::transmute::<NonNull<c_void>, Take>(take),
                give: mem::transmute::<NonNull<c_void>, Give>(give),
                version: mem::transmute::<Option<NonNull<c_void>>, Option<Version>>(find(
                    c"hp_rival_version",
                )),
                open: mem::transmute::<Option<NonNull<c_void>>, Option<Open>>(find(
                    c"hp_rival_open",
                )),
                close: mem::transmute::<Option<NonNull<c_void>>, Option<Plain>>(find(
                    c"hp_rival_close",
                )),
                enter: mem::transmute::<Option<NonNull<c_void>>, Option<Plain>>(find(
                    c"hp_rival_enter",
                )),
                leave: mem::transmute::<Option<NonNull<c_void>>, Option<Plain>>(find(
                    c"hp_rival_leave",
                )),
            }
        })
    }
}

/// By the name, which no two have.
impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        self.name == other.name
    }
}

impl Eq for Object {}

impl Hash for Object {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// What the dynamic linker says of the last call.
fn linker_error() -> String {
    // SAFETY: the string is the linker's, terminated, and stays until its next call on this thread.
    let said = unsafe { libc::dlerror().as_ref().map(|text| CStr::from_ptr(text)) };
    said.map_or_else(
        || "it cannot be loaded".to_owned(),
        |text| text.to_string_lossy().into_owned(),
    )
}

type Take = unsafe extern "C" fn(usize, usize) -> *mut c_void;
type Give = unsafe extern "C" fn(*mut c_void, usize, usize);
type Version = unsafe extern "C" fn() -> *const c_char;
type Open = unsafe extern "C" fn(usize, usize, usize, usize) -> *const c_char;
type Plain = unsafe extern "C" fn();

/// The functions of a loaded object.
#[derive(Debug, Clone, Copy)]
pub struct Functions {
    take: Take,
    give: Give,
    version: Option<Version>,
    open: Option<Open>,
    close: Option<Plain>,
    enter: Option<Plain>,
    leave: Option<Plain>,
}

impl Functions {
    /// What the object says of its version.
    pub fn version(&self) -> Option<String> {
        // SAFETY: the header: it takes nothing, and returns a terminated string that stays.
        let text = unsafe { (self.version?)() };
        // SAFETY: as above.
        let text = unsafe { text.as_ref().map(|text| CStr::from_ptr(text)) }?;
        Some(text.to_string_lossy().into_owned())
    }

    /// Has it make its buffers, if it makes them beforehand. The error is its reason to refuse.
    fn open(&self, shape: Shape, threads: usize) -> Result<(), String> {
        let Some(open) = self.open else { return Ok(()) };
        // SAFETY: the header: any size and alignment may be asked for; what is open already was closed first.
        let refusal = unsafe { open(shape.size, shape.alignment, shape.buffers, threads) };
        // SAFETY: the header: null, or a terminated string that stays until the next call.
        let refusal = unsafe { refusal.as_ref().map(|text| CStr::from_ptr(text)) };
        refusal.map_or(Ok(()), |text| Err(text.to_string_lossy().into_owned()))
    }
}

/// The rival that an object is in one group.
pub struct Loaded(Arc<Opened>);

struct Opened {
    functions: Functions,
    shape: Shape,
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(close) = self.functions.close {
            // SAFETY: the header: it was opened, once, and all hands are gone, with all buffers.
            unsafe { close() };
        }
    }
}

impl Loaded {
    /// Loads the object, opens it for `threads` workers, and examines its buffers.
    pub fn new(object: &Object, shape: Shape, threads: usize) -> Result<Loaded, Absence> {
        let functions = object.load().map_err(Absence::Failed)?;
        functions.open(shape, threads).map_err(Absence::Refuses)?;
        let loaded = Loaded(Arc::new(Opened { functions, shape }));
        examine(&loaded, shape, EXAMINED.min(shape.buffers)).map_err(Absence::Failed)?;
        Ok(loaded)
    }
}

impl Rival for Loaded {
    type Hand = LoadedHand;

    fn hand(&self, _: Seat) -> LoadedHand {
        if let Some(enter) = self.0.functions.enter {
            // SAFETY: the header: it is open.
            unsafe { enter() };
        }
        LoadedHand {
            take: self.0.functions.take,
            give: self.0.functions.give,
            shape: self.0.shape,
            opened: Arc::clone(&self.0),
        }
    }

    /// One that was opened for so many buffers has them; another one has no such number.
    fn capacity(&self) -> Option<usize> {
        self.0.functions.open.map(|_| self.0.shape.buffers)
    }
}

/// A worker's way to the object. It lives and dies on the worker's thread.
pub struct LoadedHand {
    take: Take,
    give: Give,
    shape: Shape,
    opened: Arc<Opened>,
}

impl Drop for LoadedHand {
    fn drop(&mut self) {
        if let Some(leave) = self.opened.functions.leave {
            // SAFETY: the header: this thread entered, and holds nothing that it is to give back.
            unsafe { leave() };
        }
    }
}

impl Hand for LoadedHand {
    type Held = Block;

    #[inline(always)]
    fn take(&mut self) -> Option<Block> {
        let Shape {
            size, alignment, ..
        } = self.shape;
        // SAFETY: the header: it is open for this size and alignment.
        let start = NonNull::new(unsafe { (self.take)(size, alignment) })?;
        // SAFETY: the header: the buffer is the taker's for its whole size until it is given back, which ends the block
        // first. `examine` and the stamps see it where that is not so.
        Some(unsafe { Block::new(start.cast()) })
    }

    #[inline(always)]
    fn give(&mut self, held: Block) -> bool {
        let Shape {
            size, alignment, ..
        } = self.shape;
        // SAFETY: the header: the buffer is one of `take`, with the same size and alignment, and is given back once.
        unsafe { (self.give)(held.into_start().as_ptr().cast(), size, alignment) };
        true
    }

    #[inline(always)]
    fn bytes<'h>(&self, held: &'h mut Block) -> &'h mut [u8] {
        // SAFETY: `take` made the block for the shape's size.
        unsafe { held.bytes(self.shape.size) }
    }
}

impl Waits for LoadedHand {
    /// Nobody says when there is one: it asks again, and lets others run meanwhile.
    #[inline]
    fn wait(&mut self, limit: Duration) -> Option<Block> {
        if let Some(held) = self.take() {
            return Some(held);
        }
        let asked = Instant::now();
        while asked.elapsed() < limit {
            thread::yield_now();
            if let Some(held) = self.take() {
                return Some(held);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_of_ones_own_is_a_name_and_a_file() {
        let program = std::env::current_exe().expect("it has a file");
        let program = program.display();
        let object = Object::parse(&format!("My-2={program}")).expect("it is right");
        assert_eq!(object.name(), "My-2");
        assert!(object.file().is_absolute());
        for (wrong, why) in [
            ("my", "write NAME=FILE"),
            ("=/bin/sh", "`` is no name"),
            ("2my=/bin/sh", "`2my` is no name"),
            ("my_own=/bin/sh", "`my_own` is no name"),
            ("a,b=/bin/sh", "`a,b` is no name"),
            ("my=/nonexistent.so", "`/nonexistent.so`"),
            ("my=/", "it is no file"),
        ] {
            let error = Object::parse(wrong).expect_err(wrong);
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
