//! The description of a pool.
//!
//! Owns: its calls in C. Uses: `call`, `heap`, `pool`, the library. Used by: C and C++ programs,
//! `track`, `vdi`.

use crate::call::{Failure, HP_NOERROR, done, failed, object, put, release};
use crate::heap::{SMALL, leased, unrefused};
use crate::peers::numbers;
use crate::pool::hp_pool;
use ::pool::share::Access;
use ::pool::{Builder, Pages, Rung};
use std::ptr::null_mut;

/// The description of a pool: what it has, and how its memory is mapped. Two threads must not
/// use the same one at the same time.
pub struct hp_builder {
    pub(crate) builder: Builder,
    /// How often buffers were declared.
    declared: usize,
}

impl hp_builder {
    /// Bytes of heap that a copy of it takes, or a list of what it declares that grows to
    /// twice what it holds.
    pub fn heap(&self) -> usize {
        (self.declared + 4) * 4 * size_of::<[usize; 3]>()
    }
}

/// Bytes of heap that building needs for each class: a list of all classes and segments for
/// each, twice, and what readers of the one before leave behind.
const CLASS: usize = 48 << 10;
/// The most classes that a pool can have.
const MOST: usize = 128;

/// Bytes of heap that it takes to build a pool of which buffers are declared so often.
pub fn heap_to_build(declared: usize) -> usize {
    let lists = (declared + 4) * 8 * size_of::<[usize; 8]>();
    4 * SMALL + declared.min(MOST) * CLASS + lists
}

/// Kinds of pages, for hp_builder_pages: reserved pages of 1 GiB (hugetlb).
pub const HP_PAGES_HUGE_1G: u32 = 0;
/// Reserved pages of 2 MiB (hugetlb).
pub const HP_PAGES_HUGE_2M: u32 = 1;
/// Base pages that the kernel merges into huge pages (transparent huge pages).
pub const HP_PAGES_TRANSPARENT: u32 = 2;
/// Base pages, 4 KiB on x86-64.
pub const HP_PAGES_BASE: u32 = 3;
/// Base pages that the kernel is told to collapse into huge pages (MADV_COLLAPSE, Linux 6.1),
/// tried before HP_PAGES_BASE. As long as nothing is said of them, HP_RUNG_NEVER for
/// HP_PAGES_TRANSPARENT holds for them, too.
pub const HP_PAGES_COLLAPSED: u32 = 4;

/// What is asked of a kind of pages, for hp_builder_pages: these or larger ones, otherwise
/// hp_builder_build fails.
pub const HP_RUNG_REQUIRE: u32 = 0;
/// They are tried, before smaller ones.
pub const HP_RUNG_PREFER: u32 = 1;
/// They are not used.
pub const HP_RUNG_NEVER: u32 = 2;

/// What other processes may do with the buffers, for hp_builder_shared: read them.
pub const HP_ACCESS_READ: u32 = 0;
/// Read and write them.
pub const HP_ACCESS_WRITE: u32 = 1;

const PAGES: [(u32, Pages); 5] = [
    (HP_PAGES_HUGE_1G, Pages::Huge1G),
    (HP_PAGES_HUGE_2M, Pages::Huge2M),
    (HP_PAGES_TRANSPARENT, Pages::Transparent),
    (HP_PAGES_BASE, Pages::Base),
    (HP_PAGES_COLLAPSED, Pages::Collapsed),
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

/// The number that stands for a kind of pages.
pub fn pages_code(pages: Pages) -> u32 {
    let found = PAGES.iter().find(|choice| choice.1 == pages);
    found.map_or(HP_PAGES_BASE, |choice| choice.0)
}

/// What number `given` stands for.
fn choice<T: Copy>(given: u32, choices: &[(u32, T)], name: &'static str) -> Result<T, Failure> {
    let limit = choices.len() as u32;
    let found = choices.iter().find(|choice| choice.0 == given);
    found
        .map(|choice| choice.1)
        .ok_or(Failure::Number { name, given, limit })
}

/// Makes the description of a pool that has no buffers yet; it ends with hp_builder_release.
/// Allocates.
///
/// # Safety
///
/// `builder` is a place for a pointer, or null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_new(builder: *mut *mut hp_builder) -> u32 {
    if builder.is_null() || !builder.is_aligned() {
        return failed(&Failure::Pointer("builder"));
    }
    done(
        leased(SMALL, || {
            let builder = Builder::default().raw_pointers(true);
            let declared = 0;
            Ok(Box::into_raw(Box::new(hp_builder { builder, declared })))
        })
        // SAFETY: the caller says so.
        .and_then(|made| unsafe { put(builder, made, "builder") }),
    )
}

/// Releases a description, also of a pool that was built by it and goes on. It must not be
/// used after this. Null is nothing.
///
/// # Safety
///
/// `builder` came from hp_builder_new, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_release(builder: *mut hp_builder) {
    // SAFETY: the caller says so.
    unrefused(|| unsafe { release(builder) });
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
    builder.builder = change(std::mem::take(&mut builder.builder));
    HP_NOERROR
}

/// Declares `count` buffers of `size` bytes whose addresses are multiples of `alignment`. May
/// be called often, in any mix; equal sizes and alignments are one class. Limits: a size of 1
/// byte to 1 GiB, an alignment that is a power of two up to 64 MiB (weaker ones are raised to
/// 512), a count of at least 1, and 128 classes in the life of a pool. hp_builder_build
/// checks them. Allocates: HP_VD_E_MEMORY if there is no heap for it.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_reserve(
    builder: *mut hp_builder,
    size: usize,
    alignment: usize,
    count: usize,
) -> u32 {
    // SAFETY: the caller says so.
    let declared = unsafe { object(builder, "builder") }.map(hp_builder::heap);
    done(declared.and_then(|heap| {
        leased(SMALL + heap, || {
            // SAFETY: the caller says so; it is one.
            unsafe {
                change(builder, |builder| builder.reserve(size, alignment, count));
                (*builder).declared += 1;
            }
            Ok(())
        })
    }))
}

/// Keeps `bytes` (0 by default, at most 1 MiB) right before every buffer for the client's own
/// use: at negative offsets from its address, which is aligned as declared.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_prefix_zone(builder: *mut hp_builder, bytes: usize) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.prefix_zone(bytes)) }
}

/// Reserves `bytes` of address space, at most 1 TiB: the most that the pool may ever grow to
/// by hp_pool_request. It costs no memory. By default it is sixteen times what is declared and
/// at least 8 GiB more than that, but what is more than declared is no more than a sixteenth of
/// the addresses that the process has left.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_address_space(builder: *mut hp_builder, bytes: usize) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.address_space(bytes)) }
}

/// Says whether all memory is faulted in by hp_builder_build and hp_pool_request (by default
/// it is), so that no later access faults a page. If it is not, it is all the same where the
/// first access could end in a signal: huge pages in a control group that limits them, and
/// shared buffers where vm.overcommit_memory is 2.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_prefault(builder: *mut hp_builder, prefault: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.prefault(prefault)) }
}

/// Says whether the memory is locked (by default it is not): then it is never paged out.
/// Needs RLIMIT_MEMLOCK of that size, or CAP_IPC_LOCK.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_lock(builder: *mut hp_builder, lock: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.lock(lock)) }
}

/// Says whether core dumps contain the buffers (by default they do not).
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_dump(builder: *mut hp_builder, dump: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.dump(dump)) }
}

/// Says whether a buffer is zeroed when it comes back (by default it is not): its prefix zone
/// and all that it can hold, so that the next owner finds zeros. It takes as long as writing
/// all of it, in the call that frees it. If clients may write the buffers (HP_ACCESS_WRITE)
/// hp_builder_build, or hp_vdi_end_configuration, then fails with HP_VD_E_INVALID.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_wipe(builder: *mut hp_builder, wipe: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.wipe(wipe)) }
}

/// Says whether children of a fork inherit the buffers (by default they do not, and buffers
/// that are shared never do). Such a pool has reserved huge pages only if they are required:
/// what is written after a fork needs another one, and if none is free, a child that touches
/// what it has lost is sent SIGBUS.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_fork(builder: *mut hp_builder, fork: bool) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.fork(fork)) }
}

/// Says whether to do without restartable sequences, rseq(2), even where there are any (by
/// default they are used): for comparison.
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

/// Lets a request that finds no free buffer of its class have one of a class up to `factor`
/// times as large (4 by default; 0 or 1: of its own class alone).
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_climb(builder: *mut hp_builder, factor: usize) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.climb(factor)) }
}

/// Sets how many bytes of free buffers the caches of one processor may hold, all classes
/// together, besides two buffers of each class (64 MiB by default). A cache never holds more
/// than 60 buffers of a class.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_cpu_cache(builder: *mut hp_builder, bytes: usize) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.cpu_cache(bytes)) }
}

/// Takes the memory of the buffers from NUMA node `node` and from no other (by default each page
/// comes from the node of the thread that touches it first). hp_builder_build then fails with
/// HP_VD_E_INVALID if there is no such node, HP_VD_E_MEMORY if it has too little,
/// HP_VD_E_SECURITY if a filter of system calls refuses mbind(2). Of this,
/// hp_builder_prefer_node and hp_builder_interleave the last call counts.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_node(builder: *mut hp_builder, node: u32) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.node(node)) }
}

/// Takes the memory of the buffers from NUMA node `node` as long as it has some free, and then
/// from others. As hp_builder_node, but nothing fails for want of memory there.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_prefer_node(builder: *mut hp_builder, node: u32) -> u32 {
    // SAFETY: the caller says so.
    unsafe { change(builder, |builder| builder.prefer_node(node)) }
}

/// Spreads the memory of the buffers over the `count` NUMA nodes at `nodes`, page by page. As
/// hp_builder_node, but nothing fails for want of memory on one of them; hp_builder_build fails
/// with HP_VD_E_INVALID if `count` is 0. HP_VD_E_INVALID at once if it is more than 65536.
///
/// # Safety
///
/// `builder` points to a description, `nodes` to `count` numbers, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_interleave(
    builder: *mut hp_builder,
    nodes: *const u32,
    count: usize,
) -> u32 {
    // SAFETY: the caller says so.
    match unsafe { numbers(nodes, count, "nodes") } {
        // SAFETY: as above.
        Ok(nodes) => unsafe { change(builder, |builder| builder.interleave(nodes)) },
        Err(failure) => failed(&failure),
    }
}

/// Says what is asked of a kind of pages: one of HP_PAGES_* and one of HP_RUNG_*. By default
/// each is HP_RUNG_PREFER, the larger ones first. HP_VD_E_INVALID for other numbers.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[must_use]
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

/// Puts the buffers into memory that other processes can map (by default none can), and lets
/// them do with it what `access` says: one of HP_ACCESS_*, HP_VD_E_INVALID for other numbers.
/// A pool that is shared can have 1048575 buffers in its life.
///
/// # Safety
///
/// `builder` points to a description, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_shared(builder: *mut hp_builder, access: u32) -> u32 {
    match choice(access, &ACCESS, "access") {
        // SAFETY: the caller says so.
        Ok(access) => unsafe { change(builder, |builder| builder.shared(access)) },
        Err(failure) => failed(&failure),
    }
}

/// Maps the memory and builds the pool, which ends with hp_pool_release. The description stays
/// as it is, and another pool may be built by it. Without a declaration the pool is empty and
/// can grow. `*pool` is null if it fails: HP_VD_E_INVALID for a declaration that is out of its
/// limits, HP_VD_E_MEMORY if there is too little memory, or not of the kind that is required;
/// hp_last_error says which. Enters the kernel, and takes as long as it takes to zero the
/// memory; allocates.
///
/// # Safety
///
/// `builder` points to a description, `pool` to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_builder_build(
    builder: *const hp_builder,
    pool: *mut *mut hp_pool,
) -> u32 {
    // SAFETY: the caller says so.
    let (builder, clear) = unsafe { (object(builder, "builder"), put(pool, null_mut(), "pool")) };
    done(builder.and_then(|builder| {
        clear?;
        let built = leased(heap_to_build(builder.declared), || {
            let built = builder.builder.build_volatile().map_err(Failure::Build)?;
            Ok(Box::into_raw(Box::new(hp_pool(built))))
        })?;
        // SAFETY: the caller says so.
        unsafe { put(pool, built, "pool") }
    }))
}
