//! Where the kernel keeps a thread's processor number and critical section: areas
//! that are registered by nobody but the test, and those of the C library.

use std::ffi::CStr;

/// What marks the start of an abort handler, as the C library registers it.
pub const SIGNATURE: u32 = if cfg!(target_arch = "aarch64") {
    0xd428_bc00
} else {
    0x5305_3053
};

const UNREGISTER: libc::c_int = 1;

/// An area of the test's own, registered for the thread that made it. Taken back
/// when dropped, on that thread.
pub struct Area {
    at: *mut Words,
    signature: u32,
}

/// The kernel's `struct rseq` as every version has it.
#[repr(C, align(32))]
#[derive(Default)]
struct Words([u32; 8]);

impl Area {
    /// Registers an area for the calling thread, or gives the error number.
    pub fn register(signature: u32) -> Result<Self, i32> {
        let at = Box::into_raw(Box::<Words>::default());
        // SAFETY: large and aligned enough and nobody else's, and stays until the
        // kernel gave it up.
        match unsafe { call(at.addr(), 0, signature) } {
            Ok(()) => Ok(Self { at, signature }),
            Err(number) => {
                // SAFETY: made above, and the kernel does not know of it.
                drop(unsafe { Box::from_raw(at) });
                Err(number)
            }
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: takes back only what `register` gave.
        if unsafe { call(self.at.addr(), UNREGISTER, self.signature) }.is_ok() {
            // SAFETY: made by `register`; the kernel has just given it up.
            drop(unsafe { Box::from_raw(self.at) });
        }
    }
}

/// `rseq(2)`, or its error number.
///
/// # Safety
///
/// The area stays the thread's, for the kernel to write to, until it is taken back.
unsafe fn call(area: usize, flags: libc::c_int, signature: u32) -> Result<(), i32> {
    let bytes = size_of::<Words>() as u32;
    // SAFETY: the caller's.
    match unsafe { libc::syscall(libc::SYS_rseq, area, bytes, flags, signature) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}

/// A constant of the C library.
fn constant<T: Copy>(name: &CStr) -> Option<T> {
    // SAFETY: the name is a terminated string, and the default handle searches
    // what is loaded already.
    let at = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    // SAFETY: the callers name constants of the type that the C library documents.
    (!at.is_null()).then(|| unsafe { *at.cast::<T>() })
}

/// Bytes from the thread pointer to the area that the C library registers for each
/// thread; `None` if it registers none.
pub fn of_the_c_library() -> Option<isize> {
    let size: u32 = constant(c"__rseq_size")?;
    let offset = constant(c"__rseq_offset")?;
    (size > 0).then_some(offset)
}

/// Takes back what the C library registered for the calling thread. False if there
/// was nothing, or it cannot be done.
pub fn take_from_the_c_library() -> bool {
    let Some(offset) = of_the_c_library() else {
        return false;
    };
    let area = thread_pointer().wrapping_add_signed(offset);
    // SAFETY: registers nothing.
    unsafe { call(area, UNREGISTER, SIGNATURE) }.is_ok()
}

/// Writes into the calling thread's area that it runs on processor `cpu`, which the
/// kernel believes until it writes the next one: when it next interrupts the
/// thread. False if the C library registers none.
pub fn pretend(cpu: u32) -> bool {
    let Some(offset) = of_the_c_library() else {
        return false;
    };
    let area = thread_pointer().wrapping_add_signed(offset) as *mut u32;
    // SAFETY: the second word of the area, `cpu_id`, is the thread's own memory, and
    // names no memory.
    unsafe { area.add(1).write_volatile(cpu) };
    true
}

#[cfg(target_arch = "x86_64")]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the first word that the thread pointer points to is the thread
    // pointer itself.
    unsafe { std::arch::asm!("mov {}, qword ptr fs:[0]", out(reg) pointer) };
    pointer
}

#[cfg(target_arch = "aarch64")]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer) };
    pointer
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn thread_pointer() -> usize {
    0
}
