//! What a call through the C interface costs, beside the same call in Rust, in one run:
//! `cargo bench -p hugepool-capi`.
//!
//! The C calls are those of `libhugepool.so`, built with the same profile, opened by
//! `dlopen` and called by address, as a program that is linked to it calls them. One
//! operation is one allocation and one free of a buffer of 64 KiB at 4096. The first is the
//! safe call of Rust, by size. Each round
//! visits every contender; medians of the rounds, and of the ratios within a round, are
//! printed: of processor time. The last table is of allocations that are refused because all buffers are out.
//! With `--test` one short round is run and nothing is claimed.

#[path = "../tests/common/mod.rs"]
mod common;

use ::pool::share::Access;
use ::pool::vdi::{Config, Parameters, Set, VD_E_MEMORY};
use ::pool::{Pool, Volatile};
use std::ffi::{CStr, CString, c_void};
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::ptr::{NonNull, null_mut};

const SIZE: usize = 64 << 10;
const ALIGNMENT: usize = 4096;
/// Buffers out at a time in the ring.
const RING: usize = 8;
const COUNT: u32 = 64;

type New = unsafe extern "C" fn(*mut *mut c_void) -> u32;
type Call = unsafe extern "C" fn(*const c_void) -> u32;
type Configure = unsafe extern "C" fn(*const c_void, *const u32) -> u32;
type Reserve = unsafe extern "C" fn(*mut c_void, usize, usize, usize) -> u32;
type Build = unsafe extern "C" fn(*const c_void, *mut *mut c_void) -> u32;
type Shared = unsafe extern "C" fn(*mut c_void, u32) -> u32;
type RequestBuffers = unsafe extern "C" fn(*const c_void, u32, u32, u32) -> u32;
type AllocateBuffer = unsafe extern "C" fn(*const c_void, *mut *mut c_void, u32, u32) -> u32;
type FreeBuffer = unsafe extern "C" fn(*const c_void, *mut c_void, u32) -> u32;
type PoolAllocate = unsafe extern "C" fn(*const c_void, usize, usize, *mut *mut c_void) -> u32;
type PoolFree = unsafe extern "C" fn(*const c_void, *mut c_void, usize) -> u32;

/// The library, open until the program ends.
struct Library(NonNull<c_void>);

impl Library {
    fn open() -> Self {
        let path = common::library("bench").join("libhugepool.so");
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path is a string.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        Self(NonNull::new(library).expect("the library can be opened"))
    }

    /// The function `name`.
    ///
    /// # Safety
    ///
    /// `F` is the type of its address.
    unsafe fn get<F: Copy>(&self, name: &CStr) -> F {
        assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
        // SAFETY: the library is open, and the name a string.
        let address = unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) };
        assert!(!address.is_null(), "{name:?} is missing");
        // SAFETY: the caller says so.
        unsafe { std::mem::transmute_copy(&address) }
    }
}

/// Nanoseconds that this thread has run.
fn clock() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: there is room for the time.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    assert_eq!(read, 0);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// As `time`, of buffers that give themselves back.
fn time_safe<T>(ring: bool, operations: u32, take: impl Fn() -> T) -> f64 {
    let mut out = [const { None }; RING];
    let held = if ring { RING } else { 0 };
    for place in &mut out[..held] {
        *place = Some(take());
    }
    let start = clock();
    if ring {
        for at in 0..operations as usize {
            let place = &mut out[at % RING];
            *place = None;
            *place = Some(take());
        }
    } else {
        for _ in 0..operations {
            drop(take());
        }
    }
    (clock() - start) / f64::from(operations)
}

/// A pattern of `operations` operations; gives nanoseconds for one.
fn time(ring: bool, operations: u32, take: impl Fn() -> *mut u8, give: impl Fn(*mut u8)) -> f64 {
    let mut out = [null_mut(); RING];
    let held = if ring { RING } else { 0 };
    for place in &mut out[..held] {
        *place = take();
    }
    let start = clock();
    if ring {
        for at in 0..operations as usize {
            let place = &mut out[at % RING];
            give(*place);
            *place = black_box(take());
        }
    } else {
        for _ in 0..operations {
            give(black_box(take()));
        }
    }
    let time = clock() - start;
    for &place in &out[..held] {
        give(place);
    }
    time / f64::from(operations)
}

/// Nanoseconds for one of `operations` calls of `refuse`.
fn time_refusals(operations: u32, refuse: impl Fn()) -> f64 {
    let start = clock();
    (0..operations).for_each(|_| refuse());
    (clock() - start) / f64::from(operations)
}

/// A contender: its name, and how long an operation takes it in a ring or not.
type Contender<'a> = (&'a str, Box<dyn Fn(bool, u32) -> f64 + 'a>);

/// Visits every contender once a round, and prints what each took, beside the first.
fn table(pattern: &str, contenders: &[Contender<'_>], ring: bool, rounds: usize, operations: u32) {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for (times, (_, run)) in times.iter_mut().zip(contenders) {
            times.push(run(ring, operations));
        }
    }
    println!("{pattern}:");
    for (times_here, (name, _)) in times.iter().zip(contenders) {
        let ratios = (times_here.iter())
            .zip(&times[0])
            .map(|(here, first)| here / first);
        let (time, ratio) = (median(times_here.clone()), median(ratios.collect()));
        match rounds {
            1 => println!("  {name:<44} ran"),
            _ => println!("  {name:<44} {time:6.2}  {ratio:.2} of the first"),
        }
    }
}

const CONFIG: Config = Config {
    device_count: 1,
    features: 0,
    prefix_zone_size: 0,
    alignment: 0,
    soft_file_mark_block_size: 0,
    eom_warning_size: 0,
    server_time_out: 0,
    block_size: 0,
    max_io_depth: 0,
    max_transfer_size: 0,
    buffer_area_size: 0,
};

fn ok(code: u32) {
    assert_eq!(code, 0, "a call was refused: {code:#x}");
}

/// A pool of Rust.
fn rust_pool() -> Pool<Volatile> {
    let builder = Pool::builder().reserve(SIZE, ALIGNMENT, COUNT as usize);
    let builder = builder.raw_pointers(true).shared(Access::Write);
    builder.build_volatile().expect("there is memory")
}

fn rust_set() -> Set {
    let set = Set::new();
    set.open(&CONFIG).unwrap();
    set.begin_configuration(&Parameters {
        features: 0,
        block_size: ALIGNMENT as u32,
        alignment: 0,
        max_transfer_size: 1 << 20,
        time_out: 0,
    })
    .unwrap();
    set.request_buffers(SIZE as u32, 0, COUNT).unwrap();
    set.end_configuration().unwrap();
    set
}

/// The same pool, through C.
fn c_pool(library: &Library) -> *const c_void {
    let (mut builder, mut pool) = (null_mut(), null_mut());
    // SAFETY: the types are those of hugepool.h, and so is the order of the calls.
    unsafe {
        ok(library.get::<New>(c"hp_builder_new")(&mut builder));
        ok(library.get::<Reserve>(c"hp_builder_reserve")(
            builder,
            SIZE,
            ALIGNMENT,
            COUNT as usize,
        ));
        ok(library.get::<Shared>(c"hp_builder_shared")(builder, 1));
        ok(library.get::<Build>(c"hp_builder_build")(
            builder, &mut pool,
        ));
    }
    pool
}

/// The same set, through C.
fn c_set(library: &Library) -> *const c_void {
    let mut set = null_mut();
    let wishes = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let parameters = [0, ALIGNMENT as u32, 0, 1 << 20, 0];
    // SAFETY: as for `c_pool`; hp_vd_config has eleven words, hp_vd_parameters five.
    unsafe {
        ok(library.get::<New>(c"hp_vdi_new")(&mut set));
        ok(library.get::<Configure>(c"hp_vdi_open")(
            set,
            wishes.as_ptr(),
        ));
        ok(library.get::<Configure>(c"hp_vdi_begin_configuration")(
            set,
            parameters.as_ptr(),
        ));
        ok(library.get::<RequestBuffers>(c"hp_vdi_request_buffers")(
            set,
            SIZE as u32,
            0,
            COUNT,
        ));
        ok(library.get::<Call>(c"hp_vdi_end_configuration")(set));
    }
    set
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let (rounds, operations) = if test { (1, 1000) } else { (41, 400_000) };
    let library = Library::open();
    // SAFETY: those are their types.
    let (allocate_buffer, free_buffer, pool_allocate, pool_free) = unsafe {
        (
            library.get::<AllocateBuffer>(c"hp_vdi_allocate_buffer"),
            library.get::<FreeBuffer>(c"hp_vdi_free_buffer"),
            library.get::<PoolAllocate>(c"hp_pool_allocate"),
            library.get::<PoolFree>(c"hp_pool_free"),
        )
    };
    // What the C interface does not know when it is compiled is not known to Rust either.
    let (size, alignment) = (black_box(SIZE), black_box(ALIGNMENT));
    let (pool, set) = (rust_pool(), rust_set());
    let (c_pool, c_set) = (c_pool(&library), c_set(&library));
    // The library's own types say nothing of which calls are safe.
    let contenders: [Contender<'_>; 5] = [
        (
            "Rust, Pool::allocate + drop",
            Box::new(|ring, operations| {
                time_safe(ring, operations, || {
                    let buffer = pool.allocate(size, alignment).unwrap();
                    black_box(buffer.as_ptr());
                    buffer
                })
            }),
        ),
        (
            "Rust, Pool::allocate_raw + free_raw",
            Box::new(|ring, operations| {
                let take = || pool.allocate_raw(size, alignment).unwrap().as_ptr();
                // SAFETY: what is given was taken, and is given once; so below.
                let give = |start| unsafe { pool.free_raw(start, size) }.unwrap();
                time(ring, operations, take, give)
            }),
        ),
        (
            "Rust, Set::allocate_buffer + free_buffer",
            Box::new(|ring, operations| {
                let take = || set.allocate_buffer(size as u32, 0).unwrap().as_ptr();
                // SAFETY: as above.
                let give = |start| unsafe { set.free_buffer(start, size as u32) }.unwrap();
                time(ring, operations, take, give)
            }),
        ),
        (
            "C, hp_pool_allocate + hp_pool_free",
            Box::new(|ring, operations| {
                let take = || {
                    let mut start = null_mut();
                    // SAFETY: the pool is there, and the place.
                    ok(unsafe { pool_allocate(c_pool, size, alignment, &mut start) });
                    start.cast()
                };
                // SAFETY: as above.
                let give = |start: *mut u8| ok(unsafe { pool_free(c_pool, start.cast(), size) });
                time(ring, operations, take, give)
            }),
        ),
        (
            "C, hp_vdi_allocate_buffer + free_buffer",
            Box::new(|ring, operations| {
                let take = || {
                    let mut start = null_mut();
                    // SAFETY: the set is there, and the place.
                    ok(unsafe { allocate_buffer(c_set, &mut start, size as u32, 0) });
                    start.cast()
                };
                let give = |start: *mut u8| {
                    // SAFETY: as above.
                    ok(unsafe { free_buffer(c_set, start.cast(), size as u32) });
                };
                time(ring, operations, take, give)
            }),
        ),
    ];
    println!("64 KiB at 4096, ns an operation, medians of {rounds} rounds");
    for (ring, pattern) in [(false, "same buffer"), (true, "ring of 8")] {
        table(pattern, &contenders, ring, rounds, operations);
    }
    // Nothing is left.
    let mut start = null_mut();
    let mut taken = Vec::new();
    while let Ok(start) = pool.allocate_raw(size, alignment) {
        taken.push(start);
    }
    while set.allocate_buffer(size as u32, 0).is_ok() {}
    // SAFETY: as above.
    unsafe {
        while pool_allocate(c_pool, size, alignment, &mut start) == 0 {}
        while allocate_buffer(c_set, &mut start, size as u32, 0) == 0 {}
    }
    let refused: [Contender<'_>; 4] = [
        (
            "Rust, Pool::allocate_raw",
            Box::new(|_, operations| {
                time_refusals(operations, || {
                    assert!(black_box(pool.allocate_raw(size, alignment)).is_err());
                })
            }),
        ),
        (
            "Rust, Set::allocate_buffer",
            Box::new(|_, operations| {
                time_refusals(operations, || {
                    assert!(black_box(set.allocate_buffer(size as u32, 0)).is_err());
                })
            }),
        ),
        (
            "C, hp_pool_allocate",
            Box::new(|_, operations| {
                time_refusals(operations, || {
                    let mut start = null_mut();
                    // SAFETY: the pool is there, and the place.
                    let code = unsafe { pool_allocate(c_pool, size, alignment, &mut start) };
                    assert_eq!(code, VD_E_MEMORY);
                })
            }),
        ),
        (
            "C, hp_vdi_allocate_buffer",
            Box::new(|_, operations| {
                time_refusals(operations, || {
                    let mut start = null_mut();
                    // SAFETY: the set is there, and the place.
                    let code = unsafe { allocate_buffer(c_set, &mut start, size as u32, 0) };
                    assert_eq!(code, VD_E_MEMORY);
                })
            }),
        ),
    ];
    table("refused", &refused, false, rounds, operations / 4);
    for start in taken {
        // SAFETY: taken above, and given once.
        unsafe { pool.free_raw(start.as_ptr(), size) }.unwrap();
    }
}
