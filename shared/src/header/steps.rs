//! How much work reading takes, counted in tests: a clock would tell of the machine as well.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts octets that were looked at.
#[inline(always)]
pub(super) fn count(octets: usize) {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + octets));
    #[cfg(not(test))]
    let _ = octets;
}

/// The steps that some work takes.
#[cfg(test)]
pub(super) fn of(work: impl FnOnce()) -> usize {
    let before = STEPS.with(std::cell::Cell::get);
    work();
    STEPS.with(std::cell::Cell::get) - before
}
