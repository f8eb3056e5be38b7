//! What the table of pins is made of: atomics of `std`, and in tests with `--cfg loom` those of the model checker loom.
//!
//! loom runs a test once for each order of its steps, and in each lets a load answer every store that the memory model allows.
//! But it takes a `SeqCst` access for little more than an acquiring or a releasing one, so that a reader and a writer may
//! miss each other, which is what those accesses are there to prevent. Here a `SeqCst` load answers the last `SeqCst` store or one
//! after it. That is what the accesses promise, no less and no more: they happen in one order, here the order in which
//! loom runs them. A fence for each would promise more, since all that comes before a fence of loom is seen after the next
//! one, and a `Release` that is missing would go unnoticed.
//!
//! Nor does loom see to it that an exchange finds what was stored just before it, where another thread stored that without a look. So a
//! store of [`AtomicFlags`] is an exchange here. That promises a little more than it should: who sees the flags of the last to store
//! them sees what the others had done before they stored theirs.
//!
//! loom lets a load answer what is old, not what is yet to come: it never lets a load happen after a later one. So the acquiring
//! loads of the fields of a snapshot, and of where the list of free entries begins, are argued for in `readers`, and no test fails if they are
//! made weaker.

#[cfg(not(all(test, loom)))]
pub(super) use std::sync::OnceLock;
#[cfg(not(all(test, loom)))]
pub(super) use std::sync::atomic::{AtomicU32, AtomicU32 as AtomicFlags, AtomicU64, Ordering};

#[cfg(all(test, loom))]
pub(super) use model::{AtomicFlags, AtomicU32, AtomicU64, OnceLock, Ordering};

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Mutex;
    use loom::sync::atomic::AtomicBool;
    pub(in crate::txn) use loom::sync::atomic::Ordering;
    use std::cmp::max;

    macro_rules! atomic {
        ($name:ident, $int:ty) => {
            pub(in crate::txn) struct $name {
                atomic: loom::sync::atomic::$name,
                /// What a `SeqCst` load may answer: the last `SeqCst` store and those after it, none older than one that was answered
                /// before. Known at once to all threads: loom lets another go on only before an access.
                recent: std::sync::Mutex<Vec<$int>>,
            }

            impl Default for $name {
                fn default() -> $name {
                    $name::new(0)
                }
            }

            // Not every type needs every access.
            #[allow(dead_code)]
            impl $name {
                pub(in crate::txn) fn new(value: $int) -> $name {
                    let recent = std::sync::Mutex::new(vec![value]);
                    $name { atomic: loom::sync::atomic::$name::new(value), recent }
                }

                fn stored(&self, value: $int, ordering: Ordering) {
                    let mut recent = self.recent.lock().unwrap();
                    if ordering == Ordering::SeqCst {
                        recent.clear();
                    }
                    recent.push(value);
                }

                pub(in crate::txn) fn load(&self, ordering: Ordering) -> $int {
                    if ordering != Ordering::SeqCst {
                        return self.atomic.load(ordering);
                    }
                    if self.recent.lock().unwrap().len() > 1 {
                        let seen = self.atomic.load(Ordering::Acquire);
                        let mut recent = self.recent.lock().unwrap();
                        if let Some(at) = recent.iter().position(|&value| value == seen)
                            && recent.last() != Some(&seen)
                        {
                            recent.drain(..at);
                            return seen;
                        }
                    }
                    // The newest store is what an exchange finds. This one changes nothing, whether it fails or not.
                    let any = <$int>::MAX;
                    let found = self.atomic.compare_exchange(any, any, Ordering::Acquire, Ordering::Acquire);
                    let newest = found.unwrap_or_else(|newest| newest);
                    *self.recent.lock().unwrap() = vec![newest];
                    newest
                }

                pub(in crate::txn) fn store(&self, value: $int, ordering: Ordering) {
                    self.atomic.store(value, ordering);
                    self.stored(value, ordering);
                }

                pub(in crate::txn) fn swap(&self, value: $int, ordering: Ordering) -> $int {
                    let before = self.atomic.swap(value, ordering);
                    self.stored(value, ordering);
                    before
                }

                pub(in crate::txn) fn compare_exchange(
                    &self,
                    old: $int,
                    new: $int,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$int, $int> {
                    let found = self.atomic.compare_exchange(old, new, success, failure)?;
                    self.stored(new, success);
                    Ok(found)
                }

                pub(in crate::txn) fn fetch_max(&self, value: $int, ordering: Ordering) -> $int {
                    let before = self.atomic.fetch_max(value, ordering);
                    self.stored(max(before, value), ordering);
                    before
                }

                pub(in crate::txn) fn fetch_add(&self, value: $int, ordering: Ordering) -> $int {
                    let before = self.atomic.fetch_add(value, ordering);
                    self.stored(before.wrapping_add(value), ordering);
                    before
                }

                pub(in crate::txn) fn fetch_or(&self, value: $int, ordering: Ordering) -> $int {
                    let before = self.atomic.fetch_or(value, ordering);
                    self.stored(before | value, ordering);
                    before
                }

                pub(in crate::txn) fn fetch_and(&self, value: $int, ordering: Ordering) -> $int {
                    let before = self.atomic.fetch_and(value, ordering);
                    self.stored(before & value, ordering);
                    before
                }

                pub(in crate::txn) fn fetch_sub(&self, value: $int, ordering: Ordering) -> $int {
                    self.fetch_add(value.wrapping_neg(), ordering)
                }
            }
        };
    }

    atomic!(AtomicU32, u32);
    atomic!(AtomicU64, u64);

    /// Flags that some store and others exchange.
    pub(in crate::txn) struct AtomicFlags(AtomicU32);

    impl AtomicFlags {
        pub(in crate::txn) fn new(value: u32) -> AtomicFlags {
            AtomicFlags(AtomicU32::new(value))
        }

        pub(in crate::txn) fn load(&self, ordering: Ordering) -> u32 {
            self.0.load(ordering)
        }

        pub(in crate::txn) fn store(&self, value: u32, ordering: Ordering) {
            self.0.swap(value, ordering);
        }

        pub(in crate::txn) fn fetch_or(&self, value: u32, ordering: Ordering) -> u32 {
            self.0.fetch_or(value, ordering)
        }

        pub(in crate::txn) fn fetch_and(&self, value: u32, ordering: Ordering) -> u32 {
            self.0.fetch_and(value, ordering)
        }
    }

    /// As that of `std`: who finds the value sees what was done before it was set, and who does not may have come just too soon.
    pub(in crate::txn) struct OnceLock<T> {
        is_set: AtomicBool,
        setting: Mutex<()>,
        value: std::sync::OnceLock<T>,
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> OnceLock<T> {
            OnceLock { is_set: AtomicBool::default(), setting: Mutex::default(), value: std::sync::OnceLock::new() }
        }
    }

    impl<T> OnceLock<T> {
        pub(in crate::txn) fn get(&self) -> Option<&T> {
            if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
        }

        pub(in crate::txn) fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
            let setting = self.setting.lock().expect("nothing panics while it is held");
            let value = self.value.get_or_init(init);
            self.is_set.store(true, Ordering::Release);
            drop(setting);
            value
        }
    }
}
