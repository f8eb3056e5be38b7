//! The writer's seat: one writer at a time, and those who wait are served in the order in which they came.
//!
//! The seat passes from one to the next, who is woken alone. To wake all who wait, of whom one may go on, takes longer than a commit.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::Writer;
use super::handoff::Handoff;

pub(super) struct WriterLock {
    queue: Mutex<Queue>,
}

struct Queue {
    /// Present while nobody has the seat, and nobody is about to.
    writer: Option<Box<Writer>>,
    /// The thread that has it.
    holder: Option<ThreadId>,
    waiting: VecDeque<Arc<Handoff<Box<Writer>>>>,
}

impl WriterLock {
    pub(super) fn new(writer: Box<Writer>) -> WriterLock {
        WriterLock { queue: Mutex::new(Queue { writer: Some(writer), holder: None, waiting: VecDeque::new() }) }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this thread has the seat.
    pub(super) fn is_held_here(&self) -> bool {
        self.queue().holder == Some(thread::current().id())
    }

    /// Takes the seat: waits for it, or answers `None` if it is taken.
    pub(super) fn lock(&self, wait: bool) -> Option<Seat<'_>> {
        let mut queue = self.queue();
        let writer = match queue.writer.take() {
            Some(writer) => writer,
            None if wait => {
                let turn = Arc::new(Handoff::default());
                queue.waiting.push_back(Arc::clone(&turn));
                drop(queue);
                let writer = turn.wait();
                queue = self.queue();
                writer
            }
            None => return None,
        };
        queue.holder = Some(thread::current().id());
        Some(Seat { lock: self, writer: Some(writer) })
    }

    /// Gives up a seat that was taken out of its [`Seat`].
    pub(super) fn unlock(&self, writer: Box<Writer>) {
        let mut queue = self.queue();
        queue.holder = None;
        match queue.waiting.pop_front() {
            Some(next) => {
                drop(queue);
                next.give(writer);
            }
            None => queue.writer = Some(writer),
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
