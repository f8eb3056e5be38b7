//! What one thread hands to another, which waits for it: the writer to the next who wants it, to a member of a batch what became of it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) struct Handoff<T> {
    value: Mutex<Option<T>>,
    has_come: Condvar,
}

impl<T> Default for Handoff<T> {
    fn default() -> Handoff<T> {
        Handoff { value: Mutex::new(None), has_come: Condvar::new() }
    }
}

impl<T> Handoff<T> {
    fn value(&self) -> MutexGuard<'_, Option<T>> {
        // Nothing panics while it is held.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give(&self, value: T) {
        *self.value() = Some(value);
        self.has_come.notify_one();
    }

    /// Waits to be given a value.
    pub(super) fn wait(&self) -> T {
        let value = self.has_come.wait_while(self.value(), |value| value.is_none());
        value.unwrap_or_else(PoisonError::into_inner).take().expect("waited for")
    }

    /// The value, if there is one already.
    pub(super) fn take(&self) -> Option<T> {
        self.value().take()
    }

    /// Waits so long at most.
    pub(super) fn wait_for(&self, time: Duration) -> Option<T> {
        let waited = self.has_come.wait_timeout_while(self.value(), time, |value| value.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}
