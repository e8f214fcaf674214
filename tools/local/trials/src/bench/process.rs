//! A function as a process, and what the kernel says it costs.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;

/// Where the kernel tells of processes.
const PROCESSES: &str = "/proc";

/// A function's process.
#[derive(Debug)]
pub(super) struct Process(u32);

impl Process {
    /// The child of this process that runs a binary.
    pub(super) fn child(binary: &Path) -> anyhow::Result<Process> {
        let binary = binary.canonicalize()?;
        let parent = format!("PPid:\t{}\n", std::process::id());
        let runs = |id: &u32| {
            let of = |name: &str| Process(*id).file(name);
            fs::read_link(of("exe")).is_ok_and(|exe| exe == binary)
                && fs::read_to_string(of("status")).is_ok_and(|status| status.contains(&parent))
        };
        let mut ids = processes(Path::new(PROCESSES))?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let id = ids.find(runs).with_context(|| format!("{} does not run", binary.display()))?;
        Ok(Process(id))
    }

    /// Processor time so far, of all threads.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let threads = fs::read_dir(self.file("task")).ok()?.flatten();
        let nanoseconds = threads.filter_map(|thread| {
            let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            times.split_whitespace().next()?.parse::<u64>().ok()
        });
        Some(Duration::from_nanos(nanoseconds.sum()))
    }

    /// Most resident memory in bytes since it was last forgotten.
    pub(super) fn peak(&self) -> Option<u64> {
        let status = fs::read_to_string(self.file("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    /// Forgets the peak: what is resident now counts from here.
    pub(super) fn forget_peak(&self) {
        // Where that is not allowed, later phases report the peak of all.
        let _ = fs::write(self.file("clear_refs"), "5");
    }

    fn file(&self, name: &str) -> String {
        format!("{PROCESSES}/{}/{name}", self.0)
    }
}

/// An error, which says why, where no function can be measured.
pub fn check() -> anyhow::Result<()> {
    processes(Path::new(PROCESSES)).map(drop)
}

fn processes(folder: &Path) -> anyhow::Result<fs::ReadDir> {
    fs::read_dir(folder).with_context(|| {
        format!("what a process costs is read from {}, which only Linux has", folder.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_can_be_measured_that_is_said() {
        let error = processes(Path::new("/none/proc")).unwrap_err();
        assert_eq!(error.to_string(), "what a process costs is read from /none/proc, which only Linux has");
        assert!(check().is_ok() || !cfg!(target_os = "linux"));
    }
}
