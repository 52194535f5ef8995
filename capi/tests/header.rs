//! `include/hugepool.h` is what the source says.

use std::path::Path;

/// Set to write the header anew.
const UPDATE: &str = "HUGEPOOL_UPDATE_HEADER";

#[test]
fn the_header_is_that_of_the_source() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = crate_dir.join("../include/hugepool.h");
    let config = cbindgen::Config::from_file(crate_dir.join("cbindgen.toml")).unwrap();
    // With the modules that it names.
    let builder = cbindgen::Builder::new().with_src(crate_dir.join("src/lib.rs"));
    let mut made = Vec::new();
    builder
        .with_config(config)
        .generate()
        .unwrap()
        .write(&mut made);
    let made = without_safety(&String::from_utf8(made).unwrap());
    let made = in_hexadecimal(&made);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        made == kept,
        "out of date: set {UPDATE}=1 and run this again"
    );
}

/// What Rust asks of a caller is said once, at the beginning of the header, in C's words.
fn without_safety(header: &str) -> String {
    let mut kept = String::new();
    let mut skipped = false;
    for line in header.lines() {
        let text = line.trim();
        if text == "# Safety" {
            skipped = true;
            // With the empty line before it.
            let end = kept.trim_end().len();
            kept.truncate(end);
            kept.push('\n');
        }
        skipped &= text != "*/";
        if !skipped {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Codes as the interface's documents write them.
fn in_hexadecimal(header: &str) -> String {
    let lines = header.lines().map(|line| {
        let code = line
            .strip_prefix("#define HP_")
            .and_then(|rest| rest.split_once(' '))
            .filter(|(name, _)| {
                ["VD_E_", "VDF_", "E_"]
                    .iter()
                    .any(|kind| name.starts_with(kind))
            })
            .and_then(|(name, number)| Some((name, number.parse::<u32>().ok()?)));
        match code {
            Some((name, number)) => format!("#define HP_{name} {number:#010X}u\n"),
            None => format!("{line}\n"),
        }
    });
    lines.collect()
}

#[test]
fn the_header_speaks_c() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/hugepool.h");
    let header = std::fs::read_to_string(path).unwrap();
    for foreign in [
        "# Safety", "Option", "Vec", "Result", "Some(", "None", "::", "Drop", "drop",
    ] {
        assert!(!header.contains(foreign), "the header says {foreign}");
    }
    // It defines no name that is not the library's.
    let defined = header.lines().filter_map(|line| {
        let line = line.strip_prefix("#define ")?;
        line.split([' ', '(']).next()
    });
    for name in defined {
        let is_own = name.starts_with("HP_") || name.starts_with("hp_") || name == "HUGEPOOL_H";
        assert!(is_own, "{name}");
    }
    // Structures can be named with and without their tags.
    for line in header
        .lines()
        .filter(|line| line.starts_with("typedef struct"))
    {
        assert!(line.starts_with("typedef struct hp_"), "{line}");
    }
}
