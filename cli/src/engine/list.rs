//! `hugepool list`: what is in a backup.
//!
//! Owns the lines, as `ls -l` has them or as JSON. Reads the catalogue, and no stripe.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use super::direct::Direct;
use super::format::catalogue::Catalogue;
use super::format::entry::{Entry, Kind};
use super::name::{json, shown};
use super::options::ListOptions;
use super::place::Where;
use super::session;
use crate::failure::Failure;
use crate::units;

/// Runs it.
pub fn run(options: &ListOptions) -> Result<ExitCode, Failure> {
    let place = Where::of(&options.backup)?;
    let (_, catalogue) = session::open(place, Direct::Off, options.store.retry())?;
    let mut out = BufWriter::new(io::stdout().lock());
    for (entry, number) in catalogue.entries.iter().zip(0..) {
        let line = if options.json {
            as_json(&catalogue, entry, number)
        } else {
            as_text(&catalogue, entry, number)
        };
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn as_text(catalogue: &Catalogue, entry: &Entry, number: u32) -> String {
    // A hard link has the attributes of its file.
    let (kind, size) = match entry.kind {
        Kind::Directory => ('d', 0),
        Kind::File { size, .. } => ('-', size),
        Kind::Symlink { ref target } => ('l', target.len() as u64),
        Kind::Link { of } => match catalogue.entries[of as usize].kind {
            Kind::File { size, .. } => ('-', size),
            _ => ('-', 0),
        },
    };
    let attributes = entry.attributes;
    let mut line = format!(
        "{kind}{} {:>5} {:>5} {size:>12} {} {}",
        rights(attributes.mode),
        attributes.uid,
        attributes.gid,
        units::date(attributes.modified.seconds),
        shown(&catalogue.path(number)),
    );
    match &entry.kind {
        Kind::Symlink { target } => {
            let _ = write!(line, " -> {}", shown(target));
        }
        &Kind::Link { of } => {
            let _ = write!(line, " link to {}", shown(&catalogue.path(of)));
        }
        _ => {}
    }
    for (flaw, word) in flaws(entry) {
        if flaw {
            let _ = write!(line, " ({word})");
        }
    }
    line
}

fn flaws(entry: &Entry) -> [(bool, &'static str); 2] {
    [
        (entry.flaws.unread, "unread"),
        (entry.flaws.changed, "changed"),
    ]
}

/// As `ls` shows them: `rwxr-xr-x`, with `s` and `t`.
fn rights(mode: u32) -> String {
    let bit = |bit: u32| mode >> bit & 1 == 1;
    let run = |at: u32, special: bool, with: char, without: char| match (bit(at), special) {
        (true, true) => with,
        (false, true) => without,
        (true, false) => 'x',
        (false, false) => '-',
    };
    let pair = |at: u32| {
        [
            if bit(at + 2) { 'r' } else { '-' },
            if bit(at + 1) { 'w' } else { '-' },
        ]
    };
    let mut all = String::with_capacity(9);
    all.extend(pair(6));
    all.push(run(6, bit(11), 's', 'S'));
    all.extend(pair(3));
    all.push(run(3, bit(10), 's', 'S'));
    all.extend(pair(0));
    all.push(run(0, bit(9), 't', 'T'));
    all
}

fn as_json(catalogue: &Catalogue, entry: &Entry, number: u32) -> String {
    let attributes = entry.attributes;
    let kind = match entry.kind {
        Kind::Directory => "directory",
        Kind::File { .. } => "file",
        Kind::Symlink { .. } => "symlink",
        Kind::Link { .. } => "link",
    };
    let mut line = format!("{{\"kind\":\"{kind}\"");
    name(&mut line, "path", &catalogue.path(number));
    let _ = write!(
        line,
        ",\"mode\":{},\"uid\":{},\"gid\":{},\"mtime\":{},\"mtime_ns\":{}",
        attributes.mode,
        attributes.uid,
        attributes.gid,
        attributes.modified.seconds,
        attributes.modified.nanoseconds
    );
    match &entry.kind {
        Kind::Directory => {}
        Kind::File { size, data } => {
            let _ = write!(line, ",\"size\":{size},\"data\":{data}");
        }
        Kind::Symlink { target } => name(&mut line, "target", target),
        &Kind::Link { of } => name(&mut line, "of", &catalogue.path(of)),
    }
    let names: Vec<String> = entry
        .xattrs
        .iter()
        .map(|it| json(&shown(&it.name)))
        .collect();
    let _ = write!(line, ",\"xattrs\":[{}]", names.join(","));
    for (flaw, word) in flaws(entry) {
        let _ = write!(line, ",\"{word}\":{flaw}");
    }
    line.push('}');
    line
}

/// A name: as text where it is UTF-8, and otherwise also as hexadecimal digits, two a byte.
fn name(line: &mut String, key: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = write!(line, ",\"{key}\":{}", json(&text));
    if std::str::from_utf8(bytes).is_err() {
        let _ = write!(line, ",\"{key}_hex\":\"");
        bytes.iter().for_each(|byte| {
            let _ = write!(line, "{byte:02x}");
        });
        line.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_shown_as_ls_does() {
        assert_eq!(rights(0o755), "rwxr-xr-x");
        assert_eq!(rights(0o4711), "rws--x--x");
        assert_eq!(rights(0o2640), "rw-r-S---");
        assert_eq!(rights(0o1777), "rwxrwxrwt");
    }
}
