//! Ctrl-C while a command runs: it ends the command and not the shell.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGINT;

use crate::failure::Failure;

/// Whether Ctrl-C was pressed. Unless [`Interrupt::catch`] was called it ends the process, as it does everywhere.
#[derive(Default)]
pub struct Interrupt {
    is_raised: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on Ctrl-C is only noted.
    pub fn catch(&self) -> io::Result<()> {
        signal_hook::flag::register(SIGINT, Arc::clone(&self.is_raised)).map(|_| ())
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
