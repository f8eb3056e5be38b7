//! Labels: what read transactions call themselves, for those who look for what holds a snapshot. A label is kept behind a
//! lock, which only labelled transactions and those who list them take.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::page::TxnId;

/// The labels of the read transactions there are, by snapshot and in the order in which they began.
#[derive(Default)]
pub(crate) struct Labels {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    begun: BTreeMap<(TxnId, u64), Begun>,
    next: u64,
}

/// A labelled read transaction, with all clones of it.
#[derive(Clone)]
pub(crate) struct Begun {
    pub(crate) label: Arc<str>,
    pub(crate) at: Instant,
}

/// Keeps a label in the table until it is dropped.
pub(crate) struct LabelGuard {
    labels: Arc<Labels>,
    key: (TxnId, u64),
}

impl Labels {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read transaction on this snapshot has begun.
    pub(crate) fn add(self: &Arc<Labels>, txn: TxnId, label: &str) -> LabelGuard {
        let begun = Begun { label: Arc::from(label), at: Instant::now() };
        let mut table = self.table();
        let key = (txn, table.next);
        table.next += 1;
        table.begun.insert(key, begun);
        LabelGuard { labels: Arc::clone(self), key }
    }

    /// The labels of all snapshots, ascending.
    pub(crate) fn list(&self) -> Vec<(TxnId, Begun)> {
        self.table().begun.iter().map(|(&(txn, _), begun)| (txn, begun.clone())).collect()
    }
}

impl Drop for LabelGuard {
    fn drop(&mut self) {
        self.labels.table().begun.remove(&self.key);
    }
}
