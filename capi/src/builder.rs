//! The description of a pool.
//!
//! Owns: its calls in C. Uses: `error`, `pool`, the library. Used by: C and C++ programs,
//! `track`, `vdi`.

use crate::error::{Failure, HP_NOERROR, done, failed, object, put, release};
use crate::pool::hp_pool;
use ::pool::share::Access;
use ::pool::{Builder, Pages, Rung};
use std::ptr::null_mut;

/// The description of a pool. Not for several threads at once.
pub struct hp_builder(pub(crate) Builder);

/// Kinds of pages, for hp_builder_pages: reserved ones of 1 GiB.
pub const HP_PAGES_HUGE_1G: u32 = 0;
/// Reserved ones of 2 MiB.
pub const HP_PAGES_HUGE_2M: u32 = 1;
/// Base pages that the kernel merges into huge ones.
pub const HP_PAGES_TRANSPARENT: u32 = 2;
/// Base pages.
pub const HP_PAGES_BASE: u32 = 3;

/// What is asked of a kind of pages, for hp_builder_pages: nothing less will do.
pub const HP_RUNG_REQUIRE: u32 = 0;
/// They are tried before lesser ones.
pub const HP_RUNG_PREFER: u32 = 1;
/// They are left out.
pub const HP_RUNG_NEVER: u32 = 2;

/// What other processes may do with buffers, for hp_builder_shared: read them.
pub const HP_ACCESS_READ: u32 = 0;
/// Read and write them.
pub const HP_ACCESS_WRITE: u32 = 1;

const PAGES: [(u32, Pages); 4] = [
    (HP_PAGES_HUGE_1G, Pages::Huge1G),
    (HP_PAGES_HUGE_2M, Pages::Huge2M),
    (HP_PAGES_TRANSPARENT, Pages::Transparent),
    (HP_PAGES_BASE, Pages::Base),
];
const RUNGS: [(u32, Rung); 3] = [
    (HP_RUNG_REQUIRE, Rung::Require),
    (HP_RUNG_PREFER, Rung::Prefer),
    (HP_RUNG_NEVER, Rung::Never),
];
const ACCESS: [(u32, Access); 2] = [
    (HP_ACCESS_READ, Access::Read),
    (HP_ACCESS_WRITE, Access::Write),
];

/// What number `given` stands for.
fn choice<T: Copy>(given: u32, choices: &[(u32, T)], name: &'static str) -> Result<T, Failure> {
    let limit = choices.len() as u32;
    let found = choices.iter().find(|choice| choice.0 == given);
    found
        .map(|choice| choice.1)
        .ok_or(Failure::Number { name, given, limit })
}

/// Begins the description of a pool. It ends with hp_builder_build or hp_builder_release.
///
/// # Safety
///
/// `builder` is a place for a pointer, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_new(builder: *mut *mut hp_builder) -> u32 {
    if builder.is_null() || !builder.is_aligned() {
        return failed(&Failure::Pointer("builder"));
    }
    let made = Box::into_raw(Box::new(hp_builder(Builder::default().raw_pointers(true))));
    // SAFETY: the caller says so.
    done(unsafe { put(builder, made, "builder") })
}

/// Drops a description. Null is nothing.
///
/// # Safety
///
/// `builder` came from hp_builder_new, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_release(builder: *mut hp_builder) {
    // SAFETY: the caller says so.
    unsafe { release(builder) };
}

/// Changes a description.
///
/// # Safety
///
/// `builder` points to one that nobody else uses now, or is null.
pub unsafe fn change(builder: *mut hp_builder, change: impl FnOnce(Builder) -> Builder) -> u32 {
    if builder.is_null() || !builder.is_aligned() {
        return failed(&Failure::Pointer("builder"));
    }
    // SAFETY: the caller says so.
    let builder = unsafe { &mut *builder };
    builder.0 = change(std::mem::take(&mut builder.0));
    HP_NOERROR
}

/// Declares `count` buffers of `size` bytes at `alignment` bytes. Whether they can be is
/// found out by hp_builder_build.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_reserve(
    builder: *mut hp_builder,
    size: usize,
    alignment: usize,
    count: usize,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.reserve(size, alignment, count)) }
}

/// Keeps `bytes` right before every buffer for the client.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_prefix_zone(builder: *mut hp_builder, bytes: usize) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.prefix_zone(bytes)) }
}

/// Reserves `bytes` of address space: the most that the pool may ever grow to.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_address_space(builder: *mut hp_builder, bytes: usize) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.address_space(bytes)) }
}

/// Whether to fault in all memory while building (it is by default).
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_prefault(builder: *mut hp_builder, prefault: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.prefault(prefault)) }
}

/// Whether to lock the memory (not, by default): it is never paged out.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_lock(builder: *mut hp_builder, lock: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.lock(lock)) }
}

/// Whether core dumps contain the buffers (not, by default).
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_dump(builder: *mut hp_builder, dump: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.dump(dump)) }
}

/// Whether children of a fork inherit the buffers (not, by default; never if they are
/// shared).
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_fork(builder: *mut hp_builder, fork: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.fork(fork)) }
}

/// Whether to do without restartable sequences (not, by default): for comparison.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_portable_caches(
    builder: *mut hp_builder,
    portable: bool,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.portable_caches(portable)) }
}

/// Lets a request that finds no free buffer of its class have one of up to `factor` times
/// the size (4 by default; 0: of its own class alone).
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_climb(builder: *mut hp_builder, factor: usize) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.climb(factor)) }
}

/// How many bytes of buffers a processor may keep to itself.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_cpu_cache(builder: *mut hp_builder, bytes: usize) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.cpu_cache(bytes)) }
}

/// Takes all memory from NUMA node `node`.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_node(builder: *mut hp_builder, node: u32) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.node(node)) }
}

/// What is asked of a kind of pages: one of HP_PAGES_* and one of HP_RUNG_*. Each is
/// preferred by default, the larger ones first.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_pages(builder: *mut hp_builder, pages: u32, rung: u32) -> u32 {
    let asked =
        choice(pages, &PAGES, "pages").and_then(|pages| Ok((pages, choice(rung, &RUNGS, "rung")?)));
    match asked {
        // SAFETY: the caller says so.
        Ok((pages, rung)) => unsafe { change(builder, |builder| builder.pages(pages, rung)) },
        Err(failure) => failed(&failure),
    }
}

/// Lets other processes map the buffers, and do with them what `access` says: one of
/// HP_ACCESS_*.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_shared(builder: *mut hp_builder, access: u32) -> u32 {
    match choice(access, &ACCESS, "access") {
        // SAFETY: the caller says so.
        Ok(access) => unsafe { change(builder, |builder| builder.shared(access)) },
        Err(failure) => failed(&failure),
    }
}

/// Maps the memory and builds the pool. The description stays. `*pool` is null if it
/// fails.
///
/// # Safety
///
/// `builder` points to a description, `pool` to a place for a pointer, or they are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_build(
    builder: *const hp_builder,
    pool: *mut *mut hp_pool,
) -> u32 {
    // SAFETY: the caller says so.
    let (builder, clear) = unsafe { (object(builder, "builder"), put(pool, null_mut(), "pool")) };
    let built = builder.and_then(|builder| {
        clear?;
        builder.0.build_volatile().map_err(Failure::Build)
    });
    done(built.and_then(|built| {
        let built = Box::into_raw(Box::new(hp_pool(built)));
        // SAFETY: the caller says so.
        unsafe { put(pool, built, "pool") }
    }))
}
