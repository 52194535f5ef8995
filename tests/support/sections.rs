//! The critical sections in this program, from the descriptors that the kernel
//! reads too.

/// A descriptor: the kernel's `struct rseq_cs`.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    version: u32,
    flags: u32,
    /// The first instruction.
    pub start: usize,
    /// Bytes up to behind the last one, which commits.
    pub bytes: usize,
    /// Where a thread goes on that was interrupted inside.
    pub aborted: usize,
}

/// Every section of this program; none where there are no such sequences.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub fn all() -> &'static [Section] {
    unsafe extern "C" {
        // Made by the linker, because the name is one of C's.
        #[link_name = "__start___rseq_cs"]
        static START: Section;
        #[link_name = "__stop___rseq_cs"]
        static STOP: Section;
    }
    let (start, stop) = (&raw const START, &raw const STOP);
    let count = (stop.addr() - start.addr()) / size_of::<Section>();
    // SAFETY: the linker put all descriptors, and nothing else, between the two,
    // and nobody writes them after they were relocated.
    unsafe { std::slice::from_raw_parts(start, count) }
}

/// Every section of this program; none where there are no such sequences.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn all() -> &'static [Section] {
    &[]
}

/// Whether a thread that was interrupted, and will go on at `address`, was inside
/// a section: the kernel has moved it to where that one is aborted.
///
/// # Safety
///
/// `context` is the third argument of a handler that is running.
pub unsafe fn was_aborted(context: *mut libc::c_void) -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        // SAFETY: the caller's.
        let address = unsafe { super::timer::interrupted_at(context) };
        all().iter().any(|section| section.aborted == address)
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = context;
        false
    }
}
