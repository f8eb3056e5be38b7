//! Anonymous memory of this process, as the kernel counts it (`RssAnon`): the heap, not the mapped files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::engine::Result;

const PERIOD: Duration = Duration::from_millis(20);

/// Bytes of anonymous memory now.
pub fn anonymous() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("the kernel reports no RssAnon")?;
    Ok(kib.parse::<u64>()? * 1024)
}

/// Gives what the allocator holds of freed memory back to the kernel, so that it is not counted in what comes next.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A thread that looks at the memory every 20 ms and remembers the most it has seen.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Sampler {
    pub fn start() -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let most = Arc::new(AtomicU64::new(0));
        let thread = thread::spawn({
            let (stop, most) = (stop.clone(), most.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    most.fetch_max(anonymous().unwrap_or(0), Ordering::Relaxed);
                    thread::park_timeout(PERIOD);
                }
            }
        });
        Sampler { stop, most, thread }
    }

    /// Bytes at the peak.
    pub fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().map_err(|_| "the sampling thread has panicked")?;
        Ok(self.most.load(Ordering::Relaxed).max(anonymous()?))
    }
}
