//! Whether the C library registered restartable sequences for its threads.
//!
//! Looks the C library's symbols up at run time, because glibc before 2.35 and musl have none of them and a
//! program linked to them by name would not start there. Uses libc; [`Machine`](crate::Machine) reads it.

use std::ffi::CStr;

/// The area the C library registered with the kernel for every thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registration {
    /// Bytes from the thread pointer to the area.
    pub(crate) offset: isize,
    /// Bytes of the area in use; 0 when the registration was switched off or failed.
    pub(crate) size: u32,
}

/// What the C library says about its registration; `None` proves that it has no support for it, not that the
/// kernel has none.
pub(crate) fn registration() -> Option<Registration> {
    let offset = symbol(c"__rseq_offset")?.cast::<isize>();
    let size = symbol(c"__rseq_size")?.cast::<u32>();
    // SAFETY: the C library defines `__rseq_offset` as a constant `ptrdiff_t` and `__rseq_size` as a constant
    // `unsigned int`, both written once before the program's first instruction.
    let (offset, size) = unsafe { (*offset, *size) };
    Some(Registration { offset, size })
}

fn symbol(name: &CStr) -> Option<*const libc::c_void> {
    // SAFETY: `name` is a terminated string, and the default handle searches what is loaded already.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address.cast_const())
}
