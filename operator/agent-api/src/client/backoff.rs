//! How long to wait before the next try to connect.
//! Must not wait.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(2);

/// After so many failures in a row. `jitter`, any number, picks a point between half of the wait and
/// the whole.
pub(super) fn delay(failures: u32, jitter: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let half = FIRST.saturating_mul(1 << doublings).min(LIMIT) / 2;
    half + half.mul_f64(f64::from(jitter) / f64::from(u32::MAX))
}

/// Good enough to spread tries, without a generator of random numbers.
pub(super) fn jitter() -> u32 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_limit() {
        let whole = [1, 2, 3, 4, 5, 6, 99].map(|failures| delay(failures, u32::MAX).as_millis());
        assert_eq!(whole, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(delay(6, 0).as_millis(), 1000);
    }

    #[test]
    fn jitter_differs() {
        let drawn: std::collections::BTreeSet<_> = (0..10).map(|_| jitter()).collect();
        assert!(drawn.len() > 5);
    }
}
