//! Variables of each thread that are there before it starts.
//!
//! Owns: where they lie. Uses: nothing. Used by: `rseq`, `pool`, the C interface.
//!
//! The variables that the compiler makes thread-local are found by a call of the dynamic
//! linker, `__tls_get_addr`. In a library that was opened by `dlopen` the first such call of
//! a thread locks a mutex and allocates, and ends the process if there is no memory. So these
//! are laid out by hand, in the block that the C library has ready for a thread before it
//! starts: the relocation `GOTTPOFF` asks for that, on aarch64 `gottprel` ("initial-exec" in
//! *ELF Handling For Thread-Local Storage*). They take some of the room that glibc keeps for
//! libraries that are opened later; what this library has in it is a few hundred bytes. On
//! other processors they are the compiler's.

/// Declares a function that gives where the calling thread's variable of a type lies.
/// `symbol` names it to the linker, and `bytes` are the assembler's directives for its first
/// value, which `first` is. Nothing is done at the end of a thread.
#[doc(hidden)]
#[macro_export]
macro_rules! per_thread {
    (
        $(#[$about:meta])*
        fn $name:ident() -> $type:ty, symbol $symbol:literal, first $first:expr,
        bytes [$($bytes:literal),+]
    ) => {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        // Hidden: nobody else's, and no part of what a library exports.
        ::std::arch::global_asm!(
            concat!(".pushsection .tdata.", $symbol, ",\"awT\",@progbits"),
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            concat!(".type ", $symbol, ",@object"),
            concat!(".size ", $symbol, ", {size}"),
            ".balign {align}",
            concat!($symbol, ":"),
            $($bytes,)+
            // All of it was given: this moves on to the end, and not back.
            concat!(".org ", $symbol, " + {size}"),
            ".popsection",
            size = const size_of::<$type>(),
            align = const align_of::<$type>(),
        );

        // The directives are to say the same.
        const _: fn() -> $type = || $first;

        $(#[$about])*
        #[cfg(target_arch = "x86_64")]
        #[inline(always)]
        fn $name() -> *const $type {
            let place: *const $type;
            // SAFETY: the first word that the thread pointer points to is the thread pointer
            // itself, and the relocation gives the distance from there to the variable.
            unsafe {
                ::std::arch::asm!(
                    "mov {place}, qword ptr fs:[0]",
                    concat!("add {place}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"),
                    place = out(reg) place,
                    options(nostack, pure, readonly)
                );
            }
            place
        }

        $(#[$about])*
        #[cfg(target_arch = "aarch64")]
        #[inline(always)]
        fn $name() -> *const $type {
            let place: *const $type;
            // SAFETY: the relocations give where the distance from the thread pointer to the
            // variable is.
            unsafe {
                ::std::arch::asm!(
                    concat!("adrp {distance}, :gottprel:", $symbol),
                    concat!("ldr {distance}, [{distance}, :gottprel_lo12:", $symbol, "]"),
                    "mrs {place}, tpidr_el0",
                    "add {place}, {place}, {distance}",
                    distance = out(reg) _,
                    place = out(reg) place,
                    options(nostack, pure, readonly, preserves_flags)
                );
            }
            place
        }

        $(#[$about])*
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        fn $name() -> *const $type {
            thread_local! {
                static OWN: $type = const { $first };
            }
            // Nothing has to be done at its end, so it is there until then.
            OWN.with(::std::ptr::from_ref)
        }
    };
}

pub use per_thread;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    per_thread! {
        /// Two numbers.
        fn numbers() -> [Cell<u32>; 3], symbol "hugepool_test_numbers",
        first [Cell::new(1), Cell::new(2), Cell::new(0)], bytes [".long 1", ".long 2"]
    }

    fn own<'a>() -> &'a [Cell<u32>; 3] {
        // SAFETY: it is there as long as the thread, which alone knows of it.
        unsafe { &*numbers() }
    }

    #[test]
    fn each_thread_has_its_own_which_begins_with_the_first_value() {
        let look = || {
            let before = own().each_ref().map(Cell::get);
            own()[2].set(own()[2].get() + 1);
            (before, own()[2].get())
        };
        assert_eq!(look(), ([1, 2, 0], 1));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                assert_eq!(scope.spawn(look).join().unwrap(), ([1, 2, 0], 1));
            }
        });
        assert_eq!(look(), ([1, 2, 1], 2));
    }
}
