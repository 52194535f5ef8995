//! What `install.sh` installs: laid out as users expect it, and the examples run with it.

mod common;

use common::{Installed, Kind, has, here, run};
use std::process::Command;

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[test]
fn the_examples_run_with_what_is_installed() {
    let installed = Installed::new("examples");
    for (program, says) in [
        ("streams.c", "500 MiB through 4 buffers, 0 still out\n"),
        ("pool.cpp", "1000 blocks through 4 buffers, all home\n"),
        ("set.cpp", "the client counted 7340032\n"),
    ] {
        if program.ends_with("cpp") && !has("g++") {
            continue;
        }
        for kind in [Kind::Shared, Kind::Static] {
            let program = here().join("examples").join(program);
            let said = run(&mut installed.compile(&program, kind, &[]));
            assert_eq!(said, says);
        }
    }
}

#[test]
fn libraries_headers_and_pkg_config_are_where_they_belong() {
    let installed = Installed::new("layout");
    let real = installed.path(&format!("lib/libhugepool.so.{}", version()));
    assert!(real.is_file());
    // The version of the interface, and what programs are linked to.
    let (compatible, _) = version().rsplit_once('.').unwrap();
    for link in [
        "libhugepool.so".to_owned(),
        format!("libhugepool.so.{compatible}"),
    ] {
        let found = installed.path("lib").join(link).canonicalize().unwrap();
        assert_eq!(found, real.canonicalize().unwrap());
    }
    for file in [
        "lib/libhugepool.a",
        "include/hugepool/hugepool.h",
        "include/hugepool/hugepool.hpp",
        "include/hugepool/hugepool_buffer.hpp",
        "include/hugepool/hugepool_codes.hpp",
        "include/hugepool/hugepool_owned.hpp",
        "include/hugepool/hugepool_pool.hpp",
        "lib/pkgconfig/hugepool.pc",
    ] {
        assert!(installed.path(file).is_file(), "{file} is missing");
    }
    let said = std::fs::read_to_string(installed.path("lib/pkgconfig/hugepool.pc")).unwrap();
    assert!(
        said.contains(&format!("\nVersion: {}\n", version())),
        "{said}"
    );
    assert!(
        installed
            .flags(&["--libs"])
            .contains(&"-lhugepool".to_owned())
    );
    let named = run(Command::new("readelf").arg("-d").arg(&real));
    let soname = format!("[libhugepool.so.{compatible}]");
    let line = named.lines().find(|line| line.contains("(SONAME)"));
    assert!(line.is_some_and(|line| line.contains(&soname)), "{named}");
}

#[test]
fn the_shared_library_shows_its_calls_alone() {
    let installed = Installed::new("symbols");
    let library = installed.path("lib/libhugepool.so");
    let symbols = run(Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(library));
    let names: Vec<&str> = symbols
        .lines()
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert!(names.contains(&"hp_vdi_allocate_buffer"), "{names:?}");
    let others: Vec<_> = names
        .iter()
        .filter(|name| !name.starts_with("hp_"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

/// The block of the documentation that installs the library, as it is printed.
fn printed() -> String {
    let page = std::fs::read_to_string(here().join("../docs/vdi.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let mut blocks = blocks.filter_map(|block| block.split("```").next());
    let block = blocks.find(|block| block.contains("capi/install.sh"));
    block.expect("the page says how to install it").to_owned()
}

#[test]
fn the_example_of_the_page_runs_as_printed() {
    if !has("pkg-config") {
        return;
    }
    let home = Installed::new("readme").path("home");
    std::fs::create_dir_all(&home).unwrap();
    // Cargo and rustup are where they are, wherever that is.
    let own = std::env::var_os("HOME").map(std::path::PathBuf::from);
    let at = |name: &str, folder: &str| {
        let set = std::env::var_os(name).map(std::path::PathBuf::from);
        set.or_else(|| own.as_ref().map(|home| home.join(folder)))
    };
    let mut command = common::cargo_free("bash");
    command
        .args(["-euo", "pipefail", "-c", &printed()])
        .current_dir(here().join(".."))
        .env_remove("LD_LIBRARY_PATH")
        .env("HOME", &home);
    for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        if let Some(at) = at(name, folder) {
            command.env(name, at);
        }
    }
    let said = common::install(&mut command);
    // What the build says comes on another channel.
    let says = "\n500 MiB through 4 buffers, 0 still out\n";
    assert!(said.contains(says), "{said}");
    // Into the folder that it says.
    assert!(home.join(".local/lib/libhugepool.so").exists());
}

#[test]
fn the_libraries_have_no_debug_information() {
    let installed = Installed::new("stripped");
    for library in ["lib/libhugepool.so", "lib/libhugepool.a"] {
        let said = run(Command::new("readelf")
            .arg("-SW")
            .arg(installed.path(library)));
        assert!(said.contains(".text"), "{library}: {said}");
        assert!(
            !said.contains(".debug_info"),
            "{library} has debug information"
        );
    }
}

#[test]
fn a_place_where_the_linker_looks_by_itself_is_not_noted_in_programs() {
    let root = Installed::new("system").path("root");
    for (prefix, noted) in [
        ("/usr/local", false),
        ("/usr", false),
        ("/opt/hugepool", true),
    ] {
        let mut command = common::installer();
        common::install(command.env("PREFIX", prefix).env("DESTDIR", &root));
        let file = root.join(prefix.trim_start_matches('/'));
        let said = std::fs::read_to_string(file.join("lib/pkgconfig/hugepool.pc")).unwrap();
        assert_eq!(said.contains("-rpath,${libdir}"), noted, "{said}");
    }
}
