//! Labels: what read transactions call themselves, for those who look for what holds a snapshot. A label is kept behind a
//! lock, which only labelled transactions and those who list them take. It belongs to a pin, which tells by a flag that it has one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::readers::Place;
use crate::page::TxnId;

/// The labels of the read transactions there are, by snapshot and pin.
#[derive(Default)]
pub(crate) struct Labels {
    table: Mutex<BTreeMap<(TxnId, Place), Begun>>,
}

/// A labelled read transaction, with all clones of it.
#[derive(Clone)]
pub(crate) struct Begun {
    pub(crate) label: Arc<str>,
    pub(crate) at: Instant,
    sharers: u64,
}

impl Labels {
    fn table(&self) -> MutexGuard<'_, BTreeMap<(TxnId, Place), Begun>> {
        // Nothing panics while it is held, but for our own mistakes.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read transaction gives its pin a label.
    pub(crate) fn add(&self, txn: TxnId, place: Place, label: &str) {
        let begun = Begun { label: Arc::from(label), at: Instant::now(), sharers: 1 };
        self.table().insert((txn, place), begun);
    }

    /// One more transaction shares a labelled pin.
    pub(crate) fn share(&self, txn: TxnId, place: Place) {
        self.table().get_mut(&(txn, place)).expect("a label").sharers += 1;
    }

    /// A transaction is about to let go of a labelled pin.
    pub(crate) fn leave(&self, txn: TxnId, place: Place) {
        let mut table = self.table();
        let begun = table.get_mut(&(txn, place)).expect("a label");
        begun.sharers -= 1;
        if begun.sharers == 0 {
            table.remove(&(txn, place));
        }
    }

    /// The labels of all snapshots, ascending, those of each in the order in which they began.
    pub(crate) fn list(&self) -> Vec<(TxnId, Begun)> {
        let mut list: Vec<_> = self.table().iter().map(|(&(txn, _), begun)| (txn, begun.clone())).collect();
        list.sort_by_key(|(txn, begun)| (*txn, begun.at));
        list
    }
}
