//! The rivals of one group, made from their names.
//!
//! Owns the memory that several rivals of a group share. Uses every module of `rival`; `bench` asks it for
//! contestants and drops it with the group.

use std::sync::Arc;

use hugepool::Pool;

use super::engine::{self, Bound, Pipeline};
use super::exhausted::{self, Tasks, Threads};
use super::figure::Figure;
use super::mixed;
use super::pattern::Pattern;
use super::plan::Group;
use super::row::Row;
use super::standing::Standing;
use super::window::{Contestant, Entry};
use crate::failure::Failure;
use crate::rival::general::{General, Glibc};
use crate::rival::hugepool::Caches;
use crate::rival::loaded::Loaded;
use crate::rival::mapped::Mmap;
use crate::rival::pages::Kinds;
use crate::rival::rpmalloc::Rpmalloc;
use crate::rival::zero::Zero;
use crate::rival::{
    Absence, Mapping, Name, Rival, Shape, Waits, array, hugepool as pool, preset, shared, store,
    waiting,
};

/// The memory behind the pool rivals of one group. Each kind is made when the first rival needs it, is shared by
/// the rivals that can share it (they never run at the same time), and lives as long as the group.
pub struct Arenas {
    /// One, or those of `mixed`, a size each.
    shapes: Vec<Shape>,
    threads: usize,
    /// The kinds of pages that it may be on; `None`: what the machine grants.
    pages: Option<Kinds>,
    pool: Option<Pool>,
    /// The same with portable caches.
    portable: Option<Pool>,
    /// One for each shape.
    mappings: Option<Vec<Arc<Mapping>>>,
    /// What the rivals stand on that have memory from here.
    standing: Vec<(Name, Standing)>,
    /// The pools of the rivals of this pool's own.
    pools: Vec<(Name, Pool)>,
    /// Why some memory was not to be had on the kinds of pages that were asked for.
    refused: Option<String>,
}

impl Arenas {
    /// No memory yet.
    pub fn new(group: &Group, pages: Option<Kinds>) -> Arenas {
        Arenas {
            shapes: match group.pattern {
                Pattern::Mixed => mixed::shapes(group.shape),
                _ => vec![group.shape],
            },
            threads: group.threads,
            pages,
            pool: None,
            portable: None,
            mappings: None,
            standing: Vec::new(),
            pools: Vec::new(),
            refused: None,
        }
    }

    /// What each rival is asked for.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Fails if kinds of pages were asked for and some rival's memory is on none of them: the others would be compared on
    /// pages that it has not.
    pub fn granted(&self) -> Result<(), Failure> {
        match (&self.pages, &self.refused) {
            (Some(pages), Some(refused)) => {
                Err(Failure::run(format!("--pages {pages}: {refused}")))
            }
            _ => Ok(()),
        }
    }

    /// Has each row say what its rival stood on, if its memory is from here, and what a pool's bookkeeping has come to.
    pub fn stand(&self, mut rows: Vec<Row>) -> Vec<Row> {
        for row in &mut rows {
            let own = self.standing.iter().find(|(name, _)| *name == row.rival);
            row.standing
                .extend(own.map(|(_, standing)| standing.clone()));
            let pool = self.pools.iter().find(|(name, _)| *name == row.rival);
            if let Some((_, pool)) = pool {
                let bytes = pool.stats().metadata_bytes;
                row.add(Figure::BookkeepingBytes, bytes as f64);
            }
        }
        rows
    }

    /// Makes the rival called `name`. The error says why this rival cannot take part in this group.
    pub fn enter(&mut self, name: Name) -> Result<Box<dyn Contestant>, Absence> {
        let shape = self.shapes[0];
        Ok(match name {
            Name::Hugepool => entry(pool::BySize::new(self.need_pool(name)?, shape)),
            Name::HugepoolClass => entry(pool::ByClass::new(&self.need_pool(name)?, shape)?),
            Name::HugepoolRaw => entry(pool::Raw::new(self.need_pool(name)?, shape)),
            Name::HugepoolPortable => entry(pool::ByClass::new(&self.need_portable(name)?, shape)?),
            Name::NoAllocator => entry(preset::NoAllocator::new(self.need_pool(name)?, shape)),
            Name::Glibc => entry(General::new(Glibc, shape)?),
            Name::Mmap => entry(Mmap::new(shape)?),
            Name::Jemalloc => entry(General::new(tikv_jemallocator::Jemalloc, shape)?),
            Name::Mimalloc => entry(General::new(mimalloc::MiMalloc, shape)?),
            Name::Rpmalloc => entry(General::with_threads(Rpmalloc, Rpmalloc::enter, shape)?),
            #[cfg(feature = "snmalloc")]
            Name::Snmalloc => entry(General::new(snmalloc_rs::SnMalloc, shape)?),
            Name::ArrayQueue => entry(shared::Queue::new(self.need_mapping(name)?)),
            Name::MutexVec => entry(shared::Locked::new(self.need_mapping(name)?)),
            Name::StoreIoBuf => entry(store::Store::new(shape)?),
            Name::ZeroPool => entry(Zero::new(shape)?),
            Name::Limit => entry(preset::Limit::new(self.need_mapping(name)?)),
            Name::HandOff => entry(preset::HandOff::new(self.need_mapping(name)?)),
            Name::Channel => entry(waiting::channel(self.need_mapping(name)?)),
            Name::Loaded(object) => entry(Loaded::new(object, shape, self.threads)?),
            #[cfg(not(feature = "snmalloc"))]
            Name::Snmalloc => return Err("it is not in this build".to_owned().into()),
            Name::MutexCondvar
            | Name::NoPool
            | Name::HugepoolTasks
            | Name::Semaphore
            | Name::NoPoolTasks
            | Name::HugepoolAmple
            | Name::Array => {
                let (dry, engine) = (Pattern::Exhausted, Pattern::Engine);
                return Err(format!("it takes part in {dry} and {engine} only").into());
            }
        })
    }

    /// As [`enter`](Self::enter), for the pattern `exhausted`.
    pub fn enter_exhausted(
        &mut self,
        name: Name,
    ) -> Result<Box<dyn exhausted::Contestant>, Absence> {
        let shape = self.shapes[0];
        Ok(match name {
            Name::Hugepool => Box::new(Threads::new(pool::ByClass::new(
                &self.need_pool(name)?,
                shape,
            )?)),
            Name::HugepoolPortable => Box::new(Threads::new(pool::ByClass::new(
                &self.need_portable(name)?,
                shape,
            )?)),
            Name::MutexCondvar => {
                Box::new(Threads::new(waiting::condvar(self.need_mapping(name)?)))
            }
            Name::Channel => Box::new(Threads::new(waiting::channel(self.need_mapping(name)?))),
            Name::NoPool => Box::new(Threads::new(preset::NoPool)),
            Name::HugepoolTasks => Box::new(Tasks::new(pool::ByClass::new(
                &self.need_pool(name)?,
                shape,
            )?)),
            Name::Semaphore => Box::new(Tasks::new(waiting::semaphore(self.need_mapping(name)?))),
            Name::NoPoolTasks => Box::new(Tasks::new(preset::NoPool)),
            _ => return Err(format!("it takes no part in {}", Pattern::Exhausted).into()),
        })
    }

    /// As [`enter`](Self::enter), for the pattern `engine`. Where a rival does not bound the blocks under way, the
    /// queue does.
    pub fn enter_engine(&mut self, name: Name) -> Result<Box<dyn engine::Contestant>, Absence> {
        let shape = self.shapes[0];
        Ok(match name {
            Name::Hugepool => engine(
                pool::ByClass::new(&self.need_pool(name)?, shape)?,
                Bound::Buffers,
            ),
            Name::HugepoolAmple => {
                let ample = Shape {
                    buffers: engine::AMPLE * shape.buffers,
                    ..shape
                };
                let pool = pool::build(&[ample], Caches::Usual, self.pages.as_ref())?;
                self.stands_on(name, &pool);
                engine(pool::ByClass::new(&pool, ample)?, Bound::Queue)
            }
            Name::Glibc => engine(General::new(Glibc, shape)?, Bound::Queue),
            Name::Mmap => engine(Mmap::new(shape)?, Bound::Queue),
            Name::Jemalloc => engine(
                General::new(tikv_jemallocator::Jemalloc, shape)?,
                Bound::Queue,
            ),
            Name::Mimalloc => engine(General::new(mimalloc::MiMalloc, shape)?, Bound::Queue),
            Name::Rpmalloc => engine(
                General::with_threads(Rpmalloc, Rpmalloc::enter, shape)?,
                Bound::Queue,
            ),
            #[cfg(feature = "snmalloc")]
            Name::Snmalloc => engine(General::new(snmalloc_rs::SnMalloc, shape)?, Bound::Queue),
            Name::Channel => engine(waiting::channel(self.need_mapping(name)?), Bound::Buffers),
            Name::Array => engine(array::array(self.need_mapping(name)?), Bound::Queue),
            Name::Loaded(object) => engine(Loaded::new(object, shape, self.threads)?, Bound::Queue),
            _ => return Err(format!("it takes no part in {}", Pattern::Engine).into()),
        })
    }

    /// The group's pool, for the rival called `name`.
    pub fn need_pool(&mut self, name: Name) -> Result<Pool, String> {
        let pool = match &self.pool {
            Some(pool) => pool.clone(),
            None => (self.pool)
                .insert(pool::build(
                    &self.shapes,
                    Caches::Usual,
                    self.pages.as_ref(),
                )?)
                .clone(),
        };
        self.stands_on(name, &pool);
        Ok(pool)
    }

    /// The group's pool with portable caches, for the rival called `name`.
    pub fn need_portable(&mut self, name: Name) -> Result<Pool, String> {
        let pool = match &self.portable {
            Some(pool) => pool.clone(),
            None => (self.portable)
                .insert(pool::build(
                    &self.shapes,
                    Caches::Portable,
                    self.pages.as_ref(),
                )?)
                .clone(),
        };
        self.stands_on(name, &pool);
        Ok(pool)
    }

    fn stands_on(&mut self, name: Name, pool: &Pool) {
        self.standing.push((name, Standing::of(&pool.stats())));
        self.pools.push((name, pool.clone()));
    }

    /// The group's mapping, for the rival called `name`.
    fn need_mapping(&mut self, name: Name) -> Result<Arc<Mapping>, String> {
        Ok(self.need_mappings(name)?.swap_remove(0))
    }

    /// The mappings of all shapes, for the rival called `name`.
    pub fn need_mappings(&mut self, name: Name) -> Result<Vec<Arc<Mapping>>, String> {
        let mappings = match &self.mappings {
            Some(mappings) => mappings.clone(),
            None => {
                let pages = self.pages.as_ref();
                let each = |shape: &Shape| Mapping::new(*shape, pages).map(Arc::new);
                let mappings: Result<Vec<_>, String> = self.shapes.iter().map(each).collect();
                let mappings = mappings
                    .inspect_err(|error| self.refused = Some(format!("{name}: {error}")))?;
                self.mappings.insert(mappings).clone()
            }
        };
        let stats = mappings.iter().map(|mapping| mapping.stats());
        self.standing.push((name, Standing::of_memory(stats)));
        Ok(mappings)
    }
}

pub fn entry<R: Rival>(rival: R) -> Box<dyn Contestant> {
    Box::new(Entry::new(rival))
}

fn engine<R: Rival>(rival: R, bound: Bound) -> Box<dyn engine::Contestant>
where
    R::Hand: Waits,
{
    Box::new(Pipeline::new(rival, bound))
}
