//! The instances of one function: as many as there are events at once, within the function's
//! concurrency; an idle one is reused before another starts, and stopped when it has been idle for long.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use ses_forwarder_local_template::deployment::Function;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    instance::{Instance, Launch, Report},
    work::Work,
};

/// An instance that had nothing to do for this long is stopped.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The right to run one event now.
pub(super) type Permit = OwnedSemaphorePermit;

/// The instances of one function.
#[derive(Debug)]
pub(super) struct Pool {
    launch: Launch,
    concurrency: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

/// The instances that no event runs on, each since when.
#[derive(Debug, Default)]
struct Idle {
    instances: Vec<(Instant, Instance)>,
    /// How often all have been stopped: one that was busy then is not used again either.
    stopped: u64,
}

impl Pool {
    /// A function with reserved concurrency has that for itself; the others share the account's.
    pub(super) fn new(launch: Launch, account: &Arc<Semaphore>) -> Self {
        let concurrency = launch
            .function
            .reserved_concurrency
            .map_or_else(|| Arc::clone(account), |reserved| Arc::new(Semaphore::new(reserved)));
        Pool { launch, concurrency, idle: Mutex::default() }
    }

    pub(super) fn function(&self) -> &Function {
        &self.launch.function
    }

    pub(super) fn binary(&self) -> &Path {
        &self.launch.binary
    }

    /// A permit, if the concurrency is not used up.
    pub(super) fn try_permit(&self) -> Option<Permit> {
        Arc::clone(&self.concurrency).try_acquire_owned().ok()
    }

    /// Waits for a permit, first come, first served.
    pub(super) async fn permit(&self) -> Permit {
        Arc::clone(&self.concurrency).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Runs an event on an idle instance, else on a new one.
    pub(super) async fn run(&self, work: &Work, permit: Permit) -> Report {
        let started = Instant::now();
        let (stopped, idle) = self.take_idle();
        let mut instance = match idle {
            Some(instance) => instance,
            None => match self.launch.start(work).await {
                Ok(instance) => instance,
                Err(error) => return Report { result: Err(error), took: started.elapsed(), memory: None },
            },
        };
        let (report, survives) = instance.work(work).await;
        if survives {
            // Before the permit is given back: whoever gets it finds the instance.
            let mut idle = self.idle();
            if idle.stopped == stopped {
                idle.instances.push((Instant::now(), instance));
            }
        }
        drop(permit);
        report
    }

    /// How often all have been stopped, and the instance that was idle for the shortest time, so that those not
    /// needed grow old.
    fn take_idle(&self) -> (u64, Option<Instance>) {
        let mut idle = self.idle();
        while let Some((_, mut instance)) = idle.instances.pop() {
            if instance.is_alive() {
                return (idle.stopped, Some(instance));
            }
        }
        (idle.stopped, None)
    }

    /// Kills the idle instances, and the others when they are done with their event.
    pub(super) fn stop(&self) {
        let mut idle = self.idle();
        idle.stopped += 1;
        idle.instances.clear();
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().expect("no holder of this lock panics")
    }
}

/// Stops instances that have been idle for long, for ever.
pub(super) async fn stop_idle(pools: Vec<Arc<Pool>>) {
    loop {
        tokio::time::sleep(IDLE_LIMIT / 4).await;
        for pool in &pools {
            pool.idle().instances.retain(|(since, _)| since.elapsed() < IDLE_LIMIT);
        }
    }
}
