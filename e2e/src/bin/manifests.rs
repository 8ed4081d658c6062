//! Refreshes manifests/ and the generated parts of charts/: `cargo run -p e2e --bin manifests`.
//! Must not decide what they hold: e2e::install does.

use anyhow::Result;
use e2e::install::{Helm, refresh};

fn main() -> Result<()> {
    let stale = refresh(&Helm::open()?)?;
    for path in &stale {
        println!("refreshed {path}");
    }
    if stale.is_empty() {
        println!("all fresh");
    }
    Ok(())
}
