//! A function as a process, and what the kernel says it costs.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;

use super::endpoint::Endpoint;

/// A running function; dropping it kills it.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a binary as Lambda would, with nothing of this process's environment.
    pub fn start(binary: &Path, endpoint: &Endpoint) -> anyhow::Result<Process> {
        let child = Command::new(binary)
            .env_clear()
            .envs(endpoint.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("can't start {}", binary.display()))?;
        Ok(Process(child))
    }

    /// Processor time so far, of all threads.
    pub fn cpu(&self) -> Option<Duration> {
        let threads = fs::read_dir(self.file("task")).ok()?.flatten();
        let nanoseconds = threads.filter_map(|thread| {
            let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            times.split_whitespace().next()?.parse::<u64>().ok()
        });
        Some(Duration::from_nanos(nanoseconds.sum()))
    }

    /// Most resident memory in bytes since it was last forgotten.
    pub fn peak(&self) -> Option<u64> {
        let status = fs::read_to_string(self.file("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    /// Forgets the peak: what is resident now counts from here.
    pub fn forget_peak(&self) {
        // Where that is not allowed, later phases report the peak of all.
        let _ = fs::write(self.file("clear_refs"), "5");
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
