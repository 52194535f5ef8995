//! How long it takes to build a pool of 256 MiB, by the kind of its pages.
//!
//! Run: `cargo run --release --example build_time`. It builds each pool 15 times, in turn with
//! the others, and prints the medians of the time that `build` took, with the least and the
//! most. Each kind of pages is required; one that is not granted is printed with the error.

use hugepool::share::Access;
use hugepool::{BuildError, Builder, Pages, Pool, Rung};
use std::time::Instant;

const MIB: usize = 1 << 20;
const TIMES: usize = 15;

/// 256 MiB on `pages` alone.
fn on(pages: Pages) -> Builder {
    let builder = Pool::builder().reserve(MIB, 4096, 256);
    let none = Pages::ALL
        .into_iter()
        .fold(builder, |builder, kind| builder.pages(kind, Rung::Never));
    none.pages(pages, Rung::Require)
}

/// Milliseconds that it takes to build.
fn time(builder: &Builder) -> Result<f64, BuildError> {
    let since = Instant::now();
    let pool = builder.build()?;
    let took = since.elapsed().as_secs_f64() * 1e3;
    drop(pool);
    Ok(took)
}

fn main() {
    let kinds = [Pages::Base, Pages::Collapsed, Pages::Transparent];
    let mut pools = Vec::new();
    for (name, shared) in [("private", false), ("shared", true)] {
        for pages in kinds {
            let builder = match shared {
                true => on(pages).shared(Access::Read),
                false => on(pages),
            };
            pools.push((format!("{name}, {pages}"), builder, Vec::new()));
        }
    }
    for _ in 0..TIMES {
        for (_, builder, times) in &mut pools {
            times.push(time(builder));
        }
    }
    for (name, _, times) in pools {
        match times.into_iter().collect::<Result<Vec<f64>, _>>() {
            Ok(mut times) => {
                times.sort_by(f64::total_cmp);
                let (least, most) = (times[0], times[TIMES - 1]);
                let median = times[TIMES / 2];
                println!("{name:<25} {median:6.1} ms ({least:.1} to {most:.1})");
            }
            Err(error) => println!("{name:<25} not granted: {error}"),
        }
    }
}
