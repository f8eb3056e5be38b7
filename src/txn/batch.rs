//! Group commit: transactions of many threads that share one commit, and so one sync.
//!
//! Nothing runs in the background. The first thread that comes leads: it begins a write transaction, runs its own closure in it and
//! those of all who have come meanwhile, each under a savepoint, and commits when nobody is left. So one that fails takes only
//! itself back. While the leader waits for the disk the next batch gathers.
//!
//! Those who were served by one batch come again one by one, just when the next leader has begun. So it waits for as many as there were,
//! for half the time that the last commit took at most, and never long. Where there was one, it waits for nobody. To be woken by each
//! who comes would take as long as the puts: it sleeps until half of those are there for whom it waits, then half of the others.
//!
//! Closures run on the leader's thread, and so can borrow nothing. To hand the transaction from thread to thread instead would let
//! each run its own; but to wake a thread takes far longer than a put, and with it 32 threads got three times the throughput of a commit
//! for each, not ten times.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Shared;
use super::handoff::Handoff;
use super::seat::{LOOK, WaitFor};
use super::write::WriteTxn;
use crate::error::{Error, Result};
use crate::options::Durability;
use crate::page::TxnId;

/// How long a leader waits at most for those whom the last batch served: after a commit that was held up, they may be elsewhere.
const PATIENCE_MAX: Duration = Duration::from_millis(10);

/// Where threads meet to share a commit.
#[derive(Default)]
pub(crate) struct Batches {
    gathering: Mutex<Gathering>,
    /// A closure waits to be run.
    arrival: Condvar,
}

#[derive(Default)]
struct Gathering {
    /// A thread has begun a batch, or is about to, and will run what waits.
    has_leader: bool,
    waiting: VecDeque<Job>,
    /// How many closures wake the leader; 0 if it is awake.
    wanted: usize,
    /// How many the last commit served, and how long it took.
    served: usize,
    commit_time: Duration,
}

/// A closure that waits to be run.
struct Job {
    /// Runs the closure and keeps what it answers. Answers whether its changes are to be committed.
    run: Box<dyn FnOnce(&mut WriteTxn) -> bool + Send>,
    durability: Durability,
    ticket: Arc<Ticket>,
}

/// What the thread that brought a closure waits for.
type Ticket = Handoff<Told>;

enum Told {
    /// What became of the batch in which the closure ran.
    Settled(Result<TxnId>),
    /// The leader before had to end its batch.
    Lead,
}

/// Runs `f` in a write transaction that other threads may share, and returns when that is committed, with its id.
pub(crate) fn batch<T: Send + 'static>(
    shared: &Arc<Shared>,
    durability: Durability,
    f: impl FnOnce(&mut WriteTxn) -> Result<T> + Send + 'static,
) -> Result<(T, TxnId)> {
    let answer = Arc::new(Mutex::new(None));
    let answers = Arc::clone(&answer);
    let run = move |txn: &mut WriteTxn| {
        let done = catch_unwind(AssertUnwindSafe(|| txn.nested(f)));
        let is_member = matches!(done, Ok(Ok(_)));
        *answers.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        is_member
    };
    let settled = shared.batches.submit(shared, Box::new(run), durability);
    let done: Option<thread::Result<Result<T>>> = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (done, settled) {
        (Some(Err(panic)), _) => resume_unwind(panic),
        // Even to one that failed: what it failed for may have come to nothing.
        (_, Err(error)) => Err(error),
        (Some(Ok(done)), Ok(id)) => done.map(|done| (done, id)),
        (None, Ok(_)) => unreachable!("a batch ends when all that it took from the queue have run"),
    }
}

impl Batches {
    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        // Nothing panics while it is held.
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a closure run, by this thread or by another one. Answers what became of its batch.
    fn submit(
        &self,
        shared: &Arc<Shared>,
        run: Box<dyn FnOnce(&mut WriteTxn) -> bool + Send>,
        durability: Durability,
    ) -> Result<TxnId> {
        // Whoever leads waits for the writer's seat.
        let mut watch = shared.writer.watch();
        if watch.waits_for_itself() {
            return Err(Error::WriteTxnOpen);
        }
        let ticket = Arc::new(Ticket::default());
        let mut gathering = self.gathering();
        gathering.waiting.push_back(Job { run, durability, ticket: Arc::clone(&ticket) });
        let leads = !std::mem::replace(&mut gathering.has_leader, true);
        let wakes = gathering.wanted > 0 && gathering.waiting.len() >= gathering.wanted;
        drop(gathering);
        if leads {
            self.lead(shared, &ticket);
        } else if wakes {
            self.arrival.notify_one();
        }
        loop {
            match ticket.wait_for(LOOK) {
                Some(Told::Settled(result)) => return result,
                Some(Told::Lead) => self.lead(shared, &ticket),
                None if watch.waits_for_itself() && self.withdraw(&ticket, false) => return Err(Error::WriteTxnOpen),
                None => {}
            }
        }
    }

    /// Runs what waits, this thread's own closure among it, and commits.
    fn lead(&self, shared: &Arc<Shared>, own: &Arc<Ticket>) {
        let begin = || WriteTxn::begin(shared, WaitFor::Another, Durability::Relaxed);
        let (served, done) = match catch_unwind(AssertUnwindSafe(begin)) {
            Ok(Ok(txn)) => self.run(txn.expect("waiting ends with a transaction")),
            // It waits for itself, the others do not.
            Ok(Err(Error::WriteTxnOpen)) => {
                self.withdraw(own, true);
                return own.give(Told::Settled(Err(Error::WriteTxnOpen)));
            }
            // None of those who wait can be served.
            Ok(Err(error)) => return self.give_up(&error),
            Err(panic) => {
                self.give_up(&Error::Failed);
                resume_unwind(panic)
            }
        };
        for ticket in served {
            ticket.give(Told::Settled(match &done {
                Ok(Ok(id)) => Ok(*id),
                Ok(Err(error)) => Err(error.duplicate()),
                Err(_) => Err(Error::Failed),
            }));
        }
        if let Err(panic) = done {
            resume_unwind(panic);
        }
    }

    /// Answers whose closures ran, and how the commit went. Those that failed hear of it no sooner than the others, when what they have
    /// seen is committed: else one that lost to another in this batch would run again, on a snapshot without it, only to lose again.
    fn run(&self, mut txn: WriteTxn) -> (Vec<Arc<Ticket>>, thread::Result<Result<TxnId>>) {
        let mut served = Vec::new();
        let mut strictest = None;
        let begun = Instant::now();
        while let Some(job) = self.next(served.len(), begun, txn.is_broken) {
            if (job.run)(&mut txn) {
                strictest = Some(strictest.map_or(job.durability, |so_far| job.durability.stricter(so_far)));
            }
            if txn.is_broken {
                // The others hear that it is, and this one what its closure has answered: why.
                job.ticket.give(Told::Settled(Ok(txn.id())));
            } else {
                served.push(job.ticket);
            }
        }
        let Some(durability) = strictest else { return (served, Ok(Ok(txn.id()))) };
        let begun = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| txn.commit_with(durability)));
        let mut gathering = self.gathering();
        (gathering.served, gathering.commit_time) = (served.len(), begun.elapsed());
        drop(gathering);
        (served, done)
    }

    /// The next closure to run after so many; `None` at the end of the batch. From then on the next batch gathers, and whoever leads it
    /// waits for the writer's seat until this one is committed.
    fn next(&self, turns: usize, begun: Instant, is_broken: bool) -> Option<Job> {
        let mut gathering = self.gathering();
        loop {
            match gathering.waiting.front() {
                Some(next) if is_broken => {
                    next.ticket.give(Told::Lead);
                    return None;
                }
                Some(_) => return gathering.waiting.pop_front(),
                None => {}
            }
            let patience = (gathering.commit_time / 2).min(PATIENCE_MAX).saturating_sub(begun.elapsed());
            if is_broken || turns >= gathering.served || patience.is_zero() {
                gathering.has_leader = false;
                return None;
            }
            gathering.wanted = (gathering.served - turns).div_ceil(2);
            let waited = self.arrival.wait_timeout(gathering, patience);
            gathering = waited.unwrap_or_else(PoisonError::into_inner).0;
            gathering.wanted = 0;
        }
    }

    /// Takes back a closure that waits to be run; one that was to lead leaves that to the next. Returns false if the closure waits no longer.
    fn withdraw(&self, ticket: &Arc<Ticket>, leads: bool) -> bool {
        let mut gathering = self.gathering();
        let place = gathering.waiting.iter().position(|job| Arc::ptr_eq(&job.ticket, ticket));
        let job = place.and_then(|place| gathering.waiting.remove(place));
        // What it was told while the closure waited can only have been to lead.
        if job.is_some() && (leads || ticket.take().is_some()) {
            match gathering.waiting.front() {
                Some(next) => next.ticket.give(Told::Lead),
                None => gathering.has_leader = false,
            }
        }
        // The closure is dropped at the very end: what it owns may do anything then, even come here again.
        drop(gathering);
        job.is_some()
    }

    /// Sends away all who wait.
    fn give_up(&self, error: &Error) {
        let mut gathering = self.gathering();
        gathering.has_leader = false;
        let jobs = std::mem::take(&mut gathering.waiting);
        // As above.
        drop(gathering);
        jobs.iter().for_each(|job| job.ticket.give(Told::Settled(Err(error.duplicate()))));
    }
}
