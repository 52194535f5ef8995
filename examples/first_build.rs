//! What it costs that the first pool of a process tries whether restartable sequences work.
//!
//! Run: `cargo run --release --example first_build`. It starts itself 100 times for each line,
//! since a process has one first pool, and prints the medians of the time that `build` took.

use hugepool::Pool;
use std::error::Error;
use std::process::Command;
use std::time::Instant;

/// Microseconds that it takes to build a small pool.
fn build(portable: bool) -> Result<f64, Box<dyn Error>> {
    let builder = Pool::builder().reserve(4096, 4096, 16).prefault(false);
    let builder = builder.portable_caches(portable);
    let since = Instant::now();
    let pool = builder.build()?;
    let took = since.elapsed().as_secs_f64() * 1e6;
    let stats = pool.stats();
    if !portable && let Some(why) = stats.why_portable {
        eprintln!("portable caches: {why}");
    }
    Ok(took)
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(kind) = std::env::args().nth(1) {
        println!("{} {}", build(kind == "portable")?, build(false)?);
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let own = |kind: &str| -> Result<[f64; 2], Box<dyn Error>> {
        let mut both = [Vec::new(), Vec::new()];
        for _ in 0..100 {
            let output = Command::new(&program).arg(kind).output()?;
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout)?;
            for (times, word) in both.iter_mut().zip(text.split_whitespace()) {
                times.push(word.parse::<f64>()?);
            }
        }
        Ok(both.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
        }))
    };
    let [chosen, _] = own("portable")?;
    let [tried, known] = own("restartable")?;
    println!("first pool, portable caches chosen   {chosen:7.0} µs");
    println!("first pool, sequences tried          {tried:7.0} µs");
    println!("second pool, they are known to work  {known:7.0} µs");
    Ok(())
}
