"""The copy of the sources in which every mutation lies behind a switch."""

import os
import shutil
import subprocess

FOLDER = "target/mutants"
TREE = os.path.join(FOLDER, "tree")
MODULE = """//! The mutation that is switched on.
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

static CHOSEN: AtomicI32 = AtomicI32::new(-1);
static PASSED: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];
const COUNT: usize = %d;

/// Whether this one is. Notes that it was passed.
#[inline(never)]
pub fn chosen(number: usize) -> bool {
    if CHOSEN.load(Relaxed) < 0 {
        begin();
    }
    PASSED[number].store(true, Relaxed);
    CHOSEN.load(Relaxed) == number as i32
}

#[cold]
fn begin() {
    // SAFETY: nobody changes the environment.
    let set = unsafe { libc::getenv(c"HUGEPOOL_MUTANT".as_ptr()) };
    // SAFETY: a string of the environment.
    let number = if set.is_null() { 0 } else { unsafe { libc::atoi(set) } };
    if CHOSEN.swap(number, Relaxed) < 0 {
        // SAFETY: the function is there until the process ends.
        unsafe { libc::atexit(end) };
    }
}

extern "C" fn end() {
    let Some(file) = std::env::var_os("HUGEPOOL_MUTANTS_PASSED") else { return };
    let passed = (0..COUNT).filter(|&number| PASSED[number].load(Relaxed));
    let text: Vec<_> = passed.map(|number| number.to_string()).collect();
    use std::io::Write;
    // A test may run itself anew, in a process of its own.
    let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
    let _ = file.and_then(|mut file| writeln!(file, "{}", text.join(" ")));
}
"""


def switched(text, mutations):
    """The text of a file with its mutations, which may begin at one place."""
    starts = sorted({(one.start, one.end) for one in mutations}, reverse=True)
    for start, end in starts:
        here = [one for one in mutations if (one.start, one.end) == (start, end)]
        branch = "".join(
            f"if crate::mutant::chosen({one.number}) {{ {one.other} }} else " for one in here)
        text = f"{text[:start]}({branch}{{ {text[start:end]} }}){text[end:]}"
    return text


def make(mutations):
    """Makes the copy. A file is written where it differs, so that cargo builds what changed."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True).stdout.split("\n")
    for name in filter(os.path.isfile, names):
        target = os.path.join(TREE, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        own = [one for one in mutations if one.file == name]
        if not own and name not in ("src/lib.rs", "loom-tests/src/runner.rs"):
            shutil.copy2(name, target)
            continue
        with open(name) as file:
            text = switched(file.read(), own)
        if name == "src/lib.rs":
            text += "\n#[allow(missing_docs, dead_code)]\nmod mutant;\n"
        if name == "loom-tests/src/runner.rs":
            # The models alone.
            text = text.replace("for &fault in self.twins {", "for &fault in &self.twins[..0] {")
        write(target, text)
    write(os.path.join(TREE, "src/mutant.rs"), MODULE % (len(mutations) + 1))


def write(path, text):
    if os.path.exists(path):
        with open(path) as file:
            if file.read() == text:
                return
    with open(path, "w") as file:
        file.write(text)
