//! Ctrl-C, where it must not just end the process: in the shell it ends a command, and `backup`, `restore` and `compact` take back
//! what they have begun.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::Failure;

/// Whether Ctrl-C was pressed. Unless one of the functions that catch it was called it ends the process, as it does everywhere.
#[derive(Clone, Default)]
pub struct Interrupt {
    is_raised: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on Ctrl-C is only noted.
    pub fn catch(&self) -> io::Result<()> {
        self.note(SIGINT)
    }

    /// One that notes Ctrl-C, and every other request to end.
    pub fn caught() -> Result<Interrupt, Failure> {
        let interrupt = Interrupt::default();
        let noted = [SIGINT, SIGTERM, SIGHUP].into_iter().try_for_each(|signal| interrupt.note(signal));
        noted.map_err(|error| Failure::Outside(format!("cannot watch for Ctrl-C: {error}")))?;
        Ok(interrupt)
    }

    fn note(&self, signal: i32) -> io::Result<()> {
        signal_hook::flag::register(signal, Arc::clone(&self.is_raised)).map(|_| ())
    }

    /// Forgets an earlier one.
    pub fn clear(&self) {
        self.is_raised.store(false, Ordering::Relaxed);
    }

    /// For the library: whether to go on.
    pub fn flow(&self) -> ControlFlow<()> {
        if self.is_raised.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// For a command that has come so far: ends it if Ctrl-C was pressed.
    pub fn check(&self, so_far: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.flow().is_break() { Err(Interrupt::failure(&so_far())) } else { Ok(()) }
    }

    /// What a command that was ended comes to.
    pub fn failure(so_far: &str) -> Failure {
        Failure::Outside(format!("interrupted after {so_far}"))
    }
}
