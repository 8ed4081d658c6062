//! A place for one value, of which only the newest counts.
//! Must not queue.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Latest<T> {
    value: Mutex<Option<T>>,
    filled: Notify,
}

impl<T> Latest<T> {
    pub(crate) fn new() -> Self {
        Self {
            value: Mutex::new(None),
            filled: Notify::new(),
        }
    }

    /// What was there and not taken is dropped.
    pub(crate) fn put(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        self.filled.notify_one();
    }

    /// For one caller at a time. Dropped before it resolves, it has taken nothing.
    pub(crate) async fn take(&self) -> T {
        loop {
            let value = self.value.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(value) = value {
                return value;
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::Latest;

    #[tokio::test]
    async fn only_the_newest_is_taken_and_once() {
        let latest = Latest::new();
        latest.put(1);
        latest.put(2);
        assert_eq!(latest.take().await, 2);
        assert_eq!(latest.take().now_or_never(), None);
        let (taken, ()) = tokio::join!(latest.take(), async { latest.put(3) });
        assert_eq!(taken, 3);
    }
}
