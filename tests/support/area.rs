//! Where the kernel keeps a thread's processor number and critical section: areas
//! that are registered by nobody but the test, and those of the C library.

use std::cell::Cell;
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

/// The length that every kernel takes.
const BYTES: u32 = size_of::<Words>() as u32;

impl Area {
    /// Registers an area for the calling thread, or gives the error number.
    pub fn register(signature: u32) -> Result<Self, i32> {
        let at = Box::into_raw(Box::<Words>::default());
        // SAFETY: large and aligned enough and nobody else's, and stays until the
        // kernel gave it up.
        match unsafe { call(at.addr(), BYTES, 0, signature) } {
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
        if unsafe { call(self.at.addr(), BYTES, UNREGISTER, self.signature) }.is_ok() {
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
unsafe fn call(area: usize, bytes: u32, flags: libc::c_int, signature: u32) -> Result<(), i32> {
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

/// The calling thread's area of the C library, and the length that it was registered
/// with: what it says is in use, but 32 at least.
fn theirs() -> Option<(usize, u32)> {
    let area = thread_pointer().wrapping_add_signed(of_the_c_library()?);
    let size: u32 = constant(c"__rseq_size")?;
    Some((area, size.max(BYTES)))
}

/// Takes back what the C library registered for the calling thread. False if there
/// was nothing, or it cannot be done.
pub fn take_from_the_c_library() -> bool {
    let Some((area, bytes)) = theirs() else {
        return false;
    };
    // SAFETY: registers nothing.
    unsafe { call(area, bytes, UNREGISTER, SIGNATURE) }.is_ok()
}

thread_local! {
    /// Whether this thread's area of the C library may be written.
    static MAY_PRETEND: Cell<bool> = const { Cell::new(false) };
}

/// Has the kernel overwrite what is written into the calling thread's area of the C library.
/// Of an area of more than 32 bytes newer kernels (7.0.13, say) write numbers only when they
/// change, and kill a process that has written there itself: so it is registered anew, with
/// 32. False if that fails.
fn may_pretend((area, bytes): (usize, u32)) -> bool {
    if bytes == BYTES || MAY_PRETEND.get() {
        return true;
    }
    // SAFETY: the area stays the thread's, and is aligned for more than 32 bytes.
    let anew = unsafe {
        call(area, bytes, UNREGISTER, SIGNATURE).is_ok() && call(area, BYTES, 0, SIGNATURE).is_ok()
    };
    MAY_PRETEND.set(anew);
    anew
}

/// Writes into the calling thread's area that it runs on processor `cpu`, which the
/// kernel believes until it writes the next one: when it next interrupts the
/// thread. False if the C library registers none.
pub fn pretend(cpu: u32) -> bool {
    let Some(theirs) = theirs().filter(|&theirs| may_pretend(theirs)) else {
        return false;
    };
    let area = theirs.0 as *mut u32;
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
