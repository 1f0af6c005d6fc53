//! Measures time and memory, and prints figures.

use std::{
    fs,
    time::{Duration, Instant},
};

pub(crate) fn title(text: &str) {
    println!("\n{text}");
}

pub(crate) fn row(name: &str, value: f64, unit: &str) {
    println!("  {name:<36} {value:>10.0} {unit}");
}

/// The time of one call of `work` in nanoseconds: the median of several batches.
pub(crate) fn nanoseconds(mut work: impl FnMut()) -> f64 {
    const BATCH: Duration = Duration::from_millis(40);
    let start = Instant::now();
    let mut calls = 0_u32;
    while start.elapsed() < BATCH {
        work();
        calls += 1;
    }
    median((0..7).map(|_| {
        let start = Instant::now();
        (0..calls).for_each(|_| work());
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    }))
}

/// The median of `values`.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The resident memory of this process.
pub(crate) fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096.0
}
