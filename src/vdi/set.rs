//! A set, as its server calls it.
//!
//! Owns: the calls. Uses: `stage`, `plan`, `config`, `error`, the pool. Used by: callers.

use super::config::{Config, Parameters};
use super::error::Error;
use super::plan::{Phase, Plan};
use super::stage::Stage;
use super::state::{Call, State};
use crate::buffer::Volatile;
use crate::error::AllocError;
use crate::pool::{Builder, Pool, geometry};
use crate::share::{Access, Standing};
use crate::snapshot::Snapshot;
use crate::sys::fork::{self, Mark};
use std::fmt;
use std::ptr::NonNull;
use std::time::Duration;

/// The buffers, and what comes with them.
struct Area {
    pool: Pool<Volatile>,
    /// The alignment of requests that name none, in bytes.
    alignment: u32,
}

/// A virtual device set: the buffer half of `IServerVirtualDeviceSet2`, as the server
/// calls it. May be shared by threads; each call is lock-free, and only those that map
/// memory enter the kernel.
///
/// Which call may be made when is in the table of [`Call`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use hugepool::vdi::{Config, Parameters, Set};
///
/// let set = Set::new();
/// set.open(&Config { device_count: 1, prefix_zone_size: 512, ..Config::default() })?;
/// set.begin_configuration(&Parameters {
///     features: 0,
///     block_size: 4096,
///     alignment: 0,
///     max_transfer_size: 1 << 20,
///     time_out: 0,
/// })?;
/// set.request_buffers(1 << 20, 0, 8)?;
/// set.end_configuration()?; // all memory is mapped here
/// let buffer = set.allocate_buffer(1 << 20, 0)?;
/// assert!(set.is_shared_buffer(buffer.as_ptr()));
/// // SAFETY: allocated just now with this size, and freed once.
/// unsafe { set.free_buffer(buffer.as_ptr(), 1 << 20)? };
/// set.close()?;
/// # Ok(()) }
/// ```
#[must_use = "a set that is dropped unmaps its buffers"]
pub struct Set {
    stage: Stage<Area>,
    plan: Snapshot<Plan>,
    pub(super) builder: Builder,
    /// The process that made it.
    origin: Mark,
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("state", &self.state()).finish()
    }
}

impl Set {
    /// A set that is not open. Clients that it lets have its buffers may read and write
    /// them.
    pub fn new() -> Self {
        Self::with_builder(Pool::builder().shared(Access::Write))
    }

    /// As `new`; the buffers are mapped as `builder` says: whether and how clients can map
    /// them, on which pages, and so on. Buffers that it declares are there besides those that are
    /// requested. The prefix zone and the alignment are the set's.
    pub fn with_builder(builder: Builder) -> Self {
        // If it is refused, children of a fork are not told apart.
        let _ = fork::watch();
        Self {
            origin: Mark::here(),
            stage: Stage::default(),
            plan: Snapshot::new(Plan::default()),
            builder,
        }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> State {
        self.stage.state()
    }

    /// Whether this is a child of the process that made the set.
    #[inline(always)]
    pub(super) fn is_inherited(&self) -> bool {
        self.origin.is_forked()
    }

    /// How often buffers were declared, by the builder or since.
    #[doc(hidden)]
    #[must_use]
    pub fn declared(&self) -> usize {
        self.builder.declared() + self.plan.read(|plan| plan.requests.len())
    }

    /// As `is_inherited`.
    #[doc(hidden)]
    #[must_use]
    pub fn is_left_behind(&self) -> bool {
        self.is_inherited()
    }

    fn check(&self, call: Call) -> Result<(), Error> {
        if self.is_inherited() {
            return Err(Error::Forked { call });
        }
        let refused = |refusal| Error::refused(call, refusal);
        self.stage.check(call).map_err(refused)
    }

    fn take(&self, call: Call) -> Result<(), Error> {
        if self.is_inherited() {
            return Err(Error::Forked { call });
        }
        let refused = |refusal| Error::refused(call, refusal);
        self.stage.take(call).map_err(refused)
    }

    /// The buffers, for a call that needs them and may be made.
    #[inline(always)]
    fn open_area(&self, call: Call) -> Option<&Area> {
        let area = self.stage.value_for(call)?;
        (!self.is_inherited()).then_some(area)
    }

    /// As `open_area`, and says why not.
    fn area(&self, call: Call) -> Result<&Area, Error> {
        self.open_area(call).ok_or_else(|| self.why_not(call))
    }

    /// Why a `call` that needs what is not there is refused: the state does not allow it;
    /// or did not a moment ago; or another thread is at it.
    #[cold]
    #[inline(never)]
    fn why_not(&self, call: Call) -> Error {
        let state = self.state();
        match self.check(call) {
            Err(error) => error,
            Ok(()) => Error::Protocol { call, state },
        }
    }

    /// Changes the plan by `next`.
    fn change<E>(&self, mut next: impl FnMut(&Plan) -> Result<Plan, E>) -> Result<(), E> {
        self.plan.replace(|plan| Ok((next(plan)?, ())))
    }

    /// The configuration, for a call that needs the plan to be at `phase` or beyond.
    fn config(&self, call: Call, phases: &[Phase]) -> Result<Config, Error> {
        let (phase, config) = self.plan.read(|plan| (plan.phase, plan.config));
        match phases.contains(&phase) {
            true => Ok(config),
            false => Err(self.why_not(call)),
        }
    }

    /// Goes where `call` leads, and then moves the plan on. Of several calls at once one
    /// goes there.
    fn settle(&self, call: Call, phase: Phase, config: Config) -> Result<(), Error> {
        self.take(call)?;
        self.change(|plan| {
            Ok(Plan {
                phase,
                config,
                requests: plan.requests.clone(),
            })
        })
    }

    /// Open: takes note of what the client wishes (the first seven fields of `client`).
    ///
    /// # Errors
    ///
    /// What is not there (`VD_E_NOTSUPPORTED`): [`Error::DeviceCount`],
    /// [`Error::WishedFeatures`], [`Error::WishedAlignment`], [`Error::PrefixZone`];
    /// [`Error::Protocol`].
    pub fn open(&self, client: &Config) -> Result<(), Error> {
        self.check(Call::Open)?;
        self.settle(Call::Open, Phase::Opened, client.wishes()?)
    }

    /// GetConfiguration: what is known of the set by now.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`], [`Error::Aborted`].
    pub fn configuration(&self) -> Result<Config, Error> {
        let call = Call::GetConfiguration;
        self.check(call)?;
        let mut config = self.config(call, &[Phase::Opened, Phase::Begun, Phase::Sealed])?;
        if let Some(area) = self.stage.value() {
            config.buffer_area_size = area.bytes();
        }
        Ok(config)
    }

    /// BeginConfiguration: fixes what `server` says.
    ///
    /// # Errors
    ///
    /// [`Error::BlockSize`], [`Error::Alignment`], [`Error::TransferSize`],
    /// [`Error::Features`]; [`Error::Protocol`], [`Error::Aborted`].
    pub fn begin_configuration(&self, server: &Parameters) -> Result<(), Error> {
        let call = Call::BeginConfiguration;
        self.check(call)?;
        let config = self.config(call, &[Phase::Opened])?.with(server)?;
        self.settle(call, Phase::Begun, config)
    }

    /// RequestBuffers: declares `count` buffers of `size` bytes at `alignment` bytes (0:
    /// the set's; a weaker one is raised to that). While the set is configured the calls
    /// are summed; after that each maps more, at once. The size is that of the data; the
    /// prefix zone comes on top.
    ///
    /// # Errors
    ///
    /// [`Error::Build`]: a value that is out of range (`VD_E_INVALID`), or memory that
    /// could not be mapped (`VD_E_MEMORY` if asking for less may help, `VD_E_SECURITY` if
    /// the process may not, otherwise `VD_E_UNEXPECTED`); [`Error::TooLarge`];
    /// [`Error::Protocol`], also while another thread is in EndConfiguration;
    /// [`Error::Aborted`].
    pub fn request_buffers(&self, size: u32, alignment: u32, count: u32) -> Result<(), Error> {
        let call = Call::RequestBuffers;
        self.check(call)?;
        let config = self.config(call, &[Phase::Begun, Phase::Sealed])?;
        let prefix = config.prefix_zone_size;
        if size.checked_add(prefix).is_none() {
            return Err(Error::TooLarge { size, prefix });
        }
        let alignment = match alignment {
            0 => config.alignment,
            // A wrong one is refused below.
            given if given.is_power_of_two() => given.max(config.alignment),
            given => given,
        };
        let (size, alignment, count) = (size as usize, alignment as usize, count as usize);
        geometry(size, alignment, prefix as usize, count).map_err(Error::Build)?;
        let grow = |area: &Area| {
            let grown = area.pool.request(size, alignment, count);
            grown.map_err(Error::Build)
        };
        if let Some(area) = self.stage.value() {
            return grow(area);
        }
        let declared = self.change(|plan| match plan.phase {
            Phase::Begun => Ok(plan.with(size, alignment, count)),
            _ => Err(self.why_not(call)),
        });
        match self.stage.value() {
            // They were mapped meanwhile, without this.
            Some(area) if declared.is_err() => {
                self.check(call)?;
                grow(area)
            }
            _ => declared,
        }
    }

    /// QueryAvailableBuffers: how many buffers of `size` bytes at `alignment` bytes (0:
    /// the set's) one caller could allocate now, wherever they are; 0 while the set is
    /// configured.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`].
    pub fn query_available_buffers(&self, size: u32, alignment: u32) -> Result<usize, Error> {
        self.check(Call::QueryAvailableBuffers)?;
        Ok(self.stage.value().map_or(0, |area| {
            let alignment = area.alignment(alignment);
            area.pool.available(size as usize, alignment)
        }))
    }

    /// EndConfiguration: maps what was declared. Enters the kernel; takes as long as
    /// zeroing all memory.
    ///
    /// # Errors
    ///
    /// [`Error::Build`], with the codes of [`request_buffers`](Self::request_buffers); the
    /// set can then be configured anew, and nothing is declared. [`Error::Aborted`] if the
    /// set was aborted, or is meanwhile. [`Error::Protocol`].
    pub fn end_configuration(&self) -> Result<(), Error> {
        let call = Call::EndConfiguration;
        self.check(call)?;
        let refused = |refusal| Error::refused(call, refusal);
        self.stage.begin_making().map_err(refused)?;
        let built = self.build(call).map_err(|error| {
            // The stage comes last: who sees it sees the plan.
            self.unseal();
            self.stage.give_up_making();
            match self.state() {
                // Nobody is to ask for less any more.
                State::Aborted => Error::Aborted { call },
                _ => error,
            }
        })?;
        self.stage.end_making(built).map_err(refused)
    }

    /// Seals the plan, and maps what it declares.
    fn build(&self, call: Call) -> Result<Area, Error> {
        self.change(|plan| match plan.phase {
            Phase::Begun => Ok(Plan {
                phase: Phase::Sealed,
                ..plan.clone()
            }),
            _ => Err(self.why_not(call)),
        })?;
        let plan = self.plan.read(Plan::clone);
        let builder = (self.builder.clone())
            .prefix_zone(plan.config.prefix_zone_size as usize)
            .raw_pointers(true);
        let builder = (plan.requests.iter()).fold(builder, |builder, &(size, alignment, count)| {
            builder.reserve(size, alignment, count)
        });
        Ok(Area {
            pool: builder.build_volatile().map_err(Error::Build)?,
            alignment: plan.config.alignment,
        })
    }

    /// Nothing is declared, and everything can be.
    fn unseal(&self) {
        let unsealed = self.change(|plan| match plan.phase {
            Phase::Sealed => Ok(Plan {
                phase: Phase::Begun,
                config: plan.config,
                requests: Vec::new(),
            }),
            _ => Err(()),
        });
        // It was not sealed if it was too early.
        let _ = unsealed;
    }

    /// OpenDevice: opens the next of the set's devices, each once in the set's life. (What
    /// is done with it is the caller's.)
    ///
    /// # Errors
    ///
    /// [`Error::Devices`] (`VD_E_OPEN`) if all have been; [`Error::Protocol`],
    /// [`Error::Aborted`].
    pub fn open_device(&self) -> Result<(), Error> {
        let call = Call::OpenDevice;
        self.check(call)?;
        let devices = self.plan.read(|plan| plan.config.device_count);
        let limit = u8::try_from(devices).unwrap_or(u8::MAX);
        let refused = |refusal| Error::refused(call, refusal);
        self.stage.open_device(limit).map_err(refused)
    }

    /// CloseDevice: one device fewer is open. The last one that is open ends the set.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceClosed`] (`VD_E_CLOSE`) once all are closed; [`Error::Aborted`],
    /// which does nothing: an aborted set needs no device closed. [`Error::Protocol`]
    /// before any was opened.
    pub fn close_device(&self) -> Result<(), Error> {
        self.check(Call::CloseDevice)?;
        let refused = |refusal| Error::refused(Call::CloseDevice, refusal);
        self.stage.close_device().map_err(refused)
    }

    /// AllocateBuffer: hands out a buffer of `size` bytes at `alignment` bytes (0: the
    /// set's). Lock-free; as [`Pool::allocate_raw`], and a plain load of the state, and of
    /// the count of forks. The memory is the caller's until [`free_buffer`](Self::free_buffer),
    /// or until the set is dropped. Clients may write it: see [`Buffer`](crate::Buffer).
    ///
    /// # Errors
    ///
    /// [`Error::Alloc`]: `VD_E_INVALID` if the size is 0, the alignment no power of two,
    /// or no declared buffer could ever do; `VD_E_MEMORY` if none is free.
    /// [`Error::Protocol`], [`Error::Aborted`].
    #[inline(always)]
    #[track_caller]
    pub fn allocate_buffer(&self, size: u32, alignment: u32) -> Result<NonNull<u8>, Error> {
        if let Some(start) = self.allocate_buffer_cached(size, alignment) {
            return Ok(start);
        }
        self.allocate_buffer_slow(size, alignment)
    }

    /// As `allocate_buffer` from this processor's cache alone: `None` proves nothing. For
    /// callers in other languages, who make one call of what is left then.
    #[doc(hidden)]
    #[inline(always)]
    pub fn allocate_buffer_cached(&self, size: u32, alignment: u32) -> Option<NonNull<u8>> {
        let area = self.open_area(Call::AllocateBuffer)?;
        let alignment = area.alignment(alignment);
        area.pool.allocate_raw_cached(size as usize, alignment)
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn allocate_buffer_slow(&self, size: u32, alignment: u32) -> Result<NonNull<u8>, Error> {
        let area = self.area(Call::AllocateBuffer)?;
        area.pool
            .allocate_raw(size as usize, area.alignment(alignment))
            .map_err(alloc_error)
    }

    /// As [`allocate_buffer`](Self::allocate_buffer), and waits up to `limit` for a
    /// buffer to come back if none is free: [`Pool::allocate_timeout`].
    ///
    /// # Errors
    ///
    /// As [`allocate_buffer`](Self::allocate_buffer), with `VD_E_TIMEOUT` for
    /// `VD_E_MEMORY`; `VD_E_BUSY` if too many wait. [`Error::Aborted`] if the set is
    /// aborted or closed meanwhile.
    #[track_caller]
    pub fn allocate_buffer_timeout(
        &self,
        size: u32,
        alignment: u32,
        limit: Duration,
    ) -> Result<NonNull<u8>, Error> {
        let area = self.area(Call::AllocateBuffer)?;
        let buffer = area
            .pool
            .allocate_timeout(size as usize, area.alignment(alignment), limit)
            .map_err(alloc_error)?;
        // It is of this pool.
        (area.pool.into_raw(buffer)).map_err(|_| self.why_not(Call::AllocateBuffer))
    }

    /// FreeBuffer: takes a buffer back that was allocated for `size` bytes. Lock-free.
    ///
    /// # Errors
    ///
    /// [`Error::Free`], as [`Pool::free_raw`]; [`Error::Protocol`]. Nothing has changed
    /// then.
    ///
    /// # Safety
    ///
    /// As [`Pool::free_raw`]: the buffer must be the caller's own, and must not be used
    /// after it was taken back. Two threads must not free one buffer at the same time.
    #[inline(always)]
    pub unsafe fn free_buffer(&self, start: *mut u8, size: u32) -> Result<(), Error> {
        // SAFETY: the caller says so.
        if unsafe { self.free_buffer_cached(start, size) } {
            return Ok(());
        }
        // SAFETY: as above; nothing has changed.
        unsafe { self.free_buffer_again(start, size) }
    }

    /// As `free_buffer`. False: it is refused, or left to `free_buffer`, and nothing has changed.
    ///
    /// # Safety
    ///
    /// As for `free_buffer`.
    #[doc(hidden)]
    #[inline(always)]
    pub unsafe fn free_buffer_cached(&self, start: *mut u8, size: u32) -> bool {
        match self.open_area(Call::FreeBuffer) {
            // SAFETY: the caller says so.
            Some(area) => unsafe { area.pool.free_raw_cached(start, size as usize) },
            None => false,
        }
    }

    /// # Safety
    ///
    /// As for `free_buffer`.
    #[cold]
    #[inline(never)]
    unsafe fn free_buffer_again(&self, start: *mut u8, size: u32) -> Result<(), Error> {
        let area = self.area(Call::FreeBuffer)?;
        // SAFETY: the caller says so.
        unsafe { area.pool.free_raw(start, size as usize) }.map_err(Error::Free)
    }

    /// IsSharedBuffer: whether `address` is in a buffer that
    /// [`allocate_buffer`](Self::allocate_buffer) has made available, from its start to
    /// the size that was asked for. No for one that is free, for the prefix zone, of which
    /// the server does not know, and before the buffers are mapped and after Close.
    /// Wait-free.
    ///
    /// Beside another thread that takes or frees that buffer, the answer was right at one
    /// moment within the call.
    #[must_use]
    pub fn is_shared_buffer(&self, address: *const u8) -> bool {
        self.pool().is_some_and(|pool| pool.is_out(address))
    }

    /// SignalAbort: ends every wait with [`Error::Aborted`], and every call to come but
    /// FreeBuffer and Close. Lock-free.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the set is not open.
    pub fn signal_abort(&self) -> Result<(), Error> {
        self.take(Call::SignalAbort)?;
        self.end_waits(Standing::Aborted);
        Ok(())
    }

    /// Close: ends the set, whatever it returns, and waits with [`Error::Aborted`]. What is
    /// outstanding is freed when the set is dropped (where clients have it mapped, when they
    /// unmap it), and a builder's [`on_leak`](Builder::on_leak) is told of it.
    ///
    /// # Errors
    ///
    /// [`Error::DevicesOpen`] (`VD_E_PROTOCOL`) if devices are open: then it does the work
    /// of [`signal_abort`](Self::signal_abort), too, and the set has ended all the same.
    /// [`Error::Protocol`] if the set is not open, or was closed already.
    pub fn close(&self) -> Result<(), Error> {
        let closed = self.take(Call::Close);
        if self.state() == State::Absent && !self.is_inherited() {
            // Again, if it was closed before: whoever did may have been stopped.
            self.end_waits(match self.was_aborted() {
                // It did not end well, and that is what clients are to know.
                true => Standing::Aborted,
                false => Standing::Closed,
            });
        }
        closed
    }

    /// Whether the set was aborted, or closed with devices open.
    pub(super) fn was_aborted(&self) -> bool {
        self.stage.was_aborted()
    }

    /// Ends every wait, and says to clients how the set stands now.
    fn end_waits(&self, standing: Standing) {
        if let Some(area) = self.stage.value() {
            area.pool.abort();
            area.pool.say(standing);
        }
    }

    /// Whether Close was called.
    pub(super) fn is_closed(&self) -> bool {
        self.stage.is_closed()
    }

    /// The pool behind the set, whatever its state.
    pub(super) fn area_pool(&self) -> Option<&Pool<Volatile>> {
        self.stage.value().map(|area| &area.pool)
    }

    /// The pool behind the set, for statistics and registration; `None` until the
    /// buffers are mapped, and once the set is closed. Its buffers are [`Volatile`].
    #[must_use]
    pub fn pool(&self) -> Option<&Pool<Volatile>> {
        let open = !self.is_inherited() && self.state() != State::Absent;
        let area = self.stage.value().filter(|_| open);
        area.map(|area| &area.pool)
    }
}

impl Area {
    /// Bytes of all buffers' memory; `u32::MAX` if they are more than that.
    fn bytes(&self) -> u32 {
        let regions = self.pool.regions();
        let bytes: usize = regions.iter().map(|region| region.bytes()).sum();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// The alignment of a request that names `given`, in bytes.
    #[inline(always)]
    fn alignment(&self, given: u32) -> usize {
        let alignment = if given == 0 { self.alignment } else { given };
        alignment as usize
    }
}

#[cold]
fn alloc_error(error: AllocError) -> Error {
    match error {
        AllocError::Aborted => Error::Aborted {
            call: Call::AllocateBuffer,
        },
        other => Error::Alloc(other),
    }
}
