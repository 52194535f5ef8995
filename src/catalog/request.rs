//! The way from a request to a buffer, or to the reason why there is none.
//!
//! Owns: which classes may serve a request, and what a caller is told. Uses: the catalog's
//! classes and lists. Used by: `pool`.

use super::{Catalog, Holder, Taken};
use crate::cache::CpuCaches;
use crate::class::{ClassId, Ladder, Line};
use crate::error::AllocError;
use crate::lists::{Exhausted, Several, Wait};
use crate::wait::Request;
use crate::word::Index;

impl<S: Holder, C: CpuCaches> Catalog<S, C> {
    /// Takes a buffer for `size` bytes at `alignment` from this processor's cache:
    /// one look-up and one pop. `None` leaves the request to `take_slow`. (For models; `pool`
    /// has the same in `Front`.)
    #[cfg(hugepool_loom)]
    pub fn take_cached(&self, size: usize, alignment: usize) -> Option<Taken<'_>> {
        let line = self.classes().find(size, alignment)?;
        let index = self.lists.take_cached(line)?;
        Some(Taken { line, index })
    }

    /// As `take_cached`, in a pool whose hot path is diverted. `None` proves nothing.
    #[cfg(not(hugepool_loom))]
    pub fn take_cached_again(&self, size: usize, alignment: usize) -> Option<Taken<'_>> {
        let line = self.classes().find(size, alignment)?;
        let index = self.lists.take_cached_again(line.id())?;
        Some(Taken { line, index })
    }

    /// Takes a buffer for `size` bytes at `alignment`. Lock-free. (For models:
    /// `pool` makes the same two calls, so that no `Result` of both passes
    /// through memory.)
    #[cfg(hugepool_loom)]
    pub fn take(&self, size: usize, alignment: usize) -> Result<Taken<'_>, AllocError> {
        match self.take_cached(size, alignment) {
            Some(taken) => Ok(taken),
            None => self.take_slow(size, alignment),
        }
    }

    /// The rest of the way: refill from the depot, steal, climb, refuse. Pins
    /// nothing and allocates nothing.
    #[cold]
    #[inline(never)]
    pub fn take_slow(&self, size: usize, alignment: usize) -> Result<Taken<'_>, AllocError> {
        let taken = self.take_or_refuse(size, alignment);
        taken.inspect_err(|error| self.lists.note_refusal(error))
    }

    /// As above, for a caller that counts its refusals itself.
    pub fn take_or_refuse(&self, size: usize, alignment: usize) -> Result<Taken<'_>, AllocError> {
        if let Some(line) = self.classes().find(size, alignment)
            && let Some(index) = self.lists.take_from_class(line.id())
        {
            return Ok(Taken { line, index });
        }
        let ladder = self.ladder(size, alignment)?;
        match self.lists.take(ladder.classes()) {
            Ok(taken) => Ok(self.taken(taken)),
            Err(exhausted) => Err(self.exhausted(size, alignment, &ladder, exhausted)),
        }
    }

    /// A buffer that the lists gave.
    pub fn taken(&self, (class, index): (ClassId, Index)) -> Taken<'_> {
        let line = self.classes().line(class);
        Taken { line, index }
    }

    /// Begins a wait for `count` buffers of `size` bytes at `alignment`, by a `task` or a
    /// thread. The caller holds a handle until it has ended the wait, and `look`s next.
    pub fn begin_wait(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
        task: bool,
    ) -> Result<Wait, AllocError> {
        let (_, reach) = self.reach(size, alignment)?;
        let request = Request {
            size,
            alignment,
            reach,
            count,
            ..Request::default()
        };
        let wait = self.lists.begin_wait(request, task);
        wait.ok_or_else(|| self.too_many_waiters())
    }

    fn too_many_waiters(&self) -> AllocError {
        let limit = self.lists.line().limit();
        AllocError::TooManyWaiters { limit }
    }

    /// As `begin_wait`, for the stream of quota `number`.
    pub fn begin_wait_of(
        &self,
        number: u32,
        wanted: (usize, usize, usize),
        task: bool,
    ) -> Result<Wait, AllocError> {
        let wait = self.lists.begin_wait_of(number, wanted, task);
        wait.ok_or_else(|| self.too_many_waiters())
    }

    /// Looks for a buffer for whoever waits, and sees to it that it is called for those
    /// that come: after the wait has begun, and whenever it is woken. Fails if no class
    /// ever will serve it, or there are fewer buffers than it is for.
    pub fn look(&self, wait: &mut Wait) -> Result<(), AllocError> {
        let request = wait.seat().request();
        if let Some(limits) = self.lists.limits_of(request.stream) {
            // The class may have been trimmed away.
            if self.lists.capacity(limits.class) == 0 {
                return Err(AllocError::NoShare {
                    size: request.size,
                    alignment: request.alignment,
                    largest: 0,
                });
            }
            let (count, capacity) = (request.count, self.lists.attainable_of(&limits));
            if count > capacity {
                return Err(AllocError::NeverEnough { count, capacity });
            }
            self.lists.look(wait, &Ladder::default());
            return Ok(());
        }
        loop {
            let request = wait.seat().request();
            let (ladder, reach) = self.reach(request.size, request.alignment)?;
            if reach <= request.reach {
                if request.is_for_several() {
                    self.check_capacity(&ladder, request.count)?;
                }
                self.lists.look(wait, &ladder);
                return Ok(());
            }
            // The classes within its reach were trimmed away.
            self.lists.reach(wait, reach);
        }
    }

    /// Whoever waits goes to sleep. For statistics.
    pub fn note_sleep(&self, wait: &Wait) {
        if let Some(class) = self.class_of(wait) {
            self.lists.line().service(class).note_sleep();
        }
    }

    /// The class that somebody waits for in the first place.
    fn class_of(&self, wait: &Wait) -> Option<ClassId> {
        let request = wait.seat().request();
        match self.lists.limits_of(request.stream) {
            Some(limits) => Some(limits.class),
            None => (self.classes())
                .find(request.size, request.alignment)
                .map(Line::id),
        }
    }

    /// Whoever waits had no buffer in time. For statistics.
    pub fn note_timed_out(&self, wait: &Wait) {
        if let Some(class) = self.class_of(wait) {
            self.lists.note_timed_out(class);
        }
    }

    /// The classes that may serve a request, and the largest that ever may while
    /// there are these.
    fn reach(&self, size: usize, alignment: usize) -> Result<(Ladder, usize), AllocError> {
        let ladder = self.ladder(size, alignment)?;
        let reach = ladder.reach(size, self.climb);
        Ok((ladder, reach))
    }

    /// Takes a buffer for `size` bytes at `alignment` from the lists of its class that all
    /// processors share, if it is shared just now: what is tried first by a caller that
    /// will wait. `None` proves nothing.
    pub fn take_shared(&self, size: usize, alignment: usize) -> Option<Taken<'_>> {
        let line = self.classes().find(size, alignment)?;
        let index = self.lists.take_shared(line.id())?;
        Some(Taken { line, index })
    }

    /// Gets ready for a wait: the classes that may serve it are shared from now on.
    pub fn prepare_to_wait(&self, size: usize, alignment: usize) -> Result<Ladder, AllocError> {
        let ladder = self.ladder(size, alignment)?;
        self.lists.prepare_to_wait(ladder.classes());
        Ok(ladder)
    }

    /// As `take_slow`, for a caller that will wait: `None` if none was found, which
    /// proves nothing.
    #[cold]
    pub fn try_take(&self, size: usize, alignment: usize) -> Result<Option<Taken<'_>>, AllocError> {
        let ladder = self.ladder(size, alignment)?;
        let taken = self.lists.try_take(ladder.classes());
        Ok(taken.map(|taken| self.taken(taken)))
    }

    /// Takes `count` buffers for `size` bytes at `alignment`, or none.
    /// Lock-free; allocates nothing.
    pub fn take_many(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
    ) -> Result<Several, AllocError> {
        let ladder = self.ladder_for(size, alignment, count)?;
        match self.lists.take_many(ladder.classes(), count) {
            Ok(taken) => Ok(taken.into()),
            Err(exhausted) => Err(self.exhausted(size, alignment, &ladder, exhausted)),
        }
    }

    /// As `take_many`, for a caller that will wait: `None` if it did not find so many, which
    /// proves nothing.
    pub fn try_take_many(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
    ) -> Result<Option<Several>, AllocError> {
        let ladder = self.ladder_for(size, alignment, count)?;
        let taken = self.lists.try_take_many(ladder.classes(), count);
        Ok(taken.map(Several::from))
    }

    /// The classes that may serve a request for `count` buffers, if they have as many.
    fn ladder_for(
        &self,
        size: usize,
        alignment: usize,
        count: usize,
    ) -> Result<Ladder, AllocError> {
        let ladder = self.ladder(size, alignment)?;
        self.check_capacity(&ladder, count)?;
        Ok(ladder)
    }

    /// Fails if the classes on `ladder` have fewer than `count` buffers.
    fn check_capacity(&self, ladder: &Ladder, count: usize) -> Result<(), AllocError> {
        let classes = ladder.classes().iter();
        let capacity = classes
            .map(|&class| self.lists.attainable(class) as usize)
            .sum();
        match count > capacity {
            true => Err(AllocError::NeverEnough { count, capacity }),
            false => Ok(()),
        }
    }

    /// The classes that may serve a request, or why none ever can.
    pub fn ladder(&self, size: usize, alignment: usize) -> Result<Ladder, AllocError> {
        if size == 0 {
            return Err(AllocError::ZeroSize);
        }
        if !alignment.is_power_of_two() {
            return Err(AllocError::BadAlignment { alignment });
        }
        let mut largest = 0;
        let ladder = self.classes().ladder(|rung| {
            // A class whose segments were all trimmed serves nothing.
            let serves = rung.alignment >= alignment && self.lists.capacity(rung.class) > 0;
            if serves {
                largest = largest.max(rung.size);
            }
            serves && rung.size >= size
        });
        if ladder.classes().is_empty() {
            return Err(AllocError::NoClass {
                size,
                alignment,
                largest,
            });
        }
        let reach = ladder.reach(size, self.climb);
        Ok(ladder.up_to(reach))
    }

    /// Free buffers that a request could take: see `FreeLists::free`.
    pub fn available(&self, size: usize, alignment: usize) -> usize {
        self.ladder(size, alignment).map_or(0, |ladder| {
            ladder
                .classes()
                .iter()
                .map(|&class| self.lists.free(class) as usize)
                .sum()
        })
    }

    /// What a caller is told whom the lists refused a buffer of `class` alone.
    pub fn exhausted_of(
        &self,
        class: ClassId,
        (size, alignment): (usize, usize),
        exhausted: Exhausted,
    ) -> AllocError {
        let ladder = self.classes().ladder(|rung| rung.class == class);
        let mut error = self.exhausted(size, alignment, &ladder, exhausted);
        if let AllocError::Exhausted { climb_limit, .. } = &mut error {
            *climb_limit = self.classes().line(class).size();
        }
        error
    }

    /// What a caller is told whom the lists refused a buffer.
    fn exhausted(
        &self,
        size: usize,
        alignment: usize,
        ladder: &Ladder,
        exhausted: Exhausted,
    ) -> AllocError {
        let (mut class_size, mut class_alignment, mut in_use, mut capacity) = (0, 0, 0, 0);
        if let Some(rung) = ladder.iter().next() {
            class_size = rung.size;
            class_alignment = rung.alignment;
            capacity = self.lists.capacity(rung.class) as usize;
            in_use = capacity.saturating_sub(self.lists.free(rung.class) as usize);
        }
        AllocError::Exhausted {
            size,
            alignment,
            class_size,
            class_alignment,
            in_use,
            capacity,
            climb_limit: ladder.reach(size, self.climb),
            carried: exhausted.carried,
        }
    }
}
