//! The page that `bench --html` writes, of real runs with windows of a millisecond. No test asks how long anything took.

mod common;

use std::fs;
use std::process::Command;

use common::markup::{Element, elements};
use common::{Directory, quick};

/// The part of a page from one text on, up to another one.
fn between<'p>(page: &'p str, from: &str, to: &str) -> &'p str {
    let start = page.find(from).unwrap_or_else(|| panic!("no {from}"));
    let rest = &page[start..];
    &rest[..rest.find(to).unwrap_or(rest.len())]
}

fn check_access(elements: &[Element]) {
    let all = |name: &'static str| elements.iter().filter(move |it| it.name == name);
    assert_eq!(
        all("html").next().and_then(|it| it.attribute("lang")),
        Some("en")
    );
    for header in all("th") {
        assert!(header.attribute("scope").is_some(), "{header:?}");
    }
    for picture in all("svg") {
        let is_named = picture.attribute("role") == Some("img");
        let is_ornament = picture.attribute("aria-hidden") == Some("true");
        assert!(is_named || is_ornament, "{picture:?}");
    }
    for region in elements
        .iter()
        .filter(|it| it.attribute("class") == Some("wide"))
    {
        assert!(region.attribute("aria-label").is_some() && region.attribute("tabindex").is_some());
    }
}

#[test]
fn the_page_of_every_pattern_is_well_formed_and_needs_neither_script_nor_network() {
    let directory = Directory::new("page");
    let html = directory.path("out.html");
    let run = quick(&[
        "--sizes",
        "4K,64K",
        "--threads",
        "1,2",
        "--memory",
        "256M",
        "--shapes",
        "17-on-16,pipeline-1-1",
        "--html",
        &html,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let page = fs::read_to_string(html).expect("the page was written");
    let elements = elements(&page);
    check_access(&elements);
    for element in &elements {
        assert!(!["script", "link", "img", "iframe"].contains(&element.name.as_str()));
    }
    // What a reader of two minutes sees comes before any picture of a pattern.
    let mut last = 0;
    for heading in [
        "<h1>",
        "Where hugepool loses and where it wins</h2>",
        "How sure that is</h2>",
        "Pattern <code>same</code></h2>",
        "All numbers</h2>",
        "How it was measured</h2>",
    ] {
        let at = page.find(heading).unwrap_or_else(|| panic!("no {heading}"));
        assert!(at > last || last == 0, "{heading}");
        last = at;
    }
    assert!(
        page.contains("too few rounds"),
        "of one round nothing is sure"
    );
}

#[test]
fn a_page_with_hardly_any_rows_is_whole() {
    let directory = Directory::new("page-few");
    let html = directory.path("out.html");
    for rivals in ["hugepool", "limit", "glibc"] {
        let run = quick(&[
            "--patterns",
            "same",
            "--sizes",
            "4K",
            "--rivals",
            rivals,
            "--html",
            &html,
        ]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let page = fs::read_to_string(&html).expect("the page was written");
        check_access(&elements(&page));
        assert!(page.contains("there is no row of hugepool beside one of a rival"));
        assert!(page.contains(&format!("<b>{rivals}</b>")), "{rivals}");
    }
}

/// An allocator is loaded that gives the same memory to everyone who asks for 64 KiB.
#[test]
fn a_rival_that_gives_one_buffer_to_two_holders_is_drawn_as_failed() {
    let directory = Directory::new("page-failed");
    let (source, object) = (directory.path("doubles.c"), directory.path("libdoubles.so"));
    let code = "#include <stddef.h>\n\
                extern void *__libc_memalign(size_t, size_t);\n\
                extern void __libc_free(void *);\n\
                static char once[1 << 16] __attribute__((aligned(4096)));\n\
                int posix_memalign(void **start, size_t alignment, size_t size)\n\
                { *start = size == sizeof once ? once : __libc_memalign(alignment, size); return *start == NULL; }\n\
                void free(void *start) { if (start != once) __libc_free(start); }\n";
    fs::write(&source, code).expect("the directory is there");
    let built = Command::new("gcc")
        .args(["-shared", "-fPIC", "-o", &object, &source])
        .status();
    assert!(built.expect("gcc").success());
    let html = directory.path("out.html");
    let run = Command::new(env!("CARGO_BIN_EXE_hugepool"))
        .env("LD_PRELOAD", &object)
        .args(["bench", "--patterns", "ring", "--sizes", "64K,128K"])
        .args(["--rounds", "1", "--millis", "1"])
        .args(["--rivals", "hugepool,glibc,mmap", "--html", &html])
        .output()
        .expect("it starts");
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let page = fs::read_to_string(&html).expect("the page was written");
    elements(&page);
    let why = "failed: gave one buffer to two holders";
    let failed = between(&page, "id=\"ring-65536-1\"", "</figure>");
    let line = between(failed, "<b>libdoubles.so</b>", "</li>");
    assert!(
        line.contains(why) && line.contains("class=\"cross\""),
        "{line}"
    );
    assert!(!line.contains("circle") && !line.contains(" ns"), "{line}");
    let sound = between(&page, "id=\"ring-131072-1\"", "</figure>");
    let line = between(sound, "<b>libdoubles.so</b>", "</li>");
    assert!(
        !line.contains("failed") && line.contains("circle"),
        "{line}"
    );
    // At the top it is named as failed, and not as the best.
    let top = between(&page, "<h1>", "Pattern <code>");
    assert!(top.contains("What failed: 1 of 6 rows"), "{top}");
    let of_64k = between(top, "#ring-65536-1", "</tr>");
    assert!(of_64k.contains("<b>mmap</b>"), "{of_64k}");
    assert!(of_64k.contains("libdoubles.so failed here"), "{of_64k}");
}
