//! Waiting until a commit is durable. No thread runs in the background, so of those who wait one makes everything durable that is
//! committed by then, and its sync counts for the others, too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Shared;
use super::seat::{LOOK, WaitFor};
use crate::error::{Error, Result};
use crate::page::TxnId;

/// Up to which transaction everything is durable, and who sees to it that it goes on.
pub(crate) struct Durable {
    id: AtomicU64,
    /// One of those who wait is making more durable.
    has_leader: Mutex<bool>,
    leader_left: Condvar,
}

impl Durable {
    pub(crate) fn new(id: TxnId) -> Durable {
        Durable { id: AtomicU64::new(id.get()), has_leader: Mutex::new(false), leader_left: Condvar::new() }
    }

    pub(crate) fn id(&self) -> TxnId {
        TxnId::new(self.id.load(Ordering::Acquire))
    }

    /// A sync has made this transaction durable. The writer's alone.
    pub(super) fn reach(&self, id: TxnId) {
        self.id.store(id.get(), Ordering::Release);
    }

    fn has_leader(&self) -> MutexGuard<'_, bool> {
        // Nothing panics while it is held.
        self.has_leader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, its owner makes commits durable for all who wait.
struct Leader<'a> {
    durable: &'a Durable,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        *self.durable.has_leader() = false;
        self.durable.leader_left.notify_all();
    }
}

impl Shared {
    /// Returns once the transaction is durable, which it sees to if nobody else does.
    pub(crate) fn wait_durable(&self, id: TxnId) -> Result<()> {
        if self.durable.id() >= id {
            return Ok(());
        }
        self.check_process()?;
        let newest = self.readers.current();
        if id > newest {
            return Err(Error::NotCommitted { id: id.get(), newest: newest.get() });
        }
        // Whoever leads waits for the writer's seat.
        let mut watch = self.writer.watch();
        while self.durable.id() < id {
            if watch.waits_for_itself() {
                return Err(Error::WriteTxnOpen);
            }
            let has_leader = self.durable.has_leader();
            if *has_leader {
                // A sync that began before this commit may not count for it: then the loop goes round.
                drop(self.durable.leader_left.wait_timeout(has_leader, LOOK));
            } else {
                self.lead(has_leader)?;
            }
        }
        Ok(())
    }

    fn lead(&self, mut has_leader: MutexGuard<'_, bool>) -> Result<()> {
        *has_leader = true;
        drop(has_leader);
        let _leader = Leader { durable: &self.durable };
        self.sync(WaitFor::Another)
    }
}
