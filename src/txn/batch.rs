//! Group commit: transactions of many threads that share one commit, and so one sync.
//!
//! No thread works for the others, and none runs in the background. The write transaction itself goes from hand to hand: the first
//! thread begins it, each in its turn runs its closure in it, under a savepoint, and the one after whom nobody waits commits for
//! all. So a closure runs on the thread that brought it, may borrow what it likes, and takes only itself back when it fails. While
//! one batch is on its way to the disk the next one gathers.
//!
//! A batch ends by itself, since its members wait for its outcome and cannot come again; those that failed can, so there is a limit.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Shared;
use super::write::WriteTxn;
use crate::error::{Error, Result};
use crate::options::Durability;
use crate::page::TxnId;

/// How many closures run in one batch at most.
const TURNS_MAX: usize = 1024;

/// Where threads meet to share a commit.
#[derive(Default)]
pub(crate) struct Batches {
    gathering: Mutex<Gathering>,
    /// A transaction is there to be taken over, or the next batch is to be begun.
    turn: Condvar,
}

/// The batch that takes members now.
#[derive(Default)]
struct Gathering {
    /// A thread has begun it, or is about to.
    has_begun: bool,
    /// How many threads wait for their turn.
    waiting: usize,
    /// The batch on its way from one hand to the next.
    passed: Option<Batch>,
}

/// A write transaction that several threads share.
struct Batch {
    txn: WriteTxn,
    turns: usize,
    members: usize,
    /// The strictest that a member asks for.
    durability: Durability,
    outcome: Arc<Outcome>,
}

/// How the commit of a batch went, for its members.
#[derive(Default)]
struct Outcome {
    result: Mutex<Option<Result<TxnId>>>,
    known: Condvar,
}

/// Runs `f` in a write transaction that it may share with other threads, and returns when that is committed, with its id.
pub(crate) fn batch<T>(
    shared: &Arc<Shared>,
    durability: Durability,
    f: impl FnOnce(&mut WriteTxn) -> Result<T>,
) -> Result<(T, TxnId)> {
    let batches = &shared.batches;
    let mut batch = batches.join(shared)?;
    batch.turns += 1;
    let done = catch_unwind(AssertUnwindSafe(|| batch.txn.nested(f)));
    let is_member = matches!(done, Ok(Ok(_)));
    if is_member {
        batch.members += 1;
        batch.durability = batch.durability.stricter(durability);
    }
    let outcome = Arc::clone(&batch.outcome);
    if let Some(batch) = batches.pass_on(batch) {
        outcome.settle(batch);
    }
    let done = done.unwrap_or_else(|panic| resume_unwind(panic))?;
    Ok((done, outcome.wait()?))
}

impl Batches {
    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        // Nothing panics while it is held.
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn in a batch that has begun, or begins one.
    fn join(&self, shared: &Arc<Shared>) -> Result<Batch> {
        let mut gathering = self.gathering();
        while gathering.has_begun {
            if let Some(batch) = gathering.passed.take() {
                shared.take_over_writing();
                return Ok(batch);
            }
            gathering.waiting += 1;
            gathering = self.turn.wait(gathering).unwrap_or_else(PoisonError::into_inner);
            gathering.waiting -= 1;
        }
        gathering.has_begun = true;
        drop(gathering);
        let beginning = Beginning { batches: self };
        let txn = WriteTxn::begin(shared, true, Durability::Relaxed)?.expect("waiting ends with a transaction");
        std::mem::forget(beginning);
        let outcome = Arc::default();
        Ok(Batch { txn, turns: 0, members: 0, durability: Durability::Relaxed, outcome })
    }

    /// Gives the batch to the next thread that waits. Answers it if it is to be committed: nobody waits, it has had its turns, or an
    /// error has left it beyond repair, which its members are to hear.
    fn pass_on(&self, batch: Batch) -> Option<Batch> {
        let mut gathering = self.gathering();
        if gathering.waiting > 0 && batch.turns < TURNS_MAX && !batch.txn.is_broken {
            gathering.passed = Some(batch);
            drop(gathering);
            self.turn.notify_one();
            return None;
        }
        drop(gathering);
        self.end();
        Some(batch)
    }

    /// From here on it is the next batch that gathers. Whoever begins it waits for the writer's seat until this one is committed.
    fn end(&self) {
        let mut gathering = self.gathering();
        gathering.has_begun = false;
        drop(gathering);
        self.turn.notify_one();
    }
}

/// Lets another thread begin when this one could not.
struct Beginning<'a> {
    batches: &'a Batches,
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.batches.end();
    }
}

impl Outcome {
    /// Commits for all members.
    fn settle(&self, batch: Batch) {
        let Batch { txn, members, durability, .. } = batch;
        if members == 0 {
            return; // Nobody waits.
        }
        let result = catch_unwind(AssertUnwindSafe(|| txn.commit_with(durability)));
        let told = match &result {
            Ok(Ok(id)) => Ok(*id),
            Ok(Err(error)) => Err(error.duplicate()),
            Err(_) => Err(Error::Failed),
        };
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        self.known.notify_all();
        if let Err(panic) = result {
            resume_unwind(panic);
        }
    }

    /// Waits until the batch is committed.
    fn wait(&self) -> Result<TxnId> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*result {
                Some(Ok(id)) => return Ok(*id),
                Some(Err(error)) => return Err(error.duplicate()),
                None => result = self.known.wait(result).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
