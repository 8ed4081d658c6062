//! With which seeds a story is told: so many, ever more, or the one that failed.
//! Must not stop at the first that fails, nor go on after a good number of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// So many say enough of what is wrong.
const FAILURES_LIMIT: usize = 5;
/// How often a long run says how far it is.
const PROGRESS_SEEDS: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Tells the story with the first `count` seeds and with those that failed once.
///
/// `HOLDFAST_SEEDS=100` takes a hundred times as many, `HOLDFAST_SEEDS_FROM=7` begins with the seventh
/// such lot, `HOLDFAST_SEED=263` takes that one alone and prints what happens.
pub(crate) fn each(story: &str, count: u64, failed_once: &[u64], tell: impl Fn(u64)) {
    if let Some(seed) = number("HOLDFAST_SEED") {
        return tell(seed);
    }
    let lot = count * number("HOLDFAST_SEEDS").unwrap_or(1);
    let from = lot * number("HOLDFAST_SEEDS_FROM").unwrap_or(0);
    let mut failures = Vec::new();
    let mut told = 0;
    for seed in (from..from + lot).chain(failed_once.iter().copied()) {
        told += 1;
        if catch_unwind(AssertUnwindSafe(|| tell(seed))).is_err() {
            println!(
                "FAILED: HOLDFAST_SEED={seed} cargo test -p topology --test cluster {story} -- --nocapture"
            );
            failures.push(seed);
        }
        if failures.len() == FAILURES_LIMIT {
            break;
        }
        if told % PROGRESS_SEEDS == 0 {
            println!("{story}: {told} of {lot} seeds, {} failed", failures.len());
        }
    }
    println!("{story}: {told} seeds from {from}, {} failed", failures.len());
    assert!(failures.is_empty(), "{story} fails with the seeds {failures:?}");
}
