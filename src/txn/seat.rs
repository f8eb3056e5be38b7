//! The writer's seat: one writer at a time, and those who wait are served in the order in which they came.
//!
//! The seat passes from one to the next, who is woken alone. To wake all who wait, of whom one may go on, takes longer than a commit.
//!
//! Whoever waits for a transaction that is its own thread's waits for ever, and `WaitFor::Another` is to end that. But where a transaction
//! is cannot be known: it may be sent to another thread, and nothing runs there before it is used. What is known is its *user*, the thread
//! that began it or called one of its methods last, and whether it is *lent*: a closure that has it runs on this thread's stack. So:
//! - A thread waits for itself for certain where the transaction is lent to it.
//! - It does not where the user is another thread that lives.
//! - It may where it is the user itself, and may have handed the transaction over; or where the user has ended, and whoever has taken
//!   it over has not used it. It waits for a sign of another thread, but no longer than [`PATIENCE`].

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Writer;
use super::handoff::Handoff;
use crate::error::{Error, Result};

/// How long one who may be waiting for itself waits for a sign that it is not so.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it looks for one.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// Whom a thread waits for if the seat is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitFor {
    Nobody,
    /// Not for itself, as far as that is known.
    Another,
    Anybody,
}

pub(super) struct WriterLock {
    queue: Mutex<Queue>,
    /// Which thread used the transaction last, as [`here`] says; 0 if there is none.
    user: AtomicUsize,
    /// The thread on whose stack a closure has the transaction; 0 if it is on none.
    lent_to: AtomicUsize,
}

struct Queue {
    /// Present while nobody has the seat, and nobody is about to.
    writer: Option<Box<Writer>>,
    /// There while the last user's thread is, and as long as it is kept no other thread is taken for that one.
    user: Weak<()>,
    /// How often the user has changed.
    changes: u64,
    waiting: VecDeque<Arc<Handoff<Box<Writer>>>>,
}

thread_local!(static HERE: Arc<()> = Arc::default());

/// What this thread is known by for as long as it lives; 0 while it ends.
#[inline]
fn here() -> usize {
    HERE.try_with(|here| Arc::as_ptr(here).addr()).unwrap_or(0)
}

impl WriterLock {
    pub(super) fn new(writer: Box<Writer>) -> WriterLock {
        let queue = Queue { writer: Some(writer), user: Weak::new(), changes: 0, waiting: VecDeque::new() };
        WriterLock { queue: Mutex::new(queue), user: AtomicUsize::new(0), lent_to: AtomicUsize::new(0) }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transaction that has the seat is being used by this thread.
    #[inline]
    pub(super) fn used(&self) {
        // Nobody but this thread stores what makes it equal, and a stale value is not.
        if self.user.load(Ordering::Relaxed) != here() {
            self.set_user(&mut self.queue());
        }
    }

    #[cold]
    fn set_user(&self, queue: &mut Queue) {
        queue.user = HERE.try_with(Arc::downgrade).unwrap_or_default();
        queue.changes += 1;
        self.user.store(here(), Ordering::Relaxed);
    }

    /// Takes the seat; `None` if it is taken and nobody is to be waited for.
    pub(super) fn lock(&self, wait_for: WaitFor) -> Result<Option<Seat<'_>>> {
        let mut queue = self.queue();
        let writer = match queue.writer.take() {
            Some(writer) => writer,
            None if wait_for == WaitFor::Nobody => return Ok(None),
            None => {
                let turn = Arc::new(Handoff::default());
                queue.waiting.push_back(Arc::clone(&turn));
                drop(queue);
                let writer = if wait_for == WaitFor::Anybody { turn.wait() } else { self.wait_for_another(&turn)? };
                queue = self.queue();
                writer
            }
        };
        self.set_user(&mut queue);
        Ok(Some(Seat { lock: self, writer: Some(writer) }))
    }

    fn wait_for_another(&self, turn: &Arc<Handoff<Box<Writer>>>) -> Result<Box<Writer>> {
        let mut watch = self.watch();
        loop {
            if watch.waits_for_itself() && self.leave_queue(turn) {
                return Err(Error::WriteTxnOpen);
            }
            if let Some(writer) = turn.wait_for(LOOK) {
                return Ok(writer);
            }
        }
    }

    /// Waits no longer. Returns false if its turn has come.
    fn leave_queue(&self, turn: &Arc<Handoff<Box<Writer>>>) -> bool {
        let waiting = &mut self.queue().waiting;
        let place = waiting.iter().position(|other| Arc::ptr_eq(other, turn));
        place.and_then(|place| waiting.remove(place)).is_some()
    }

    /// Gives up a seat that was taken out of its [`Seat`].
    pub(super) fn unlock(&self, writer: Box<Writer>) {
        let mut queue = self.queue();
        self.user.store(0, Ordering::Relaxed);
        match queue.waiting.pop_front() {
            Some(next) => {
                drop(queue);
                next.give(writer);
            }
            None => queue.writer = Some(writer),
        }
    }

    /// A closure that has the transaction runs on this thread's stack for as long as what this returns lives.
    pub(super) fn lend(&self) -> Lent<'_> {
        Lent { lock: self, before: self.lent_to.swap(here(), Ordering::Relaxed) }
    }

    /// For one who is about to wait for the seat, or for somebody who waits for it.
    pub(super) fn watch(&self) -> Watch<'_> {
        Watch { lock: self, suspected: None }
    }

    /// How often the user had changed when it became uncertain whether this thread has the transaction; `None` if it has not.
    fn suspicion(&self) -> Option<u64> {
        let queue = self.queue();
        let user = self.user.load(Ordering::Relaxed);
        let may_be_here = user != 0 && (user == here() || queue.user.strong_count() == 0);
        may_be_here.then_some(queue.changes)
    }
}

/// A transaction that is lent to a closure.
pub(crate) struct Lent<'a> {
    lock: &'a WriterLock,
    before: usize,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.lock.lent_to.store(self.before, Ordering::Relaxed);
    }
}

/// Notices that a thread waits for itself.
pub(super) struct Watch<'a> {
    lock: &'a WriterLock,
    /// Since when it may be so, and as of which change of the user.
    suspected: Option<(u64, Instant)>,
}

impl Watch<'_> {
    /// Whether this thread waits for itself, as far as it is known.
    pub(super) fn waits_for_itself(&mut self) -> bool {
        let here = here();
        if here != 0 && self.lock.lent_to.load(Ordering::Relaxed) == here {
            return true;
        }
        let suspicion = self.lock.suspicion();
        match (suspicion, self.suspected) {
            (Some(change), Some((before, since))) if change == before => since.elapsed() >= PATIENCE,
            _ => {
                self.suspected = suspicion.map(|change| (change, Instant::now()));
                false
            }
        }
    }
}

/// The writer's state in the hands of whoever has the seat, which is given up when this is dropped.
pub(crate) struct Seat<'a> {
    lock: &'a WriterLock,
    writer: Option<Box<Writer>>,
}

impl Seat<'_> {
    /// Keeps the seat beyond the life of this. `Shared::unlock_writer` gives it up.
    pub(super) fn take(mut self) -> Box<Writer> {
        self.writer.take().expect("present until the drop")
    }
}

impl Deref for Seat<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        self.writer.as_ref().expect("present until the drop")
    }
}

impl DerefMut for Seat<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("present until the drop")
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            self.lock.unlock(writer);
        }
    }
}
