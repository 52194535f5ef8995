//! Breakpoints of the processor: a signal comes right before this thread executes
//! the instruction at an address (`perf_event_open(2)` with `sigtrap`, Linux
//! 5.13; needs no privilege).

use std::io;

/// The first 128 bytes of the kernel's `struct perf_event_attr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_kind: u32,
    breakpoint_address: u64,
    breakpoint_bytes: u64,
    others: [u64; 7],
}

const KIND_BREAKPOINT: u32 = 5;
const WHEN_EXECUTED: u32 = 4;
const DISABLED: u64 = 1;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
const REMOVE_ON_EXEC: u64 = 1 << 36;
const SIGTRAP: u64 = 1 << 37;
const CLOSE_ON_EXEC: libc::c_ulong = 8;
const ENABLE: libc::c_ulong = 0x2400;
const DISABLE: libc::c_ulong = 0x2401;

/// A breakpoint of the thread that made it, off at first.
pub struct Breakpoint(libc::c_int);

impl Breakpoint {
    /// An instruction begins at a multiple of so many bytes.
    pub const INSTRUCTION: usize = if cfg!(target_arch = "aarch64") { 4 } else { 1 };

    /// Whether a thread whose handler has switched it on again gets past the instruction.
    pub const IS_PASSED: bool = cfg!(target_arch = "x86_64");

    /// At the instruction that begins at `address`; never hit if none does.
    pub fn new(address: usize) -> io::Result<Self> {
        let attributes = Attributes {
            kind: KIND_BREAKPOINT,
            size: size_of::<Attributes>() as u32,
            sample_period: 1,
            flags: DISABLED | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR | REMOVE_ON_EXEC | SIGTRAP,
            breakpoint_kind: WHEN_EXECUTED,
            breakpoint_address: address as u64,
            breakpoint_bytes: size_of::<libc::c_long>() as u64,
            ..Attributes::default()
        };
        let (call, own, any, no_group) = (libc::SYS_perf_event_open, 0, -1, -1);
        let about = &raw const attributes;
        // SAFETY: the attributes are readable and as long as they say.
        let file = unsafe { libc::syscall(call, about, own, any, no_group, CLOSE_ON_EXEC) };
        match libc::c_int::try_from(file) {
            Ok(file) if file >= 0 => Ok(Self(file)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Switches it on or off. May be called by signal handlers.
    pub fn switch(&self, on: bool) {
        // SAFETY: neither request takes a pointer.
        unsafe { libc::ioctl(self.0, if on { ENABLE } else { DISABLE }, 0) };
    }
}

impl Drop for Breakpoint {
    fn drop(&mut self) {
        // SAFETY: the file is ours and not used after this.
        unsafe { libc::close(self.0) };
    }
}
