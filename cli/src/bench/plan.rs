//! What to run: the groups that a request comes to.
//!
//! Owns the number of buffers each group gets within the memory limit, and the reasons why a
//! combination is skipped. Uses the request; `run` carries the plan out and the report prints it.

use std::collections::HashSet;
use std::fmt;

use hugepool::Machine;

use super::engine;
use super::exhausted::DryShape;
use super::mixed;
use super::pattern::{self, Pattern};
use super::pipeline;
use super::request::Request;
use super::sides::Sides;
use crate::failure::Failure;
use crate::rival::{Name, Shape, names};
use crate::units::{self, KIB, MIB};

/// Threads of the pattern `threads` when the user asks for none.
const THREADS: [usize; 4] = [1, 2, 32, 256];
/// Pipelines when the user asks for none.
const PIPELINES: [Sides; 2] = [Sides::even(1), Sides::even(4)];
/// Sizes of every pattern but `engine` when the user asks for none.
const SIZES: [usize; 2] = [64 * KIB, MIB];

/// One pattern with one size and one number of threads; its rivals run interleaved and are compared.
#[derive(Debug, Clone)]
pub struct Group {
    pub pattern: Pattern,
    pub threads: usize,
    pub shape: Shape,
    /// Buffers a worker of a ring holds at most.
    pub depth: usize,
    /// Blocks of the source, and of the destination, of `engine`; no other pattern has any.
    pub area: usize,
    pub rivals: Vec<Name>,
    /// The shape of `exhausted`; no other pattern has one.
    pub dry: Option<DryShape>,
    /// The sides of `pipeline`; no other pattern has them.
    pub sides: Option<Sides>,
    /// What differs from the usual.
    pub notes: Vec<String>,
}

impl Group {
    /// Whether its rows have the columns of most patterns, not some of their own.
    pub fn is_usual(&self) -> bool {
        !matches!(self.pattern, Pattern::Exhausted | Pattern::Engine)
    }

    /// The workers of `engine`: those that read, and those that write.
    pub fn readers_and_writers(&self) -> (usize, usize) {
        let readers = self.threads / 2;
        (readers, self.threads - readers)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Group {
            pattern,
            threads,
            shape,
            ..
        } = self;
        if let Some(dry) = self.dry {
            return write!(
                f,
                "{pattern} {dry}: {}, each of {} at {}",
                dry.explained(),
                units::bytes(shape.size),
                shape.alignment
            );
        }
        if *pattern == Pattern::Engine {
            let (readers, writers) = self.readers_and_writers();
            return write!(
                f,
                "{pattern}, readers: {readers}, writers: {writers}, {} at {}",
                units::bytes(shape.size),
                shape.alignment
            );
        }
        if let Some(Sides { takers, givers }) = self.sides {
            return write!(
                f,
                "{pattern}, threads that take: {takers}, that give: {givers}, {} at {}",
                units::bytes(shape.size),
                shape.alignment
            );
        }
        let plural = if *threads == 1 { "" } else { "s" };
        write!(
            f,
            "{pattern}, {threads} thread{plural}, {} at {}",
            units::bytes(shape.size),
            shape.alignment
        )
    }
}

/// The groups in order, and what was left out.
#[derive(Debug)]
pub struct Plan {
    /// Bytes that it was drawn within.
    pub memory: usize,
    pub groups: Vec<Group>,
    /// Whole combinations that are not run, with the reason.
    pub skipped: Vec<String>,
}

impl Plan {
    /// Threads that the largest group needs.
    pub fn workers(&self) -> usize {
        self.groups
            .iter()
            .map(|group| group.threads)
            .max()
            .unwrap_or(0)
    }

    /// Visits of one rival in one round, all together.
    pub fn visits(&self, rounds: u32) -> u64 {
        let entries: usize = self.groups.iter().map(|group| group.rivals.len()).sum();
        entries as u64 * u64::from(rounds)
    }
}

/// Draws the plan, within half of the memory that is available. It is an error if nothing is left to run.
pub fn draw(request: &Request) -> Result<Plan, Failure> {
    let available = Machine::probe()
        .memory_available
        .and_then(|bytes| usize::try_from(bytes / 2).ok())
        .unwrap_or(usize::MAX);
    draw_within(request, request.memory.min(available))
}

/// The same, within so many bytes: always the same plan for the same request.
pub fn draw_within(request: &Request, memory: usize) -> Result<Plan, Failure> {
    let mut plan = Plan {
        memory,
        groups: Vec::new(),
        skipped: Vec::new(),
    };
    for pattern in request.patterns.iter().copied() {
        if pattern == Pattern::Exhausted {
            for shape in request.shapes.iter().copied() {
                match dry_group(request, shape, memory) {
                    Ok(group) => plan.groups.push(group),
                    Err(reason) => plan.skipped.push(format!("{pattern}, {shape}: {reason}")),
                }
            }
            continue;
        }
        for size in sizes(request, pattern) {
            if pattern == Pattern::Pipeline {
                for sides in pipelines(request) {
                    let group = sides.and_then(|sides| {
                        group(request, pattern, size, sides.threads(), Some(sides), memory)
                    });
                    match group {
                        Ok(group) => plan.groups.push(group),
                        Err(reason) => plan
                            .skipped
                            .push(format!("{pattern}, {}: {reason}", units::bytes(size))),
                    }
                }
                continue;
            }
            for threads in threads(request, pattern) {
                let group = if pattern == Pattern::Engine {
                    rivals(request, pattern)
                        .and_then(|rivals| engine::group(request, rivals, (size, threads), memory))
                } else {
                    group(request, pattern, size, threads, None, memory)
                };
                match group {
                    Ok(group) => plan.groups.push(group),
                    Err(reason) => plan.skipped.push(format!(
                        "{pattern}, threads {threads}, {}: {reason}",
                        units::bytes(size)
                    )),
                }
            }
        }
    }
    if plan.groups.is_empty() {
        return Err(Failure::input(format!(
            "nothing to run: {}",
            plan.skipped.join("; ")
        )));
    }
    Ok(plan)
}

/// What the user asked for, or the pattern's own.
fn sizes(request: &Request, pattern: Pattern) -> Vec<usize> {
    let asked = if request.sizes.is_empty() {
        SIZES.to_vec()
    } else {
        request.sizes.clone()
    };
    match pattern {
        Pattern::Mixed => asked.into_iter().max().into_iter().collect(),
        _ if !request.sizes.is_empty() => asked,
        Pattern::Engine => engine::SIZES.to_vec(),
        _ => asked,
    }
}

/// Some patterns are about one thread; the others run with what the user asked for, or with their own default.
fn threads(request: &Request, pattern: Pattern) -> Vec<usize> {
    let asked = |default: &[usize]| {
        if request.threads.is_empty() {
            default.to_vec()
        } else {
            request.threads.clone()
        }
    };
    match pattern {
        Pattern::Same | Pattern::Ring | Pattern::Fill | Pattern::Exhausted | Pattern::Pipeline => {
            vec![1]
        }
        Pattern::Threads => asked(&THREADS),
        Pattern::Engine => asked(&[engine::THREADS]),
        Pattern::Burst | Pattern::Mixed => asked(&[1]),
    }
}

/// The pipelines that were asked for, or halves of the threads, or the pattern's own.
fn pipelines(request: &Request) -> Vec<Result<Sides, String>> {
    if !request.pipelines.is_empty() {
        return request.pipelines.iter().copied().map(Ok).collect();
    }
    if request.threads.is_empty() {
        return PIPELINES.map(Ok).to_vec();
    }
    let halves = request.threads.iter().map(|threads| {
        if threads.is_multiple_of(2) {
            Ok(Sides::even(threads / 2))
        } else {
            Err(format!(
                "{threads} threads: it needs an even number of them, or `--pipelines`"
            ))
        }
    });
    halves.collect()
}

/// A group of the patterns that are no shapes of their own. A pipeline has `sides`.
fn group(
    request: &Request,
    pattern: Pattern,
    size: usize,
    threads: usize,
    sides: Option<Sides>,
    memory: usize,
) -> Result<Group, String> {
    let rivals = rivals(request, pattern)?;
    let arenas: HashSet<_> = rivals.iter().filter_map(|rival| rival.arena()).collect();
    // Of one buffer, or of one of each size.
    let stride = match pattern {
        Pattern::Mixed => mixed::sizes(size)
            .into_iter()
            .map(|size| size.next_multiple_of(request.alignment))
            .sum(),
        _ => size.next_multiple_of(request.alignment),
    };
    if stride == 0 {
        let size = units::bytes(size);
        return Err(format!(
            "sizes from 4 KiB on are mixed, and the largest is {size}"
        ));
    }
    let most = memory / arenas.len().max(1) / stride;
    let mut notes = Vec::new();
    let (buffers, depth) = match pattern {
        Pattern::Threads => {
            let depth = ring_depth(pattern::RING, most / threads);
            (threads * depth, depth)
        }
        Pattern::Pipeline => {
            // As many for each producer: `hand-off` deals them out so.
            let out = sides.map_or(0, |sides| {
                sides.takers * sides.rings_of_one() * pipeline::PER_RING
            });
            (out.max(usual(stride).min(most)), 1)
        }
        Pattern::Mixed => {
            let out = threads * pattern::RING;
            (out.max(usual(stride).min(most)), pattern::RING)
        }
        Pattern::Ring => {
            let buffers = usual(stride).min(most);
            (buffers, ring_depth(pattern::RING, buffers))
        }
        Pattern::Same | Pattern::Fill | Pattern::Burst | Pattern::Exhausted | Pattern::Engine => {
            (usual(stride).min(most), 1)
        }
    };
    if buffers > most || buffers < threads {
        return Err(too_much(buffers.max(threads), arenas.len(), stride, memory));
    }
    if pattern == Pattern::Mixed {
        let sizes = mixed::sizes(size).into_iter().map(units::bytes);
        notes.push(format!(
            "sizes: {}, each taken as often, and so many buffers of each",
            names(sizes)
        ));
    }
    if depth < pattern::RING && matches!(pattern, Pattern::Ring | Pattern::Threads) {
        notes.push(format!(
            "rings of {depth} instead of {}, to stay within {}",
            pattern::RING,
            units::bytes(memory)
        ));
    }
    // A burst is shared out evenly.
    let buffers = match pattern {
        Pattern::Burst => buffers - buffers % threads,
        _ => buffers,
    };
    Ok(Group {
        pattern,
        threads,
        shape: Shape {
            size,
            alignment: request.alignment,
            buffers,
        },
        depth,
        area: 0,
        rivals,
        dry: None,
        sides,
        notes,
    })
}

/// A shape of `exhausted`, with the first size.
fn dry_group(request: &Request, dry: DryShape, memory: usize) -> Result<Group, String> {
    let rivals = rivals(request, Pattern::Exhausted)?;
    let arenas: HashSet<_> = rivals.iter().filter_map(|rival| rival.arena()).collect();
    let Some(size) = sizes(request, Pattern::Exhausted).first().copied() else {
        return Err("no size was asked for".to_owned());
    };
    let shape = Shape {
        size,
        alignment: request.alignment,
        buffers: dry.buffers,
    };
    if memory / arenas.len().max(1) / shape.stride() < dry.buffers {
        return Err(too_much(dry.buffers, arenas.len(), shape.stride(), memory));
    }
    Ok(Group {
        pattern: Pattern::Exhausted,
        threads: dry.workers(),
        shape,
        depth: 1,
        area: 0,
        rivals,
        dry: Some(dry),
        sides: None,
        notes: Vec::new(),
    })
}

/// Those of the rivals that take part.
fn rivals(request: &Request, pattern: Pattern) -> Result<Vec<Name>, String> {
    let rivals: Vec<Name> = request
        .rivals
        .iter()
        .copied()
        .filter(|rival| fits(*rival, pattern))
        .collect();
    if rivals.is_empty() {
        return Err("none of the rivals takes part in this pattern".to_owned());
    }
    Ok(rivals)
}

fn too_much(buffers: usize, arenas: usize, stride: usize, memory: usize) -> String {
    let bytes = stride.saturating_mul(buffers).saturating_mul(arenas);
    let [all, memory] = units::together([bytes, memory]);
    format!("it needs {buffers} buffers in {arenas} arenas, {all} in all, and may use {memory}")
}

/// Whether a rival means anything in a pattern. The baselines fit only what they are the floor of.
fn fits(rival: Name, pattern: Pattern) -> bool {
    match rival {
        Name::Limit => matches!(pattern, Pattern::Same | Pattern::Ring | Pattern::Fill),
        Name::HandOff => pattern == Pattern::Pipeline,
        Name::NoAllocator => pattern == Pattern::Fill,
        Name::HugepoolAmple | Name::Array => pattern == Pattern::Engine,
        Name::Hugepool => true,
        // An engine tells its caches from others as little as one queue from another.
        Name::HugepoolPortable => pattern != Pattern::Engine,
        // It is opened for one size.
        Name::Loaded(_) if pattern == Pattern::Mixed => false,
        // Takes that wait are another interface than takes that do not.
        _ => match pattern {
            Pattern::Exhausted => rival.waits(),
            Pattern::Engine => rival.is_general() || rival == Name::Channel,
            _ => !rival.waits() || rival == Name::Channel,
        },
    }
}

/// Enough buffers that a pool which hands out the coldest one shows it: 64 MiB of them, but 16 to 1024.
fn usual(stride: usize) -> usize {
    (64 * MIB / stride).clamp(16, 1024)
}

/// The deepest ring of a power of two that fits, up to `usual`; 0 if none does.
pub fn ring_depth(usual: usize, fitting: usize) -> usize {
    match fitting.min(usual) {
        0 => 0,
        fitting => 1 << fitting.ilog2(),
    }
}
