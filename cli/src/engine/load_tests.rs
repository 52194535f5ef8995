//! The threads of `load`: how many there are, and what they do.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

use super::buffers::{Malloc, Space};
use super::format::Id;
use super::format::catalogue::{Catalogue, Totals};
use super::load::{Hand, Load, Target, threads};
use super::rings::Rings;
use super::scan;
use super::stop::Stop;
use super::store::{Shelf, Source};
use crate::progress::Volume;

/// Stripes that are all missing; and who looked for them.
#[derive(Default)]
struct Missing(Mutex<Vec<(u32, ThreadId)>>);

/// There is none.
enum Never {}

impl Shelf for Missing {
    type Source = Never;

    fn catalogue(&self) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn open(&self, stripe: u32) -> io::Result<Never> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push((stripe, thread::current().id()));
        Err(io::ErrorKind::NotFound.into())
    }
}

impl Source for Never {
    fn length(&self) -> u64 {
        match *self {}
    }

    fn read<S: Space>(&self, _: u64, _: &mut S, _: usize, _: usize, _: &Stop) -> io::Result<usize> {
        match *self {}
    }
}

struct Nowhere;

impl Target for Nowhere {
    type Hand<'t> = Nowhere;

    fn hand(&self) -> Nowhere {
        Nowhere
    }
}

impl Hand for Nowhere {
    fn piece(&mut self, _: u32, _: u64, _: &[u8], _: bool) -> Result<(), String> {
        Ok(())
    }

    fn whole(&mut self, _: u32) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn a_thousand_stripes_are_each_read_once_by_a_few_threads() {
    const STRIPES: usize = 1024;
    let catalogue = Catalogue {
        backup: Id::default(),
        created: 0,
        transfer: 4096,
        stripes: vec![Totals::default(); STRIPES],
        entries: Vec::new(),
    };
    let (shelf, stop, buffers) = (Missing::default(), Stop::default(), Malloc::new(4096, 1));
    let load = Load {
        around: scan::Surroundings {
            stop: &stop,
            buffers: &buffers,
            shelf: &shelf,
            catalogue: &catalogue,
        },
        volume: &Volume::new(0),
        workers: 1,
        buffers: 1,
        rings: &Rings::none(),
    };
    let done = load.run(&Nowhere).expect("there is memory");
    assert_eq!(done.damages.count, STRIPES as u64);
    let seen = shelf.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    let stripes: HashSet<u32> = seen.iter().map(|it| it.0).collect();
    assert_eq!((seen.len(), stripes.len()), (STRIPES, STRIPES));
    let by: HashSet<ThreadId> = seen.iter().map(|it| it.1).collect();
    assert!(by.len() <= threads(STRIPES) && threads(STRIPES) <= 16);
    // A few are as many as they are.
    assert_eq!((threads(1), threads(16)), (1, 16));
}
