//! Tests of the plan: what a request comes to, within a memory.

use std::time::Duration;

use super::exhausted::DryShape;
use super::pattern::Pattern;
use super::plan::{draw_within, ring_depth};
use super::request::Request;
use super::sides::Sides;
use super::{engine, pipeline};
use crate::rival::Name;
use crate::units::{GIB, KIB, MIB};

/// `--memory` when the user asks for none: room for a buffer of 1 MiB for each of 256 threads in each kind of arena.
const USUAL: usize = 5 * 256 * MIB;

fn request() -> Request {
    Request {
        patterns: Pattern::ALL.to_vec(),
        shapes: DryShape::ALL.to_vec(),
        sizes: vec![64 * KIB, MIB],
        alignment: 4096,
        threads: Vec::new(),
        pipelines: Vec::new(),
        rounds: 1,
        rivals: Name::built().collect(),
        seed: 1,
        window: Duration::from_millis(1),
        memory: USUAL,
        pages: None,
        warm_up: None,
        cpus: None,
        nodes: None,
        handicap: None,
    }
}

#[test]
fn the_usual_run_skips_nothing_and_stays_within_its_memory() {
    let plan = draw_within(&request(), USUAL).expect("there is something to run");
    assert!(plan.skipped.is_empty(), "{:?}", plan.skipped);
    for group in &plan.groups {
        assert!(
            3 * group.shape.stride() * group.shape.buffers <= USUAL,
            "{group}"
        );
    }
}

#[test]
fn demand_equals_supply_in_the_pattern_threads() {
    let plan = draw_within(&request(), USUAL).expect("there is something to run");
    for group in plan
        .groups
        .iter()
        .filter(|group| group.pattern == Pattern::Threads)
    {
        assert_eq!(group.shape.buffers, group.threads * group.depth, "{group}");
    }
}

#[test]
fn every_pair_of_a_pipeline_has_its_buffers() {
    let mut request = request();
    request.patterns = vec![Pattern::Pipeline];
    request.threads = vec![1, 2, 8];
    let plan = draw_within(&request, USUAL).expect("there is something to run");
    assert_eq!(plan.skipped.len(), 2, "one thread cannot be a pipeline");
    for group in &plan.groups {
        assert!(group.shape.buffers >= group.threads / 2 * pipeline::PER_RING);
    }
}

#[test]
fn every_producer_of_a_pipeline_has_the_buffers_of_its_rings() {
    let mut request = request();
    request.patterns = vec![Pattern::Pipeline];
    request.threads = vec![3];
    request.sizes = vec![64 * KIB];
    request.pipelines = ["4:1", "1:4", "3:4"]
        .map(|sides| Sides::parse(sides).expect(sides))
        .to_vec();
    let plan = draw_within(&request, USUAL).expect("there is something to run");
    assert!(
        plan.skipped.is_empty(),
        "threads say nothing then: {:?}",
        plan.skipped
    );
    assert_eq!(plan.groups.len(), 3);
    for group in &plan.groups {
        let sides = group.sides.expect("it is a pipeline");
        assert_eq!(group.threads, sides.threads());
        let share = group.shape.buffers / sides.takers;
        assert!(
            share >= sides.rings_of_one() * pipeline::PER_RING,
            "{group}"
        );
    }
}

#[test]
fn what_does_not_fit_is_skipped_with_its_numbers() {
    let mut request = request();
    request.sizes = vec![4 * KIB, 64 * MIB];
    request.patterns = vec![Pattern::Same];
    let plan = draw_within(&request, 8 * MIB).expect("the small ones fit");
    assert_eq!(plan.groups.len(), 1);
    assert!(plan.skipped[0].contains("64 MiB"), "{:?}", plan.skipped);
    assert!(plan.skipped[0].contains("8 MiB"), "{:?}", plan.skipped);
    request.sizes = vec![64 * MIB];
    assert!(draw_within(&request, 8 * MIB).is_err());
}

#[test]
fn the_buffers_and_the_areas_of_an_engine_stay_within_the_memory() {
    let mut request = request();
    request.patterns = vec![Pattern::Engine];
    request.sizes = Vec::new();
    for memory in [400 * MIB, GIB, 4 * GIB] {
        let plan = draw_within(&request, memory).expect("there is something to run");
        assert!(plan.skipped.is_empty(), "{:?}", plan.skipped);
        let sizes: Vec<usize> = plan.groups.iter().map(|group| group.shape.size).collect();
        assert_eq!(sizes, engine::SIZES, "its own sizes");
        for group in &plan.groups {
            // The pool, the ample one, the mapping, and what a general allocator has out.
            let buffers = (3 + engine::AMPLE) * group.shape.buffers;
            let stride = group.shape.stride();
            assert!((buffers + 2 * group.area) * stride <= memory, "{group}");
            assert!(group.area > 0 && group.area.is_multiple_of(group.readers_and_writers().1));
        }
    }
}

#[test]
fn a_ring_shrinks_by_halves() {
    assert_eq!(ring_depth(8, 100), 8);
    assert_eq!(ring_depth(8, 7), 4);
    assert_eq!(ring_depth(8, 1), 1);
    assert_eq!(ring_depth(8, 0), 0);
}

#[test]
fn baselines_stay_with_what_they_are_the_floor_of() {
    let plan = draw_within(&request(), USUAL).expect("there is something to run");
    for group in &plan.groups {
        let has = |name| group.rivals.contains(&name);
        assert_eq!(has(Name::HandOff), group.pattern == Pattern::Pipeline);
        assert_eq!(has(Name::NoAllocator), group.pattern == Pattern::Fill);
        assert!(!has(Name::Limit) || group.threads == 1);
    }
}
