//! Where the kernel keeps a thread's processor number and its critical section.
//!
//! Owns: the area of every thread, and its registration. Uses: `sync`, `sys::own`,
//! `sys::rseq`. Used by: the sections, `cache`.
//!
//! The C library registers an area for every thread if it is glibc 2.35 or
//! newer; then that one is used. Where it registered nothing, a thread registers
//! an area of our own when it first needs one (`attend`), and takes it back when
//! it ends. A thread whose registration somebody else holds keeps none of ours:
//! its area then says processor 2³² − 1, which no slot belongs to. Contract:
//! `Documentation/userspace-api/rseq.rst` of the kernel, `rseq(2)`.

use crate::sync::{AtomicIsize, Ordering};
use crate::sys::own::per_thread;
use crate::sys::rseq::{self, ThreadEnds};
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;

/// The number that marks the start of an abort handler, as glibc registers it.
#[cfg(target_arch = "x86_64")]
pub const SIGNATURE: u32 = 0x5305_3053;
/// The same: an instruction that traps, `brk 0x45e0`. (Instructions are little-endian.)
#[cfg(target_arch = "aarch64")]
pub const SIGNATURE: u32 = 0xd428_bc00_u32.to_le();

/// The part of the kernel's `struct rseq` that every version has.
#[repr(C, align(32))]
struct Area {
    cpu_id_start: u32,
    cpu_id: u32,
    rseq_cs: u64,
    flags: u32,
    rest: [u32; 3],
}

/// No processor: the area is not registered.
const UNREGISTERED: u32 = u32::MAX;

const _: () = assert!(std::mem::offset_of!(Area, cpu_id) == 4 && size_of::<Area>() == 32);

per_thread! {
    /// This thread's area.
    fn area() -> UnsafeCell<Area>, symbol "hugepool_rseq_area",
    first UnsafeCell::new(Area {
        cpu_id_start: 0,
        cpu_id: UNREGISTERED,
        rseq_cs: 0,
        flags: 0,
        rest: [0; 3],
    }),
    bytes [".long 0", ".long 0xffffffff"]
}

per_thread! {
    /// Whether this thread has tried to register its area, so that it tries once.
    fn tried() -> Cell<bool>, symbol "hugepool_rseq_tried", first Cell::new(false),
    bytes [".byte 0"]
}

/// What happens at the end of a thread that registered its area. Made by
/// `available`, before any thread needs it.
static ENDS: ThreadEnds = ThreadEnds::new();

/// Takes the registration back when the thread ends, before its area goes.
extern "C" fn at_end(_: *mut c_void) {
    // It fails only if it was never made.
    let _ = register(true);
    let area = UnsafeCell::raw_get(area());
    // SAFETY: the kernel no longer writes to the area of this thread, and
    // nobody else ever does.
    unsafe { (*area).cpu_id = UNREGISTERED };
}

/// Gives the kernel this thread's area, or takes it back.
fn register(undo: bool) -> bool {
    let area = UnsafeCell::raw_get(area()).cast();
    // SAFETY: the area is this thread's, aligned to 32 bytes, 32 bytes long, and
    // stays until the thread ends, when `Registered` takes it back.
    unsafe { rseq::register(area, size_of::<Area>() as u32, SIGNATURE, undo) }.is_ok()
}

/// Bytes from the thread pointer to the area that the C library registers for
/// every thread, 0 if it registers none. Written by `locate`, always the
/// same; Relaxed, since a thread that has a pool to use it for was given that
/// after it was written, and any other finds 0 and an area of its own.
static OFFSET: AtomicIsize = AtomicIsize::new(0);

/// Where the areas are that the C library registers, from the thread pointer, 0 if it registers
/// none. It does not change once a pool was built.
#[inline(always)]
pub fn area_of_library() -> isize {
    OFFSET.load(Ordering::Relaxed)
}

/// Bytes from the thread pointer to this thread's area. The area is readable and
/// writable whether or not it is registered.
#[inline(always)]
pub fn offset() -> isize {
    offset_or(area_of_library())
}

/// As `offset`, for who knows `area_of_library`.
///
/// (It is not kept with the class, which the hot path reaches after some look-ups:
/// the processor number is at hand by then. With the pool it is.)
#[inline(always)]
pub fn offset_or(area: isize) -> isize {
    match area {
        0 => own_offset(),
        offset => offset,
    }
}

/// The same for an area of our own.
#[cold]
#[inline(never)]
fn own_offset() -> isize {
    offset_of(area().addr())
}

/// Bytes from the thread pointer to an address.
pub fn offset_of(address: usize) -> isize {
    address.wrapping_sub(thread_pointer()) as isize
}

#[cfg(target_arch = "x86_64")]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: on x86-64 the first word that the thread pointer points to is the
    // thread pointer itself (ELF Handling For Thread-Local Storage, 3.4.6).
    unsafe {
        std::arch::asm!(
            "mov {}, qword ptr fs:[0]",
            out(reg) pointer,
            options(nostack, readonly, preserves_flags)
        );
    }
    pointer
}

#[cfg(target_arch = "aarch64")]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe {
        std::arch::asm!(
            "mrs {}, tpidr_el0",
            out(reg) pointer,
            options(nomem, nostack, preserves_flags)
        );
    }
    pointer
}

/// The processor that the calling thread runs on, if its area is registered.
pub fn cpu() -> Option<usize> {
    let cpu: u32;
    // SAFETY: the area belongs to this thread and is readable; the kernel writes
    // it only while the thread does not run.
    unsafe {
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!(
            "mrs {t}, tpidr_el0",
            "add {t}, {t}, {area}",
            "ldr {cpu:w}, [{t}, 4]",
            t = out(reg) _,
            cpu = out(reg) cpu,
            area = in(reg) offset(),
            options(nostack, readonly, preserves_flags)
        );
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!(
            "mov {cpu:e}, dword ptr fs:[{area} + 4]",
            cpu = out(reg) cpu,
            area = in(reg) offset(),
            options(nostack, readonly, preserves_flags)
        );
    }
    // The kernel's numbers are small; negative ones say "not registered".
    i32::try_from(cpu).ok().map(|cpu| cpu as usize)
}

/// Registers the calling thread if it needs that and has not tried yet. True if
/// it did so just now. May be called in a signal handler: it allocates nothing.
#[cold]
pub fn attend() -> bool {
    // SAFETY: it is there as long as the thread, which alone knows of it.
    let tries = || !unsafe { &*tried() }.replace(true);
    if OFFSET.load(Ordering::Relaxed) != 0 || !tries() || !register(false) {
        return false;
    }
    ENDS.announce();
    true
}

/// Finds out where the area is that the C library registered, if it did.
pub fn locate() {
    if let Some(found) = rseq::registration()
        && found.size > 0
    {
        OFFSET.store(found.offset, Ordering::Relaxed);
    }
}

/// Whether this machine runs restartable sequences for this process.
pub fn available() -> bool {
    locate();
    ENDS.prepare(at_end);
    attend();
    cpu().is_some()
}
