//! The pages of `docs/`: how the pool is used, and what is behind it.
//!
//! Owns: their places in this documentation. Used by: readers; the README's links lead here.

/// Where the links of a page lead here; in the folder they lead to the files.
macro_rules! page {
    ($name:ident, $file:literal $(, $to:literal)*) => {
        $(#[doc = $to])*
        #[doc = ""]
        #[doc = include_str!(concat!("../docs/", $file))]
        pub mod $name {}
    };
}

page!(
    benchmark,
    "benchmark.md",
    "[`rivals.md`]: crate::guide::rivals"
);
page!(
    buffers,
    "buffers.md",
    "[`hot-path.md`]: crate::guide::hot_path"
);
page!(cycles, "cycles.md", "[`figures.md`]: crate::guide::figures");
page!(
    design,
    "design.md",
    "[`cycles.md`]: crate::guide::cycles",
    "[`hot-path.md`]: crate::guide::hot_path",
    "[`memory.md`]: crate::guide::memory",
    "[`streams.md`]: crate::guide::streams"
);
page!(dry, "dry.md");
page!(
    embedding,
    "embedding.md",
    "[`engine.md`]: crate::guide::engine",
    "[`memory.md`]: crate::guide::memory",
    "[`metrics.md`]: crate::guide::metrics",
    "[`numa.md`]: crate::guide::numa",
    "[`streams.md`]: crate::guide::streams",
    "[`vdi.md`]: crate::guide::vdi"
);
page!(
    engine,
    "engine.md",
    "[`engine-figures.md`]: crate::guide::engine_figures"
);
page!(engine_figures, "engine-figures.md");
page!(
    figures,
    "figures.md",
    "[`benchmark.md`]: crate::guide::benchmark",
    "[`cycles.md`]: crate::guide::cycles",
    "[`dry.md`]: crate::guide::dry",
    "[`scaling.md`]: crate::guide::scaling"
);
page!(
    guarantees,
    "guarantees.md",
    "[`machines.md`]: crate::guide::machines",
    "[`scaling.md`]: crate::guide::scaling"
);
page!(hot_path, "hot-path.md");
page!(
    io_uring,
    "io_uring.md",
    "[`sharing.md`]: crate::guide::sharing"
);
page!(machines, "machines.md");
page!(
    memory,
    "memory.md",
    "[`machines.md`]: crate::guide::machines",
    "[`numa.md`]: crate::guide::numa"
);
page!(metrics, "metrics.md");
page!(numa, "numa.md", "[`memory.md`]: crate::guide::memory");
page!(
    operations,
    "operations.md",
    "[`buffers.md`]: crate::guide::buffers",
    "[`dry.md`]: crate::guide::dry",
    "[`io_uring.md`]: crate::guide::io_uring",
    "[`memory.md`]: crate::guide::memory",
    "[`metrics.md`]: crate::guide::metrics",
    "[`numa.md`]: crate::guide::numa",
    "[`sharing.md`]: crate::guide::sharing",
    "[`streams.md`]: crate::guide::streams"
);
page!(rivals, "rivals.md");
page!(scaling, "scaling.md", "[`design.md`]: crate::guide::design");
page!(sharing, "sharing.md");
page!(streams, "streams.md");
page!(vdi, "vdi.md", "[`sharing.md`]: crate::guide::sharing");
