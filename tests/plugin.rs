//! A pool in a shared object that is unloaded while threads live on that used it.

mod support;

use std::ffi::{CStr, CString, c_void};
use std::mem::transmute;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::skipped;

/// The shared object that `examples/plugin.rs` was built into.
fn plugin() -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent()?.parent()?;
    let plugin = profile.join("examples/libplugin.so");
    plugin.is_file().then_some(plugin)
}

fn mapped(name: &str) -> bool {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .any(|line| line.ends_with(name))
}

#[test]
fn code_that_the_kernel_may_still_look_at_stays_loaded() {
    let Some(path) = plugin() else {
        // Run with `--test plugin` alone, cargo builds no examples.
        skipped("the shared object: build it with `cargo build --example plugin`");
        return;
    };
    let name = path.to_str().unwrap().to_owned();
    let file = CString::new(name.clone()).unwrap();
    const RUN: &CStr = c"hugepool_plugin_run";
    // SAFETY: the object's initializers are Rust's own.
    let object = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!object.is_null(), "{name} cannot be loaded");
    // SAFETY: the handle is open.
    let run: *mut c_void = unsafe { libc::dlsym(object, RUN.as_ptr()) };
    assert!(!run.is_null());
    // SAFETY: the function has this type in `examples/plugin.rs`.
    let run: extern "C" fn(u32) -> u32 = unsafe { transmute(run) };
    // This thread's area names one of the object's sections from now on.
    assert_eq!(run(1000), 1000);
    // SAFETY: the handle is not used any more.
    assert_eq!(unsafe { libc::dlclose(object) }, 0);
    assert!(mapped(&name), "it was unmapped");
    // The kernel looks at the area when it preempts the thread.
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(50) {
        std::thread::yield_now();
    }
}
