//! Addresses, and what the processor is to do while it finds them.
//!
//! Owns: what the compiler must not see through, and what the processor is told beforehand.
//! Uses: nothing. Used by: the look-ups of `arena`, `class` and `pool`; `depot` and `batch`.

/// `place`. Its address is computed here, and not anew, in part, for each access to it, as the
/// compiler otherwise does where it finds that these are in different blocks.
#[allow(
    clippy::pointers_in_nomem_asm_block,
    reason = "what is there is not accessed"
)]
#[cfg_attr(hugepool_loom, allow(dead_code))]
#[inline(always)]
pub fn settled<T>(place: &T) -> &T {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut address = std::ptr::from_ref(place);
        // SAFETY: no instruction.
        unsafe {
            std::arch::asm!(
                "/* {0} */",
                inout(reg) address,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        // SAFETY: it is what it was: that of `place`.
        unsafe {
            std::hint::assert_unchecked(!address.is_null());
            &*address
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    place
}

/// `found`. The processor goes on with `expected` before it has `found`, and begins anew from
/// here if they are two: a comparison and a jump, which it predicts, in the place of a value,
/// for which it would wait.
#[allow(
    clippy::pointers_in_nomem_asm_block,
    reason = "what is there is not accessed"
)]
#[cfg_attr(hugepool_loom, allow(dead_code))]
#[inline(always)]
pub fn expect<T>(found: &T, expected: *const T) -> &T {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut address = expected;
        // SAFETY: compares two registers, and may write one.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            std::arch::asm!(
                "cmp {found}, {address}",
                "je 2f",
                "mov {address}, {found}",
                "2:",
                found = in(reg) found,
                address = inout(reg) address,
                options(pure, nomem, nostack)
            );
            #[cfg(target_arch = "aarch64")]
            std::arch::asm!(
                "cmp {found}, {address}",
                "b.eq 2f",
                "mov {address}, {found}",
                "2:",
                found = in(reg) found,
                address = inout(reg) address,
                options(pure, nomem, nostack)
            );
        }
        // SAFETY: it is that of `found`, whichever register it came from.
        unsafe {
            std::hint::assert_unchecked(!address.is_null());
            &*address
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = expected;
        found
    }
}

/// Has the processor fetch the cache line of `place`, for writing, while the program goes on.
/// (What is loaded first, and changed then, is otherwise fetched twice if another processor
/// wrote it last: to be read, and to be had alone.)
#[inline(always)]
pub fn soon_written<T>(place: &T) {
    let address = std::ptr::from_ref(place);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which changes nothing; what has no such instruction passes over it.
    unsafe {
        std::arch::asm!(
            "prefetchw [{0}]",
            in(reg) address,
            options(readonly, nostack, preserves_flags)
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, which changes nothing.
    unsafe {
        std::arch::asm!(
            "prfm pstl1keep, [{0}]",
            in(reg) address,
            options(readonly, nostack, preserves_flags)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_fetched_for_writing_is_as_it_was() {
        let places = [1, 2];
        soon_written(&places[1]);
        assert_eq!(places, [1, 2]);
    }

    #[test]
    fn what_is_found_is_given_whatever_was_expected() {
        let places = [1, 2];
        for found in &places {
            assert!(std::ptr::eq(settled(found), found));
            for expected in &places {
                assert!(std::ptr::eq(expect(found, expected), found));
            }
            assert!(std::ptr::eq(expect(found, std::ptr::null()), found));
        }
    }
}
