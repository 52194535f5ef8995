//! rpmalloc, called by its own names.
//!
//! Owns its face as a general allocator. Uses its C library without the part that stands in for the C library's
//! functions: with that, which the crate `rpmalloc` asks for, a program's every thread would begin in the allocator,
//! whether it allocates there or not. The arenas make it.

use std::alloc::{GlobalAlloc, Layout};

use rpmalloc_sys::{rpaligned_alloc, rpfree, rpmalloc_initialize, rpmalloc_thread_initialize};

/// `rpaligned_alloc` and `rpfree`.
pub struct Rpmalloc;

impl Rpmalloc {
    /// Before the calling thread allocates. What the allocator keeps for a thread lives as long as the process, which
    /// measures one round.
    pub fn enter() {
        // SAFETY: both may be called at any time, and do nothing where it was done already. The first call of all is
        // that of the thread that makes the rival, before any other thread has it.
        unsafe {
            rpmalloc_initialize();
            rpmalloc_thread_initialize();
        }
    }
}

// SAFETY: `rpaligned_alloc` returns memory of the layout's size and alignment or null, and neither call unwinds.
unsafe impl GlobalAlloc for Rpmalloc {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the thread has entered: whoever has a hand of the rival has.
        unsafe { rpaligned_alloc(layout.align(), layout.size()).cast() }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, start: *mut u8, _: Layout) {
        // SAFETY: the caller passes what `alloc` returned, once.
        unsafe { rpfree(start.cast()) }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    /// Who backs files up starts threads, and goes through no allocator's.
    #[test]
    fn threads_start_in_the_c_library() {
        let start: unsafe extern "C" fn(_, _, _, _) -> _ = libc::pthread_create;
        // SAFETY: all-zero bytes are a value of the structure, which is written to.
        let (known, info) = unsafe {
            let mut info: libc::Dl_info = std::mem::zeroed();
            (
                libc::dladdr(start as *const libc::c_void, &mut info) != 0,
                info,
            )
        };
        if !known || info.dli_fname.is_null() {
            eprintln!("SKIPPED: the program is linked statically");
            return;
        }
        // SAFETY: the linker's own string.
        let object = unsafe { CStr::from_ptr(info.dli_fname) }.to_string_lossy();
        let name = object.rsplit('/').next().unwrap_or_default();
        assert!(
            name.starts_with("libc.") || name.starts_with("libpthread"),
            "{object}"
        );
    }
}
