//! The virtual device set.
//!
//! Owns: its calls in C. Uses: `builder`, `call`, `heap`, `pool`, `sized`, the library. Used by: C and C++ programs.

use crate::builder::{heap_to_build, hp_builder};
use crate::call::{Failure, HP_NOERROR, done, is_good, limit, object, put};
use crate::heap::{SMALL, leased, unrefused};
use crate::kind::Pool;
use crate::pool::{hp_stats, leased_for};
use crate::sized::Place;
use ::pool::place::called;
use ::pool::share::ShareError;
use ::pool::vdi::{Config, Error, Parameters, Set};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

/// A virtual device set.
pub struct hp_vdi {
    /// It is an `Arc<Set>` that was made a pointer.
    _set: [u8; 0],
}

/// The set behind a pointer.
///
/// # Safety
///
/// Null, not aligned, or from hp_vdi_new, and not released while the result is used.
pub unsafe fn set_of<'a>(set: *const hp_vdi) -> Result<&'a Set, Failure> {
    // SAFETY: the caller says so.
    unsafe { object(set.cast(), "set") }
}

/// The pool of a set, whose buffers are mapped.
///
/// # Safety
///
/// `set` points to a set, or is null.
pub unsafe fn pool_of<'a>(set: *const hp_vdi) -> Result<&'a Pool, Failure> {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) }?;
    if set.is_left_behind() {
        return Err(Failure::Forked);
    }
    (set.pool()).ok_or(Failure::Share(ShareError::NotConfigured))
}

/// Makes `call`, which asks for heap for each segment of the set, if it has buffers, for each
/// time that buffers were declared if it has none yet, and for `more`.
pub fn leased_for_set<R>(
    set: &Set,
    more: usize,
    call: impl FnOnce() -> Result<R, Failure>,
) -> Result<R, Failure> {
    match set.pool() {
        Some(pool) => leased_for(pool, more, call),
        None => {
            let declared = leased(SMALL, || Ok(set.declared()))?;
            // More may be declared meanwhile.
            leased(heap_to_build(declared + 64) + more, call)
        }
    }
}

/// Another reference to the set behind a pointer.
///
/// # Safety
///
/// As for `set_of`.
pub unsafe fn shared_set(pointer: *const hp_vdi) -> Result<Arc<Set>, Failure> {
    // SAFETY: the caller says so.
    let set: *const Set = unsafe { set_of(pointer) }?;
    // SAFETY: hp_vdi_new made it from an `Arc`, whose count the pointer has a part in.
    unsafe {
        Arc::increment_strong_count(set);
        Ok(Arc::from_raw(set))
    }
}

/// The configuration of a set (VDConfig), by the published names of its fields: the client
/// fills in the first seven, the set the others. One that asks for what is not there is
/// HP_VD_E_NOTSUPPORTED.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_snake_case, reason = "the names are published")]
pub struct hp_vd_config {
    /// Devices of the set, 1 to 64.
    pub deviceCount: u32,
    /// Features that are asked for, and then those that there are: HP_VDF_*. Passed on.
    pub features: u32,
    /// Bytes that the client keeps right before each buffer, 1 MiB at most.
    pub prefixZoneSize: u32,
    /// What the client wants buffers aligned to, a power of two up to 65536 bytes; 0: no
    /// wish.
    pub alignment: u32,
    /// Bytes between soft file marks; passed on.
    pub softFileMarkBlockSize: u32,
    /// Bytes before the end of the medium at which the client warns; passed on.
    pub EOMWarningSize: u32,
    /// How long the client waits for the server, in ms; 0 without end. Passed on.
    pub serverTimeOut: u32,
    /// The server's block size, in bytes.
    pub blockSize: u32,
    /// How many requests a device may have: 4.
    pub maxIODepth: u32,
    /// The largest transfer, in bytes.
    pub maxTransferSize: u32,
    /// Bytes of all buffers' memory; 0xffffffff if they are more.
    pub bufferAreaSize: u32,
}

impl hp_vd_config {
    /// What the client has filled in.
    fn wishes(&self) -> Config {
        Config {
            device_count: self.deviceCount,
            features: self.features,
            prefix_zone_size: self.prefixZoneSize,
            alignment: self.alignment,
            soft_file_mark_block_size: self.softFileMarkBlockSize,
            eom_warning_size: self.EOMWarningSize,
            server_time_out: self.serverTimeOut,
            ..Config::default()
        }
    }

    /// All of it.
    fn of(config: &Config) -> Self {
        Self {
            deviceCount: config.device_count,
            features: config.features,
            prefixZoneSize: config.prefix_zone_size,
            alignment: config.alignment,
            softFileMarkBlockSize: config.soft_file_mark_block_size,
            EOMWarningSize: config.eom_warning_size,
            serverTimeOut: config.server_time_out,
            blockSize: config.block_size,
            maxIODepth: config.max_io_depth,
            maxTransferSize: config.max_transfer_size,
            bufferAreaSize: config.buffer_area_size,
        }
    }
}

/// What the server fixes for the life of a set. Fill it in by name: the reference and the
/// published header give two of them in different orders.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_snake_case, reason = "the names are those of hp_vd_config")]
pub struct hp_vd_parameters {
    /// Features that there are: HP_VDF_*. Passed on.
    pub features: u32,
    /// A power of two, 512 to 65536 bytes.
    pub blockSize: u32,
    /// 0 for the block size, or a power of two from there to 65536 bytes.
    pub alignment: u32,
    /// A multiple of 65536 bytes.
    pub maxTransferSize: u32,
    /// How long the server waits for the client, in ms; passed on.
    pub timeOut: u32,
}

/// Makes a set that is not open, and whose buffers clients may read and write; it ends with
/// hp_vdi_release. `*set` is null if it fails. Allocates.
///
/// # Safety
///
/// `set` is a place for a pointer, or null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_new(set: *mut *mut hp_vdi) -> u32 {
    // SAFETY: the caller says so.
    done(unsafe { put(set, null_mut(), "set") }.and_then(|()| {
        let made = leased(SMALL, || Ok(pointer(Set::new())))?;
        // SAFETY: as above.
        unsafe { put(set, made, "set") }
    }))
}

/// As hp_vdi_new; the buffers are mapped as `builder` says (on which pages, whether clients can
/// map them, and so on), with those that it declares. The description stays as it is. Its
/// prefix zone is not used, for the set has one of its own.
///
/// # Safety
///
/// `builder` points to a description, `set` to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_new_with(builder: *const hp_builder, set: *mut *mut hp_vdi) -> u32 {
    // SAFETY: the caller says so.
    let both = unsafe { (object(builder, "builder"), put(set, null_mut(), "set")) };
    done(both.1.and(both.0).and_then(|builder| {
        let made = leased(SMALL + builder.heap(), || {
            Ok(pointer(Set::with_builder(builder.builder.clone())))
        })?;
        // SAFETY: the caller says so.
        unsafe { put(set, made, "set") }
    }))
}

/// What C has of a set.
fn pointer(set: Set) -> *mut hp_vdi {
    Arc::into_raw(Arc::new(set)).cast_mut().cast()
}

/// Ends a set and gives its memory back, whatever its state: neither it nor its buffers may be
/// used after this. Null is nothing.
///
/// # Safety
///
/// `set` came from hp_vdi_new, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_release(set: *mut hp_vdi) {
    let set: *const Set = set.cast_const().cast();
    if !set.is_null() && set.is_aligned() {
        // SAFETY: hp_vdi_new made it from an `Arc`, and the caller gives up its part.
        unrefused(|| drop(unsafe { Arc::from_raw(set) }));
    }
}

/// Open: takes note of what the client wishes.
///
/// # Safety
///
/// Both point to what their types say, or are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_open(set: *const hp_vdi, client: *const hp_vd_config) -> u32 {
    // SAFETY: the caller says so.
    let both = unsafe { set_of(set).and_then(|set| Ok((set, object(client, "client")?))) };
    done(both.and_then(|(set, client)| {
        leased_for_set(set, 0, || set.open(&client.wishes()).map_err(Failure::Set))
    }))
}

/// GetConfiguration: what is known of the set by now.
///
/// # Safety
///
/// `set` points to a set, `config` to a place for the configuration, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_get_configuration(
    set: *const hp_vdi,
    config: *mut hp_vd_config,
) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    let known =
        set.and_then(|set| leased_for_set(set, 0, || set.configuration().map_err(Failure::Set)));
    // SAFETY: the caller says so.
    done(known.and_then(|known| unsafe { put_config(config, &known) }))
}

/// Writes a configuration to its place.
///
/// # Safety
///
/// `config` points to a place for the configuration, or is null.
pub unsafe fn put_config(config: *mut hp_vd_config, known: &Config) -> Result<(), Failure> {
    // SAFETY: the caller says so.
    unsafe { put(config, hp_vd_config::of(known), "config") }
}

/// BeginConfiguration: fixes what the server says.
///
/// # Safety
///
/// Both point to what their types say, or are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_begin_configuration(
    set: *const hp_vdi,
    server: *const hp_vd_parameters,
) -> u32 {
    // SAFETY: the caller says so.
    let both = unsafe { set_of(set).and_then(|set| Ok((set, object(server, "server")?))) };
    done(both.and_then(|(set, server)| {
        let parameters = Parameters {
            features: server.features,
            block_size: server.blockSize,
            alignment: server.alignment,
            max_transfer_size: server.maxTransferSize,
            time_out: server.timeOut,
        };
        leased_for_set(set, 0, || {
            set.begin_configuration(&parameters).map_err(Failure::Set)
        })
    }))
}

/// Whether the pool of a set notes who takes its buffers.
fn tracks(set: &Set) -> bool {
    set.pool().is_some_and(Pool::tracks)
}

/// A call of a set that gives nothing, and allocates nothing.
///
/// # Safety
///
/// `set` points to a set, or is null.
unsafe fn call(set: *const hp_vdi, call: impl FnOnce(&Set) -> Result<(), Error>) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    done(set.and_then(|set| call(set).map_err(Failure::Set)))
}

/// As `call`, of one that allocates.
///
/// # Safety
///
/// `set` points to a set, or is null.
unsafe fn allocating(set: *const hp_vdi, call: impl FnOnce(&Set) -> Result<(), Error>) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    done(set.and_then(|set| leased_for_set(set, 0, || call(set).map_err(Failure::Set))))
}

/// RequestBuffers: declares `count` buffers of `size` bytes at `alignment` bytes (0:
/// the set's). Summed while the set is configured; mapped at once after that.
///
/// # Safety
///
/// `set` points to a set, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_request_buffers(
    set: *const hp_vdi,
    size: u32,
    alignment: u32,
    count: u32,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe { allocating(set, |set| set.request_buffers(size, alignment, count)) }
}

/// EndConfiguration: maps what was declared. If it fails the set can be configured anew,
/// and nothing is declared; HP_VD_E_MEMORY says that asking for less may help.
///
/// # Safety
///
/// `set` points to a set, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_end_configuration(set: *const hp_vdi) -> u32 {
    // SAFETY: the caller says so.
    unsafe { allocating(set, Set::end_configuration) }
}

/// OpenDevice: opens the next device; HP_VD_E_OPEN if all have been opened.
///
/// # Safety
///
/// `set` points to a set, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_open_device(set: *const hp_vdi) -> u32 {
    // SAFETY: the caller says so.
    unsafe { allocating(set, Set::open_device) }
}

/// CloseDevice: one device fewer is open; the last one ends the set. HP_VD_E_CLOSE once all
/// are closed; HP_VD_E_ABORT, and nothing is done, after an abort.
///
/// # Safety
///
/// `set` points to a set, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_close_device(set: *const hp_vdi) -> u32 {
    // SAFETY: the caller says so.
    unsafe { call(set, Set::close_device) }
}

/// SignalAbort: ends every wait with HP_VD_E_ABORT. Calls that need the buffers are refused
/// from now on, but hp_vdi_free_buffer and hp_vdi_close.
///
/// # Safety
///
/// `set` points to a set, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_signal_abort(set: *const hp_vdi) -> u32 {
    // SAFETY: the caller says so.
    unsafe { call(set, Set::signal_abort) }
}

/// Close: ends the set, whatever it returns. What is outstanding counts as freed; the
/// memory goes with hp_vdi_release. HP_VD_E_PROTOCOL if devices were open, with which it
/// also does the work of hp_vdi_signal_abort, and for a set that is closed already.
///
/// # Safety
///
/// `set` points to a set, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_close(set: *const hp_vdi) -> u32 {
    // SAFETY: the caller says so.
    unsafe { call(set, Set::close) }
}

/// QueryAvailableBuffers: how many buffers of `size` bytes at `alignment` bytes (0: the
/// set's) one caller could allocate now.
///
/// # Safety
///
/// `set` points to a set, `count` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_query_available_buffers(
    set: *const hp_vdi,
    size: u32,
    alignment: u32,
    count: *mut u32,
) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    let available = set.and_then(|set| {
        let available = set.query_available_buffers(size, alignment);
        available.map_err(Failure::Set)
    });
    done(available.and_then(|available| {
        let available = u32::try_from(available).unwrap_or(u32::MAX);
        // SAFETY: the caller says so.
        unsafe { put(count, available, "count") }
    }))
}

/// AllocateBuffer: hands out a buffer of `size` bytes at `alignment` bytes (0: the set's).
/// It is the caller's until hp_vdi_free_buffer. `*buffer` is null if it fails:
/// HP_VD_E_INVALID if no declared buffer could ever do, HP_VD_E_MEMORY if none is free.
///
/// # Safety
///
/// `set` points to a set, `buffer` to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_allocate_buffer(
    set: *const hp_vdi,
    buffer: *mut *mut c_void,
    size: u32,
    alignment: u32,
) -> u32 {
    if is_good(set.cast::<Set>()) && is_good(buffer) {
        // SAFETY: the caller says so.
        let set = unsafe { &*set.cast::<Set>() };
        if let Some(start) = set.allocate_buffer_cached(size, alignment) {
            // SAFETY: as above.
            unsafe { buffer.write(start.as_ptr().cast()) };
            return HP_NOERROR;
        }
    }
    // SAFETY: the caller says so.
    unsafe { allocate_slow(set, buffer, size, alignment) }
}

/// The whole of hp_vdi_allocate_buffer, for when the cache does not have what is asked for.
///
/// # Safety
///
/// As hp_vdi_allocate_buffer.
#[cold]
#[inline(never)]
unsafe extern "C" fn allocate_slow(
    set: *const hp_vdi,
    buffer: *mut *mut c_void,
    size: u32,
    alignment: u32,
) -> u32 {
    // SAFETY: the caller says so.
    let (set, clear) = unsafe { (set_of(set), put(buffer, null_mut(), "buffer")) };
    let start = set.and_then(|set| {
        clear?;
        let take = || set.allocate_buffer(size, alignment);
        let start = called(tracks(set), c"hp_vdi_allocate_buffer", take);
        start.map_err(Failure::Set)
    });
    // SAFETY: the caller says so.
    done(start.and_then(|start| unsafe { put(buffer, start.as_ptr().cast(), "buffer") }))
}

/// As hp_vdi_allocate_buffer, and waits up to `milliseconds` (0xffffffff: without end) for a
/// buffer if none is free: HP_VD_E_TIMEOUT if none comes in time, HP_VD_E_ABORT after
/// hp_vdi_signal_abort, HP_VD_E_BUSY if 65536 requests wait already.
///
/// # Safety
///
/// As hp_vdi_allocate_buffer.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_allocate_buffer_timeout(
    set: *const hp_vdi,
    buffer: *mut *mut c_void,
    size: u32,
    alignment: u32,
    milliseconds: u32,
) -> u32 {
    // SAFETY: the caller says so.
    let (set, clear) = unsafe { (set_of(set), put(buffer, null_mut(), "buffer")) };
    let start = set.and_then(|set| {
        clear?;
        let take = || set.allocate_buffer_timeout(size, alignment, limit(milliseconds));
        let start = called(tracks(set), c"hp_vdi_allocate_buffer_timeout", take);
        start.map_err(Failure::Set)
    });
    // SAFETY: the caller says so.
    done(start.and_then(|start| unsafe { put(buffer, start.as_ptr().cast(), "buffer") }))
}

/// FreeBuffer: takes back a buffer that was allocated for `size` bytes. What hp_pool_free tells
/// apart is HP_VD_E_INVALID here, the published code; hp_last_code tells it apart.
///
/// # Safety
///
/// `set` points to a set, or is null. A buffer that is taken back is not used any more,
/// and no two threads give back the same one at a time.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_free_buffer(
    set: *const hp_vdi,
    buffer: *mut c_void,
    size: u32,
) -> u32 {
    if is_good(set.cast::<Set>()) {
        // SAFETY: the caller says so.
        let set = unsafe { &*set.cast::<Set>() };
        // SAFETY: as above.
        if unsafe { set.free_buffer_cached(buffer.cast(), size) } {
            return HP_NOERROR;
        }
    }
    // SAFETY: the caller says so.
    unsafe { free_slow(set, buffer, size) }
}

/// The whole of hp_vdi_free_buffer, for when it is refused.
///
/// # Safety
///
/// As hp_vdi_free_buffer.
#[cold]
#[inline(never)]
unsafe extern "C" fn free_slow(set: *const hp_vdi, buffer: *mut c_void, size: u32) -> u32 {
    // SAFETY: the caller says so.
    done(unsafe { set_of(set) }.and_then(|set| {
        // SAFETY: as above.
        unsafe { set.free_buffer(buffer.cast(), size) }.map_err(Failure::Set)
    }))
}

/// IsSharedBuffer: 1 if `address` is in a buffer that hp_vdi_allocate_buffer has made
/// available, from its start to the size that was asked for, otherwise 0: for one that is
/// free, too, and for the prefix zone. (Both are "success" codes.)
///
/// # Safety
///
/// `set` points to a set, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_is_shared_buffer(
    set: *const hp_vdi,
    address: *const c_void,
) -> u32 {
    // SAFETY: the caller says so.
    let set = unsafe { set_of(set) };
    set.map_or(0, |set| u32::from(set.is_shared_buffer(address.cast())))
}

/// Writes to `*stats` what the set's buffers are and hold, as hp_pool_stats: HP_VD_E_PROTOCOL
/// before they are mapped and after Close. The caller sets `stats->size` before. Reads files
/// of the kernel and allocates, so it is not for the data path: hp_vdi_counters is.
///
/// # Safety
///
/// `set` points to a set, `stats` to `stats->size` bytes, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_stats(set: *const hp_vdi, stats: *mut hp_stats) -> u32 {
    // SAFETY: the caller says so.
    let (pool, place) = unsafe { (pool_of(set), Place::at(stats, "stats")) };
    done(pool.and_then(|pool| {
        let place = place?;
        place.put(leased_for(pool, 0, || Ok(hp_stats::of(pool)))?);
        Ok(())
    }))
}
