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
