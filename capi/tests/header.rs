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
    let made = in_hexadecimal(&String::from_utf8(made).unwrap());
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        made == kept,
        "out of date: set {UPDATE}=1 and run this again"
    );
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
