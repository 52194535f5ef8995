//! The rivals of one group, made from their names.
//!
//! Owns the memory that several rivals of a group share. Uses every module of `rival`; `bench` asks it for
//! contestants and drops it with the group.

use std::sync::Arc;

use hugepool::Pool;

use super::engine::{self, Bound, Pipeline};
use super::exhausted::{self, Tasks, Threads};
use super::pattern::Pattern;
use super::plan::Group;
use super::row::Row;
use super::standing::Standing;
use super::window::{Contestant, Entry};
use crate::rival::general::{General, Glibc};
use crate::rival::loaded::Loaded;
use crate::rival::mapped::Mmap;
use crate::rival::rpmalloc::Rpmalloc;
use crate::rival::zero::Zero;
use crate::rival::{
    Absence, Mapping, Name, Rival, Shape, Waits, array, hugepool as pool, preset, shared, store,
    waiting,
};

/// The memory behind the pool rivals of one group. Each kind is made when the first rival needs it, is shared by
/// the rivals that can share it (they never run at the same time), and lives as long as the group.
pub struct Arenas {
    shape: Shape,
    threads: usize,
    pool: Option<Pool>,
    mapping: Option<Arc<Mapping>>,
    /// What the pools of the rivals of this pool's own stand on.
    standing: Vec<(Name, Standing)>,
}

impl Arenas {
    /// No memory yet.
    pub fn new(group: &Group) -> Arenas {
        Arenas {
            shape: group.shape,
            threads: group.threads,
            pool: None,
            mapping: None,
            standing: Vec::new(),
        }
    }

    /// Has each row say what its rival's pool stood on, if it is one of this pool's.
    pub fn stand(&self, mut rows: Vec<Row>) -> Vec<Row> {
        for row in &mut rows {
            let own = self.standing.iter().find(|(name, _)| *name == row.rival);
            row.standing
                .extend(own.map(|(_, standing)| standing.clone()));
        }
        rows
    }

    /// Makes the rival called `name`. The error says why this rival cannot take part in this group.
    pub fn enter(&mut self, name: Name) -> Result<Box<dyn Contestant>, Absence> {
        let shape = self.shape;
        Ok(match name {
            Name::Hugepool => entry(pool::BySize::new(self.need_pool(name)?, shape)),
            Name::HugepoolClass => entry(pool::ByClass::new(&self.need_pool(name)?, shape)?),
            Name::HugepoolRaw => entry(pool::Raw::new(self.need_pool(name)?, shape)),
            Name::NoAllocator => entry(preset::NoAllocator::new(self.need_pool(name)?, shape)),
            Name::Glibc => entry(General::new(Glibc, shape)?),
            Name::Mmap => entry(Mmap::new(shape)?),
            Name::Jemalloc => entry(General::new(tikv_jemallocator::Jemalloc, shape)?),
            Name::Mimalloc => entry(General::new(mimalloc::MiMalloc, shape)?),
            Name::Rpmalloc => entry(General::with_threads(Rpmalloc, Rpmalloc::enter, shape)?),
            #[cfg(feature = "snmalloc")]
            Name::Snmalloc => entry(General::new(snmalloc_rs::SnMalloc, shape)?),
            Name::ArrayQueue => entry(shared::Queue::new(self.need_mapping()?)),
            Name::MutexVec => entry(shared::Locked::new(self.need_mapping()?)),
            Name::StoreIoBuf => entry(store::Store::new(shape)?),
            Name::ZeroPool => entry(Zero::new(shape)?),
            Name::Limit => entry(preset::Limit::new(self.need_mapping()?)),
            Name::HandOff => entry(preset::HandOff::new(self.need_mapping()?)),
            Name::Channel => entry(waiting::channel(self.need_mapping()?)),
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
        let shape = self.shape;
        Ok(match name {
            Name::Hugepool => Box::new(Threads::new(pool::ByClass::new(
                &self.need_pool(name)?,
                shape,
            )?)),
            Name::MutexCondvar => Box::new(Threads::new(waiting::condvar(self.need_mapping()?))),
            Name::Channel => Box::new(Threads::new(waiting::channel(self.need_mapping()?))),
            Name::NoPool => Box::new(Threads::new(preset::NoPool)),
            Name::HugepoolTasks => Box::new(Tasks::new(pool::ByClass::new(
                &self.need_pool(name)?,
                shape,
            )?)),
            Name::Semaphore => Box::new(Tasks::new(waiting::semaphore(self.need_mapping()?))),
            Name::NoPoolTasks => Box::new(Tasks::new(preset::NoPool)),
            _ => return Err(format!("it takes no part in {}", Pattern::Exhausted).into()),
        })
    }

    /// As [`enter`](Self::enter), for the pattern `engine`. Where a rival does not bound the blocks under way, the
    /// queue does.
    pub fn enter_engine(&mut self, name: Name) -> Result<Box<dyn engine::Contestant>, Absence> {
        let shape = self.shape;
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
                let pool = pool::build(ample)?;
                self.standing.push((name, Standing::of(&pool.stats())));
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
            Name::Channel => engine(waiting::channel(self.need_mapping()?), Bound::Buffers),
            Name::Array => engine(array::array(self.need_mapping()?), Bound::Queue),
            Name::Loaded(object) => engine(Loaded::new(object, shape, self.threads)?, Bound::Queue),
            _ => return Err(format!("it takes no part in {}", Pattern::Engine).into()),
        })
    }

    /// The group's pool, for the rival called `name`.
    fn need_pool(&mut self, name: Name) -> Result<Pool, String> {
        let pool = match &self.pool {
            Some(pool) => pool.clone(),
            None => self.pool.insert(pool::build(self.shape)?).clone(),
        };
        self.standing.push((name, Standing::of(&pool.stats())));
        Ok(pool)
    }

    fn need_mapping(&mut self) -> Result<Arc<Mapping>, String> {
        if let Some(mapping) = &self.mapping {
            return Ok(Arc::clone(mapping));
        }
        let mapping = Arc::new(Mapping::new(self.shape)?);
        Ok(Arc::clone(self.mapping.insert(mapping)))
    }
}

fn entry<R: Rival>(rival: R) -> Box<dyn Contestant> {
    Box::new(Entry::new(rival))
}

fn engine<R: Rival>(rival: R, bound: Bound) -> Box<dyn engine::Contestant>
where
    R::Hand: Waits,
{
    Box::new(Pipeline::new(rival, bound))
}
