//! How the source is built: only `src/sync` names the standard library's or
//! loom's concurrency, nothing panics on purpose outside tests, every `unsafe`
//! says why it is sound, files are headed and short, and a module uses only what
//! stands above it in `src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines that may name `std::sync`, `core::sync` or `loom` outside `src/sync`:
/// file and what the line contains.
const CONCURRENCY: [(&str, &str); 3] = [
    // A model's thread-local processor number. It exists only under loom.
    ("sys/cpu.rs", "loom::thread_local!"),
    // Between those who ask for an operation and the thread that does it: both enter the
    // kernel for each, and no buffer is taken or given back there.
    ("uring/service.rs", "std::sync::{Condvar, Mutex"),
    ("uring/transfer.rs", "std::sync::{Mutex"),
];

/// Uses of a module below in the list of `src/lib.rs`: user, used. The three are
/// one layer, the face: `pool` makes buffers and statistics, and these reach the
/// part of the pool that they share with it.
const UPWARD: [(&str, &str); 2] = [("buffer", "pool"), ("pool", "stats")];

/// Public types that undo, when they are dropped, what they were made for, or do nothing
/// before they are used: file and name.
const KEPT: [(&str, &str); 12] = [
    ("buffer/frozen.rs", "Frozen"),
    ("buffer/mod.rs", "Buffer"),
    ("pool/builder.rs", "Builder"),
    ("pool/many.rs", "Lot"),
    ("pool/mod.rs", "Pool"),
    ("pool/stream/builder.rs", "StreamBuilder"),
    ("pool/stream/mod.rs", "Stream"),
    ("pool/task.rs", "Allocate"),
    ("pool/task_many.rs", "AllocateMany"),
    ("share/client.rs", "Client"),
    ("share/publication.rs", "Publication"),
    ("vdi/set.rs", "Set"),
];

const MAX_LINES: usize = 600;

/// A source file: where it is below `src`, and its text, once as it is and once
/// with comments and literals blanked.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn lines(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        let both = self.text.lines().zip(self.code.lines());
        both.enumerate()
            .map(|(at, (text, code))| (at + 1, text, code))
    }

    /// The top-level module that it belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    found.sort();
    assert!(found.len() > 20, "the source was not found");
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let path = path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let code = without_tests(&code(&text));
            Source { path, text, code }
        })
        .collect()
}

/// `text` with comments, strings and characters blanked, line by line the same
/// length.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    let blank = |out: &mut String, from: usize, to: usize| {
        out.extend(
            chars[from..to]
                .iter()
                .map(|&c| if c == '\n' { c } else { ' ' }),
        );
    };
    let find = |from: usize, what: &str| -> usize {
        let what: Vec<char> = what.chars().collect();
        (from..chars.len())
            .find(|&k| chars[k..].starts_with(&what))
            .map_or(chars.len(), |k| k + what.len())
    };
    while at < chars.len() {
        let rest = &chars[at..];
        let end = if rest.starts_with(&['/', '/']) {
            find(at, "\n") - 1
        } else if rest.starts_with(&['/', '*']) {
            find(at + 2, "*/")
        } else if rest.starts_with(&['r', '#', '"']) {
            find(at + 3, "\"#")
        } else if rest[0] == '"' {
            let mut k = at + 1;
            while k < chars.len() && chars[k] != '"' {
                k += if chars[k] == '\\' { 2 } else { 1 };
            }
            k + 1
        } else if rest[0] == '\'' && rest.get(1) == Some(&'\\') {
            find(at + 3, "'")
        } else if rest[0] == '\'' && rest.get(2) == Some(&'\'') {
            at + 3
        } else {
            out.push(rest[0]);
            at += 1;
            continue;
        };
        let end = end.min(chars.len());
        blank(&mut out, at, end);
        at = end;
    }
    out
}

/// Blanks every item under `#[cfg(test)]` and its likes.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    for marker in ["#[cfg(test)]", "#[cfg(all(test"] {
        while let Some(start) = out.find(marker) {
            let open = out[start..]
                .find(['{', ';'])
                .map_or(out.len(), |k| start + k);
            let mut depth = 0;
            let mut end = open;
            for (k, c) in out[open..].char_indices() {
                depth += i32::from(c == '{') - i32::from(c == '}');
                end = open + k + 1;
                if depth == 0 {
                    break;
                }
            }
            let blanked: String = out[start..end]
                .chars()
                .map(|c| if c == '\n' { c } else { ' ' })
                .collect();
            out.replace_range(start..end, &blanked);
        }
    }
    out
}

/// Fails with every complaint at once.
#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Lines whose code contains one of `words`, less the listed exceptions, each of
/// which must still be there.
fn offenders(sources: &[&Source], words: &[&str], exceptions: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut unused = exceptions.to_vec();
    for source in sources {
        for (number, text, code) in source.lines() {
            if !words.iter().any(|word| code.contains(word)) {
                continue;
            }
            let excepted =
                |&(path, part): &(&str, &str)| path == source.path && text.contains(part);
            if exceptions.iter().any(excepted) {
                unused.retain(|exception| !excepted(exception));
            } else {
                found.push(format!("{}:{number}: {}", source.path, text.trim()));
            }
        }
    }
    found.extend(
        unused
            .iter()
            .map(|(path, part)| format!("{path}: no longer has {part}")),
    );
    found
}

#[test]
fn only_sync_names_the_concurrency_of_others() {
    let sources = sources();
    let outside: Vec<&Source> = sources.iter().filter(|s| s.module() != "sync").collect();
    let words = [
        "std::sync",
        "core::sync",
        "loom::",
        "std::thread::yield_now",
        "core::hint::spin_loop",
        "std::hint::spin_loop",
    ];
    none(offenders(&outside, &words, &CONCURRENCY));
}

#[test]
fn only_sys_names_libc_and_assembly() {
    let sources = sources();
    // Constants of the C library are no calls.
    let calls = |code: &str| {
        code.match_indices("libc::")
            .any(|(at, word)| code[at + word.len()..].starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let mut found = Vec::new();
    for source in sources
        .iter()
        .filter(|source| !["sys", "rseq"].contains(&source.module()))
    {
        for (number, text, code) in source.lines() {
            if calls(code) || code.contains("asm!") {
                found.push(format!("{}:{number}: {}", source.path, text.trim()));
            }
        }
    }
    none(found);
}

#[test]
fn nothing_panics_on_purpose_outside_tests() {
    let sources = sources();
    let all: Vec<&Source> = sources.iter().collect();
    let words = [
        ".unwrap()",
        ".expect(",
        "panic!",
        "todo!",
        "unimplemented!",
        "unreachable!",
    ];
    none(offenders(&all, &words, &[]));
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    let mut found = Vec::new();
    for source in sources() {
        let lines: Vec<(usize, &str, &str)> = source.lines().collect();
        for (at, &(number, text, code)) in lines.iter().enumerate() {
            let words: Vec<&str> = code
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .collect();
            if !words.contains(&"unsafe") || code.trim_start().starts_with("#!") {
                continue;
            }
            let wanted = if code.contains("unsafe fn") || code.contains("unsafe trait") {
                "# Safety"
            } else {
                "SAFETY"
            };
            // On the line itself, or in the lines above up to an empty one.
            let said = text.contains(wanted)
                || lines[..at]
                    .iter()
                    .rev()
                    .take(14)
                    .take_while(|(_, above, _)| !above.trim().is_empty())
                    .any(|(_, above, _)| above.contains(wanted));
            if !said {
                found.push(format!(
                    "{}:{number}: no {wanted}: {}",
                    source.path,
                    text.trim()
                ));
            }
        }
    }
    none(found);
}

#[test]
fn every_file_is_headed_and_short() {
    let mut found = Vec::new();
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        // The crate's own page is the README.
        let headed =
            first.starts_with("//!") || source.path == "lib.rs" && first.starts_with("#![doc");
        if !headed {
            found.push(format!("{}: begins with {first:?}", source.path));
        }
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            found.push(format!(
                "{}: {lines} lines, at most {MAX_LINES}",
                source.path
            ));
        }
    }
    none(found);
}

#[test]
fn what_undoes_itself_when_dropped_must_be_used_and_says_why() {
    let sources = sources();
    let mut found = Vec::new();
    for (path, name) in KEPT {
        let source = sources.iter().find(|source| source.path == path);
        let lines: Vec<&str> = source.map_or_else(Vec::new, |source| source.text.lines().collect());
        let is_it = |line: &&str| {
            let rest = line
                .strip_prefix("pub struct ")
                .and_then(|line| line.strip_prefix(name));
            rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        let Some(at) = lines.iter().position(is_it) else {
            found.push(format!("{path}: no longer has {name}"));
            continue;
        };
        let above = lines[..at].iter().rev();
        let mut attributes = above.take_while(|line| line.starts_with("#["));
        if !attributes.any(|line| line.starts_with("#[must_use = \"")) {
            found.push(format!("{path}:{}: {name} may be dropped unseen", at + 1));
        }
    }
    none(found);
}

#[test]
fn a_module_uses_only_what_stands_above_it() {
    let sources = sources();
    let lib = sources
        .iter()
        .find(|source| source.path == "lib.rs")
        .unwrap();
    let layers: Vec<&str> = lib
        .code
        .lines()
        .map(|line| line.trim().trim_start_matches("pub "))
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert!(layers.len() > 15, "{layers:?}");
    let place = |module: &str| layers.iter().position(|&layer| layer == module);
    let mut found = Vec::new();
    let mut unused = UPWARD.to_vec();
    for source in &sources {
        let Some(own) = place(source.module()) else {
            assert_eq!(
                source.path, "lib.rs",
                "a module that src/lib.rs does not list"
            );
            continue;
        };
        for (number, text, code) in source.lines() {
            for (at, word) in code.match_indices("crate::") {
                let name: String = code[at + word.len()..]
                    .chars()
                    .take_while(|&c| c.is_alphanumeric() || c == '_')
                    .collect();
                let Some(used) = place(&name) else { continue };
                let pair = (layers[own], layers[used]);
                if used <= own {
                    continue;
                }
                if UPWARD.contains(&pair) {
                    unused.retain(|&other| other != pair);
                    continue;
                }
                found.push(format!(
                    "{}:{number}: {} uses {} below it: {}",
                    source.path,
                    pair.0,
                    pair.1,
                    text.trim()
                ));
            }
        }
    }
    found.extend(
        unused
            .iter()
            .map(|(user, used)| format!("{user} no longer uses {used}")),
    );
    none(found);
}
