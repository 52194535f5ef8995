//! A pool on a Prometheus dashboard: what the pool counts, served as a page of text.
//!
//!     cargo run --example prometheus --features metrics                    # prints a page
//!     cargo run --example prometheus --features metrics -- 127.0.0.1:9187  # serves it
//!
//! Streams take and give back buffers meanwhile, more streams than there are buffers.
//! Prometheus asks for `http://127.0.0.1:9187/metrics`; here a few lines on `std::net`
//! answer it. A program that has an HTTP server does the same two things for each request:
//! `publish_metrics`, and `render`.

use hugepool::{AllocError, Pool};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const SIZE: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    // The recorder comes first: what is published without one is lost.
    let prometheus = PrometheusBuilder::new().install_recorder()?;
    Pool::describe_metrics();
    let pool = Pool::builder().reserve(SIZE, 4096, 8).build()?;
    let address = std::env::args().nth(1);
    let rounds = if address.is_some() { u64::MAX } else { 200 };
    let streams: Vec<_> = (0..12)
        .map(|_| {
            let pool = pool.clone();
            std::thread::spawn(move || stream(&pool, rounds))
        })
        .collect();
    if let Some(address) = address {
        for visitor in TcpListener::bind(address)?.incoming() {
            // One that goes away early is none of our business.
            let _gone = visitor.and_then(|visitor| answer(visitor, &page(&pool, &prometheus)));
        }
    }
    for stream in streams {
        stream.join().map_err(|_| "a stream panicked")??;
    }
    print!("{}", page(&pool, &prometheus));
    Ok(())
}

/// One stream: takes a buffer, waits for it if it must, fills it, and gives it back.
fn stream(pool: &Pool, rounds: u64) -> Result<(), AllocError> {
    for _ in 0..rounds {
        match pool.allocate_timeout(SIZE, 4096, Duration::from_millis(20)) {
            Ok(mut buffer) => {
                buffer.fill(1);
                std::thread::sleep(Duration::from_micros(500));
            }
            // It shows on the page.
            Err(AllocError::TimedOut { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What the pool has counted by now.
fn page(pool: &Pool, prometheus: &PrometheusHandle) -> String {
    pool.publish_metrics("ingest");
    prometheus.render()
}

/// Answers any request with `page`.
fn answer(visitor: TcpStream, page: &str) -> std::io::Result<()> {
    visitor.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut line = String::new();
    let mut request = BufReader::new(&visitor);
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    write!(
        &visitor,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}
