//! The library in a shared object that is unloaded while the kernel, the C library or a thread
//! may still look at what is in it. Each test runs in a process of its own.

mod support;

use std::ffi::{CStr, CString, c_void};
use std::mem::transmute;
use std::path::PathBuf;
use std::time::Duration;
use support::filter::refuse;
use support::process::{NO_REGISTRATION, alone, in_fork};
use support::skipped;

/// The shared object that `examples/plugin.rs` was built into, loaded.
struct Plugin {
    name: String,
    object: *mut c_void,
}

impl Plugin {
    /// `None`, after saying so, if it was not built.
    fn load() -> Option<Self> {
        let own = std::env::current_exe().unwrap();
        let path: PathBuf = own.parent()?.parent()?.join("examples/libplugin.so");
        if !path.is_file() {
            // Run with `--test plugin` alone, cargo builds no examples.
            skipped("the shared object: build it with `cargo build --example plugin`");
            return None;
        }
        let name = path.to_str().unwrap().to_owned();
        let file = CString::new(name.clone()).unwrap();
        // SAFETY: the object's initializers are Rust's own.
        let object = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!object.is_null(), "{name} cannot be loaded");
        Some(Self { name, object })
    }

    fn symbol(&self, name: &CStr) -> *mut c_void {
        // SAFETY: the handle is open.
        let symbol = unsafe { libc::dlsym(self.object, name.as_ptr()) };
        assert!(!symbol.is_null(), "{name:?}");
        symbol
    }

    /// Uses a pool in this thread.
    fn run(&self, portable: bool) {
        // SAFETY: the function has this type in `examples/plugin.rs`.
        let run: extern "C" fn(u32, bool) -> u32 =
            unsafe { transmute(self.symbol(c"hugepool_plugin_run")) };
        assert_eq!(run(1000, portable), 1000);
    }

    /// Unloads it, as far as the program is concerned. Whether it is still there.
    fn close(self) -> bool {
        // SAFETY: the handle is not used any more.
        assert_eq!(unsafe { libc::dlclose(self.object) }, 0);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().any(|line| line.ends_with(&self.name))
    }

    /// As `close`, which must not unmap it; then has the kernel stop this thread and let it
    /// go on, when it looks at the section that the thread's area names.
    fn close_and_sleep(self) {
        let is_there = self.close();
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(is_there, "it was unmapped");
    }
}

/// Runs `body` in a process of its own with the library loaded, once where the C library
/// registers threads for restartable sequences, and once where it does not.
#[track_caller]
fn with_plugin(name: &str, body: impl Fn(Plugin)) {
    for environment in [&[][..], &[NO_REGISTRATION]] {
        alone(name, environment, || {
            if let Some(plugin) = Plugin::load() {
                body(plugin);
            }
        });
    }
}

#[test]
fn code_whose_sections_the_kernel_may_still_look_at_stays_loaded() {
    let name = "code_whose_sections_the_kernel_may_still_look_at_stays_loaded";
    with_plugin(name, |plugin| {
        plugin.run(false);
        plugin.close_and_sleep();
    });
}

/// Its sections begin, too, and then find no slots.
#[test]
fn code_of_a_pool_with_portable_caches_stays_loaded() {
    let name = "code_of_a_pool_with_portable_caches_stays_loaded";
    with_plugin(name, |plugin| {
        plugin.run(true);
        plugin.close_and_sleep();
    });
}

#[test]
fn code_of_a_pool_stays_loaded_where_membarrier_is_refused() {
    let name = "code_of_a_pool_stays_loaded_where_membarrier_is_refused";
    with_plugin(name, |plugin| {
        match refuse(libc::SYS_membarrier, libc::EPERM) {
            Err(why) => skipped(&format!("{name}: no filter for system calls: {why}")),
            Ok(()) => {
                plugin.run(false);
                plugin.close_and_sleep();
            }
        }
    });
}

/// The thread may be at its end still when it has answered.
#[test]
fn code_that_a_thread_of_the_librarys_own_runs_stays_loaded() {
    let name = "code_that_a_thread_of_the_librarys_own_runs_stays_loaded";
    with_plugin(name, |plugin| {
        // SAFETY: the function has this type in `examples/plugin.rs`.
        let ask: extern "C" fn() -> bool =
            unsafe { transmute(plugin.symbol(c"hugepool_plugin_ask")) };
        assert!(ask(), "somebody has that name, or no thread can be had");
        assert!(plugin.close(), "it was unmapped");
    });
}

/// Where the kernel does not tell children apart, the C library is asked to.
#[test]
fn a_child_calls_no_code_that_was_unloaded() {
    let name = "a_child_calls_no_code_that_was_unloaded";
    with_plugin(name, |plugin| {
        if let Err(why) = refuse(libc::SYS_madvise, libc::EINVAL) {
            return skipped(&format!("{name}: no filter for system calls: {why}"));
        }
        // SAFETY: the function has this type in `examples/plugin.rs`.
        let set: extern "C" fn() = unsafe { transmute(plugin.symbol(c"hugepool_plugin_set")) };
        set();
        plugin.close();
        assert_eq!(in_fork(|| 0), 0);
    });
}
