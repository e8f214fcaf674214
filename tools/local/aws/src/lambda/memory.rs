//! The memory limit. What counts is the process's own high-water mark (`VmHWM`), read from `/proc`: it
//! is what Lambda bills as "Max Memory Used", needs no privileges and works in any container. The
//! alternatives don't fit: a control group must be delegated to this user first, `RLIMIT_AS` counts
//! address space that allocator and threads reserve and never touch. A mark never falls, so a
//! peak between two looks is still seen at the next one, and one is always taken before an
//! answer counts. Where there is no `/proc` (macOS), the limit is not enforced.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// Time between two looks at a process, while few are looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Processes that are looked at so often. With more of them a look takes longer to come, or a thousand would
/// take all the time there is.
const FEW: usize = 20;

/// Processes that are looked at now.
static WATCHED: AtomicUsize = AtomicUsize::new(0);

/// Counts a process as looked at, until it is dropped.
struct Watch;

impl Watch {
    fn begin() -> Watch {
        WATCHED.fetch_add(1, Ordering::Relaxed);
        Watch
    }

    fn interval() -> Duration {
        let watched = WATCHED.load(Ordering::Relaxed);
        INTERVAL * u32::try_from(watched / FEW).unwrap_or(u32::MAX).max(1)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The memory of a process.
#[derive(Debug)]
pub(super) struct Memory {
    process: u32,
    limit_bytes: u64,
}

impl Memory {
    pub(super) fn new(process: u32, limit_mb: u64) -> Self {
        Memory { process, limit_bytes: limit_mb * 1024 * 1024 }
    }

    /// Peak in bytes, where it can be read.
    pub(super) fn peak(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process)).ok()?;
        parse_high_water_mark(&status)
    }

    /// Whether a peak is more than the limit.
    pub(super) fn exceeds(&self, peak: Option<u64>) -> bool {
        peak.is_some_and(|peak| peak > self.limit_bytes)
    }

    /// Ends when the process has used more than its limit.
    pub(super) async fn exceeded(&self) {
        let _watch = Watch::begin();
        while !self.exceeds(self.peak()) {
            tokio::time::sleep(Watch::interval()).await;
        }
    }
}

fn parse_high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read_from_the_status() {
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 10 kB\n";
        assert_eq!(parse_high_water_mark(status), Some(2 * 1024 * 1024));
        assert_eq!(parse_high_water_mark("Name:\tx\n"), None);
    }

    #[test]
    fn exactly_the_limit_is_allowed() {
        let memory = Memory::new(1, 1);
        assert!(!memory.exceeds(Some(1024 * 1024)));
        assert!(memory.exceeds(Some(1024 * 1024 + 1)));
        assert!(!memory.exceeds(None));
    }
}
